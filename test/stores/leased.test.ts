import { Redis } from "ioredis";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { BudgetStore, Hold, ReserveRequest } from "../../src/core/budget-store.ts";
import { type LeasedOptions, leased } from "../../src/stores/leased.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { storeSuite } from "../../src/testing/store-suite.ts";
import { deleteKeys, REDIS_URL, randomName, whyNoRedis } from "./children/servers.ts";
import { raceOn } from "./children/stores.ts";

storeSuite({ name: "leased memory store", create: () => leased(memoryStore()) }, { describe, test });

const why = await whyNoRedis();

describe.skipIf(why)(`leases on Redis${why}`, () => {
  const client = new Redis(REDIS_URL, { lazyConnect: true });
  const prefixes: string[] = [];
  afterAll(async () => {
    for (const prefix of prefixes) await deleteKeys(client, prefix);
    client.disconnect();
  });
  const newPrefix = () => {
    const prefix = randomName();
    prefixes.push(prefix);
    return prefix;
  };
  const create = () => leased(redisStore({ client }, { prefix: newPrefix() }));
  const processes = raceOn({ engine: "redis", name: newPrefix(), isLeased: true });
  storeSuite({ name: "leased Redis store", create, processes }, { describe, test });
});

const DAY = 24 * 3_600_000;
const today = Math.floor(Date.now() / DAY) * DAY;
const cap = { counter: "cap", bucket: today, from: today, step: 0, until: today + DAY, fixed: 0, perUnit: 1 } as const;

function request(id: string, more: Partial<ReserveRequest> = {}, limit = 100_000): ReserveRequest {
  const base = { id, fingerprint: "f", want: 100, min: 100, ttlMs: 60_000, onExpire: "release" } as const;
  return { ...base, holds: [{ ...cap, limit }], ...more };
}

/** What a remote store was asked for; `fail` decides whether a call fails before or after it was done. */
function watched(store: BudgetStore, fail: (name: string) => "before" | "after" | undefined = () => undefined) {
  const calls: string[] = [];
  const slices: number[] = [];
  const wrap = async <T>(name: string, action: () => T | Promise<T>): Promise<T> => {
    calls.push(name);
    const failure = fail(name);
    await new Promise((resolve) => setImmediate(resolve));
    if (failure === "before") throw new Error("the store is away");
    const answer = await action();
    if (failure === "after") throw new Error("the answer was lost");
    return answer;
  };
  const remote: BudgetStore = {
    traits: { shared: true, durable: true, clock: "store" },
    reserve: (request) =>
      wrap("reserve", async () => {
        const result = await store.reserve(request);
        if (result.ok) slices.push(result.granted);
        return result;
      }),
    settle: (request) => wrap("settle", () => store.settle(request)),
    release: (id) => wrap("release", () => store.release(id)),
    renew: (request) => wrap("renew", () => store.renew(request)),
    usage: (refs) => wrap("usage", () => store.usage(refs)),
  };
  return { remote, calls, slices };
}

const open: { close?(): unknown }[] = [];
afterEach(async () => {
  for (const store of open.splice(0)) await store.close?.();
});

/** A leased store that the test need not close. */
function lease(store: BudgetStore, options?: LeasedOptions) {
  const made = leased(store, options);
  open.push(made);
  return made;
}

function used(store: BudgetStore) {
  const [state] = store.usage([cap]) as { used: number; held: number }[];
  return { used: state!.used, held: state!.held };
}

