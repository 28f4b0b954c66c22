import pg from "pg";
import { afterAll, describe, test } from "vitest";
import { leased } from "../../src/stores/leased.ts";
import { postgresStore } from "../../src/stores/postgres.ts";
import { storeSuite } from "../../src/testing/store-suite.ts";
import { POSTGRES_URL, randomName, whyNoPostgres } from "./children/servers.ts";

const why = await whyNoPostgres();

describe.skipIf(why)(`leases on PostgreSQL${why}`, () => {
  const pool = new pg.Pool({ connectionString: POSTGRES_URL });
  const schema = randomName();
  const ready = why ? undefined : postgresStore({ pool }, { schema }).migrate();
  afterAll(async () => {
    await pool.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    await pool.end();
  });
  const create = async () => {
    await ready;
    await pool.query(`TRUNCATE "${schema}".counter, "${schema}".reservation`);
    return leased(postgresStore({ pool }, { schema }));
  };
  storeSuite({ name: "leased PostgreSQL store", create }, { describe, test });
});
