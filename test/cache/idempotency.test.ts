import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { memoryCache } from "../../src/caches/memory.ts";
import type { CacheStore } from "../../src/core/cache-store.ts";
import { until } from "../support/gateway.ts";
import {
  ask,
  CLAUDE,
  type House,
  type HouseOptions,
  type Json,
  openHouse,
  post,
  said,
  startUpstreams,
  type Upstreams,
} from "./support.ts";

let upstreams: Upstreams;
let houses: House[] = [];
beforeAll(async () => {
  upstreams = await startUpstreams();
});
afterEach(async () => {
  for (const house of houses) await house.close();
  houses = [];
  upstreams.reset();
});
afterAll(() => upstreams.close());

const open = async (options?: HouseOptions) => {
  const house = await openHouse(upstreams, options);
  houses.push(house);
  return house;
};
const asked = () => upstreams.openai.requests.length;
const warm = (content: string, more: Json = {}) => ask(content, { temperature: 1, ...more });
const key = (name: string, more: Record<string, string> = {}) => ({ "idempotency-key": name, ...more });

/** As a store on another machine. */
function slow(store: CacheStore, ms = 5): CacheStore {
  const wait = async <T>(value: T) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return value;
  };
  return {
    get: (key) => wait(undefined).then(() => store.get(key)),
    set: (key, value, ttl) => wait(undefined).then(() => store.set(key, value, ttl)),
    add: (key, value, ttl) => wait(undefined).then(() => store.add(key, value, ttl)),
    swap: (key, expected, value, ttl) => wait(undefined).then(() => store.swap(key, expected, value, ttl)),
  };
}

