import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { scanObject } from "../../src/core/json-scan.ts";
import { Rope } from "../../src/core/rope.ts";

const scan = (bytes: Buffer | Buffer[]) => scanObject(new Rope(bytes));

/** JSON text of an object, written in any of the ways JSON can be written. */
/** Values as JSON can write them: it knows no −0. */
const json = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value)));
const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/);
const escaped = (text: string, how: readonly boolean[]) =>
  `"${Array.from(text, (char, i) => (how[i % Math.max(1, how.length)] ? [...char].flatMap(units).join("") : JSON.stringify(char).slice(1, -1))).join("")}"`;
const units = (char: string) =>
  Array.from({ length: char.length }, (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`);
const members = fc.dictionary(fc.string({ unit: "binary", maxLength: 8 }), json, {
  maxKeys: 8,
});
const written = fc
  .tuple(
    members,
    fc.array(space, { minLength: 5, maxLength: 5 }),
    fc.array(fc.boolean(), { maxLength: 4 }),
    fc.boolean(),
  )
  .map(([value, [a, b, c, d, e], how, indent]) => {
    const body = Object.entries(value)
      .map(([name, member]) => `${b}${escaped(name, how)}${c}:${d}${JSON.stringify(member, null, indent ? 2 : 0)}${e}`)
      .join(",");
    return { value, text: `${a}{${body === "" ? b : body}}${e}` };
  });

test("finds every member of any JSON object, however it is written", () => {
  fc.assert(
    fc.property(written, ({ value, text }) => {
      const bytes = Buffer.from(text);
      expect(JSON.parse(text)).toEqual(value);
      const found = scan(bytes);
      expect(found.size).toBe(Object.keys(value).length);
      expect(bytes[found.open]).toBe(0x7b);
      for (const [name, member] of Object.entries(value)) {
        const place = found.get(name)!;
        expect(JSON.parse(bytes.toString("utf8", place.start, place.end))).toEqual(member);
      }
    }),
    { numRuns: 1_000 },
  );
});

/** Strings around the lengths at which the scan goes about them in another way, with all that could end them wrongly. */
const longString = fc
  .tuple(
    fc.oneof(fc.nat(40), fc.integer({ min: 8_150, max: 8_250 }), fc.nat(40_000)),
    fc.array(fc.constantFrom("a", '"', "\\", '\\"', "é", "日", "{", "]", ",", "\n"), { minLength: 1, maxLength: 8 }),
  )
  .map(([length, pattern]) =>
    pattern
      .join("")
      .repeat(Math.ceil(length / pattern.length))
      .slice(0, length),
  );

test("finds every member however long the strings are and however many members there are", () => {
  const value = fc.oneof(longString, fc.array(longString, { maxLength: 3 }), fc.record({ content: longString }));
  const object = fc
    .tuple(fc.array(value, { maxLength: 4 }), fc.constantFrom(0, 1, 15, 16, 17, 40))
    .map(([values, small]) => [...values, ...Array<number>(small).fill(1)])
    .map((values) => Object.fromEntries(values.map((each, i) => [`${"é".repeat(i % 2)}member ${i}`, each])));
  fc.assert(
    fc.property(object, fc.constantFrom(undefined, 2), (given, indent) => {
      const bytes = Buffer.from(JSON.stringify(given, null, indent));
      const found = scan(bytes);
      expect(found.size).toBe(Object.keys(given).length);
      for (const [name, member] of Object.entries(given)) {
        const place = found.get(name)!;
        expect(JSON.parse(bytes.toString("utf8", place.start, place.end))).toEqual(member);
      }
      expect(found.get("member")).toBeUndefined();
      expect(found.get("member 41")).toBeUndefined();
    }),
    { numRuns: 200 },
  );
});

/** The window of the scan. */
const WINDOW = 64 * 1_024;

test("finds the same wherever its window ends, and however the body is cut into pieces", () => {
  const ends = fc.integer({ min: -70, max: 70 });
  const cuts = fc.array(fc.nat(3 * WINDOW), { maxLength: 4 });
  fc.assert(
    fc.property(longString, longString, ends, ends, cuts, fc.boolean(), (a, b, first, second, where, inArray) => {
      // What begins shortly before or behind the end of a window.
      const start = '{"p":"';
      const filler = (till: number, before: number) => "x".repeat(Math.max(0, till - before));
      let text = `${start}${filler(WINDOW + first, start.length + 6)}","a":`;
      text += JSON.stringify(inArray ? [{ a }, [a]] : a);
      text += `,"q":"${filler(2 * WINDOW + second, Buffer.byteLength(text) + 12)}","b":${JSON.stringify({ b: [b, {}] })}}`;
      const bytes = Buffer.from(text);
      const borders = [0, ...where.map((each) => each % bytes.length).sort((x, y) => x - y), bytes.length];
      const pieces = borders.slice(1).map((border, i) => bytes.subarray(borders[i], border));
      const value = JSON.parse(text) as Record<string, unknown>;
      const found = scan(pieces);
      expect(found.size).toBe(4);
      for (const [name, member] of Object.entries(value)) {
        const place = found.get(name)!;
        expect(JSON.parse(bytes.toString("utf8", place.start, place.end))).toEqual(member);
      }
    }),
    { numRuns: 300 },
  );
});

