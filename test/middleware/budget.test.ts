import fc from "fast-check";
import {
  type BudgetOptions,
  type BudgetStore,
  budget,
  createGateway,
  type GatewayError,
  logger,
  router,
  translator,
} from "turnpike";
import { anthropic, mistral, openai, openaiCompatible } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeAnthropic, fakeLlama, fakeMistral, fakeOpenAI } from "turnpike/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { logBook, serve, until } from "../support/gateway.ts";

let fakes: { mistral: Fake; anthropic: Fake; openai: Fake; llama: Fake };
beforeAll(async () => {
  fakes = {
    mistral: await fakeMistral(),
    anthropic: await fakeAnthropic(),
    openai: await fakeOpenAI(),
    llama: await fakeLlama(),
  };
});
afterAll(async () => {
  for (const fake of Object.values(fakes)) await fake.close();
});
beforeEach(() => {
  for (const fake of Object.values(fakes)) {
    fake.reset();
    fake.always({ text: "Fine.", usage: { prompt: 30, completion: 10 } });
  }
});

const NOON = Date.parse("2026-11-22T12:00:00Z");
type Limits = BudgetOptions["limits"];

function start(limits: Limits, given: Partial<BudgetOptions> & { to?: string[]; now?: () => number } = {}) {
  const { to = ["openai/gpt-4.1", "llama/local"], now = () => NOON, ...options } = given;
  const log = logBook();
  const gateway = createGateway({
    now,
    providers: {
      mistral: mistral({ apiKey: "k", baseURL: fakes.mistral.baseURL }),
      anthropic: anthropic({ apiKey: "k", baseURL: fakes.anthropic.baseURL }),
      openai: openai({ apiKey: "k", baseURL: fakes.openai.baseURL, price: { input: 2, output: 8 } }),
      listed: openai({ apiKey: "k", baseURL: fakes.openai.baseURL }),
      unpriced: openaiCompatible({ baseURL: fakes.llama.baseURL }),
      llama: openaiCompatible({ baseURL: fakes.llama.baseURL, price: "free" }),
    },
    use: [
      logger({ to: log.sink }),
      router({ rules: [{ match: { model: "test" }, to }], retries: 0 }),
      budget({ store: memoryStore({ now }), limits, estimate: () => 40, ...options }),
      translator(),
    ],
  });
  return { gateway, log };
}

const ask = { model: "test", max_tokens: 100, messages: [{ role: "user", content: "hello" }] };
type Gateway = ReturnType<typeof start>["gateway"];
type Call = Parameters<Gateway["completion"]>[1];
const say = (gateway: Gateway, more: object = {}, options?: Call) =>
  gateway.completion({ ...ask, ...more } as never, options) as Promise<never>;
/** Who answered, or why nobody did. */
const outcome = (answer: Promise<unknown>) =>
  answer.then(
    () => "served",
    (error: GatewayError) => error.code,
  );
const sentTo = (fake: Fake) => fake.requests.map(({ body }) => body as Record<string, unknown>);

