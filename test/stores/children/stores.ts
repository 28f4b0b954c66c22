/** The stores that race: for the processes of `storeRace()`, and for the one who watches. */
import { Redis } from "ioredis";
import pg from "pg";
import { createClient } from "redis";
import type { BudgetStore } from "../../../src/core/budget-store.ts";
import { leased } from "../../../src/stores/leased.ts";
import { postgresStore } from "../../../src/stores/postgres.ts";
import { redisStore } from "../../../src/stores/redis.ts";
import { sqliteStore } from "../../../src/stores/sqlite.ts";
import type { StoreRaceOptions } from "../../../src/testing/store-race.ts";
import { POSTGRES_URL, REDIS_URL } from "./servers.ts";

export interface Where {
  readonly engine: "sqlite" | "redis" | "postgres";
  /** File, key prefix or schema. Connections of the processes have its name, those of the one who watches have not. */
  readonly name: string;
  readonly isLeased?: boolean;
}

/** A race on these data. `TURNPIKE_RACE_PROCESSES` and `TURNPIKE_RACE_IN_FLIGHT` change its size. */
export function raceOn(where: Where): StoreRaceOptions {
  const { TURNPIKE_RACE_PROCESSES: processes = 4, TURNPIKE_RACE_IN_FLIGHT: inFlight = 16 } = process.env;
  return {
    module: import.meta.url,
    options: where,
    processes: Number(processes),
    inFlight: Number(inFlight),
    patienceMs: 60_000,
    leased: where.isLeased,
    // Each request waits for the commits of the others: larger ones, so that fewer of them fit.
    ...(where.engine === "postgres" && { largest: 1500 }),
  };
}

export default async function openStore({ engine, name, isLeased }: Where, racer: number): Promise<BudgetStore> {
  const store = await OPEN[engine](name, racer);
  return isLeased ? leased(store, { processes: 6, ttlMs: 1600, postEveryMs: 200 }) : store;
}

const OPEN: Record<Where["engine"], (name: string, racer: number) => BudgetStore | Promise<BudgetStore>> = {
  sqlite: (name) => sqliteStore(name),

  async redis(name, racer) {
    const connectionName = connectionOf(name, racer);
    if (racer % 2 === 0) {
      const client = new Redis(REDIS_URL, { connectionName });
      client.on("error", () => {});
      return closing(redisStore({ client }, { prefix: name }), () => client.disconnect());
    }
    const client = createClient({ url: REDIS_URL, name: connectionName });
    client.on("error", () => {});
    await client.connect();
    return closing(redisStore({ client }, { prefix: name }), () => client.destroy());
  },

  async postgres(name, racer) {
    const application_name = connectionOf(name, racer);
    const pool = new pg.Pool({ connectionString: POSTGRES_URL, application_name, max: 8 });
    pool.on("error", () => {});
    const store = postgresStore({ pool }, { schema: name });
    // Who watches comes first.
    if (racer === 0) await store.migrate();
    return closing(store, () => pool.end());
  },
};

function connectionOf(name: string, racer: number): string {
  return racer === 0 ? `${name}_watch` : name;
}

function closing(store: BudgetStore, end: () => unknown): BudgetStore {
  return {
    ...store,
    async close() {
      await store.close?.();
      await end();
    },
  };
}
