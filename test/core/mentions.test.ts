import fc from "fast-check";
import { expect, test } from "vitest";
import { mentions } from "../../src/core/mentions.ts";

const MARKS = ['"reasoning_content"', '"thinking_blocks"', "tp1.", "dHAxL", "base64", '"', "aaab", ""];

test("tells what Buffer#includes tells, whatever stands around the mark", () => {
  const piece = fc.oneof(
    fc.constantFrom(...MARKS),
    // Beginnings and ends of marks, which a search could take for the whole.
    fc.tuple(fc.constantFrom(...MARKS), fc.nat(20), fc.nat(20)).map(([mark, start, end]) => mark.slice(start, end)),
    fc.string({ unit: "binary", maxLength: 12 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom(...MARKS), (pieces, mark) => {
      const bytes = Buffer.from(pieces.join(""));
      expect(mentions([bytes], mark)).toBe(bytes.includes(mark));
      expect(
        mentions(
          pieces.map((each) => Buffer.from(each)),
          mark,
        ),
        "in pieces",
      ).toBe(mark === "" ? pieces.length > 0 : bytes.includes(mark));
    }),
    { numRuns: 1_000 },
  );
});

test("finds a mark behind any number of places that look like it", () => {
  for (const times of [0, 1, 10, 1_000, 100_000]) {
    const before = "1. 64 _content base6 tp1 ".repeat(times);
    for (const mark of MARKS) {
      expect(mentions([Buffer.from(`${before}${mark}`)], mark), `${mark} behind ${times}`).toBe(true);
      expect(mentions([Buffer.from(`${mark}${before}`)], mark), `${mark} before ${times}`).toBe(true);
    }
    expect(mentions([Buffer.from(before)], "tp1.")).toBe(false);
    expect(mentions([Buffer.from(before)], '"reasoning_content"')).toBe(false);
  }
});
