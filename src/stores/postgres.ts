import { randomUUID } from "node:crypto";
import {
  checkRef,
  checkRenew,
  checkReserve,
  checkSettle,
  grant,
  keepUntil,
  replayAnswer,
  reserveAnswer,
  type Sums,
} from "../budget/arithmetic.ts";
import {
  type BudgetStore,
  type CounterState,
  InvalidUnits,
  ReservationConflict,
  ReservationLost,
  type ReserveRequest,
  type ReserveResult,
  type SettleOutcome,
  type SettleRequest,
  type Units,
} from "../core/budget-store.ts";
import { PostgresStoreError } from "./postgres/errors.ts";
import { type PostgresPool, useConnectionString, usePool } from "./postgres/pool.ts";
import { MIGRATED, migration, quoteName, SCHEMA_VERSION } from "./postgres/schema.ts";

export type * from "../core/budget-store.ts";

export { PostgresStoreError, type PostgresStoreErrorCode } from "./postgres/errors.ts";
export type { PostgresPool } from "./postgres/pool.ts";

/** Either a `pg` pool, which stays yours to end, or an address such as `postgres://localhost/app` for `pg`. */
export type PostgresStoreConnection =
  | { readonly pool: PostgresPool; readonly connectionString?: undefined }
  | { readonly connectionString: string; readonly pool?: undefined };

export interface PostgresStoreOptions {
  /** Where the store's tables and functions are; nothing else should be in it. @default "turnpike" */
  readonly schema?: string | undefined;
  /** Sets up the schema before the first call, which needs the right to create it. @default false */
  readonly migrate?: boolean | undefined;
}

/** All answers are promises. */
export interface PostgresBudgetStore extends BudgetStore {
  reserve(request: ReserveRequest): Promise<ReserveResult>;
  settle(request: SettleRequest): Promise<{ outcome: SettleOutcome; overrun: Units }>;
  release(id: string): Promise<{ released: boolean }>;
  renew(request: { id: string; ttlMs: number; charge?: ReadonlyMap<string, Units> }): Promise<void>;
  usage(refs: Parameters<BudgetStore["usage"]>[0]): Promise<CounterState[]>;
  /**
   * Makes the schema, or brings it up to date. Several processes may do so at once.
   * @throws PostgresStoreError `store_schema` when a newer Turnpike made it.
   */
  migrate(): Promise<void>;
  close(): Promise<void>;
}

/** Expired reservations that one call ends. */
const SWEEP_BATCH = 100;
/** Rounds of them before a call takes the counters as they are. */
const SWEEP_ROUNDS = 20;
/** Every so many writing calls, so many old rows are deleted: more than those calls can add in the long run. */
const COLLECT_EVERY = 64;
const COLLECT_ROWS = 256;

/**
 * A budget store in PostgreSQL (12 or later), for any number of processes. Every call is one round trip and one
 * transaction. Time is the server's. Ended reservations are remembered for 24 hours, buckets until two windows and 24
 * hours after they stopped to count; a share of the calls deletes older rows. Expired holds are ended by the next call
 * that depends on them. Calls that met a deadlock or a broken connection are repeated, which is safe.
 *
 * Requests on one counter wait for each other's commit: above some hundred requests per second on one counter, put
 * `leased()` in front.
 * @throws TypeError when neither a pool nor a connection string is given; the calls reject with
 * {@link PostgresStoreError}.
 * @example
 * const store = postgresStore({ pool })
 * await store.migrate() // once, at deployment
 */
