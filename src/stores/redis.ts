import { randomUUID } from "node:crypto";
import {
  checkRef,
  checkRenew,
  checkReserve,
  checkSettle,
  grant,
  replayAnswer,
  reserveAnswer,
  type Sums,
} from "../budget/arithmetic.ts";
import {
  type BudgetStore,
  type CounterState,
  type Hold,
  InvalidUnits,
  ReservationConflict,
  ReservationLost,
  type ReserveRequest,
  type ReserveResult,
  type SettleOutcome,
  type SettleRequest,
  type Units,
} from "../core/budget-store.ts";
import { type RedisClient, useClient, useUrl } from "./redis/client.ts";
import { RedisStoreError } from "./redis/errors.ts";
import { heldPartsOf, keysOf, type Part, partOf, readParts, writeParts } from "./redis/keys.ts";
import { FINISH, RENEW, RESERVE, type Script, SWEEP_BATCH, USAGE } from "./redis/scripts.ts";

export type * from "../core/budget-store.ts";

export type { IoredisClient, NodeRedisClient, RedisClient } from "./redis/client.ts";
export { RedisStoreError, type RedisStoreErrorCode } from "./redis/errors.ts";

/** Either a client, which stays yours to close, or an address such as `redis://localhost:6379` for `ioredis`. */
export type RedisStoreConnection =
  | { readonly client: RedisClient; readonly url?: undefined }
  | { readonly url: string; readonly client?: undefined };

export interface RedisStoreOptions {
  /**
   * Heads all keys and is their hash tag: with Redis Cluster, one prefix lives on one node. Give each tenant its own to
   * spread them. @default "turnpike"
   */
  readonly prefix?: string | undefined;
}

/** All answers are promises. */
export interface RedisBudgetStore extends BudgetStore {
  reserve(request: ReserveRequest): Promise<ReserveResult>;
  settle(request: SettleRequest): Promise<{ outcome: SettleOutcome; overrun: Units }>;
  release(id: string): Promise<{ released: boolean }>;
  renew(request: { id: string; ttlMs: number; charge?: ReadonlyMap<string, Units> }): Promise<void>;
  usage(refs: Parameters<BudgetStore["usage"]>[0]): Promise<CounterState[]>;
  close(): Promise<void>;
}

/** Rounds of expired reservations that a call ends before it takes the counters as they are. */
const SWEEP_ROUNDS = 20;

/**
 * A budget store in Redis (6.2 or later) or Valkey, for any number of processes. One round trip for `reserve`, `settle`
 * and `usage`, two for `release` and `renew`. Time is the server's. Ended reservations are remembered for 24 hours,
 * buckets until two windows and 24 hours after they stopped to count; Redis forgets them by itself. Expired holds are
 * ended by the next call that depends on them.
 *
 * It is as durable as the server: a restart without AOF or a fail-over loses the last writes, and `maxmemory-policy`
 * must be `noeviction`, or counters may vanish. A hold that was lost is still charged when it is settled.
 * @throws TypeError when neither a known client nor a URL is given; the calls reject with {@link RedisStoreError}.
 * @example const store = redisStore({ client: new Redis() })
 */
