import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { memoryCache } from "../../src/caches/memory.ts";
import { memoryVectors } from "../../src/caches/vectors-memory.ts";
import type { SemanticOptions } from "../../src/middleware/cache/options.ts";
import { until } from "../support/gateway.ts";
import {
  ask,
  EMBED,
  type House,
  type HouseOptions,
  type Json,
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

/** Turned by so many degrees in the plane of two numbers: what a question means, for these tests. */
const MEANINGS: [RegExp, number][] = [
  [/capital of France/i, 0],
  [/France's capital/i, 10],
  [/Paris the capital/i, 12],
  [/capital of Germany/i, 40],
];

function vectorOf(text: string): number[] {
  const degrees = MEANINGS.find(([pattern]) => pattern.test(text))?.[1] ?? 90;
  const vector = new Array(1_536).fill(0);
  vector[3] = Math.cos((degrees * Math.PI) / 180) * 2;
  vector[900] = Math.sin((degrees * Math.PI) / 180) * 2;
  return vector;
}

/** Between the cache and the router: the embeddings of the table above, everything else untouched. */
const meaning: NonNullable<HouseOptions["below"]>[number] = async (exchange, next) => {
  const reply = await next(exchange);
  if (exchange.operation !== "embeddings" || reply.body.type !== "json") return reply;
  const value = reply.body.value as Json;
  value.data[0].embedding = vectorOf(String(exchange.body.json.input));
  return reply;
};

async function open(semantic: Partial<SemanticOptions> = {}, options: HouseOptions = {}): Promise<House> {
  house = await openHouse(upstreams, {
    ...options,
    below: [meaning, ...(options.below ?? [])],
    cache: { ...options.cache, semantic: { embed: EMBED, threshold: 0.95, ...semantic } },
  });
  return house;
}

const embeds = () => upstreams.openai.requests.filter(({ path }) => path.endsWith("/embeddings"));
const chats = () => upstreams.openai.requests.filter(({ path }) => path.endsWith("/chat/completions"));
const similarity = ({ headers }: { headers: Headers }) => headers.get("x-turnpike-cache-similarity");

describe("a semantic cache", () => {
  test("answers a question that means the same, and tells how near it was", async () => {
    const house = await open();
    upstreams.openai.next({}, { text: "Paris." });
    const first = await said(house, ask("What is the capital of France?"));
    await until(() => house.stats().stored === 1, "the answer was stored");
    const near = await said(house, ask("Tell me France's capital", { stream: true }));
    expect([first.how, near.how, near.text]).toEqual(["miss", "semantic", first.text]);
    expect(similarity(near)).toBe("0.9848");
    expect(near.headers.get("age")).toBe("0");
    expect(chats()).toHaveLength(1);
    expect(house.stats()).toMatchObject({ semantic: 1, misses: 1, hits: 0 });
    expect(house.stats().savedTokens).toBeGreaterThan(0);
  });

  test("asks for what is not near enough", async () => {
    const house = await open();
    await said(house, ask("What is the capital of France?"));
    const far = await said(house, ask("What is the capital of Germany?"));
    expect([far.how, similarity(far)]).toEqual(["miss", null]);
    expect(chats()).toHaveLength(2);
  });

  test("makes no embedding for an exact hit", async () => {
    const house = await open();
    for (let i = 0; i < 3; i++) await said(house, ask("What is the capital of France?"));
    expect(embeds()).toHaveLength(1);
    expect(house.stats().hits).toBe(2);
  });

  test.each([
    [
      "system prompt",
      {
        messages: [
          { role: "system", content: "Be wrong." },
          { role: "user", content: "France's capital?" },
        ],
      },
    ],
    ["earlier turns", { messages: conversation("Hello", "France's capital?") }],
    ["model", { model: "openai/gpt-4o-mini" }],
    ["parameters", { max_tokens: 399 }],
    ["tools", { tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }] }],
    ["last turn, when it is not only text", { messages: [{ role: "user", content: picture("France's capital?") }] }],
  ])("compares only requests with the same %s", async (_, more) => {
    const house = await open();
    await said(house, ask("What is the capital of France?"));
    expect((await said(house, ask("France's capital?", more))).how).toBe("miss");
    expect((await said(house, ask("France's capital?"))).how).toBe("semantic");
  });

  test("compares the last turn of equal conversations", async () => {
    const house = await open();
    await said(house, ask("", { messages: conversation("Hello", "What is the capital of France?") }));
    expect((await said(house, ask("", { messages: conversation("Hello", "France's capital?") }))).how).toBe("semantic");
  });

  test("never crosses tenants", async () => {
    const house = await open({}, { keys: ["one", "two"].map((id) => ({ id, key: `virtual-key-${id}` })) });
    const as = (id: string) => ({ authorization: `Bearer virtual-key-${id}` });
    upstreams.openai.next({}, { text: "secret of one" });
    await said(house, ask("What is the capital of France?"), as("one"));
    const other = await said(house, ask("France's capital?"), as("two"));
    expect([other.how, other.text.includes("secret")]).toEqual(["miss", false]);
    expect((await said(house, ask("France's capital?"), as("one"))).text).toBe("secret of one");
  });

  test("asks whom it may ask for a second opinion", async () => {
    const asked: string[][] = [];
    const house = await open({
      verify: async (question, cached) => {
        asked.push([question, cached]);
        return !question.startsWith("Is ");
      },
    });
    await said(house, ask("What is the capital of France?"));
    expect((await said(house, ask("France's capital?"))).how).toBe("semantic");
    expect((await said(house, ask("Is Paris the capital?"))).how).toBe("miss");
    expect(asked).toEqual([
      ["France's capital?", "What is the capital of France?"],
      ["Is Paris the capital?", "What is the capital of France?"],
    ]);
  });

  test("takes a second opinion that fails for a no", async () => {
    const house = await open({
      verify: () => {
        throw new Error("no opinion");
      },
    });
    await said(house, ask("What is the capital of France?"));
    expect((await said(house, ask("France's capital?"))).how).toBe("miss");
    expect(house.stats().failures).toBe(1);
  });

  test("goes on without where no vector is to be had", async () => {
    const house = await open();
    upstreams.openai.next({ status: 503 }, { text: "asked" }, { status: 503 }, { text: "asked too" });
    expect(await said(house, ask("What is the capital of France?"))).toMatchObject({ how: "miss", text: "asked" });
    expect(await said(house, ask("France's capital?"))).toMatchObject({ how: "miss", text: "asked too" });
    expect((await said(house, ask("France's capital?"))).how).toBe("hit");
    expect(house.stats().failures).toBe(2);
  });

  test("waits for a vector only so long", async () => {
    const house = await open({ timeoutMs: 100 });
    upstreams.openai.next({ hang: "before-headers" }, { text: "asked" });
    expect(await said(house, ask("What is the capital of France?"))).toMatchObject({ how: "miss", text: "asked" });
    await until(() => embeds()[0]!.closedEarly, "the upstream's connection was closed");
  });

  test("the embedding is a request of its caller's: budgets, policies and the log see it", async () => {
    const seen: unknown[] = [];
    const house = await open(
      {},
      {
        keys: [{ id: "k", key: "virtual-key-1", user: "ada", team: "web" }],
        limits: [
          { name: "embeddings", by: "user", match: { model: "text-embedding-*" }, inputTokens: 1_000, per: "day" },
        ],
        rules: [{ match: { model: "openai/gpt*" }, to: "openai/*" }],
        below: [
          async (exchange, next) => {
            seen.push([exchange.operation, exchange.identity]);
            return next(exchange);
          },
        ],
      },
    );
    await said(house, ask("What is the capital of France?"), { authorization: "Bearer virtual-key-1" });
    const identity = { key: "k", user: "ada", team: "web" };
    expect(seen).toEqual([
      ["embeddings", identity],
      ["chat", identity],
    ]);
    const [limit] = await house.gateway.usage(identity);
    expect(limit).toMatchObject({ limit: "embeddings", used: expect.any(Number), held: 0 });
    expect(limit!.used).toBeGreaterThan(0);
    const [first, second] = house.log.attempts();
    expect([first!.target, second!.target]).toEqual([EMBED, "openai/gpt-4o"]);
    expect(first!.requestId).toBe(second!.requestId);
  });

  test("a spent budget for embeddings costs a miss, not the answer", async () => {
    const house = await open(
      {},
      { limits: [{ name: "none", match: { model: "text-embedding-*" }, requests: 0, per: "day" }] },
    );
    expect(await said(house, ask("What is the capital of France?"))).toMatchObject({ how: "miss", status: 200 });
    expect(embeds()).toHaveLength(0);
  });

  test("identical questions in flight share the embedding too", async () => {
    const house = await open();
    upstreams.openai.next({ delayMs: 50 });
    await Promise.all([1, 2, 3, 4].map(() => said(house, ask("What is the capital of France?"))));
    expect([embeds().length, chats().length]).toEqual([1, 1]);
    upstreams.openai.next({ delayMs: 50 });
    const near = await Promise.all([1, 2, 3].map(() => said(house, ask("France's capital?"))));
    expect(near.map(({ how }) => how)).toEqual(["semantic", "semantic", "semantic"]);
    expect(house.stats()).toMatchObject({ semantic: 3, coalesced: 3 });
  });

  test("an answer that the store has forgotten is no answer", async () => {
    const store = memoryCache();
    const house = await open({ index: memoryVectors() }, { cache: { store } });
    await said(house, ask("What is the capital of France?"));
    await until(() => house.stats().stored === 1, "the answer was stored");
    await store.close?.();
    expect((await said(house, ask("France's capital?"))).how).toBe("miss");
  });

  test("no-cache asks anew here too", async () => {
    const house = await open();
    await said(house, ask("What is the capital of France?"));
    expect((await said(house, ask("France's capital?"), { "cache-control": "no-cache" })).how).toBe("miss");
  });
});

function conversation(first: string, last: string) {
  return [
    { role: "user", content: first },
    { role: "assistant", content: "Hi." },
    { role: "user", content: last },
  ];
}

function picture(text: string) {
  const url =
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  return [
    { type: "text", text },
    { type: "image_url", image_url: { url } },
  ];
}
