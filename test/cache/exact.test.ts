import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  ask,
  CHAT,
  CLAUDE,
  type House,
  type HouseOptions,
  openHouse,
  said,
  startUpstreams,
  type Upstreams,
} from "./support.ts";

let upstreams: Upstreams;
let house: House | undefined;
beforeAll(async () => {
  upstreams = await startUpstreams();
});
afterEach(async () => {
  await house?.close();
  house = undefined;
  upstreams.reset();
});
afterAll(() => upstreams.close());

const open = async (options?: HouseOptions) => {
  house = await openHouse(upstreams, options);
  return house;
};
const asked = () => upstreams.openai.requests.length;

describe("an exact cache", () => {
  test("answers the same request again without asking, and says so", async () => {
    const house = await open();
    const first = await said(house, ask("What is an otter?"));
    const second = await said(house, ask("What is an otter?"));
    expect([first.how, second.how]).toEqual(["miss", "hit"]);
    expect(second.text).toBe(first.text);
    expect(asked()).toBe(1);
    expect(second.headers.get("age")).toBe("0");
    expect(second.headers.get("x-turnpike-cost-usd")).toBe("0");
    expect(second.headers.get("x-turnpike-target")).toBe(CHAT);
    expect(first.headers.get("x-turnpike-attempts")).toBe("1");
    expect(second.headers.get("x-turnpike-attempts")).toBeNull();
  });

  test("charges tokens and money once", async () => {
    const house = await open();
    await said(house, ask("Count me once."));
    const before = await house.gateway.usage();
    await said(house, ask("Count me once."));
    expect((await house.gateway.usage()).map(({ used }) => used)).toEqual(before.map(({ used }) => used));
    expect(before[0]!.used).toBeGreaterThan(0);
    const { hits, misses, stored, savedTokens, savedUsd, hitRate } = house.stats();
    expect({ hits, misses, stored, hitRate }).toEqual({ hits: 1, misses: 1, stored: 1, hitRate: 0.5 });
    expect(savedTokens).toBe(before[0]!.used);
    expect(savedUsd).toBeGreaterThan(0);
  });

  test("gives each request a record in the log, and only the asked one an attempt", async () => {
    const house = await open();
    await said(house, ask("Write it down."));
    await said(house, ask("Write it down.", { stream: true }));
    expect(house.log.attempts()).toHaveLength(1);
    const [miss, hit] = house.log.requests();
    expect(miss).toMatchObject({ outcome: "served", target: CHAT, attempts: 1, inputTokens: expect.any(Number) });
    expect(hit).toMatchObject({ outcome: "served", attempts: 0 });
    expect(hit).not.toHaveProperty("inputTokens");
    expect(house.log.attempts()[0]!.requestId).toBe(miss!.requestId);
  });

  test.each([
    ["whole, then as a stream", false, true],
    ["as a stream, then whole", true, false],
    ["as a stream twice", true, true],
  ])("is stored once, however it is asked: %s", async (_, first, second) => {
    const house = await open();
    const a = await said(house, ask("Whole or streamed?", { stream: first }));
    const b = await said(house, ask("Whole or streamed?", { stream: second }));
    expect(b.text).toBe(a.text);
    expect(a.text).toContain("Whole or streamed?");
    expect([a.how, b.how, asked()]).toEqual(["miss", "hit", 1]);
  });

  test.each([
    ["metadata", { metadata: { trace: "1" } }],
    ["the end user", { user: "u-17" }],
    ["the wish for usage", { stream: true, stream_options: { include_usage: true } }],
  ])("does not tell requests apart by %s", async (_, more) => {
    const house = await open();
    await said(house, ask("Same thing."));
    expect((await said(house, ask("Same thing.", more))).how).toBe("hit");
  });

  test.each([
    ["model", { model: "openai/gpt-4o-mini" }],
    ["bound", { max_tokens: 401 }],
    ["seed", { seed: 1 }],
    [
      "system prompt",
      {
        messages: [
          { role: "system", content: "Be brief." },
          { role: "user", content: "Same thing." },
        ],
      },
    ],
    ["unknown extension", { prediction: { type: "content", content: "x" } }],
    ["tools", { tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }] }],
  ])("tells requests apart by their %s", async (_, more) => {
    const house = await open();
    await said(house, ask("Same thing."));
    expect((await said(house, ask("Same thing.", more))).how).toBe("miss");
  });

  test("takes the order of members for nothing", async () => {
    const house = await open();
    await said(house, { ...ask("Order."), tools: [tool({ a: { type: "string" }, b: { type: "string" } })] });
    const other = Object.fromEntries(Object.entries(ask("Order.")).reverse());
    const again = await said(house, { tools: [tool({ b: { type: "string" }, a: { type: "string" } })], ...other });
    expect(again.how).toBe("hit");
  });

  test.each([
    ["above 0", { temperature: 0.7 }],
    ["that is not named", { temperature: undefined }],
  ])("keeps no answer at a temperature %s", async (_, more) => {
    const house = await open();
    for (let i = 0; i < 2; i++) expect((await said(house, ask("Roll a die.", more))).how).toBe("bypass");
    expect(asked()).toBe(2);
    expect(house.stats()).toMatchObject({ bypassed: 2, stored: 0 });
  });

  test.each([
    ["any temperature", "any", undefined, "hit"],
    ["temperatures up to a bound", 0.5, 0.5, "hit"],
    ["none above the bound", 0.5, 0.6, "bypass"],
  ] as const)("keeps answers at %s where that is configured", async (_, temperature, asked, how) => {
    const house = await open({ cache: { temperature } });
    await said(house, ask("Roll a die.", { temperature: asked }));
    expect((await said(house, ask("Roll a die.", { temperature: asked }))).how).toBe(how);
  });

  test("forgets by age, and tells it", async () => {
    let now = Date.parse("2026-12-01T12:00:00Z");
    const house = await open({ cache: { ttlMs: 60_000 }, now: () => now });
    await said(house, ask("Old news."));
    now += 59_000;
    const old = await said(house, ask("Old news."));
    expect([old.how, old.headers.get("age")]).toEqual(["hit", "59"]);
    now += 2_000;
    expect((await said(house, ask("Old news."))).how).toBe("miss");
  });

  test("is bounded in bytes: the longest unused go first", async () => {
    const house = await open({ cache: { maxBytes: 8_000 } });
    for (const word of ["a", "b", "c", "d", "e", "f", "g", "h"]) await said(house, ask(word.repeat(150)));
    const { how } = await said(house, ask("h".repeat(150)));
    expect(how).toBe("hit");
    expect((await said(house, ask("a".repeat(150)))).how).toBe("miss");
  });

  test("keeps nothing that is longer than it may be", async () => {
    const house = await open({ cache: { maxEntryBytes: 2_000 } });
    for (const stream of [true, false]) {
      upstreams.openai.always({ text: "word ".repeat(1_000) });
      for (let i = 0; i < 2; i++) {
        const { how, text } = await said(house, ask(`Long ${stream}`, { stream, max_tokens: 4_000 }));
        expect([how, text.length]).toEqual(["miss", 5_000]);
      }
    }
    expect(house.stats().stored).toBe(0);
  });

  test("starts anew when its version is changed", async () => {
    const store = (await import("../../src/caches/memory.ts")).memoryCache();
    const first = await open({ cache: { store, version: "1" } });
    await said(first, ask("Which version?"));
    expect((await said(first, ask("Which version?"))).how).toBe("hit");
    const second = await openHouse(upstreams, { cache: { store, version: "2" } });
    expect((await said(second, ask("Which version?"))).how).toBe("miss");
    await second.close();
  });

  test("leaves counting tokens and embeddings alone", async () => {
    const house = await open();
    const body = { model: CLAUDE, messages: [{ role: "user", content: "Count." }] };
    const counted = await said(house, body, {}, "/v1/messages/count_tokens");
    expect([counted.status, counted.how]).toEqual([200, null]);
  });
});

