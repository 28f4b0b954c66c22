// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to the environment have this form
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { type BudgetStore, createGateway } from "turnpike";
import { memoryStore } from "turnpike/stores/memory";
import { describe, expect, it } from "vitest";
import { configJsonSchema, gatewayFromConfig, optionsFromConfig, parseConfig } from "../../src/gateway/config.ts";

const demo = { providers: { demo: { type: "simulated" } } };

/** The mistakes of a configuration, one per line. */
function mistakes(config: unknown, environment: Record<string, string> = {}): string[] {
  try {
    parseConfig(config, environment);
  } catch (error) {
    return (error as Error).message.split("\n");
  }
  return [];
}

describe("a configuration file", () => {
  it("needs no more than one provider", async () => {
    const { gateway, server } = await gatewayFromConfig(demo);
    expect(server).toEqual({ host: "127.0.0.1", port: 8080, workers: 1 });
    const answer = await gateway.completion({ model: "demo/demo", messages: [{ role: "user", content: "hello" }] });
    expect(answer.choices).toMatchObject([{ message: { role: "assistant" } }]);
    await gateway.close();
  });

  it("puts the middleware in the standard order", async () => {
    const config = parseConfig({
      ...demo,
      budget: { store: "memory", limits: [{ name: "all", requests: 1, per: "day" }] },
      auth: { keys: [{ id: "a", key: "callers-key" }] },
      cache: { store: "memory" },
    });
    const { use } = await optionsFromConfig(config);
    expect(use?.map((middleware) => middleware.id)).toEqual([
      "logger",
      "auth",
      "cache",
      "router",
      "budget",
      "translator",
    ]);
  });

  it("can do without the log", async () => {
    const { use } = await optionsFromConfig(parseConfig({ ...demo, logger: false }));
    expect(use?.map((middleware) => middleware.id)).toEqual(["router", "translator"]);
  });

  it("enforces its limits", async () => {
    const { gateway } = await gatewayFromConfig({
      ...demo,
      logger: false,
      budget: { store: "memory", limits: [{ name: "once", requests: 1, per: "day" }] },
    });
    const ask = () => gateway.completion({ model: "demo/demo", messages: [{ role: "user", content: "hello" }] });
    await ask();
    await expect(ask()).rejects.toMatchObject({ code: "budget_exceeded" });
    await gateway.close();
  });

  it("names the path of every mistake, and what was expected", () => {
    expect(
      mistakes({
        server: { prot: 1 },
        providers: {
          m: { type: "mistrl" },
          l: { type: "openai-compatible" },
          s: { type: "simulated", key: "x" },
          "a b": { type: "simulated" },
        },
        auth: { keys: [{ id: "a" }] },
        router: { rules: [{ match: { modl: "x" }, to: 3 }] },
        budget: { store: "redis", limits: [{ name: "x", per: "day" }] },
        translator: { onUnsupported: "ignore" },
        cashe: {},
      }),
    ).toMatchInlineSnapshot(`
      [
        "server: Unrecognized key: "prot"; known are host, port, workers",
        "providers.m.type: Invalid discriminator value. Expected 'anthropic' | 'gemini' | 'mistral' | 'openai' | 'openai-compatible' | 'simulated'",
        "providers.l.baseURL: expected the server's address, for example http://127.0.0.1:8081/v1",
        "providers.s: Unrecognized key: "key"; known are apiKey, apiKeys, baseURL, headers, operations, jurisdiction, region, price, timeouts, pool, countsTokens, capture, models, capabilities, type",
        "providers["a b"]: Invalid key in record; expected a name of letters, digits, dot, dash and underscore",
        "auth.keys[0]: a key needs either \`hash\` or \`key\`",
        "router.rules[0].match: Unrecognized key: "modl"; known are model, key, user, team, tag, operation, dialect, headers, inputTokens, needs, time, budget",
        "router.rules[0].to: Invalid input; expected: \`provider/model\`, an alias, a group, or an ordered list of them; \`provider/*\` keeps the model's name.",
        "budget.limits[0]: a limit needs a unit: one of tokens, inputTokens, outputTokens, requests, usd, concurrent",
        "budget.store: expected "memory", "sqlite:FILE", "redis://HOST" or "postgres://HOST/DATABASE"",
        "translator.onUnsupported: Invalid option: expected one of "fit"|"reject"",
        "(top level): Unrecognized key: "cashe"; known are $schema, server, providers, logger, auth, cache, router, residency, budget, translator, timeoutMs",
      ]
    `);
  });

  it("fails for a limit in a time zone that does not exist", async () => {
    const config = {
      ...demo,
      budget: { store: "memory", limits: [{ name: "x", tokens: 1, per: "day", timeZone: "Mars/Olympus" }] },
    };
    await expect(gatewayFromConfig(config)).rejects.toThrow(/^budget: .*Mars\/Olympus/);
  });

  it("fails for a provider that has no key, with its path", async () => {
    const before = process.env.MISTRAL_API_KEY;
    delete process.env.MISTRAL_API_KEY;
    try {
      await expect(gatewayFromConfig({ providers: { eu: { type: "mistral" } } })).rejects.toThrow(
        /^providers\.eu: .*MISTRAL_API_KEY/,
      );
    } finally {
      if (before !== undefined) process.env.MISTRAL_API_KEY = before;
    }
  });
});

