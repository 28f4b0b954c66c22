import {
  auth,
  budget,
  createGateway,
  defineMiddleware,
  type GatewayOptions,
  logger,
  type Middleware,
  router,
  translator,
} from "turnpike";
import { mistral, openaiCompatible, simulated } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { describe, expect, test } from "vitest";

/** What cannot work is refused when it is built, with the path and what was expected. */

const limits = [{ name: "all", tokens: 1, per: "day" as const }];
const capped = () => budget({ store: memoryStore(), limits });
const build = (use: Middleware[] | undefined, more: Partial<GatewayOptions> = {}) =>
  createGateway({ providers: { sim: simulated() }, ...(use && { use }), ...more });

describe("an order that cannot work", () => {
  test.each<[string, () => Middleware[], RegExp]>([
    [
      "budget before the router",
      () => [capped(), router(), translator()],
      /use\[0\] \(budget\) needs a target.*router\(\)/,
    ],
    ["translator before the router", () => [translator(), router()], /use\[0\] \(translator\) needs a target/],
    ["no router", () => [translator()], /translator.*needs a target/],
    ["no translator", () => [router()], /last middleware.*translator\(\)/],
    ["something after the translator", () => [router(), translator(), logger()], /last middleware.*translator\(\)/],
    [
      "a middleware of one's own that needs a target",
      () => [
        defineMiddleware({ id: "mine", needs: ["target"] }, (exchange, next) => next(exchange)),
        router(),
        translator(),
      ],
      /use\[0\] \(mine\) needs a target/,
    ],
    ["nothing", () => [], /translator\(\)/],
  ])("%s", (_, use, message) => {
    expect(() => build(use())).toThrow(message);
    expect(() => build(use())).toThrow(TypeError);
  });

  test("one that can work is taken: logger, auth, router, budget, translator; and none at all", () => {
    expect(build([logger(), auth({ lookup: () => undefined }), router(), capped(), translator()]).inFlight).toBe(0);
    expect(build(undefined).models().length).toBeGreaterThan(0);
  });
});

/** Options as somebody without types writes them. */
const loose = <T>(value: unknown) => value as T;
type Budget = Parameters<typeof budget>[0];
const limit = (more: object) =>
  budget(loose<Budget>({ store: memoryStore(), limits: [{ name: "a", tokens: 1, per: "day", ...more }] }));

describe("a wrong option names its path:", () => {
  test.each<[string, () => unknown, RegExp]>([
    ["createGateway: unknown key", () => build(undefined, loose({ middlewares: [] })), /createGateway.*middlewares/s],
    ["createGateway: no providers", () => createGateway({ providers: {} }), /providers.*empty/],
    ["createGateway: not a provider", () => createGateway({ providers: loose({ a: {} }) }), /providers\.a/],
    [
      "createGateway: a name that no target could have",
      () => createGateway({ providers: { "a/b": simulated() } }),
      /providers|a\/b/,
    ],
    ["createGateway: not a middleware", () => build([loose({ id: "x" })]), /use\[0\]/],
    ["router: unknown key", () => router(loose({ rule: [] })), /router.*rule/s],
    [
      "router: unknown key in match",
      () => router(loose({ rules: [{ match: { modell: "x" }, to: "sim/x" }] })),
      /modell.*rules\[0\]\.match/s,
    ],
    [
      "router: target without a model",
      () => router({ rules: [{ match: {}, to: ["sim/x", "sim"] }] }),
      /router\.rules\[0\]\.to\[1\].*provider\/model/,
    ],
    [
      "router: unknown provider",
      () =>
        build([
          router({
            rules: [
              { match: {}, to: "sim/x" },
              { match: {}, to: ["sim/x", "gone/x"] },
            ],
          }),
          translator(),
        ]),
      /router\.rules\[1\]\.to\[1\].*"gone".*known: sim/,
    ],
    ["router: empty list", () => router({ rules: [{ match: {}, to: [] }] }), /rules\[0\]\.to/],
    ["router: retries", () => router({ retries: -1 }), /retries/],
    ["budget: unknown key", () => budget(loose({ store: memoryStore(), limits, budgets: [] })), /budgets/],
    ["budget: no store", () => budget(loose({ limits })), /store/],
    [
      "budget: a store that is an address",
      () => budget(loose({ limits, store: "sqlite:x.db" })),
      /store.*BudgetStore|BudgetStore.*store/s,
    ],
    ["budget: limit without a unit", () => limit({ tokens: undefined }), /a limit needs a unit.*limits\[0\]/s],
    ["budget: unknown key in a limit", () => limit({ token: 5 }), /token.*limits\[0\]/s],
    ["budget: negative", () => limit({ tokens: -1 }), /limits\[0\]\.tokens/],
    ["budget: fraction of a token", () => limit({ tokens: 1.5 }), /limits\[0\]\.tokens/],
    ["budget: no window", () => limit({ per: undefined }), /per/],
    ["budget: unknown window", () => limit({ per: "fortnight" }), /limits\[0\]\.per/],
    ["budget: unknown scope", () => limit({ by: "planet" }), /limits\[0\]\.by/],
    [
      "budget: unknown time zone",
      () => limit({ timeZone: "Europe/Atlantis" }),
      /(limits|"a").*timeZone.*Europe\/Atlantis|timeZone.*Europe\/Atlantis/s,
    ],
    [
      "budget: a name that stands twice",
      () => budget({ store: memoryStore(), limits: [...limits, ...limits] }),
      /two limits.*"all"/,
    ],
    [
      "budget: unknown provider",
      () =>
        build([
          router(),
          budget({ store: memoryStore(), limits: [{ ...limits[0]!, match: { provider: "gone" } }] }),
          translator(),
        ]),
      /"all".*match\.provider.*"gone".*known: sim/,
    ],
    ["budget: more money than can be counted", () => limit({ usd: 1e9 }), /limits\[0\]\.usd/],
    ["auth: nothing to check against", () => auth({}), /`keys`.*`lookup`/],
    ["auth: unknown key", () => auth(loose({ key: [] })), /key/],
    ["auth: neither hash nor key", () => auth({ keys: [{ id: "a" }] }), /keys\[0\]/],
    [
      "auth: both hash and key",
      () => auth({ keys: [{ id: "a", key: "12345678", hash: `sha256:${"0".repeat(64)}` }] }),
      /keys\[0\]/,
    ],
    ["auth: a hash of another kind", () => auth({ keys: [{ id: "a", hash: "md5:123" }] }), /keys\[0\]\.hash/],
    ["logger: unknown key", () => logger(loose({ level: "debug" })), /level/],
    ["logger: not a logger", () => logger(loose({ to: {} })), /to/],
    ["translator: unknown value", () => translator(loose({ onUnsupported: "ignore" })), /onUnsupported/],
    ["provider: unknown key", () => mistral(loose({ apiKey: "k", apikey: "k" })), /mistral.*apikey/s],
    ["provider: not an address", () => mistral({ apiKey: "k", baseURL: "localhost:8080" }), /baseURL/],
    ["provider: an address of another protocol", () => mistral({ apiKey: "k", baseURL: "file:///etc" }), /baseURL/],
    ["provider: no address", () => openaiCompatible(), /baseURL is required/],
    [
      "provider: unknown operation",
      () => mistral(loose({ apiKey: "k", operations: ["chat", "embed"] })),
      /operations\[1\]/,
    ],
    ["provider: a price below zero", () => mistral({ apiKey: "k", price: { input: -1, output: 1 } }), /price/],
  ])("%s", (_, make, message) => {
    expect(make).toThrow(message);
  });
});
