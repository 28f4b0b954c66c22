import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addUsed,
  checkRef,
  checkReserve,
  checkSettle,
  ENDED_KEPT_MS,
  grant,
  keepUntil,
  settlement,
} from "../../src/budget/arithmetic.ts";
import { type Hold, InvalidUnits, type ReserveRequest } from "../../src/core/budget-store.ts";

const MAX = Number.MAX_SAFE_INTEGER;

function hold(more: Partial<Hold> = {}): Hold {
  return { counter: "c", bucket: 0, from: 0, step: 0, until: 1000, fixed: 0, perUnit: 1, limit: 100, ...more };
}

function request(more: Partial<ReserveRequest> = {}): ReserveRequest {
  const base = { id: "r", fingerprint: "f", want: 10, min: 1, ttlMs: 1000, onExpire: "release" } as const;
  return { ...base, holds: [hold()], ...more };
}

describe("grant", () => {
  const units = fc.oneof(fc.nat(1000), fc.maxSafeNat());
  const place = fc.record({
    fixed: units,
    perUnit: fc.oneof(fc.nat(5), units),
    limit: units,
    used: units,
    held: units,
  });

  test("is the largest that fits, to the unit, for numbers up to 2^53 - 1", () => {
    fc.assert(
      fc.property(fc.array(place, { minLength: 1, maxLength: 5 }), units, units, (places, a, b) => {
        const [min, want] = [Math.min(a, b), Math.max(a, b)];
        const holds = places.map(({ fixed, perUnit, limit }) => hold({ fixed, perUnit, limit }));
        const result = grant(holds, places, want, min);
        // The same with BigInt, which cannot round.
        const best = places.map(({ fixed, perUnit, limit, used, held }) => {
          const room = BigInt(limit) - BigInt(used) - BigInt(held) - BigInt(fixed);
          return room < 0n ? -1n : perUnit === 0 ? BigInt(want) : room / BigInt(perUnit);
        });
        const denied = best.flatMap((fits, i) => (fits < BigInt(min) ? [i] : []));
        if (denied.length > 0) {
          expect(result).toEqual({ ok: false, denied });
          return;
        }
        const granted = [BigInt(want), ...best].reduce((low, fits) => (fits < low ? fits : low));
        expect(result).toEqual({
          ok: true,
          granted: Number(granted),
          amounts: places.map(({ fixed, perUnit }) => Number(BigInt(fixed) + granted * BigInt(perUnit))),
        });
      }),
      { numRuns: 2000 },
    );
  });

  test("of no holds is what was wanted", () => {
    expect(grant([], [], 7, 3)).toEqual({ ok: true, granted: 7, amounts: [] });
  });

  test("does not let a counter without a limit pass 2^53 - 1", () => {
    const open = [hold({ limit: null })];
    expect(grant(open, [{ used: MAX - 10, held: 0 }], 10, 10)).toMatchObject({ ok: true });
    expect(() => grant(open, [{ used: MAX - 9, held: 0 }], 10, 10)).toThrow(InvalidUnits);
    expect(() => grant([hold({ limit: null, perUnit: MAX })], [{ used: 0, held: 0 }], 2, 1)).toThrow(InvalidUnits);
  });
});