export function postgresStore(
  connection: PostgresStoreConnection,
  { schema = "turnpike", migrate: mayMigrate = false }: PostgresStoreOptions = {},
): PostgresBudgetStore {
  const s = quoteName(schema);
  const { query, close } = connect(connection);
  const origin = randomUUID();
  let calls = 0;
  let isClosed = false;
  let ready: Promise<void> | undefined;
  const background = new Set<Promise<unknown>>();

  async function ask(text: string, values?: unknown[]): Promise<unknown[]> {
    if (isClosed) throw new PostgresStoreError("store_closed", "The PostgreSQL budget store is closed");
    try {
      return (await query(text, values)).rows;
    } catch (error) {
      throw explain(error, schema);
    }
  }

  /** One function of the schema. */
  async function call<T>(name: "reserve" | "finish" | "renew" | "usage", input: object): Promise<T> {
    ready ??= prepare().catch((error) => {
      // The next call looks again.
      ready = undefined;
      throw error;
    });
    await ready;
    const [row] = await ask(`SELECT ${s}.${name}($1) AS answer`, [JSON.stringify(input)]);
    return JSON.parse((row as { answer: string }).answer) as T;
  }

  async function prepare(): Promise<void> {
    if ((await version()) === SCHEMA_VERSION) return;
    if (mayMigrate) return migrate();
    const message = `The schema ${s} has no budget tables of this Turnpike: call store.migrate(), or pass migrate: true`;
    throw new PostgresStoreError("store_schema", message);
  }

  /** 0 when there is no schema yet. */
  async function version(): Promise<number> {
    const [found] = await ask("SELECT to_regclass($1) IS NOT NULL AS here", [`${s}.version`]);
    if (!(found as { here: boolean }).here) return 0;
    const [row] = await ask(`SELECT version FROM ${s}.version`);
    const number = Number((row as { version: number } | undefined)?.version ?? 0);
    if (number > SCHEMA_VERSION) throw newer(number, schema);
    return number;
  }

  async function migrate(): Promise<void> {
    if ((await version()) === SCHEMA_VERSION) return;
    await ask(migration(s)).catch((error) => {
      if (!String(error).includes(MIGRATED)) throw error;
    });
  }

  /** Calls until nothing that expired is in the way of the answer. */
  async function swept(name: "reserve" | "usage", input: object): Promise<Answer> {
    for (let round = 0; ; round++) {
      const answer = await call<Answer>(name, { ...input, force: round >= SWEEP_ROUNDS });
      if (answer.kind !== "sweep") return answer;
      await ask(`SELECT ${s}.sweep($1)`, [SWEEP_BATCH]);
    }
  }

  /** Housekeeping that nobody waits for, but `close()`. */
  function later(text: string, most: number): void {
    if (isClosed) return;
    const work = ask(text, [most])
      .catch(() => {})
      .finally(() => background.delete(work));
    background.add(work);
  }

  /** Tells a call that was sent twice, after a broken connection, from two calls. */
  function mark(): string {
    if (++calls % COLLECT_EVERY === 0) later(`SELECT ${s}.collect($1)`, COLLECT_ROWS);
    return `${origin}:${calls}`;
  }

  return {
    traits: { shared: true, durable: true, clock: "store" },
    migrate,

    async reserve(request) {
      checkReserve(request);
      const { id, fingerprint, holds, want, min, ttlMs, onExpire } = request;
      const answer = await swept("reserve", {
        id,
        fp: fingerprint,
        want,
        min,
        ttl: ttlMs,
        onx: onExpire,
        mark: mark(),
        holds: holds.map((hold, i) => ({
          i: i + 1,
          k: hold.counter,
          b: hold.bucket,
          f: hold.from,
          s: hold.step,
          keep: keepUntil(hold),
          fx: hold.fixed,
          pu: hold.perUnit,
          lim: hold.limit,
        })),
      });
      const { kind, granted, now } = answer;
      if (kind === "conflict") throw new ReservationConflict(`Reservation "${id}" was made for another request`);
      if (kind === "over") throw new InvalidUnits(`counter "${answer.counter}" would pass 2^53 - 1`);
      if (answer.due && background.size === 0) later(`SELECT ${s}.sweep($1)`, SWEEP_BATCH);
      const states = toSums(answer);
      if (kind === "denied") return reserveAnswer(request, states, grant(holds, states, want, min), now);
      if (kind === "replay") return replayAnswer(request, states, granted, now);
      // "mine": this very call, repeated after its answer was lost. The states have its hold in them already.
      if (kind === "mine") return { ...replayAnswer(request, states, granted, now), replayed: false } as ReserveResult;
      const amounts = holds.map((hold) => hold.fixed + granted * hold.perUnit);
      return reserveAnswer(request, states, { ok: true, granted, amounts }, now);
    },

    async settle(request) {
      const { id, holds, actual } = request;
      checkSettle({ ...request, actual: NO_AMOUNTS });
      // The function knows the counters of the reservation: only the amounts are checked here.
      checkSettle(request, amountsOnly(actual));
      const { kind, overrun, counter } = await call<Finished>("finish", {
        op: "settle",
        id,
        mark: mark(),
        holds: holds.map((hold) => ({ k: hold.counter, b: hold.bucket, keep: keepUntil(hold) })),
        actual: writeAmounts(actual),
      });
      if (kind === "unnamed") throw new InvalidUnits(`actual names counter "${counter}", which no hold names`);
      return { outcome: kind as SettleOutcome, overrun };
    },

    async release(id) {
      const { kind } = await call<Finished>("finish", { op: "release", id, mark: mark() });
      return { released: kind === "released" };
    },

    async renew(request) {
      const { id, ttlMs, charge = NO_AMOUNTS } = request;
      checkRenew(request, amountsOnly(charge));
      const input = { id, ttl: ttlMs, mark: mark(), charge: writeAmounts(charge) };
      const { kind, counter } = await call<Finished>("renew", input);
      if (kind === "lost") throw new ReservationLost(`Reservation "${id}" is no longer held`);
      if (kind === "unnamed") throw new InvalidUnits(`charge names counter "${counter}", which no hold names`);
    },

    async usage(refs) {
      for (const ref of refs) checkRef(ref);
      const named = refs.map(({ counter, from, bucket }, i) => ({ i, k: counter, f: from, b: bucket }));
      const states = toSums(await swept("usage", { refs: named }));
      return refs.map(({ counter, bucket }, i) => ({ counter, bucket, ...states[i]!, limit: null, until: 0 }));
    },

    async close() {
      if (isClosed) return;
      isClosed = true;
      await Promise.all(background);
      await close();
    },
  };
}

