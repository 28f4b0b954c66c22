import { describe, expect, it } from "vitest";
import { fit as adapt } from "../../src/capabilities/fit/index.ts";
import type { ChatRequest, Reasoning } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { gemini } from "../../src/providers/gemini.ts";

const provider = gemini({ apiKey: "key" });

function written(model: string, more: Partial<ChatRequest>): { body: JsonObject; changed: string[] } {
  const messages = [{ role: "user" as const, content: [{ type: "text" as const, text: "go" }] }];
  const request: ChatRequest = { model, system: [], messages, tools: [], stream: false, ...more };
  const target = { capabilities: provider.capabilities(model), dialect: "gemini", provider: "gemini" };
  const fitted = adapt(request, target);
  return {
    body: provider.dialect.encodeRequest(fitted.request, model),
    changed: fitted.changes.map(({ field }) => field),
  };
}

const thinking = (model: string, reasoning: Reasoning) =>
  (written(model, { reasoning }).body.generationConfig as JsonObject | undefined)?.thinkingConfig;

describe("the provider", () => {
  it.each<[string, Reasoning, JsonObject | undefined]>([
    ["gemini-3-pro-preview", { mode: "on", effort: "minimal" }, { thinkingLevel: "LOW", includeThoughts: true }],
    ["gemini-3-flash-preview", { mode: "on", effort: "minimal" }, { thinkingLevel: "MINIMAL", includeThoughts: true }],
    ["gemini-3.7-flash", { mode: "on", effort: "minimal" }, { thinkingLevel: "LOW", includeThoughts: true }],
    ["gemini-3.7-flash-lite", { mode: "on", effort: "minimal" }, { thinkingLevel: "MINIMAL", includeThoughts: true }],
    ["gemini-flash-latest", { mode: "on", effort: "max" }, { thinkingLevel: "HIGH", includeThoughts: true }],
    ["gemini-4-hydrogen", { mode: "on", effort: "max" }, { thinkingLevel: "XHIGH", includeThoughts: true }],
    ["models/gemini-3-pro", { mode: "on", budget: 8000 }, { thinkingLevel: "MEDIUM", includeThoughts: true }],
    ["gemini-2.5-flash", { mode: "on", effort: "low", show: false }, { thinkingBudget: 4096 }],
    ["gemini-2.5-flash", { mode: "on", budget: 99_999 }, { thinkingBudget: 24_576, includeThoughts: true }],
    ["gemini-2.5-pro", { mode: "on", budget: 99_999 }, { thinkingBudget: 32_768, includeThoughts: true }],
    ["gemini-2.5-flash", { mode: "off" }, { thinkingBudget: 0 }],
    ["gemini-2.0-flash", { mode: "on", effort: "high" }, undefined],
    ["gemma-3-27b-it", { mode: "on", effort: "high" }, undefined],
  ])("writes thinking for %s: %j", (model, reasoning, config) => {
    expect(thinking(model, reasoning)).toEqual(config);
  });

  it("says what the API does not take", () => {
    const { body, changed } = written("gemini-2.5-flash", {
      temperature: 3,
      logitBias: { a: 1 },
      presencePenalty: 1,
      stop: ["1", "2", "3", "4", "5", "6"],
      serviceTier: "auto",
    });
    expect(body.generationConfig).toEqual({ temperature: 2, stopSequences: ["1", "2", "3", "4", "5"] });
    expect(changed.sort()).toEqual(["logit_bias", "presence_penalty", "service_tier", "stop", "temperature"]);
    expect(written("gemini-3-pro", { presencePenalty: 1 }).body.generationConfig).toEqual({ presencePenalty: 1 });
  });

  it("keeps long names of tools with dots and colons", () => {
    const name = `a.b:${"c".repeat(100)}`;
    const tools = [{ type: "function" as const, name, parameters: { type: "object" } }];
    expect(written("gemini-2.5-flash", { tools }).body.tools).toMatchObject([{ functionDeclarations: [{ name }] }]);
  });

  it("excuses lost signatures from the third generation on only, and puts instructions to Gemma into the text", () => {
    const messages: ChatRequest["messages"] = [
      { role: "user", content: [{ type: "text", text: "go" }] },
      { role: "assistant", content: [{ type: "tool-call", id: "1", name: "f", arguments: "{}" }] },
      { role: "user", content: [{ type: "tool-result", id: "1", content: [{ type: "text", text: "x" }] }] },
    ];
    const marks = (model: string) => JSON.stringify(written(model, { messages }).body).includes("skip_thought");
    expect(["gemini-3-pro", "gemini-flash-latest", "gemini-10"].map(marks)).toEqual([true, true, true]);
    expect(["gemini-2.5-pro", "gemini-2.0-flash", "gemini-1.5-pro", "gemma-3-4b-it"].map(marks)).toEqual(
      Array(4).fill(false),
    );
    const system = [{ type: "text" as const, text: "be brief" }];
    expect(written("gemma-3-4b-it", { system }).body).toEqual({
      contents: [{ role: "user", parts: [{ text: "be brief" }, { text: "go" }] }],
    });
  });
});