describe("cache-control of the request", () => {
  test("no-cache asks anew, and keeps the new answer", async () => {
    const house = await open();
    upstreams.openai.next({ text: "old" }, { text: "new" });
    await said(house, ask("Fresh?"));
    expect(await said(house, ask("Fresh?"), { "cache-control": "no-cache" })).toMatchObject({
      how: "miss",
      text: "new",
    });
    expect(await said(house, ask("Fresh?"))).toMatchObject({ how: "hit", text: "new" });
  });

  test("no-store neither reads nor keeps", async () => {
    const house = await open();
    await said(house, ask("Secret."), { "cache-control": "private, no-store" });
    expect((await said(house, ask("Secret."))).how).toBe("miss");
    expect((await said(house, ask("Secret."), { "cache-control": "no-store" })).how).toBe("bypass");
    expect(asked()).toBe(3);
  });

  test.each([
    ["max-age=60", 59, "hit"],
    ["max-age=60", 61, "miss"],
    ["max-age=0", 0, "miss"],
    ["max-age=soon", 1, "miss"],
    ['Max-Age="60"', 5, "hit"],
  ])("%s is given an answer of %d seconds: %s", async (header, seconds, how) => {
    let now = Date.parse("2026-12-01T12:00:00Z");
    const house = await open({ now: () => now });
    await said(house, ask("How old?"));
    now += seconds * 1_000;
    expect((await said(house, ask("How old?"), { "cache-control": header })).how).toBe(how);
  });
});

