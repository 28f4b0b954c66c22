import { describe, expect, it } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { GatewayError } from "../../src/core/errors.ts";
import type { ChatResponse, Part } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { gemini } from "../../src/dialects/gemini/index.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";

const context: CallerContext = {
  model: "asked",
  id: "x1",
  created: 0,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};
const answer = (parts: JsonObject[], more: JsonObject = {}) => ({
  candidates: [{ content: { role: "model", parts }, finishReason: "STOP", index: 0, ...more }],
  modelVersion: "gemini-x",
  responseId: "r1",
});
const decode = (parts: JsonObject[], more?: JsonObject) => gemini.decodeResponse(answer(parts, more)).choices[0]!;
const encode = (content: Part[], more: Partial<ChatResponse> = {}, caller: Partial<CallerContext> = {}) =>
  gemini.encodeResponse({ choices: [{ content, finishReason: "stop" }], ...more }, { ...context, ...caller });
const partsOf = (body: JsonObject) => (body.candidates as { content: { parts: JsonObject[] } }[])[0]!.content.parts;

function failure(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("did not fail");
}

describe("an answer of the upstream", () => {
  it("tells text, its name and what it used", () => {
    const usageMetadata = {
      promptTokenCount: 100,
      cachedContentTokenCount: 60,
      toolUsePromptTokenCount: 7,
      candidatesTokenCount: 20,
      thoughtsTokenCount: 30,
      totalTokenCount: 157,
      serviceTier: "standard",
    };
    expect(gemini.decodeResponse({ ...answer([{ text: "hi" }]), usageMetadata })).toEqual({
      id: "r1",
      model: "gemini-x",
      choices: [{ content: [{ type: "text", text: "hi" }], finishReason: "stop" }],
      usage: { inputTokens: 107, cacheReadTokens: 60, cacheWriteTokens: 0, outputTokens: 50, reasoningTokens: 30 },
      serviceTier: "standard",
    });
  });

  it("with a function call ends with tool calls, though it says STOP", () => {
    expect(decode([{ functionCall: { id: "1", name: "f", args: { a: 1 } } }])).toEqual({
      content: [{ type: "tool-call", id: "1", name: "f", arguments: '{"a":1}' }],
      finishReason: "tool-calls",
    });
  });

  it("gives calls without an id one of their own, different from answer to answer", () => {
    const call = { functionCall: { name: "f", args: {} } };
    const ids = (responseId: string) =>
      gemini
        .decodeResponse({ ...answer([call, call]), responseId })
        .choices[0]!.content.map((part) => (part as { id: string }).id);
    expect(ids("a")).toEqual(ids("a"));
    expect(new Set([...ids("a"), ...ids("b")]).size).toBe(4);
    expect(ids("a")[0]).toMatch(/^toolu_tp_[0-9A-Za-z]{12}$/);
  });

  it("keeps signatures as thinking before the part that they stand on", () => {
    const { content } = decode([
      { text: "hm", thought: true },
      { functionCall: { id: "1", name: "f" }, thoughtSignature: "AAA=" },
      { functionCall: { id: "2", name: "f" }, thoughtSignature: "BBB=" },
    ]);
    expect(content).toEqual([
      { type: "thinking", text: "hm", signature: { origin: "gemini", kind: "call", data: "AAA=" } },
      { type: "tool-call", id: "1", name: "f", arguments: "" },
      { type: "thinking", text: "", signature: { origin: "gemini", kind: "call", data: "BBB=" } },
      { type: "tool-call", id: "2", name: "f", arguments: "" },
    ]);
  });

  it.each([
    ["STOP", "stop"],
    ["MAX_TOKENS", "length"],
    ["SAFETY", "refusal"],
    ["RECITATION", "refusal"],
    ["IMAGE_SAFETY", "refusal"],
    ["CONTINUATION", "pause"],
    ["MALFORMED_FUNCTION_CALL", "stop"],
    ["SOMETHING_NEW", "stop"],
  ])("that ended with %s after some text says %s", (finishReason, reason) => {
    expect(decode([{ text: "a" }], { finishReason }).finishReason).toBe(reason);
  });

  it("that is unusable and says nothing is an error, and worth another try", () => {
    const body = answer([], { finishReason: "MALFORMED_FUNCTION_CALL", finishMessage: "Malformed function call" });
    expect(failure(() => gemini.decodeResponse(body))).toMatchObject({
      code: "upstream_error",
      retryable: true,
      upstreamCode: "MALFORMED_FUNCTION_CALL",
      message: "Malformed function call",
    });
  });

  it("to a blocked prompt is a refusal", () => {
    const body = { promptFeedback: { blockReason: "SAFETY" }, usageMetadata: { promptTokenCount: 4 } };
    expect(gemini.decodeResponse(body)).toMatchObject({
      choices: [{ content: [{ type: "refusal", text: expect.stringContaining("SAFETY") }], finishReason: "refusal" }],
      usage: { inputTokens: 4, outputTokens: 0 },
    });
  });

  it("may have several candidates, in any order", () => {
    const candidate = (index: number) => ({ index, content: { parts: [{ text: `${index}` }] }, finishReason: "STOP" });
    const { choices } = gemini.decodeResponse({ candidates: [candidate(1), candidate(0)] });
    expect(choices.map(({ content }) => content)).toEqual([
      [{ type: "text", text: "0" }],
      [{ type: "text", text: "1" }],
    ]);
  });

  it("names the pages it rests on, with positions in the text", () => {
    const text = "Été à Paris. Yes.";
    const end = Buffer.byteLength("Été à Paris.");
    const groundingMetadata = {
      groundingChunks: [{ web: { uri: "https://a", title: "A" } }, { web: { uri: "https://b" } }],
      groundingSupports: [
        { segment: { endIndex: end, text: "Été à Paris." }, groundingChunkIndices: [0] },
        { segment: { startIndex: 3, endIndex: 4, text: "not these words" }, groundingChunkIndices: [0] },
      ],
    };
    const [part] = decode([{ text }], { groundingMetadata }).content;
    expect(part).toMatchObject({
      citations: {
        dialect: "gemini",
        value: { groundingMetadata },
        sources: [
          { url: "https://a", title: "A", text: "Été à Paris.", start: 0, end: 12 },
          { url: "https://a", title: "A", text: "not these words" },
          { url: "https://b" },
        ],
      },
    });
    expect(encode([part!]).candidates).toMatchObject([{ groundingMetadata }]);
  });

  it("tells log probabilities as everybody does", () => {
    const logprobsResult = {
      chosenCandidates: [{ token: "é", logProbability: -0.5 }],
      topCandidates: [{ candidates: [{ token: "é", logProbability: -0.5 }] }],
    };
    const choice = decode([{ text: "é" }], { logprobsResult });
    const entry = { token: "é", logprob: -0.5, bytes: [195, 169] };
    expect(choice.logprobs).toEqual({ content: [{ ...entry, top_logprobs: [entry] }], refusal: null });
    expect(gemini.encodeResponse({ choices: [choice] }, context).candidates).toMatchObject([{ logprobsResult }]);
  });

  it.each([{}, "text", null, []].map((body) => [body]))("%j is none", (body) => {
    expect(failure(() => gemini.decodeResponse(body))).toMatchObject({ code: "upstream_invalid" });
  });
});

