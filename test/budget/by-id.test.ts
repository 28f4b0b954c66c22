import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ById, type Identified } from "../../src/budget/by-id.ts";

interface Item extends Identified<Item> {
  value: number;
}
const item = (id: string, value = 0): Item => ({ id, hash: 0, next: undefined, value });

describe("a collection by id", () => {
  test("tells ids apart that have the same hash", () => {
    const things = new ById<Item>();
    const [one, two, three] = [item("AaAa"), item("BBBB"), item("AaBB")];
    for (const each of [one!, two!, three!]) things.add(each);
    expect([things.get("AaAa"), things.get("BBBB"), things.get("AaBB")]).toEqual([one, two, three]);
    expect(things.get("BBAa")).toBe(undefined);
    things.delete(two!);
    expect([things.get("AaAa"), things.get("BBBB"), things.get("AaBB")]).toEqual([one, undefined, three]);
  });

  test("is what a Map is, whatever is added and deleted", () => {
    // Few letters and the same hash twice, so that ids meet.
    const ids = fc.constantFrom("", "Aa", "BB", "AaAa", "AaBB", "BBAa", "BBBB", "é", "b");
    const step = fc.oneof(ids, fc.integer({ min: 0, max: 300 }).map(String));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const things = new ById<Item>();
        const map = new Map<string, Item>();
        for (const [value, id] of steps.entries()) {
          const known = map.get(id);
          expect(things.get(id)).toBe(known);
          if (known) things.delete(known);
          else things.add(item(id, value));
          if (known) map.delete(id);
          else map.set(id, things.get(id)!);
        }
        expect(things.size).toBe(map.size);
        expect(new Set(things.all())).toEqual(new Set(map.values()));
      }),
    );
  });

  test("knows nothing by what is no text", () => {
    const things = new ById<Item>();
    things.add(item("a"));
    expect(things.get(undefined as never)).toBe(undefined);
  });
});