describe("what is not worth keeping", () => {
  test.each([
    ["is truncated", { text: "A long story", finishReason: "length" }],
    ["was filtered", { text: "I cannot", finishReason: "content_filter" }],
    ["calls a tool", { toolCalls: [{ name: "f", arguments: {} }] }],
    ["is empty", { text: "" }],
    ["is an error", { status: 503 }],
    ["is a refused request", { status: 400 }],
    ["is cut off", { text: "One two three four five six", cut: true }],
    ["ends in an error event", { text: "One two three four five six", errorEvent: { message: "Overloaded" } }],
    ["loses its connection", { text: "One two three four five six", reset: "mid-stream" }],
    ["is not JSON", { html: true }],
  ] as const)("an answer that %s", async (_, script) => {
    const house = await open();
    const tools = [tool({})];
    for (const stream of [false, true]) {
      upstreams.reset();
      upstreams.openai.next(script as never);
      await said(house, ask(`Poison ${stream}`, { stream, tools })).catch(() => undefined);
      upstreams.openai.next({ text: "sound" });
      expect(await said(house, ask(`Poison ${stream}`, { stream, tools }))).toMatchObject({
        how: "miss",
        text: "sound",
      });
      expect((await said(house, ask(`Poison ${stream}`, { stream, tools }))).text).toBe("sound");
    }
  });

  test("an answer with tool calls is kept where that is allowed", async () => {
    const house = await open({ cache: { toolCalls: true } });
    upstreams.openai.next({ toolCalls: [{ id: "call_1", name: "f", arguments: { a: "b" } }] });
    const body = ask("Call it.", { tools: [tool({ a: { type: "string" } })] });
    await said(house, body);
    const again = (await house.gateway.completion({ ...body, stream: false }, {})) as never as {
      choices: { message: { tool_calls: unknown[] }; finish_reason: string }[];
    };
    expect(again.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { tool_calls: [{ id: "call_1", function: { name: "f", arguments: '{"a":"b"}' } }] },
    });
  });

  test("an answer of a fallback target, which would hide the first choice when it is back", async () => {
    const house = await open({ rules: [{ match: { model: "best" }, to: [CHAT, "mistral/mistral-medium-3-5"] }] });
    upstreams.openai.next({ status: 503 });
    upstreams.mistral.next({ text: "second best" });
    expect(await said(house, ask("Who?", { model: "best" }))).toMatchObject({ how: "miss", text: "second best" });
    upstreams.openai.next({ text: "the best" });
    expect(await said(house, ask("Who?", { model: "best" }))).toMatchObject({ how: "miss", text: "the best" });
    expect(await said(house, ask("Who?", { model: "best" }))).toMatchObject({ how: "hit", text: "the best" });
  });

  test("a request that lets the provider search or compute, whose answer depends on more than the request", async () => {
    const house = await open();
    const body = {
      ...{ model: CLAUDE, temperature: 0, max_tokens: 100, messages: [{ role: "user", content: "News?" }] },
      tools: [{ type: "web_search_20250305", name: "web_search" }],
    };
    expect((await said(house, body, {}, "/v1/messages")).how).toBe("bypass");
  });
});

describe("options", () => {
  test.each([
    [{ ttl: 5 }, /ttl/],
    [{ scope: "user" }, /scope/],
    [{ store: {} }, /CacheStore/],
    [{ semantic: { embed: "openai" } }, /provider\/model/],
  ])("%j are refused with their path", async (given, text) => {
    const { cache } = await import("../../src/middleware/cache/index.ts");
    expect(() => cache(given as never)).toThrow(text);
  });

  test.each([
    ["nobody/model", /unknown provider "nobody"; known: openai, anthropic, mistral/],
    ["anthropic/claude-haiku-4-5", /not asked for embeddings/],
  ])("a semantic cache over %s is refused when the gateway is built", async (embed, text) => {
    await expect(openHouse(upstreams, { cache: { semantic: { embed } } })).rejects.toThrow(text);
  });
});

function tool(properties: Record<string, unknown>) {
  return { type: "function", function: { name: "f", parameters: { type: "object", properties } } };
}
