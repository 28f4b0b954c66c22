import { describe, expect, it } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { type ErrorCode, GatewayError } from "../../src/core/errors.ts";
import type { ChatResponse, Choice } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";

const ID = "anthropic-messages";
const { decodeResponse, encodeResponse, decodeError, encodeError, encodeModels } = anthropicMessages;

const context: CallerContext = {
  model: "asked-for",
  id: "x1",
  created: 0,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};
const encode = (choice: Partial<Choice>, fields: Partial<ChatResponse> = {}, showThinking = true) =>
  encodeResponse(
    { choices: [{ content: [], finishReason: "stop", ...choice }], ...fields },
    { ...context, showThinking },
  );
const call = { type: "tool-call" as const, id: "c1", name: "f", arguments: '{"a":1}' };

describe("an answer", () => {
  it("is read with all its blocks, its stop and all its input", () => {
    const search = { type: "web_search_tool_result", tool_use_id: "s", content: [] };
    const citation = { type: "web_search_result_location", url: "https://a" };
    expect(
      decodeResponse({
        id: "msg_1",
        type: "message",
        role: "assistant",
        model: "claude-x",
        content: [
          { type: "thinking", thinking: "hm", signature: "sig" },
          { type: "redacted_thinking", data: "enc" },
          search,
          { type: "text", text: "Hi", citations: [citation] },
          { type: "tool_use", id: "t", name: "f", input: { a: 1 } },
        ],
        stop_reason: "tool_use",
        stop_sequence: null,
        usage: {
          input_tokens: 10,
          cache_read_input_tokens: 20,
          cache_creation_input_tokens: 30,
          output_tokens: 7,
          output_tokens_details: { thinking_tokens: 3 },
          service_tier: "standard",
        },
      }),
    ).toEqual({
      id: "msg_1",
      model: "claude-x",
      choices: [
        {
          content: [
            { type: "thinking", text: "hm", signature: { origin: ID, data: "sig" } },
            { type: "thinking", text: "", redacted: "enc" },
            { type: "opaque", dialect: ID, kind: "web_search_tool_result", value: search },
            {
              type: "text",
              text: "Hi",
              citations: { dialect: ID, value: [citation], sources: [{ url: "https://a" }] },
            },
            { type: "tool-call", id: "t", name: "f", arguments: '{"a":1}' },
          ],
          finishReason: "tool-calls",
        },
      ],
      usage: { inputTokens: 60, cacheReadTokens: 20, cacheWriteTokens: 30, outputTokens: 7, reasoningTokens: 3 },
      serviceTier: "standard",
    });
  });

  it("says why it was refused", () => {
    const stop_details = { type: "refusal", category: "cyber", explanation: "No." };
    const { choices } = decodeResponse({ type: "message", content: [], stop_reason: "refusal", stop_details });
    expect(choices).toEqual([{ content: [{ type: "refusal", text: "No." }], finishReason: "refusal" }]);
  });

  it("is refused when it is no message", () => {
    expect(() => decodeResponse({ ok: true })).toThrow(expect.objectContaining({ code: "upstream_invalid" }));
    expect(() => decodeResponse("<html>")).toThrow(expect.objectContaining({ code: "upstream_invalid" }));
    expect(() => decodeResponse({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })).toThrow(
      expect.objectContaining({ code: "upstream_overloaded", status: 529 }),
    );
  });

  it("is written whole, under the name the caller asked for", () => {
    expect(
      encode(
        { content: [{ type: "text", text: "Hi" }, { type: "text", text: "" }, call], finishReason: "tool-calls" },
        {
          model: "mistral-x",
          id: "cmpl",
          usage: { inputTokens: 60, cacheReadTokens: 20, cacheWriteTokens: 30, outputTokens: 7 },
        },
      ),
    ).toEqual({
      id: "msg_x1",
      type: "message",
      role: "assistant",
      model: "asked-for",
      content: [
        { type: "text", text: "Hi" },
        { type: "tool_use", id: "c1", name: "f", input: { a: 1 } },
      ],
      stop_reason: "tool_use",
      stop_sequence: null,
      stop_details: null,
      usage: { input_tokens: 10, cache_creation_input_tokens: 30, cache_read_input_tokens: 20, output_tokens: 7 },
    });
  });

  it("never counts fewer than no input tokens", () => {
    const usage = { inputTokens: 1, cacheReadTokens: 5, cacheWriteTokens: 0, outputTokens: 1 };
    expect(encode({}, { usage }).usage).toMatchObject({ input_tokens: 0 });
  });

  it.each([
    ["stop", [call], "tool_use"],
    ["tool-calls", [], "end_turn"],
    ["length", [call], "max_tokens"],
    ["refusal", [call], "refusal"],
    ["context-window", [], "model_context_window_exceeded"],
    ["pause", [], "pause_turn"],
    ["stop-sequence", [], "stop_sequence"],
  ] as const)("that ended with %s and calls %j stops with the right reason", (finishReason, content, reason) => {
    expect(encode({ finishReason, content: [...content] }).stop_reason).toBe(reason);
  });

  it("names the stop sequence", () => {
    expect(encode({ finishReason: "stop-sequence", stopSequence: "END" })).toMatchObject({ stop_sequence: "END" });
  });

  it("shows a refusal as text and as the reason", () => {
    expect(encode({ content: [{ type: "refusal", text: "I cannot." }] })).toMatchObject({
      content: [{ type: "text", text: "I cannot." }],
      stop_reason: "refusal",
      stop_details: { type: "refusal", category: null, explanation: "I cannot." },
    });
  });

  it("keeps a tool call whose arguments are broken", () => {
    expect(encode({ content: [{ ...call, arguments: "{oops" }] }).content).toEqual([
      { type: "tool_use", id: "c1", name: "f", input: { __invalid_json: "{oops" } },
    ]);
  });

  it("gives a call without an id one of its own, and letters an id may not have a replacement", () => {
    const content = [
      { ...call, id: "" },
      { ...call, id: "a:b" },
    ];
    expect(encode({ content }).content).toMatchObject([{ id: "toolu_x1_0" }, { id: "a_b" }]);
  });

  it("hides thinking from who does not want it, and finds it again when it is sent back", () => {
    const signature = { origin: "mistral", model: "m" };
    for (const data of ["", "own"]) {
      const part = { type: "thinking" as const, text: "wörter", signature: { ...signature, data } };
      const [block] = encode({ content: [part] }, {}, false).content as JsonObject[];
      expect(block!.thinking).toBe("");
      const request = anthropicMessages.decodeRequest({
        model: "m",
        max_tokens: 1,
        messages: [{ role: "assistant", content: [block] }],
      });
      expect(request.messages[0]!.content[0]).toMatchObject({ text: "wörter", signature: { ...signature, data } });
    }
  });

  it("leaves a native signature as it is, hidden or not", () => {
    const content = [{ type: "thinking" as const, text: "hm", signature: { origin: ID, data: "sig" } }];
    expect(encode({ content }, {}, false).content).toEqual([{ type: "thinking", thinking: "", signature: "sig" }]);
    expect(encode({ content }).content).toEqual([{ type: "thinking", thinking: "hm", signature: "sig" }]);
  });
});

