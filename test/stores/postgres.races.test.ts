import pg from "pg";
import { afterAll, describe, test } from "vitest";
import { postgresStore } from "../../src/stores/postgres.ts";
import { type RaceOptions, race } from "./children/races.ts";
import { POSTGRES_URL, randomName, terminateBackends, whyNoPostgres } from "./children/servers.ts";

const why = await whyNoPostgres();

describe.skipIf(why)(`several processes with one PostgreSQL${why}`, () => {
  const pool = new pg.Pool({ connectionString: POSTGRES_URL });
  pool.on("error", () => {});
  const names: string[] = [];
  afterAll(async () => {
    for (const name of names) await pool.query(`DROP SCHEMA IF EXISTS "${name}" CASCADE`);
    await pool.end();
  });

  async function run(kind: RaceOptions["kind"], more: (name: string) => Partial<RaceOptions> = () => ({})) {
    const name = randomName();
    names.push(name);
    const store = postgresStore({ pool }, { schema: name });
    await store.migrate();
    await race({ kind, name, store, largest: 1500, ...more(name) });
  }

  for (const kind of ["postgres", "leased postgres"] as const) {
    describe(kind, () => {
      test("race for a cap: it is used up and never passed", () => run(kind));
      test("though one of them is killed", () => run(kind, () => ({ kill: true })));
      test("though their connections are cut again and again", () =>
        run(kind, (name) => ({ accident: () => terminateBackends(pool, name) })));
    });
  }
});
