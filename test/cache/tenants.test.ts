import fc from "fast-check";
import { createGateway, type Identity, JsonBody, type Middleware, router, translator } from "turnpike";
import { simulated } from "turnpike/providers";
import { describe, expect, test } from "vitest";
import { type CacheOptions, cache } from "../../src/middleware/cache/index.ts";
import { tenantOf } from "../../src/middleware/cache/key.ts";
import { ask, type Json } from "./support.ts";

/** An upstream that answers each request with the secret of whoever asks. */
function canaryGateway(options: CacheOptions) {
  const upstream: Middleware = async (exchange) => ({
    status: 200,
    headers: {},
    body: new JsonBody({ value: answer(exchange.headers["x-canary"] ?? "") }),
  });
  const whoIs: Middleware = async (exchange, next) => {
    exchange.identity = JSON.parse(exchange.headers["x-who"] ?? "{}") as Identity;
    return next(exchange);
  };
  const answers = cache(options);
  const gateway = createGateway({
    providers: { simulated: simulated() },
    use: [whoIs, answers, upstream, router(), translator()],
  });
  return async (identity: Identity, canary: string, body: Json, headers: Record<string, string> = {}) => {
    const reply: Json = await gateway.completion(body, {
      headers: { "x-who": JSON.stringify(identity), "x-canary": canary, ...headers },
    });
    return reply.choices[0].message.content as string;
  };
}

function answer(content: string) {
  return {
    ...{ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "m" },
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  };
}

const name = fc.constantFrom("a", "b", "ab", "", "a|b", '","user":"a', "gateway", "null");
const identity: fc.Arbitrary<Identity> = fc.record(
  { key: name, user: name, team: name, tags: fc.array(name, { maxLength: 2 }) },
  { requiredKeys: [] },
);

/** Who may share, by the words of the documentation. */
function shares(one: Identity, other: Identity, scope: "key" | "team" | "gateway"): boolean {
  if (scope === "gateway") return true;
  if (scope === "team" && one.team !== undefined) return one.team === other.team;
  return one.key === other.key && one.user === other.user && one.team === other.team;
}

describe("tenants", () => {
  test.each(["key", "team", "gateway"] as const)(
    "never see each other's answers, and share within: scope %s, over any callers in any order",
    async (scope) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(identity, { minLength: 2, maxLength: 8 }),
          fc.boolean(),
          async (callers, together) => {
            const call = canaryGateway({ scope });
            const calls = callers.map((who, i) => () => call(who, `canary ${i}`, ask("What is my secret?")));
            const got = together ? await Promise.all(calls.map((each) => each())) : [];
            if (!together) for (const each of calls) got.push(await each());
            for (const [i, text] of got.entries()) {
              const owner = Number(text.split(" ")[1]);
              expect(shares(callers[owner]!, callers[i]!, scope)).toBe(true);
              // … and it is the first of those who may share.
              expect(owner).toBe(callers.findIndex((caller) => shares(caller, callers[i]!, scope)));
            }
          },
        ),
        { numRuns: 200 },
      );
    },
  );

  test("callers of whom nothing is known are told apart by their credentials", async () => {
    const call = canaryGateway({});
    const secret = (headers: Record<string, string>, canary: string) => call({}, canary, ask("Secret?"), headers);
    expect(await secret({ authorization: "Bearer one" }, "1")).toBe("1");
    expect(await secret({ authorization: "Bearer two" }, "2")).toBe("2");
    expect(await secret({ "x-api-key": "Bearer one" }, "3")).toBe("3");
    expect(await secret({}, "4")).toBe("4");
    expect(await secret({ authorization: "Bearer one" }, "5")).toBe("1");
    expect(await secret({}, "6")).toBe("4");
  });

  test("who is in no team shares with nobody in a cache of teams", async () => {
    const call = canaryGateway({ scope: "team" });
    expect(await call({ user: "ada" }, "ada", ask("Secret?"))).toBe("ada");
    expect(await call({ user: "bob" }, "bob", ask("Secret?"))).toBe("bob");
  });

  test("tags and headers tell callers apart where they are configured to", async () => {
    const plain = canaryGateway({});
    const varied = canaryGateway({ vary: { tags: true, headers: ["X-Region"] } });
    for (const [call, seen] of [
      [plain, ["1", "1", "1", "1"]],
      [varied, ["1", "2", "3", "3"]],
    ] as const) {
      const one = { user: "ada", tags: ["x", "y"] };
      expect([
        await call(one, "1", ask("Secret?")),
        await call({ user: "ada", tags: ["x"] }, "2", ask("Secret?")),
        await call(one, "3", ask("Secret?"), { "x-region": "eu" }),
        await call({ user: "ada", tags: ["y", "x"] }, "4", ask("Secret?"), { "x-region": "eu" }),
      ]).toEqual(seen);
    }
  });

  test("an identity cannot be written so that it looks like another", () => {
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(identity, ({ tags: _, ...who }) => {
        const exchange = { identity: who, headers: {} } as never;
        const known = seen.get(JSON.stringify(tenantOf(exchange, "key")));
        expect(known ?? JSON.stringify(who, ["key", "user", "team"])).toBe(
          JSON.stringify(who, ["key", "user", "team"]),
        );
        seen.set(JSON.stringify(tenantOf(exchange, "key")), JSON.stringify(who, ["key", "user", "team"]));
      }),
    );
  });
});
