import { describe, expect, test } from "vitest";
import type { ChatRequest, Message, Part } from "../../src/core/request.ts";
import { type ChatStyle, openaiChat, openaiChatWith } from "../../src/dialects/openai-chat/index.ts";

const user = (content: unknown) => ({ role: "user", content });
const decode = (body: object) => openaiChat.decodeRequest({ model: "m", messages: [user("Hi")], ...body });

function encode(request: Partial<ChatRequest>, style: ChatStyle = {}) {
  return openaiChatWith(style).encodeRequest(
    { model: "asked", system: [], messages: [], tools: [], stream: false, ...request },
    "upstream-model",
  );
}

function encodeMessages(messages: Message[], style: ChatStyle = {}) {
  return encode({ messages }, style).messages as Record<string, unknown>[];
}

describe("writing a request", () => {
  const result = (id: string, content: Part[], isError?: boolean): Part => ({
    type: "tool-result",
    id,
    content: content as never,
    ...(isError && { isError }),
  });
  const text = (value: string): Part => ({ type: "text", text: value });
  const image: Part = { type: "image", source: { kind: "base64", mediaType: "image/png", data: "AA" } };
  const imageUrl = { type: "image_url", image_url: { url: "data:image/png;base64,AA" } };
  const call = (id: string, name = "f", args = "{}"): Part => ({ type: "tool-call", id, name, arguments: args });

  test("instructions are one leading message, in the role that the model takes", () => {
    const system = [
      { type: "text" as const, text: "One." },
      { type: "text" as const, text: "Two." },
    ];
    expect(encode({ system }).messages).toEqual([{ role: "system", content: "One.\n\nTwo." }]);
    const style: ChatStyle = { systemRole: (model) => (model.startsWith("up") ? "developer" : "system") };
    expect(encode({ system }, style).messages).toEqual([{ role: "developer", content: "One.\n\nTwo." }]);
  });

  test("one text is a plain string, several parts are parts", () => {
    expect(
      encodeMessages([
        { role: "user", content: [text("a")] },
        { role: "user", content: [text("a"), image] },
        { role: "assistant", content: [text("a"), text("b")] },
      ]),
    ).toEqual([user("a"), user([{ type: "text", text: "a" }, imageUrl]), { role: "assistant", content: "ab" }]);
  });

  test("tool results come first, images in them after all of them, with the rest", () => {
    const messages: Message[] = [
      { role: "assistant", content: [call("a"), call("b")] },
      { role: "user", content: [result("a", [text("see"), image]), result("b", [{ ...image }]), text("Well?")] },
    ];
    expect(encodeMessages(messages)).toEqual([
      {
        role: "assistant",
        content: null,
        tool_calls: ["a", "b"].map((id) => ({ id, type: "function", function: { name: "f", arguments: "{}" } })),
      },
      {
        role: "tool",
        tool_call_id: "a",
        content: [
          { type: "text", text: "see" },
          { type: "text", text: "[image 1 of 2 attached below]" },
        ],
      },
      { role: "tool", tool_call_id: "b", content: "[image 2 of 2 attached below]" },
      user([imageUrl, imageUrl, { type: "text", text: "Well?" }]),
    ]);
    expect(encodeMessages(messages, { toolContent: "chunks", toolName: true }).slice(1)).toEqual([
      { role: "tool", tool_call_id: "a", name: "f", content: [{ type: "text", text: "see" }, imageUrl] },
      { role: "tool", tool_call_id: "b", name: "f", content: [imageUrl] },
      user("Well?"),
    ]);
  });

  test("failed and empty tool results", () => {
    const messages: Message[] = [
      {
        role: "user",
        content: [
          result("a", [text("no such file")], true),
          result("b", [text("Error: no")], true),
          result("c", []),
          result("d", [], true),
        ],
      },
    ];
    const contents = (style: ChatStyle) => encodeMessages(messages, style).map((message) => message.content);
    expect(contents({})).toEqual(["Error: no such file", "Error: no", "", "Error: "]);
    expect(contents({ emptyToolResult: "(no output)" })[2]).toBe("(no output)");
  });

  test("earlier thinking, by style", () => {
    const thinking: Part = { type: "thinking", text: "hm", signature: { origin: "mine", data: "sig" } };
    const other: Part = { type: "thinking", text: "ha", signature: { origin: "theirs", data: "sig" } };
    const messages: Message[] = [{ role: "assistant", content: [thinking, other, text("a")] }];
    const chunk = (value: string) => ({ type: "thinking", thinking: [{ type: "text", text: value }] });
    expect(encodeMessages(messages)).toEqual([{ role: "assistant", content: "a" }]);
    expect(encodeMessages(messages, { thinking: "reasoning_content" })).toEqual([
      { role: "assistant", content: "a", reasoning_content: "hmha" },
    ]);
    expect(encodeMessages(messages, { thinking: "chunks", originType: "mine" })).toEqual([
      {
        role: "assistant",
        content: [
          { ...chunk("hm"), signature: "sig", closed: true },
          { ...chunk("ha"), closed: true },
          { type: "text", text: "a" },
        ],
      },
    ]);
  });

  test("refusals as a field or as text", () => {
    const messages: Message[] = [{ role: "assistant", content: [{ type: "refusal", text: "No." }] }];
    expect(encodeMessages(messages)).toEqual([{ role: "assistant", content: null, refusal: "No." }]);
    expect(encodeMessages(messages, { refusal: "text" })).toEqual([{ role: "assistant", content: "No." }]);
  });

  test("a trailing assistant message is marked as a prefix where the style says so", () => {
    const messages: Message[] = [
      { role: "user", content: [text("a")] },
      { role: "assistant", content: [text("b")] },
    ];
    expect(encodeMessages(messages, { prefix: true })).toEqual([
      user("a"),
      { role: "assistant", content: "b", prefix: true },
    ]);
  });

  test("documents and audio, by style", () => {
    const content: Part[] = [
      { type: "document", source: { kind: "base64", mediaType: "application/pdf", data: "AA" }, filename: "a.pdf" },
      { type: "document", source: { kind: "text", mediaType: "text/plain", text: "body" }, title: "T" },
      { type: "audio", data: "BB", format: "mp3" },
    ];
    const written = { type: "text", text: '<document title="T">\nbody\n</document>' };
    expect(encodeMessages([{ role: "user", content }])[0]?.content).toEqual([
      { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AA" } },
      written,
      { type: "input_audio", input_audio: { data: "BB", format: "mp3" } },
    ]);
    expect(
      encodeMessages([{ role: "user", content }], { documents: "document_url", audio: "base64" })[0]?.content,
    ).toEqual([
      { type: "document_url", document_url: "data:application/pdf;base64,AA", document_name: "a.pdf" },
      written,
      { type: "input_audio", input_audio: "BB" },
    ]);
  });

  test("what cannot be written is refused, never left out in silence", () => {
    const content: Part[] = [{ type: "image", source: { kind: "file", dialect: "x", id: "1" } }];
    expect(() => encodeMessages([{ role: "user", content }])).toThrow("cannot take an image by file id");
  });

  test("tools, and nothing about them without any", () => {
    const tools: ChatRequest["tools"] = [
      { type: "function", name: "f", parameters: { type: "object", properties: {} }, strict: false },
      { type: "custom", name: "c" },
      { type: "opaque", dialect: "anthropic-messages", kind: "bash_20250124", value: {} },
    ];
    expect(encode({ tools, toolChoice: { type: "required" }, parallelToolCalls: false })).toMatchObject({
      tools: [
        { type: "function", function: { name: "f", strict: false } },
        { type: "custom", custom: { name: "c" } },
      ],
      tool_choice: "required",
      parallel_tool_calls: false,
    });
    const strict: ChatStyle = { requiredChoice: "any", strictTools: "when-true", parametersRequired: true };
    expect(encode({ tools: tools.slice(0, 1), toolChoice: { type: "required" } }, strict)).toMatchObject({
      tools: [{ type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } }],
      tool_choice: "any",
    });
    expect(encode({ tools, toolChoice: { type: "tool", name: "c" } }).tool_choice).toEqual({
      type: "custom",
      custom: { name: "c" },
    });
    expect(Object.keys(encode({ toolChoice: { type: "auto" }, parallelToolCalls: true }))).toEqual([
      "model",
      "messages",
    ]);
  });

  test("allowed tools come back as they were, unless the choice was changed on the way", () => {
    const tool_choice = { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [{ type: "function" }] } };
    const request = decode({ tools: [{ type: "function", function: { name: "f" } }], tool_choice });
    expect(encode(request).tool_choice).toEqual(tool_choice);
    expect(encode({ ...request, toolChoice: { type: "none" } }).tool_choice).toBe("none");
    expect(encode(request, { restoreExtensions: false }).tool_choice).toBe("auto");
  });

  test("the names of fields follow the style", () => {
    const request: Partial<ChatRequest> = { maxTokens: 5, seed: 1, userId: "u", sessionId: "s", stream: true, n: 2 };
    expect(encode(request)).toEqual({
      model: "upstream-model",
      messages: [],
      max_completion_tokens: 5,
      n: 2,
      seed: 1,
      user: "u",
      prompt_cache_key: "s",
      stream: true,
      stream_options: { include_usage: true },
    });
    const style: ChatStyle = {
      maxTokens: "max_tokens",
      seedField: "random_seed",
      userField: false,
      sessionField: false,
      includeUsage: false,
      extraBody: (_, model) => ({ safe_prompt: model === "upstream-model" }),
    };
    expect(encode(request, style)).toEqual({
      model: "upstream-model",
      messages: [],
      max_tokens: 5,
      n: 2,
      random_seed: 1,
      stream: true,
      safe_prompt: true,
    });
    const nothing = { member: () => undefined };
    expect(openaiChat.bounds.write(nothing, 9)).toEqual({ max_completion_tokens: "9" });
    expect(openaiChatWith(style).bounds.write(nothing, 9)).toEqual({ max_tokens: "9" });
  });

  test("reasoning, by default and by style", () => {
    expect(encode({ reasoning: { mode: "off" } }).reasoning_effort).toBe("none");
    expect(encode({ reasoning: { mode: "on", effort: "low" } }).reasoning_effort).toBe("low");
    expect(encode({ reasoning: { mode: "auto" } })).not.toHaveProperty("reasoning_effort");
    const reasoning: ChatStyle["reasoning"] = (wish) => ({
      thinking: { type: wish?.mode === "off" ? "disabled" : "enabled" },
    });
    expect(encode({ reasoning: { mode: "off" } }, { reasoning })).toMatchObject({ thinking: { type: "disabled" } });
  });
});
