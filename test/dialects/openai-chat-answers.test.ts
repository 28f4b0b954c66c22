import { describe, expect, test } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { GatewayError, isGatewayError } from "../../src/core/errors.ts";
import type { ChatResponse } from "../../src/core/request.ts";
import { openaiChat, openaiChatWith } from "../../src/dialects/openai-chat/index.ts";

const context: CallerContext = {
  model: "asked",
  id: "X",
  created: 9,
  inputTokens: 1,
  includeUsage: false,
  showThinking: true,
};
const answer = (message: object, finish_reason = "stop", more: object = {}) => ({
  id: "c1",
  model: "m",
  created: 5,
  choices: [{ index: 0, message, finish_reason }],
  ...more,
});
const choice = (body: object) => openaiChat.decodeResponse(body).choices[0];

describe("reading an answer", () => {
  test("text, with its head, usage and tier", () => {
    const usage = { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 };
    expect(openaiChat.decodeResponse(answer({ content: "Hi" }, "stop", { usage, service_tier: "flex" }))).toEqual({
      id: "c1",
      model: "m",
      created: 5,
      choices: [{ content: [{ type: "text", text: "Hi" }], finishReason: "stop" }],
      usage: { inputTokens: 5, outputTokens: 2, cacheReadTokens: 0, cacheWriteTokens: 0 },
      serviceTier: "flex",
    });
  });

  test("thinking, refusals and tool calls", () => {
    const tool_calls = [
      { id: "a", type: "function", function: { name: "f", arguments: '{"x": 1}' } },
      { id: "b", function: { name: "g", arguments: { y: 2 } } },
    ];
    expect(choice(answer({ content: "", reasoning_content: "hm", tool_calls }))).toEqual({
      content: [
        { type: "thinking", text: "hm" },
        { type: "tool-call", id: "a", name: "f", arguments: '{"x": 1}' },
        { type: "tool-call", id: "b", name: "g", arguments: '{"y":2}' },
      ],
      finishReason: "tool-calls",
    });
    expect(choice(answer({ content: null, refusal: "No." }))).toEqual({
      content: [{ type: "refusal", text: "No." }],
      finishReason: "refusal",
    });
    expect(choice(answer({ content: "Hi", tool_calls: null }, "tool_calls"))?.finishReason).toBe("stop");
  });

  test("thinking is marked with the provider that wrote it", () => {
    const mine = openaiChatWith({ originType: "mine" });
    expect(mine.decodeResponse(answer({ content: "Hi", reasoning: "hm" })).choices[0]?.content[0]).toEqual({
      type: "thinking",
      text: "hm",
      signature: { origin: "mine", model: "m", data: "" },
    });
  });

  test("choices come in the order of their index", () => {
    const choices = ["b", "a"].map((content, i) => ({ index: 1 - i, message: { content }, finish_reason: "stop" }));
    expect(openaiChat.decodeResponse({ choices }).choices.map(({ content }) => content)).toEqual([
      [{ type: "text", text: "a" }],
      [{ type: "text", text: "b" }],
    ]);
  });

  test.each<[string, object, object | undefined]>([
    ["the details", { prompt_tokens_details: { cached_tokens: 4 } }, { cacheReadTokens: 4 }],
    ["misspelt details", { prompt_token_details: { cached_tokens: 4 } }, { cacheReadTokens: 4 }],
    ["num_cached_tokens", { num_cached_tokens: 4 }, { cacheReadTokens: 4 }],
    ["prompt_cache_hit_tokens", { prompt_cache_hit_tokens: 4 }, { cacheReadTokens: 4 }],
    ["more cached than there is", { num_cached_tokens: 99 }, { cacheReadTokens: 10 }],
    ["writes", { prompt_tokens_details: { cached_tokens: 4, cache_write_tokens: 3 } }, { cacheWriteTokens: 3 }],
    ["reasoning", { completion_tokens_details: { reasoning_tokens: 2 } }, { outputTokens: 3, reasoningTokens: 2 }],
    [
      "reasoning beside the completion",
      { total_tokens: 15, completion_tokens_details: { reasoning_tokens: 2 } },
      { outputTokens: 5, reasoningTokens: 2 },
    ],
    ["a missing side, by the total", { completion_tokens: undefined }, { inputTokens: 10, outputTokens: 3 }],
    ["junk details", { num_cached_tokens: "4", prompt_tokens_details: [] }, { cacheReadTokens: 0 }],
    ["junk counts", { prompt_tokens: -1, total_tokens: null }, undefined],
  ])("usage with %s", (_, more, expected) => {
    const usage = { prompt_tokens: 10, completion_tokens: 3, total_tokens: 13, ...more };
    const read = openaiChat.decodeResponse(answer({ content: "a" }, "stop", { usage })).usage;
    if (expected) expect(read).toMatchObject(expected);
    else expect(read).toBeUndefined();
  });

  test("usage where Groq puts it in streams", () => {
    const usage = { prompt_tokens: 10, completion_tokens: 3 };
    expect(openaiChat.decodeResponse(answer({}, "stop", { x_groq: { usage } })).usage?.inputTokens).toBe(10);
  });

  test("what is no answer is an error", () => {
    for (const body of [null, "x", {}, { choices: [] }]) {
      expect(() => openaiChat.decodeResponse(body)).toThrow("has no choices");
    }
    expect(() => openaiChat.decodeResponse({ error: { message: "Busy", code: 429 } })).toThrow("Busy");
    expect(() => openaiChat.decodeResponse(answer({}, "error"))).toThrow("ended the answer with an error");
  });
});

