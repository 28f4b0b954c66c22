/**
 * The arithmetic of reservations as pure functions, shared by every store that is written in JavaScript. A store reads
 * its counters, asks here what to do, and writes the {@link Change}s in one atomic step.
 */
import {
  type CounterRef,
  type CounterState,
  type Hold,
  InvalidUnits,
  type ReserveRequest,
  type ReserveResult,
  type SettleOutcome,
  type SettleRequest,
  type Units,
} from "../core/budget-store.ts";

/** Most holds of one reservation. */
export const MAX_HOLDS = 32;
/** Most bytes (UTF-8) of a counter's name. */
export const MAX_COUNTER_BYTES = 256;
/** Most bytes (UTF-8) of a reservation's id or fingerprint. */
export const MAX_ID_BYTES = 1024;
/** Most buckets that one rolling window may span. */
export const MAX_BUCKETS = 10_000;
/** How long a reservation that ended is remembered, ms: a second settle within it is a `duplicate`. */
export const ENDED_KEPT_MS = 24 * 3_600_000;

const MAX_UNITS = Number.MAX_SAFE_INTEGER;

/** Settled and held units of one counter, summed over the window of a hold. */
export interface Sums {
  readonly used: Units;
  readonly held: Units;
}

/** What a reservation holds, or held, on one counter. */
export interface HeldPart {
  readonly counter: string;
  readonly bucket: number;
  readonly amount: Units;
  /** See {@link keepUntil}. */
  readonly keepUntil: number;
}

export type ReservationState = "held" | "settled" | "released" | "expired";

/** The part of a stored reservation that its end depends on. */
export interface StoredReservation {
  readonly state: ReservationState;
  readonly onExpire: "release" | "charge";
  readonly parts: readonly HeldPart[];
}

/** Signed amounts to add to one bucket. Apply `used` with {@link addUsed}. */
export interface Change {
  readonly counter: string;
  readonly bucket: number;
  readonly used: number;
  readonly held: number;
  readonly keepUntil: number;
}

// ---- Checks: all of them before any write ----

/** @throws InvalidUnits */
export function checkReserve(request: ReserveRequest): void {
  checkId("id", request.id);
  checkId("fingerprint", request.fingerprint);
  checkUnits("want", request.want);
  checkUnits("min", request.min);
  if (request.min > request.want) throw new InvalidUnits(`min (${request.min}) is more than want (${request.want})`);
  checkTtl(request.ttlMs);
  if (request.onExpire !== "release" && request.onExpire !== "charge") {
    throw new InvalidUnits(`onExpire must be "release" or "charge", not ${show(request.onExpire)}`);
  }
  checkHolds(request.holds);
  for (const hold of request.holds) {
    checkUnits("fixed + min * perUnit", hold.fixed + request.min * hold.perUnit);
  }
}

/** `known`: parts of the reservation, when the store still has it. @throws InvalidUnits */
export function checkSettle(request: SettleRequest, known: readonly HeldPart[] = []): void {
  checkId("id", request.id);
  checkHolds(request.holds);
  checkAmounts("actual", request.actual, known, request.holds);
}

/** `parts`: what the reservation holds. @throws InvalidUnits */
export function checkRenew(
  request: { id: string; ttlMs: number; charge?: ReadonlyMap<string, Units> },
  parts?: readonly HeldPart[],
): void {
  checkId("id", request.id);
  checkTtl(request.ttlMs);
  if (request.charge && parts) checkAmounts("charge", request.charge, parts, []);
}

/** @throws InvalidUnits */
export function checkRef(ref: CounterRef): void {
  checkText("counter", ref.counter, MAX_COUNTER_BYTES);
  checkSpan(ref);
}

// ---- Reserve ----

export type Grant =
  | {
      readonly ok: true;
      /** `min ≤ granted ≤ want`, the largest that fits every counter. */
      readonly granted: Units;
      /** What to hold on each counter, in the order of the holds. */
      readonly amounts: readonly Units[];
    }
  | {
      readonly ok: false;
      /** Positions of the holds that have no room for `min`. */
      readonly denied: readonly number[];
    };

/**
 * How many output units fit. `states[i]` is what `holds[i]` finds in its window.
 * @throws InvalidUnits when a counter without a limit would pass 2^53 − 1.
 */
export function grant(holds: readonly Hold[], states: readonly Sums[], want: Units, min: Units): Grant {
  let granted = want;
  const denied: number[] = [];
  for (let i = 0; i < holds.length; i++) {
    const fits = fitting(holds[i]!, states[i]!, want);
    if (fits < min) denied.push(i);
    if (fits < granted) granted = fits;
  }
  if (denied.length > 0) return { ok: false, denied };

  const amounts = holds.map((hold, i) => {
    const amount = hold.fixed + granted * hold.perUnit;
    const total = states[i]!.used + states[i]!.held + amount;
    if (!(total <= MAX_UNITS)) throw new InvalidUnits(`counter ${show(hold.counter)} would pass 2^53 - 1`);
    return amount;
  });
  return { ok: true, granted, amounts };
}