describe("an answer for a caller", () => {
  it("carries the name that the caller used, reasons and counts", () => {
    const usage = { inputTokens: 10, cacheReadTokens: 4, cacheWriteTokens: 0, outputTokens: 9, reasoningTokens: 5 };
    expect(encode([{ type: "text", text: "hi" }], { usage, serviceTier: "flex" })).toEqual({
      candidates: [{ content: { role: "model", parts: [{ text: "hi" }] }, finishReason: "STOP", index: 0 }],
      usageMetadata: {
        promptTokenCount: 10,
        cachedContentTokenCount: 4,
        candidatesTokenCount: 4,
        thoughtsTokenCount: 5,
        totalTokenCount: 19,
        serviceTier: "flex",
      },
      modelVersion: "asked",
      responseId: "x1",
    });
  });

  it("shows thoughts to who asked for them", () => {
    const thinking: Part = { type: "thinking", text: "hm" };
    const asking = (includeThoughts: boolean) => ({
      request: {
        member: (name: string) =>
          name === "generation_config" ? { thinking_config: { include_thoughts: includeThoughts } } : undefined,
      },
    });
    expect(partsOf(encode([thinking]))).toEqual([{ text: "hm", thought: true }]);
    expect(partsOf(encode([thinking], {}, asking(true)))).toEqual([{ text: "hm", thought: true }]);
    for (const caller of [asking(false), { request: { member: () => undefined } }, { showThinking: false }]) {
      expect(partsOf(encode([thinking], {}, caller)).some(({ thought }) => thought)).toBe(false);
    }
  });

  it("carries signatures of others in an envelope from which thinking comes back whole", () => {
    const thinking: Part = {
      type: "thinking",
      text: "hm ¿¿¿~~~?",
      signature: { origin: "anthropic-messages", data: "U0lH" },
    };
    const call: Part = { type: "tool-call", id: "toolu_1", name: "f", arguments: "{}" };
    for (const showThinking of [true, false]) {
      const parts = partsOf(encode([thinking, call], {}, { showThinking }));
      const { thoughtSignature } = parts.at(-1) as { thoughtSignature: string };
      expect(Buffer.from(thoughtSignature, "base64").toString("base64")).toBe(thoughtSignature);
      const history = { contents: [{ role: "model", parts }] };
      expect(gemini.ownMarks.some((mark) => JSON.stringify(history).includes(mark))).toBe(true);
      for (const text of [JSON.stringify(history), JSON.stringify(history).replaceAll("+", "-").replaceAll("/", "_")]) {
        const back = gemini.decodeRequest(JSON.parse(text), { model: "m" });
        expect(back.messages[0]!.content).toEqual([thinking, call]);
      }
    }
  });

  it("loses no signature where several blocks of thinking follow each other", () => {
    const thinking = (data: string): Part => ({ type: "thinking", text: data, signature: { origin: "x", data } });
    const parts = partsOf(
      encode([thinking("a"), thinking("b"), { type: "text", text: "so" }], {}, { showThinking: false }),
    );
    const back = gemini.decodeRequest({ contents: [{ role: "model", parts }] }, { model: "m" });
    expect(back.messages[0]!.content).toEqual([thinking("a"), thinking("b"), { type: "text", text: "so" }]);
  });

  it("brings encrypted thinking back too", () => {
    const redacted: Part = { type: "thinking", text: "", redacted: "RU5D" };
    const parts = partsOf(encode([redacted, { type: "text", text: "so" }]));
    expect(parts).toEqual([{ text: "so", thoughtSignature: expect.any(String) }]);
    const back = gemini.decodeRequest({ contents: [{ role: "model", parts }] }, { model: "m" });
    expect(back.messages[0]!.content).toEqual([redacted, { type: "text", text: "so" }]);
  });

  it("names sources of others as grounding, counted in bytes", () => {
    const cited: Part = {
      type: "text",
      text: "à b",
      citations: { dialect: "x", value: {}, sources: [{ url: "https://a", title: "A", start: 2, end: 3 }] },
    };
    expect(encode([{ type: "text", text: "é" }, cited]).candidates).toMatchObject([
      {
        groundingMetadata: {
          groundingChunks: [{ web: { uri: "https://a", title: "A" } }],
          groundingSupports: [{ segment: { startIndex: 5, endIndex: 6, text: "b" }, groundingChunkIndices: [0] }],
        },
      },
    ]);
  });
});