describe("references to the environment", () => {
  const keyed = (apiKey: string) => ({ providers: { m: { type: "mistral", apiKey } } });

  it("are filled in anywhere in a string", () => {
    const { providers, budget } = parseConfig(
      { ...keyed("${KEY}"), budget: { store: "sqlite:${DIR}/b.db", limits: [] } },
      { KEY: "secret", DIR: "/data" },
    );
    expect(providers.m?.apiKey).toBe("secret");
    expect(budget?.store).toBe("sqlite:/data/b.db");
  });

  it("are not filled in twice, and $${ stands for itself", () => {
    expect(parseConfig(keyed("${KEY}"), { KEY: "a${OTHER}" }).providers.m?.apiKey).toBe("a${OTHER}");
    expect(parseConfig(keyed("$${KEY}"), { KEY: "secret" }).providers.m?.apiKey).toBe("${KEY}");
  });

  it("name path and variable when it is missing or empty", () => {
    expect(mistakes(keyed("${KEY}"))).toEqual(["providers.m.apiKey: the environment variable KEY is not set"]);
    expect(mistakes(keyed("${KEY}"), { KEY: "" })).toEqual([
      "providers.m.apiKey: the environment variable KEY is not set",
    ]);
    expect(mistakes(keyed("${a-b}"))).toEqual([
      "providers.m.apiKey: ${…} must hold the name of an environment variable",
    ]);
  });

  it("never show their values in an error", () => {
    const secret = "a-very-secret-value";
    const all = { type: "${S}", apiKey: "${S}", baseURL: "${S}", jurisdiction: 3, price: "${S}" };
    const lines = mistakes(
      {
        server: { host: "${S}", port: "${S}" },
        providers: { a: all, b: { ...all, type: "mistral" } },
        auth: { keys: [{ id: "${S}", hash: "${S}" }] },
        budget: { store: "${S}", limits: [{ name: "${S}", per: "${S}" }] },
      },
      { S: secret },
    );
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.join()).not.toContain(secret);
  });
});

describe("several workers", () => {
  const asked = { model: "demo/demo", messages: [{ role: "user", content: "hello" }] };

  it("are one for each core when that is left to the machine", () => {
    expect(parseConfig({ ...demo, server: { workers: "auto" } }).server.workers).toBe(availableParallelism());
    expect(mistakes({ ...demo, server: { workers: 0 } })).toHaveLength(1);
  });

  it.each([
    ["the workers", {}, 2],
    ["as many processes as the budget names", { processes: 8 }, 1],
  ])("share what may be spent while the store is away among %s", async (_, budget, passed) => {
    const store: BudgetStore = { ...memoryStore(), reserve: () => Promise.reject(new Error("away")) };
    const config = parseConfig({
      ...demo,
      server: { workers: 4 },
      logger: false,
      budget: {
        store: "memory",
        limits: [{ name: "all", requests: 8, per: "day", onStoreError: "local" }],
        ...budget,
      },
    });
    const gateway = createGateway(await optionsFromConfig(config, { store }));
    for (let i = 0; i < passed; i++) await gateway.completion(asked);
    await expect(gateway.completion(asked)).rejects.toMatchObject({ code: "budget_exceeded" });
    await gateway.close();
  });
});

describe("the published JSON Schema", () => {
  it("knows every section and describes providers by type", () => {
    const types = ["anthropic", "gemini", "mistral", "openai", "openai-compatible", "simulated"];
    const schema = configJsonSchema();
    expect(Object.keys(schema.properties as object).sort()).toEqual(
      [
        "$schema",
        "server",
        "providers",
        "logger",
        "auth",
        "cache",
        "router",
        "residency",
        "budget",
        "translator",
        "timeoutMs",
      ].sort(),
    );
    expect(schema).toMatchObject({
      required: ["providers"],
      additionalProperties: false,
      properties: {
        providers: {
          additionalProperties: { oneOf: types.map((type) => ({ properties: { type: { const: type } } })) },
        },
      },
    });
  });

  it("allows a reference to the environment where a form is asked for", () => {
    const reference = { type: "string", pattern: "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}" };
    expect("${MY_HASH}").toMatch(new RegExp(reference.pattern));
    expect(configJsonSchema()).toMatchObject({
      properties: {
        auth: { properties: { keys: { items: { properties: { hash: { anyOf: [{ type: "string" }, reference] } } } } } },
      },
    });
  });
});

describe("examples/turnpike.config.json", () => {
  it("is valid", async () => {
    const example = JSON.parse(readFileSync(new URL("../../examples/turnpike.config.json", import.meta.url), "utf8"));
    const { router, budget } = parseConfig(example, { MISTRAL_API_KEY: "x" });
    expect(router.rules[0]?.to).toEqual(["mistral/mistral-medium-3-5", "llama/devstral-small"]);
    expect(budget?.limits[0]).toMatchObject({ tokens: 100_000, timeZone: "Europe/Paris" });
  });
});
