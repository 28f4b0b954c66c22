import { describe, expect, test } from "vitest";
import { coverages } from "../../src/budget/accounts.ts";
import { compileLimit, limitOptions } from "../../src/budget/limits.ts";
import { newTarget, type Provider } from "../../src/core/provider.ts";

const provider = { capabilities: () => ({ maxOutputTokens: 500 }) } as unknown as Provider;
const target = newTarget("p", provider, "m");
const limits = (...options: object[]) =>
  options.map((option, i) => compileLimit(limitOptions.parse({ name: `l${i}`, tokens: 10, per: "day", ...option })));

describe("what covers an attempt", () => {
  test("is worked out once for the same names, whatever object they come in", () => {
    const find = coverages(limits({ by: ["user", "tag"] }));
    const first = find({ user: "u", tags: ["a", "b"], team: "t" }, target);
    expect(find({ user: "u", tags: ["a", "b"], team: "other" }, newTarget("p", provider, "m"))).toBe(first);
    expect(find({ user: "u", tags: ["b"] }, target)).not.toBe(first);
    expect(find({ user: "u" }, target)).not.toBe(first);
    expect(find({ user: "u", tags: ["a", "b"] }, newTarget("p", provider, "n"))).not.toBe(first);
  });

  test("is another when an identity is changed in its place", () => {
    const find = coverages(limits({ by: "user" }, { match: { team: "red" } }));
    const identity = { user: "u", team: "red", tags: ["a"] };
    const counters = () => find(identity, target).accounts.map(({ counter }) => counter);
    expect(counters()).toEqual(["l0|tokens|u", "l1|tokens|*"]);
    identity.user = "v";
    expect(counters()).toEqual(["l0|tokens|v", "l1|tokens|*"]);
    identity.team = "blue";
    expect(counters()).toEqual(["l0|tokens|v"]);
  });

  test("is never somebody else's, however names are cut", () => {
    const by = limits({ by: ["user", "team", "tag", "model"] });
    const find = coverages(by);
    const names = [undefined, "", "-", "1:a", "a1:b", "a-", "1:a-"];
    for (const user of names) {
      for (const team of names) {
        for (const tags of [[], ["-"], ["a", "b"], ["a1:b"], ["", ""]]) {
          for (const model of ["m", "1:am", "-m", "0#m"]) {
            const identity = { ...(user !== undefined && { user }), ...(team !== undefined && { team }), tags };
            const asked = newTarget("p", provider, model);
            expect(find(identity, asked)).toEqual(coverages(by)(identity, asked));
          }
        }
      }
    }
  });

  test("follows the provider where two gateways give it one name", () => {
    const find = coverages(limits({}));
    const other = { capabilities: () => ({ maxOutputTokens: 900 }) } as unknown as Provider;
    expect(find({}, target).maxOutputTokens).toBe(500);
    expect(find({}, newTarget("p", other, "m")).maxOutputTokens).toBe(900);
  });

  test("shares what was heard of a counter among the targets that are counted on it", () => {
    const find = coverages(limits({}));
    const [one, two] = ["m", "n"].map((model) => find({}, newTarget("p", provider, model)).accounts[0]!);
    expect(one!.counter).toBe(two!.counter);
    expect(one!.standing).toBe(two!.standing);
    expect(one!.part.counter).not.toBe(two!.part.counter);
  });
});
