import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hashKey } from "../../src/keys/key.ts";
import { sqliteKeys } from "../../src/keys/sqlite.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import { keyTableSuite } from "./support.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "turnpike-keys-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

keyTableSuite("SQLite", (options) => sqliteKeys({ path: join(folder, "suite.db"), ...options }));

describe("a key table in SQLite", () => {
  test("makes file and folder on first use, not before", async () => {
    const path = join(folder, "new", "keys.db");
    const table = sqliteKeys(path);
    expect(existsSync(path)).toBe(false);
    await table.create();
    expect(existsSync(path)).toBe(true);
    await table.close();
  });

  test("keeps no key, only its hash", async () => {
    const path = join(folder, "canary.db");
    const table = sqliteKeys(path);
    const { key } = await table.create({ user: "alice" });
    await table.close();
    const bytes = readFileSync(path).toString("latin1");
    expect(bytes).toContain(hashKey(key));
    expect(bytes).not.toContain(key.slice(3, 30));
  });

  test("lives in one file with budgets", async () => {
    const path = join(folder, "both.db");
    const hold = {
      counter: "c",
      bucket: 0,
      from: 0,
      step: 0,
      until: 1e15,
      keepUntil: 1e15,
      fixed: 1,
      perUnit: 0,
      limit: 5,
    };
    const store = sqliteStore(path);
    const table = sqliteKeys(path);
    const { key } = await table.create({ user: "alice" });
    const asked = {
      id: "r",
      fingerprint: "f",
      holds: [hold],
      want: 1,
      min: 1,
      ttlMs: 60_000,
      onExpire: "release",
    } as const;
    expect((await store.reserve(asked as never)).ok).toBe(true);
    store.close();
    await table.close();
    const again = sqliteStore(path);
    const tableAgain = sqliteKeys(path);
    expect(await tableAgain.lookup(hashKey(key))).toMatchObject({ user: "alice" });
    expect(await again.settle({ id: "r", actual: new Map([["c", 1]]), holds: [hold] } as never)).toMatchObject({
      outcome: "settled",
    });
    again.close();
    await tableAgain.close();
  });

  test("a look-up does not wait for a writer, and noting a use does neither", async () => {
    const path = join(folder, "busy.db");
    const table = sqliteKeys({ path, busyTimeoutMs: 50 });
    const { id, key } = await table.create();
    const writer = new DatabaseSync(path);
    writer.exec("BEGIN IMMEDIATE");
    expect(await table.lookup(hashKey(key))).toMatchObject({ id });
    await expect(table.touch?.(id)).rejects.toMatchObject({ code: "table_busy" });
    await expect(table.create()).rejects.toMatchObject({ code: "table_busy" });
    writer.exec("ROLLBACK");
    writer.close();
    expect(await table.revoke(id)).toBe(true);
    await table.close();
  });

  test("refuses a file that is no database, and one of a newer Turnpike, and tries again at the next call", async () => {
    const path = join(folder, "text.db");
    writeFileSync(
      path,
      "this is a text file, and a long one, so that it cannot be taken for an empty database".repeat(20),
    );
    const table = sqliteKeys(path);
    await expect(table.list()).rejects.toMatchObject({ code: "table_failed" });
    rmSync(path);
    expect(await table.list()).toEqual([]);
    await table.close();
    const db = new DatabaseSync(path);
    db.exec("UPDATE tp_meta SET value = 99");
    db.close();
    await expect(sqliteKeys(path).list()).rejects.toMatchObject({ code: "table_schema" });
  });

  test("names a wrong option", () => {
    expect(() => sqliteKeys({ path: "x.db", bussy: 1 } as never)).toThrow(/sqliteKeys: .*bussy/);
    expect(() => sqliteKeys("")).toThrow(TypeError);
  });
});