describe("whom a limit is for", () => {
  test.each([
    ["user", { user: "u1" }, { user: "u2" }],
    ["team", { team: "web", user: "a" }, { team: "ops", user: "a" }],
    ["key", { key: "k-1" }, { key: "k-2" }],
    ["tag", { tags: ["red"] }, { tags: ["blue"] }],
  ] as const)("by %s: each has a counter of its own, and who says nothing shares one", async (by, one, other) => {
    const { gateway } = start([{ name: "each", by, requests: 1, per: "day" }], { to: ["openai/gpt-4.1"] });
    expect(await outcome(say(gateway, {}, { as: one as never }))).toBe("served");
    expect(await outcome(say(gateway, {}, { as: one as never }))).toBe("budget_exceeded");
    expect(await outcome(say(gateway, {}, { as: other as never }))).toBe("served");
    expect(await outcome(say(gateway, {}, { as: {} }))).toBe("served");
    expect(await outcome(say(gateway, {}, { as: {} }))).toBe("budget_exceeded");
    expect((await gateway.usage(one as never))[0]).toMatchObject({ used: 1, held: 0, remaining: 0 });
  });

  test("several tags are all counted, and one spent tag is enough to refuse", async () => {
    const { gateway } = start([{ name: "tags", by: "tag", requests: 2, per: "day" }], { to: ["openai/gpt-4.1"] });
    const tags = (...names: string[]) => outcome(say(gateway, {}, { as: { tags: names } }));
    expect(await tags("red", "blue")).toBe("served");
    expect(await tags("red", "green")).toBe("served");
    expect(await tags("red", "yellow")).toBe("budget_exceeded");
    expect(await tags("yellow")).toBe("served");
    expect(await tags("blue")).toBe("served");
    expect(await tags("blue")).toBe("budget_exceeded");
    // A tag given twice is one tag.
    expect(await tags("twice", "twice")).toBe("served");
    expect(await tags("twice", "twice")).toBe("served");
  });

  test("by user and model: both together", async () => {
    const { gateway } = start([{ name: "both", by: ["user", "model"], requests: 1, per: "day" }]);
    const at = (model: string, user: string) => outcome(say(gateway, { model }, { as: { user } }));
    expect(await at("openai/gpt-4.1", "a")).toBe("served");
    expect(await at("openai/gpt-4.1", "a")).toBe("budget_exceeded");
    expect(await at("openai/gpt-4o", "a")).toBe("served");
    expect(await at("openai/gpt-4.1", "b")).toBe("served");
  });

  test("names with separators in them are never taken for each other", async () => {
    const { gateway } = start([{ name: "both", by: ["team", "user"], requests: 1, per: "day" }], {
      to: ["openai/gpt-4.1"],
    });
    for (const [team, user] of [
      ["a|b", "c"],
      ["a", "b|c"],
      ["a%7Cb", "c"],
      ["", "a|b|c"],
      ["\ud800", "c"],
      ["x".repeat(300), "c"],
      [`${"x".repeat(299)}y`, "c"],
    ]) {
      expect(await outcome(say(gateway, {}, { as: { team: team!, user: user! } })), `${team} ${user}`).toBe("served");
    }
  });

  test("match globs cover what they say and nothing else", async () => {
    const { gateway } = start([
      { name: "glob", match: { model: "gpt-4*", user: ["dev-*", "root"] }, requests: 0, per: "day" },
    ]);
    const at = (model: string, user?: string) => outcome(say(gateway, { model }, { as: { user } }));
    expect(await at("openai/gpt-4.1", "dev-1")).toBe("budget_exceeded");
    expect(await at("openai/gpt-4o", "root")).toBe("budget_exceeded");
    expect(await at("openai/gpt-4.1", "rooted")).toBe("served");
    expect(await at("openai/gpt-4.1")).toBe("served");
    expect(await at("llama/other", "dev-1")).toBe("served");
  });
});

