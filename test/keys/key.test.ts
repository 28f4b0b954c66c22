import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashKey, isKey, newKey, newKeyId } from "../../src/keys/key.ts";

describe("a virtual key", () => {
  test("has a prefix, 256 bits and a checksum in letters and digits", () => {
    const keys = Array.from({ length: 2_000 }, newKey);
    for (const key of keys) expect(key).toMatch(/^tp-[0-9A-Za-z]{49}$/);
    expect(keys.every(isKey)).toBe(true);
    expect(new Set(keys).size).toBe(keys.length);
    // All digits come first: the value is spread over its whole range.
    expect(new Set(keys.map((key) => key.at(20))).size).toBe(62);
  });

  test("is told from every mistyped, swapped or cut off one without a look-up", () => {
    const letters = [..."0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"];
    fc.assert(
      fc.property(fc.nat(48), fc.constantFrom(...letters), fc.nat(51), (place, letter, length) => {
        const key = newKey();
        const at = 3 + place;
        const mistyped = key.slice(0, at) + letter + key.slice(at + 1);
        expect(isKey(mistyped)).toBe(mistyped === key);
        const swapped = key.slice(0, at) + (key[at + 1] ?? "") + key[at] + key.slice(at + 2);
        expect(isKey(swapped)).toBe(swapped === key);
        expect(isKey(key.slice(0, length))).toBe(false);
      }),
    );
    for (const text of ["", "tp-", `${newKey()} `, `${newKey()}\n`, newKey().toUpperCase()])
      expect(isKey(text)).toBe(false);
  });

  test("is kept as its SHA-256, and named by something else", () => {
    expect(hashKey("abc")).toBe("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(newKeyId()).toMatch(/^k[0-9A-Za-z]{11}$/);
  });
});