describe("an idempotency key", () => {
  test.each([[false], [true]])("gives a repeated request the first answer, stream: %s", async (stream) => {
    const house = await open();
    upstreams.openai.next({ text: "first" }, { text: "second" });
    const first = await said(house, warm("Once.", { stream }), key("k1"));
    const again = await said(house, warm("Once.", { stream }), key("k1"));
    expect([first.text, again.text]).toEqual(["first", "first"]);
    expect([first.headers.get("idempotent-replayed"), again.headers.get("idempotent-replayed")]).toEqual([
      null,
      "true",
    ]);
    expect((await said(house, warm("Once.", { stream }), key("k2"))).text).toBe("second");
    expect(house.stats()).toMatchObject({ replayed: 1 });
  });

  test("makes a repeated request wait for the first one", async () => {
    const house = await open();
    upstreams.openai.always({ text: "the one", delayMs: 150 });
    const answers = await Promise.all([1, 2, 3].map(() => said(house, warm("Wait."), key("k"))));
    expect(answers.map(({ text }) => text)).toEqual(["the one", "the one", "the one"]);
    expect(asked()).toBe(1);
  });

  test("lets the first request go on when its caller is cut off: the retry gets its answer", async () => {
    const house = await open();
    upstreams.openai.next({ text: "worth waiting for", delayMs: 300 }, { text: "paid twice" });
    const controller = new AbortController();
    const cut = fetch(`${house.url}/v1/chat/completions`, {
      method: "POST",
      headers: key("cut"),
      body: JSON.stringify(warm("Cut.")),
      signal: controller.signal,
    }).catch(() => undefined);
    await until(() => asked() === 1, "the upstream was asked");
    controller.abort();
    await cut;
    expect((await said(house, warm("Cut."), key("cut"))).text).toBe("worth waiting for");
    expect(asked()).toBe(1);
    expect(upstreams.openai.requests[0]!.closedEarly).toBe(false);
  });

  test("of another request is a 422 that the official client understands, in either dialect", async () => {
    const house = await open();
    await said(house, warm("This."), key("k"));
    const client = new OpenAI({ baseURL: `${house.url}/v1`, apiKey: "x", maxRetries: 0 });
    const refused = await said(house, warm("That."), key("k"));
    expect(refused).toMatchObject({ status: 422, text: "error: This `idempotency-key` was used for another request" });
    expect(refused.headers.get("x-should-retry")).toBe("false");
    const claude = { model: CLAUDE, max_tokens: 10, messages: [{ role: "user", content: "This." }] };
    const other = await post(house, claude, key("k"), "/v1/messages");
    expect([other.status, ((await other.json()) as Json).type]).toEqual([422, "error"]);
    const call = client.chat.completions.create(warm("Third."), { headers: key("k", { authorization: "Bearer x" }) });
    await expect(call).resolves.toBeDefined();
    await expect(client.chat.completions.create(warm("Fourth."), { headers: key("k") })).rejects.toBeInstanceOf(
      OpenAI.UnprocessableEntityError,
    );
    expect(asked()).toBe(2);
  });

  test("is refused at once while the other request still runs", async () => {
    const house = await open();
    upstreams.openai.always({ delayMs: 200 });
    const first = said(house, warm("This."), key("k"));
    await until(() => asked() === 1, "the upstream was asked");
    expect((await said(house, warm("That."), key("k"))).status).toBe(422);
    expect((await first).status).toBe(200);
  });

  test("means nothing to other tenants", async () => {
    const house = await open({
      cache: { scope: "gateway" },
      keys: ["one", "two"].map((id) => ({ id, key: `virtual-key-${id}` })),
    });
    upstreams.openai.next({ text: "of one" }, { text: "of two" });
    for (const id of ["one", "two"]) {
      const headers = key("same", { authorization: `Bearer virtual-key-${id}` });
      expect((await said(house, warm(`I am ${id}.`), headers)).text).toBe(`of ${id}`);
    }
  });

  test.each([
    ["an overloaded upstream", { status: 503 }],
    ["a broken stream", { text: "half of it all", cut: true }],
  ])("does not pin %s", async (_, script) => {
    const house = await open();
    upstreams.openai.next(script, { text: "sound" });
    await said(house, warm("Retry.", { stream: true }), key("k")).catch(() => undefined);
    expect((await said(house, warm("Retry.", { stream: true }), key("k"))).text).toBe("sound");
  });

  test("repeats an error that will not pass", async () => {
    const house = await open();
    upstreams.openai.next({ status: 400 }, { text: "never asked" });
    const first = await said(house, warm("Wrong."), key("k"));
    const again = await said(house, warm("Wrong."), key("k"));
    expect([first.status, again.status, again.text]).toEqual([400, 400, first.text]);
    expect(asked()).toBe(1);
  });

  test("expires", async () => {
    let now = Date.parse("2026-12-01T12:00:00Z");
    const house = await open({ now: () => now });
    await said(house, warm("Old."), key("k"));
    now += 23 * 3_600_000;
    await said(house, warm("Old."), key("k"));
    expect(asked()).toBe(1);
    now += 2 * 3_600_000;
    await said(house, warm("Old."), key("k"));
    expect(asked()).toBe(2);
  });

  test("is shared by processes that share a store", async () => {
    const store = slow(memoryCache());
    const [one, two] = [await open({ cache: { store } }), await open({ cache: { store } })];
    upstreams.openai.always({ text: "only once", delayMs: 200 });
    const answers = await Promise.all([one, two, one, two].map((house) => said(house, warm("Shared."), key("k"))));
    expect(answers.map(({ text }) => text)).toEqual(Array(4).fill("only once"));
    expect(asked()).toBe(1);
  });

  test("is free again when the process that held it has crashed", async () => {
    const kept = memoryCache();
    // A process that takes the lock and is never heard of again.
    const crashed: CacheStore = { ...kept, swap: () => new Promise(() => {}), get: () => undefined };
    const options = { idempotency: { lockMs: 300 } };
    const dead = await open({ cache: { store: crashed, ...options } });
    const alive = await open({ cache: { store: slow(kept), ...options } });
    upstreams.openai.next({ hang: "before-headers" }, { text: "second try" });
    const abandoned = new AbortController();
    const lost = dead.gateway
      .completion(warm("Crash."), { headers: key("k"), signal: abandoned.signal })
      .catch(() => {});
    await until(() => asked() === 1, "the first was asked");
    expect((await said(alive, warm("Crash."), {})).how).toBe("bypass");
    upstreams.openai.next({ text: "second try" });
    const retry = await alive.gateway.completion<Json>(warm("Crash."), { headers: key("k") });
    expect((retry as Json).choices[0].message.content).toBe("second try");
    abandoned.abort();
    await lost;
  });

  test("costs nothing but itself where the store is away", async () => {
    const away: CacheStore = {
      get: () => Promise.reject(new Error("away")),
      set: () => Promise.reject(new Error("away")),
      add: () => Promise.reject(new Error("away")),
      swap: () => Promise.reject(new Error("away")),
    };
    const house = await open({ cache: { store: away } });
    const { status } = await said(house, warm("Away."), key("k"));
    expect(status).toBe(200);
    expect(house.log.records.filter(({ event }) => event === "cache_failed")).toHaveLength(1);
  });

  test.each([[""], ["x".repeat(256)]])("that is no key is refused: %j", async (given) => {
    const house = await open();
    const call = house.gateway.completion(warm("Bad key."), { headers: key(given) });
    await expect(call).rejects.toMatchObject({ code: "invalid_request", param: "idempotency-key" });
  });

  test("is an ordinary header where idempotency is off", async () => {
    const house = await open({ cache: { idempotency: false } });
    for (let i = 0; i < 2; i++) await said(house, warm("Off."), key("k"));
    expect(asked()).toBe(2);
  });
});
