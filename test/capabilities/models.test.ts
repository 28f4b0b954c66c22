import { anthropic, gemini, mistral, openai, openaiCompatible } from "turnpike/providers";
import { describe, expect, test } from "vitest";
import { type ChatRequest, EFFORTS, type Effort, type Reasoning } from "../../src/core/request.ts";
import { type Case, MAX_TOKENS, PATHS, reasoningIn, send, TOOL, valueAt } from "./support.ts";

/** Facts about models as wire.md states them (§1.8, §2.5, §4.4, §5, §8.1, §8.7), not as the rows do. */

const PROVIDERS = {
  anthropic: anthropic({ apiKey: "key" }),
  gemini: gemini({ apiKey: "key" }),
  mistral: mistral({ apiKey: "key" }),
  openai: openai({ apiKey: "key" }),
  compatible: openaiCompatible({ baseURL: "http://127.0.0.1:9/v1" }),
};
type Name = keyof typeof PROVIDERS;

function at(name: Name, model: string, dialect = PROVIDERS[name].dialect): Case {
  return { provider: PROVIDERS[name], model, dialect, capabilities: PROVIDERS[name].capabilities(model, dialect.id) };
}

/** Rendered for: off, auto, then minimal, low, medium, high, xhigh, max. */
type Rendered = readonly [off: string, auto: string, ...efforts: string[]];

const NOT: Rendered = ["-", "-", "-", "-", "-", "-", "-", "-"];
const ADAPTIVE = ["low", "low", "medium", "high", "xhigh", "max"].map((effort) => `adaptive ${effort}`);
const ADAPTIVE_46 = ["low", "low", "medium", "high", "high", "max"].map((effort) => `adaptive ${effort}`);
const BUDGETS = [1024, 4096, 8192, 16_384, 24_576, 32_768].map((tokens) => `budget ${tokens}`);
const GEMINI_25 = [1024, 4096, 8192, 16_384, 24_576, 24_576].map((tokens) => `budget ${tokens}`);

/** §8.1 "Outbound rendering", by model of §1.8, §2.5, §4.4 and §5. */
const REASONING: readonly [Name, models: readonly string[], Rendered][] = [
  [
    "mistral",
    ["mistral-small-latest", "mistral-small-2603", "mistral-medium-latest", "mistral-medium-2604"],
    ["none", "-", "none", "high", "high", "high", "high", "high"],
  ],
  [
    "mistral",
    ["mistral-medium-3-5", "magistral-medium-latest", "mistral-vibe-cli-latest", "zai-glm-5-2", "labs-leanstral-2603"],
    ["none", "-", "none", "high", "high", "high", "high", "high"],
  ],
  ["mistral", ["mistral-large-4", "mistral-large-4-0"], ["low", "-", "low", "low", "medium", "high", "high", "high"]],
  [
    "mistral",
    ["zai-glm-5", "zai-glm-5-3", "zai-glm-5-3-flash", "zai-glm-latest"],
    ["low", "high", "low", "low", "high", "high", "max", "max"],
  ],
  ["mistral", ["mistral-large-latest", "mistral-large-2512", "ministral-8b-latest", "codestral-latest"], NOT],
  ["mistral", ["mistral-code-latest", "voxtral-small-latest", "devstral-small-latest", "devstral-2512"], NOT],
  // Unknown: nothing is sent.
  ["mistral", ["mistral-unheard-of"], NOT],
  ["openai", ["gpt-4.1", "gpt-4o"], NOT],
  [
    "openai",
    ["gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5-2025-08-07"],
    ["minimal", "-", "minimal", "low", "medium", "high", "high", "high"],
  ],
  ["openai", ["gpt-5.1"], ["none", "-", "low", "low", "medium", "high", "high", "high"]],
  [
    "openai",
    ["gpt-5.2", "gpt-5.3", "gpt-5.4-mini", "gpt-5.5"],
    ["none", "-", "low", "low", "medium", "high", "xhigh", "xhigh"],
  ],
  [
    "openai",
    ["gpt-5.6", "gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra"],
    ["none", "-", "low", "low", "medium", "high", "xhigh", "max"],
  ],
  ["openai", ["gpt-6-astra", "gpt-6.1-sol"], ["low", "-", "low", "low", "medium", "high", "xhigh", "max"]],
  // Always on: without `thinking`, at the lowest effort.
  [
    "anthropic",
    [
      "claude-sonnet-5-5",
      "claude-opus-5-5",
      "claude-fable-5-1",
      "claude-fable-5-2",
      "claude-fable-5",
      "claude-mythos-5",
    ],
    ["low", "adaptive", ...ADAPTIVE],
  ],
  // Unknown names are treated as the newest.
  ["anthropic", ["claude-unheard-of"], ["low", "adaptive", ...ADAPTIVE]],
  [
    "anthropic",
    ["claude-haiku-5-5", "claude-opus-5", "claude-sonnet-5", "claude-opus-4-8", "claude-opus-4-7"],
    ["disabled", "adaptive", ...ADAPTIVE],
  ],
  ["anthropic", ["claude-opus-4-6", "claude-sonnet-4-6"], ["disabled", "adaptive", ...ADAPTIVE_46]],
  ["anthropic", ["claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-1"], ["disabled", "budget 16384", ...BUDGETS]],
  [
    "anthropic",
    ["claude-opus-4-5", "claude-opus-4-5-20251101"],
    [
      "disabled",
      "budget 16384",
      ...["low", "low", "medium", "high", "high", "high"].map((effort, i) => `${BUDGETS[i]} ${effort}`),
    ],
  ],
  ["gemini", ["gemini-2.5-flash", "gemini-2.5-flash-lite"], ["budget 0", "budget -1", ...GEMINI_25]],
  ["gemini", ["gemini-2.5-pro"], ["budget 128", "budget -1", ...BUDGETS]],
  [
    "gemini",
    ["gemini-3-flash-preview", "gemini-3.6-flash", "gemini-3.7-flash-lite"],
    ["minimal", "-", "minimal", "low", "medium", "high", "high", "high"],
  ],
  [
    "gemini",
    ["gemini-3-pro-preview", "gemini-3.7-flash", "gemini-flash-latest", "gemini-pro-latest"],
    ["low", "-", "low", "low", "medium", "high", "high", "high"],
  ],
  ["gemini", ["gemini-4-hydrogen"], ["low", "-", "low", "low", "medium", "high", "xhigh", "xhigh"]],
  ["compatible", ["devstral-small"], NOT],
];

