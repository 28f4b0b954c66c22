import type { VectorIndex } from "../core/cache-store.ts";

export type * from "../core/cache-store.ts";

/** What the index calls of a `pg` pool (or PGlite). */
export interface VectorPool {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

/** Either a pool, which stays yours to end, or an address for the package `pg`. */
export type PgvectorConnection =
  | { readonly pool: VectorPool; readonly connectionString?: undefined }
  | { readonly connectionString: string; readonly pool?: undefined };

export interface PgvectorOptions {
  /** @default "turnpike_cache_vectors" */
  table?: string;
  /** Most questions that are kept; the oldest go first. @default 100_000 */
  maxEntries?: number;
}

/** Additions between two clearings. */
const CLEAR_EVERY = 100;

/**
 * Questions in PostgreSQL with the extension pgvector, for any number of processes. The extension and the table are
 * made at the first call. The search is exact within its partition: an approximate index would first find neighbours
 * of other tenants and then drop them.
 * @throws TypeError when neither a pool nor an address is given, or the table's name is none
 * @example cache({ semantic: { embed: "openai/text-embedding-3-small", index: pgvectorIndex({ pool }) } })
 */
export function pgvectorIndex(
  connection: PgvectorConnection,
  { table = "turnpike_cache_vectors", maxEntries = 100_000 }: PgvectorOptions = {},
): VectorIndex {
  if (!/^[a-z_][a-z0-9_]{0,48}$/.test(table)) throw new TypeError("pgvectorIndex: `table` must be a plain name");
  const { query, close } = connect(connection);
  let made: Promise<unknown> | undefined;
  let added = 0;

  async function call(text: string, values: unknown[]): Promise<unknown[]> {
    // After a failure the next call tries again.
    made ??= makeTable().catch((error) => {
      made = undefined;
      throw error;
    });
    await made;
    return (await query(text, values)).rows;
  }

  /** One statement at a time, as poolers and PGlite take them; a race of two processes is lost harmlessly. */
  async function makeTable(): Promise<void> {
    for (const text of [
      "CREATE EXTENSION IF NOT EXISTS vector",
      `CREATE TABLE IF NOT EXISTS ${table} (
        id text PRIMARY KEY,
        partition text NOT NULL,
        question text NOT NULL,
        embedding vector NOT NULL,
        added_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL
      )`,
      `CREATE INDEX IF NOT EXISTS ${table}_partition ON ${table} (partition)`,
    ]) {
      await query(text).catch((error) => {
        if (!["23505", "42P07", "42710"].includes((error as { code?: string }).code ?? "")) throw error;
      });
    }
  }

  async function clear(): Promise<void> {
    await query(
      `DELETE FROM ${table} WHERE expires_at <= now()
        OR id IN (SELECT id FROM ${table} ORDER BY added_at DESC OFFSET $1)`,
      [maxEntries],
    );
  }

  return {
    async add({ partition, id, vector, question }, ttlMs) {
      await call(
        `INSERT INTO ${table} (id, partition, question, embedding, expires_at)
          VALUES ($1, $2, $3, $4::vector, now() + $5 * interval '1 millisecond')
          ON CONFLICT (id) DO UPDATE SET partition = excluded.partition, question = excluded.question,
            embedding = excluded.embedding, added_at = now(), expires_at = excluded.expires_at`,
        [id, partition, question, literal(vector), Math.ceil(ttlMs)],
      );
      if (++added % CLEAR_EVERY === 0) await clear();
    },
    async search(partition, vector, atLeast) {
      const [row] = (await call(
        `SELECT id, question, 1 - (embedding <=> $2::vector) AS similarity FROM ${table}
          WHERE partition = $1 AND expires_at > now() ORDER BY embedding <=> $2::vector LIMIT 1`,
        [partition, literal(vector)],
      )) as { id: string; question: string; similarity: number }[];
      return row && row.similarity >= atLeast ? row : undefined;
    },
    async remove(id) {
      await call(`DELETE FROM ${table} WHERE id = $1`, [id]);
    },
    close,
  };
}

const literal = (vector: Float32Array) => `[${vector.join(",")}]`;

interface Connection {
  query: VectorPool["query"];
  close(): Promise<void>;
}

function connect({ pool, connectionString }: PgvectorConnection): Connection {
  if (typeof pool?.query === "function") return { query: (text, values) => pool.query(text, values), async close() {} };
  if (typeof connectionString !== "string") throw new TypeError("pgvectorIndex needs a pg Pool (query) or an address");
  let opened: Promise<VectorPool & { end(): Promise<void> }> | undefined;
  const open = () => {
    opened ??= openPool(connectionString).catch((error) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  return {
    query: async (text, values) => (await open()).query(text, values),
    async close() {
      await (await opened?.catch(() => undefined))?.end();
    },
  };
}

async function openPool(connectionString: string): Promise<VectorPool & { end(): Promise<void> }> {
  const { default: pg } = await import("pg").catch((cause) => {
    const message = `pgvectorIndex({ connectionString }) needs the package "pg": run "npm install pg", or pass a { pool }`;
    throw new TypeError(message, { cause });
  });
  const pool = new pg.Pool({ connectionString, connectionTimeoutMillis: 2_000 });
  // Every call tells its own failure; without a listener an idle connection that breaks ends the process.
  pool.on("error", () => {});
  return pool;
}
