import { type RouterOptions, router } from "turnpike";
import { describe, expect, test } from "vitest";
import type { Exchange } from "../../src/core/exchange.ts";
import type { Target } from "../../src/core/provider.ts";
import { orderBy } from "../../src/middleware/router/strategies.ts";
import { Traffic } from "../../src/middleware/router/traffic.ts";
import { ask, prompt, upstream, world } from "./world.ts";

/** Requests of a world of which everything is known: who is slow, who is dear, who is asked. */
function simulated(names: readonly string[]) {
  const traffic = new Traffic();
  const members = names.map((name, place) => {
    const target = { providerName: name, model: "m", name: `${name}/m` } as unknown as Target;
    return { place, target, weight: 1 };
  });
  const exchange = { operation: "chat", body: { stream: true } } as unknown as Exchange;
  /** Begins a request there; ends it when called. */
  const begin = (target: Target) => {
    let end: (outcome: { ok: boolean; firstTokenMs: number; totalMs: number }) => void = () => {};
    const onFinish = (listener: typeof end) => {
      end = listener;
    };
    traffic.watch({ ...exchange, target, onFinish } as never);
    return (firstTokenMs: number) => end({ ok: true, firstTokenMs, totalMs: firstTokenMs });
  };
  const now = (price: (target: Target) => number | null = () => null) => ({ exchange, traffic, price, peek: false });
  return { members, begin, now };
}

/** Repeatable chance. */
function randomFrom(seed: number) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const N = 100_000;

describe("over 100,000 decisions", () => {
  test.each<["weighted" | "round-robin" | "least-busy", number[]]>([
    ["weighted", [1, 1]],
    ["weighted", [70, 20, 9, 1]],
    ["weighted", [0.5, 0.25, 0.25]],
    ["round-robin", [1, 1, 1]],
    ["least-busy", [1, 1, 1]],
  ])("%s %j is within 2 %% of its weights, also while members come and go", (strategy, weights) => {
    const { members, now } = simulated(weights.map((_, index) => `p${index}`));
    const weighted = members.map((member, index) => ({ ...member, weight: weights[index]! }));
    const order = orderBy(strategy);
    const count = (present: typeof weighted, decisions: number) => {
      const seen = new Map(present.map(({ place }) => [place, 0]));
      for (let i = 0; i < decisions; i++) {
        const { place } = order(present, now())[0]!;
        seen.set(place, seen.get(place)! + 1);
      }
      const total = present.reduce((sum, { weight }) => sum + weight, 0);
      for (const { place, weight } of present) {
        const share = (decisions * weight) / total;
        expect(Math.abs(seen.get(place)! - share) / share).toBeLessThan(0.02);
      }
    };
    count(weighted, N);
    count(weighted.slice(1), N);
    count(weighted, N);
  });

  test("a rehearsal moves nothing", () => {
    const { members, now } = simulated(["a", "b", "c"]);
    const order = orderBy("round-robin");
    const rehearsed = () => order(members, { ...now(), peek: true })[0]!.place;
    for (let i = 0; i < 10; i++) {
      const expected = rehearsed();
      expect(rehearsed()).toBe(expected);
      expect(order(members, now())[0]!.place).toBe(expected);
    }
  });

  test("cheapest takes the lowest price of every single request, and an unknown price last", () => {
    const { members, now } = simulated(["a", "b", "c", "d"]);
    const order = orderBy("cheapest");
    const random = randomFrom(7);
    for (let i = 0; i < N; i++) {
      const prices = members.map(() => (random() < 0.1 ? null : Math.floor(random() * 50)));
      const ordered = order(
        members,
        now(({ providerName }) => prices["abcd".indexOf(providerName)]!),
      );
      const told = ordered.map(({ place }) => prices[place] ?? Number.POSITIVE_INFINITY);
      if (told.some((price, index) => index > 0 && price < told[index - 1]!)) expect(told).toEqual([]);
    }
  });

  test("fastest finds the fastest, keeps to it, and finds the next one when the world changes", () => {
    const { members, begin, now } = simulated(["a", "b", "c"]);
    const order = orderBy("fastest");
    const random = randomFrom(11);
    const share = (truth: readonly number[]) => {
      let best = 0;
      for (let i = 0; i < 20_000; i++) {
        const { place, target } = order(members, now())[0]!;
        begin(target)(truth[place]! * (0.5 + random()));
        if (truth[place] === Math.min(...truth)) best++;
      }
      return best / 20_000;
    };
    expect(share([300, 100, 900])).toBeGreaterThan(0.93);
    expect(share([300, 2_000, 900])).toBeGreaterThan(0.9);
    expect(share([300, 2_000, 50])).toBeGreaterThan(0.9);
  });

  test("least-busy keeps what runs in proportion to the weights, though some answers take long", () => {
    const { members, begin, now } = simulated(["slow", "quick", "large"]);
    const weighted = members.map((member) => ({ ...member, weight: member.place === 2 ? 2 : 1 }));
    const order = orderBy("least-busy");
    const running: { ends: number; end: (ms: number) => void; place: number }[] = [];
    let most = 0;
    for (let time = 0; time < 5_000; time++) {
      for (const each of running.filter(({ ends }) => ends <= time)) each.end(1);
      running.splice(0, running.length, ...running.filter(({ ends }) => ends > time));
      const { place, target } = order(weighted, now())[0]!;
      running.push({ place, end: begin(target), ends: time + (place === 0 ? 40 : 10) });
      const load = weighted.map(
        (member) => running.filter((each) => each.place === member.place).length / member.weight,
      );
      most = Math.max(most, Math.max(...load) - Math.min(...load));
    }
    expect(most).toBeLessThanOrEqual(1);
  });
});