describe("reasoning", () => {
  for (const [name, models, [off, auto, ...efforts]] of REASONING) {
    const asked: [Reasoning, string][] = [
      [{ mode: "off" }, off],
      [{ mode: "auto" }, auto],
      ...EFFORTS.map((effort, i): [Reasoning, string] => [{ mode: "on", effort }, efforts[i]!]),
    ];
    test.each(models)(`${name}/%s is asked in its own words`, (model) => {
      for (const dialect of PROVIDERS[name].dialects) {
        for (const [reasoning, rendered] of asked) {
          const sent = send(at(name, model, dialect), { reasoning, maxTokens: 64_000 });
          const about = `${reasoning.mode} ${reasoning.effort ?? ""} in ${dialect.id}`;
          expect(reasoningIn(sent.body), about).toBe(rendered);
          const kept = reasoning.effort ? rendered.split(" ").includes(reasoning.effort as Effort) : true;
          const told = sent.changes.some(({ field }) => field.startsWith("reasoning"));
          if (!kept) expect(told, about).toBe(true);
        }
      }
    });
  }

  test("room is left for the answer where an effort becomes a budget, and a budget of the caller's own is kept", () => {
    const budgetOf = (reasoning: Reasoning, maxTokens: number) =>
      reasoningIn(send(at("anthropic", "claude-sonnet-4-5"), { reasoning, maxTokens }).body);
    expect(budgetOf({ mode: "on", effort: "high" }, 5000)).toBe("budget 3976");
    expect(budgetOf({ mode: "on", effort: "high" }, 2047)).toMatch(/^(-|disabled)$/);
    expect(budgetOf({ mode: "on", budget: 4500 }, 5000)).toBe("budget 4500");
    expect(budgetOf({ mode: "on", budget: 9000 }, 5000)).toBe("budget 4999");
  });
});

/** §1.8 and §2.5: when temperature is sent. */
const SAMPLING: readonly [Name, models: readonly string[], when: "never" | "off" | "always"][] = [
  [
    "anthropic",
    ["claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5", "claude-fable-5", "claude-opus-5", "claude-sonnet-5"],
    "never",
  ],
  ["anthropic", ["claude-opus-4-8", "claude-opus-4-7"], "never"],
  [
    "anthropic",
    ["claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-4-5", "claude-haiku-4-5", "claude-sonnet-4-5"],
    "off",
  ],
  ["openai", ["gpt-5", "gpt-5-mini", "gpt-6-astra", "gpt-6.1-sol", "o3"], "never"],
  ["openai", ["gpt-5.1", "gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6-sol", "gpt-6.1-terra"], "off"],
  ["openai", ["gpt-4.1", "gpt-4o"], "always"],
  ["mistral", ["mistral-medium-3-5", "mistral-large-4", "mistral-large-latest"], "always"],
  ["gemini", ["gemini-2.5-pro", "gemini-3-pro-preview"], "always"],
  ["compatible", ["devstral-small"], "always"],
];

