import { randomUUID } from "node:crypto";
import { checkReserve, grant, reserveAnswer, type Sums } from "../budget/arithmetic.ts";
import {
  type BudgetStore,
  type CounterRef,
  type CounterState,
  type Hold,
  InvalidUnits,
  ReservationLost,
  type ReserveRequest,
  type ReserveResult,
  type SettleOutcome,
  type SettleRequest,
  type Units,
} from "../core/budget-store.ts";
import type { MaybePromise } from "../core/util.ts";
import { memoryStore } from "./memory.ts";

export type * from "../core/budget-store.ts";

export interface LeasedOptions {
  /** How many processes share the counters, about: a slice is at most `remaining / (2 × processes)`. @default 4 */
  readonly processes?: number | undefined;
  /** Life of a lease without renewal, ms: so long a process that died keeps its slices from the others. @default 10_000 */
  readonly ttlMs?: number | undefined;
  /** How often spending is posted and what lies idle is given back, ms. @default 500 */
  readonly postEveryMs?: number | undefined;
  /**
   * What becomes of the slices of a process that died. `charge`: they count as spent, so that the cap stays exact.
   * `release`: they are free again, though part of them was spent. @default "charge"
   */
  readonly onExpire?: "release" | "charge" | undefined;
  /** Epoch ms, for the life of requests. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** A clock that never steps, ms, for the life of leases. @default performance.now */
  readonly monotonicNow?: (() => number) | undefined;
}

/** `reserve` answers at once when the slices suffice; `settle`, `release` and `renew` always do. */
export interface LeasedBudgetStore extends BudgetStore {
  settle(request: SettleRequest): { outcome: SettleOutcome; overrun: Units };
  release(id: string): { released: boolean };
  renew(request: { id: string; ttlMs: number; charge?: ReadonlyMap<string, Units> }): void;
  usage(refs: readonly CounterRef[]): Promise<CounterState[]>;
  close(): Promise<void>;
}

/** `store_closed`: the store was used after `close()`. Errors of the store behind it come through as they are. */
export type LeasedStoreErrorCode = "store_closed";

export class LeasedStoreError extends Error {
  override readonly name = "LeasedStoreError";
  readonly code: LeasedStoreErrorCode;