const group = (strategy: string, targets: unknown[], more: object = {}): RouterOptions =>
  ({ retries: 0, rules: [{ match: {}, to: { strategy, targets, ...more } }] }) as RouterOptions;

describe("a group", () => {
  const three = () => ({ a: upstream("a"), b: upstream("b"), c: upstream("c") });
  const ALL = ["a/x", "b/x", "c/x"];
  const image = {
    messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }] }],
  };
  const blind = { capabilities: [{ match: /^/, images: false, contextTokens: 1_000 }] };

  test("hands a request on when its first choice fails, and the answer's log says who was to come next", async () => {
    const { gateway, upstreams, log } = world(three(), [router(group("round-robin", ALL))]);
    upstreams.a.fault = () => ({ status: 503 });
    expect(await ask(gateway, prompt("m"))).toBe("answer of b");
    expect(log.requests()[0]).toMatchObject({ attempts: 2, route: { rule: "rules[0]", candidates: ALL } });
  });

  test("leaves out who cannot do what the request asks for, and says why", async () => {
    const upstreams = { a: upstream("a", blind), b: upstream("b") };
    const { gateway, log } = world(upstreams, [router(group("order", ["a/x", "b/x"]))]);
    expect(await ask(gateway, prompt("m", image))).toBe("answer of b");
    expect(await ask(gateway, prompt("m", { user: "x".repeat(5_000) }))).toBe("answer of b");
    expect(await ask(gateway, prompt("m"))).toBe("answer of a");
    expect(log.requests().map(({ route }) => (route as { excluded?: unknown[] }).excluded)).toEqual([
      [{ target: "a/x", reason: "it has no images" }],
      [{ target: "a/x", reason: expect.stringMatching(/about \d+ tokens, it takes 1000/) }],
      undefined,
    ]);
  });

  test("keeps them where nobody can: the fit does its best", async () => {
    const upstreams = { a: upstream("a", blind), b: upstream("b", blind) };
    const { gateway } = world(upstreams, [router(group("order", ["a/x", "b/x"]))]);
    expect(await ask(gateway, prompt("m", image))).toBe("answer of a");
  });

  test("may stand in a list, before and after others", async () => {
    const { gateway, upstreams } = world(three(), [
      router({
        retries: 0,
        rules: [{ match: {}, to: ["a/x", { strategy: "weighted", targets: ["b/x", { target: "c/x", weight: 3 }] }] }],
      }),
    ]);
    upstreams.a.fault = () => ({ status: 500 });
    const seen = { "answer of b": 0, "answer of c": 0 } as Record<string, number>;
    for (let i = 0; i < 8; i++) seen[await ask(gateway, prompt("m"))]!++;
    expect(seen).toEqual({ "answer of b": 2, "answer of c": 6 });
  });

  test("cheapest knows the price of this request: one is cheap to read, the other to write", async () => {
    const upstreams = {
      reader: upstream("reader", { price: { input: 0.1, output: 10 } }),
      writer: upstream("writer", { price: { input: 1, output: 1 } }),
    };
    const { gateway } = world(upstreams, [router(group("cheapest", ["reader/x", "writer/x"]))]);
    expect(await ask(gateway, prompt("m", { user: "x".repeat(80_000) }))).toBe("answer of reader");
    expect(await ask(gateway, prompt("m"))).toBe("answer of writer");
    expect(await ask(gateway, prompt("m", { max_tokens: 1 }))).toBe("answer of reader");
  });
});