describe("an upstream's error", () => {
  const body = (type: string, message = "m") => ({ type: "error", error: { type, message }, request_id: "req_1" });

  it.each([
    [400, "invalid_request_error", "invalid_request", 400, false],
    [422, "invalid_request_error", "invalid_request", 400, false],
    [401, "authentication_error", "upstream_auth", 502, false],
    [403, "permission_error", "upstream_auth", 502, false],
    [402, "billing_error", "upstream_error", 402, false],
    [404, "not_found_error", "model_not_found", 404, false],
    [409, "conflict_error", "conflict", 409, true],
    [413, "request_too_large", "request_too_large", 413, false],
    [429, "rate_limit_error", "rate_limited", 429, true],
    [500, "api_error", "upstream_error", 500, true],
    [500, "overloaded_error", "upstream_overloaded", 529, true],
    [504, "timeout_error", "upstream_timeout", 504, true],
    [529, "overloaded_error", "upstream_overloaded", 529, true],
    [405, "constructor", "upstream_error", 405, false],
  ])("%i %s is %s", (status, type, code, expected, retryable) => {
    const error = decodeError(status, body(type));
    expect(error).toMatchObject({ code, status: expected, retryable, upstreamCode: type, message: "m" });
  });

  it.each([
    "prompt is too long: 250000 tokens > 200000 maximum",
    "Input is too long for requested model.",
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "the request exceeds the available context size",
    "Prompt contains 300000 tokens and 0 draft tokens, too large for model with 131072 maximum context length",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
  ])("knows an overflow of the context by its words: %s", (message) => {
    expect(decodeError(400, body("invalid_request_error", message)).code).toBe("context_length_exceeded");
  });

  it("does not take a rate limit on tokens for an overflow", () => {
    expect(decodeError(429, body("rate_limit_error", "prompt is too long for your tier")).code).toBe("rate_limited");
  });

  it("may be anything but JSON", () => {
    const error = decodeError(502, `<html>${"x".repeat(1000)}`);
    expect(error).toMatchObject({ code: "upstream_error", status: 502 });
    expect(error.message).toHaveLength(301);
    expect(decodeError(500, "").message).toBe("The upstream answered with status 500");
    expect(decodeError(400, { detail: "bad" }).message).toBe("bad");
    expect(decodeError(400, { error: "bad" }).message).toBe("bad");
    expect(decodeError(400, null).code).toBe("invalid_request");
  });
});

