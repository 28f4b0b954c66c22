import { z } from "zod";
import { type KeyTable, KeyTableError, NEW_COLUMNS, newRow, READ_COLUMNS, TOUCH_EVERY_MS, toRecord } from "./table.ts";

export {
  type KeyRecord,
  type KeyTable,
  KeyTableError,
  type KeyTableErrorCode,
  type NewKey,
} from "./table.ts";

/** A `pg` pool, by the one method that is called. */
export interface PgPool {
  query(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[]; rowCount?: number | null }>;
}

/** Either a pool, which stays yours to close, or an address such as `postgres://localhost/turnpike` for `pg`. */
export type PostgresKeysConnection =
  | { readonly pool: PgPool; readonly connectionString?: undefined }
  | { readonly connectionString: string; readonly pool?: undefined };

const connectionOptions = z.union(
  [
    z.strictObject({ pool: z.custom<PgPool>((pool) => typeof (pool as PgPool | undefined)?.query === "function") }),
    z.strictObject({ connectionString: z.string().min(1) }),
  ],
  "expected { pool }, for example a Pool of pg, or { connectionString }",
);

const postgresKeysOptions = z.strictObject({
  schema: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}$/, "a name of lower-case letters, digits and underscore")
    .default("turnpike"),
  migrate: z.boolean().default(false),
  now: z.custom<() => number>((now) => typeof now === "function", "a function that returns epoch ms").optional(),
});

export interface PostgresKeysOptions {
  /** Schema of the tables, made when missing. @default "turnpike" */
  schema?: string;
  /** Set up or update the tables on first use; otherwise call `migrate()` when you deploy. @default false */
  migrate?: boolean;
  /** Epoch ms. @default Date.now */
  now?: () => number;
}

export interface PostgresKeyTable extends KeyTable {
  /** Sets up or updates the tables; several processes may do it at the same time. */
  migrate(): Promise<void>;
}

const SCHEMA_VERSION = 1;

/**
 * Virtual keys in PostgreSQL, for several machines.
 * @throws KeyTableError from every method when the database cannot be used or is not set up
 * @example const table = postgresKeys({ pool: new pg.Pool() }, { migrate: true });
 */
export function postgresKeys(connection: PostgresKeysConnection, given: PostgresKeysOptions = {}): PostgresKeyTable {
  const where = connectionOptions.safeParse(connection);
  if (!where.success) throw new TypeError(`postgresKeys: ${z.prettifyError(where.error)}`);
  const parsed = postgresKeysOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`postgresKeys: ${z.prettifyError(parsed.error)}`);
  const { schema, now = Date.now } = parsed.data;
  const table = `"${schema}".tp_key`;
  let own: Promise<OwnPool> | undefined;
  let ready: Promise<void> | undefined;
  let closed = false;

  async function pool(): Promise<PgPool> {
    if ("pool" in where.data!) return where.data.pool;
    own ??= ownPool(where.data!.connectionString);
    return own;
  }

  async function run(text: string, values?: unknown[]) {
    if (closed) throw new KeyTableError("table_closed", "The key table is closed");
    try {
      return await (await pool()).query(text, values);
    } catch (error) {
      throw explain(error);
    }
  }

  async function query(text: string, values?: unknown[]) {
    if (parsed.data!.migrate) {
      ready ??= migrate();
      await ready.catch((error: unknown) => {
        ready = undefined;
        throw error;
      });
    }
    return run(text, values);
  }

  // One message without values is one transaction.
  const migrate = async () => void (await run(migration(schema)));

  return {
    migrate,
    async create(options = {}) {
      const { id, key, row } = newRow(options, now());
      await query(`INSERT INTO ${table}(${NEW_COLUMNS}) VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9)`, row);
      return { id, key };
    },
    async list() {
      return (await query(`SELECT ${READ_COLUMNS} FROM ${table} ORDER BY created_at, id`)).rows.map(toRecord);
    },
    async revoke(id) {
      const text = `UPDATE ${table} SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 RETURNING id`;
      return (await query(text, [now(), id])).rows.length > 0;
    },
    async lookup(hash) {
      const [row] = (await query(`SELECT ${READ_COLUMNS} FROM ${table} WHERE hash = $1`, [hash])).rows;
      return row && toRecord(row);
    },
    async touch(id) {
      const time = now();
      const text = `UPDATE ${table} SET last_used_at = $1 WHERE id = $2 AND coalesce(last_used_at, 0) <= $3`;
      await query(text, [time, id, time - TOUCH_EVERY_MS]);
    },
    async close() {
      if (closed) return;
      closed = true;
      await (await own?.catch(() => undefined))?.end();
    },
  };
}

interface OwnPool extends PgPool {
  on(event: "error", listener: (error: Error) => void): unknown;
  end(): Promise<void>;
}

async function ownPool(connectionString: string): Promise<OwnPool> {
  const name = "pg";
  let pg: { default: { Pool: new (options: object) => OwnPool } };
  try {
    pg = (await import(name)) as typeof pg;
  } catch (error) {
    const message = "postgresKeys({ connectionString }) needs the package pg: npm install pg";
    throw new KeyTableError("table_failed", message, { cause: error });
  }
  const pool = new pg.default.Pool({ connectionString, max: 4, connectionTimeoutMillis: 2_000, query_timeout: 5_000 });
  // A connection that breaks while nobody uses it is replaced at the next call.
  pool.on("error", () => {});
  return pool;
}

/** The lock is the one that the budget store takes, whose tables may stand in the same schema. */
function migration(schema: string): string {
  return `
SELECT pg_advisory_xact_lock(hashtextextended('turnpike migrate "${schema}"', 0));
DO $$
DECLARE v integer;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = '${schema}') THEN
    CREATE SCHEMA "${schema}";
  END IF;
  IF to_regclass('"${schema}".tp_key_meta') IS NULL THEN
    CREATE TABLE "${schema}".tp_key_meta(version integer NOT NULL);
    INSERT INTO "${schema}".tp_key_meta VALUES(0);
  END IF;
  SELECT version INTO v FROM "${schema}".tp_key_meta;
  IF v > ${SCHEMA_VERSION} THEN
    RAISE EXCEPTION 'the key table has schema version %, this Turnpike knows ${SCHEMA_VERSION}: use the newer Turnpike', v
      USING ERRCODE = 'TP001';
  END IF;
  IF v < 1 THEN
    CREATE TABLE "${schema}".tp_key(
      id text PRIMARY KEY,
      hash text NOT NULL UNIQUE,
      name text,
      owner text,
      team text,
      tags text,
      models text,
      created_at bigint NOT NULL,
      expires_at bigint,
      revoked_at bigint,
      last_used_at bigint
    );
    UPDATE "${schema}".tp_key_meta SET version = 1;
  END IF;
END $$;`;
}

function explain(error: unknown): KeyTableError {
  if (error instanceof KeyTableError) return error;
  const { code, message } = error as { code?: string; message?: string };
  // undefined_table, invalid_schema_name
  if (code === "42P01" || code === "3F000") {
    const text = "The key table is not set up: call migrate(), or pass { migrate: true }";
    return new KeyTableError("table_schema", text, { cause: error });
  }
  if (code === "TP001") return new KeyTableError("table_schema", `PostgreSQL: ${message}`, { cause: error });
  return new KeyTableError("table_failed", `The key table failed: ${message || code || error}`, { cause: error });
}