/** The answer of `reserve` to a grant. */
export function reserveAnswer(
  request: ReserveRequest,
  states: readonly Sums[],
  result: Grant,
  now: number,
): ReserveResult {
  if (result.ok) {
    const after = request.holds.map((hold, i) => counterState(hold, states[i]!, result.amounts[i]!));
    return { ok: true, granted: result.granted, replayed: false, now, after };
  }
  const denied = result.denied.map((i) => {
    const hold = request.holds[i]!;
    return { ...counterState(hold, states[i]!, 0), needed: hold.fixed + request.min * hold.perUnit };
  });
  return { ok: false, now, denied };
}

/** The answer of `reserve` to an id that was reserved before. `states`: as they are now. */
export function replayAnswer(
  request: ReserveRequest,
  states: readonly Sums[],
  granted: Units,
  now: number,
): ReserveResult {
  return { ok: true, granted, replayed: true, now, after: request.holds.map((h, i) => counterState(h, states[i]!, 0)) };
}

/** What a granted reservation holds. */
export function heldParts(holds: readonly Hold[], amounts: readonly Units[], keep: KeepRule = keepUntil): HeldPart[] {
  return holds.map((hold, i) => ({
    counter: hold.counter,
    bucket: hold.bucket,
    amount: amounts[i]!,
    keepUntil: keep(hold),
  }));
}

/** The changes that put a reservation's parts in place. */
export function takeHold(parts: readonly HeldPart[]): Change[] {
  return parts.map(({ counter, bucket, amount, keepUntil }) => ({ counter, bucket, used: 0, held: amount, keepUntil }));
}

// ---- The ways a reservation ends ----

/**
 * Settles: replaces the hold by the truth, whatever became of the hold meanwhile. `overrun` is what the hold (or the
 * charge made when it expired) did not cover, so that always `used + held ≤ limit + Σ overrun`.
 * @param found the reservation, or undefined when the store never knew it or forgot it.
 */
export function settlement(
  found: StoredReservation | undefined,
  request: SettleRequest,
  keep: KeepRule = keepUntil,
): { outcome: SettleOutcome; overrun: Units; changes: readonly Change[] } {
  if (found?.state === "settled") return { outcome: "duplicate", overrun: 0, changes: [] };
  const parts = found?.parts ?? [];
  const isHeld = found?.state === "held";
  const isCharged = found?.state === "expired" && found.onExpire === "charge";
  const changes: Change[] = [];
  let overrun = 0;

  for (const { counter, bucket, amount, keepUntil } of parts) {
    const actual = request.actual.get(counter) ?? 0;
    overrun += Math.max(0, actual - (isHeld || isCharged ? amount : 0));
    changes.push({
      counter,
      bucket,
      used: isCharged ? actual - amount : actual,
      held: isHeld ? -amount : 0,
      keepUntil,
    });
  }
  for (let i = 0; i < request.holds.length; i++) {
    const hold = request.holds[i]!;
    // Nearly always the holds are those of the reservation.
    if (parts[i]?.counter === hold.counter || names(parts, hold.counter)) continue;
    const actual = request.actual.get(hold.counter) ?? 0;
    if (actual === 0) continue;
    overrun += actual;
    changes.push({ counter: hold.counter, bucket: hold.bucket, used: actual, held: 0, keepUntil: keep(hold) });
  }

  const outcome = found === undefined ? "late-unknown" : OUTCOME[found.state];
  return { outcome, overrun: Math.min(overrun, MAX_UNITS), changes };
}

const OUTCOME = { held: "settled", expired: "late-expired", released: "late-released", settled: "duplicate" } as const;

/** The hold is given back. */
export function giveBack(parts: readonly HeldPart[]): Change[] {
  return parts.map(({ counter, bucket, amount, keepUntil }) => ({
    counter,
    bucket,
    used: 0,
    held: -amount,
    keepUntil,
  }));
}

/** The owner never came back: the hold is given back, or becomes used. */
export function expiry(found: StoredReservation): Change[] {
  const changes = giveBack(found.parts);
  return found.onExpire === "release" ? changes : changes.map((change) => ({ ...change, used: -change.held }));
}

/** Moves `charge` from held to used; what passes the hold is charged all the same. Returns what is still held. */
export function partialCharge(
  parts: readonly HeldPart[],
  charge: ReadonlyMap<string, Units>,
): { parts: HeldPart[]; changes: Change[] } {
  const changes: Change[] = [];
  const rest = parts.map((part) => {
    const charged = charge.get(part.counter) ?? 0;
    const moved = Math.min(charged, part.amount);
    changes.push({
      counter: part.counter,
      bucket: part.bucket,
      used: charged,
      held: -moved,
      keepUntil: part.keepUntil,
    });
    return { ...part, amount: part.amount - moved };
  });
  return { parts: rest, changes };
}