interface Answer {
  readonly kind: "ok" | "denied" | "replay" | "mine" | "conflict" | "over" | "sweep";
  readonly granted: number;
  readonly now: number;
  readonly due?: boolean;
  readonly used: readonly number[];
  readonly held: readonly number[];
  readonly counter?: string;
}

interface Finished {
  readonly kind: string;
  readonly overrun: number;
  readonly counter?: string;
}

const NO_AMOUNTS: ReadonlyMap<string, Units> = new Map();

function connect(connection: PostgresStoreConnection) {
  if (connection?.pool !== undefined) return usePool(connection.pool);
  if (typeof connection?.connectionString === "string" && connection.connectionString !== "") {
    return useConnectionString(connection.connectionString);
  }
  throw new TypeError("postgresStore needs a { pool } or a { connectionString }");
}

/** All counters count as known. */
function amountsOnly(amounts: ReadonlyMap<string, Units>) {
  return [...amounts.keys()].map((counter) => ({ counter, bucket: 0, amount: 0, keepUntil: 0 }));
}

function writeAmounts(amounts: ReadonlyMap<string, Units>): { k: string; a: Units }[] {
  return [...amounts].map(([k, a]) => ({ k, a }));
}

function toSums({ used, held }: Answer): Sums[] {
  return used.map((units, i) => ({ used: units, held: held[i]! }));
}

function newer(version: number, schema: string): PostgresStoreError {
  const message = `The schema "${schema}" has version ${version}, this Turnpike knows ${SCHEMA_VERSION}: use the newer Turnpike or another schema`;
  return new PostgresStoreError("store_schema", message);
}

function explain(error: unknown, schema: string): unknown {
  if (error instanceof PostgresStoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const version = /turnpike newer schema (\d+)/.exec(message)?.[1];
  if (version) return newer(Number(version), schema);
  return new PostgresStoreError("store_failed", `The PostgreSQL budget store failed: ${message}`, { cause: error });
}
