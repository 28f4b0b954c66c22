import {
  addUsed,
  type Change,
  checkRef,
  checkRenew,
  checkReserve,
  checkSettle,
  ENDED_KEPT_MS,
  expiry,
  grant,
  type HeldPart,
  heldParts,
  keepUntil,
  partialCharge,
  type ReservationState,
  replayAnswer,
  reserveAnswer,
  type Sums,
  settlement,
} from "../budget/arithmetic.ts";
import { ById, type Identified } from "../budget/by-id.ts";
import {
  type CounterRef,
  type Hold,
  ReservationConflict,
  ReservationLost,
  type ReserveRequest,
  type Units,
} from "../core/budget-store.ts";
import { type Due, DueLine, DueQueue, type InLine } from "./due-queue.ts";
import type { SyncBudgetStore } from "./sync-store.ts";

export type * from "../core/budget-store.ts";
export type { SyncBudgetStore } from "./sync-store.ts";

export interface MemoryStoreOptions {
  /** Epoch ms. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Most reservations that are remembered after their end; beyond it the oldest go first. @default 10_000 */
  readonly maxEnded?: number | undefined;
}

/** One reservation. `due`: when the hold expires; after its end, when it is forgotten. */
interface Reservation extends Due, InLine<Reservation>, Identified<Reservation> {
  fingerprint: string;
  granted: Units;
  onExpire: "release" | "charge";
  state: ReservationState;
  parts: readonly HeldPart[];
}

interface Counter {
  readonly buckets: Map<number, Bucket>;
  /** The latest bucket that it ever had. */
  latest: Bucket;
}

/** One bucket of one counter. `due`: when it is forgotten. */
interface Bucket extends Due {
  readonly counter: string;
  readonly start: number;
  used: Units;
  held: Units;
}

const HOUR = 3_600_000;
const NO_PARTS: readonly HeldPart[] = [];
const NOTHING: Sums = { used: 0, held: 0 };

/**
 * A budget store in this process's memory: fast, exact, seen by no other process and gone with this one. Answers at
 * once (no promises) and needs no timers: what expired is given back at the start of every call. Ended reservations are
 * remembered for 24 hours, at most `maxEnded` of them; buckets of calendar windows for two windows and 24 hours after
 * their end, those of rolling windows for two hours.
 * @example const store = memoryStore()
 */