describe("a session", () => {
  const two = () => ({ a: upstream("a"), b: upstream("b") });
  const rules = group("round-robin", ["a/x", "b/x"], { sticky: { ttlMs: 60_000 } });
  const session = (id: string, as: object = {}) => ({ headers: { "x-claude-code-session-id": id }, as });

  test("stays with who answered it, by its header or its cache key", async () => {
    const { gateway } = world(two(), [router(rules)]);
    const first = await ask(gateway, prompt("m"), session("s1"));
    const other = await ask(gateway, prompt("m", { prompt_cache_key: "s2" }));
    expect(other).not.toBe(first);
    for (let i = 0; i < 5; i++) {
      expect(await ask(gateway, prompt("m"), session("s1"))).toBe(first);
      expect(await ask(gateway, prompt("m", { prompt_cache_key: "s2" }))).toBe(other);
    }
  });

  test("is the key's own: nobody steers another's", async () => {
    const { gateway } = world(two(), [router(rules)]);
    const mine = await ask(gateway, prompt("m"), session("s", { key: "k1" }));
    expect(await ask(gateway, prompt("m"), session("s", { key: "k2" }))).not.toBe(mine);
    expect(await ask(gateway, prompt("m"), session("s", { key: "k1" }))).toBe(mine);
  });

  test("moves when its target fails, and stays where it went", async () => {
    const { gateway, upstreams } = world(two(), [router(rules)]);
    expect(await ask(gateway, prompt("m"), session("s"))).toBe("answer of a");
    upstreams.a.fault = () => ({ status: 503 });
    expect(await ask(gateway, prompt("m"), session("s"))).toBe("answer of b");
    upstreams.a.fault = () => ({});
    for (let i = 0; i < 4; i++) expect(await ask(gateway, prompt("m"), session("s"))).toBe("answer of b");
  });

  test("is forgotten when it is silent", async () => {
    const { gateway } = world(two(), [router(group("round-robin", ["a/x", "b/x"], { sticky: { ttlMs: 30 } }))]);
    expect(await ask(gateway, prompt("m"), session("s"))).toBe("answer of a");
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await ask(gateway, prompt("m"), session("s"))).toBe("answer of b");
  });

  test("can be left to the strategy", async () => {
    const { gateway } = world(two(), [router(group("round-robin", ["a/x", "b/x"], { sticky: false }))]);
    expect(await ask(gateway, prompt("m"), session("s"))).toBe("answer of a");
    expect(await ask(gateway, prompt("m"), session("s"))).toBe("answer of b");
  });
});