describe("a spent limit", () => {
  test("sends the request to the next target, and says so", async () => {
    const { gateway, log } = start([{ name: "paid", match: { provider: "openai" }, tokens: 150, per: "day" }]);
    await say(gateway);
    await say(gateway, {});
    await say(gateway, {});
    expect(fakes.openai.requests.length).toBeLessThan(3);
    expect(fakes.llama.requests.length).toBeGreaterThan(0);
    expect(log.attempts().find(({ outcome }) => outcome === "refused")).toMatchObject({
      code: "budget_exceeded",
      target: "openai/gpt-4.1",
    });
    expect((await gateway.usage())[0]!.used).toBeLessThanOrEqual(150);
  });

  test("with onExceeded: deny stops the ladder", async () => {
    const { gateway } = start([{ name: "hard", by: "user", requests: 1, per: "day", onExceeded: "deny" }]);
    await say(gateway, {}, { as: { user: "u" } });
    expect(await outcome(say(gateway, {}, { as: { user: "u" } }))).toBe("budget_exceeded");
    expect(fakes.llama.requests).toHaveLength(0);
  });

  test("of several, none is charged when one refuses", async () => {
    const { gateway } = start(
      [
        { name: "wide", tokens: 10_000, requests: 50, per: "day" },
        { name: "narrow", requests: 1, per: "day" },
      ],
      { to: ["openai/gpt-4.1"] },
    );
    await say(gateway);
    const before = await gateway.usage();
    for (let i = 0; i < 3; i++) expect(await outcome(say(gateway))).toBe("budget_exceeded");
    expect(await gateway.usage()).toEqual(before);
    expect(before.map(({ limit, unit, used, held }) => [limit, unit, used, held])).toEqual([
      ["wide", "tokens", 40, 0],
      ["wide", "requests", 1, 0],
      ["narrow", "requests", 1, 0],
    ]);
  });

  test.each(["/anthropic/v1/messages", "/openai/v1/chat/completions"])(
    "answers 402 with everything a client needs: %s",
    async (path) => {
      const { gateway } = start([{ name: "daily", tokens: 10, per: "day", timeZone: "Europe/Paris" }], {
        to: ["mistral/mistral-medium-3-5"],
      });
      const server = await serve(gateway);
      const response = await fetch(server.url + path, { method: "POST", body: JSON.stringify(ask) });
      const body = (await response.json()) as {
        type?: string;
        error: { type: string; message: string; code?: string };
      };
      expect(response.status).toBe(402);
      expect(response.headers.get("x-should-retry")).toBe("false");
      // Until midnight in Paris: eleven hours.
      expect(response.headers.get("retry-after")).toBe(String(11 * 3_600));
      expect(body.error.message).toContain("daily");
      expect(body.error.message).toContain("2026-11-22T23:00:00.000Z");
      if (path.startsWith("/anthropic"))
        expect(body).toMatchObject({ type: "error", error: { type: "billing_error" } });
      else expect(body.error).toMatchObject({ type: "insufficient_quota", code: "budget_exceeded" });
      expect(fakes.mistral.requests).toHaveLength(0);
      await server.close();
    },
  );

  test("opens again in the next window", async () => {
    let time = NOON;
    const { gateway } = start([{ name: "hourly", requests: 1, per: "hour" }], {
      to: ["openai/gpt-4.1"],
      now: () => time,
    });
    expect(await outcome(say(gateway))).toBe("served");
    expect(await outcome(say(gateway))).toBe("budget_exceeded");
    time += 3_600_000;
    expect(await outcome(say(gateway))).toBe("served");
    expect((await gateway.usage())[0]).toMatchObject({ used: 1, resetsAt: "2026-11-22T14:00:00.000Z" });
  });
});

describe("the elastic grant", () => {
  const limits: Limits = [
    { name: "cap", match: { provider: ["openai", "mistral", "anthropic"] }, tokens: 540, per: "day" },
  ];

  test("what is granted is what is sent upstream, spliced into the caller's own bytes", async () => {
    const { gateway } = start(limits, { to: ["openai/gpt-4.1"], maxShare: 1, minGrant: 10 });
    const server = await serve(gateway);
    const body = `{ "messages": [{"role":"user","content":"h\\u00e9llo"}],\n  "max_completion_tokens" :  4000, "model":"openai/gpt-4.1" }`;
    const response = await fetch(`${server.url}/openai/v1/chat/completions`, { method: "POST", body });
    expect(response.status).toBe(200);
    expect(fakes.openai.requests[0]!.raw).toBe(body.replace("4000", "500").replace("openai/gpt-4.1", "gpt-4.1"));
    expect(response.headers.get("x-turnpike-changes")).toContain("max_tokens=4000->500");
    await server.close();
  });

  test("a caller who names no bound gets one, also in a pass-through", async () => {
    const { gateway } = start(limits, { maxShare: 1, minGrant: 10 });
    await gateway.completion({ model: "openai/gpt-4.1", messages: [{ role: "user", content: "x" }] } as never);
    expect(sentTo(fakes.openai)[0]).toMatchObject({ max_completion_tokens: 500 });
    await gateway.completion({
      model: "mistral/mistral-medium-3-5",
      messages: [{ role: "user", content: "x" }],
    } as never);
    expect(sentTo(fakes.mistral)[0]).toMatchObject({ max_tokens: 460 });
  });

  test("in Anthropic's dialect too", async () => {
    const { gateway } = start(limits, { maxShare: 1, minGrant: 10 });
    await gateway.messages({
      model: "anthropic/claude-sonnet-4-5",
      max_tokens: 9_000,
      messages: [{ role: "user", content: "x" }],
    } as never);
    expect(sentTo(fakes.anthropic)[0]).toMatchObject({ max_tokens: 500 });
  });

  test("two fields that bound the output are both lowered", async () => {
    const { gateway } = start([{ name: "cap", tokens: 540, per: "day" }], { maxShare: 1, minGrant: 10 });
    await gateway.completion({
      model: "llama/x",
      max_tokens: 4_000,
      max_completion_tokens: 5_000,
      messages: [{ role: "user", content: "x" }],
    } as never);
    expect(sentTo(fakes.llama)[0]).toMatchObject({ max_tokens: 500, max_completion_tokens: 500 });
  });

  test("less than is worth asking for is a spent budget", async () => {
    const { gateway } = start(limits, { to: ["openai/gpt-4.1"], minGrant: 501 });
    expect(await outcome(say(gateway, { max_tokens: 2_000 }))).toBe("budget_exceeded");
    // … but who asks for less than that gets it.
    expect(await outcome(say(gateway, { max_tokens: 300 }))).toBe("served");
  });

  test("n choices are reserved n times, and each may be as long as its share", async () => {
    const { gateway } = start(limits, { to: ["openai/gpt-4.1"], minGrant: 10, maxShare: 1 });
    fakes.openai.always({ delayMs: 100 });
    const running = say(gateway, { n: 4, max_tokens: 100 });
    await until(() => fakes.openai.requests.length === 1, "asked");
    expect((await gateway.usage())[0]!.held).toBe(40 + 400);
    await running;
    fakes.openai.reset();
    const { gateway: tight } = start(limits, { to: ["openai/gpt-4.1"], minGrant: 10, maxShare: 1 });
    await say(tight, { n: 5, max_tokens: 4_000 });
    expect(Number(sentTo(fakes.openai)[0]!.max_tokens)).toBe(100);
  });

  test.each([0, -1, 1.5, "2", 1_000_000, 2 ** 53])("n: %s is refused or bounded", async (n) => {
    const { gateway } = start(limits, { to: ["openai/gpt-4.1"] });
    expect(await outcome(say(gateway, { n }))).toBe("invalid_request");
    expect((await gateway.usage())[0]).toMatchObject({ used: 0, held: 0 });
  });
});

