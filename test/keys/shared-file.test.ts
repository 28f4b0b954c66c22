import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqliteKeys } from "turnpike/keys/sqlite";
import { sqliteStore } from "turnpike/stores/sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "turnpike-shared-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test.each(["keys first", "budgets first"])("keys and budgets share one new file, %s", async (order) => {
  const file = join(folder, "turnpike.db");
  const keys = sqliteKeys(file);
  if (order === "keys first") await keys.list();
  const store = sqliteStore(file);
  const { key } = await keys.create({ user: "ada" });
  expect(key).toMatch(/^tp-/);
  expect(store.usage([{ counter: "c", from: 0, bucket: 0, step: 0 }])).toMatchObject([{ used: 0, held: 0 }]);
  await keys.close();
  store.close();
  // And again, now that both are there.
  sqliteStore(file).close();
  expect(await sqliteKeys(file).list()).toHaveLength(1);
});
