import type { MaybePromise } from "./util.ts";

/**
 * The budget store's contract *is* the atomic operation. A store holds counters and reservations; limits are
 * configuration and come with every call. All amounts are whole: tokens, requests, or nano-dollars (1 USD = 1e9).
 */

/** Whole units, `0 ≤ n ≤ Number.MAX_SAFE_INTEGER`. */
export type Units = number;

/** What one reservation asks of one counter. */
export interface Hold {
  /** Opaque name, at most 256 bytes, built and escaped by the engine. */
  readonly counter: string;
  /** Epoch ms: start of the bucket that is charged. */
  readonly bucket: number;
  /** First bucket that counts; equals `bucket` for calendar windows. */
  readonly from: number;
  /** Bucket width in ms for rolling windows, 0 for calendar windows. */
  readonly step: number;
  /** Epoch ms after which this bucket can be forgotten. */
  readonly until: number;
  /** Cost that is sure: input tokens, one request, the input's price. */
  readonly fixed: Units;
  /** Cost per granted output unit: 1 token, or nano-dollars per token; 0 = independent of the output. */
  readonly perUnit: Units;
  /** `null` counts and never denies. */
  readonly limit: Units | null;
}

export interface ReserveRequest {
  /** One physical upstream call = one id. */
  readonly id: string;
  /** Hash of the rest; the same id with another fingerprint is a {@link ReservationConflict}. */
  readonly fingerprint: string;
  /** At most 32; all or nothing. */
  readonly holds: readonly Hold[];
  /** Output units we would like. */
  readonly want: Units;
  /** Fewest output units that make sense; `want === min` is a plain reservation. */
  readonly min: Units;
  readonly ttlMs: number;
  /** What becomes of a hold whose owner never came back: `release` gives it back, `charge` keeps the cap exact. */
  readonly onExpire: "release" | "charge";
}

export interface CounterState {
  readonly counter: string;
  readonly bucket: number;
  /** Settled, over the whole window. */
  readonly used: Units;
  /** Live reservations, over the whole window. */
  readonly held: Units;
  readonly limit: Units | null;
  readonly until: number;
}

export type ReserveResult =
  | {
      readonly ok: true;
      /** `min ≤ granted ≤ want`, the largest that fits every counter. */
      readonly granted: Units;
      /** True when this id was reserved before; nothing was held twice. */
      readonly replayed: boolean;
      /** The store's clock, epoch ms. */
      readonly now: number;
      /** State after the reservation, in the order of the holds. */
      readonly after: readonly CounterState[];
    }
  | {
      readonly ok: false;
      readonly now: number;
      /** Every counter that has no room; `needed` is what the smallest grant would have taken. */
      readonly denied: readonly (CounterState & { readonly needed: Units })[];
    };

export interface SettleRequest {
  readonly id: string;
  /** Per counter; may exceed what was held: the truth is charged, never clamped. A counter not named is charged 0. */
  readonly actual: ReadonlyMap<string, Units>;
  /** So that an unknown id can still be charged to the right buckets. */
  readonly holds: readonly Hold[];
}

/** `late-*`: the hold was gone already; the truth was charged all the same. */
export type SettleOutcome = "settled" | "duplicate" | "late-expired" | "late-released" | "late-unknown";

export interface CounterRef {
  readonly counter: string;
  readonly from: number;
  readonly bucket: number;
  readonly step: number;
}

export interface BudgetStore {
  /** Holds on all counters, or on none. Idempotent by id. */
  reserve(request: ReserveRequest): MaybePromise<ReserveResult>;
  /** Replaces the hold by what was really used. Idempotent by id. `overrun`: sum of what went past the holds. */
  settle(request: SettleRequest): MaybePromise<{ outcome: SettleOutcome; overrun: Units }>;
  /** Gives the hold back. `released: false` when there was none to give back. */
  release(id: string): MaybePromise<{ released: boolean }>;
  /** Longer life, and/or part of the hold moved to used. @throws ReservationLost when it is no longer held. */
  renew(request: { id: string; ttlMs: number; charge?: ReadonlyMap<string, Units> }): MaybePromise<void>;
  /** Reads counters; `limit` and `until` of the answer are null and 0 (the store does not know them). */
  usage(refs: readonly CounterRef[]): MaybePromise<CounterState[]>;
  close?(): MaybePromise<void>;
  readonly traits: {
    /** Seen by other processes. */
    readonly shared: boolean;
    /** Survives a restart. */
    readonly durable: boolean;
    readonly clock: "process" | "store";
  };
}

/** Thrown before any write when an amount is not a whole number between 0 and 2^53 − 1, or a name or count is out of bounds. */
export class InvalidUnits extends Error {
  override readonly name = "InvalidUnits";
  readonly code = "invalid_units";
}

/** The same reservation id was used for something else. */
export class ReservationConflict extends Error {
  override readonly name = "ReservationConflict";
  readonly code = "reservation_conflict";
}

/** The reservation is no longer held: it expired, or was settled or released. */
export class ReservationLost extends Error {
  override readonly name = "ReservationLost";
  readonly code = "reservation_lost";
}
