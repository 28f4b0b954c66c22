import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  type Change,
  checkRef,
  checkRenew,
  checkReserve,
  checkSettle,
  ENDED_KEPT_MS,
  expiry,
  giveBack,
  grant,
  type HeldPart,
  heldParts,
  partialCharge,
  type ReservationState,
  replayAnswer,
  reserveAnswer,
  type Sums,
  settlement,
  takeHold,
} from "../budget/arithmetic.ts";
import { type CounterRef, ReservationConflict, ReservationLost, type Units } from "../core/budget-store.ts";
import { currentOwner, isDead } from "./sqlite-owner.ts";
import type { SyncBudgetStore } from "./sync-store.ts";

export type * from "../core/budget-store.ts";
export type { SyncBudgetStore } from "./sync-store.ts";

export interface SqliteStoreOptions {
  /** The file; it and its folder are made when missing. `:memory:` is a private database that dies with the store. */
  readonly path: string;
  /** Epoch ms. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** `NORMAL` survives the crash of a process; `FULL` also a power cut, and costs a flush per call. @default "NORMAL" */
  readonly synchronous?: "NORMAL" | "FULL" | undefined;
  /** How long a call waits (and blocks) while another process writes, ms. @default 5000 */
  readonly busyTimeoutMs?: number | undefined;
}

/**
 * - `store_busy`: another process kept the file locked for longer than `busyTimeoutMs`; trying again can help.
 * - `store_closed`: the store was used after `close()`.
 * - `store_schema`: the file was written by a newer Turnpike, or is not a budget file.
 * - `store_failed`: anything else SQLite refuses (disk full, file damaged, no right to write); see `cause`.
 */
export type SqliteStoreErrorCode = "store_busy" | "store_closed" | "store_schema" | "store_failed";

export class SqliteStoreError extends Error {
  override readonly name = "SqliteStoreError";
  readonly code: SqliteStoreErrorCode;

