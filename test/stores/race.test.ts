import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { type StoreRaceOptions, storeRace } from "../../src/testing/store-race.ts";
import { storeChecks } from "../../src/testing/store-suite.ts";
import { raceOn } from "./children/stores.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-race-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const newFile = () => join(folder, `${++files}.db`);
const options = { timeout: 120_000 };

describe("a race of processes", () => {
  test("tells what came out", options, async () => {
    const figures = await storeRace({ ...raceOn({ engine: "sqlite", name: newFile() }), cap: 40_000, processes: 2 });
    expect(figures).toMatchObject({ cap: 40_000, accidents: 0 });
    expect(figures.used).toBe(figures.spent);
    expect(figures.used).toBeGreaterThanOrEqual(0.98 * 40_000);
    expect(figures.most).toBeLessThanOrEqual(40_000);
  });

  test("can be run on data that hold other races already", options, async () => {
    const race = { ...raceOn({ engine: "sqlite", name: newFile() }), cap: 40_000, processes: 2 };
    await storeRace(race);
    expect((await storeRace(race)).used).toBeLessThanOrEqual(40_000);
  });

  const run = (factory: string, more: Partial<StoreRaceOptions> = {}) =>
    storeRace({
      module: new URL("./children/broken-stores.ts", import.meta.url),
      factory,
      options: { path: newFile() },
      cap: 30_000,
      processes: 3,
      patienceMs: 5_000,
      ...more,
    });

  test.each<[factory: string, finding: RegExp, more?: Partial<StoreRaceOptions>]>([
    ["checksThenCharges", /passes the cap/],
    ["chargesNothingNowAndThen", /own counter of process/],
    ["settlesTwice", /own counter of process|passes the cap/],
    ["holdsAgain", /the same reservation once more/],
    ["neverExpires", /units stay held/, { kill: true }],
    ["expiresEarly", /settle of a live hold answered "late-expired"/],
    ["keepsUnits", /less than 98 % of the cap/],
    ["isPrivate", /traits\.shared/],
    ["isPrivateAndDeniesIt", /own counter of process/],
  ])("finds out a store that %s", options, async (factory, finding, more) => {
    await expect(run(factory, more)).rejects.toThrow(finding);
  });

  test("says which export is missing", async () => {
    await expect(run("openStore")).rejects.toThrow(/must export a function "openStore"/);
  });

  test("says what a process died of", options, async () => {
    const module = join(folder, "only-for-the-watcher.mjs");
    const sqlite = new URL("../../src/stores/sqlite.ts", import.meta.url).href;
    const text = `import { sqliteStore } from ${JSON.stringify(sqlite)};
      export default ({ path }, racer) => { if (racer > 0) throw new Error("no store for you"); return sqliteStore(path); };`;
    writeFileSync(module, text);
    const race = storeRace({ module, options: { path: newFile() }, processes: 2 });
    await expect(race).rejects.toThrow(/process 1 ended with 1: .*no store for you/s);
  });

  test("is part of the suite where other processes can open the store", () => {
    const create = () => {
      throw new Error("not needed");
    };
    const names = (more: object) => storeChecks({ name: "any", create, ...more }).map((check) => check.name);
    const races = names({ processes: raceOn({ engine: "sqlite", name: newFile() }) }).slice(names({}).length);
    expect(races).toEqual([expect.stringMatching(/^processes race for a cap/), expect.stringMatching(/one is killed/)]);
  });
});

test("the built package lets anybody's store race", options, () => {
  const module = join(folder, "my-store.mjs");
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const sqlite = JSON.stringify(new URL("../../dist/stores/sqlite.js", import.meta.url).href);
  writeFileSync(module, `export { sqliteStore as open } from ${sqlite};`);
  const race = { module, factory: "open", options: newFile(), cap: 40_000, processes: 2, kill: true };
  const script = `import { storeRace } from "turnpike/testing";
    console.log(JSON.stringify(await storeRace(${JSON.stringify(race)})));`;
  const args = ["--no-warnings", "--input-type=module", "--eval", script];
  const figures = JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }));
  expect(figures.used).toBeLessThanOrEqual(40_000);
  expect(figures.used).toBeGreaterThanOrEqual(39_200);
});
