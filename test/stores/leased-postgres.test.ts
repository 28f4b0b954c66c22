import pg from "pg";
import { afterAll, describe, test } from "vitest";
import { leased } from "../../src/stores/leased.ts";
import { postgresStore } from "../../src/stores/postgres.ts";
import { storeSuite } from "../../src/testing/store-suite.ts";
import { POSTGRES_URL, randomName, whyNoPostgres } from "./children/servers.ts";
import { raceOn } from "./children/stores.ts";

const why = await whyNoPostgres();

describe.skipIf(why)(`leases on PostgreSQL${why}`, () => {
  const pool = new pg.Pool({ connectionString: POSTGRES_URL });
  const [schema, raceSchema] = [randomName(), randomName()];
  const ready = why ? undefined : postgresStore({ pool }, { schema }).migrate();
  afterAll(async () => {
    for (const name of [schema, raceSchema]) await pool.query(`DROP SCHEMA IF EXISTS "${name}" CASCADE`);
    await pool.end();
  });
  const create = async () => {
    await ready;
    await pool.query(`TRUNCATE "${schema}".counter, "${schema}".reservation`);
    return leased(postgresStore({ pool }, { schema }));
  };
  const processes = raceOn({ engine: "postgres", name: raceSchema, isLeased: true });
  storeSuite({ name: "leased PostgreSQL store", create, processes }, { describe, test });
});
