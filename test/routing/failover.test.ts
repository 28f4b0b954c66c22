import { budget, type RouterOptions, router } from "turnpike";
import { anthropicMessages } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { afterEach, describe, expect, test, vi } from "vitest";
import { until } from "../support/gateway.ts";
import { ask, type Fault, prompt, upstream, world } from "./world.ts";

const three = () => ({ a: upstream("a"), b: upstream("b"), c: upstream("c") });
const rule = (more: object, to: unknown = ["a/x", "b/x"]): RouterOptions =>
  ({ retries: 0, rules: [{ match: {}, to, ...more }] }) as RouterOptions;
const stream = { stream: true };

afterEach(() => void vi.useRealTimers());

describe("timers of a rule", () => {
  test("without content in time the next target is asked, and the first is closed", async () => {
    const { gateway, upstreams, log } = world(three(), [router(rule({ timeouts: { firstTokenMs: 30 } }))]);
    upstreams.a.fault = () => ({ stall: true });
    expect(await ask(gateway, prompt("m", stream))).toBe("answer of b");
    expect(upstreams.a.calls[0]!.aborted).toBe(true);
    expect(log.attempts()[0]).toMatchObject({ target: "a/x", code: "upstream_timeout", status: 504 });
  });

  test("a whole answer has no first token to wait for", async () => {
    const { gateway, upstreams } = world(three(), [router(rule({ timeouts: { firstTokenMs: 10 } }))]);
    upstreams.a.fault = () => ({ delayMs: 60 });
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
  });

  test("the head of the answer, and the whole attempt", async () => {
    for (const timeouts of [{ firstByteMs: 30 }, { totalMs: 30 }]) {
      const { gateway, upstreams } = world(three(), [router(rule({ timeouts }))]);
      upstreams.a.fault = () => ({ hang: true });
      expect(await ask(gateway, prompt("m"))).toBe("answer of b");
    }
  });

  test("the router's own hold where the rule says nothing else", async () => {
    const { gateway, upstreams } = world(three(), [router({ ...rule({}), timeouts: { totalMs: 30 } })]);
    upstreams.a.fault = () => ({ hang: true });
    upstreams.b.fault = () => ({ hang: true });
    expect(await ask(gateway, prompt("m"))).toBe("upstream_timeout");
  });
});

describe("hedging", () => {
  const limits = [{ name: "t", by: "provider", tokens: 1_000_000, per: "lifetime" }] as const;
  const start = (more: object = {}) =>
    world(three(), [
      router(rule({ hedge: { afterMs: 20 }, ...more })),
      budget({ store: memoryStore(), limits: [...limits] }),
    ]);

  test.each([false, true])(
    "asks a second target while the first is silent; who begins first answers (streamed: %s)",
    async (streams) => {
      const { gateway, upstreams, log } = start();
      upstreams.a.fault = () => (streams ? { stall: true } : { hang: true });
      expect(await ask(gateway, prompt("m", { stream: streams }))).toBe("answer of b");
      await until(() => upstreams.a.calls[0]!.aborted, "the loser is stopped");
      await until(async () => (await gateway.usage()).every(({ held }) => held === 0), "the loser is settled");
      expect(
        log
          .attempts()
          .map(({ target, outcome }) => `${target} ${outcome}`)
          .sort(),
      ).toEqual(["a/x aborted", "b/x served"]);
    },
  );

  test("buys nothing twice where the first answers in time", async () => {
    const { gateway, upstreams } = start();
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
    expect(upstreams.b.calls).toHaveLength(0);
  });

  test("the first may win after all", async () => {
    const { gateway, upstreams } = start();
    upstreams.a.fault = () => ({ delayMs: 60 });
    upstreams.b.fault = () => ({ hang: true });
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
    await until(() => upstreams.b.calls[0]!.aborted, "the loser is stopped");
  });

  test("a third is asked when both fail, and one error tells of all", async () => {
    const { gateway, upstreams } = world(three(), [router(rule({ hedge: { afterMs: 10 } }, ["a/x", "b/x", "c/x"]))]);
    upstreams.a.fault = () => ({ delayMs: 40, status: 500 });
    upstreams.b.fault = () => ({ delayMs: 20, status: 503 });
    expect(await ask(gateway, prompt("m"))).toBe("answer of c");
    upstreams.c.fault = () => ({ status: 529 });
    const error = await gateway.completion(prompt("m")).catch((error) => error);
    expect(error.details.attempts.map(({ target }: { target: string }) => target).sort()).toEqual([
      "a/x",
      "b/x",
      "c/x",
    ]);
  });
});

