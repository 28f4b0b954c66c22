import { describe, expect, test } from "vitest";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";

describe("skipping frames that only carry text", () => {
  const skip = (value: unknown) => openaiChat.skipLength?.({ data: JSON.stringify(value) });
  const plain = (delta: object) => ({ id: "c1", choices: [{ index: 0, delta, finish_reason: null }] });

  test("tells how much text a plain delta carries", () => {
    expect(skip(plain({ content: "Hello" }))).toBe(5);
    expect(skip(plain({ reasoning_content: "Hm" }))).toBe(2);
    expect(skip(plain({ content: null, reasoning_content: "Hm" }))).toBe(2);
    expect(skip({ ...plain({ content: "Hello" }), usage: null })).toBe(5);
    expect(skip(plain({ content: 'a"}"\\' }))).toBeGreaterThanOrEqual(5);
  });

  test.each<[string, object]>([
    ["a role", plain({ role: "assistant", content: "" })],
    ["a tool call beside the text", plain({ content: "a", tool_calls: [] })],
    [
      "a tool call that quotes a delta",
      plain({ tool_calls: [{ function: { arguments: '"delta":{"content":"a"}' } }] }),
    ],
    ["no text", plain({ content: null })],
    ["an ending", { choices: [{ delta: { content: "a" }, finish_reason: "stop" }] }],
    ["usage", { ...plain({ content: "a" }), usage: { prompt_tokens: 1 } }],
    ["two choices", { choices: [plain({ content: "a" }).choices[0], plain({ content: "b" }).choices[0]] }],
  ])("leaves %s to the decoder", (_, value) => {
    expect(skip(value)).toBeUndefined();
  });
});