/** `used` after a change. It stays at 2^53 − 1 once there: every limit is spent then, and a settle must not fail. */
export function addUsed(used: Units, change: number): Units {
  return Math.max(0, Math.min(used + change, MAX_UNITS));
}

/** Until when (epoch ms) a store keeps the bucket of a hold. */
export type KeepRule = (hold: Hold) => number;

/**
 * Epoch ms until which a bucket is kept: two more windows and 24 h after it stopped to count, so that no clock step
 * reopens it with a fresh cap, and a late settle finds it.
 */
export function keepUntil(hold: Hold): number {
  return Math.min(hold.until + 2 * Math.max(0, hold.until - hold.bucket) + ENDED_KEPT_MS, MAX_UNITS);
}

// ---- Helpers ----

/** `room_i / perUnit_i`, −1 when not even the fixed part fits. */
function fitting(hold: Hold, { used, held }: Sums, want: Units): number {
  if (hold.limit === null) return want;
  const room = hold.limit - used - held - hold.fixed;
  if (room < 0) return -1;
  if (hold.perUnit === 0) return want;
  // No guard against rounding: a quotient of safe integers is at least 1/perUnit away from the next whole number, and
  // that is more than the error of a division as long as room < 2^53.
  return Math.floor(room / hold.perUnit);
}

function counterState(hold: Hold, { used, held }: Sums, more: Units): CounterState {
  return {
    counter: hold.counter,
    bucket: hold.bucket,
    used,
    held: held + more,
    limit: hold.limit,
    until: hold.until,
  };
}

function checkHolds(holds: readonly Hold[]): void {
  if (holds.length > MAX_HOLDS) throw new InvalidUnits(`${holds.length} holds; at most ${MAX_HOLDS} are allowed`);
  for (let i = 0; i < holds.length; i++) {
    const hold = holds[i]!;
    checkText("counter", hold.counter, MAX_COUNTER_BYTES);
    checkSpan(hold);
    checkWhole("until", hold.until);
    checkUnits("fixed", hold.fixed);
    checkUnits("perUnit", hold.perUnit);
    if (hold.limit !== null) checkUnits("limit", hold.limit);
    // `actual` is told per counter, so one counter can be held only once.
    for (let j = 0; j < i; j++) {
      if (holds[j]!.counter === hold.counter) throw new InvalidUnits(`counter ${show(hold.counter)} is held twice`);
    }
  }
}

function checkSpan({ bucket, from, step }: { bucket: number; from: number; step: number }): void {
  checkWhole("bucket", bucket);
  checkWhole("from", from);
  checkUnits("step", step);
  if (step === 0 ? from !== bucket : from > bucket || (bucket - from) % step !== 0) {
    throw new InvalidUnits(`from (${from}) must be a whole number of steps (${step}) before bucket (${bucket})`);
  }
  if (step > 0 && (bucket - from) / step > MAX_BUCKETS) {
    throw new InvalidUnits(`a window of more than ${MAX_BUCKETS} buckets`);
  }
}

function checkAmounts(
  what: string,
  amounts: ReadonlyMap<string, Units>,
  parts: readonly HeldPart[],
  holds: readonly Hold[],
): void {
  for (const [counter, amount] of amounts) {
    checkUnits(what, amount);
    if (!names(parts, counter) && !names(holds, counter)) {
      throw new InvalidUnits(`${what} names counter ${show(counter)}, which no hold names`);
    }
  }
}

function names(parts: readonly { readonly counter: string }[], counter: string): boolean {
  for (let i = 0; i < parts.length; i++) if (parts[i]!.counter === counter) return true;
  return false;
}

function checkUnits(what: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw new InvalidUnits(`${what} must be a whole number between 0 and 2^53 - 1, not ${show(value)}`);
  }
}

function checkWhole(what: string, value: unknown): void {
  if (!Number.isSafeInteger(value)) throw new InvalidUnits(`${what} must be a whole number, not ${show(value)}`);
}

function checkTtl(ttlMs: number): void {
  if (!Number.isSafeInteger(ttlMs) || ttlMs < 1 || ttlMs > MAX_TTL_MS) {
    throw new InvalidUnits(`ttlMs must be a whole number between 1 and ${MAX_TTL_MS}, not ${show(ttlMs)}`);
  }
}

/** 100 years: `now + ttlMs` stays a safe integer. */
const MAX_TTL_MS = 100 * 366 * 24 * 3_600_000;

function checkId(what: string, value: string): void {
  checkText(what, value, MAX_ID_BYTES);
}

function checkText(what: string, text: string, maxBytes: number): void {
  if (typeof text !== "string" || text === "") throw new InvalidUnits(`${what} must be a text, not ${show(text)}`);
  if (text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes) {
    throw new InvalidUnits(`${what} is longer than ${maxBytes} bytes`);
  }
  // Half a surrogate pair has no UTF-8 form: two such names would collide in a database.
  if (text.includes("\0") || !text.isWellFormed()) {
    throw new InvalidUnits(`${what} must be well-formed Unicode without NUL: ${show(text)}`);
  }
}

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : String(value);
}