  constructor(code: LeasedStoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Part of a counter that the remote store holds for this process. */
interface Lease {
  readonly id: string;
  /** The limit under which it was granted; a request with a lower one may not use it. */
  readonly limit: number;
  /** What is still held: granted minus posted. */
  rest: Units;
  /** On the monotonic clock: no admission after `stopAt`; renewed from `renewAt` on. */
  stopAt: number;
  renewAt: number;
  /** The remote store no longer holds it: it only waits to be settled. */
  isLost: boolean;
  /** What of it was posted is not known: nobody is admitted on it, and nothing more is posted before its end. */
  isDoubtful: boolean;
}

/** One bucket of one counter, as long as this process has something to do with it. */
interface Pool {
  readonly hold: Hold;
  leases: Lease[];
  /** Leases that were given up, and what of it was spent: still to be told to the remote store. */
  unsettled: { readonly id: string; readonly amount: Units }[];
  /** What of the local `used` the remote store knows. */
  posted: Units;
  /** Units that requests wait for. */
  wanted: Units;
  /** Size of the next slice: doubles while slices are used up faster than they are posted. */
  size: Units;
  /** On the monotonic clock. A pool that only denies is idle: what is left in it may suffice for others. */
  lastAdmitted: number;
  lastSlice: number;
  /** What others did to the window, at the last answer of the remote store. */
  outside: Sums;
  /** Remote calls about this bucket, one at a time. */
  queue: Promise<unknown>;
}

const MAX = Number.MAX_SAFE_INTEGER;
/** Admission stops at this share of a lease's life: clocks drift, and calls take time. */
const SAFE_LIFE = 0.8;
/** A request that lost its slice to others of this process so often takes what there is. */
const ROUNDS = 50;
/** A slice is at first so many times what its request needs. */
const FIRST_SLICE = 4;
/** Ids whose holds are remembered for a late settle, at most. */
const PLACES = 100_000;
/** `close()` pauses at most so long between two attempts to settle, ms; after that it fails. */
const CLOSE_PAUSE_MS = 800;

/**
 * Puts local slices in front of a shared store: no network on the hot path. For each counter the process leases a slice
 * from `store` (a long reservation), admits requests inside it at memory speed, posts what was spent every
 * `postEveryMs`, and gives back what lies idle. Slices shrink as the cap comes near.
 *
 * **Bound.** The store guarantees used + held ≤ cap, every slice is part of held, and a process never admits beyond its
 * slices. So while no request spends more than it held: without a crash, and with a crash under `onExpire: "charge"`,
 * the processes together never spend more than the cap (the price: slices of crashed processes stay unused). Under
 * `"release"` they spend at most the cap plus the slices of crashed processes. A process that was paused admits nothing
 * from leases older than 80 % of their life.
 *
 * A request id belongs to the process that reserved it: settled elsewhere it is `late-unknown`. A posting whose answer
 * was lost may be counted twice, never zero times. `close()` posts everything, gives back the rest, and
 * closes `store`; settle before it. It rejects when the store stayed away for about two seconds.
 * @example const store = leased(redisStore({ client }), { processes: 8 })
 */
export function leased(store: BudgetStore, options: LeasedOptions = {}): LeasedBudgetStore {
  const {
    processes = 4,
    ttlMs = 10_000,
    postEveryMs = 500,
    onExpire = "charge",
    now = Date.now,
    monotonicNow = () => performance.now(),
  } = options;
  for (const [name, value] of Object.entries({ processes, ttlMs, postEveryMs })) {
    if (!Number.isSafeInteger(value) || value < 1) throw new TypeError(`${name} must be a whole number from 1`);
  }
  if (ttlMs < 4 * postEveryMs) throw new TypeError("ttlMs must be at least four times postEveryMs");

  // Requests live here, with the slices as their limits: ids, expiry, late settles and overruns are its business.
  const local = memoryStore({ now });
  const pools = new Map<string, Map<number, Pool>>();
  /** Requests that wait for a slice; true once their caller gave them up. */
  const waiting = new Map<string, boolean>();
  /** Where the ids that are remembered have their holds: a late settle charges those. */
  const places = new Map<string, readonly Hold[]>();
  const origin = randomUUID();
  let slices = 0;
  let timer: NodeJS.Timeout | undefined;
  let posting: Promise<unknown> | undefined;
  let closing: Promise<void> | undefined;

  // ---- Pools ----

  function poolOf(hold: Hold): Pool {
    let ofCounter = pools.get(hold.counter);
    if (!ofCounter) {
      ofCounter = new Map();
      pools.set(hold.counter, ofCounter);
    }
    let pool = ofCounter.get(hold.bucket);
    if (!pool) {
      pool = {
        hold,
        leases: [],
        unsettled: [],
        // A bucket without a pool has nothing left to post.
        posted: bucketSums(hold).used,
        wanted: 0,
        size: 0,
        lastAdmitted: monotonicNow(),
        lastSlice: Number.NEGATIVE_INFINITY,
        outside: { used: 0, held: 0 },
        queue: Promise.resolve(),
      };
      ofCounter.set(hold.bucket, pool);
      schedule();
    }
    return pool;
  }

  function dropPool({ hold }: Pool): void {
    const ofCounter = pools.get(hold.counter)!;
    ofCounter.delete(hold.bucket);
    if (ofCounter.size === 0) pools.delete(hold.counter);
  }

  function allPools(): Pool[] {
    return [...pools.values()].flatMap((ofCounter) => [...ofCounter.values()]);
  }

  function poolsWithin({ counter, from, bucket }: CounterRef): Pool[] {
    return [...(pools.get(counter)?.values() ?? [])].filter(
      (pool) => pool.hold.bucket >= from && pool.hold.bucket <= bucket,
    );
  }

  function localSums(ref: CounterRef): Sums {
    return local.usage([ref])[0]!;
  }

  function bucketSums({ counter, bucket }: CounterRef): Sums {
    return localSums({ counter, bucket, from: bucket, step: 0 });
  }

  function own(pool: Pool): Sums {
    return bucketSums(pool.hold);
  }

  /** Spent here and not yet told to the remote store. Negative after a charge that was corrected. */
  function pending(pool: Pool): number {
    return own(pool).used - pool.posted;
  }

  /** Units of the leases that a request with this limit may use now. */
  function usable(pool: Pool, limit: number): Units {
    const time = monotonicNow();
    let sum = 0;
    for (const lease of pool.leases) {
      const isGood = !lease.isLost && !lease.isDoubtful && lease.stopAt > time;
      if (isGood && lease.limit <= limit) sum += lease.rest;
    }
    return sum;
  }

  function freeFor({ limit }: Hold, pool: Pool): number {
    const { used, held } = own(pool);
    return usable(pool, limit ?? MAX) - (used - pool.posted) - held;
  }

  /** As the local store must see a hold: its limit is what the slices allow. */
  function localHold(hold: Hold): Hold {
    const pool = poolOf(hold);
    const limit = Math.min(MAX, Math.max(0, pool.posted + usable(pool, hold.limit ?? MAX)));
    return { ...hold, from: hold.bucket, limit };
  }

  /** The state of a window as the remote store and this process together know it. */
  function stateOf(hold: Hold): Sums {
    const { outside } = poolOf(hold);
    const { used, held } = localSums(hold);
    return { used: Math.min(MAX, outside.used + used), held: Math.min(MAX, Math.max(0, outside.held + held)) };
  }

  /** `remote`: a window as the remote store just told it. */
  function outsideOf(ref: CounterRef, remote: Sums): Sums {
    let posted = localSums(ref).used;
    let rest = 0;
    for (const pool of poolsWithin(ref)) {
      posted -= pending(pool);
      for (const lease of pool.leases) if (!lease.isLost) rest += lease.rest;
    }
    return { used: remote.used - posted, held: remote.held - rest };
  }

  /** One remote call about a bucket after the other. */
  function exclusively<T>(pool: Pool, action: () => Promise<T>): Promise<T> {
    const result = pool.queue.then(action);
    pool.queue = result.catch(() => {});
    return result;
  }

  // ---- Slices ----

  /** Leases until `min` is free, better `want`. Returns false when the remote store has no room for `min`. */
  function refill(hold: Hold, min: Units, want: Units): Promise<boolean> {
    const pool = poolOf(hold);
    return exclusively(pool, async () => {
      assertOpen();
      const free = freeFor(hold, pool);
      if (free >= want) return true;
      const limit = hold.limit ?? MAX;
      for (const lease of pool.leases.filter((lease) => lease.limit > limit)) {
        if (canSpare(pool, lease)) await closeLease(pool, lease);
      }
      const least = Math.min(limit, Math.max(1, min - free));
      const need = Math.max(least, Math.min(limit, want - free));
      const most = Math.max(need, Math.min(limit, pool.wanted - free, MAX - 1), sliceSize(pool, hold, need));
      try {
        return (await lease(pool, hold, least, most)) || free >= min;
      } catch (error) {
        // A counter without a limit that has no place for a slice may have place for the request.
        if (!(error instanceof InvalidUnits) || most === need) throw error;
        return (await lease(pool, hold, least, need)) || free >= min;
      }
    });
  }

  function sliceSize(pool: Pool, hold: Hold, need: Units): Units {
    const time = monotonicNow();
    const isBusy = time - pool.lastSlice < postEveryMs;
    pool.lastSlice = time;
    pool.size = Math.min(MAX / 4, Math.max(isBusy ? 2 * pool.size : pool.size, FIRST_SLICE * need));
    if (hold.limit === null) return Math.floor(Math.min(pool.size, MAX / 1024));
    const { used, held } = stateOf(hold);
    return Math.floor(Math.min(pool.size, Math.max(0, hold.limit - used - held) / (2 * processes)));
  }

  async function lease(pool: Pool, hold: Hold, min: Units, want: Units): Promise<boolean> {
    const id = `lease:${origin}:${++slices}`;
    const sent = monotonicNow();
    const wanted = { ...hold, fixed: 0, perUnit: 1 };
    const request = { id, fingerprint: "lease", holds: [wanted], want, min, ttlMs, onExpire };
    let result: ReserveResult;
    try {
      result = await store.reserve(request);
    } catch (error) {
      // Perhaps it was granted, and only the answer was lost.
      if (!(error instanceof InvalidUnits)) void giveBack(id);
      throw error;
    }
    if (result.ok) {
      const limit = hold.limit ?? MAX;
      pool.leases.push({ id, limit, rest: result.granted, isLost: false, isDoubtful: false, ...lifeFrom(sent) });
    }
    pool.outside = outsideOf(hold, result.ok ? result.after[0]! : result.denied[0]!);
    return result.ok;
  }

  async function giveBack(id: string): Promise<void> {
    try {
      await store.release(id);
    } catch {
      // It ends by itself after `ttlMs`.
    }
  }

  function lifeFrom(sent: number) {
    return { stopAt: sent + SAFE_LIFE * ttlMs, renewAt: sent + ttlMs / 3 };
  }

  /** Whether all that is spent or held here stays covered without a lease. */
  function canSpare(pool: Pool, lease: Lease): boolean {
    const { used, held } = own(pool);
    const others = pool.leases.reduce((sum, one) => sum + (one === lease ? 0 : one.rest), 0);
    const unposted = used - pool.posted;
    return held === 0 || others >= held + Math.max(0, unposted - lease.rest);
  }

  /** Settles a lease with as much of what is pending as it covers; the last one takes all. */
  async function closeLease(pool: Pool, lease: Lease, more: Units = 0): Promise<void> {
    // It leaves the pool before the call: what is admitted meanwhile must not count on it.
    pool.leases = pool.leases.filter((one) => one !== lease);
    const due = Math.max(0, pending(pool)) + more;
    const amount = pool.leases.length === 0 ? due : Math.min(due, lease.rest);
    pool.posted += amount;
    pool.unsettled.push({ id: lease.id, amount });
    await settleClosed(pool);
  }

  /** A settle that failed is repeated with its first amount: perhaps only the answer was lost. */
  async function settleClosed(pool: Pool): Promise<void> {
    for (const closed of [...pool.unsettled]) {
      const actual = new Map([[pool.hold.counter, closed.amount]]);
      await store.settle({ id: closed.id, actual, holds: [pool.hold] });
      pool.unsettled = pool.unsettled.filter((one) => one !== closed);
    }
  }

  /** Moves what is pending from a lease's hold to used, and lengthens its life. */
  async function renewLease(pool: Pool, lease: Lease): Promise<void> {
    const amount = lease.isDoubtful ? 0 : Math.min(Math.max(0, pending(pool)), lease.rest);
    const sent = monotonicNow();
    pool.posted += amount;
    lease.rest -= amount;
    try {
      const charge = new Map([[pool.hold.counter, amount]]);
      await store.renew({ id: lease.id, ttlMs, ...(amount > 0 && { charge }) });
      Object.assign(lease, lifeFrom(sent));
    } catch (error) {
      // Perhaps it was charged; it will be for sure, when the lease is settled.
      pool.posted -= amount;
      lease.rest += amount;
      if (error instanceof ReservationLost) lease.isLost = true;
      else if (amount > 0) lease.isDoubtful = true;
    }
  }

  // ---- Posting ----

  function schedule(): void {
    if (timer || closing) return;
    timer = setTimeout(async () => {
      posting = post();
      await posting;
      timer = undefined;
      if (pools.size > 0) schedule();
    }, postEveryMs);
    timer.unref();
  }

  async function post(): Promise<void> {
    // Failures are tried again at the next posting.
    await Promise.all(allPools().map((pool) => exclusively(pool, () => postPool(pool)).catch(() => {})));
  }

  async function postPool(pool: Pool): Promise<void> {
    const time = monotonicNow();
    const isIdle = time - pool.lastAdmitted > postEveryMs;
    if (isIdle) pool.size = 0;
    await settleClosed(pool);
    for (const lease of [...pool.leases]) {
      const unposted = pending(pool);
      const isUseless = lease.isLost || lease.isDoubtful || isIdle || unposted >= lease.rest;
      if (isUseless && canSpare(pool, lease)) {
        await closeLease(pool, lease);
      } else if (!lease.isLost && (unposted > 0 || time > lease.renewAt)) {
        await renewLease(pool, lease);
      }
    }
    if (pool.leases.length === 0 && pending(pool) > 0) await postWithoutLease(pool);
    if (isDone(pool)) dropPool(pool);
  }

  /** A late settle, or more than the slices held: the truth is charged under an id of its own. */
  async function postWithoutLease(pool: Pool, more: Units = 0): Promise<void> {
    const id = `lease:${origin}:${++slices}`;
    const nothing = { id, limit: MAX, rest: 0, stopAt: 0, renewAt: 0, isLost: true, isDoubtful: false };
    pool.leases.push(nothing);
    await closeLease(pool, nothing, more);
  }

  function isDone(pool: Pool): boolean {
    if (pool.leases.length > 0 || pool.unsettled.length > 0 || pool.wanted > 0 || own(pool).held > 0) return false;
    const unposted = pending(pool);
    // A credit waits for charges of the same window.
    return unposted === 0 || (unposted < 0 && now() > pool.hold.until + ttlMs);
  }

  // ---- Requests ----

  /** `refused`: counters for which the remote store has no room. Others may only be short of a slice. */
  function admit(request: ReserveRequest, refused: ReadonlySet<string> = new Set()): ReserveResult {
    const result = local.reserve({ ...request, holds: request.holds.map(localHold) });
    const states = request.holds.map(stateOf);
    if (result.ok) {
      const time = monotonicNow();
      for (const hold of request.holds) poolOf(hold).lastAdmitted = time;
      if (!result.replayed) remember(request);
      const after = result.after.map((state, i) => ({ ...state, ...states[i]!, limit: request.holds[i]!.limit }));
      return { ...result, after };
    }
    const isShort = new Set(result.denied.map((state) => state.counter));
    const denied = request.holds.flatMap(({ counter }, i) =>
      isShort.has(counter) && (refused.size === 0 || refused.has(counter)) ? [i] : [],
    );
    return reserveAnswer(request, states, { ok: false, denied }, result.now);
  }

  function remember({ id, holds }: ReserveRequest): void {
    places.set(id, holds);
    if (places.size <= PLACES) return;
    const [oldest] = places.keys();
    places.delete(oldest!);
  }

  /** What a request would get from the slices as they are: −1 when not even `min`. */
  function localGrant({ holds, want, min }: ReserveRequest): number {
    const rooms = holds.map((hold) => ({ ...hold, limit: freeFor(hold, poolOf(hold)) }));
    const nothing = { used: 0, held: 0 };
    const result = grant(
      rooms,
      rooms.map(() => nothing),
      want,
      min,
    );
    return result.ok ? result.granted : -1;
  }

  /** A release may overtake a reserve that waits for a slice: then what is granted at last is given back. */
  async function reserveSlowly(request: ReserveRequest): Promise<ReserveResult> {
    waiting.set(request.id, false);
    try {
      const result = await reserveWaiting(request);
      if (waiting.get(request.id)) local.release(request.id);
      return result;
    } finally {
      waiting.delete(request.id);
    }
  }

  async function reserveWaiting(request: ReserveRequest): Promise<ReserveResult> {
    const { holds, want, min } = request;
    const needs = holds.map((hold) => ({
      hold,
      pool: poolOf(hold),
      least: hold.fixed + min * hold.perUnit,
      best: Math.min(hold.limit ?? MAX, hold.fixed + want * hold.perUnit),
    }));
    for (const { pool, best } of needs) pool.wanted += best;
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const short = needs.filter(({ hold, pool, best }) => freeFor(hold, pool) < best);
        const found = await Promise.all(short.map(({ hold, least, best }) => refill(hold, least, best)));
        assertOpen();
        if (localGrant(request) >= min) break;
        // What others gave back meanwhile may suffice now: only a counter that is short still is refused.
        const refused = short.filter(({ hold, pool, least }, i) => !found[i] && freeFor(hold, pool) < least);
        if (refused.length > 0) return admit(request, new Set(refused.map(({ hold }) => hold.counter)));
      }
      return admit(request);
    } finally {
      for (const { pool, best } of needs) pool.wanted -= best;
    }
  }

