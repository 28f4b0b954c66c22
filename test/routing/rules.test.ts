import { budget, type Identity, type RouterOptions, router } from "turnpike";
import { memoryStore } from "turnpike/stores/memory";
import { describe, expect, test } from "vitest";
import { ask, prompt, upstream, world } from "./world.ts";

const two = () => ({ here: upstream("here"), there: upstream("there") });
type Match = NonNullable<RouterOptions["rules"]>[number]["match"];

/** Whether a request takes the rule that is looked at, and not the one after it. */
async function matches(
  match: Match,
  request: Record<string, unknown> = {},
  { as, headers, now }: { as?: Identity; headers?: Record<string, string>; now?: string } = {},
): Promise<boolean> {
  const rules = [
    { match, to: "here/x" },
    { match: {}, to: "there/x" },
  ];
  const { gateway } = world(two(), [router({ rules })], now ? { now: () => Date.parse(now) } : {});
  const text = await ask(gateway, prompt("m", request), { ...(as && { as }), ...(headers && { headers }) });
  expect(text).toMatch(/^answer of/);
  return text === "answer of here";
}

const image = {
  messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }] }],
};
const tools = { tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }] };

describe("a rule matches on", () => {
  test.each<[string, Match, Record<string, unknown>, Record<string, unknown>]>([
    ["tools", { needs: ["tools"] }, tools, {}],
    ["images", { needs: ["images"] }, image, {}],
    ["several needs at once", { needs: ["tools", "images"] }, { ...tools, ...image }, tools],
    ["thinking", { needs: ["thinking"] }, { reasoning_effort: "high" }, { reasoning_effort: "none" }],
    ["structured output", { needs: ["structuredOutput"] }, { response_format: { type: "json_object" } }, {}],
    ["long requests", { inputTokens: { above: 1_000 } }, { user: "x".repeat(8_000) }, {}],
    ["short requests", { inputTokens: { below: 1_000 } }, {}, { user: "x".repeat(8_000) }],
    ["a function of the exchange", { when: ({ body }) => body.member("seed") === 7 }, { seed: 7 }, { seed: 8 }],
  ])("%s", async (_, match, yes, no) => {
    expect([await matches(match, yes), await matches(match, no)]).toEqual([true, false]);
  });

  test("headers, by name in any case and by glob", async () => {
    const match = { headers: { "X-App": "cli-*" } };
    expect(await matches(match, {}, { headers: { "x-app": "cli-2" } })).toBe(true);
    expect(await matches(match, {}, { headers: { "x-app": "web" } })).toBe(false);
    expect(await matches(match)).toBe(false);
    expect(await matches({ headers: { "x-app": "*" } }, {}, { headers: { "x-app": "" } })).toBe(true);
  });

  test("the caller's dialect and the operation", async () => {
    const rules: RouterOptions["rules"] = [
      { match: { dialect: "anthropic-messages" }, to: "here/x" },
      { match: { operation: "embeddings" }, to: "there/x" },
    ];
    const { gateway, upstreams } = world(two(), [router({ rules })]);
    await gateway.messages({ ...(prompt("m") as { model: string }), max_tokens: 5 });
    await gateway.embeddings({ model: "m", input: "x" });
    expect([upstreams.here.calls.length, upstreams.there.calls.length]).toEqual([1, 1]);
    expect(await ask(gateway, prompt("m"))).toBe("model_not_found");
  });

  const night: Match = { time: { timeZone: "Europe/Paris", days: ["friday"], from: "22:00", to: "06:00" } };
  test.each<[string, Match, string, boolean]>([
    ["in its hours", night, "2026-11-20T21:30:00Z", true],
    ["after midnight, of the day before", night, "2026-11-21T04:59:00Z", true],
    ["at its end", night, "2026-11-21T05:00:00Z", false],
    ["before its beginning", night, "2026-11-20T20:59:00Z", false],
    ["in the night of another day", night, "2026-11-21T22:30:00Z", false],
    ["in summer, an hour earlier by UTC", night, "2026-07-17T20:30:00Z", true],
    ["all day without hours", { time: { days: ["saturday"] } }, "2026-11-21T23:59:59Z", true],
  ])("the time of day: %s", async (_, match, now, expected) => {
    expect(await matches(match, {}, { now })).toBe(expected);
  });

  test("the state of a budget, of the caller's own counter", async () => {
    let now = Date.parse("2026-11-10T12:00:00Z");
    const rules: RouterOptions["rules"] = [
      { match: { budget: { limit: "daily", above: 0.5 } }, to: "there/x" },
      { match: {}, to: "here/x" },
    ];
    const daily = { name: "daily", by: "user", requests: 10, per: "day" } as const;
    const limits = budget({ store: memoryStore({ now: () => now }), limits: [daily] });
    const { gateway } = world(two(), [router({ rules }), limits], { now: () => now });
    const places: string[] = [];
    for (let i = 0; i < 8; i++) {
      places.push(await ask(gateway, prompt("m"), { as: { user: "ada" } }));
      // A rule may know of the budget as it was a second ago.
      now += 1_001;
    }
    expect(places.filter((place) => place === "answer of here")).toHaveLength(6);
    expect(places.at(-1)).toBe("answer of there");
    expect(await ask(gateway, prompt("m"), { as: { user: "bob" } })).toBe("answer of here");
  });
});

