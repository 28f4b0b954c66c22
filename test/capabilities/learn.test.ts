import { describe, expect, test } from "vitest";
import { applyLessons, lessonBook } from "../../src/capabilities/learn/lessons.ts";
import { readRefusal } from "../../src/capabilities/learn/refusal.ts";
import type { Change } from "../../src/core/request.ts";

const read = (message: string, sent: object, param?: string, answer: unknown = {}) =>
  readRefusal(answer, message, param, sent as never);

describe("what a refusal teaches", () => {
  test.each([
    [
      "OpenAI's param",
      "Unsupported parameter: 'seed' is not supported with this model.",
      { seed: 1 },
      "seed",
      { path: "seed", drop: true },
    ],
    [
      "OpenAI's other name",
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
      { max_tokens: 9 },
      "max_tokens",
      { path: "max_tokens", rename: "max_completion_tokens" },
    ],
    [
      "OpenAI's list of values",
      "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values are: 'low', 'medium', and 'high'.",
      { reasoning_effort: "minimal" },
      "reasoning_effort",
      { path: "reasoning_effort", accepted: ["low", "medium", "high"] },
    ],
    [
      "OpenAI's nested param",
      "Unsupported parameter: 'reasoning.summary' is not supported with this model.",
      { reasoning: { effort: "low", summary: "auto" } },
      "reasoning.summary",
      { path: "reasoning.summary", drop: true },
    ],
    [
      "Anthropic's path before the message",
      "messages.1.content.0.cache_control.scope: Extra inputs are not permitted",
      { messages: [{}, { content: [{ text: "x", cache_control: { type: "ephemeral", scope: "global" } }] }] },
      undefined,
      { path: "messages.*.content.*.cache_control.scope", drop: true },
    ],
    [
      "Anthropic's bound",
      "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for claude-x",
      { max_tokens: 128000 },
      undefined,
      { path: "max_tokens", max: 64000 },
    ],
    [
      "Anthropic's discriminator",
      "thinking.type.enabled: adaptive thinking is required for this model",
      { thinking: { type: "enabled", budget_tokens: 2000 } },
      undefined,
      { path: "thinking", drop: true },
    ],
    [
      "a deprecated field in backticks",
      "`temperature` is deprecated for this model.",
      { temperature: 0.5 },
      undefined,
      { path: "temperature", drop: true },
    ],
    [
      "Gemini's unknown name, in snake case",
      `Invalid JSON payload received. Unknown name "thinkingLevel" at 'generation_config.thinking_config': Cannot find field.`,
      { generationConfig: { thinkingConfig: { thinkingLevel: "HIGH" } } },
      undefined,
      { path: "generationConfig.thinkingConfig.thinkingLevel", drop: true },
    ],
    [
      "a bare name in the message",
      "reasoning_effort is not enabled for this model",
      { reasoning_effort: "high" },
      undefined,
      { path: "reasoning_effort", drop: true },
    ],
  ])("%s", (_, message, sent, param, lesson) => {
    expect(read(message, sent, param)).toEqual([lesson]);
  });

  test("a validator's list teaches all of it at once", () => {
    const answer = {
      object: "error",
      message: {
        detail: [
          { type: "extra_forbidden", loc: ["body", "store"], msg: "Extra inputs are not permitted" },
          {
            type: "extra_forbidden",
            loc: ["body", "messages", 0, "user", "name"],
            msg: "Extra inputs are not permitted",
          },
        ],
      },
    };
    const sent = { store: true, messages: [{ role: "user", content: "x", name: "bob" }] };
    expect(read("Extra inputs are not permitted", sent, "store", answer)).toEqual([
      { path: "store", drop: true },
      { path: "messages.*.name", drop: true },
    ]);
  });

  test.each([
    ["messages.0.content: field required", { messages: [{ content: "x" }] }, "messages.0.content"],
    [
      "Invalid schema for function 'f'",
      { tools: [{ function: { name: "f", parameters: {} } }] },
      "tools[0].function.parameters",
    ],
    ["Unknown function name", { tools: [{ function: { name: "f" } }] }, "tools.0.function.name"],
    ["response_format is not supported", { response_format: { type: "json_schema" } }, "response_format"],
    ["output_config: not supported", { output_config: { effort: "low", format: { schema: {} } } }, "output_config"],
    ["tool_choice is not supported", { tool_choice: "required" }, "tool_choice"],
    ["max_tokens is not supported", { max_tokens: 5 }, "max_tokens"],
    ["The model does not exist", { model: "x" }, "model"],
    ["Something is wrong", { seed: 5 }, undefined],
    ["You sent something that we do not like", { seed: 5 }, "nowhere"],
  ])("nothing is learned from %j", (message, sent, param) => {
    expect(read(message, sent, param)).toEqual([]);
  });
});

describe("a lesson applied", () => {
  const apply = (body: object, ...lessons: Parameters<typeof applyLessons>[1][number][]) => {
    const changes: Change[] = [];
    return { body: applyLessons(body as never, lessons, changes), changes };
  };

  test("leaves the request that it was made from as it is, and says each thing once", () => {
    const body = { messages: [{ name: "a" }, { name: "b" }, {}], x: { y: 1 } };
    const copy = structuredClone(body);
    const applied = apply(body, { path: "messages.*.name", drop: true });
    expect(applied.body).toEqual({ messages: [{}, {}, {}], x: { y: 1 } });
    expect(applied.changes).toEqual([{ field: "messages.*.name", kind: "dropped", from: "a", reason: "learned" }]);
    expect(body).toEqual(copy);
  });

  test.each([
    ["xhigh", ["none", "high"], "high"],
    ["low", ["none", "high"], "high"],
    ["max", ["low", "medium"], "medium"],
    ["minimal", ["low", "medium"], "low"],
    ["none", ["low", "medium"], "low"],
  ])("%s among %j is %s", (effort, accepted, nearest) => {
    expect(apply({ effort }, { path: "effort", accepted }).body).toEqual({ effort: nearest });
  });

  test("a value without neighbours goes, one that is taken stays", () => {
    const lesson = { path: "tier", accepted: ["auto"] };
    expect(apply({ tier: "flex" }, lesson)).toEqual({
      body: {},
      changes: [{ field: "tier", kind: "dropped", from: "flex", reason: "learned" }],
    });
    expect(apply({ tier: "auto" }, lesson)).toEqual({ body: { tier: "auto" }, changes: [] });
  });

  test("bounds and names", () => {
    expect(apply({ n: 9, m: 3 }, { path: "n", max: 4 }, { path: "m", max: 4 }).body).toEqual({ n: 4, m: 3 });
    expect(apply({ old: 1 }, { path: "old", rename: "new" })).toEqual({
      body: { new: 1 },
      changes: [{ field: "old", kind: "moved", from: "old", to: "new", reason: "learned" }],
    });
  });

  test("is forgotten in time, and the book is bounded", () => {
    let now = 0;
    const book = lessonBook(100, () => now);
    book.add("t", [{ path: "a", drop: true }]);
    now = 99;
    expect(book.of("t")).toHaveLength(1);
    book.add("t", [{ path: "a", max: 3 }]);
    expect(book.of("t")).toEqual([{ path: "a", max: 3, until: 199 }]);
    now = 199;
    expect(book.of("t")).toEqual([]);
    for (let i = 0; i < 100; i++) book.add("u", [{ path: `f${i}`, drop: true }]);
    expect(book.of("u")).toHaveLength(32);
  });
});
