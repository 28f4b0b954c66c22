import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isGatewayError } from "../../src/core/errors.ts";
import type { ChatRequest, Message, Part } from "../../src/core/request.ts";
import { encodeSignature, readThinking } from "../../src/core/thinking-envelope.ts";
import { openaiChat, openaiChatWith } from "../../src/dialects/openai-chat/index.ts";

describe("requests, both ways", () => {
  const word = fc.string({ minLength: 1, maxLength: 12 });
  const some = <T>(value: fc.Arbitrary<T>) => fc.array(value, { minLength: 1, maxLength: 3 });
  const textPart = word.map((text): Part => ({ type: "text", text }));
  const media = fc.constantFrom<Part>(
    { type: "image", source: { kind: "url", url: "https://example.com/a.png" }, detail: "high" },
    { type: "image", source: { kind: "base64", mediaType: "image/png", data: "AAAA" } },
    { type: "audio", data: "AAAA", format: "wav" },
    { type: "document", source: { kind: "base64", mediaType: "application/pdf", data: "AA" }, filename: "a.pdf" },
    { type: "document", source: { kind: "file", dialect: "openai-chat", id: "file-1" } },
    { type: "opaque", dialect: "openai-chat", kind: "video_url", value: { type: "video_url" } },
  );
  const result = fc
    .record({ id: word, content: fc.array(textPart, { maxLength: 2 }) })
    .map(({ id, content }): Part => ({ type: "tool-result", id, content: content as never }));
  const call = fc
    .record({ id: word, name: word, value: fc.dictionary(word, fc.jsonValue()) })
    .map(({ id, name, value }): Part => ({ type: "tool-call", id, name, arguments: JSON.stringify(value) }));
  const assistant = fc
    .record({
      thinking: fc.option(word),
      text: fc.option(word),
      refusal: fc.option(word),
      calls: fc.array(call, { maxLength: 3 }),
    })
    .map(({ thinking, text, refusal, calls }): Message => {
      const content: Part[] = [];
      if (thinking !== null) content.push({ type: "thinking", text: thinking });
      if (text !== null) content.push({ type: "text", text });
      if (refusal !== null) content.push({ type: "refusal", text: refusal });
      return { role: "assistant", content: [...content, ...calls] };
    });
  const plainUser = some(fc.oneof(textPart, media)).map((content): Message => ({ role: "user", content }));
  const turn = fc.oneof(
    plainUser.map((message) => [message]),
    fc.tuple(assistant, some(result)).map(([said, content]): Message[] => [said, { role: "user", content }]),
    fc
      .tuple(plainUser, word)
      .map(([message, text]): Message[] => [message, { role: "system", content: [{ type: "text", text }] }]),
  );
  const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
  const request = fc.record({
    system: fc.array(word, { maxLength: 1 }).map((texts) => texts.map((text) => ({ type: "text" as const, text }))),
    messages: fc.tuple(plainUser, fc.array(turn, { maxLength: 4 })).map(([first, turns]) => [first, ...turns.flat()]),
    tools: fc.array(
      word.map((name) => ({ type: "function" as const, name, parameters: { type: "object", properties: { a: {} } } })),
      { maxLength: 2 },
    ),
    maxTokens: optional(fc.integer({ min: 1 })),
    temperature: optional(fc.double({ noNaN: true, noDefaultInfinity: true })),
    n: optional(fc.integer({ min: 1, max: 128 })),
    seed: optional(fc.maxSafeInteger()),
    stop: optional(some(word)),
    reasoning: optional(fc.constantFrom<ChatRequest["reasoning"]>({ mode: "off" }, { mode: "on", effort: "max" })),
    outputFormat: optional(
      fc.constantFrom<ChatRequest["outputFormat"]>(
        { type: "json" },
        { type: "json-schema", name: "n", schema: { type: "object" }, strict: true },
      ),
    ),
    userId: optional(word),
    sessionId: optional(word),
    metadata: optional(fc.dictionary(word, word)),
  });

  test("what the dialect can carry survives a round trip", () => {
    const dialect = openaiChatWith({ thinking: "reasoning_content" });
    fc.assert(
      fc.property(request, (fields) => {
        const before: ChatRequest = JSON.parse(JSON.stringify({ model: "m", stream: false, ...fields }));
        const wire = JSON.parse(JSON.stringify(dialect.encodeRequest(before, "m")));
        expect(dialect.decodeRequest(wire)).toEqual(before);
      }),
    );
  });

  test("any JSON is either read or refused with the field's name", () => {
    const fields = ["messages", "tools", "tool_choice", "stop", "response_format", "stream_options", "functions"];
    const junk = fc.dictionary(fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 4 }));
    fc.assert(
      fc.property(junk, (fields) => {
        try {
          openaiChat.decodeRequest({ model: "m", messages: [{ role: "user", content: "Hi" }], ...fields });
        } catch (error) {
          expect(isGatewayError(error) && error.code === "invalid_request" && error.param !== undefined).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("signatures travel in an envelope, native ones as they are", () => {
    const signature = fc.record({ origin: word, model: word, kind: word, data: fc.string() });
    fc.assert(
      fc.property(signature, (value) => {
        expect(readThinking("x", encodeSignature(value)).signature).toEqual(value);
      }),
    );
    expect(encodeSignature({ origin: "anthropic-messages", data: "raw" })).toBe("raw");
    expect(readThinking("x", "raw").signature).toEqual({ origin: "anthropic-messages", data: "raw" });
    expect(readThinking("x", "tp1.!!!").signature?.origin).toBe("unknown");
  });
});