describe("writing an answer", () => {
  const response: ChatResponse = {
    id: "upstream",
    choices: [
      {
        content: [
          { type: "thinking", text: "hm", signature: { origin: "anthropic-messages", data: "sig" } },
          { type: "text", text: "a" },
          { type: "text", text: "b" },
          { type: "tool-call", id: "t", name: "f", arguments: "{}" },
        ],
        finishReason: "stop",
      },
    ],
    usage: { inputTokens: 7, cacheReadTokens: 4, cacheWriteTokens: 1, outputTokens: 3 },
  };

  test("in the caller's terms", () => {
    expect(openaiChat.encodeResponse(response, context)).toEqual({
      id: "chatcmpl-X",
      object: "chat.completion",
      created: 9,
      model: "asked",
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: "ab",
            refusal: null,
            reasoning_content: "hm",
            thinking_blocks: [{ type: "thinking", thinking: "hm", signature: "sig" }],
            tool_calls: [{ id: "t", type: "function", function: { name: "f", arguments: "{}" } }],
          },
          logprobs: null,
          finish_reason: "tool_calls",
        },
      ],
      usage: {
        prompt_tokens: 7,
        completion_tokens: 3,
        total_tokens: 10,
        prompt_tokens_details: { cached_tokens: 4, cache_write_tokens: 1 },
      },
    });
  });

  test("hidden thinking keeps its signature and loses its text", () => {
    const body = openaiChat.encodeResponse(response, { ...context, showThinking: false });
    expect(body.choices).toMatchObject([{ message: { thinking_blocks: [{ thinking: "", signature: "sig" }] } }]);
    expect(JSON.stringify(body)).not.toContain("reasoning_content");
  });

  test("content is null when there are only calls, and empty when there is nothing", () => {
    const [first] = response.choices;
    const only = { ...response, choices: [{ ...first!, content: first!.content.slice(-1) }] };
    expect(openaiChat.encodeResponse(only, context).choices).toMatchObject([{ message: { content: null } }]);
    const nothing: ChatResponse = { choices: [{ content: [], finishReason: "stop" }] };
    expect(openaiChat.encodeResponse(nothing, context).choices).toMatchObject([{ message: { content: "" } }]);
  });

  test("an answer that was written reads the same, thinking and signatures included", () => {
    const before = openaiChat.decodeResponse(
      answer({
        content: "a",
        thinking_blocks: [
          { type: "thinking", thinking: "one", signature: "s1" },
          { type: "redacted_thinking", data: "secret" },
          { type: "thinking", thinking: "two", signature: "tp1.eyJwIjoieCIsImQiOiJ5In0" },
        ],
      }),
    );
    expect(openaiChat.decodeResponse(openaiChat.encodeResponse(before, context)).choices).toEqual(before.choices);
  });
});

