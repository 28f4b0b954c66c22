import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, describe, expect, test, vi } from "vitest";
import { InvalidUnits, type ReserveRequest } from "../../src/core/budget-store.ts";
import { type NodeRedisClient, redisStore } from "../../src/stores/redis.ts";
import { storeSuite } from "../../src/testing/store-suite.ts";
import { deleteKeys, REDIS_URL, randomName, whyNoRedis } from "./children/servers.ts";
import { raceOn } from "./children/stores.ts";

const DAY = 24 * 3_600_000;
const why = await whyNoRedis();

describe.skipIf(why)(`with Redis${why}`, () => {
  const prefixes: string[] = [];
  const newPrefix = () => {
    const prefix = randomName();
    prefixes.push(prefix);
    return prefix;
  };
  const ioredis = new Redis(REDIS_URL, { lazyConnect: true });
  const nodeRedis = createClient({ url: REDIS_URL });
  nodeRedis.on("error", () => {});
  const connected = why ? undefined : nodeRedis.connect();
  afterAll(async () => {
    for (const prefix of prefixes) await deleteKeys(ioredis, prefix);
    ioredis.disconnect();
    nodeRedis.destroy();
  });

  let prefix = "";
  storeSuite(
    {
      name: "Redis store, ioredis",
      create: () => {
        prefix = newPrefix();
        return redisStore({ client: ioredis }, { prefix });
      },
      reopen: () => redisStore({ client: ioredis }, { prefix }),
      processes: raceOn({ engine: "redis", name: newPrefix() }),
    },
    { describe, test },
  );
  storeSuite(
    {
      name: "Redis store, node-redis",
      create: async () => {
        await connected;
        return redisStore({ client: nodeRedis }, { prefix: newPrefix() });
      },
    },
    { describe, test },
  );

  const today = Math.floor(Date.now() / DAY) * DAY;
  const cap = { counter: "cap", bucket: today, from: today, step: 0, until: today + DAY } as const;
  const request = (id: string, more: Partial<ReserveRequest> = {}): ReserveRequest => ({
    id,
    fingerprint: "f",
    holds: [{ ...cap, fixed: 0, perUnit: 1, limit: 1000 }],
    want: 100,
    min: 100,
    ttlMs: 60_000,
    onExpire: "release",
    ...more,
  });

  describe("the keys of the Redis store", () => {
    test("share one hash tag, and all of them die by themselves but live reservations", async () => {
      const prefix = newPrefix();
      const store = redisStore({ client: ioredis }, { prefix });
      const roll = { counter: "roll", bucket: today + 100, from: today - 100, step: 10, until: today + 310 };
      const holds = [cap, roll].map((ref) => ({ ...ref, fixed: 1, perUnit: 1, limit: null }));
      await store.reserve(request("live", { holds }));
      await store.reserve(request("settled", { holds }));
      await store.settle({ id: "settled", actual: new Map([["cap", 1]]), holds });
      const keys = await ioredis.keys(`*${prefix}*`);
      expect(keys.filter((key) => !key.startsWith(`{${prefix}}:`))).toEqual([]);
      const eternal = [];
      for (const key of keys) if ((await ioredis.pttl(key)) < 0) eternal.push(key.slice(prefix.length + 3));
      expect(eternal.sort()).toEqual(["r:live", "x"]);
      expect(await ioredis.pttl(`{${prefix}}:r:settled`)).toBeGreaterThan(23 * 3_600_000);
      expect(await ioredis.pexpiretime(`{${prefix}}:c:${today}:cap`)).toBe(today + DAY + 2 * DAY + DAY);
      await store.release("live");
      expect(await ioredis.exists(`{${prefix}}:x`)).toBe(0);
    });

    test("stay few when a rolling window moves on: whole pages of buckets expire", async () => {
      const prefix = newPrefix();
      const store = redisStore({ client: ioredis }, { prefix });
      for (let i = 0; i < 300; i++) {
        const bucket = today + i * 1000;
        const hold = { counter: "roll", bucket, from: bucket - 60_000, step: 1000, until: bucket + 61_000 };
        await store.reserve(request(`r${i}`, { holds: [{ ...hold, fixed: 1, perUnit: 0, limit: 61 }] }));
      }
      expect((await ioredis.keys(`{${prefix}}:c:*`)).length).toBeLessThanOrEqual(6);
      const [state] = await store.usage([
        { counter: "roll", bucket: today + 299_000, from: today + 239_000, step: 1000 },
      ]);
      expect(state!.held).toBe(61);
    });

    test("a prefix with a hash tag of its own is kept as it is", async () => {
      const prefix = newPrefix();
      await redisStore({ client: ioredis }, { prefix: `app:{${prefix}}` }).reserve(request("r"));
      const keys = await ioredis.keys(`*${prefix}*`);
      for (const key of keys) expect(key.startsWith(`app:{${prefix}}:`)).toBe(true);
      await ioredis.del(...keys);
    });

    test("an id whose hold expired long ago is ended though nobody else calls", async () => {
      const prefix = newPrefix();
      const store = redisStore({ client: ioredis }, { prefix });
      await store.reserve(request("lost", { ttlMs: 5 }));
      await new Promise((resolve) => setTimeout(resolve, 20));
      // This one has room, so it does not wait for the expired hold; the work is done behind it.
      await store.reserve(request("roomy", { want: 1, min: 1 }));
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await ioredis.hget(`{${prefix}}:r:lost`, "s")).toBe("expired");
      expect(await ioredis.hget(`{${prefix}}:c:${today}:cap`, `${today}h`)).toBe("1");
    });
  });

  describe("the client of the Redis store", () => {
    test("may have lost the scripts: they are sent again", async () => {
      const calls: string[] = [];
      const client = {
        evalsha: (sha: string, n: number, ...rest: string[]) => {
          calls.push("evalsha");
          return ioredis.evalsha(`${sha.slice(1)}0`, n, ...rest);
        },
        eval: (script: string, n: number, ...rest: string[]) => {
          calls.push("eval");
          return ioredis.eval(script, n, ...rest);
        },
      };
      const result = await redisStore({ client }, { prefix: newPrefix() }).reserve(request("r"));
      expect(result.ok).toBe(true);
      expect(calls).toEqual(["evalsha", "eval"]);
    });

    test("may repeat a call whose answer was lost: nothing counts twice, and the answer is the first one", async () => {
      const twice = {
        evalsha: async (sha: string, n: number, ...rest: string[]) => {
          await ioredis.evalsha(sha, n, ...rest).catch(() => {});
          return ioredis.evalsha(sha, n, ...rest);
        },
        eval: async (script: string, n: number, ...rest: string[]) => {
          await ioredis.eval(script, n, ...rest);
          return ioredis.eval(script, n, ...rest);
        },
      };
      const store = redisStore({ client: twice }, { prefix: newPrefix() });
      expect(await store.reserve(request("r"))).toMatchObject({ ok: true, replayed: false, granted: 100 });
      await store.renew({ id: "r", ttlMs: 60_000, charge: new Map([["cap", 30]]) });
      expect((await store.usage([cap]))[0]).toMatchObject({ used: 30, held: 70 });
      const settle = { id: "r", actual: new Map([["cap", 90]]), holds: request("r").holds };
      expect(await store.settle(settle)).toEqual({ outcome: "settled", overrun: 20 });
      expect((await store.usage([cap]))[0]).toMatchObject({ used: 120, held: 0 });
      await store.reserve(request("s"));
      expect(await store.release("s")).toEqual({ released: true });
      expect((await store.usage([cap]))[0]).toMatchObject({ used: 120, held: 0 });
    });

    test("is made from a URL at the first call, and closed with the store", async () => {
      const store = redisStore({ url: REDIS_URL }, { prefix: newPrefix() });
      expect((await store.reserve(request("r"))).ok).toBe(true);
      await store.close();
      await store.close();
      await expect(store.reserve(request("s"))).rejects.toMatchObject({ code: "store_closed" });
    });

    test("stays open when somebody else made it", async () => {
      await redisStore({ client: ioredis }).close();
      expect(await ioredis.ping()).toBe("PONG");
    });

    test("a server that is away fails the call with its cause", async () => {
      const store = redisStore({ url: "redis://127.0.0.1:1" });
      await expect(store.reserve(request("r"))).rejects.toMatchObject({
        code: "store_failed",
        cause: expect.any(Error),
      });
      await store.close();
    });

    test("a wrong amount of a counter that only the reservation names is told apart", async () => {
      const store = redisStore({ client: nodeRedis as NodeRedisClient }, { prefix: newPrefix() });
      await store.reserve(request("r"));
      await expect(store.settle({ id: "r", actual: new Map([["other", 1]]), holds: [] })).rejects.toThrow(InvalidUnits);
      expect(await store.settle({ id: "r", actual: new Map([["cap", 1]]), holds: [] })).toEqual({
        outcome: "settled",
        overrun: 0,
      });
    });
  });
});

describe("redisStore without a server", () => {
  test("says what to install when the package is missing, and tries again at the next call", async () => {
    vi.doMock("ioredis", () => {
      throw new Error("Cannot find package 'ioredis'");
    });
    const store = redisStore({ url: "redis://127.0.0.1:1" });
    const first = await store.release("r").catch((error) => error);
    vi.doUnmock("ioredis");
    expect(first).toMatchObject({ code: "store_peer_missing", cause: expect.any(Error) });
    expect(first.message).toContain("npm install ioredis");
    await expect(store.release("r")).rejects.toMatchObject({ code: "store_failed" });
    await store.close();
  });

  test("wants a client it knows, or a URL", () => {
    for (const wrong of [undefined, {}, { url: "" }, { client: {} }, { client: { eval() {} } }]) {
      expect(() => redisStore(wrong as never), JSON.stringify(wrong)).toThrow(TypeError);
    }
    expect(() => redisStore({ url: "redis://x" }, { prefix: "" })).toThrow(TypeError);
  });
});
