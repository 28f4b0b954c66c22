import { describe, expect, it } from "vitest";
import type { CallerContext, Frame } from "../../src/core/dialect.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { collector, type StreamEvent } from "../../src/core/events.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { gemini } from "../../src/dialects/gemini/index.ts";
import { formatFrames, sseReader } from "../../src/dialects/sse.ts";

const context: CallerContext = {
  model: "asked",
  id: "x1",
  created: 0,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};

const piece = (parts: JsonObject[], more: JsonObject = {}, rest: JsonObject = {}): JsonObject => ({
  candidates: [{ content: { role: "model", parts }, ...more }],
  ...rest,
});
const call = (functionCall: JsonObject, more: JsonObject = {}) => piece([{ functionCall }], more);
const END = { finishReason: "STOP" };

function decode(...pieces: (JsonObject | string)[]): StreamEvent[] {
  const decoder = gemini.streamDecoder();
  const events = pieces.flatMap((data) =>
    decoder.feed({ data: typeof data === "string" ? data : JSON.stringify(data) }),
  );
  return [...events, ...decoder.end()];
}

function collect(...pieces: JsonObject[]) {
  const collected = collector();
  for (const event of decode(...pieces)) collected.add(event);
  return collected.response();
}

describe("a stream of the upstream", () => {
  it("becomes one text, and its reason and usage come last", () => {
    const usage = (candidatesTokenCount: number) => ({ usageMetadata: { promptTokenCount: 3, candidatesTokenCount } });
    const used = (outputTokens: number) => ({
      type: "usage",
      usage: { inputTokens: 3, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens },
    });
    expect(
      decode(
        piece([{ text: "a" }], {}, { responseId: "r", modelVersion: "g", ...usage(1) }),
        piece([{ text: "b" }], END, usage(2)),
      ),
    ).toEqual([
      { type: "start", id: "r", model: "g" },
      { type: "text-start" },
      { type: "text-delta", text: "a" },
      used(1),
      { type: "text-delta", text: "b" },
      used(2),
      { type: "text-end" },
      { type: "finish", reason: "stop" },
      used(2),
    ]);
  });

  it("may give its reason in every piece", () => {
    expect(collect(piece([{ text: "a" }], END), piece([{ text: "b" }], END)).choices).toEqual([
      { content: [{ type: "text", text: "ab" }], finishReason: "stop" },
    ]);
  });

  it("ends as its last reason says", () => {
    const { choices } = collect(piece([{ text: "a" }], END), piece([{ text: "b" }], { finishReason: "MAX_TOKENS" }));
    expect(choices[0]!.finishReason).toBe("length");
  });

  it("signs the thoughts that came before a text, and leaves the text whole", () => {
    const { choices } = collect(
      piece([{ text: "th", thought: true }]),
      piece([{ text: "ink", thought: true }]),
      piece([{ text: "an", thoughtSignature: "AAA=" }]),
      piece([{ text: "swer" }]),
      piece([{ text: "", thoughtSignature: "BBB=" }], END),
    );
    expect(choices[0]!.content).toEqual([
      { type: "thinking", text: "think", signature: { origin: "gemini", kind: "answer", data: "AAA=" } },
      { type: "text", text: "answer" },
      { type: "thinking", text: "", signature: { origin: "gemini", kind: "answer", data: "BBB=" } },
    ]);
  });

  it("names its sources at the end, also where a signature stands there too", () => {
    const groundingMetadata = { groundingChunks: [{ web: { uri: "https://a" } }] };
    const { choices } = collect(
      piece([{ text: "ab" }]),
      piece([{ text: "", thoughtSignature: "AAA=" }], { ...END, groundingMetadata }),
    );
    expect(choices[0]!.content).toMatchObject([
      { type: "text", text: "ab", citations: { sources: [{ url: "https://a" }] } },
      { type: "thinking", signature: { data: "AAA=" } },
    ]);
  });

  it("may bring arguments value by value", () => {
    const partial = (jsonPath: string, value: JsonObject) =>
      call({ partialArgs: [{ jsonPath, ...value }], willContinue: true });
    const { choices } = collect(
      piece([{ functionCall: { name: "f", id: "1", willContinue: true }, thoughtSignature: "AAA=" }]),
      partial("$.items[0].name", { stringValue: "Ap", willContinue: true }),
      partial("$.items[0].name", { stringValue: "ple" }),
      call({ willContinue: true }),
      partial("$.items[0].price", { numberValue: 0.5 }),
      partial("$.items[1].fresh", { boolValue: false }),
      partial("$.items[1].note", { nullValue: "NULL_VALUE" }),
      partial("$['odd.key']", { stringValue: "" }),
      partial("$.none[]", {}),
      partial("$.empty", {}),
      call({}),
      call({ name: "g", id: "2" }, END),
    );
    expect(choices[0]!.finishReason).toBe("tool-calls");
    const [, first, second] = choices[0]!.content as { id: string; arguments: string }[];
    expect(JSON.parse(first!.arguments)).toEqual({
      items: [
        { name: "Apple", price: 0.5 },
        { fresh: false, note: null },
      ],
      "odd.key": "",
      none: [],
      empty: {},
    });
    expect(second).toEqual({ type: "tool-call", id: "2", name: "g", arguments: "" });
  });

  it("keeps arguments harmless whatever paths they come with", () => {
    const { choices } = collect(
      call({ name: "f", id: "1", willContinue: true }),
      call({ partialArgs: [{ jsonPath: "$.__proto__.polluted", numberValue: 1 }], willContinue: true }),
      call({ partialArgs: [{ jsonPath: "$.a[4000000000]", numberValue: 1 }], willContinue: true }),
      call({ partialArgs: [{ jsonPath: "$", numberValue: 1 }], willContinue: true }),
      call({ partialArgs: [{ jsonPath: "$.b", numberValue: 2 }] }, END),
    );
    expect(choices[0]!.content).toMatchObject([{ arguments: '{"__proto__":{"polluted":1},"a":[],"b":2}' }]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it("ends a call that its upstream forgot to end", () => {
    const { choices } = collect(
      call({ name: "f", id: "1", willContinue: true }),
      call({ partialArgs: [{ jsonPath: "$.a", numberValue: 1 }], willContinue: true }),
      piece([{ text: "" }], END),
    );
    expect(choices[0]).toEqual({
      content: [{ type: "tool-call", id: "1", name: "f", arguments: '{"a":1}' }],
      finishReason: "tool-calls",
    });
  });

  it("may interleave candidates", () => {
    const at = (index: number, text: string, more: JsonObject = {}) => ({
      index,
      content: { parts: [{ text }] },
      ...more,
    });
    const { choices } = collect(
      { candidates: [at(0, "a"), at(1, "x")] },
      { candidates: [at(1, "y", { finishReason: "MAX_TOKENS" })] },
      { candidates: [at(0, "b", END)] },
    );
    expect(choices).toEqual([
      { content: [{ type: "text", text: "ab" }], finishReason: "stop" },
      { content: [{ type: "text", text: "xy" }], finishReason: "length" },
    ]);
  });

  it("tells a blocked prompt as a refusal", () => {
    const events = decode({ promptFeedback: { blockReason: "PROHIBITED_CONTENT" } });
    expect(events.map(({ type }) => type)).toEqual(["start", "refusal-delta", "finish"]);
  });

  it.each<[string, (JsonObject | string)[], JsonObject]>([
    ["cut", [piece([{ text: "a" }])], { code: "upstream_unreachable", retryable: true }],
    ["empty", [], { code: "upstream_unreachable" }],
    [
      "cut in one of two candidates",
      [{ candidates: [{ index: 0, ...END }, { index: 1 }] }],
      { code: "upstream_unreachable" },
    ],
    ["broken", [piece([{ text: "a" }]), "{"], { code: "upstream_invalid" }],
    [
      "told as failed",
      [piece([{ text: "a" }]), { error: { code: 503, status: "UNAVAILABLE", message: "overloaded" } }],
      { code: "upstream_overloaded", message: "overloaded" },
    ],
    ["unusable", [piece([], { finishReason: "MALFORMED_FUNCTION_CALL" })], { code: "upstream_error", retryable: true }],
  ])("that is %s ends with an error and with nothing after it", (_, pieces, error) => {
    const events = decode(...pieces);
    expect(events.at(-1)).toMatchObject({ type: "error", error });
    expect(events.filter(({ type }) => type === "finish")).toEqual([]);
  });
});

describe("a stream for a caller", () => {
  const encode = (events: StreamEvent[], caller: Partial<CallerContext> = {}): Frame[] => {
    const encoder = gemini.streamEncoder({ ...context, ...caller });
    return [...events.flatMap((event) => encoder.encode(event)), ...encoder.end()];
  };
  const parts = (frames: Frame[]) =>
    frames.flatMap(({ data }) =>
      (data as { candidates: { content: { parts: JsonObject[] } }[] }).candidates.flatMap(
        ({ content }) => content.parts,
      ),
    );

  it("has a piece per text delta; the last one holds reason and usage", () => {
    const usage = { inputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens: 2 };
    const foot = { modelVersion: "asked", responseId: "x1" };
    const content = (text: string) => ({ content: { parts: [{ text }], role: "model" }, index: 0 });
    expect(
      encode([
        { type: "start", id: "up", model: "up" },
        { type: "text-start" },
        { type: "text-delta", text: "a" },
        { type: "text-delta", text: "b" },
        { type: "text-end" },
        { type: "finish", reason: "length" },
        { type: "usage", usage },
      ]),
    ).toEqual([
      { data: { candidates: [content("a")], ...foot } },
      { data: { candidates: [content("b")], ...foot } },
      {
        data: {
          candidates: [{ ...content(""), finishReason: "MAX_TOKENS" }],
          usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2, totalTokenCount: 3 },
          ...foot,
        },
      },
    ]);
  });

  it("brings a function call whole, also one that was cut", () => {
    const start: StreamEvent = { type: "tool-call-start", id: "1", name: "f" };
    const frames = encode([
      start,
      { type: "tool-call-delta", arguments: '{"a"' },
      { type: "tool-call-delta", arguments: ":1}" },
      { type: "tool-call-end" },
      start,
      { type: "tool-call-delta", arguments: '{"b"' },
      { type: "finish", reason: "length" },
    ]);
    expect(parts(frames)).toEqual([
      { functionCall: { id: "1", name: "f", args: { a: 1 } } },
      { functionCall: { id: "1", name: "f", args: { __invalid_json: '{"b"' } } },
    ]);
  });

  it("hides thoughts from who does not want them, and brings them back in the signature", () => {
    const frames = encode(
      [
        { type: "thinking-start" },
        { type: "thinking-delta", text: "hm" },
        { type: "thinking-end", signature: { origin: "anthropic-messages", data: "U0lH" } },
        { type: "text-start" },
        { type: "text-delta", text: "a" },
        { type: "text-delta", text: "b" },
        { type: "text-end" },
        { type: "redacted-thinking", data: "RU5D" },
        { type: "finish", reason: "stop" },
      ],
      { showThinking: false },
    );
    expect(parts(frames)).toEqual([
      { text: "a", thoughtSignature: expect.any(String) },
      { text: "b" },
      { text: "", thoughtSignature: expect.any(String) },
    ]);
    const back = gemini.decodeRequest({ contents: [{ role: "model", parts: parts(frames) }] }, { model: "m" });
    expect(back.messages[0]!.content).toEqual([
      { type: "thinking", text: "hm", signature: { origin: "anthropic-messages", data: "U0lH" } },
      { type: "text", text: "a" },
      { type: "text", text: "b" },
      { type: "thinking", text: "", redacted: "RU5D" },
    ]);
  });

  it("keeps several choices apart", () => {
    const frames = encode([
      { type: "text-start", choice: 1 },
      { type: "text-delta", text: "b", choice: 1 },
      { type: "text-end", choice: 1 },
      { type: "finish", reason: "refusal", choice: 1 },
      { type: "finish", reason: "stop" },
    ]);
    expect(frames.map(({ data }) => (data as JsonObject).candidates)).toEqual([
      [{ content: { parts: [{ text: "b" }], role: "model" }, index: 1 }],
      [
        { content: { parts: [{ text: "" }], role: "model" }, index: 0, finishReason: "STOP" },
        { content: { parts: [{ text: "" }], role: "model" }, index: 1, finishReason: "SAFETY" },
      ],
    ]);
  });

  it("that breaks ends with the error and nothing else", () => {
    const encoder = gemini.streamEncoder(context);
    encoder.encode({ type: "text-delta", text: "a" });
    const error = new GatewayError("upstream_overloaded", "busy", { retryAfterSeconds: 2 });
    const frames = [...encoder.error(error), ...encoder.end(), ...encoder.error(error)];
    expect(frames).toMatchObject([{ data: { error: { code: 503, status: "UNAVAILABLE", message: "busy" } } }]);
    expect(decode(JSON.parse(JSON.stringify(frames[0]!.data)))).toMatchObject([
      { type: "error", error: { code: "upstream_overloaded", retryAfterSeconds: 2 } },
    ]);
  });

  it("may hold pings that say nothing", () => {
    const frames = encode([{ type: "text-delta", text: "a" }]);
    const events: StreamEvent[] = [];
    const decoder = gemini.streamDecoder();
    const reader = sseReader((frame) => events.push(...decoder.feed(frame)));
    reader.feed(
      Buffer.from(gemini.ping + formatFrames(frames.slice(0, 1)) + gemini.ping + formatFrames(frames.slice(1))),
    );
    reader.end();
    events.push(...decoder.end());
    const collected = collector();
    for (const event of events) collected.add(event);
    expect(collected.response().choices[0]!.content).toEqual([{ type: "text", text: "a" }]);
  });
});
