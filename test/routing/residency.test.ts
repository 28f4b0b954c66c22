import fc from "fast-check";
import {
  cache,
  type Identity,
  type Middleware,
  type ResidencyOptions,
  type RouterOptions,
  residency,
  router,
} from "turnpike";
import { describe, expect, test } from "vitest";
import { configJsonSchema, gatewayFromConfig } from "../../src/gateway/config.ts";
import { STRATEGIES } from "../../src/middleware/router/options.ts";
import { serve } from "../support/gateway.ts";
import { ask, type Fault, prompt, type Upstream, upstream, world } from "./world.ts";

const places = () => ({
  paris: upstream("paris", { jurisdiction: "EU", region: "eu-west-3" }),
  dublin: upstream("dublin", { jurisdiction: "US", region: "eu-west-1" }),
  ohio: upstream("ohio", { jurisdiction: "US", region: "us-east-2" }),
  unknown: upstream("unknown"),
});

function start(to: string[], policy: ResidencyOptions, rest: RouterOptions = {}) {
  const rules = [{ match: { model: "m" }, to }];
  return world(places(), [router({ rules, retries: 0, ...rest }), residency(policy)]);
}
const asked = (upstreams: Record<string, Upstream>) =>
  Object.fromEntries(Object.entries(upstreams).map(([name, { calls }]) => [name, calls.length]));

describe("a residency policy", () => {
  test("lets a request reach only what complies, whatever the order of the rule is", async () => {
    const { gateway, upstreams, log } = start(["ohio/x", "unknown/x", "dublin/x", "paris/x"], { jurisdiction: "EU" });
    expect(await ask(gateway, prompt("m"))).toBe("answer of paris");
    expect(asked(upstreams)).toEqual({ paris: 1, dublin: 0, ohio: 0, unknown: 0 });
    expect(log.attempts().at(-1)).toMatchObject({
      target: "paris/x",
      jurisdiction: "EU",
      region: "eu-west-3",
      policies: ["jurisdiction EU"],
    });
  });

  test("fails closed when what complies fails: the others are no fallback", async () => {
    const { gateway, upstreams } = start(["paris/x", "ohio/x"], { jurisdiction: ["EU"] }, { retries: 1 });
    upstreams.paris.fault = () => ({ status: 503 });
    const error = await gateway.completion(prompt("m")).catch((error) => error);
    expect(error).toMatchObject({ code: "upstream_overloaded", status: 503 });
    expect(asked(upstreams)).toMatchObject({ ohio: 0 });
  });

  test("knows what is declared, and takes nothing else for compliance", async () => {
    const { gateway, upstreams } = start(["paris/x"], { jurisdiction: "*" });
    expect(await ask(gateway, prompt("unknown/x"))).toBe("no_compliant_target");
    expect(await ask(gateway, prompt("ohio/x"))).toBe("answer of ohio");
    expect(asked(upstreams).unknown).toBe(0);
  });

  test("is a 403 that names the policy and is not worth another try", async () => {
    const { gateway } = start(["paris/x"], { jurisdiction: "EU", region: "eu-*" });
    expect(await gateway.completion(prompt("dublin/x")).catch((error) => error)).toMatchObject({
      code: "no_compliant_target",
      status: 403,
      retryable: false,
      message: expect.stringMatching(/dublin\/x \(jurisdiction US, region eu-west-1\).*jurisdiction EU, region eu-\*/),
    });
  });

  test.each<[string, Identity, string]>([
    ["nobody in particular meets the policy for everybody", {}, "answer of dublin"],
    ["a key's own policy holds beside it", { key: "hr-7" }, "answer of paris"],
    ["so does a team's", { team: "legal" }, "answer of paris"],
    ["both may forbid everything", { key: "hr-7", team: "overseas" }, "no_compliant_target"],
  ])("%s", async (_, as, expected) => {
    const { gateway } = start(["ohio/x", "dublin/x", "paris/x"], {
      region: "eu-*",
      keys: { "hr-*": { jurisdiction: "EU" } },
      teams: { legal: { jurisdiction: "EU" }, overseas: { jurisdiction: "US" } },
    });
    expect(await ask(gateway, prompt("m"), { as })).toBe(expected);
  });

  test("covers embeddings and the counting of tokens", async () => {
    const { gateway, upstreams } = start(["ohio/x", "paris/x"], { jurisdiction: "EU" });
    await gateway.embeddings({ model: "m", input: "hello" });
    await expect(gateway.embeddings({ model: "ohio/x", input: "hello" })).rejects.toMatchObject({
      code: "no_compliant_target",
    });
    const server = await serve(gateway);
    const count = (model: string) =>
      fetch(`${server.url}/anthropic/v1/messages/count_tokens`, {
        method: "POST",
        headers: { "anthropic-version": "2023-06-01" },
        body: JSON.stringify({ model, messages: [{ role: "user", content: "x" }] }),
      });
    expect((await count("m")).status).toBe(200);
    expect((await count("ohio/x")).status).toBe(403);
    await server.close();
    expect(asked(upstreams)).toEqual({ paris: 1, dublin: 0, ohio: 0, unknown: 0 });
  });

  test("covers the embeddings of a semantic cache, and a rule for everything does not lead them astray", async () => {
    const stack = (embed: string) =>
      world(places(), [
        cache({ semantic: { embed } }),
        router({ rules: [{ match: {}, to: "paris/x" }] }),
        residency({ jurisdiction: "EU" }),
      ]);
    const abroad = stack("ohio/e");
    expect(await ask(abroad.gateway, prompt("m", { temperature: 0 }))).toBe("answer of paris");
    expect(asked(abroad.upstreams)).toEqual({ paris: 1, dublin: 0, ohio: 0, unknown: 0 });
    const near = stack("paris/e");
    expect(await ask(near.gateway, prompt("m", { temperature: 0 }))).toBe("answer of paris");
    expect(near.upstreams.paris.calls.map(({ body }) => body.model).sort()).toEqual(["e", "x"]);
  });

  test("the answer's header says where it was computed", async () => {
    const { gateway } = start(["paris/x"], { jurisdiction: "EU" });
    const response = await gateway.fetch(
      new Request("http://gateway/v1/chat/completions", { method: "POST", body: JSON.stringify(prompt("m")) }),
    );
    expect(response.headers.get("x-turnpike-region")).toBe("eu-west-3");
  });
});

