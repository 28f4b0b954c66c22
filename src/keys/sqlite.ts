import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { z } from "zod";
import { type KeyTable, KeyTableError, NEW_COLUMNS, newRow, READ_COLUMNS, TOUCH_EVERY_MS, toRecord } from "./table.ts";

export {
  type KeyRecord,
  type KeyTable,
  KeyTableError,
  type KeyTableErrorCode,
  type NewKey,
} from "./table.ts";

const sqliteKeysOptions = z.strictObject({
  path: z.string().min(1),
  busyTimeoutMs: z.int().min(0).default(5_000),
  now: z.custom<() => number>((now) => typeof now === "function", "a function that returns epoch ms").optional(),
});

export interface SqliteKeysOptions {
  /** The file; it and its folder are made on first use when missing. `:memory:` dies with the table. */
  path: string;
  /** How long a writing call waits (and blocks) while another process writes, ms. @default 5000 */
  busyTimeoutMs?: number;
  /** Epoch ms. @default Date.now */
  now?: () => number;
}

const SCHEMA_VERSION = 1;

/** Budgets may live in the same file and own its `user_version`: ours stands in a table. */
const SCHEMA = `
CREATE TABLE tp_key(
  id TEXT PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  name TEXT,
  owner TEXT,
  team TEXT,
  tags TEXT,
  models TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER,
  last_used_at INTEGER
) STRICT, WITHOUT ROWID;
`;

const STATEMENTS = {
  insert: `INSERT INTO tp_key(${NEW_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  list: `SELECT ${READ_COLUMNS} FROM tp_key ORDER BY created_at, id`,
  lookup: `SELECT ${READ_COLUMNS} FROM tp_key WHERE hash = ?`,
  revoke: "UPDATE tp_key SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?",
  touch: "UPDATE tp_key SET last_used_at = ? WHERE id = ? AND coalesce(last_used_at, 0) <= ?",
} as const;

interface Opened {
  db: DatabaseSync;
  sql: Record<keyof typeof STATEMENTS, StatementSync>;
}

/**
 * Virtual keys in one SQLite file (`node:sqlite`), which several processes of one machine may share, also with the
 * budget store. The file is opened on first use. A look-up never waits for a writer; the other calls block for at most
 * `busyTimeoutMs` while another process writes.
 * @throws KeyTableError from every method when the file cannot be used
 * @example
 * const table = sqliteKeys("turnpike.db");
 * const { id, key } = await table.create({ user: "alice", models: ["claude-*"] });
 */
export function sqliteKeys(given: string | SqliteKeysOptions): KeyTable {
  const parsed = sqliteKeysOptions.safeParse(typeof given === "string" ? { path: given } : given);
  if (!parsed.success) throw new TypeError(`sqliteKeys: ${z.prettifyError(parsed.error)}`);
  const { path, busyTimeoutMs, now = Date.now } = parsed.data;
  let opened: Opened | undefined;
  let closed = false;

  // Asynchronous in form only, so that all tables are used alike.
  async function use<T>(body: (opened: Opened) => T): Promise<T> {
    if (closed) throw new KeyTableError("table_closed", `The key table ${path} is closed`);
    try {
      opened ??= open(path, busyTimeoutMs);
      return body(opened);
    } catch (error) {
      throw explain(error, path);
    }
  }

  return {
    create: (options = {}) =>
      use(({ sql }) => {
        const { id, key, row } = newRow(options, now());
        sql.insert.run(...row);
        return { id, key };
      }),
    list: () => use(({ sql }) => sql.list.all().map(toRecord)),
    revoke: (id) => use(({ sql }) => sql.revoke.run(now(), id).changes > 0),
    lookup: (hash) =>
      use(({ sql }) => {
        const row = sql.lookup.get(hash);
        return row && toRecord(row);
      }),
    touch: (id) =>
      use(({ db, sql }) => {
        // Not worth waiting for: the next use notes it too.
        db.exec("PRAGMA busy_timeout = 0");
        try {
          const time = now();
          sql.touch.run(time, id, time - TOUCH_EVERY_MS);
        } finally {
          db.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
        }
      }),
    async close() {
      closed = true;
      opened?.db.close();
      opened = undefined;
    },
  };
}

function open(path: string, busyTimeoutMs: number): Opened {
  // Loaded on use, so that who imports this module does not need `node:sqlite`.
  const sqlite = process.getBuiltinModule?.("node:sqlite");
  if (!sqlite)
    throw new KeyTableError("table_failed", "sqliteKeys needs node:sqlite, which Node.js 22.13 and later have");
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true });
  const db = new sqlite.DatabaseSync(path);
  try {
    db.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    retryWhileBusy(busyTimeoutMs, () => db.exec("PRAGMA journal_mode = WAL"));
    migrate(db, path);
    const sql = Object.fromEntries(Object.entries(STATEMENTS).map(([name, text]) => [name, db.prepare(text)]));
    return { db, sql: sql as unknown as Opened["sql"] };
  } catch (error) {
    db.close();
    throw error;
  }
}

function migrate(db: DatabaseSync, path: string): void {
  db.exec("BEGIN IMMEDIATE");
  db.exec("CREATE TABLE IF NOT EXISTS tp_meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID");
  const version = Number(db.prepare("SELECT value FROM tp_meta WHERE name = 'keys'").get()?.value ?? 0);
  if (version > SCHEMA_VERSION) {
    throw new KeyTableError(
      "table_schema",
      `The key table in ${path} has schema version ${version}, this Turnpike knows ${SCHEMA_VERSION}: use the newer Turnpike`,
    );
  }
  if (version === 0) {
    db.exec(SCHEMA);
    db.prepare("INSERT INTO tp_meta(name, value) VALUES('keys', ?)").run(SCHEMA_VERSION);
  }
  db.exec("COMMIT");
}

/** SQLite does not wait by itself when two processes switch a new file to WAL at the same time. */
function retryWhileBusy(timeoutMs: number, action: () => void): void {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      action();
      return;
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 + Math.random() * 10);
    }
  }
}

/** SQLite's and the file system's errors as ours; all others as they are. */
function explain(error: unknown, path: string): unknown {
  if (error instanceof KeyTableError || error instanceof TypeError) return error;
  if (isBusy(error)) {
    return new KeyTableError("table_busy", `The key table ${path} is locked by another process`, { cause: error });
  }
  return new KeyTableError("table_failed", `The key table ${path} failed: ${(error as Error).message}`, {
    cause: error,
  });
}

function isBusy(error: unknown): boolean {
  // The low byte is the primary code: 5 SQLITE_BUSY, 6 SQLITE_LOCKED.
  const primary = ((error as { errcode?: number }).errcode ?? 0) & 0xff;
  return primary === 5 || primary === 6;
}
