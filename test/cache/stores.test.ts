import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { memoryCache } from "../../src/caches/memory.ts";
import { redisCache } from "../../src/caches/redis.ts";
import type { CacheStore } from "../../src/core/cache-store.ts";
import { killClients, REDIS_URL, randomName, whyNoRedis } from "../stores/children/servers.ts";
import { ask, type House, type HouseOptions, openHouse, said, startUpstreams, type Upstreams } from "./support.ts";

const why = await whyNoRedis();
const prefix = randomName();
const admin = new Redis(REDIS_URL, { lazyConnect: true });
const nodeRedis = createClient({ url: REDIS_URL });
nodeRedis.on("error", () => {});
if (!why) await nodeRedis.connect();
afterAll(async () => {
  if (!why)
    for await (const keys of admin.scanStream({ match: `${prefix}*` })) if (keys.length > 0) await admin.del(keys);
  admin.disconnect();
  nodeRedis.destroy();
});

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each<[string, () => CacheStore, boolean]>([
  ["memory", () => memoryCache(), false],
  ["Redis, ioredis", () => redisCache({ client: admin }, { prefix: `${prefix}:i` }), why !== ""],
  ["Redis, node-redis", () => redisCache({ client: nodeRedis }, { prefix: `${prefix}:n` }), why !== ""],
  ["Redis, by its address", () => redisCache({ url: REDIS_URL }, { prefix: `${prefix}:u` }), why !== ""],
])("the cache store in %s", (_, create, skip) => {
  test.skipIf(skip)("keeps what it was given, for its time", async () => {
    const store = create();
    expect(await store.get("nothing")).toBeUndefined();
    await store.set("a", "ä天𝄞\u0000", 60_000);
    await store.set("short", "x", 40);
    expect(await store.get("a")).toBe("ä天𝄞\u0000");
    await sleep(80);
    expect(await store.get("short")).toBeUndefined();
    await store.close?.();
  });

  test.skipIf(skip)("adds once, and tells what stands there", async () => {
    const store = create();
    const answers = await Promise.all(["1", "2", "3"].map((value) => store.add("lock", value, 60_000)));
    const winner = answers.indexOf(undefined);
    expect(answers.filter((answer) => answer === undefined)).toHaveLength(1);
    expect(new Set(answers)).toEqual(new Set([undefined, String(winner + 1)]));
    expect(await store.get("lock")).toBe(String(winner + 1));
    await store.close?.();
  });

  test.skipIf(skip)("swaps only what is expected", async () => {
    const store = create();
    await store.set("s", "mine", 60_000);
    expect(await store.swap("s", "another's", "x", 60_000)).toBe(false);
    expect(await store.swap("s", "mine", "done", 60_000)).toBe(true);
    expect(await store.get("s")).toBe("done");
    expect(await store.swap("s", "mine", undefined, 0)).toBe(false);
    expect(await store.swap("s", "done", undefined, 0)).toBe(true);
    expect(await store.swap("s", "done", "again", 60_000)).toBe(false);
    expect(await store.get("s")).toBeUndefined();
    await store.close?.();
  });
});

describe.skipIf(why !== "")(`a gateway over Redis${why}`, () => {
  let upstreams: Upstreams;
  const houses: House[] = [];
  beforeAll(async () => {
    upstreams = await startUpstreams();
  });
  afterEach(async () => {
    for (const house of houses.splice(0)) await house.close();
    upstreams.reset();
  });
  afterAll(() => upstreams.close());
  const open = async (options: HouseOptions) => {
    const house = await openHouse(upstreams, options);
    houses.push(house);
    return house;
  };
  const asked = () => upstreams.openai.requests.length;

  test("shares answers and idempotency keys between processes, and holds no prompt", async () => {
    const own = `${prefix}:shared`;
    const [one, two] = [
      await open({ cache: { store: redisCache({ url: REDIS_URL }, { prefix: own }) } }),
      await open({ cache: { store: redisCache({ client: admin }, { prefix: own }) } }),
    ];
    await said(one, ask("A very private question"), { "idempotency-key": "private-key" });
    await vi.waitFor(() => expect(one.stats().stored).toBe(1));
    expect((await said(two, ask("A very private question"))).how).toBe("hit");
    upstreams.openai.always({ text: "once", delayMs: 150 });
    const twice = ask("Twice", { temperature: 1 });
    const both = await Promise.all([one, two].map((house) => said(house, twice, { "idempotency-key": "k" })));
    expect(both.map(({ text }) => text)).toEqual(["once", "once"]);
    expect(asked()).toBe(2);
    const keys = await admin.keys(`${own}:*`);
    expect(keys.length).toBe(3);
    for (const key of keys) {
      expect(await admin.pttl(key)).toBeGreaterThan(0);
      expect(`${key} ${await admin.get(key)}`.replace(/You said: [^"]*/, "")).not.toMatch(/private/);
    }
  });

  test("goes on while its connections are killed", async () => {
    const name = randomName();
    const client = new Redis(REDIS_URL, { connectionName: name, maxRetriesPerRequest: 1, retryStrategy: () => 20 });
    client.on("error", () => {});
    const house = await open({ cache: { store: redisCache({ client }, { prefix: `${prefix}:killed` }) } });
    const statuses: number[] = [];
    let killed = 0;
    for (let i = 0; i < 40; i++) {
      if (i % 8 === 4) killed += await killClients(admin, name);
      statuses.push((await said(house, ask(`Question ${i % 4}`))).status);
    }
    expect(killed).toBeGreaterThan(2);
    expect(new Set(statuses)).toEqual(new Set([200]));
    await sleep(1_100);
    expect((await said(house, ask("Question 1"))).how).toBe("hit");
    client.disconnect();
  });

  test.each([
    ["is not there", () => redisCache({ url: "redis://127.0.0.1:1" })],
    ["says nothing", () => hanging()],
    ["throws", () => throwing()],
    ["answers nonsense", () => ({ ...memoryCache(), get: () => '{"v":1,"at":"x"}' })],
    ["answers another's format", () => ({ ...memoryCache(), get: () => "not json" })],
  ])("a store that %s costs misses, never a request", async (_, store) => {
    const house = await open({ cache: { store: store(), storeTimeoutMs: 50 } });
    for (let i = 0; i < 3; i++) {
      expect(await said(house, ask("Without"))).toMatchObject({ status: 200, how: "miss" });
    }
  });

  test("a store that fails rests, so that only one request waits for it, and the log says so once", async () => {
    let calls = 0;
    const store = hanging(() => calls++);
    const house = await open({ cache: { store, storeTimeoutMs: 50 } });
    for (let i = 0; i < 5; i++) await said(house, ask(`Rest ${i}`));
    expect(calls).toBe(1);
    const notes = house.log.records.filter(({ event }) => event === "cache_failed");
    expect(notes).toMatchObject([{ store: "answers", reason: "no answer within 50 ms" }]);
    expect(house.stats().failures).toBe(1);
  });
});

function hanging(onCall = () => {}): CacheStore {
  const never = () => {
    onCall();
    return new Promise<never>(() => {});
  };
  return { get: never, set: never, add: never, swap: never };
}

function throwing(): CacheStore {
  const fail = () => {
    throw new Error("broken");
  };
  return { get: fail, set: fail, add: fail, swap: fail };
}

test("what is no client is refused when the store is made", () => {
  expect(() => redisCache({ client: {} as never })).toThrow(TypeError);
  expect(() => redisCache({} as never)).toThrow(/ioredis client or a node-redis client/);
});
