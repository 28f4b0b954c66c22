import { router } from "turnpike";
import { openaiCompatible } from "turnpike/providers";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { ProviderOptions } from "../../src/providers/define.ts";
import { until } from "../support/gateway.ts";
import { ask, prompt, upstream, world } from "./world.ts";

afterEach(() => void vi.useRealTimers());

const start = (apiKeys: ProviderOptions["apiKeys"]) => {
  const a = upstream("a", { apiKeys } as ProviderOptions);
  const { gateway, log } = world({ a }, [router({ retries: 0 })]);
  const keysUsed = () => a.calls.map(({ key }) => key);
  return { a, gateway, log, keysUsed, go: () => ask(gateway, prompt("a/x")) };
};
const keys = (...names: string[]) => names.map((key) => ({ key, weight: 1 }));

describe("several keys of one provider", () => {
  test("are used by their weights", async () => {
    const { keysUsed, go } = start([
      { key: "k1", weight: 3 },
      { key: "k2", weight: 1 },
    ]);
    for (let i = 0; i < 40; i++) await go();
    expect(keysUsed().filter((key) => key === "k1")).toHaveLength(30);
  });

  test.each([401, 403, 402, 429])(
    "one that gets a %i is left out, and the call goes on with another",
    async (status) => {
      vi.useFakeTimers({ toFake: ["Date"] });
      const { a, keysUsed, go, log } = start(keys("bad", "good"));
      a.fault = (call) => (a.calls[call]!.key === "bad" ? { status, headers: { "retry-after": "600" } } : {});
      for (let i = 0; i < 10; i++) expect(await go()).toBe("answer of a");
      expect(keysUsed().filter((key) => key === "bad")).toHaveLength(1);
      expect(log.attempts()).toHaveLength(10);
      vi.setSystemTime(Date.now() + 600_001);
      for (let i = 0; i < 2; i++) await go();
      expect(keysUsed().filter((key) => key === "bad")).toHaveLength(2);
    },
  );

  test("the last one is tried whatever it did, and its refusal is the answer", async () => {
    const { a, keysUsed, go } = start(keys("k1", "k2"));
    a.fault = () => ({ status: 401 });
    expect(await go()).toBe("upstream_auth");
    expect(keysUsed().sort()).toEqual(["k1", "k2"]);
    expect(await go()).toBe("upstream_auth");
    expect(keysUsed()).toHaveLength(3);
    a.fault = () => ({});
    expect(await go()).toBe("answer of a");
  });

  test("a key takes no more calls at a time than it may; others wait, and no more than a hundred of them", async () => {
    const { a, gateway, go } = start([{ key: "k", weight: 1, concurrency: 2 }]);
    a.fault = () => ({ delayMs: 5 });
    const answers = await Promise.all(Array.from({ length: 20 }, go));
    expect(new Set(answers)).toEqual(new Set(["answer of a"]));
    expect(a.most).toBe(2);
    const flood = await Promise.all(Array.from({ length: 150 }, go));
    expect(flood.filter((text) => text === "rate_limited")).toHaveLength(48);
    expect(gateway.inFlight).toBe(0);
  });

  test("who leaves the line leaves it for good, and a stream keeps its place until it ends", async () => {
    const { a, gateway, go } = start([{ key: "k", weight: 1, concurrency: 1 }]);
    a.fault = (call) => (call === 0 ? { stall: true } : {});
    const leave = new AbortController();
    const first = ask(gateway, prompt("a/x", { stream: true }), { signal: leave.signal });
    await until(() => a.calls.length === 1, "the first is asked");
    const gone = new AbortController();
    const second = ask(gateway, prompt("a/x"), { signal: gone.signal });
    const third = go();
    gone.abort();
    expect(await second).toBe("client_closed");
    expect(a.calls).toHaveLength(1);
    leave.abort();
    expect(await first).toBe("client_closed");
    expect(await third).toBe("answer of a");
    expect(a.calls).toHaveLength(2);
  });

  test("stand instead of one key", () => {
    expect(() => openaiCompatible({ baseURL: "http://x/v1", apiKey: "a", apiKeys: keys("b") })).toThrow(/not both/);
  });
});
