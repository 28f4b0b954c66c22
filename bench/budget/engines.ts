/** The stores that are measured, and for each its raw driver doing the same number of round trips. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Redis } from "ioredis";
import pg from "pg";
import type { BudgetStore } from "../../src/core/budget-store.ts";
import { leased } from "../../src/stores/leased.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { postgresStore } from "../../src/stores/postgres.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";

export interface Engine {
  readonly name: string;
  readonly store: BudgetStore;
  /** What one call of the store would cost at the least: one round trip, or one transaction, that writes one value. */
  readonly raw?: (() => unknown) | undefined;
  /** Calls in flight at the same time. */
  readonly inFlight: number;
  end(): Promise<void> | void;
}

const REDIS_URL = process.env.TURNPIKE_TEST_REDIS_URL ?? "redis://127.0.0.1:6379";
const POSTGRES_URL = process.env.TURNPIKE_TEST_POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test";
const prefix = `tpbench_${process.pid}`;

/** In the order of the table. Servers that cannot be reached are told and left out. */
export async function* engines(): AsyncGenerator<Engine> {
  yield { name: "memory", store: memoryStore(), inFlight: 1, end() {} };
  yield sqlite("NORMAL");
  yield sqlite("FULL");
  for (const inFlight of [1, 64]) {
    const redis = await reachRedis();
    if (!redis) break;
    const store = redisStore({ client: redis }, { prefix });
    yield {
      name: `redis × ${inFlight}`,
      store,
      inFlight,
      raw: () => redis.incr(`{${prefix}}:raw`),
      end: () => clear(redis),
    };
  }
  for (const inFlight of [1, 64]) {
    const pool = await reachPostgres();
    if (!pool) break;
    const store = postgresStore({ pool }, { schema: prefix, migrate: true });
    await store.migrate();
    await pool.query(`CREATE TABLE "${prefix}".raw(n int); INSERT INTO "${prefix}".raw VALUES (0)`);
    const raw = () => pool.query(`UPDATE "${prefix}".raw SET n = n + 1`);
    const end = async () => {
      await store.close();
      await pool.query(`DROP SCHEMA "${prefix}" CASCADE`);
      await pool.end();
    };
    yield { name: `postgres × ${inFlight}`, store, inFlight, raw, end };
  }
  const redis = await reachRedis();
  if (!redis) return;
  const store = leased(redisStore({ client: redis }, { prefix }));
  const end = async () => {
    await store.close();
    await clear(redis);
  };
  yield { name: "leased redis", store, inFlight: 1, end };
}

function sqlite(synchronous: "NORMAL" | "FULL"): Engine {
  const folder = mkdtempSync(join(tmpdir(), "turnpike-bench-"));
  const store = sqliteStore({ path: join(folder, "store.db"), synchronous });
  const db = new DatabaseSync(join(folder, "raw.db"));
  db.exec(
    `PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; CREATE TABLE raw(n INTEGER); INSERT INTO raw VALUES (0)`,
  );
  const update = db.prepare("UPDATE raw SET n = n + 1");
  const end = () => {
    store.close();
    db.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { name: `sqlite ${synchronous}`, store, inFlight: 1, raw: () => update.run(), end };
}

async function reachRedis(): Promise<Redis | undefined> {
  const client = new Redis(REDIS_URL, { lazyConnect: true, retryStrategy: () => null });
  client.on("error", () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    client.disconnect();
    console.log(`no Redis at ${REDIS_URL}, left out: ${(error as Error).message}`);
    return undefined;
  }
}

async function clear(client: Redis): Promise<void> {
  for await (const keys of client.scanStream({ match: `{${prefix}}:*`, count: 1_000 })) {
    if (keys.length > 0) await client.unlink(...keys);
  }
  client.disconnect();
}

async function reachPostgres(): Promise<pg.Pool | undefined> {
  const pool = new pg.Pool({ connectionString: POSTGRES_URL, max: 8 });
  pool.on("error", () => {});
  try {
    await pool.query("SELECT 1");
    return pool;
  } catch (error) {
    await pool.end();
    console.log(`no PostgreSQL at ${POSTGRES_URL}, left out: ${(error as Error).message}`);
    return undefined;
  }
}