const settle = (id: string, units: number, holds: readonly Hold[] = [{ ...cap, limit: null }]) => ({
  id,
  actual: new Map([["cap", units]]),
  holds,
});
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("the leased store", () => {
  test("answers at once while its slice suffices, and hardly ever asks the remote store", async () => {
    const { remote, calls } = watched(memoryStore());
    const store = lease(remote, { processes: 2 });
    let waited = 0;
    for (let i = 0; i < 900; i++) {
      const result = store.reserve(request(`r${i}`, { want: 100, min: 10 }));
      if (result instanceof Promise) waited++;
      expect(await result).toMatchObject({ ok: true, granted: 100 });
      expect(store.settle(settle(`r${i}`, 90))).toEqual({ outcome: "settled", overrun: 0 });
    }
    expect(waited).toBeLessThan(20);
    expect(calls.length).toBeLessThan(40);
    expect((await store.usage([cap]))[0]).toMatchObject({ used: 81_000, held: 0 });
  });

  test("takes smaller slices as the cap comes near, and uses it up", async () => {
    const { remote, slices } = watched(memoryStore());
    const store = lease(remote, { processes: 4 });
    let spent = 0;
    for (let i = 0; ; i++) {
      const result = await store.reserve(request(`r${i}`, { want: 50, min: 1 }));
      if (!result.ok) break;
      spent += result.granted;
      store.settle(settle(`r${i}`, result.granted));
    }
    expect(spent).toBe(100_000);
    let remaining = 100_000;
    for (const slice of slices) {
      // What the process has left of its last slice counts as remaining.
      expect(slice).toBeLessThanOrEqual(Math.max(50, (remaining + 50) / 8));
      remaining -= slice;
    }
    expect(remaining).toBe(0);
  });

  test("posts what was spent, gives back what lies idle, and close loses nothing", async () => {
    const remote = memoryStore();
    const store = lease(remote, { postEveryMs: 20, ttlMs: 500 });
    await store.reserve(request("r"));
    store.settle(settle("r", 60));
    expect(used(remote)).toEqual({ used: 0, held: 400 });
    await sleep(150);
    expect(used(remote), "posted, and the idle slice given back").toEqual({ used: 60, held: 0 });

    await store.reserve(request("s"));
    await store.reserve(request("t"));
    store.settle(settle("s", 130));
    store.settle(settle("t", 100));
    store.settle(settle("nobody", 7));
    await store.close();
    expect(used(remote)).toEqual({ used: 60 + 130 + 100 + 7, held: 0 });
    expect(() => store.reserve(request("u"))).toThrow("closed");
  });

  test("keeps what requests in flight hold, and renews it, while the rest is given back", async () => {
    const remote = memoryStore();
    const store = lease(remote, { postEveryMs: 20, ttlMs: 100 });
    await store.reserve(request("long"));
    for (let i = 0; i < 10; i++) await store.reserve(request(`r${i}`, {}, 100_000));
    for (let i = 0; i < 10; i++) store.settle(settle(`r${i}`, 100));
    await sleep(400);
    const state = used(remote);
    expect(state.used).toBe(1000);
    expect(state.held, "still held after four lives of the lease").toBeGreaterThanOrEqual(100);
    expect(store.settle(settle("long", 80)).outcome).toBe("settled");
    await sleep(150);
    expect(used(remote)).toEqual({ used: 1080, held: 0 });
  });

  test("admits nothing from a lease that passed 80 % of its life, for example after a pause", async () => {
    let time = 0;
    const { remote, calls } = watched(memoryStore());
    const store = lease(remote, { ttlMs: 10_000, postEveryMs: 1000, monotonicNow: () => time });
    await store.reserve(request("r"));
    time = 7999;
    expect(store.reserve(request("s"))).not.toBeInstanceOf(Promise);
    time = 8001;
    const before = calls.length;
    expect(await store.reserve(request("t"))).toMatchObject({ ok: true });
    expect(calls.length).toBeGreaterThan(before);
  });

  test("holds the cap exactly for several processes on one store", async () => {
    const remote = memoryStore();
    const stores = [1, 2, 3].map(() => lease(watched(remote).remote, { postEveryMs: 20, ttlMs: 500, processes: 3 }));
    const limit = 20_000;
    let spent = 0;
    await Promise.all(
      stores.flatMap((store, s) =>
        [1, 2, 3, 4].map(async (worker) => {
          for (let i = 0; ; i++) {
            const id = `${s}:${worker}:${i}`;
            const result = await store.reserve(request(id, { want: 1 + ((i * 37) % 90), min: 1 }, limit));
            if (!result.ok && result.denied[0]!.held === 0) return;
            await sleep(1);
            if (!result.ok) continue;
            const actual = Math.ceil(result.granted * ((i % 10) / 10));
            spent += actual;
            store.settle(settle(id, actual));
            const now = used(remote);
            expect(now.used + now.held).toBeLessThanOrEqual(limit);
          }
        }),
      ),
    );
    for (const store of stores) await store.close();
    expect(used(remote)).toEqual({ used: spent, held: 0 });
    expect(spent).toBe(limit);
  });

  for (const onExpire of ["charge", "release"] as const) {
    test(`a process that dies leaves its slices to onExpire ${onExpire}`, async () => {
      let time = Date.now();
      const remote = memoryStore({ now: () => time });
      // No posting happens before it dies.
      const dead = leased(remote, { onExpire, ttlMs: 1e7, postEveryMs: 1e6 });
      for (let i = 0; i < 10; i++) {
        await dead.reserve(request(`r${i}`));
        dead.settle(settle(`r${i}`, 100));
      }
      const { held } = used(remote);
      expect(held).toBeGreaterThanOrEqual(1000);
      time += 1e7;
      expect(used(remote)).toEqual({ used: onExpire === "charge" ? held : 0, held: 0 });
    });
  }

  test("a request with a lower limit does not use slices of a higher one", async () => {
    const remote = memoryStore();
    const store = lease(remote);
    await store.reserve(request("r", {}, 100_000));
    store.settle(settle("r", 100));
    expect(await store.reserve(request("s", {}, 150))).toMatchObject({ ok: false });
    expect(await store.reserve(request("t", { want: 50, min: 50 }, 150))).toMatchObject({ ok: true, granted: 50 });
  });

  test("a settle whose answer was lost is repeated with its first amount", async () => {
    const lost: string[] = [];
    const remote = memoryStore();
    const { remote: lossy } = watched(remote, (name) => {
      if (name !== "settle" || lost.length > 2) return undefined;
      lost.push(name);
      return "after";
    });
    const store = lease(lossy, { postEveryMs: 20, ttlMs: 500 });
    await store.reserve(request("r"));
    store.settle(settle("r", 100));
    await sleep(60);
    await store.reserve(request("s"));
    store.settle(settle("s", 70));
    await sleep(300);
    expect(lost.length).toBe(3);
    expect(used(remote)).toEqual({ used: 170, held: 0 });
  });

  test("with calls that fail before or after they were done: nothing spent is lost, and the cap holds", async () => {
    for (const seed of [1, 2, 3]) {
      let state = seed * 7919;
      const pick = (below: number) => {
        state = (state * 48271) % 2147483647;
        return state % below;
      };
      let isCalm = false;
      const remote = memoryStore();
      const limit = 30_000;
      const stores = [1, 2, 3].map(() => {
        const fail = () => (isCalm || pick(8) ? undefined : pick(2) ? "before" : "after");
        return lease(watched(remote, fail).remote, { postEveryMs: 10, ttlMs: 200, processes: 3 });
      });
      let spent = 0;
      const until = performance.now() + 600;
      await Promise.all(
        stores.flatMap((store, s) =>
          [1, 2, 3].map(async (worker) => {
            for (let i = 0; performance.now() < until; i++) {
              const id = `${s}:${worker}:${i}`;
              try {
                const result = await store.reserve(request(id, { want: 1 + pick(60), min: 1 }, limit));
                await sleep(pick(3));
                if (!result.ok) continue;
                const actual = pick(result.granted + 1);
                spent += actual;
                store.settle(settle(id, actual));
              } catch {
                await sleep(1);
              }
            }
          }),
        ),
      );
      isCalm = true;
      for (const store of stores) await store.close();
      await sleep(250);
      expect(spent, `seed ${seed}`).toBeGreaterThan(limit / 4);
      expect(spent, `seed ${seed}`).toBeLessThanOrEqual(limit);
      expect(used(remote).used, `seed ${seed}`).toBeGreaterThanOrEqual(spent);
      expect(used(remote).held, `seed ${seed}`).toBe(0);
    }
  });

  test("forgets buckets that are done", async () => {
    const { remote, calls } = watched(memoryStore());
    const store = lease(remote, { postEveryMs: 10, ttlMs: 100 });
    for (let i = 0; i < 20; i++) {
      const bucket = today + i * 1000;
      const holds = [{ ...cap, bucket, from: bucket, until: bucket + 1000, limit: 1000 }];
      await store.reserve(request(`r${i}`, { holds }));
      store.settle({ id: `r${i}`, actual: new Map([["cap", 5]]), holds });
    }
    await sleep(150);
    const before = calls.length;
    await sleep(100);
    expect(calls.length, "nothing to do").toBe(before);
  });

  test("refuses settings that cannot work", () => {
    const remote = memoryStore();
    for (const wrong of [{ processes: 0 }, { ttlMs: 1.5 }, { postEveryMs: 0 }, { ttlMs: 100, postEveryMs: 50 }]) {
      expect(() => leased(remote, wrong), JSON.stringify(wrong)).toThrow(TypeError);
    }
  });
});
