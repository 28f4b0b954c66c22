import fc from "fast-check";
import { auth, budget, hashKey, type Middleware, type RouterOptions, residency, router } from "turnpike";
import { memoryStore } from "turnpike/stores/memory";
import { describe, expect, test } from "vitest";
import { STRATEGIES } from "../../src/middleware/router/options.ts";
import { ask, prompt, type Upstream, upstream, world } from "./world.ts";

const three = () => ({
  a: upstream("a", { jurisdiction: "EU", region: "fr", price: { input: 1, output: 10 } }),
  b: upstream("b", { jurisdiction: "US", price: "free" }),
  c: upstream("c", {
    capabilities: [{ match: /^/, images: false, parameters: { temperature: { max: 1 } } }],
    price: {} as never,
  }),
});

describe("an explanation", () => {
  const daily = { name: "daily", match: { provider: "a" }, tokens: 5_000, per: "day" } as const;
  const start = (options: RouterOptions, more: readonly Middleware[] = []) =>
    world(three(), [router(options), ...more, budget({ store: memoryStore(), limits: [daily] })]);

  test("tells every candidate in order: place, price, limits, changes, and why it is left out", async () => {
    const rules = [{ name: "all", match: { model: "m" }, to: ["b/x", "a/x", "c/x"] }];
    const { gateway, log, upstreams } = start({ rules, aliases: { short: "m" } }, [
      residency({ teams: { legal: { jurisdiction: ["EU", "FR"] } } }),
    ]);
    const request = prompt("short", { max_tokens: 100, temperature: 2 });
    const told = await gateway.explain(request, { as: { team: "legal" } });
    expect(told).toEqual({
      rule: "rules[0] (all)",
      model: "m",
      inputTokens: expect.any(Number),
      outputTokens: 100,
      candidates: [
        {
          target: "a/x",
          jurisdiction: "EU",
          region: "fr",
          estimatedUsd: (told.inputTokens * 1 + 100 * 10) / 1e6,
          limits: [
            {
              limit: "daily",
              unit: "tokens",
              amount: 5_000,
              used: 0,
              held: 0,
              remaining: 5_000,
              resetsAt: expect.any(String),
            },
          ],
        },
        {
          target: "b/x",
          jurisdiction: "US",
          excluded: { code: "no_compliant_target", reason: expect.stringMatching(/team legal/) },
        },
        { target: "c/x", excluded: { code: "no_compliant_target", reason: expect.any(String) } },
      ],
    });
    const anybody = await gateway.explain(request);
    expect(anybody.candidates.map(({ target }) => target)).toEqual(["b/x", "a/x", "c/x"]);
    expect(anybody.candidates[2]).toMatchObject({ estimatedUsd: null });
    // Nothing was sent, logged or held.
    expect(log.records).toEqual([]);
    expect(gateway.inFlight).toBe(0);
    expect(Object.values(upstreams).flatMap(({ calls }) => calls)).toEqual([]);
    expect((await gateway.usage()).map(({ held }) => held)).toEqual([0]);
  });

  test("tells of a spent budget, and of the bound that a nearly spent one sends", async () => {
    const { gateway } = start({ rules: [{ match: {}, to: ["a/x", "b/x"] }] });
    const [first] = (await gateway.explain(prompt("m", { max_tokens: 100_000 }))).candidates;
    expect(first).not.toHaveProperty("excluded");
    expect(first!.changes).toMatchObject([{ field: "max_tokens", from: 100_000, reason: "budget" }]);
    const [spent, next] = (await gateway.explain(prompt("m", { user: "x".repeat(40_000) }))).candidates;
    expect(spent).toMatchObject({
      excluded: { code: "budget_exceeded", reason: expect.stringMatching(/"daily" is spent/) },
    });
    expect(next).not.toHaveProperty("excluded");
    expect(await ask(gateway, prompt("m", { user: "x".repeat(40_000) }))).toBe("answer of b");
  });

  test("a limit that says deny ends the list", async () => {
    const strict = { ...daily, tokens: 1, onExceeded: "deny" } as const;
    const { gateway } = world(three(), [
      router({ rules: [{ match: {}, to: ["a/x", "b/x"] }] }),
      budget({ store: memoryStore(), limits: [strict] }),
    ]);
    expect((await gateway.explain(prompt("m"))).candidates.map(({ excluded }) => excluded?.code)).toEqual([
      "budget_exceeded",
      "budget_exceeded",
    ]);
    expect(await ask(gateway, prompt("m"))).toBe("budget_exceeded");
  });

  test("tells what the fit and the rule would change, in the caller's own dialect", async () => {
    const { gateway } = start({ rules: [{ match: {}, to: "c/x", set: { max_tokens: 9 } }] });
    const request = { model: "m", max_tokens: 50, messages: [{ role: "user", content: "x" }], temperature: 3 };
    const [target] = (await gateway.explain(request, { dialect: "anthropic-messages" })).candidates;
    expect(target!.changes).toEqual(
      expect.arrayContaining([expect.objectContaining({ field: "max_tokens", from: 50, to: 9, reason: "rule" })]),
    );
  });

  test("authenticates like HTTP, and fails as the request would", async () => {
    const secret = "tp-secret-secret-secret-secret-0001";
    const keys = [{ id: "k", hash: hashKey(secret), team: "legal" }];
    const { gateway } = world(three(), [auth({ keys }), router({ rules: [{ match: { team: "legal" }, to: "a/x" }] })]);
    expect((await gateway.explain(prompt("m"), { key: secret })).candidates).toMatchObject([{ target: "a/x" }]);
    await expect(gateway.explain(prompt("m"), { key: "wrong" })).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(gateway.explain(prompt("m"), { as: {} })).rejects.toMatchObject({ code: "model_not_found" });
    await expect(gateway.explain(prompt("m"), { dialect: "latin" })).rejects.toThrow(/unknown dialect "latin"/);
  });
});