describe("the checks", () => {
  test.each<[string, Partial<Hold>]>([
    ["an empty name", { counter: "" }],
    ["a name that is no text", { counter: 5 as unknown as string }],
    ["a name with NUL", { counter: "a\0" }],
    ["half a surrogate pair", { counter: "a\ud800" }],
    ["257 bytes", { counter: "x".repeat(257) }],
    ["129 letters of two bytes", { counter: "é".repeat(129) }],
    ["a broken bucket", { bucket: 0.5, from: 0.5 }],
    ["a window that begins after its bucket", { from: 10, step: 10 }],
    ["a calendar window of two buckets", { from: -10 }],
    ["a window that is no whole number of steps", { from: -15, step: 10 }],
    ["too many buckets", { from: -10_001, step: 1 }],
    ["an end that is no number", { until: Number.POSITIVE_INFINITY }],
    ["a limit that is no amount", { limit: -1 }],
    ["a smallest cost past 2^53", { fixed: MAX, perUnit: 1 }],
  ])("refuse %s", (_, more) => {
    expect(() => checkReserve(request({ holds: [hold(more)] }))).toThrow(InvalidUnits);
  });

  test.each<[string, Partial<ReserveRequest>]>([
    ["an empty id", { id: "" }],
    ["a long id", { id: "x".repeat(1025) }],
    ["an empty fingerprint", { fingerprint: "" }],
    ["min above want", { min: 11 }],
    ["no time to live", { ttlMs: 0 }],
    ["an endless time to live", { ttlMs: MAX }],
    ["an unknown policy", { onExpire: "keep" as "release" }],
    ["one counter twice", { holds: [hold(), hold({ bucket: 5, from: 5 })] }],
    ["33 holds", { holds: Array.from({ length: 33 }, (_, i) => hold({ counter: `${i}` })) }],
  ])("refuse %s", (_, more) => {
    expect(() => checkReserve(request(more))).toThrow(InvalidUnits);
  });

  test("accept what is just within bounds", () => {
    checkReserve(request({ holds: Array.from({ length: 32 }, (_, i) => hold({ counter: `${i}` })) }));
    checkReserve(request({ holds: [hold({ counter: "é".repeat(128), limit: null, fixed: MAX, perUnit: 0 })] }));
    checkReserve(request({ holds: [], want: 0, min: 0 }));
    checkRef({ counter: "c", bucket: 10, from: 0, step: 5 });
  });

  test("refuse an actual that has no bucket", () => {
    const settle = { id: "r", holds: [hold()], actual: new Map([["other", 1]]) };
    expect(() => checkSettle(settle)).toThrow(/other/);
    checkSettle(settle, [{ counter: "other", bucket: 0, amount: 1, keepUntil: 0 }]);
  });

  test("keep the message short, whatever the name", () => {
    const counter = `\0${"x".repeat(100_000)}`;
    expect(() => checkReserve(request({ holds: [hold({ counter })] }))).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^.{1,200}$/s) }),
    );
  });
});

describe("settlement", () => {
  const part = { counter: "c", bucket: 0, amount: 60, keepUntil: 0 };
  const settle = (actual: number) => ({ id: "r", actual: new Map([["c", actual]]), holds: [hold()] });

  test.each([
    ["held", "release", { outcome: "settled", overrun: 10, used: 70, held: -60 }],
    ["released", "release", { outcome: "late-released", overrun: 70, used: 70, held: 0 }],
    ["expired", "release", { outcome: "late-expired", overrun: 70, used: 70, held: 0 }],
    ["expired", "charge", { outcome: "late-expired", overrun: 10, used: 10, held: 0 }],
  ] as const)("of a %s reservation (%s): overrun is what no hold or charge covered", (state, onExpire, expected) => {
    const { outcome, overrun, changes } = settlement({ state, onExpire, parts: [part] }, settle(70));
    expect({ outcome, overrun, used: changes[0]!.used, held: changes[0]!.held }).toEqual(expected);
  });

  test("of an unknown reservation charges the buckets of the call", () => {
    expect(settlement(undefined, settle(70))).toMatchObject({
      outcome: "late-unknown",
      overrun: 70,
      changes: [{ counter: "c", bucket: 0, used: 70, held: 0 }],
    });
  });
});

test("used stays within 0 and 2^53 - 1, so that a settle never fails", () => {
  expect(addUsed(MAX - 1, 5)).toBe(MAX);
  expect(addUsed(5, -6)).toBe(0);
  expect(addUsed(5, 6)).toBe(11);
});

test("buckets are kept for two windows and a day after their end, and for ever after a lifetime", () => {
  expect(keepUntil(hold({ bucket: 1000, from: 1000, until: 1500 }))).toBe(2500 + ENDED_KEPT_MS);
  expect(keepUntil(hold({ until: 8.64e15 }))).toBe(MAX);
});
