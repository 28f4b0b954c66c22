import { PostgresStoreError } from "./errors.ts";

/** What the store calls of a `pg` pool. */
export interface PostgresPool {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

export interface Connection {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
  close(): Promise<void>;
}

/** A pool that somebody else made, and ends. @throws TypeError when it is none. */
export function usePool(pool: PostgresPool): Connection {
  if (typeof pool?.query !== "function") throw new TypeError("postgresStore needs a pg Pool (query)");
  return { query: (text, values) => retrying(() => pool.query(text, values)), async close() {} };
}

/** Makes a pool at the first call, with the optional peer `pg`. */
export function useConnectionString(connectionString: string): Connection {
  let opened: Promise<OwnPool> | undefined;
  const open = () => {
    // After a failure (the package was missing) the next call tries again.
    opened ??= openPool(connectionString).catch((error) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  return {
    async query(text, values) {
      const pool = await open();
      return retrying(() => pool.query(text, values));
    },
    async close() {
      await (await opened?.catch(() => undefined))?.end();
    },
  };
}

interface OwnPool extends PostgresPool {
  end(): Promise<void>;
}

async function openPool(connectionString: string): Promise<OwnPool> {
  const { default: pg } = await import("pg").catch((cause) => {
    const message = `postgresStore({ connectionString }) needs the package "pg": run "npm install pg", or pass a { pool }`;
    throw new PostgresStoreError("store_peer_missing", message, { cause });
  });
  const pool = new pg.Pool({ connectionString, connectionTimeoutMillis: 5000 });
  // Every call tells its own failure; without a listener an idle connection that breaks ends the process.
  pool.on("error", () => {});
  return pool;
}

const RETRIES = 8;

/** Safe, because every function takes its own repetition for what it is. */
async function retrying<T>(action: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (attempt >= RETRIES || !canPass(error)) throw error;
      // Of several connections that broke at once, a pool may hand out one after the other.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(200, 4 * 2 ** attempt)));
    }
  }
}

/**
 * 40P01 deadlock, 40001 serialization (with a stricter default isolation), 23505 the same id at the same time; 57P01 and
 * the others: the connection broke, and a pool opens a new one.
 */
const PASSING = new Set(["40P01", "40001", "23505", "57P01", "57P02", "08006", "08003", "ECONNRESET", "EPIPE"]);

function canPass(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  return PASSING.has(code ?? "") || /^Connection terminated|not queryable/.test(message ?? "");
}
