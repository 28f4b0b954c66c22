// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to the environment have this form
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { folder, turnpike } from "./support.ts";

const good = {
  providers: {
    mistral: { type: "mistral", apiKey: "${MY_KEY}" },
    llama: { type: "openai-compatible", baseURL: "http://127.0.0.1:8081/v1", price: "free" },
  },
  router: {
    rules: [{ match: { model: "claude-*", team: "web" }, to: ["mistral/devstral-2512", "llama/devstral-small"] }],
  },
  budget: {
    store: "sqlite:spent.db",
    limits: [{ name: "daily", match: { provider: "mistral" }, tokens: 100_000, per: "day", timeZone: "Europe/Paris" }],
  },
};

const check = (config: unknown, env: Record<string, string> = { MY_KEY: "upstream-secret-0815" }) =>
  turnpike(["check"], { cwd: folder({ "turnpike.config.json": config }), env }).ended;

describe("turnpike check", () => {
  it("prints where requests go, under which law, with limits and retired models", async () => {
    const { code, stdout, stderr } = await check(good);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /claude-\*, team web +mistral\/devstral-2512 \[EU\], then llama\/devstral-small \[jurisdiction not declared\]/,
    );
    expect(stdout).toContain("Limit daily: 100,000 tokens per day (Europe/Paris) for provider mistral");
    expect(stdout).toContain("mistral/devstral-2512 was retired on 2026-07-31; mistral-medium-3-5 answers instead");
    expect(stdout).not.toContain("upstream-secret-0815");
  });

  it("leaves no budget file behind", async () => {
    const cwd = folder({ "turnpike.config.json": good });
    await turnpike(["check"], { cwd, env: { MY_KEY: "upstream-secret-0815" } }).ended;
    expect(existsSync(join(cwd, "spent.db"))).toBe(false);
  });

  it("warns of several workers with a budget in memory, which the start refuses", async () => {
    const limits = [{ name: "a", requests: 1, per: "day" }];
    const { code, stdout } = await check({ ...good, server: { workers: 2 }, budget: { store: "memory", limits } });
    expect(code).toBe(0);
    expect(stdout).toContain("Warning: 2 workers are refused at the start with a budget in memory.\n");
  });

  it("checks the embedded defaults where there is no file", async () => {
    const { code, stdout } = await turnpike(["check"]).ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/claude-\* +simulated\/demo \[local\]/);
  });

  it.each([
    ["an unknown key", { ...good, routr: {} }, /\(top level\): Unrecognized key: "routr"; known are .*router/],
    [
      "a rule to nobody",
      { ...good, router: { rules: [{ match: { model: "x" }, to: "nobody/x" }] } },
      /router\.rules\[0\]\.to\[0\]: unknown provider "nobody"; known: mistral, llama/,
    ],
    [
      "a limit without a unit",
      { ...good, budget: { store: "memory", limits: [{ name: "a", per: "day" }] } },
      /budget\.limits\[0\]: a limit needs a unit/,
    ],
    [
      "a limit on nobody",
      {
        ...good,
        budget: { store: "memory", limits: [{ name: "a", per: "day", tokens: 1, match: { provider: "nobody" } }] },
      },
      /unknown provider "nobody"/,
    ],
  ])("exits with 1 and the path for %s", async (_what, config, expected) => {
    const { code, stderr } = await check(config);
    expect(stderr).toMatch(expected);
    expect(stderr).toMatch(/^turnpike: turnpike\.config\.json: /);
    expect(code).toBe(1);
  });

  it("names the variable that is missing", async () => {
    const { code, stderr } = await check(good, {});
    expect(code).toBe(1);
    expect(stderr).toBe(
      "turnpike: turnpike.config.json: providers.mistral.apiKey: the environment variable MY_KEY is not set\n",
    );
  });

  it("points at what is not JSON without quoting the text around it", async () => {
    const { code, stderr } = await check(
      '{\n  "providers": {\n    "m": { "type": "mistral", "apiKey": my-secret-key }\n  }\n}',
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/not valid JSON, line 3, column \d+\n$/);
    expect(stderr).not.toContain("secret");
  });
});
