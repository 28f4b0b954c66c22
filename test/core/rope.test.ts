import fc from "fast-check";
import { expect, test } from "vitest";
import { Rope } from "../../src/core/rope.ts";

function partsOf(rope: Rope, start: number, end: number): Buffer[] {
  const parts: Buffer[] = [];
  rope.take(parts, start, end);
  return parts;
}

/** Pieces of all sizes, also such as are put together at once. */
const pieces = fc.array(
  fc
    .tuple(fc.oneof(fc.nat(40), fc.integer({ min: 8_000, max: 40_000 })), fc.nat(255))
    .map(([length, first]) => Buffer.from(Array.from({ length }, (_, i) => (first + i * 7) & 255))),
  { maxLength: 6 },
);

test("a rope is its pieces one behind the other, however it is read", () => {
  fc.assert(
    fc.property(pieces, fc.nat(100_000), fc.nat(100_000), fc.nat(70_000), (given, a, b, room) => {
      const bytes = Buffer.concat(given);
      const [start, end] = [Math.min(a, b) % (bytes.length + 1), Math.max(a, b) % (bytes.length + 1)].sort(
        (x, y) => x - y,
      ) as [number, number];
      const rope = new Rope(given);
      expect(rope.length).toBe(bytes.length);
      const to = Buffer.alloc(room);
      const copied = rope.copy(to, start);
      expect(copied).toBe(Math.min(room, bytes.length - start));
      expect(to.subarray(0, copied).equals(bytes.subarray(start, start + copied))).toBe(true);
      expect(Buffer.concat(partsOf(rope, start, end)).equals(bytes.subarray(start, end))).toBe(true);
      expect(rope.slice(start, end).equals(bytes.subarray(start, end))).toBe(true);
      expect(Buffer.concat(rope.pieces).equals(bytes)).toBe(true);
      expect(rope.whole.equals(bytes)).toBe(true);
      expect(rope.pieces.length).toBe(1);
    }),
    { numRuns: 300 },
  );
});

test("a great many small pieces are put together at once", () => {
  expect(new Rope(Array.from({ length: 1_000 }, () => Buffer.from("x"))).pieces).toEqual([
    Buffer.from("x".repeat(1_000)),
  ]);
});

test("large pieces are not copied", () => {
  const given = [Buffer.alloc(20_000, 1), Buffer.alloc(20_000, 2)];
  const rope = new Rope(given);
  expect(rope.pieces[0]).toBe(given[0]);
  expect(partsOf(rope, 10, 30_000).map(({ buffer, length }) => [buffer, length])).toEqual([
    [given[0]!.buffer, 19_990],
    [given[1]!.buffer, 10_000],
  ]);
});
