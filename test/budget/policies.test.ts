import { budget, createGateway, type GatewayError, type Identity, logger, router, translator } from "turnpike";
import { openaiCompatible } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeLlama } from "turnpike/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { BudgetStore } from "../../src/core/budget-store.ts";
import type { BudgetOptions } from "../../src/middleware/budget/index.ts";
import { logBook, until } from "../support/gateway.ts";

/** What a limit does beyond refusing, over a real upstream. Usage is scripted: 60 + 40 tokens a request. */
describe("what limits can do", () => {
  let upstream: Fake;
  let clock: number;
  let log: ReturnType<typeof logBook>;

  beforeEach(async () => {
    upstream = await fakeLlama();
    upstream.always({ text: "a few words of an answer", usage: { prompt: 60, completion: 40 } });
    clock = Date.parse("2026-11-10T12:00:00Z");
    log = logBook();
  });
  afterEach(() => upstream.close());

  function start(options: Omit<BudgetOptions, "store">, store: BudgetStore = memoryStore({ now: () => clock })) {
    return createGateway({
      now: () => clock,
      providers: { llama: openaiCompatible({ baseURL: upstream.baseURL, price: { input: 1, output: 1 } }) },
      use: [
        logger({ to: log.sink }),
        router({ rules: [{ match: { model: "*" }, to: "llama/local" }], retries: 0 }),
        budget({ estimate: () => 60, ...options, store }),
        translator(),
      ],
    });
  }
  type Gateway = ReturnType<typeof start>;
  const ask = (gateway: Gateway, as: Identity = {}) =>
    gateway.completion({ model: "m", max_tokens: 40, messages: [{ role: "user", content: "hi" }] }, { as });
  const refusedWith = (gateway: Gateway, as?: Identity) =>
    ask(gateway, as).then(
      () => "answered",
      (error: GatewayError) => error.code,
    );

  test("concurrent: as many run as allowed; one that ends makes room", async () => {
    upstream.always({ text: "slow", delayMs: 100, usage: { prompt: 60, completion: 40 } });
    const gateway = start({ limits: [{ name: "two", by: "user", concurrent: 2 }] });
    const first = [ask(gateway, { user: "u" }), ask(gateway, { user: "u" })];
    const third = await ask(gateway, { user: "u" }).catch((error: GatewayError) => error);
    expect(third).toMatchObject({ code: "rate_limited", status: 429, retryable: true });
    // Somebody else has room of their own.
    await ask(gateway, { user: "v" });
    await Promise.all(first);
    expect(await refusedWith(gateway, { user: "u" })).toBe("answered");
    expect((await gateway.usage({ user: "u" }))[0]).toMatchObject({ unit: "concurrent", held: 0, remaining: 2 });
    await gateway.close();
  });

  test("warnAt: an event and a log record, once per window and share", async () => {
    const warnings: number[] = [];
    const gateway = start({
      limits: [{ name: "day", tokens: 1_000, per: "day", warnAt: [0.5, 0.8] }],
      onWarning: (warning) => warnings.push(warning.share),
    });
    for (let i = 0; i < 4; i++) await ask(gateway);
    expect(warnings).toEqual([]);
    for (let i = 0; i < 5; i++) await ask(gateway);
    await until(() => warnings.length === 2, "both warnings");
    expect(warnings).toEqual([0.5, 0.8]);
    expect(
      log.records
        .filter((record) => record.event === "budget-warning")
        .map(({ limit, share, used }) => [limit, share, used]),
    ).toEqual([
      ["day", 0.5, 500],
      ["day", 0.8, 800],
    ]);
    clock += 24 * 3_600_000;
    for (let i = 0; i < 5; i++) await ask(gateway);
    await until(() => warnings.length === 3, "the next day's warning");
    await gateway.close();
  });

  test("pace: a monthly limit is released day by day, so nobody is stuck for the rest of the month", async () => {
    clock = Date.parse("2026-11-01T12:00:00Z");
    const gateway = start({ limits: [{ name: "month", tokens: 3_000, per: "month", pace: "day" }] });
    await ask(gateway);
    const refused = await ask(gateway).catch((error: GatewayError) => error);
    expect(refused).toMatchObject({ code: "budget_exceeded", details: { resetsAt: "2026-11-02T00:00:00.000Z" } });
    clock += 24 * 3_600_000;
    expect(await refusedWith(gateway)).toBe("answered");
    // What was left over is not lost: on the tenth day ten days' worth is released.
    clock = Date.parse("2026-11-10T12:00:00Z");
    expect((await gateway.usage())[0]).toMatchObject({ amount: 1_000, used: 200, remaining: 800 });
    await gateway.close();
  });

  test("lifetime: prepaid units do not come back, but can be topped up, and a payment counts once", async () => {
    const gateway = start({ limits: [{ name: "prepaid", by: "user", tokens: 100, per: "lifetime" }] });
    await ask(gateway, { user: "u" });
    clock += 400 * 24 * 3_600_000;
    const refused = await ask(gateway, { user: "u" }).catch((error: GatewayError) => error);
    expect(refused).toMatchObject({ code: "budget_exceeded", details: { resetsAt: null } });
    for (let i = 0; i < 2; i++)
      await gateway.topUp({ limit: "prepaid", amount: 150, identity: { user: "u" }, id: "invoice-1" });
    expect((await gateway.usage({ user: "u" }))[0]).toMatchObject({ amount: 250, used: 100, remaining: 150 });
    expect(await refusedWith(gateway, { user: "u" })).toBe("answered");
    expect(await refusedWith(gateway, { user: "u" })).toBe("budget_exceeded");
    expect(await refusedWith(gateway, { user: "v" })).toBe("answered");
    await gateway.close();
  });

  test("rolling: no interval of the window's length holds more than the limit", async () => {
    const gateway = start({ limits: [{ name: "hour", tokens: 200, per: { rollingMs: 3_600_000 } }] });
    await ask(gateway);
    clock += 50 * 60_000;
    await ask(gateway);
    clock += 9 * 60_000;
    expect(await refusedWith(gateway)).toBe("budget_exceeded");
    clock += 3 * 60_000;
    expect(await refusedWith(gateway)).toBe("answered");
    expect(await refusedWith(gateway)).toBe("budget_exceeded");
    await gateway.close();
  });

  test("usage tells each limit in force, and which model used what", async () => {
    const gateway = start({
      limits: [
        { name: "mine", by: "user", usd: 1, per: "day" },
        { name: "team", by: "team", tokens: 1_000, per: "month" },
        { name: "others", match: { user: "somebody-else" }, tokens: 1, per: "day" },
      ],
    });
    await ask(gateway, { user: "u", team: "t" });
    await ask(gateway, { user: "colleague", team: "t" });
    expect(await gateway.usage({ user: "u", team: "t" })).toEqual([
      expect.objectContaining({
        limit: "mine",
        unit: "usd",
        amount: 1,
        used: 0.0001,
        byModel: { "llama/local": 0.0001 },
      }),
      expect.objectContaining({
        limit: "team",
        unit: "tokens",
        used: 200,
        remaining: 800,
        byModel: { "llama/local": 200 },
        resetsAt: "2026-12-01T00:00:00.000Z",
      }),
    ]);
    await gateway.close();
  });

  test("a spent budget can answer 429 for clients that know no 402", async () => {
    const gateway = start({ limits: [{ name: "none", tokens: 0, per: "day" }], status: 429 });
    expect(await ask(gateway).catch((error: GatewayError) => error)).toMatchObject({
      status: 429,
      code: "budget_exceeded",
      retryable: false,
    });
    await gateway.close();
  });

  describe("while the store is away", () => {
    function flaky() {
      const real = memoryStore({ now: () => clock });
      const state = { away: false };
      const guard =
        <A extends unknown[], R>(call: (...args: A) => R) =>
        (...args: A): R => {
          if (state.away) throw new Error("connection lost");
          return call(...args);
        };
      const store: BudgetStore = {
        reserve: guard((r) => real.reserve(r)),
        settle: guard((r) => real.settle(r)),
        release: guard((id) => real.release(id)),
        renew: guard((r) => real.renew(r)),
        usage: guard((refs) => real.usage(refs)),
        traits: real.traits,
      };
      return { store, state };
    }

    test("deny refuses, and says why", async () => {
      const { store, state } = flaky();
      const gateway = start({ limits: [{ name: "day", tokens: 1_000, per: "day" }] }, store);
      state.away = true;
      expect(await refusedWith(gateway)).toBe("budget_unavailable");
      expect(upstream.requests.length).toBe(0);
      state.away = false;
      await gateway.close();
    });

    test("allow lets requests pass, and what they used is charged when the store is back", async () => {
      const { store, state } = flaky();
      const gateway = start(
        { limits: [{ name: "day", tokens: 1_000, per: "day", onStoreError: "allow" }], holdTtlMs: 1_000 },
        store,
      );
      state.away = true;
      await ask(gateway);
      await ask(gateway);
      state.away = false;
      await until(async () => (await gateway.usage())[0]?.used === 200, "the late settles");
      await gateway.close();
    });

    test("local counts in this process, against its part of the limit", async () => {
      const { store, state } = flaky();
      const gateway = start(
        { limits: [{ name: "day", tokens: 800, per: "day", onStoreError: "local" }], processes: 4, holdTtlMs: 1_000 },
        store,
      );
      state.away = true;
      expect(await refusedWith(gateway)).toBe("answered");
      expect(await refusedWith(gateway)).toBe("answered");
      expect(await refusedWith(gateway)).toBe("budget_exceeded");
      state.away = false;
      await until(async () => (await gateway.usage())[0]?.used === 200, "the late settles");
      await gateway.close();
    });
  });

  describe("when the caller leaves in the middle", () => {
    const leave = async (gateway: Gateway) => {
      const stream = await gateway.completion({
        model: "m",
        max_tokens: 40,
        stream: true,
        messages: [{ role: "user", content: "hi" }],
      });
      for await (const _ of stream) break;
    };

    test("abort closes the upstream and settles input and what was seen", async () => {
      upstream.always({
        text: "one two three four five six seven eight",
        chunkDelayMs: 30,
        usage: { prompt: 60, completion: 40 },
      });
      const gateway = start({ limits: [{ name: "day", tokens: 1_000, per: "day" }] });
      await leave(gateway);
      await until(() => upstream.requests[0]!.closedEarly, "the upstream to be closed", 500);
      const [usage] = await gateway.usage();
      expect(usage!.held).toBe(0);
      expect(usage!.used).toBeGreaterThan(0);
      expect(usage!.used).toBeLessThan(100);
      expect(log.attempts()[0]).toMatchObject({ outcome: "aborted", estimated: true });
      await gateway.close();
    });

    test("drain reads to the end for the true usage", async () => {
      upstream.always({ text: "one two three four five six", chunkDelayMs: 10, usage: { prompt: 60, completion: 40 } });
      const gateway = start({ limits: [{ name: "day", tokens: 1_000, per: "day" }], onDisconnect: "drain" });
      await leave(gateway);
      await until(async () => (await gateway.usage())[0]?.used === 100, "the true usage");
      expect(upstream.requests[0]!.closedEarly).toBe(false);
      await gateway.close();
    });
  });
});