export function redisStore(
  connection: RedisStoreConnection,
  { prefix = "turnpike" }: RedisStoreOptions = {},
): RedisBudgetStore {
  if (typeof prefix !== "string" || prefix === "") throw new TypeError("prefix must be a text");
  const { run, close } = connect(connection);
  const keys = keysOf(prefix);
  const origin = randomUUID();
  let calls = 0;
  let isClosed = false;
  let sweeping: Promise<unknown> | undefined;

  async function call(script: Script, names: string[], args: (string | number)[]): Promise<string[]> {
    if (isClosed) throw new RedisStoreError("store_closed", "The Redis budget store is closed");
    return run(script, names, args.map(String));
  }

  /** Tells a call that was sent twice (by us or by the client, after a broken connection) from two calls. */
  function mark(): string {
    return `${origin}:${++calls}`;
  }

  /** Ends expired reservations, one batch at a time for the whole process. */
  function sweep(ids: readonly string[]): Promise<unknown> {
    sweeping ??= Promise.all(ids.map((id) => finish(id, "expire"))).finally(() => {
      sweeping = undefined;
    });
    return sweeping;
  }

  /** Calls until nothing that expired is in the way of the answer. */
  async function swept(attempt: (force: string) => Promise<string[]>): Promise<string[]> {
    for (let round = 0; ; round++) {
      const answer = await attempt(round < SWEEP_ROUNDS ? "0" : "1");
      if (answer[0] !== "sweep") return answer;
      await sweep(answer.slice(1, 1 + SWEEP_BATCH));
    }
  }

  /** Ends a hold without charging the truth. Nobody told us its counters, so the first try only asks for them. */
  async function finish(id: string, operation: "release" | "expire"): Promise<string> {
    const own = mark();
    let parts: Part[] = [];
    for (;;) {
      const names = [keys.reservation(id), keys.expiries, ...parts.map(keyOf)];
      const counters = parts.flatMap((part) => [part.bucket, 0, part.keepUntil]);
      const args = [id, operation, writeParts(parts), parts.length, own, parts.length, ...counters];
      const [kind, text] = await call(FINISH, names, args);
      if (kind !== "parts") return kind!;
      parts = readParts(text!);
    }
  }

  function keyOf({ counter, bucket, step }: Part): string {
    return keys.bucket(counter, bucket, step);
  }

  return {
    // Redis can be made durable, but we cannot know.
    traits: { shared: true, durable: false, clock: "store" },

    async reserve(request) {
      checkReserve(request);
      const { id, fingerprint, holds, want, min, ttlMs, onExpire } = request;
      const windows = holds.map((hold) => keys.window({ ...hold, bucket: reach(hold) }));
      const names = [keys.reservation(id), keys.expiries, ...windows.flatMap((window) => window.keys)];
      const parts = holds.map(partOf);
      const head = [id, fingerprint, ttlMs, want, min, onExpire, writeParts(parts), mark()];
      const tail = holds.flatMap(({ fixed, perUnit, limit, bucket }, i) => {
        const { keys: all, ranges, step } = windows[i]!;
        const charged = all.indexOf(keyOf(parts[i]!));
        return [fixed, perUnit, limit ?? -1, parts[i]!.keepUntil, bucket, charged, step, all.length, ...ranges];
      });
      const answer = await swept((force) => call(RESERVE, names, [...head, force, holds.length, ...tail]));

      const kind = answer[0];
      if (kind === "conflict") throw new ReservationConflict(`Reservation "${id}" was made for another request`);
      if (kind === "over") {
        throw new InvalidUnits(`counter "${holds[Number(answer[1]) - 1]!.counter}" would pass 2^53 - 1`);
      }
      const granted = Number(answer[1]);
      const now = Number(answer[2]);
      if (answer[3] === "1") sweepLater();
      const states = toSums(answer.slice(4));
      if (kind === "denied") return reserveAnswer(request, states, grant(holds, states, want, min), now);
      if (kind === "replay") return replayAnswer(request, states, granted, now);
      // "mine": this very call, repeated after its answer was lost. The states have its hold in them already.
      if (kind === "mine") return { ...replayAnswer(request, states, granted, now), replayed: false } as ReserveResult;
      const amounts = holds.map((hold) => hold.fixed + granted * hold.perUnit);
      return reserveAnswer(request, states, { ok: true, granted, amounts }, now);
    },

    async settle(request) {
      const { id, actual, holds } = request;
      checkSettle({ ...request, actual: NO_AMOUNTS });
      const own = mark();
      // Nearly always the holds are those of the reservation. If not, the answer tells its parts.
      let parts = holds.map(partOf);
      let extras: Part[] = [];
      const isNamed = [...actual.keys()].every((counter) => holds.some((hold) => hold.counter === counter));
      if (isNamed) checkSettle(request);
      else {
        const [kind, text, amounts] = await call(FINISH, [keys.reservation(id), keys.expiries], lookArguments(id));
        const known = kind === "parts" ? heldPartsOf(readParts(text!), amounts!) : [];
        checkSettle(request, known);
      }
      for (;;) {
        const all = [...parts, ...extras];
        const names = [keys.reservation(id), keys.expiries, ...all.map(keyOf)];
        const counters = all.flatMap((part) => [part.bucket, actual.get(part.counter) ?? 0, part.keepUntil]);
        const args = [id, "settle", writeParts(parts), parts.length, own, all.length, ...counters];
        const [kind, second] = await call(FINISH, names, args);
        if (kind !== "parts") return { outcome: kind as SettleOutcome, overrun: Number(second) };
        parts = readParts(second!);
        extras = holds.filter((hold) => isExtra(hold, parts, actual)).map(partOf);
      }
    },

    async release(id) {
      return { released: (await finish(id, "release")) === "mine" };
    },

    async renew(request) {
      checkRenew(request);
      const { id, ttlMs, charge = NO_AMOUNTS } = request;
      const own = mark();
      let parts: Part[] = [];
      for (;;) {
        const names = [keys.reservation(id), keys.expiries, ...parts.map(keyOf)];
        const counters = parts.flatMap((part) => [part.bucket, charge.get(part.counter) ?? 0, part.keepUntil]);
        const args = [id, writeParts(parts), ttlMs, own, parts.length, ...counters];
        const [kind, text, amounts] = await call(RENEW, names, args);
        if (kind === "ok") return;
        if (kind === "lost") throw new ReservationLost(`Reservation "${id}" is no longer held`);
        parts = readParts(text!);
        checkRenew(request, heldPartsOf(parts, amounts!));
      }
    },

    async usage(refs) {
      for (const ref of refs) checkRef(ref);
      const windows = refs.map(keys.window);
      const names = [keys.expiries, ...windows.flatMap((window) => window.keys)];
      const tail = windows.flatMap((window) => [window.step, window.keys.length, ...window.ranges]);
      const answer = await swept((force) => call(USAGE, names, [force, refs.length, ...tail]));
      const states = toSums(answer.slice(1));
      return refs.map(({ counter, bucket }, i) => ({ counter, bucket, ...states[i]!, limit: null, until: 0 }));
    },

    async close() {
      if (isClosed) return;
      await sweeping?.catch(() => {});
      isClosed = true;
      await close();
    },
  };

  /** A call that did not depend on what expired leaves the work to the background. */
  function sweepLater(): void {
    if (sweeping || isClosed) return;
    void swept((force) => call(USAGE, [keys.expiries], [force, 0])).catch(() => {});
  }
}

const NO_AMOUNTS: ReadonlyMap<string, Units> = new Map();

function connect(connection: RedisStoreConnection) {
  if (connection?.client !== undefined) return useClient(connection.client);
  if (typeof connection?.url === "string" && connection.url !== "") return useUrl(connection.url);
  throw new TypeError("redisStore needs a { client } or a { url }");
}

/**
 * The last bucket that a reservation counts. Windows of later buckets have its own in them too, and a call may come when
 * such a bucket was charged already. A calendar window reaches no further than its one bucket.
 */
function reach({ bucket, from }: Hold): number {
  return 2 * bucket - from;
}

function lookArguments(id: string): (string | number)[] {
  return [id, "look", "", 0, "", 0];
}

function isExtra(hold: Hold, parts: readonly Part[], actual: ReadonlyMap<string, Units>): boolean {
  return (actual.get(hold.counter) ?? 0) > 0 && !parts.some((part) => part.counter === hold.counter);
}

function toSums(numbers: readonly string[]): Sums[] {
  const sums: Sums[] = [];
  for (let i = 0; i < numbers.length; i += 2) sums.push({ used: Number(numbers[i]), held: Number(numbers[i + 1]) });
  return sums;
}