export function memoryStore({ now = Date.now, maxEnded = 10_000 }: MemoryStoreOptions = {}): SyncBudgetStore {
  const reservations = new ById<Reservation>();
  const counters = new Map<string, Counter>();
  const held = new DueQueue<Reservation>();
  const ended = new DueLine<Reservation>();
  const buckets = new DueQueue<Bucket>();
  let forgotten: Reservation | undefined;

  /** The store's time, after everything that fell due until then. */
  function tick(): number {
    const time = now();
    for (let next = held.peek(); next && next.due <= time; next = held.peek()) {
      apply(expiry(next));
      end(next, "expired", time);
    }
    for (let next = ended.first; next && (next.due <= time || ended.size > maxEnded); next = ended.first) {
      ended.remove(next);
      reservations.delete(next);
      forgotten = next;
    }
    for (let next = buckets.peek(); next && next.due <= time; next = buckets.peek()) {
      buckets.remove(next);
      if (next.held > 0) keepBucket(next, time + HOUR);
      else forget(next);
    }
    return time;
  }

  /**
   * Begins to remember a reservation. The record of one that was forgotten is used again: so many of them grow old that
   * the garbage collector would have more work with new ones than all the rest of a call is.
   */
  function record(id: string, fingerprint: string, granted: Units, onExpire: "release" | "charge"): Reservation {
    const reservation = forgotten ?? blank();
    forgotten = undefined;
    reservation.id = id;
    reservation.fingerprint = fingerprint;
    reservation.granted = granted;
    reservation.onExpire = onExpire;
    reservations.add(reservation);
    return reservation;
  }

  function end(reservation: Reservation, state: ReservationState, time: number): void {
    if (reservation.state === "held") held.remove(reservation);
    else ended.remove(reservation);
    enlist(reservation, state, time);
  }

  function enlist(reservation: Reservation, state: ReservationState, time: number): void {
    reservation.state = state;
    // A settled id is only remembered to tell duplicates; the others may still be settled late.
    if (state === "settled") reservation.parts = NO_PARTS;
    reservation.due = time + ENDED_KEPT_MS;
    ended.add(reservation);
  }

  function keepBucket(bucket: Bucket, until: number): void {
    bucket.due = until;
    buckets.add(bucket);
  }

  function forget({ counter, start }: Bucket): void {
    const { buckets } = counters.get(counter)!;
    buckets.delete(start);
    if (buckets.size === 0) counters.delete(counter);
  }

  function apply(changes: readonly Change[]): void {
    for (const change of changes) {
      const bucket = bucketOf(change);
      bucket.used = addUsed(bucket.used, change.used);
      bucket.held += change.held;
    }
  }

  /** Puts the parts of a reservation in place, or takes them away again. */
  function hold(parts: readonly HeldPart[], sign: 1 | -1): void {
    for (const part of parts) bucketOf(part).held += sign * part.amount;
  }

  function bucketOf({ counter, bucket: start, keepUntil }: HeldPart | Change): Bucket {
    const ofCounter = counters.get(counter);
    const bucket = ofCounter && find(ofCounter, start);
    if (!bucket) return newBucket(counter, ofCounter, start, keepUntil);
    if (bucket.due < keepUntil) {
      buckets.remove(bucket);
      keepBucket(bucket, keepUntil);
    }
    return bucket;
  }

  function newBucket(counter: string, ofCounter: Counter | undefined, start: number, keepUntil: number): Bucket {
    const bucket: Bucket = { counter, start, used: 0, held: 0, due: 0, slot: -1 };
    if (!ofCounter) {
      counters.set(counter, { buckets: new Map([[start, bucket]]), latest: bucket });
    } else {
      ofCounter.buckets.set(start, bucket);
      if (start >= ofCounter.latest.start) ofCounter.latest = bucket;
    }
    keepBucket(bucket, keepUntil);
    return bucket;
  }

  /** `last`: the last bucket that counts. */
  function sums({ counter, bucket, from, step }: CounterRef, last = bucket): Sums {
    const ofCounter = counters.get(counter);
    if (!ofCounter) return NOTHING;
    if (step === 0) return find(ofCounter, bucket) ?? NOTHING;
    const end = Math.min(last, ofCounter.latest.start);
    let used = 0;
    let held = 0;
    for (let start = from; start <= end; start += step) {
      const found = ofCounter.buckets.get(start);
      if (!found) continue;
      used = addUsed(used, found.used);
      held = addUsed(held, found.held);
    }
    return { used, held };
  }

  function replay(request: ReserveRequest, found: Reservation, time: number) {
    if (found.fingerprint !== request.fingerprint) {
      throw new ReservationConflict(`Reservation "${request.id}" was made for another request`);
    }
    return replayAnswer(
      request,
      request.holds.map((hold) => sums(hold)),
      found.granted,
      time,
    );
  }

  return {
    traits: { shared: false, durable: false, clock: "process" },

    reserve(request) {
      checkReserve(request);
      const time = tick();
      const found = reservations.get(request.id);
      if (found) return replay(request, found, time);

      const { id, fingerprint, holds, want, min, onExpire } = request;
      const states = holds.map((hold) => sums(hold, reach(hold)));
      const result = grant(holds, states, want, min);
      // The states are live buckets: answer before they change.
      const answer = reserveAnswer(request, states, result, time);
      if (!result.ok) return answer;

      const reservation = record(id, fingerprint, result.granted, onExpire);
      reservation.state = "held";
      reservation.parts = heldParts(holds, result.amounts, keep);
      reservation.due = time + request.ttlMs;
      hold(reservation.parts, 1);
      held.add(reservation);
      return answer;
    },

    settle(request) {
      const time = tick();
      const found = reservations.get(request.id);
      checkSettle(request, found?.parts);
      const { outcome, overrun, changes } = settlement(found, request, keep);
      if (outcome === "duplicate") return { outcome, overrun };
      apply(changes);
      if (found) end(found, "settled", time);
      else enlist(record(request.id, "", 0, "release"), "settled", time);
      return { outcome, overrun };
    },

    release(id) {
      const time = tick();
      const found = reservations.get(id);
      if (found?.state !== "held") return { released: false };
      hold(found.parts, -1);
      end(found, "released", time);
      return { released: true };
    },

    renew(request) {
      checkRenew(request);
      const time = tick();
      const found = reservations.get(request.id);
      if (found?.state !== "held") throw new ReservationLost(`Reservation "${request.id}" is no longer held`);
      checkRenew(request, found.parts);
      if (request.charge) {
        const { parts, changes } = partialCharge(found.parts, request.charge);
        apply(changes);
        found.parts = parts;
      }
      held.remove(found);
      found.due = Math.max(found.due, time + request.ttlMs);
      held.add(found);
    },

    usage(refs) {
      for (const ref of refs) checkRef(ref);
      tick();
      return refs.map((ref) => {
        const { used, held } = sums(ref);
        return { counter: ref.counter, bucket: ref.bucket, used, held, limit: null, until: 0 };
      });
    },

    close() {},
  };
}

function blank(): Reservation {
  return {
    id: "",
    fingerprint: "",
    granted: 0,
    onExpire: "release",
    state: "held",
    parts: NO_PARTS,
    due: 0,
    slot: -1,
    hash: 0,
    next: undefined,
    before: undefined,
    after: undefined,
  };
}

/** Nearly always it is the latest one. */
function find({ buckets, latest }: Counter, start: number): Bucket | undefined {
  const isKept = latest.slot >= 0;
  return isKept && latest.start === start ? latest : buckets.get(start);
}

/**
 * The last bucket that a reservation counts. Windows of later buckets have its own in them too, and a call may come when
 * such a bucket was charged already. A calendar window reaches no further than its one bucket.
 */
function reach({ bucket, from }: Hold): number {
  return 2 * bucket - from;
}

/** Fine rolling buckets would fill the memory if each stayed a day: 86,400 for a limit per minute. */
function keep(hold: Hold): number {
  return hold.step === 0 ? keepUntil(hold) : hold.until + 2 * HOUR;
}
