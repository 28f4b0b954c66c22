import { residency, router } from "turnpike";
import { afterEach, describe, expect, test, vi } from "vitest";
import { ask, prompt, upstream, world } from "./world.ts";

afterEach(() => {
  vi.useRealTimers();
});

const two = () => ({ a: upstream("a", { jurisdiction: "US" }), b: upstream("b", { jurisdiction: "EU" }) });
const rules = [{ match: { model: "m" }, to: ["a/x", "b/x"] }];

/** A decision is made once for a model, as long as nothing of it depends on a single request. */
describe("what is remembered of a model", () => {
  test("never lets one caller have what a policy forbids another", async () => {
    const { gateway } = world(two(), [router({ rules }), residency({ teams: { legal: { jurisdiction: "EU" } } })]);
    for (let i = 0; i < 3; i++) {
      expect(await ask(gateway, prompt("m"))).toBe("answer of a");
      expect(await ask(gateway, prompt("m"), { as: { team: "legal" } })).toBe("answer of b");
    }
  });

  test("holds while nobody rests, and again afterwards; the log of earlier requests stays as it was", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { gateway, upstreams, log } = world(two(), [router({ rules })], { now: () => Date.now() });
    const ends = async (expected: string) => expect(await ask(gateway, prompt("m"))).toBe(expected);
    await ends("answer of a");
    upstreams.a.fault = (call) => (call === 1 ? { status: 429, headers: { "retry-after": "30" } } : {});
    await ends("answer of b");
    await ends("answer of b");
    vi.setSystemTime(Date.now() + 31_000);
    await ends("answer of a");
    const all = { candidates: ["a/x", "b/x"] };
    const rested = { candidates: ["b/x"], excluded: [{ target: "a/x" }] };
    expect(log.requests().map(({ route }) => route)).toMatchObject([all, all, rested, all]);
  });

  test("is not what another rule says of a request that looks different", async () => {
    const { gateway } = world(two(), [
      router({
        rules: [
          { match: { model: "m", headers: { "x-tier": "gold" } }, to: "b/x" },
          { match: { model: "m", when: ({ identity }) => identity.user === "ann" }, to: "b/x" },
          { match: { model: "*" }, to: "a/*" },
        ],
      }),
    ]);
    for (let i = 0; i < 3; i++) {
      expect(await ask(gateway, prompt("m"))).toBe("answer of a");
      expect(await ask(gateway, prompt("m"), { headers: { "x-tier": "gold" } })).toBe("answer of b");
      expect(await ask(gateway, prompt("m"), { as: { user: "ann" } })).toBe("answer of b");
    }
  });

  test("is forgotten when there are too many, and found again", async () => {
    const { gateway, upstreams } = world(two(), [router({ rules: [{ match: { model: "*" }, to: "a/*" }] })]);
    const names = Array.from({ length: 1_200 }, (_, index) => `m${index}`);
    for (const name of [...names, "m0", "m0"]) await ask(gateway, prompt(name));
    expect(upstreams.a.calls.map(({ body }) => body.model)).toEqual([...names, "m0", "m0"]);
  });
});

test("a request whose `stream` is no boolean reaches nobody", async () => {
  const { gateway, upstreams, log } = world(two(), [router({ rules })]);
  expect(await ask(gateway, prompt("m", { stream: "yes" }))).toBe("invalid_request");
  expect(upstreams.a.calls).toHaveLength(0);
  expect(log.attempts()).toHaveLength(0);
});
