import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import type { Hold } from "../../src/core/budget-store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { storeSuite } from "../../src/testing/store-suite.ts";

storeSuite(
  { name: "memory store, virtual clock", virtualClock: true, create: ({ now }) => memoryStore({ now }) },
  { describe, test },
);
storeSuite({ name: "memory store, real clock", create: () => memoryStore() }, { describe, test });

const DAY = 24 * 3_600_000;

function hold(counter: string, more: Partial<Hold> = {}): Hold {
  return { counter, bucket: 0, from: 0, step: 0, until: DAY, fixed: 0, perUnit: 1, limit: null, ...more };
}

describe("the memory store", () => {
  test("answers at once, without promises", () => {
    const store = memoryStore();
    const today = Math.floor(Date.now() / DAY) * DAY;
    const holds = [hold("a", { bucket: today, from: today, until: today + DAY })];
    const base = { fingerprint: "f", holds, want: 5, min: 5, ttlMs: 1000, onExpire: "release" } as const;
    assert.ok(store.reserve({ ...base, id: "r" }).ok);
    expect(store.settle({ id: "r", actual: new Map([["a", 3]]), holds })).toEqual({ outcome: "settled", overrun: 0 });
    expect(store.usage(holds)[0]).toMatchObject({ used: 3, held: 0 });
    expect(store.release("r")).toEqual({ released: false });
  });

  test("remembers no more than maxEnded reservations, the youngest", () => {
    let time = 1000;
    const store = memoryStore({ now: () => time, maxEnded: 10 });
    const holds = [hold("a")];
    for (let i = 0; i < 30; i++) {
      time++;
      store.settle({ id: `r${i}`, actual: new Map([["a", 1]]), holds });
    }
    expect(store.settle({ id: "r29", actual: new Map(), holds }).outcome).toBe("duplicate");
    expect(store.settle({ id: "r20", actual: new Map(), holds }).outcome).toBe("duplicate");
    expect(store.settle({ id: "r0", actual: new Map(), holds }).outcome).toBe("late-unknown");
  });

  test("stays bounded under a million requests", () => {
    let time = 0;
    const store = memoryStore({ now: () => time, maxEnded: 1000 });
    const actual = new Map([
      ["day", 1],
      ["roll", 1],
    ]);
    const before = heapMegabytes();
    const requests = Number(process.env.TURNPIKE_TEST_REQUESTS ?? 200_000);
    const step = Math.ceil(1e9 / requests);
    for (let i = 0; i < requests; i++) {
      time += step;
      const day = Math.floor(time / DAY) * DAY;
      const roll = Math.floor(time / 10_000) * 10_000;
      const holds = [
        hold("day", { bucket: day, from: day, until: day + DAY }),
        hold("roll", { bucket: roll, from: roll - 60_000, step: 10_000, until: roll + 70_000 }),
      ];
      const id = `r${i}`;
      store.reserve({ id, fingerprint: "f", holds, want: 2, min: 2, ttlMs: 60_000, onExpire: "release" });
      if (i % 10) store.settle({ id, actual, holds });
    }
    // It keeps 1000 reservations and two hours of buckets; all of them would be over 50 MB.
    expect(heapMegabytes() - before).toBeLessThan(10);
    expect(store.usage([hold("day")])).toHaveLength(1);
  });
});

function heapMegabytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed / 1e6;
}