describe("money", () => {
  test("counts the override's price, in nano-dollars", async () => {
    const { gateway } = start([{ name: "usd", usd: 1, per: "day" }], { to: ["openai/gpt-4.1"] });
    await say(gateway);
    // 30 × $2 + 10 × $8 per million.
    expect((await gateway.usage())[0]).toMatchObject({ unit: "usd", used: 0.00014, held: 0 });
  });

  test("counts the listed price where there is no override", async () => {
    const { gateway } = start([{ name: "usd", usd: 1, per: "day" }], { to: ["listed/gpt-4.1"] });
    await say(gateway);
    expect((await gateway.usage())[0]!.used).toBeCloseTo(0.00014, 9);
  });

  test("bounds the output by what the money buys", async () => {
    // 40 tokens of input cost $0.00008; $0.0008 more buy 100 tokens of output.
    const { gateway } = start([{ name: "usd", usd: 0.00088, per: "day" }], {
      to: ["openai/gpt-4.1"],
      minGrant: 10,
      maxShare: 1,
    });
    await say(gateway, { max_tokens: 4_000 });
    expect(sentTo(fakes.openai)[0]).toMatchObject({ max_tokens: 100 });
  });

  test("an unknown price is never zero: denied, or allowed in so many words", async () => {
    const denied = start([{ name: "usd", usd: 1, per: "day" }], { to: ["unpriced/x"] });
    await expect(say(denied.gateway)).rejects.toMatchObject({
      code: "budget_exceeded",
      message: expect.stringContaining("price"),
    });
    expect(fakes.llama.requests).toHaveLength(0);
    const allowed = start([{ name: "usd", usd: 1, per: "day", unknownPrice: "allow" }], { to: ["unpriced/x"] });
    expect(await outcome(say(allowed.gateway))).toBe("served");
  });

  test("a free target is never stopped by it", async () => {
    const { gateway } = start([{ name: "usd", usd: 0, per: "day" }]);
    for (let i = 0; i < 3; i++) await say(gateway, { max_tokens: 100_000 });
    expect(fakes.openai.requests).toHaveLength(0);
    expect(fakes.llama.requests).toHaveLength(3);
  });
});

