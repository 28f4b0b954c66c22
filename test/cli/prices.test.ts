import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { folder, turnpike } from "./support.ts";

const providers = {
  mistral: { type: "mistral", apiKey: "upstream-secret-0815" },
  llama: { type: "openai-compatible", baseURL: "http://127.0.0.1:8081/v1", price: "free" },
  own: { type: "openai-compatible", baseURL: "http://127.0.0.1:8082/v1", price: { big: { input: 1, output: 2.5 } } },
  bare: { type: "openai-compatible", baseURL: "http://127.0.0.1:8083/v1" },
};
const to = (...targets: string[]) => ({ rules: [{ match: { model: "*" }, to: targets }] });
const limit = { name: "money", usd: 5, per: "day" };

const check = (router: object, limits: object[] = [], args: string[] = []) => {
  const cwd = folder({
    "turnpike.config.json": {
      providers,
      router,
      ...(limits.length > 0 && { budget: { store: "sqlite:spent.db", limits } }),
    },
  });
  return turnpike(["prices", "check", ...args], { cwd }).ended.then((ended) => ({ ...ended, cwd }));
};

describe("turnpike prices check", () => {
  it("prints what every target costs, where that is known from, and how old the data is", async () => {
    const { code, stdout, stderr, cwd } = await check(
      to("mistral/mistral-medium-3-5", "own/big", "llama/any", "mistral/*"),
      [limit],
    );
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^mistral\/mistral-medium-3-5 +\$\d[\d.]* +\$\d[\d.]* +price data$/m);
    expect(stdout).toMatch(/^own\/big +\$1 +\$2\.5 +configured$/m);
    expect(stdout).toMatch(/^llama\/any +\$0 +\$0 +free, as configured$/m);
    expect(stdout).toMatch(/^mistral\/\* +\? +\? +by the model asked for$/m);
    expect(stdout).toContain("Every target that is named has a price.");
    expect(stdout).toMatch(
      /Price data: @pydantic\/genai-prices \d+\.\d+\.\d+(; its youngest dated price for these providers is of \d{4}-\d\d-\d\d)?\.\n$/,
    );
    expect(code).toBe(0);
    expect(stdout).not.toContain("upstream-secret-0815");
    expect(existsSync(join(cwd, "spent.db"))).toBe(false);
  });

  it("exits with 1 where a limit in US dollars covers a target without a price", async () => {
    const { code, stdout } = await check(to("bare/model", "own/small"), [limit]);
    expect(code).toBe(1);
    expect(stdout).toContain(
      'Error: bare/model has no known price, so limit "money" refuses it. Set providers.bare.price ("free" where it costs nothing).',
    );
    expect(stdout).toContain("Error: own/small has no known price");
    const allowed = await check(to("bare/model"), [{ ...limit, unknownPrice: "allow" }]);
    expect([allowed.code, allowed.stdout.includes('limit "money" never counts it')]).toEqual([1, true]);
    const wild = await check(to("bare/*"), [{ ...limit, match: { model: "gpt-*" } }]);
    expect([wild.code, wild.stdout.includes("Error: bare/* has no known price")]).toEqual([1, true]);
  });

  it.each([
    ["no limit", []],
    ["a limit in tokens", [{ name: "t", tokens: 5, per: "day" }]],
    ["a limit on another provider", [{ ...limit, match: { provider: "mistral" } }]],
    ["a limit on other models", [{ ...limit, match: { model: "gpt-*" } }]],
  ])("only warns with %s", async (_what, limits) => {
    const { code, stdout } = await check(to("bare/model"), limits);
    expect(stdout).toContain("Warning: bare/model has no known price; no limit in US dollars covers it.");
    expect(code).toBe(0);
  });

  it("warns of names that move, unless their price is configured", async () => {
    const { code, stdout } = await check(to("mistral/mistral-large-latest", "llama/any-latest"), [limit]);
    expect(stdout).toContain("Warning: mistral/mistral-large-latest is a name that its provider moves to newer models");
    expect(stdout).not.toContain("Warning: llama");
    expect(code).toBe(0);
  });

  it("checks a program's targets, with any of its limits in US dollars for all of them", async () => {
    const src = (path: string) => new URL(`../../src/${path}`, import.meta.url).href;
    const program = (limits: string) => `
      import { budget, router, translator } from "${src("index.ts")}";
      import { openaiCompatible } from "${src("providers/index.ts")}";
      import { memoryStore } from "${src("stores/memory.ts")}";
      export default {
        providers: { bare: openaiCompatible({ baseURL: "http://127.0.0.1:8083/v1" }) },
        use: [
          router({ rules: [{ match: { model: "*" }, to: "bare/model" }] }),
          budget({ store: memoryStore(), limits: ${limits} }),
          translator(),
        ],
      };`;
    const run = (limits: string) =>
      turnpike(["prices", "check"], { cwd: folder({ "turnpike.config.ts": program(limits) }) }).ended;
    const dollars = await run('[{ name: "money", usd: 1, per: "day" }]');
    expect(dollars.stdout).toContain('Error: bare/model has no known price, so limit "money" refuses it.');
    expect(dollars.code).toBe(1);
    const tokens = await run('[{ name: "t", tokens: 1, per: "day" }]');
    expect([tokens.code, tokens.stderr]).toEqual([0, ""]);
    expect(tokens.stdout).toContain("Warning: bare/model has no known price");
  });

  it("knows the embedded defaults, and names a file that is not there", async () => {
    const { code, stdout } = await turnpike(["prices", "check"]).ended;
    expect(stdout).toMatch(/^simulated\/demo +\$0 +\$0 /m);
    expect(code).toBe(0);
    const missing = await turnpike(["prices", "check", "--config", "nowhere.json"]).ended;
    expect([missing.code, missing.stderr]).toEqual([1, "turnpike: nowhere.json: no such file\n"]);
    const odd = await turnpike(["prices"]).ended;
    expect([odd.code, odd.stderr]).toEqual([
      2,
      "turnpike: prices can check, and nothing else (turnpike --help tells more)\n",
    ]);
  });
});