describe("a policy that cannot be met is an error when the gateway is built", () => {
  test.each<[string, RouterOptions["rules"], ResidencyOptions, RegExp]>([
    [
      "by a rule",
      [
        { match: { model: "a" }, to: "paris/x" },
        { name: "cheap", match: { model: "b" }, to: ["ohio/x", "unknown/x"] },
      ],
      { jurisdiction: "EU" },
      /router\.rules\[1\] \(cheap\) can meet "jurisdiction EU": ohio\/x \(jurisdiction US.*unknown\/x \(jurisdiction not declared/,
    ],
    [
      "by a rule that is for a covered team alone",
      [{ match: { team: ["legal", "legal-eu"] }, to: "ohio/*" }],
      { teams: { "legal*": { jurisdiction: "EU" } } },
      /router\.rules\[0\] can meet "team legal\*: jurisdiction EU"/,
    ],
    [
      "by a rule with several policies that no target meets at once",
      [{ match: { key: "k" }, to: ["dublin/x", "paris/x"] }],
      { jurisdiction: "US", keys: { k: { region: "eu-west-3" } } },
      /router\.rules\[0\] can meet "jurisdiction US" and "key k: region eu-west-3"/,
    ],
    ["by any provider", [], { region: "EU" }, /no provider can meet "region EU"/],
  ])("%s", (_, rules, policy, message) => {
    expect(() => world(places(), [router({ rules }), residency(policy)])).toThrow(message);
  });

  test("but a rule that others may use stands", () => {
    const rules = [{ match: { model: "*" }, to: "ohio/x" }];
    expect(() =>
      world(places(), [router({ rules }), residency({ teams: { legal: { jurisdiction: "EU" } } })]),
    ).not.toThrow();
  });

  test("so are policies that say nothing, and an order in which it could not filter", () => {
    expect(() => residency({})).toThrow(/needs `jurisdiction`/);
    expect(() => residency({ keys: { k: {} } })).toThrow(/needs `jurisdiction`/);
    expect(() => residency({ country: "FR" } as never)).toThrow(/country/);
    expect(() => world(places(), [residency({ jurisdiction: "EU" }), router()])).toThrow(/after router/);
  });
});

test("a configuration file says it in the same words", async () => {
  const file = (jurisdiction: string) => ({
    providers: { demo: { type: "simulated", jurisdiction } },
    logger: false,
    router: { rules: [{ match: { model: "m" }, to: "demo/demo" }] },
    residency: { jurisdiction: ["EU"], teams: { legal: { region: "local" } } },
  });
  const { gateway } = await gatewayFromConfig(file("EU"));
  expect(await ask(gateway, prompt("m"))).toMatch(/simulated/i);
  await expect(gatewayFromConfig(file("US"))).rejects.toThrow(/residency: no target of router\.rules\[0\]/);
  expect(configJsonSchema()).toMatchObject({ properties: { residency: { type: "object" } } });
});

test("no configuration and no fault lets a byte leave to a target outside the policy", async () => {
  const place = fc.record({
    jurisdiction: fc.constantFrom(undefined, "EU", "US"),
    region: fc.constantFrom(undefined, "eu-1", "us-1"),
  });
  const fault: fc.Arbitrary<Fault> = fc.constantFrom<Fault>(
    {},
    {},
    { status: 429, headers: { "retry-after": "0.01" } },
    { status: 500 },
    { status: 401 },
    { status: 402 },
    { reset: true },
    { cut: true },
    { delayMs: 5 },
    { finish: "content_filter", text: "" },
    { status: 400, body: { error: { message: "too long", code: "context_length_exceeded" } } },
  );
  const given = fc.record({
    places: fc.array(place, { minLength: 1, maxLength: 4 }),
    faults: fc.array(fc.array(fault, { minLength: 1, maxLength: 3 }), { minLength: 4, maxLength: 4 }),
    to: fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }),
    direct: fc.boolean(),
    policy: fc.constantFrom<ResidencyOptions>(
      { jurisdiction: "EU" },
      { region: "eu-*" },
      { jurisdiction: "EU", region: "eu-1" },
      { teams: { t: { jurisdiction: "EU" } } },
      { jurisdiction: "*", keys: { k: { region: "eu-*" } } },
    ),
    as: fc.record({ key: fc.constantFrom(undefined, "k"), team: fc.constantFrom(undefined, "t") }),
    stream: fc.boolean(),
    operation: fc.constantFrom("chat", "embeddings", "count"),
    extra: extraRouting(),
  });
  let reached = 0;
  await fc.assert(
    fc.asyncProperty(given, async ({ places, faults, to, direct, policy, as, stream, operation, extra }) => {
      const upstreams: Record<string, Upstream> = {};
      for (const [index, declared] of places.entries()) {
        const one = upstream(`p${index}`, declared);
        one.fault = (call) => faults[index]![Math.min(call, faults[index]!.length - 1)]!;
        upstreams[`p${index}`] = one;
      }
      const name = (index: number) => `p${index % places.length}/x`;
      const who: Middleware = async (exchange, next) => {
        exchange.identity = as;
        return next(exchange);
      };
      let gateway: ReturnType<typeof world>["gateway"];
      try {
        const rules = [extra(to.map(name), name)];
        ({ gateway } = world(upstreams, [who, router({ rules, retries: 1, maxRetryAfterMs: 20 }), residency(policy)]));
      } catch (error) {
        // A rule that could never comply: nothing can leave.
        expect(String(error)).toMatch(/residency/);
        return;
      }
      const model = direct ? name(to[0]!) : "m";
      if (operation === "chat")
        await ask(gateway, prompt(model, { stream }), { headers: { "x-claude-code-session-id": "s" } });
      else if (operation === "embeddings") await gateway.embeddings({ model, input: "x" }).catch(() => {});
      else await gateway.fetch(countRequest(model));
      await gateway.close({ drainMs: 50 });
      for (const [index, declared] of places.entries()) {
        const { calls } = upstreams[`p${index}`]!;
        reached += calls.length;
        if (calls.length > 0) expect(meets(policy, as, declared)).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
  expect(reached).toBeGreaterThan(50);
}, 60_000);

const countRequest = (model: string) =>
  new Request("http://gateway/anthropic/v1/messages/count_tokens", {
    method: "POST",
    body: JSON.stringify({ model, messages: [{ role: "user", content: "x" }] }),
  });

type Rule = NonNullable<RouterOptions["rules"]>[number];

/** Everything a rule can do to send to somebody else. */
function extraRouting(): fc.Arbitrary<(to: string[], name: (index: number) => string) => Rule> {
  const shape = fc.record({
    strategy: fc.constantFrom(undefined, ...STRATEGIES),
    hedge: fc.boolean(),
    canary: fc.boolean(),
    shadow: fc.boolean(),
    overflow: fc.boolean(),
    refusal: fc.boolean(),
  });
  return shape.map(({ strategy, hedge, canary, shadow, overflow, refusal }) => (to, name) => ({
    match: { model: "m" },
    to: strategy ? { strategy, targets: to } : to,
    ...(hedge && { hedge: { afterMs: 1 } }),
    ...(canary && { canary: { to: name(1), percent: 100 } }),
    ...(shadow && { shadow: { to: name(2), as: { key: "shadow" } } }),
    ...(overflow && { onContextOverflow: name(3) }),
    ...(refusal && { onRefusal: [name(0), name(2)] }),
  }));
}

/** The policy again, written as plainly as can be. */
function meets(policy: ResidencyOptions, as: Identity, place: { jurisdiction?: string; region?: string }): boolean {
  const rules = [policy, as.key && policy.keys?.[as.key], as.team && policy.teams?.[as.team]];
  return rules.every((rule) => {
    if (!rule) return true;
    const { jurisdiction, region } = rule;
    if (jurisdiction === "*" && place.jurisdiction === undefined) return false;
    if (jurisdiction && jurisdiction !== "*" && place.jurisdiction !== jurisdiction) return false;
    return !region || (place.region?.startsWith("eu-") ?? false);
  });
}
