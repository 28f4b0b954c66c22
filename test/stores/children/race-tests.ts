import { Redis } from "ioredis";
import pg from "pg";
import { afterAll, describe, test } from "vitest";
import { postgresStore } from "../../../src/stores/postgres.ts";
import { redisStore } from "../../../src/stores/redis.ts";
import { type RaceOptions, race } from "./races.ts";
import {
  deleteKeys,
  killClients,
  POSTGRES_URL,
  REDIS_URL,
  randomName,
  terminateBackends,
  whyNoPostgres,
  whyNoRedis,
} from "./servers.ts";

export async function redisRaces(kind: "redis" | "leased redis"): Promise<void> {
  const why = await whyNoRedis();

  describe.skipIf(why)(`several processes, ${kind}${why}`, () => {
    const client = new Redis(REDIS_URL, { lazyConnect: true });
    const names: string[] = [];
    afterAll(async () => {
      for (const name of names) await deleteKeys(client, name);
      client.disconnect();
    });

    function run(more: (name: string) => Partial<RaceOptions>): Promise<void> {
      const name = randomName();
      names.push(name);
      return race({ kind, name, store: redisStore({ client }, { prefix: name }), ...more(name) });
    }

    test("race for a cap: it is used up and never passed", () => run(() => ({ processes: 6, inFlight: 32 })));
    test("though one of them is killed", () => run(() => ({ kill: true })));
    test("though their connections break again and again", () =>
      run((name) => ({ accident: () => killClients(client, name) })));
  });
}

export async function postgresRaces(kind: "postgres" | "leased postgres"): Promise<void> {
  const why = await whyNoPostgres();

  describe.skipIf(why)(`several processes, ${kind}${why}`, () => {
    const pool = new pg.Pool({ connectionString: POSTGRES_URL });
    pool.on("error", () => {});
    const names: string[] = [];
    afterAll(async () => {
      for (const name of names) await pool.query(`DROP SCHEMA IF EXISTS "${name}" CASCADE`);
      await pool.end();
    });

    async function run(more: (name: string) => Partial<RaceOptions>): Promise<void> {
      const name = randomName();
      names.push(name);
      const store = postgresStore({ pool }, { schema: name });
      await store.migrate();
      // Larger requests, so that fewer of them fit: each waits for the commits of the others.
      await race({ kind, name, store, largest: 1500, ...more(name) });
    }

    test("race for a cap: it is used up and never passed", () => run(() => ({})));
    test("though one of them is killed", () => run(() => ({ kill: true })));
    test("though their connections are cut again and again", () =>
      run((name) => ({ accident: () => terminateBackends(pool, name) })));
  });
}