  constructor(code: SqliteStoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

interface Reservation {
  readonly id: string;
  readonly state: ReservationState;
  readonly fingerprint: string;
  readonly granted: Units;
  readonly onExpire: "release" | "charge";
  readonly expiresAt: number;
  readonly parts: readonly HeldPart[];
}

const SCHEMA_VERSION = 1;

const SCHEMA = `
CREATE TABLE tp_counter(
  key TEXT NOT NULL,
  win INTEGER NOT NULL,
  used INTEGER NOT NULL DEFAULT 0 CHECK(used BETWEEN 0 AND 9007199254740991),
  held INTEGER NOT NULL DEFAULT 0 CHECK(held BETWEEN 0 AND 9007199254740991),
  keep_until INTEGER NOT NULL,
  PRIMARY KEY(key, win)
) STRICT, WITHOUT ROWID;
CREATE INDEX tp_counter_old ON tp_counter(keep_until);

CREATE TABLE tp_reservation(
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK(state IN ('held', 'settled', 'released', 'expired')),
  fp TEXT NOT NULL,
  granted INTEGER NOT NULL,
  on_expire TEXT NOT NULL CHECK(on_expire IN ('release', 'charge')),
  expires_at INTEGER NOT NULL,
  ended_at INTEGER,
  owner TEXT NOT NULL,
  parts TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tp_live ON tp_reservation(expires_at) WHERE state = 'held';
CREATE INDEX tp_ended ON tp_reservation(ended_at) WHERE state <> 'held';
PRAGMA user_version = ${SCHEMA_VERSION};
`;

const FIELDS = "id, state, fp, granted, on_expire, expires_at, parts";

const STATEMENTS = {
  beginRead: "BEGIN",
  beginWrite: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  find: `SELECT ${FIELDS} FROM tp_reservation WHERE id = ?`,
  due: `SELECT ${FIELDS} FROM tp_reservation WHERE state = 'held' AND expires_at <= ? ORDER BY expires_at LIMIT ?`,
  insert: `INSERT INTO tp_reservation(id, state, fp, granted, on_expire, expires_at, ended_at, owner, parts)
    VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  end: "UPDATE tp_reservation SET state = ?, ended_at = ?, parts = ? WHERE id = ?",
  renew: "UPDATE tp_reservation SET expires_at = ?, parts = ? WHERE id = ?",
  read: "SELECT used, held FROM tp_counter WHERE key = ? AND win = ?",
  sum: `SELECT min(coalesce(sum(used), 0), 9007199254740991) AS used,
    min(coalesce(sum(held), 0), 9007199254740991) AS held FROM tp_counter WHERE key = ? AND win BETWEEN ? AND ?`,
  // The zero row comes first: an upsert of a negative `held` fails the CHECK before it gets to its UPDATE.
  open: `INSERT INTO tp_counter(key, win, keep_until) VALUES(?, ?, ?) ON CONFLICT(key, win)
    DO UPDATE SET keep_until = excluded.keep_until WHERE excluded.keep_until > keep_until`,
  change: `UPDATE tp_counter SET used = max(0, min(used + ?, 9007199254740991)), held = held + ?
    WHERE key = ? AND win = ?`,
  forgetCounters: `DELETE FROM tp_counter WHERE (key, win) IN
    (SELECT key, win FROM tp_counter WHERE keep_until <= ? AND held = 0 LIMIT ?)`,
  forgetReservations: `DELETE FROM tp_reservation WHERE id IN
    (SELECT id FROM tp_reservation WHERE state <> 'held' AND ended_at <= ? LIMIT ?)`,
  owners: "SELECT DISTINCT owner FROM tp_reservation WHERE state = 'held'",
  ofOwner: `SELECT ${FIELDS} FROM tp_reservation WHERE state = 'held' AND owner = ?`,
} as const;

/** Holds that are expired per call on the way, and most that a reserve expires to make room. */
const SWEEP_BATCH = 100;
const SWEEP_MOST = 1000;
/** Every so many writing calls, so many old rows are deleted: more than those calls can add in the long run. */
const COLLECT_EVERY = 16;
const COLLECT_COUNTERS = 64;
const COLLECT_RESERVATIONS = 32;

/**
 * A budget store in one SQLite file (`node:sqlite`), which several processes of one machine may share. Answers at once
 * (no promises); a call blocks for at most `busyTimeoutMs` while another process writes. Holds whose process died on
 * this machine are expired when the file is opened next; ended reservations are remembered for 24 hours, buckets for
 * two windows and 24 hours after they stopped to count.
 * @throws SqliteStoreError when the file cannot be used; see {@link SqliteStoreErrorCode}.
 * @example const store = sqliteStore("./data/budgets.db")
 */
export function sqliteStore(options: string | SqliteStoreOptions): SyncBudgetStore {
  const settings = typeof options === "string" ? { path: options } : options;
  const { path, now = Date.now } = settings;
  const isFile = path !== ":memory:";
  const db = open(settings);
  const sql = Object.fromEntries(
    Object.entries(STATEMENTS).map(([name, text]) => [name, db.prepare(text)]),
  ) as unknown as Record<keyof typeof STATEMENTS, StatementSync>;
  const owner = currentOwner();
  let writes = 0;

  function transaction<T>(begin: StatementSync, body: (time: number) => T): T {
    if (!db.isOpen) throw new SqliteStoreError("store_closed", `The budget store ${path} is closed`);
    try {
      begin.run();
      // The clock is read under the lock, so that the order of writes is the order of times.
      const result = body(now());
      sql.commit.run();
      return result;
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      throw explain(error, path);
    }
  }

  function write<T>(body: (time: number) => T): T {
    return transaction(sql.beginWrite, (time) => {
      if (writes++ % COLLECT_EVERY === 0) collect(time);
      sweep(time, SWEEP_BATCH);
      return body(time);
    });
  }

  function collect(time: number): void {
    sql.forgetCounters.run(time, COLLECT_COUNTERS);
    sql.forgetReservations.run(time - ENDED_KEPT_MS, COLLECT_RESERVATIONS);
  }

  /** Expires what is due, at most `most`. Returns how many. */
  function sweep(time: number, most: number): number {
    const due = sql.due.all(time, most).map(toReservation);
    for (const reservation of due) expire(reservation, time);
    return due.length;
  }

  function expire(reservation: Reservation, time: number): void {
    apply(expiry(reservation));
    end(reservation, "expired", time);
  }

  function end({ id, parts }: Reservation, state: ReservationState, time: number): void {
    // A settled id is only remembered to tell duplicates; the others may still be settled late.
    sql.end.run(state, time, state === "settled" ? "[]" : writeParts(parts), id);
  }

  function find(id: string, time: number): Reservation | undefined {
    const row = sql.find.get(id);
    if (!row) return undefined;
    const found = toReservation(row);
    if (found.state !== "held" || found.expiresAt > time) return found;
    expire(found, time);
    return { ...found, state: "expired" };
  }

  /** `last`: the last bucket that counts. */
  function sums({ counter, bucket, from, step }: CounterRef, last = bucket): Sums {
    const row = step === 0 ? sql.read.get(counter, bucket) : sql.sum.get(counter, from, last);
    return (row as unknown as Sums | undefined) ?? { used: 0, held: 0 };
  }

  function apply(changes: readonly Change[]): void {
    for (const { counter, bucket, used, held, keepUntil } of changes) {
      if (held >= 0) sql.open.run(counter, bucket, keepUntil);
      sql.change.run(used, held, counter, bucket);
    }
  }

  // Another process of this machine may have died with holds in this file.
  try {
    transaction(sql.beginWrite, (time) => {
      for (const row of sql.owners.all()) {
        if (!isDead(String(row.owner))) continue;
        for (const reservation of sql.ofOwner.all(row.owner!)) expire(toReservation(reservation), time);
      }
    });
  } catch (error) {
    db.close();
    throw error;
  }

  return {
    traits: { shared: isFile, durable: isFile, clock: "process" },

    reserve(request) {
      checkReserve(request);
      const { id, fingerprint, holds, want, min, ttlMs, onExpire } = request;
      return write((time) => {
        const found = find(id, time);
        if (found) {
          if (found.fingerprint !== fingerprint) {
            throw new ReservationConflict(`Reservation "${id}" was made for another request`);
          }
          const states = holds.map((hold) => sums(hold));
          return replayAnswer(request, states, found.granted, time);
        }
        const look = () => holds.map((hold) => sums(hold, reach(hold)));
        let states = look();
        let result = grant(holds, states, want, min);
        const isTight = !result.ok || result.granted < want;
        if (isTight && sweep(time, SWEEP_MOST) > 0) {
          states = look();
          result = grant(holds, states, want, min);
        }
        if (result.ok) {
          const parts = heldParts(holds, result.amounts);
          apply(takeHold(parts));
          const { granted } = result;
          sql.insert.run(id, "held", fingerprint, granted, onExpire, time + ttlMs, null, owner, writeParts(parts));
        }
        return reserveAnswer(request, states, result, time);
      });
    },

    settle(request) {
      checkSettle({ ...request, actual: NO_AMOUNTS });
      return write((time) => {
        const found = find(request.id, time);
        checkSettle(request, found?.parts);
        const { outcome, overrun, changes } = settlement(found, request);
        if (outcome === "duplicate") return { outcome, overrun };
        apply(changes);
        if (found) end(found, "settled", time);
        else sql.insert.run(request.id, "settled", "", 0, "release", time, time, owner, "[]");
        return { outcome, overrun };
      });
    },

    release(id) {
      return write((time) => {
        const found = find(id, time);
        if (found?.state !== "held") return { released: false };
        apply(giveBack(found.parts));
        end(found, "released", time);
        return { released: true };
      });
    },

    renew(request) {
      checkRenew(request);
      const { id, ttlMs, charge = NO_AMOUNTS } = request;
      const isRenewed = write((time) => {
        const found = find(id, time);
        if (found?.state !== "held") return false;
        checkRenew(request, found.parts);
        const { parts, changes } = partialCharge(found.parts, charge);
        if (charge.size > 0) apply(changes);
        sql.renew.run(Math.max(found.expiresAt, time + ttlMs), writeParts(parts), id);
        return true;
      });
      // Thrown outside the transaction, which may have expired the hold just now.
      if (!isRenewed) throw new ReservationLost(`Reservation "${id}" is no longer held`);
    },

    usage(refs) {
      for (const ref of refs) checkRef(ref);
      const readAll = () =>
        refs.map((ref) => ({ counter: ref.counter, bucket: ref.bucket, ...sums(ref), limit: null, until: 0 }));
      const answer = transaction(sql.beginRead, (time) => (sql.due.get(time, 1) ? undefined : readAll()));
      return answer ?? write(readAll);
    },

    close() {
      if (db.isOpen) db.close();
    },
  };
}

const NO_AMOUNTS: ReadonlyMap<string, Units> = new Map();

/**
 * The last bucket that a reservation counts. Windows of later buckets have its own in them too, and a call may come when
 * such a bucket was charged already.
 */
function reach({ bucket, from }: CounterRef): number {
  return 2 * bucket - from;
}

// ---- Rows ----

function toReservation(row: Record<string, unknown>): Reservation {
  return {
    id: row.id as string,
    state: row.state as ReservationState,
    fingerprint: row.fp as string,
    granted: row.granted as number,
    onExpire: row.on_expire as "release" | "charge",
    expiresAt: row.expires_at as number,
    parts: readParts(row.parts as string),
  };
}

function writeParts(parts: readonly HeldPart[]): string {
  return JSON.stringify(parts.map(({ counter, bucket, amount, keepUntil }) => [counter, bucket, amount, keepUntil]));
}

function readParts(text: string): HeldPart[] {
  return (JSON.parse(text) as [string, number, number, number][]).map(([counter, bucket, amount, keepUntil]) => ({
    counter,
    bucket,
    amount,
    keepUntil,
  }));
}

// ---- Opening ----

function open({ path, synchronous = "NORMAL", busyTimeoutMs = 5000 }: SqliteStoreOptions): DatabaseSync {
  if (typeof path !== "string" || path === "") throw new TypeError("sqliteStore needs the path of a file");
  if (synchronous !== "NORMAL" && synchronous !== "FULL") {
    throw new TypeError(`synchronous must be "NORMAL" or "FULL", not ${JSON.stringify(synchronous)}`);
  }
  if (!Number.isSafeInteger(busyTimeoutMs) || busyTimeoutMs < 0) {
    throw new TypeError(`busyTimeoutMs must be whole milliseconds, not ${busyTimeoutMs}`);
  }
  const { DatabaseSync } = loadSqlite();
  let db: DatabaseSync | undefined;
  try {
    if (path !== ":memory:" && !path.startsWith("file:")) mkdirSync(dirname(path), { recursive: true });
    db = new DatabaseSync(path);
    const opened = db;
    opened.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    retryWhileBusy(busyTimeoutMs, () => opened.exec("PRAGMA journal_mode = WAL"));
    opened.exec(`PRAGMA synchronous = ${synchronous}`);
    migrate(opened, path);
    return opened;
  } catch (error) {
    db?.close();
    throw explain(error, path);
  }
}

/** Loaded when a store is made, so that who imports this module does not need `node:sqlite`. */
function loadSqlite(): typeof import("node:sqlite") {
  const sqlite = process.getBuiltinModule?.("node:sqlite");
  if (!sqlite)
    throw new SqliteStoreError("store_failed", "sqliteStore needs node:sqlite, which Node.js 22.13 and later have");
  return sqlite;
}

function migrate(db: DatabaseSync, path: string): void {
  db.exec("BEGIN IMMEDIATE");
  const version = Number(db.prepare("PRAGMA user_version").get()?.user_version);
  if (version > SCHEMA_VERSION) {
    throw new SqliteStoreError(
      "store_schema",
      `${path} has schema version ${version}, this Turnpike knows ${SCHEMA_VERSION}: use the newer Turnpike or another file`,
    );
  }
  if (version === 0) {
    if (db.prepare("SELECT 1 FROM sqlite_schema WHERE tbl_name NOT IN ('tp_key', 'tp_meta') LIMIT 1").get()) {
      throw new SqliteStoreError(
        "store_schema",
        `${path} is a database of something else: give the store its own file`,
      );
    }
    db.exec(SCHEMA);
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

// ---- Errors ----

/** SQLite's errors as ours; all others as they are. */
function explain(error: unknown, path: string): unknown {
  if ((error as NodeJS.ErrnoException).code !== "ERR_SQLITE_ERROR") return error;
  if (isBusy(error)) {
    const message = `The budget store ${path} is locked by another process`;
    return new SqliteStoreError("store_busy", message, { cause: error });
  }
  const message = `The budget store ${path} failed: ${(error as Error).message}`;
  return new SqliteStoreError("store_failed", message, { cause: error });
}

function isBusy(error: unknown): boolean {
  // The low byte is the primary code: 5 SQLITE_BUSY, 6 SQLITE_LOCKED.
  const primary = ((error as { errcode?: number }).errcode ?? 0) & 0xff;
  return primary === 5 || primary === 6;
}