test("what is explained is what then happens", async () => {
  const given = fc.record({
    strategy: fc.constantFrom(...STRATEGIES),
    order: fc.shuffledSubarray(["p0/x", "p1/x", "p2/x", "p3/x"], { minLength: 1 }),
    after: fc.constantFrom("p0/y", "p2/y"),
    policy: fc.boolean(),
    canary: fc.constantFrom(0, 30, 100),
    spent: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    down: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    requests: fc.array(
      fc.record({
        images: fc.boolean(),
        session: fc.constantFrom(undefined, "s1", "s2"),
        tokens: fc.constantFrom(undefined, 1, 3_000),
      }),
      { minLength: 1, maxLength: 6 },
    ),
  });
  let excluded = 0;
  await fc.assert(
    fc.asyncProperty(given, async ({ strategy, order, after, policy, canary, spent, down, requests }) => {
      const upstreams: Record<string, Upstream> = {};
      for (let i = 0; i < 4; i++) {
        upstreams[`p${i}`] = upstream(`p${i}`, {
          jurisdiction: i === 1 ? "US" : "EU",
          price: { input: 1 + i, output: 4 - i },
          capabilities: [{ match: /^/, images: i !== 2 }],
        });
        upstreams[`p${i}`]!.fault = () => (down[i] ? { status: 503 } : {});
      }
      const limits = spent.flatMap((is, i) =>
        is ? [{ name: `l${i}`, match: { provider: `p${i}` }, requests: 1, per: "day" as const }] : [],
      );
      const rule = {
        match: {},
        to: [{ strategy, targets: order }, after],
        ...(canary && { canary: { to: "p3/z", percent: canary } }),
      };
      const { gateway, log } = world(upstreams, [
        router({ rules: [rule], retries: 0 }),
        ...(policy ? [residency({ jurisdiction: "EU" })] : []),
        budget({ store: memoryStore(), limits: [...limits, { name: "all", requests: 1_000_000, per: "day" }] }),
      ]);
      for (const { images, session, tokens } of requests) {
        const content = images ? [{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }] : "hi";
        const request = { model: "m", messages: [{ role: "user", content }], ...(tokens && { max_tokens: tokens }) };
        const options = session ? { headers: { "x-session-id": session } } : {};
        const { candidates } = await gateway.explain(request, options);
        excluded += candidates.filter(({ excluded }) => excluded).length;
        const isDown = (target: string) => down[Number(target[1])];
        const expected = candidates.find(({ target, excluded }) => !excluded && !isDown(target))?.target;
        const before = log.attempts().length;
        await ask(gateway, request, options);
        const last = log.requests().at(-1)!;
        expect(last.outcome === "served" ? last.target : undefined).toBe(expected);
        // Who is left out is left out: no attempt reached it.
        const reached = log
          .attempts()
          .slice(before)
          .filter(({ outcome }) => outcome !== "refused");
        const barred = candidates.filter(({ excluded }) => excluded).map(({ target }) => target);
        expect(reached.filter(({ target }) => barred.includes(target as string))).toEqual([]);
      }
      await gateway.close({ drainMs: 0 });
    }),
    { numRuns: 300 },
  );
  expect(excluded).toBeGreaterThan(100);
}, 60_000);