describe("fallbacks of their own", () => {
  const tooLong: Fault = {
    status: 400,
    body: {
      error: {
        message: "maximum context length is 10 tokens",
        type: "invalid_request_error",
        code: "context_length_exceeded",
      },
    },
  };

  test("a request that is too long goes to who takes it, not to the next of the list", async () => {
    const { gateway, upstreams, log } = world(three(), [router(rule({ onContextOverflow: "c/long" }))]);
    upstreams.a.fault = () => tooLong;
    expect(await ask(gateway, prompt("m"))).toBe("answer of c");
    expect(upstreams.b.calls).toHaveLength(0);
    expect(log.requests()[0]).toMatchObject({ target: "c/long", attempts: 2 });
    upstreams.c.fault = () => tooLong;
    expect(await ask(gateway, prompt("m"))).toBe("context_length_exceeded");
  });

  const filtered: Fault = {
    status: 400,
    body: { error: { message: "no", type: "invalid_request_error", code: "content_filter" } },
  };
  test.each<[string, Fault, object]>([
    ["a filter's error", filtered, {}],
    ["a filter's error, streamed", filtered, stream],
    ["an answer that is nothing but a refusal", { finish: "content_filter", text: "" }, {}],
    ["a stream that refuses before it said anything", { finish: "content_filter", text: "" }, stream],
  ])("a refusal goes to who may answer: %s", async (_, fault, more) => {
    const { gateway, upstreams, log } = world(three(), [router(rule({ onRefusal: ["c/x"] }))]);
    upstreams.a.fault = () => fault;
    expect(await ask(gateway, prompt("m", more))).toBe("answer of c");
    expect(upstreams.b.calls).toHaveLength(0);
    if (!fault.status) expect(log.attempts()[0]).toMatchObject({ code: "content_refused", inputTokens: 10 });
    // When that one declines too, its answer is the caller's.
    upstreams.c.fault = () => ({ finish: "content_filter", text: "" });
    expect(await ask(gateway, prompt("m", more))).toBe("");
  });

  test("without such a rule a refusal is an answer, and text before it is not taken back", async () => {
    const { gateway, upstreams } = world(three(), [router(rule({}))]);
    upstreams.a.fault = () => ({ finish: "content_filter", text: "no" });
    expect(await ask(gateway, prompt("m"))).toBe("no");
    const other = world(three(), [router(rule({ onRefusal: "c/x" }))]);
    other.upstreams.a.fault = () => ({ finish: "content_filter", text: "half" });
    expect(await ask(other.gateway, prompt("m", stream))).toBe("half");
  });
});

describe("retries of the last target", () => {
  test("follow what the upstream says: when, and whether at all", async () => {
    const { gateway, upstreams } = world(three(), [router({ ...rule({}, "a/x"), retries: 2, health: false })]);
    const told = (headers: Record<string, string>, status = 503): Fault => ({ status, headers });
    upstreams.a.fault = (call) => (call === 0 ? told({ "retry-after-ms": "5" }) : {});
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
    upstreams.a.fault = () => told({ "x-should-retry": "false" });
    expect(await ask(gateway, prompt("m"))).toBe("upstream_overloaded");
    expect(upstreams.a.calls).toHaveLength(3);
    upstreams.a.fault = () => told({ "retry-after": "60" });
    expect(await ask(gateway, prompt("m"))).toBe("upstream_overloaded");
    expect(upstreams.a.calls).toHaveLength(4);
    upstreams.a.fault = (call) => (call === 4 ? told({ "x-should-retry": "true" }, 404) : {});
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
  });

  test("cannot amplify an outage: beyond the first ten they are a share of the requests", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { gateway, upstreams } = world(three(), [router({ ...rule({}, "a/x"), retries: 2, health: false })]);
    upstreams.a.fault = () => ({ status: 503 });
    let asked = 0;
    for (let i = 0; i < 50; i++) void ask(gateway, prompt("m")).then(() => asked++);
    while (asked < 50) await vi.advanceTimersByTimeAsync(1_000);
    const retries = upstreams.a.calls.length - 50;
    expect(retries).toBeGreaterThanOrEqual(10);
    expect(retries).toBeLessThanOrEqual(10 + 50 * 0.2);
  });
});