describe("what is never budgeted", () => {
  test("counting tokens and listing models", async () => {
    const { gateway } = start([{ name: "none", requests: 0, tokens: 0, per: "day", onExceeded: "deny" }], {
      to: ["mistral/mistral-medium-3-5"],
    });
    const server = await serve(gateway);
    const count = await fetch(`${server.url}/anthropic/v1/messages/count_tokens`, {
      method: "POST",
      body: JSON.stringify({ model: "test", messages: [{ role: "user", content: "hello" }] }),
    });
    expect(count.status).toBe(200);
    expect(((await count.json()) as { input_tokens: number }).input_tokens).toBeGreaterThan(0);
    expect((await fetch(`${server.url}/openai/v1/models`)).status).toBe(200);
    expect(fakes.mistral.requests).toHaveLength(0);
    await server.close();
  });
});

describe("settling", () => {
  /** Counts what is done to a store. */
  function watched(store: BudgetStore = memoryStore({ now: () => NOON })) {
    const calls: string[] = [];
    const outcomes: string[] = [];
    const wrapped: BudgetStore = {
      ...store,
      traits: store.traits,
      reserve: (request) => {
        calls.push(`reserve ${request.id}`);
        return store.reserve(request);
      },
      settle: async (request) => {
        calls.push(`settle ${request.id}`);
        const result = await store.settle(request);
        outcomes.push(result.outcome);
        return result;
      },
      release: (id) => {
        calls.push(`release ${id}`);
        return store.release(id);
      },
    };
    return { store: wrapped, calls, outcomes };
  }

  test("every attempt is reserved once and ended once, whatever happens to it", async () => {
    const seen = watched();
    const { gateway } = start([{ name: "all", tokens: 1_000_000, per: "day" }], { store: seen.store });
    fakes.openai.next(
      {},
      { status: 429 },
      { reset: "before-headers" },
      { cut: true },
      { text: "x ".repeat(50), reset: "mid-stream" },
    );
    await say(gateway);
    await say(gateway);
    await say(gateway);
    await say(gateway);
    const stream = (await gateway.completion({ ...ask, stream: true } as never)) as unknown as AsyncIterable<unknown>;
    await expect(
      (async () => {
        for await (const _ of stream);
      })(),
    ).rejects.toThrow();
    const abandoned = (await gateway.completion({
      ...ask,
      stream: true,
    } as never)) as unknown as AsyncIterable<unknown>;
    for await (const _ of abandoned) break;
    await until(() => gateway.inFlight === 0, "all ended");
    const ids = seen.calls.filter((call) => call.startsWith("reserve")).map((call) => call.slice(8));
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) {
      expect(seen.calls.filter((call) => call === `settle ${id}` || call === `release ${id}`)).toHaveLength(1);
    }
    expect(new Set(seen.outcomes)).toEqual(new Set(["settled"]));
    expect((await gateway.usage())[0]!.held).toBe(0);
  });

  test("more than was held is charged in full, and the next request feels it", async () => {
    const { gateway } = start([{ name: "cap", tokens: 1_000, per: "day" }], { to: ["openai/gpt-4.1"] });
    fakes.openai.next({ usage: { prompt: 900, completion: 100 } });
    await say(gateway);
    expect((await gateway.usage())[0]).toMatchObject({ used: 1_000, held: 0, remaining: 0 });
    expect(await outcome(say(gateway))).toBe("budget_exceeded");
    const over = start([{ name: "cap", tokens: 1_000, per: "day" }], { to: ["openai/gpt-4.1"] });
    fakes.openai.next({ usage: { prompt: 5_000, completion: 100 } });
    await say(over.gateway);
    expect((await over.gateway.usage())[0]).toMatchObject({ used: 5_100, held: 0, remaining: 0 });
  });

  test("a long answer's reservation is renewed, so that it does not expire under it", async () => {
    const store = memoryStore();
    const { gateway } = start([{ name: "cap", tokens: 10_000, per: "day" }], {
      to: ["openai/gpt-4.1"],
      store,
      holdTtlMs: 600,
      now: Date.now,
    });
    fakes.openai.next({ delayMs: 1_500, usage: { prompt: 30, completion: 10 } });
    const running = say(gateway);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect((await gateway.usage())[0]!.held).toBe(140);
    await running;
    expect((await gateway.usage())[0]).toMatchObject({ used: 40, held: 0 });
  });

  test("a reservation that is lost all the same ends the answer", async () => {
    const store = memoryStore();
    const lost: BudgetStore = {
      ...store,
      traits: store.traits,
      renew: () => {
        throw Object.assign(new Error("gone"), { code: "reservation_lost" });
      },
    };
    const { gateway } = start([{ name: "cap", tokens: 10_000, per: "day" }], {
      to: ["openai/gpt-4.1"],
      store: lost,
      holdTtlMs: 500,
      now: Date.now,
    });
    fakes.openai.next({ hang: "before-headers" });
    expect(await outcome(say(gateway))).toBe("budget_unavailable");
  });
});

