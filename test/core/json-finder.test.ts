import fc from "fast-check";
import { expect, onTestFinished, test, vi } from "vitest";
import { type Finder, MORE, newFinder, plainFinder, TEXT, wasmFinder } from "../../src/core/json-finder.ts";

/** In windows of 64 bytes, the shortest there are. @returns where it ends, or how it fails */
function endOf(finder: Finder, find: "stringEnd" | "containerEnd", text: Buffer, start: number): number | "wrong" {
  let base = 0;
  let goOn = false;
  for (;;) {
    const size = Math.min(64, text.length - base);
    // What another text has left behind it is not read.
    finder.bytes.fill("]", TEXT, TEXT + 128);
    text.copy(finder.bytes, TEXT, base, base + size);
    const found = finder[find](TEXT + (goOn ? 0 : start), TEXT + size, goOn, 5);
    if (found >= TEXT) return found - TEXT + base;
    if (found !== MORE || base + size === text.length) return "wrong";
    base += size;
    goOn = true;
  }
}

test("WebAssembly finds what is found byte after byte, in whatever bytes", () => {
  const [plain, fast] = [plainFinder(), wasmFinder()];
  const token = fc.constantFrom('"', "\\", "[", "]", "{", "}", "a", ",", '"b\\""', "[1]", '{"c":"]"}', "x".repeat(20));
  fc.assert(
    fc.property(fc.array(token, { maxLength: 60 }), fc.nat(63), (tokens, before) => {
      const rest = tokens.join("");
      for (const [find, first] of [
        ["stringEnd", '"'],
        ["containerEnd", "["],
        ["containerEnd", "{"],
      ] as const) {
        const text = Buffer.from(" ".repeat(before) + first + rest);
        const start = before + (first === '"' ? 1 : 0);
        expect(endOf(fast, find, text, start), text.toString()).toBe(endOf(plain, find, text, start));
      }
    }),
    { numRuns: 5_000 },
  );
});

test("where nothing may be compiled, it is found byte after byte", () => {
  const isNative = ({ stringEnd }: Finder) => stringEnd.toString().includes("[native code]");
  expect(isNative(newFinder())).toBe(true);
  vi.stubGlobal("WebAssembly", undefined);
  onTestFinished(() => void vi.unstubAllGlobals());
  const finder = newFinder();
  expect(isNative(finder)).toBe(false);
  expect(endOf(finder, "containerEnd", Buffer.from('[{"b":"]"}],'), 0)).toBe(11);
});

test("bytes count as ASCII only where all of them are", () => {
  const finder = wasmFinder();
  for (const length of [1, 15, 16, 17, 63, 64, 65, 200]) {
    for (let place = 0; place < length; place++) {
      finder.bytes.fill("a", TEXT, TEXT + 300);
      expect(Boolean(finder.isAscii(TEXT, TEXT + length))).toBe(true);
      finder.bytes[TEXT + place] = 0x80;
      expect(Boolean(finder.isAscii(TEXT, TEXT + length)), `${place} of ${length}`).toBe(false);
    }
  }
});