describe("health", () => {
  const at = "2026-11-22T12:00:00Z";
  const start = (options: RouterOptions = rule({})) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse(at) });
    return world(three(), [router(options)], { now: () => Date.now() });
  };
  const pass = (ms: number) => void vi.setSystemTime(Date.now() + ms);

  test("a target whose last calls failed rests, is probed by one request, and comes back", async () => {
    const { gateway, upstreams, log } = start();
    upstreams.a.fault = () => ({ status: 500 });
    for (let i = 0; i < 10; i++) expect(await ask(gateway, prompt("m"))).toBe("answer of b");
    expect(upstreams.a.calls).toHaveLength(5);
    expect(log.requests().at(-1)!.route).toMatchObject({
      excluded: [{ target: "a/x", reason: "rests: its last calls failed" }],
    });

    pass(4_000);
    expect(await ask(gateway, prompt("m"))).toBe("answer of b");
    expect(log.requests().at(-1)).toMatchObject({ attempts: 1 });

    pass(1_001);
    upstreams.a.fault = () => ({ delayMs: 20, status: 500 });
    const probes = await Promise.all([1, 2, 3].map(() => ask(gateway, prompt("m"))));
    expect(probes).toEqual(["answer of b", "answer of b", "answer of b"]);
    expect(upstreams.a.calls).toHaveLength(6);

    // The probe failed: the next rest is twice as long.
    pass(5_001);
    await ask(gateway, prompt("m"));
    expect(upstreams.a.calls).toHaveLength(6);
    pass(5_000);
    upstreams.a.fault = () => ({});
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
  });

  test("the last candidate is asked whatever its health", async () => {
    const { gateway, upstreams } = start(rule({}, "a/x"));
    upstreams.a.fault = () => ({ status: 500 });
    for (let i = 0; i < 8; i++) expect(await ask(gateway, prompt("m"))).toBe("upstream_error");
    expect(upstreams.a.calls).toHaveLength(8);
    upstreams.a.fault = () => ({});
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
  });

  test("another model of the same provider is another circuit", async () => {
    const rules = ["x", "y"].map((model) => ({ match: { model }, to: [`a/${model}`, "b/x"] }));
    const { gateway, upstreams } = start({ rules });
    upstreams.a.fault = () => ({ status: 500 });
    for (let i = 0; i < 5; i++) await ask(gateway, prompt("x"));
    upstreams.a.fault = () => ({});
    expect(await ask(gateway, prompt("x"))).toBe("answer of b");
    expect(await ask(gateway, prompt("y"))).toBe("answer of a");
  });

  test.each<[string, Fault, number]>([
    ["limited: as long as it says", { status: 429, headers: { "retry-after": "30" } }, 30_000],
    [
      "out of credit until a named day",
      {
        status: 402,
        body: {
          error: {
            message: "You have reached your usage limits. You will regain access on 2026-11-24 at 00:00 UTC.",
            type: "billing",
            code: null,
          },
        },
      },
      36 * 3_600_000,
    ],
    [
      "out of credit, without a word of when",
      {
        status: 429,
        body: {
          error: { message: "You exceeded your current quota", type: "insufficient_quota", code: "insufficient_quota" },
        },
      },
      600_000,
    ],
    ["our key is refused", { status: 401 }, 60_000],
  ])("%s", async (_, fault, restMs) => {
    const { gateway, upstreams } = start();
    upstreams.a.fault = () => fault;
    expect(await ask(gateway, prompt("m"))).toBe("answer of b");
    upstreams.a.fault = () => ({});
    pass(restMs - 1_000);
    expect(await ask(gateway, prompt("m"))).toBe("answer of b");
    pass(1_001);
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
  });

  test.each([
    "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
    "Your credit balance is too low to access the Anthropic API.",
  ])("an account that is spent is told as a bad request, and taken for what it is: %s", (message) => {
    const body = { type: "error", error: { type: "invalid_request_error", message } };
    expect(anthropicMessages.decodeError(400, body)).toMatchObject({
      code: "upstream_error",
      status: 402,
      retryable: false,
    });
  });

  test("a spent budget is not the target's fault", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse(at) });
    const spent = { name: "none", match: { provider: "a" }, concurrent: 0 };
    const { gateway, upstreams, log } = world(three(), [
      router(rule({})),
      budget({ store: memoryStore(), limits: [spent] }),
    ]);
    for (let i = 0; i < 8; i++) expect(await ask(gateway, prompt("m"))).toBe("answer of b");
    expect(upstreams.a.calls).toHaveLength(0);
    expect(log.attempts().filter(({ target }) => target === "a/x")).toHaveLength(8);
  });

  test("can be turned off", async () => {
    const { gateway, upstreams } = start({ ...rule({}), health: false });
    upstreams.a.fault = () => ({ status: 500 });
    for (let i = 0; i < 8; i++) await ask(gateway, prompt("m"));
    expect(upstreams.a.calls).toHaveLength(8);
  });
});