describe("a store that cannot be reached", () => {
  const broken = (how: "throws" | "rejects" | "hangs"): BudgetStore => {
    const fail = () => {
      if (how === "throws") throw new Error("disk full, password=hunter2");
      return how === "rejects" ? Promise.reject(new Error("connection refused")) : new Promise<never>(() => {});
    };
    return {
      reserve: fail,
      settle: fail,
      release: fail,
      renew: fail,
      usage: fail,
      traits: { shared: true, durable: true, clock: "store" },
    };
  };
  const HOW = ["throws", "rejects", "hangs"] as const;

  test.each(HOW)(
    "that %s: a limit with deny keeps the request from its target, and the uncovered one answers",
    async (how) => {
      const { gateway, log } = start([{ name: "paid", match: { provider: "openai" }, tokens: 1_000, per: "day" }], {
        store: broken(how),
        storeTimeoutMs: 50,
      });
      expect(await outcome(say(gateway))).toBe("served");
      expect(fakes.openai.requests).toHaveLength(0);
      expect(fakes.llama.requests).toHaveLength(1);
      expect(log.attempts()[0]).toMatchObject({ outcome: "refused", code: "budget_unavailable" });
      expect(JSON.stringify(log.records)).not.toContain("hunter2");
    },
  );

  test.each(HOW)("that %s: without another target it is a 503 that may be retried", async (how) => {
    const { gateway } = start([{ name: "all", tokens: 1_000, per: "day" }], { store: broken(how), storeTimeoutMs: 50 });
    const server = await serve(gateway);
    const response = await fetch(`${server.url}/openai/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify(ask),
    });
    expect(response.status).toBe(503);
    expect(response.headers.get("x-should-retry")).toBe("true");
    expect(await response.text()).not.toContain("hunter2");
    await server.close();
  });

  test.each(HOW)("that %s: a limit with allow lets the request pass", async (how) => {
    const { gateway } = start([{ name: "soft", tokens: 1_000, per: "day", onStoreError: "allow" }], {
      store: broken(how),
      storeTimeoutMs: 50,
    });
    expect(await outcome(say(gateway))).toBe("served");
    expect(fakes.openai.requests).toHaveLength(1);
  });

  test("of two limits the strict one decides", async () => {
    const { gateway } = start(
      [
        { name: "soft", tokens: 1_000, per: "day", onStoreError: "allow" },
        { name: "strict", tokens: 1_000, per: "day" },
      ],
      { store: broken("rejects"), to: ["openai/gpt-4.1"] },
    );
    expect(await outcome(say(gateway))).toBe("budget_unavailable");
  });

  test("that hangs does not hold up a prepaid limit either", async () => {
    const { gateway } = start([{ name: "prepaid", usd: 5, per: "lifetime" }], {
      store: broken("hangs"),
      storeTimeoutMs: 50,
      to: ["openai/gpt-4.1"],
    });
    const answer = await Promise.race([
      outcome(say(gateway)),
      new Promise((resolve) => setTimeout(resolve, 1_000, "hangs")),
    ]);
    expect(answer).toBe("budget_unavailable");
  });

  test("and carries out at last what it was asked too long ago: nothing stays held", async () => {
    const store = memoryStore({ now: () => NOON });
    let reserved = 0;
    const late: BudgetStore = {
      ...store,
      async reserve(request) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        reserved++;
        return store.reserve(request);
      },
    };
    const { gateway } = start([{ name: "cap", tokens: 10_000, per: "day" }], {
      to: ["openai/gpt-4.1"],
      store: late,
      storeTimeoutMs: 20,
    });
    expect(await outcome(say(gateway))).toBe("budget_unavailable");
    await until(() => reserved === 1, "the late reservation");
    await until(async () => (await gateway.usage())[0]!.held === 0, "its hold given back");
  });

  test("and comes back: what could not be settled is settled then, once", async () => {
    const store = memoryStore({ now: () => NOON });
    let away = false;
    const flaky: BudgetStore = {
      ...store,
      traits: store.traits,
      settle: (request) => {
        if (away) throw new Error("away");
        return store.settle(request);
      },
    };
    const { gateway } = start([{ name: "cap", tokens: 10_000, per: "day" }], {
      to: ["openai/gpt-4.1"],
      store: flaky,
      holdTtlMs: 1_000,
    });
    away = true;
    await say(gateway);
    expect((await gateway.usage())[0]).toMatchObject({ used: 0, held: 140 });
    away = false;
    await until(async () => (await gateway.usage())[0]!.used === 40, "settled late");
    expect((await gateway.usage())[0]).toMatchObject({ used: 40, held: 0 });
  });
});

test("under any concurrent traffic whose answers keep their bound, the cap is never passed and nothing stays held", async () => {
  const CAP = 5_000;
  const request = fc.record({
    max: fc.oneof(fc.integer({ min: 1, max: 3_000 }), fc.constant(undefined)),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    input: fc.nat(40),
    delay: fc.nat(4),
    start: fc.nat(6),
    fate: fc.constantFrom("ok", "ok", "ok", "500", "429", "refused", "leaves", "html"),
    stream: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 40 }),
      fc.constantFrom(0.25, 1),
      async (requests, maxShare) => {
        const store = memoryStore({ now: () => NOON });
        const upstreamFetch: typeof fetch = async (_, init) => {
          const body = JSON.parse(String(init!.body));
          const { share, input, delay, fate } = requests[Number(body.user)]!;
          await new Promise((resolve) => setTimeout(resolve, delay));
          init!.signal?.throwIfAborted();
          if (fate === "refused")
            throw Object.assign(new TypeError("fetch failed"), {
              cause: Object.assign(new Error("x"), { code: "ECONNREFUSED" }),
            });
          if (fate === "html") return new Response("<p>", { headers: { "content-type": "text/html" } });
          if (fate === "500" || fate === "429")
            return Response.json({ error: { message: "no" } }, { status: Number(fate) });
          const bound = body.max_completion_tokens ?? body.max_tokens;
          const usage = { prompt_tokens: input, completion_tokens: Math.floor(bound * share) };
          const base = { id: "x", created: 1, model: "m" };
          if (!body.stream)
            return Response.json({
              ...base,
              object: "chat.completion",
              choices: [{ index: 0, message: { role: "assistant", content: "a" }, finish_reason: "stop" }],
              usage,
            });
          const chunks = [
            { ...base, choices: [{ index: 0, delta: { content: "a" }, finish_reason: "stop" }] },
            { ...base, choices: [], usage },
          ];
          return new Response(
            `${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("")}data: [DONE]\n\n`,
            { headers: { "content-type": "text/event-stream" } },
          );
        };
        const gateway = createGateway({
          now: () => NOON,
          providers: {
            up: openaiCompatible({
              baseURL: "http://up.test/v1",
              fetch: upstreamFetch,
              capabilities: [{ match: /^/, parameters: { userId: true } }],
            }),
          },
          use: [
            router({ retries: 0 }),
            budget({
              store,
              limits: [{ name: "cap", tokens: CAP, per: "day" }],
              estimate: () => 40,
              minGrant: 16,
              maxShare,
            }),
            translator(),
          ],
        });
        const highest = async () => {
          const [usage] = await gateway.usage();
          expect(usage!.used).toBeLessThanOrEqual(CAP);
          expect(usage!.used + usage!.held).toBeLessThanOrEqual(CAP);
        };
        await Promise.all(
          requests.map(async ({ max, start, fate, stream }, index) => {
            await new Promise((resolve) => setTimeout(resolve, start));
            const controller = new AbortController();
            if (fate === "leaves") setTimeout(() => controller.abort(), 2);
            try {
              const body = {
                model: "up/m",
                user: String(index),
                messages: [{ role: "user", content: "x" }],
                stream,
                ...(max !== undefined && { max_tokens: max }),
              };
              const answer = (await gateway.completion(body as never, { signal: controller.signal })) as unknown;
              if (stream) for await (const _ of answer as AsyncIterable<unknown>) if (fate === "leaves") break;
            } catch {
              // Refused, broken or left: all the same to the cap.
            }
            await highest();
          }),
        );
        await until(() => gateway.inFlight === 0, "all ended");
        expect((await gateway.usage())[0]).toMatchObject({ held: 0 });
        await highest();
      },
    ),
    { numRuns: 40 },
  );
});