describe("a signature survives callers of other dialects", () => {
  const original = answer([
    { text: "let me see" },
    { functionCall: { id: "call_1", name: "f", args: { a: 1 } }, thoughtSignature: "AAA=" },
  ]);
  const response = gemini.decodeResponse(original);
  const results = [{ functionResponse: { id: "call_1", name: "f", response: { output: "x" } } }];

  it("anthropic-messages", () => {
    const { content } = anthropicMessages.encodeResponse(response, context) as { content: JsonObject[] };
    const request = anthropicMessages.decodeRequest({
      model: "m",
      max_tokens: 9,
      messages: [
        { role: "user", content: "go" },
        { role: "assistant", content },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "call_1", content: "x" }] },
      ],
    });
    expect(gemini.encodeRequest(request, "g").contents).toEqual([
      { role: "user", parts: [{ text: "go" }] },
      { role: "model", parts: original.candidates[0]!.content.parts },
      { role: "user", parts: results },
    ]);
  });

  it("openai-chat", () => {
    const { choices } = openaiChat.encodeResponse(response, context) as { choices: { message: JsonObject }[] };
    const request = openaiChat.decodeRequest({
      model: "m",
      messages: [
        { role: "user", content: "go" },
        choices[0]!.message,
        { role: "tool", tool_call_id: "call_1", content: "x" },
      ],
    });
    expect(gemini.encodeRequest(request, "g").contents).toEqual([
      { role: "user", parts: [{ text: "go" }] },
      { role: "model", parts: original.candidates[0]!.content.parts },
      { role: "user", parts: results },
    ]);
  });
});