describe("what a rule changes", () => {
  const rule = (more: object): RouterOptions => ({ rules: [{ match: {}, to: "here/x", ...more }] });

  test("parameters are set, added where missing and taken out, and each is reported", async () => {
    const { gateway, upstreams, log } = world(two(), [
      router(rule({ set: { temperature: 0.2, seed: 1 }, default: { top_p: 0.5, user: "rule" }, drop: ["stop"] })),
    ]);
    await ask(gateway, prompt("m", { temperature: 1, user: "me", stop: ["x"] }));
    expect(upstreams.here.calls[0]!.body).toMatchObject({ temperature: 0.2, seed: 1, top_p: 0.5, user: "me" });
    expect(upstreams.here.calls[0]!.body).not.toHaveProperty("stop");
    expect(log.attempts()[0]!.changes).toEqual([
      'stop=["x"]->dropped',
      "top_p=added->0.5",
      "temperature=1->0.2",
      "seed=added->1",
    ]);
  });

  test("bytes that need no change are left as they are", async () => {
    const { gateway, log } = world(two(), [router(rule({ drop: ["stop"], default: { user: "x" } }))]);
    await ask(gateway, prompt("m", { user: "me" }));
    expect(log.attempts()[0]!.changes).toBeUndefined();
  });

  test("but never the model or the stream, which are no parameters", () => {
    expect(() => router(rule({ set: { model: "x" } }))).toThrow(/not parameters/);
  });

  test("what the budget holds is what the rule made of it", async () => {
    const tokens = { name: "t", tokens: 100_000, per: "day" } as const;
    const { gateway, upstreams } = world(two(), [
      router(rule({ set: { max_tokens: 7 } })),
      budget({ store: memoryStore(), limits: [tokens] }),
    ]);
    await ask(gateway, prompt("m", { max_tokens: 5_000 }));
    expect(upstreams.here.calls[0]!.body.max_tokens).toBe(7);
  });
});

