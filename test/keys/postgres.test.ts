import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hashKey } from "../../src/keys/key.ts";
import { type PgPool, postgresKeys } from "../../src/keys/postgres.ts";
import { keyTableSuite } from "./support.ts";

const connectionString = process.env.TURNPIKE_TEST_POSTGRES ?? "postgres://postgres@127.0.0.1:5432/test";
const name = "pg";

interface OpenPool extends PgPool {
  end(): Promise<void>;
}

async function open(): Promise<OpenPool> {
  const pg = (await import(name)) as { default: { Pool: new (options: object) => OpenPool } };
  return new pg.default.Pool({ connectionString, connectionTimeoutMillis: 1_000, max: 10 });
}

const unreachable = await open().then(
  (pool) =>
    pool.query("SELECT 1").then(
      () => pool.end(),
      (error: Error) => error.message || "no connection",
    ),
  (error: Error) => error.message,
);
const isCi = process.env.CI === "true" || process.env.CI === "1";
if (unreachable) console.warn(`PostgreSQL is not there (${unreachable}): its tests are skipped`);

// In CI a database that is away is a failure.
describe.skipIf(unreachable && !isCi)("PostgreSQL", () => {
  const schemas: string[] = [];
  let pool: OpenPool;
  const newSchema = () => {
    const schema = `tp_keys_${randomBytes(6).toString("hex")}`;
    schemas.push(schema);
    return schema;
  };
  const suite = newSchema();
  beforeAll(async () => {
    pool = await open();
    await pool.query("SELECT 1");
  });
  afterAll(async () => {
    for (const schema of schemas) await pool.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    await pool.end();
  });

  keyTableSuite("PostgreSQL", (options) => postgresKeys({ pool }, { schema: suite, migrate: true, ...options }));

  test("is set up once by many at the same time, by an explicit call too", async () => {
    const schema = newSchema();
    const tables = Array.from({ length: 8 }, () => postgresKeys({ pool }, { schema }));
    await Promise.all(tables.map((table) => table.migrate()));
    const { key } = await tables[0]!.create({ team: "web" });
    expect(await tables[7]!.lookup(hashKey(key))).toMatchObject({ team: "web" });
  });

  test("says that it is not set up, and that a newer Turnpike did it", async () => {
    const schema = newSchema();
    await expect(postgresKeys({ pool }, { schema }).list()).rejects.toMatchObject({
      code: "table_schema",
      message: expect.stringContaining("migrate"),
    });
    await postgresKeys({ pool }, { schema }).migrate();
    await pool.query(`UPDATE "${schema}".tp_key_meta SET version = 99`);
    await expect(postgresKeys({ pool }, { schema, migrate: true }).list()).rejects.toMatchObject({
      code: "table_schema",
    });
  });

  test("takes an address instead of a pool, and closes what it opened alone", async () => {
    const schema = newSchema();
    const table = postgresKeys({ connectionString }, { schema, migrate: true });
    const { id } = await table.create();
    await table.close();
    const other = postgresKeys({ pool }, { schema });
    expect((await other.list()).map((record) => record.id)).toEqual([id]);
    await other.close();
    expect((await pool.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  });

  test("survives its connections being cut", async () => {
    const schema = newSchema();
    const table = postgresKeys(
      { connectionString: `${connectionString}?application_name=${schema}` },
      { schema, migrate: true },
    );
    const { key } = await table.create({ user: "u" });
    await pool.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", [schema]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await table.lookup(hashKey(key))).toMatchObject({ user: "u" });
    await table.close();
  });
});

test("a database that is away is said without the password", async () => {
  const table = postgresKeys({ connectionString: "postgres://u:canary-password@127.0.0.1:1/test" });
  const error = await table.lookup(hashKey("x")).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: "KeyTableError", code: "table_failed" });
  expect(String((error as Error).stack)).not.toContain("canary");
  await table.close();
});

test("a schema name cannot carry a statement", () => {
  expect(() => postgresKeys({ connectionString: "x" }, { schema: 'a"; DROP' })).toThrow(/schema/);
});