describe("errors of an upstream", () => {
  const read = (status: number, body: unknown) => openaiChat.decodeError(status, body);

  test.each<[number, unknown, object]>([
    [
      400,
      { error: { message: "Bad", param: "messages[3]", code: "invalid_value" } },
      { code: "invalid_request", status: 400, param: "messages[3]", upstreamCode: "invalid_value" },
    ],
    [
      400,
      { object: "error", message: "Bad", type: "invalid_request_message_order", code: "3230" },
      { code: "invalid_request", message: "Bad", upstreamCode: "3230" },
    ],
    [
      422,
      {
        object: "error",
        message: {
          detail: [{ type: "extra_forbidden", loc: ["body", "seed"], msg: "Extra inputs are not permitted" }],
        },
      },
      {
        code: "invalid_request",
        status: 400,
        param: "seed",
        message: "Extra inputs are not permitted",
        upstreamCode: "extra_forbidden",
      },
    ],
    [
      422,
      { detail: [{ type: "missing", loc: ["body", "messages", 0, "content"], msg: "Field required" }] },
      { param: "messages.0.content", message: "Field required" },
    ],
    [404, { detail: "Not Found" }, { code: "model_not_found", status: 404, message: "Not Found" }],
    [
      400,
      { object: "error", message: "Invalid model: x", type: "invalid_model" },
      { code: "model_not_found", status: 404 },
    ],
    [403, { message: "Forbidden" }, { code: "upstream_auth", status: 502, retryable: false, message: "Forbidden" }],
    [402, { error: "Pay first" }, { code: "upstream_error", status: 402, retryable: false, message: "Pay first" }],
    [
      429,
      { error: { message: "Quota", code: "insufficient_quota" } },
      { code: "upstream_error", status: 402, retryable: false },
    ],
    [
      429,
      { error: { message: "Slow", code: 429, metadata: { raw: "down" } } },
      { code: "rate_limited", status: 429, retryable: true, message: "Slow: down" },
    ],
    [
      500,
      "",
      { code: "upstream_error", status: 500, retryable: true, message: "The upstream answered with status 500" },
    ],
    [502, "<html>", { code: "upstream_error", status: 502, message: "The upstream answered with status 502: <html>" }],
    [503, {}, { code: "upstream_overloaded", status: 503, retryable: true }],
    [504, {}, { code: "upstream_timeout", status: 504, retryable: true }],
    [413, {}, { code: "request_too_large", status: 413 }],
    [418, {}, { code: "invalid_request", status: 400 }],
  ])("%i %j", (status, body, expected) => {
    expect(read(status, body)).toMatchObject(expected);
  });

  test("a message about credentials is not repeated, because it quotes the key", () => {
    const error = read(401, { error: { message: "Incorrect API key provided: sk-1234", code: "invalid_api_key" } });
    expect(error).toMatchObject({ code: "upstream_auth", status: 502, upstreamCode: "invalid_api_key" });
    expect(error.message).not.toContain("sk-");
  });

  test.each<[unknown, object | undefined]>([
    [
      "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
      { tokens: 9000, maximum: 8192 },
    ],
    [
      "This model's maximum context length is 4096 tokens. However, you requested 5,000 tokens (1000 in the messages).",
      { tokens: 5000, maximum: 4096 },
    ],
    [
      "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
      { tokens: 40000, maximum: 32768 },
    ],
    [
      "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it",
      { tokens: 9000, maximum: 4096 },
    ],
    ["prompt is too long: 210000 tokens > 200000 maximum", { tokens: 210000, maximum: 200000 }],
    ["Input is too long for requested model.", undefined],
  ])("%s", (message, details) => {
    const error = read(400, { error: { message } });
    expect(error).toMatchObject({ code: "context_length_exceeded", status: 400, retryable: false });
    expect(error.details).toEqual(details);
  });

  test("numbers that llama.cpp gives beside the message", () => {
    const body = {
      error: { code: 400, type: "exceed_context_size_error", message: "too big", n_prompt_tokens: 9, n_ctx: 4 },
    };
    expect(read(400, body).details).toEqual({ tokens: 9, maximum: 4 });
  });

  test("long text is cut", () => {
    expect(read(500, "x".repeat(1000)).message.length).toBeLessThan(400);
  });
});

describe("errors for a caller", () => {
  test.each<[GatewayError, number, object]>([
    [
      new GatewayError("invalid_request", "Bad", { param: "n" }),
      400,
      { type: "invalid_request_error", param: "n", code: null },
    ],
    [new GatewayError("unauthenticated", "Who?"), 401, { type: "invalid_request_error", code: "invalid_api_key" }],
    [
      new GatewayError("budget_exceeded", "Spent", { details: { limit: "day" } }),
      402,
      { type: "insufficient_quota", code: "budget_exceeded", details: { limit: "day" } },
    ],
    [new GatewayError("model_not_found", "No"), 404, { type: "invalid_request_error", code: "model_not_found" }],
    [
      new GatewayError("context_length_exceeded", "Long"),
      400,
      { type: "invalid_request_error", code: "context_length_exceeded" },
    ],
    [new GatewayError("rate_limited", "Slow"), 429, { type: "rate_limit_error", code: "rate_limit_exceeded" }],
    [new GatewayError("upstream_overloaded", "Busy"), 503, { type: "server_error", code: "upstream_overloaded" }],
    [new GatewayError("upstream_error", "Pay", { status: 402 }), 402, { type: "insufficient_quota" }],
  ])("%s", (error, status, body) => {
    const written = openaiChat.encodeError(error, "req_1");
    expect(written.status).toBe(status);
    expect(written.body.error).toMatchObject({ message: error.message, param: null, ...body });
  });

  test("an error that was written reads as the same code", () => {
    for (const code of [
      "invalid_request",
      "model_not_found",
      "context_length_exceeded",
      "rate_limited",
      "upstream_overloaded",
    ] as const) {
      const { status, body } = openaiChat.encodeError(new GatewayError(code, "Because"), "req_1");
      const error = openaiChat.decodeError(status, body);
      expect(isGatewayError(error) && error.code).toBe(code);
    }
  });
});

describe("the dialect", () => {
  test("lists models", () => {
    const model = { id: "m", object: "model", created: 0, owned_by: "mistral" };
    expect(openaiChat.encodeModels([{ id: "m", ownedBy: "mistral" }], true)).toEqual(model);
    expect(openaiChat.encodeModels([{ id: "m", ownedBy: "mistral" }], false)).toEqual({
      object: "list",
      data: [model],
    });
  });

  test("is served where clients of both base URLs look", () => {
    expect(openaiChat.prefix).toBe("/openai");
    expect(openaiChat.routes.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "POST /v1/chat/completions",
      "POST /v1/embeddings",
      "GET /v1/models",
      "GET /v1/models/{model}",
    ]);
    expect(openaiChat.chatPath("m", true)).toBe("/chat/completions");
  });
});