describe("aliases", () => {
  const aliases = { fast: "here/small", quick: "fast", swift: "quick", smart: "big-*-model" };

  test("may stand for a target, for another alias, and for what a rule matches", async () => {
    const rules = [
      { match: { model: "big-*" }, to: "there/x" },
      { match: { model: "r" }, to: ["quick"] },
    ];
    const { gateway, upstreams } = world(two(), [router({ aliases, rules })]);
    for (const model of ["fast", "swift", "r"]) expect(await ask(gateway, prompt(model))).toBe("answer of here");
    expect(await ask(gateway, prompt("smart"))).toBe("answer of there");
    expect(upstreams.here.calls.map(({ body }) => body.model)).toEqual(["small", "small", "small"]);
    expect(gateway.models().map(({ id }) => id)).toEqual(expect.arrayContaining(["fast", "swift"]));
  });

  test("that lead to themselves are an error when the router is built", () => {
    expect(() => router({ aliases: { a: "b", b: "c", c: "a" } })).toThrow(/a → b → c → a leads to itself/);
    expect(() => router({ aliases: { a: "a" } })).toThrow(/itself/);
  });
});

test.each<[string, RouterOptions, RegExp]>([
  [
    "a limit",
    { rules: [{ match: { budget: { limit: "dayly", above: 0.5 } }, to: "here/x" }] },
    /no limit is named "dayly"; known: none/,
  ],
  ["a time zone", { rules: [{ match: { time: { timeZone: "Paris" } }, to: "here/x" }] }, /rules\[0\]\.match/],
  ["a provider in a group", { rules: [{ match: {}, to: { targets: ["nobody/x"] } }] }, /unknown provider "nobody"/],
  [
    "a canary's provider",
    { rules: [{ match: {}, to: "here/x", canary: { to: "nobody/x", percent: 1 } }] },
    /rules\[0\]\.canary\.to\[0\]: unknown provider/,
  ],
  ["a shadow's provider", { rules: [{ match: {}, to: "here/x", shadow: { to: "nobody/x" } }] }, /unknown provider/],
  [
    "a target's form in a group",
    { rules: [{ match: {}, to: [{ targets: ["here"] }] }] },
    /rules\[0\]\.to\[0\]\.targets\[0\]: "here" is not of the form/,
  ],
])("%s that does not exist is an error when the gateway is built", (_, options, message) => {
  expect(() => world(two(), [router(options)])).toThrow(message);
});

describe("Claude Code", () => {
  /** The recipe of docs/routing.md. */
  const rules: RouterOptions["rules"] = [
    { name: "subagents", match: { headers: { "x-claude-code-agent-id": "*" } }, to: "small/devstral" },
    { name: "background", match: { model: "claude-haiku-*" }, to: "small/devstral", reasoning: "off" },
    { name: "long", match: { model: "claude-*", inputTokens: { above: 100_000 } }, to: "large/long" },
    { name: "opus", match: { model: "claude-opus-*" }, to: ["large/best", "small/devstral"] },
    { name: "sonnet", match: { model: "claude-*" }, to: ["large/good", "small/devstral"] },
  ];
  const claude = (model: string, text = "hello") =>
    ({ model, max_tokens: 100, messages: [{ role: "user", content: text }] }) as never;

  test.each<[string, string, Record<string, string>, string]>([
    ["the main conversation on opus", "claude-opus-5-5", {}, "large/best"],
    ["on sonnet", "claude-sonnet-5-5[1m]", {}, "large/good"],
    ["background calls", "claude-haiku-5-5", {}, "small/devstral"],
    ["a subagent, whatever its model", "claude-opus-5-5", { "x-claude-code-agent-id": "a1" }, "small/devstral"],
  ])("%s", async (_, model, headers, target) => {
    const { gateway, log } = world({ small: upstream("small"), large: upstream("large") }, [router({ rules })]);
    await gateway.messages(claude(model), { headers: { "x-claude-code-session-id": "s", ...headers } });
    expect(log.requests()[0]).toMatchObject({ target });
  });

  test("a long conversation", async () => {
    const { gateway, log } = world({ small: upstream("small"), large: upstream("large") }, [router({ rules })]);
    await gateway.messages(claude("claude-sonnet-5-5", "x".repeat(500_000)));
    expect(log.requests()[0]).toMatchObject({ target: "large/long", route: { rule: "rules[2] (long)" } });
  });
});