test("refuses bytes that are no UTF-8, also at the end of its window", () => {
  for (const wrong of [[0x80], [0xc3], [0xe6, 0x97], [0xf0, 0x9f, 0x98], [0xed, 0xa0, 0x80], [0xff]]) {
    for (let before = WINDOW - 12; before < WINDOW + 2; before++) {
      const body = Buffer.concat([
        Buffer.from(`{"a":"${"x".repeat(before - 6)}`),
        Buffer.from(wrong),
        Buffer.from('"}'),
      ]);
      expect(() => scan(body), `${wrong} at ${before}`).toThrow("not valid UTF-8");
    }
  }
  for (const right of ["é", "日", "😀"]) {
    for (let before = WINDOW - 12; before < WINDOW + 2; before++)
      expect(scan(Buffer.from(`{"a":"${"x".repeat(before - 6)}${right}"}`)).size).toBe(1);
  }
});

test("refuses every body that is cut off, wherever", () => {
  const text = JSON.stringify({
    a: [{ b: `say \\ "hello" to ${"everybody ".repeat(3)}` }, [1, {}], "x"],
    é: "",
    c: { d: null },
  });
  const bytes = Buffer.from(text);
  expect(scan(bytes).size).toBe(3);
  // The longer ones first: what is left of them in the window is not read.
  for (let length = bytes.length - 1; length >= 0; length--) {
    expect(() => scan(bytes.subarray(0, length)), String(length)).toThrow(
      expect.objectContaining({ code: "invalid_request" }),
    );
  }
});

test("says of a body that is cut off that it ends too early", () => {
  const text = '{"a":[1,[2]]}';
  expect(scan(Buffer.from(text)).size).toBe(1);
  expect(() => scan(Buffer.from(text.slice(0, -3)))).toThrow("it ends too early");
  expect(() => scan(Buffer.from('{"a":"b'))).toThrow("a string does not end");
});

test("refuses, and never crashes or hangs, on any bytes that are no JSON object", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.stringMatching(/^[{}[\]",:\\a1 ]{0,30}$/).map((text) => Buffer.from(text)),
      ),
      (given) => {
        const bytes = Buffer.from(given);
        let value: unknown;
        try {
          value = JSON.parse(new TextDecoder("utf8", { fatal: true, ignoreBOM: true }).decode(bytes));
        } catch {
          // Structure is checked, tokens are not: it may pass here, but must not throw anything but a typed error.
          try {
            scan(bytes);
          } catch (error) {
            expect(error).toMatchObject({ code: "invalid_request", status: 400 });
          }
          return;
        }
        if (typeof value === "object" && value !== null && !Array.isArray(value)) scan(bytes);
        else expect(() => scan(bytes)).toThrow(expect.objectContaining({ code: "invalid_request" }));
      },
    ),
    { numRuns: 3_000, examples: [[Buffer.from("{}")], [Buffer.from('{"a":1}')]] },
  );
});

describe("a member that stands twice is refused", () => {
  test.each([
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":1}',
    '{"":1,"":2}',
    '{"__proto__":1,"__proto__":2}',
    '{"é":1,"\\u00e9":2}',
  ])("%s", (text) => {
    expect(() => scan(Buffer.from(text))).toThrow(/stands twice/);
  });
  test("also as the last of many", () => {
    const many = Array.from({ length: 100 }, (_, i) => `"m${i}":${i}`).join(",");
    expect(() => scan(Buffer.from(`{${many},"m99":1}`))).toThrow("`m99` stands twice in the request body");
    expect(() => scan(Buffer.from(`{${many},"m0":1}`))).toThrow("`m0` stands twice in the request body");
    expect(scan(Buffer.from(`{${many}}`)).get("m7")).toMatchObject({ start: 55, end: 56 });
  });
  test("but not one that stands once on each of two levels", () => {
    expect(scan(Buffer.from('{"a":{"a":1},"b":[{"a":1},{"a":2}]}')).size).toBe(2);
  });
});

test("depth is bounded at 128 levels below the top", () => {
  const nested = (depth: number) => Buffer.from(`{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`);
  expect(scan(nested(128)).size).toBe(1);
  expect(() => scan(nested(129))).toThrow(/deeper than 128/);
  expect(() => scan(Buffer.from(`{"a":${'{"a":'.repeat(100_000)}`))).toThrow(/deeper than 128/);
  // Brackets in strings are text.
  expect(scan(Buffer.from(`{"a":"${"[".repeat(100_000)}"}`)).size).toBe(1);
});

describe("time is linear in hostile text:", () => {
  const took = (bytes: Buffer) => {
    const start = performance.now();
    try {
      scan(bytes);
    } catch {
      // Only the time counts.
    }
    return performance.now() - start;
  };
  test.each([
    ["backslashes", `{"a":"${"\\\\".repeat(500_000)}"}`],
    ["escaped quotes", `{"a":"${'\\"'.repeat(500_000)}"}`],
    ["an unfinished string of backslashes", `{"a":"${"\\".repeat(1_000_001)}`],
    ["a backslash run before each of many quotes", `{"a":"${`${"\\".repeat(999)}"`.repeat(1_000)}`],
    ["empty strings", `{"a":[${'"",'.repeat(300_000)}""]}`],
    ["members", `{${Array.from({ length: 50_000 }, (_, i) => `"k${i}":0`).join(",")}}`],
    ["spaces", `{${" ".repeat(1_000_000)}}`],
  ])("%s", (_, text) => {
    const bytes = Buffer.from(text);
    expect(Math.min(took(bytes), took(bytes), took(bytes))).toBeLessThan(500);
  });
});