  function assertOpen(): void {
    if (closing) throw new LeasedStoreError("store_closed", "The leased budget store is closed");
  }

  /** Makes sure that what a call changes in the local store will be posted. */
  function watch(id: string, holds: readonly Hold[]): void {
    for (const hold of places.get(id) ?? []) poolOf(hold);
    for (const hold of holds) poolOf(hold);
  }

  return {
    traits: store.traits,

    reserve(request): MaybePromise<ReserveResult> {
      assertOpen();
      checkReserve(request);
      for (const { counter, limit, fixed, perUnit } of request.holds) {
        if (limit === null && !(fixed + request.want * perUnit <= MAX)) {
          throw new InvalidUnits(`counter "${counter}" would pass 2^53 - 1`);
        }
      }
      return localGrant(request) === request.want ? admit(request) : reserveSlowly(request);
    },

    settle(request) {
      assertOpen();
      watch(request.id, request.holds);
      return local.settle(request);
    },

    release(id) {
      assertOpen();
      if (waiting.has(id)) waiting.set(id, true);
      return local.release(id);
    },

    renew(request) {
      assertOpen();
      return local.renew(request);
    },

    async usage(refs) {
      assertOpen();
      const concerned = [...new Set(refs.flatMap(poolsWithin))];
      // Nothing may be posted while the remote store is read.
      const read = concerned.reduceRight<() => Promise<CounterState[]>>(
        (inner, pool) => () => exclusively(pool, inner),
        async () => {
          const states = await store.usage(refs);
          return states.map((state, i) => {
            const ref = refs[i]!;
            const outside = outsideOf(ref, state);
            const { used, held } = localSums(ref);
            return { ...state, used: outside.used + used, held: Math.max(0, outside.held + held) };
          });
        },
      );
      return read();
    },

    close() {
      closing ??= (async () => {
        clearTimeout(timer);
        await posting;
        try {
          await Promise.all(allPools().map((pool) => exclusively(pool, () => patiently(() => closePool(pool)))));
        } finally {
          await store.close?.();
        }
      })();
      return closing;
    },
  };

  async function closePool(pool: Pool): Promise<void> {
    // Requests that nobody settled: under "charge" they count as spent.
    const unsettled = onExpire === "charge" ? own(pool).held : 0;
    await settleClosed(pool);
    while (pool.leases.length > 1) await closeLease(pool, pool.leases[0]!);
    if (pool.leases.length > 0) await closeLease(pool, pool.leases[0]!, unsettled);
    else if (pending(pool) + unsettled > 0) await postWithoutLease(pool, unsettled);
  }
}

/** This is the last chance to tell what was spent. */
async function patiently(action: () => Promise<void>): Promise<void> {
  for (let pause = 50; ; pause *= 2) {
    try {
      return await action();
    } catch (error) {
      if (pause > CLOSE_PAUSE_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}
