import fc from "fast-check";
import { afterAll } from "vitest";

/** `TURNPIKE_CASES=10000` is the long mode; `TURNPIKE_SEED` tries other cases, and a failure again. */
export const LONG = process.env.TURNPIKE_CASES !== undefined;
export const CASES = Number(process.env.TURNPIKE_CASES ?? 150);
export const SEED = Number(process.env.TURNPIKE_SEED ?? 20261122);
/** The long mode is bound by the run, not by a test. */
export const TIMEOUT = LONG ? 1_800_000 : 60_000;

/** Runs a check on so many cases. A failure is shrunk, and names its seed and path. */
export function forAll<T>(arbitrary: fc.Arbitrary<T>, check: (value: T) => void, numRuns: number = CASES): void {
  fc.assert(fc.property(arbitrary, check), { numRuns, seed: SEED });
}

/** Counts what was tried, and says it at the end of the long mode. */
export function tally(what: string): (key: string) => void {
  const counts = new Map<string, number>();
  afterAll(() => {
    if (!LONG) return;
    const lines = [...counts].map(([key, count]) => `  ${String(count).padStart(8)}  ${key}`);
    console.log(`${what}, seed ${SEED}:\n${lines.sort().join("\n")}`);
  });
  return (key) => counts.set(key, (counts.get(key) ?? 0) + 1);
}