describe("sampling", () => {
  for (const [name, models, when] of SAMPLING) {
    test.each(models)(`${name}/%s takes a temperature: ${when === "off" ? "with thinking off" : when}`, (model) => {
      for (const mode of ["off", "on"] as const) {
        const reasoning: Reasoning = mode === "off" ? { mode } : { mode, effort: "high" };
        const sent = send(at(name, model), { temperature: 0.5, reasoning, maxTokens: 60_000 });
        const taken = when === "always" || (when === "off" && mode === "off");
        expect(valueAt(sent.body, PATHS.temperature), mode).toBe(taken ? 0.5 : undefined);
        expect(sent.changes.some(({ field }) => field === "temperature")).toBe(!taken);
      }
    });
  }

  test.each<[Name, string, number]>([
    ["anthropic", "claude-sonnet-4-5", 1],
    ["openai", "gpt-4.1", 2],
    ["gemini", "gemini-2.5-flash", 2],
    ["mistral", "mistral-large-latest", 1.5],
  ])("a temperature beyond what %s/%s takes becomes %d", (name, model, most) => {
    const sent = send(at(name, model), { temperature: 2.5 });
    expect(valueAt(sent.body, PATHS.temperature)).toBe(most);
    expect(sent.changes).toContainEqual({ field: "temperature", kind: "adjusted", from: 2.5, to: most });
  });
});

/** §1.8: whether a tool can be forced. */
const FORCED: readonly [models: readonly string[], when: "yes" | "no" | "without thinking"][] = [
  [["claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-1", "claude-fable-5-2"], "no"],
  [["claude-haiku-5-5", "claude-fable-5", "claude-mythos-5", "claude-opus-5", "claude-sonnet-5"], "yes"],
  [["claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-sonnet-4-6"], "yes"],
  [["claude-opus-4-5", "claude-haiku-4-5", "claude-sonnet-4-5"], "without thinking"],
];

describe("forced tool choice", () => {
  for (const [models, when] of FORCED) {
    test.each(models)(`%s: ${when}`, (model) => {
      for (const reasoning of [{ mode: "off" }, { mode: "on", effort: "high" }] as const) {
        const asked: Partial<ChatRequest> = {
          tools: [TOOL],
          toolChoice: { type: "required" },
          reasoning,
          maxTokens: 60_000,
        };
        const sent = send(at("anthropic", model), asked);
        const taken = when === "yes" || (when === "without thinking" && reasoning.mode === "off");
        expect(valueAt(sent.body, ["tool_choice.type"])).toBe(taken ? "any" : "auto");
        expect(sent.changes.some(({ field }) => field === "tool_choice")).toBe(!taken);
      }
    });
  }
});

/** capabilities.json `max_output`, and the default where the field is required. */
test.each([
  ["claude-opus-5-5", 128_000],
  ["claude-haiku-5-5", 128_000],
  ["claude-opus-4-6", 128_000],
  ["claude-opus-4-5", 64_000],
  ["claude-haiku-4-5", 64_000],
])("%s is never asked for more than %d tokens", (model, most) => {
  const sent = send(at("anthropic", model), { maxTokens: 200_000 });
  expect(valueAt(sent.body, MAX_TOKENS)).toBe(most);
  expect(valueAt(send(at("anthropic", model), {}).body, MAX_TOKENS)).toBe(32_000);
});

/** §8.7 and §2.1: stop sequences. */
test.each<[Name, string, number]>([
  ["openai", "gpt-4.1", 4],
  ["openai", "o3", 0],
  ["openai", "o4-mini", 0],
  ["gemini", "gemini-2.5-flash", 5],
  ["mistral", "mistral-medium-3-5", 6],
])("%s/%s is sent %d of six stop sequences", (name, model, count) => {
  const stop = ["a", "b", "c", "d", "e", "f"];
  const sent = send(at(name, model), { stop });
  expect(valueAt(sent.body, PATHS.stop)).toEqual(count === 0 ? undefined : stop.slice(0, count));
  expect(sent.changes.some(({ field }) => field === "stop")).toBe(count < 6);
});