describe("traffic that is shifted", () => {
  test("a canary takes its percentage, sessions stay whole, and its failures fall back", async () => {
    const { gateway, upstreams } = world(three(), [router(rule({ canary: { to: "c/new", percent: 5 } }, "a/x"))]);
    for (let i = 0; i < 400; i++) await ask(gateway, prompt("m"));
    expect(upstreams.c.calls).toHaveLength(20);
    const sessions = new Map<string, Set<string>>();
    for (let i = 0; i < 600; i++) {
      const id = `s${i % 200}`;
      const text = await ask(gateway, prompt("m"), { headers: { "x-session-id": id } });
      sessions.set(id, (sessions.get(id) ?? new Set()).add(text));
    }
    expect([...sessions.values()].every((texts) => texts.size === 1)).toBe(true);
    const moved = [...sessions.values()].filter((texts) => texts.has("answer of c")).length;
    expect(moved).toBeGreaterThan(1);
    expect(moved).toBeLessThan(25);
    upstreams.c.fault = () => ({ status: 500 });
    for (let i = 0; i < 40; i++) expect(await ask(gateway, prompt("m"))).toBe("answer of a");
  });

  test.each([{}, stream])("a shadow gets a copy, never answers, and is compared in the log", async (more) => {
    const limits = [
      { name: "mine", match: { user: "ada" }, requests: 100, per: "day" },
      { name: "copies", match: { tag: "shadow" }, requests: 2, per: "day" },
    ] as const;
    const { gateway, upstreams, log } = world(three(), [
      router(rule({ shadow: { to: "c/new" } }, "a/x")),
      budget({ store: memoryStore(), limits: [...limits] }),
    ]);
    upstreams.c.fault = (call) => (call === 1 ? { status: 500 } : { delayMs: 20 });
    const notes = () => log.records.filter(({ event }) => event === "shadow");
    for (let i = 1; i <= 3; i++) {
      expect(await ask(gateway, prompt("m", more), { as: { user: "ada" } })).toBe("answer of a");
      await until(() => notes().length === i, "the comparison is noted");
    }
    expect(notes()).toMatchObject([
      { target: "c/new", ok: true, outputTokens: 5, served: { target: "a/x", ok: true, outputTokens: 5 } },
      { target: "c/new", ok: false, code: "upstream_error", served: { ok: true } },
      // A broken upstream may bill, so its copy counts; the third has no budget left.
      { target: "c/new", ok: false, code: "budget_exceeded", served: { ok: true } },
    ]);
    expect(upstreams.c.calls).toHaveLength(2);
    expect(log.requests()).toHaveLength(3);
    expect(log.requests()[0]).toMatchObject({ attempts: 1 });
    expect((await gateway.usage({ user: "ada" })).find(({ limit }) => limit === "mine")).toMatchObject({ used: 3 });
  });
});
