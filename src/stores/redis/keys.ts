import type { HeldPart } from "../../budget/arithmetic.ts";
import { keepUntil } from "../../budget/arithmetic.ts";
import type { CounterRef, Hold } from "../../core/budget-store.ts";

/** Buckets of a rolling window in one key. A whole key expires at once, so old buckets need no sweeper. */
const BUCKETS_PER_KEY = 64;

/** The keys of one window: what a script needs to add it up. */
export interface Window {
  /** In the order of time. */
  readonly keys: readonly string[];
  /** First and last bucket in each key. */
  readonly ranges: readonly string[];
  /** Bucket width; 1 for calendar windows, which have one bucket. */
  readonly step: number;
}

export interface Keys {
  readonly expiries: string;
  reservation(id: string): string;
  /** The key with one bucket. `step`: 0 for calendar windows. */
  bucket(counter: string, bucket: number, step: number): string;
  window(ref: CounterRef): Window;
}

/** @param prefix gets a hash tag around it, unless it has one already: all keys of a store live in one cluster slot. */
export function keysOf(prefix: string): Keys {
  const base = /\{[^}]+\}/.test(prefix) ? prefix : `{${prefix}}`;
  const page = (bucket: number, step: number) => Math.floor(bucket / step / BUCKETS_PER_KEY);
  const keys: Keys = {
    expiries: `${base}:x`,
    reservation: (id) => `${base}:r:${id}`,
    bucket: (counter, bucket, step) =>
      step === 0 ? `${base}:c:${bucket}:${counter}` : `${base}:c:${step}x${page(bucket, step)}:${counter}`,
    window({ counter, from, bucket, step }) {
      if (step === 0) {
        return { keys: [keys.bucket(counter, bucket, 0)], ranges: [`${bucket}`, `${bucket}`], step: 1 };
      }
      const names: string[] = [];
      const ranges: string[] = [];
      for (let first = from; first <= bucket; ) {
        const count = Math.floor((nextPage(first) - first - 1) / step) + 1;
        const last = Math.min(bucket, first + (count - 1) * step);
        names.push(keys.bucket(counter, first, step));
        ranges.push(`${first}`, `${last}`);
        first = last + step;
      }
      return { keys: names, ranges, step };

      function nextPage(start: number): number {
        return (page(start, step) + 1) * BUCKETS_PER_KEY * step;
      }
    },
  };
  return keys;
}

/** A part of a reservation as it is stored; its amount is kept apart, because the script decides it. */
export interface Part {
  readonly counter: string;
  readonly bucket: number;
  readonly step: number;
  readonly keepUntil: number;
}

export function partOf(hold: Hold): Part {
  const { counter, bucket, step } = hold;
  return { counter, bucket, step, keepUntil: keepUntil(hold) };
}

/** The same parts give the same text: scripts compare it. */
export function writeParts(parts: readonly Part[]): string {
  return JSON.stringify(parts.map(({ counter, bucket, step, keepUntil }) => [counter, bucket, step, keepUntil]));
}

export function readParts(text: string): Part[] {
  return (JSON.parse(text) as [string, number, number, number][]).map(([counter, bucket, step, keepUntil]) => ({
    counter,
    bucket,
    step,
    keepUntil,
  }));
}

export function heldPartsOf(parts: readonly Part[], amounts: string): HeldPart[] {
  const numbers = amounts.split(",").map(Number);
  return parts.map(({ counter, bucket, keepUntil }, i) => ({ counter, bucket, keepUntil, amount: numbers[i] ?? 0 }));
}
