/** The stores of the proof, by name, for the gateway processes and for the one who checks. */
import { Redis } from "ioredis";
import pg from "pg";
import type { BudgetStore } from "../../src/core/budget-store.ts";
import { leased } from "../../src/stores/leased.ts";
import { postgresStore } from "../../src/stores/postgres.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import { POSTGRES_URL, REDIS_URL } from "../stores/children/servers.ts";

export type Kind = "sqlite" | "redis" | "postgres" | "leased redis" | "leased postgres" | "leased sqlite";

export interface Opened {
  readonly store: BudgetStore;
  /** After `store.close()`. */
  disconnect(): Promise<void>;
}

export interface Where {
  readonly kind: Kind;
  /** File, key prefix or schema, of which each run has its own; connections to PostgreSQL have its name. */
  readonly name: string;
  readonly processes: number;
  readonly redisUrl?: string | undefined;
}

export function openStore({ kind, name, processes, redisUrl = REDIS_URL }: Where): Opened {
  if (kind.startsWith("leased ")) {
    const plain = kind.slice("leased ".length) as Kind;
    const { store, disconnect } = openStore({ kind: plain, name, processes, redisUrl });
    return { store: leased(store, { processes, ttlMs: 2_000, postEveryMs: 200 }), disconnect };
  }
  if (kind === "sqlite") return { store: sqliteStore(name), disconnect: async () => {} };
  if (kind === "redis") {
    const client = new Redis(redisUrl);
    client.on("error", () => {});
    return { store: redisStore({ client }, { prefix: name }), disconnect: async () => client.disconnect() };
  }
  const pool = new pg.Pool({ connectionString: POSTGRES_URL, max: 4, application_name: name });
  pool.on("error", () => {});
  return { store: postgresStore({ pool }, { schema: name, migrate: true }), disconnect: () => pool.end() };
}