describe("an error for the caller", () => {
  it.each<[ErrorCode, number, string]>([
    ["invalid_request", 400, "invalid_request_error"],
    ["unsupported", 400, "invalid_request_error"],
    ["unauthenticated", 401, "authentication_error"],
    ["budget_exceeded", 402, "billing_error"],
    ["forbidden", 403, "permission_error"],
    ["no_compliant_target", 403, "permission_error"],
    ["model_not_found", 404, "not_found_error"],
    ["no_target", 404, "not_found_error"],
    ["request_too_large", 413, "request_too_large"],
    ["rate_limited", 429, "rate_limit_error"],
    ["upstream_overloaded", 529, "overloaded_error"],
    ["upstream_timeout", 504, "timeout_error"],
    ["upstream_auth", 502, "api_error"],
    ["shutting_down", 503, "api_error"],
    ["internal", 500, "api_error"],
  ])("%s is %i %s", (code, status, type) => {
    expect(encodeError(new GatewayError(code, "m", { details: { limit: 3 } }), "req_9")).toEqual({
      status,
      body: {
        type: "error",
        error: { type, message: "m", details: { error_code: code, limit: 3 } },
        request_id: "req_9",
      },
    });
  });

  it.each([
    ["prompt is too long: 9 tokens > 8 maximum", "prompt is too long: 9 tokens > 8 maximum"],
    ["too big", "prompt is too long: too big"],
    [
      "Prompt contains 300000 tokens and 0 draft tokens, too large for model with 131072 maximum context length",
      "prompt is too long: 300000 tokens > 131072 maximum",
    ],
    [
      "gpt-4-20240613: maximum context length is 8,192 tokens. You requested 9000 tokens (8000 in the messages, 1000 in the completion).",
      "prompt is too long: 9000 tokens > 8192 maximum",
    ],
    [
      "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
      "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    ],
  ])("tells an overflow in the words that clients react to: %s", (message, expected) => {
    const { body } = encodeError(new GatewayError("context_length_exceeded", message), "r");
    expect(body).toMatchObject({ error: { type: "invalid_request_error", message: expected } });
  });
});

it("lists models, and shows one", () => {
  const model = { type: "model", id: "a", display_name: "A", created_at: "1970-01-01T00:00:00Z" };
  const other = { type: "model", id: "b", display_name: "b", created_at: "1970-01-01T00:00:00Z" };
  expect(encodeModels([{ id: "a", displayName: "A" }, { id: "b" }], false)).toEqual({
    data: [model, other],
    has_more: false,
    first_id: "a",
    last_id: "b",
  });
  expect(encodeModels([{ id: "a", displayName: "A" }], true)).toEqual(model);
  expect(encodeModels([], false)).toEqual({ data: [], has_more: false, first_id: null, last_id: null });
});
