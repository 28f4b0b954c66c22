/** Processes that race for a cap while their connections to the server break. */
import { Redis } from "ioredis";
import pg from "pg";
import { afterAll, describe, expect, test } from "vitest";
import { storeRace } from "../../src/testing/store-race.ts";
import {
  deleteKeys,
  killClients,
  POSTGRES_URL,
  REDIS_URL,
  randomName,
  terminateBackends,
  whyNoPostgres,
  whyNoRedis,
} from "./children/servers.ts";
import { raceOn } from "./children/stores.ts";

const whyRedis = await whyNoRedis();
const whyPostgres = await whyNoPostgres();
const KINDS = [
  ["plain", false],
  ["leased", true],
] as const;
const options = { timeout: 120_000 };

describe.skipIf(whyRedis)(`when connections to Redis break again and again${whyRedis}`, () => {
  const client = new Redis(REDIS_URL, { lazyConnect: true });
  const names: string[] = [];
  afterAll(async () => {
    for (const name of names) await deleteKeys(client, name);
    client.disconnect();
  });

  test.each(KINDS)("a cap is used up and never passed, %s", options, async (_, isLeased) => {
    const name = randomName();
    names.push(name);
    const accident = () => killClients(client, name);
    const { accidents } = await storeRace({ ...raceOn({ engine: "redis", name, isLeased }), accident });
    expect(accidents).toBeGreaterThan(0);
  });
});

describe.skipIf(whyPostgres)(`when connections to PostgreSQL are cut again and again${whyPostgres}`, () => {
  const pool = new pg.Pool({ connectionString: POSTGRES_URL });
  pool.on("error", () => {});
  const names: string[] = [];
  afterAll(async () => {
    for (const name of names) await pool.query(`DROP SCHEMA IF EXISTS "${name}" CASCADE`);
    await pool.end();
  });

  test.each(KINDS)("a cap is used up and never passed, %s", options, async (_, isLeased) => {
    const name = randomName();
    names.push(name);
    const accident = () => terminateBackends(pool, name);
    const { accidents } = await storeRace({ ...raceOn({ engine: "postgres", name, isLeased }), accident });
    expect(accidents).toBeGreaterThan(0);
  });
});