describe("errors", () => {
  const body = (code: number, status: string, message = "no", details: JsonObject[] = []) => ({
    error: { code, message, status, details },
  });
  const rpc = (type: string, members: JsonObject) => ({
    "@type": `type.googleapis.com/google.rpc.${type}`,
    ...members,
  });

  it.each([
    [400, "INVALID_ARGUMENT", "invalid_request", 400],
    [401, "UNAUTHENTICATED", "upstream_auth", 502],
    [403, "PERMISSION_DENIED", "upstream_auth", 502],
    [404, "NOT_FOUND", "model_not_found", 404],
    [429, "RESOURCE_EXHAUSTED", "rate_limited", 429],
    [500, "INTERNAL", "upstream_error", 500],
    [503, "UNAVAILABLE", "upstream_overloaded", 503],
    [504, "DEADLINE_EXCEEDED", "upstream_timeout", 504],
  ])("%i %s is %s", (status, name, code, answered) => {
    expect(gemini.decodeError(status, body(status, name))).toMatchObject({
      code,
      status: answered,
      upstreamCode: name,
    });
    // In a stream there is only the name.
    expect(gemini.decodeError(200, { error: { status: name, message: "no" } })).toMatchObject({ code });
  });

  it("tell when to try again, in whole seconds", () => {
    const details = [rpc("QuotaFailure", {}), rpc("RetryInfo", { retryDelay: "34.4s" })];
    expect(gemini.decodeError(429, body(429, "RESOURCE_EXHAUSTED", "quota", details))).toMatchObject({
      retryAfterSeconds: 35,
      retryable: true,
    });
  });

  it("about the key come as a bad request, and are about our key", () => {
    const details = [rpc("ErrorInfo", { reason: "API_KEY_INVALID", domain: "googleapis.com" })];
    expect(gemini.decodeError(400, body(400, "INVALID_ARGUMENT", "no", details))).toMatchObject({
      code: "upstream_auth",
      upstreamCode: "API_KEY_INVALID",
    });
    expect(
      gemini.decodeError(400, body(400, "INVALID_ARGUMENT", "API key not valid. Pass a valid one.")),
    ).toMatchObject({
      code: "upstream_auth",
    });
  });

  it("about the length tell the numbers", () => {
    const message = "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576).";
    expect(gemini.decodeError(400, body(400, "INVALID_ARGUMENT", message))).toMatchObject({
      code: "context_length_exceeded",
      message,
      details: { tokens: 3475108, maximum: 1048576 },
    });
  });

  it("about a field name it", () => {
    const details = [rpc("BadRequest", { fieldViolations: [{ field: "contents[0].parts", description: "x" }] })];
    expect(gemini.decodeError(400, body(400, "INVALID_ARGUMENT", "no", details)).param).toBe("contents[0].parts");
  });

  it.each([
    ["a list", [body(429, "RESOURCE_EXHAUSTED")], 429, "rate_limited", "no"],
    ["text", "<html>Bad Gateway</html>", 502, "upstream_error", "<html>Bad Gateway</html>"],
    ["nothing", "", 503, "upstream_overloaded", "The upstream answered with status 503"],
    ["an answer", { hello: 1 }, 418, "upstream_error", "The upstream answered with status 418"],
  ])("that are %s are read too", (_, given, status, code, message) => {
    expect(gemini.decodeError(status, given)).toMatchObject({ code, message });
  });

  it("are told to callers with a status name, a reason, the field and the wait", () => {
    const error = new GatewayError("rate_limited", "slow down", {
      retryAfterSeconds: 7,
      details: { limit: { usd: 5 } },
    });
    expect(gemini.encodeError(error, "req")).toEqual({
      status: 429,
      body: {
        error: {
          code: 429,
          message: "slow down",
          status: "RESOURCE_EXHAUSTED",
          details: [
            rpc("ErrorInfo", { reason: "RATE_LIMITED", domain: "turnpike", metadata: { limit: '{"usd":5}' } }),
            rpc("RetryInfo", { retryDelay: "7s" }),
          ],
        },
      },
    });
    expect(
      gemini.encodeError(new GatewayError("invalid_request", "no", { param: "contents" }), "req").body,
    ).toMatchObject({
      error: {
        code: 400,
        status: "INVALID_ARGUMENT",
        details: [{}, { fieldViolations: [{ field: "contents", description: "no" }] }],
      },
    });
    expect(gemini.encodeError(new GatewayError("budget_exceeded", "spent"), "req")).toMatchObject({
      status: 402,
      body: { error: { code: 402, status: "RESOURCE_EXHAUSTED" } },
    });
  });

  it("come back as they went out", () => {
    for (const code of ["invalid_request", "rate_limited", "upstream_overloaded", "upstream_timeout"] as const) {
      const sent = new GatewayError(code, "why", { param: "a.b", retryAfterSeconds: 3 });
      const { status, body: wire } = gemini.encodeError(sent, "req");
      const { message, param, retryAfterSeconds } = sent;
      expect(gemini.decodeError(status, wire)).toMatchObject({ code, status, message, param, retryAfterSeconds });
    }
  });
});
