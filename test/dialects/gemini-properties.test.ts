import fc from "fast-check";
import { expect, it } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { collector, replay, type StreamEvent } from "../../src/core/events.ts";
import { type ChatRequest, type ChatResponse, EFFORTS, type Message, type Part } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { gemini, geminiWith } from "../../src/dialects/gemini/index.ts";
import { formatFrames, sseReader } from "../../src/dialects/sse.ts";

const ID = "gemini";
const context: CallerContext = {
  model: "m",
  id: "x1",
  created: 0,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};
const newest = geminiWith({ signedCalls: () => true, mediaInResults: () => true });

const word = fc.string({ unit: "grapheme", minLength: 1 });
const name = fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_.:-]{0,9}$/);
const json = fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);
const args = json.map((value) => (Object.keys(value).length === 0 ? "" : JSON.stringify(value)));
const data = fc.stringMatching(/^[A-Za-z0-9+/]{4,20}=$/);

const textPart = fc.record({ type: fc.constant("text" as const), text: word });
const image = fc.record({
  type: fc.constant("image" as const),
  source: fc.oneof(
    fc.record({ kind: fc.constant("base64" as const), mediaType: fc.constant("image/png"), data: fc.base64String() }),
    fc.record({ kind: fc.constant("url" as const), url: name.map((path) => `https://example.com/${path}.png`) }),
  ),
});
const document = fc.record({
  type: fc.constant("document" as const),
  source: fc.oneof(
    fc.record({ kind: fc.constant("text" as const), mediaType: fc.constant("text/plain"), text: fc.string() }),
    fc.record({
      kind: fc.constant("base64" as const),
      mediaType: fc.constant("application/pdf"),
      data: fc.base64String(),
    }),
  ),
});
const audio = fc.record({
  type: fc.constant("audio" as const),
  data: fc.base64String(),
  format: fc.constantFrom("wav", "mp3", "flac"),
});
const opaque = fc
  .tuple(fc.constantFrom("executableCode", "codeExecutionResult", "toolCall"), json)
  .map(([kind, value]): Part => ({ type: "opaque", dialect: ID, kind, value: { [kind]: value } }));

/** What a model may say: thinking is signed on what follows it, and no two texts touch. */
function turn(
  pieces: { kind: number; text: string; name: string; args: string; data: string }[],
  prefix: string,
): Part[] {
  const content: Part[] = [];
  for (const [i, piece] of pieces.entries()) {
    const last = content.at(-1)?.type;
    if (piece.kind === 0 && last !== "text") content.push({ type: "text", text: piece.text });
    if (piece.kind === 1)
      content.push({ type: "tool-call", id: `${prefix}_${i}`, name: piece.name, arguments: piece.args });
    if (piece.kind === 2 && last !== "thinking")
      content.push({ type: "thinking", text: piece.text, signature: { origin: ID, data: piece.data } });
  }
  return content.map((part, i) => {
    if (part.type !== "thinking") return part;
    const kind = content[i + 1]?.type === "tool-call" ? "call" : "answer";
    return { ...part, signature: { ...part.signature!, kind } };
  });
}
const pieces = fc.array(fc.record({ kind: fc.integer({ min: 0, max: 2 }), text: word, name, args, data }), {
  minLength: 1,
  maxLength: 6,
});

const resultText = fc.oneof(
  word.filter((text) => !text.trimStart().startsWith("{") && text !== "(no output)"),
  json
    .filter((value) => !("output" in value || "error" in value) && Object.keys(value).length > 0)
    .map((v) => JSON.stringify(v)),
);
const user = fc.array(fc.oneof(textPart, image, document, audio, opaque), { minLength: 1, maxLength: 3 });

const conversation = fc
  .array(
    fc.record({
      said: user,
      pieces,
      results: fc.array(fc.tuple(resultText, fc.boolean(), fc.option(image)), { minLength: 6, maxLength: 6 }),
    }),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  .map((rounds) => {
    const messages: Message[] = [];
    let calls: string[] = [];
    let answers: [string, boolean, Part | null][] = [];
    for (const [i, round] of rounds.entries()) {
      const results = calls.map((id, j): Part => {
        const [text, isError, media] = answers[j]!;
        const content = [{ type: "text" as const, text }, ...(media ? [media as never] : [])];
        return isError ? { type: "tool-result", id, content, isError } : { type: "tool-result", id, content };
      });
      messages.push({ role: "user", content: [...results, ...round.said] });
      const content = turn(round.pieces, `c${i}`);
      messages.push({ role: "assistant", content: content.length > 0 ? content : [{ type: "text", text: "ok" }] });
      calls = content.flatMap((part) => (part.type === "tool-call" ? part.id : []));
      answers = round.results;
    }
    return messages;
  });

const functionTool = fc.record(
  {
    type: fc.constant("function" as const),
    name,
    description: word,
    parameters: json.map((more) => ({ ...more, type: "object" })),
  },
  { requiredKeys: ["type", "name", "parameters"] },
);
const hostedTool = fc.constantFrom(
  { type: "opaque" as const, dialect: ID, kind: "urlContext", value: { urlContext: {} } },
  { type: "web-search" as const, name: "googleSearch", native: { dialect: ID, value: { googleSearch: {} } } },
);

const request: fc.Arbitrary<ChatRequest> = fc.record(
  {
    model: fc.constant("m"),
    system: fc.array(textPart, { maxLength: 2 }),
    messages: conversation,
    tools: fc
      .tuple(fc.array(functionTool, { maxLength: 2 }), fc.array(hostedTool, { maxLength: 2 }))
      .map(([functions, hosted]) => [...functions, ...hosted]),
    stream: fc.boolean(),
    maxTokens: fc.nat(),
    temperature: fc.double({ min: 0, max: 2, noNaN: true }),
    topP: fc.double({ min: 0, max: 1, noNaN: true }),
    topK: fc.nat(),
    seed: fc.integer(),
    stop: fc.array(word, { minLength: 1, maxLength: 5 }),
    n: fc.integer({ min: 1, max: 8 }),
    logprobs: fc.boolean(),
    topLogprobs: fc.nat({ max: 20 }),
    reasoning: fc.oneof(
      fc.record({ mode: fc.constant("off" as const), show: fc.constant(false) }),
      fc.record({ mode: fc.constant("auto" as const), show: fc.boolean() }),
      fc.record({ mode: fc.constant("on" as const), budget: fc.integer({ min: 1, max: 32_768 }), show: fc.boolean() }),
      fc.record({ mode: fc.constant("on" as const), effort: fc.constantFrom(...EFFORTS), show: fc.boolean() }),
    ),
    outputFormat: fc.oneof(
      fc.constant({ type: "json" as const }),
      fc.record({ type: fc.constant("json-schema" as const), schema: json }),
    ),
    serviceTier: fc.constantFrom("standard", "flex", "priority"),
    extensions: fc.constant({
      dialect: ID,
      value: { safetySettings: [{ category: "c" }], generationConfig: { mediaResolution: "m" } },
    }),
  },
  { requiredKeys: ["model", "system", "messages", "tools", "stream"] },
);

/** Arguments of nothing are an object of nothing on the wire. */
const withObjects = (messages: Message[]): Message[] =>
  messages.map(({ role, content }) => ({
    role,
    content: content.map((part) =>
      part.type === "tool-call" && part.arguments === "" ? { ...part, arguments: "{}" } : part,
    ),
  }));

/** Thoughts are not told to the model again, only what signs them. */
const withoutThoughts = (messages: Message[]): Message[] =>
  messages.map(({ role, content }) => ({
    role,
    content: content
      .map((part) => (part.type === "thinking" ? { ...part, text: "" } : part))
      // An excuse stands where a call has no signature.
      .filter((part) => part.type !== "thinking" || part.signature?.data !== "skip_thought_signature_validator"),
  }));

it("a request comes back as it was written", () => {
  fc.assert(
    fc.property(request, (given) => {
      const wire = JSON.parse(JSON.stringify(newest.encodeRequest(given, "m"))) as JsonObject;
      const { messages, ...back } = newest.decodeRequest(wire, { model: "m", stream: given.stream });
      const { messages: sent, ...rest } = given;
      expect(back).toEqual(rest);
      expect(withoutThoughts(messages)).toEqual(withoutThoughts(withObjects(sent)));
    }),
  );
});

const response: fc.Arbitrary<ChatResponse> = fc.record({
  id: fc.constant("x1"),
  model: fc.constant("m"),
  choices: fc.array(
    fc
      .tuple(pieces, fc.constantFrom("stop" as const, "length" as const, "pause" as const, "refusal" as const))
      .map(([list, reason]) => {
        const content = turn(list, "c");
        const called = content.some(({ type }) => type === "tool-call");
        return { content, finishReason: reason === "stop" && called ? ("tool-calls" as const) : reason };
      }),
    { minLength: 1, maxLength: 3 },
  ),
  usage: fc.tuple(fc.nat(), fc.nat(), fc.nat()).map(([inputTokens, a, b]) => ({
    inputTokens,
    cacheReadTokens: Math.floor(inputTokens / 2),
    cacheWriteTokens: 0,
    outputTokens: a + b,
    reasoningTokens: b,
  })),
});

it("a whole answer comes back as it was written", () => {
  fc.assert(
    fc.property(response, (given) => {
      const wire = JSON.parse(JSON.stringify(gemini.encodeResponse(given, context)));
      expect(gemini.decodeResponse(wire)).toEqual(given);
    }),
  );
});

function streamOf(given: ChatResponse): string {
  const encoder = gemini.streamEncoder(context);
  const frames = [...replay(given)].flatMap((event) => encoder.encode(event));
  return formatFrames([...frames, ...encoder.end()]);
}

function read(chunks: Uint8Array[]): StreamEvent[] {
  const decoder = gemini.streamDecoder();
  const events: StreamEvent[] = [];
  const reader = sseReader((frame) => events.push(...decoder.feed(frame)));
  for (const chunk of chunks) reader.feed(chunk);
  reader.end();
  return [...events, ...decoder.end()];
}

it("a streamed answer comes back as it was written", () => {
  fc.assert(
    fc.property(response, (given) => {
      const collected = collector();
      for (const event of read([Buffer.from(streamOf(given))])) collected.add(event);
      expect(collected.response()).toEqual(given);
    }),
  );
});

it("a stream says the same wherever it is split, byte by byte", () => {
  fc.assert(
    fc.property(response, (given) => {
      const bytes = Buffer.from(streamOf(given));
      const events = JSON.stringify(read([bytes]));
      for (let at = 1; at < bytes.length; at += 1 + Math.floor(bytes.length / 300)) {
        expect(JSON.stringify(read([bytes.subarray(0, at), bytes.subarray(at)]))).toBe(events);
      }
    }),
    { numRuns: 20 },
  );
});

it("a stream cut before its last piece is never taken for a whole one", () => {
  fc.assert(
    fc.property(response, fc.nat(), (given, seed) => {
      const frames = streamOf(given).split("\n\n").slice(0, -1);
      const kept = frames.slice(0, seed % frames.length);
      expect(read([Buffer.from(kept.map((frame) => `${frame}\n\n`).join(""))]).at(-1)).toMatchObject({
        type: "error",
        error: { code: "upstream_unreachable" },
      });
    }),
  );
});

it("nothing that an upstream sends makes the decoder throw", () => {
  const key = fc.constantFrom(
    "candidates",
    "content",
    "parts",
    "text",
    "functionCall",
    "partialArgs",
    "jsonPath",
    "error",
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 8 },
      fc.constantFrom<unknown>(null, 1, "", "x", "$.a[0].b", true),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(key, tie("value"), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(fc.array(value, { maxLength: 4 }), (chunks) => {
      const decoder = gemini.streamDecoder();
      for (const chunk of chunks) decoder.feed({ data: JSON.stringify(chunk) });
      const last = decoder.end().at(-1);
      expect(last === undefined || last.type === "error" || last.type === "usage" || last.type === "finish").toBe(true);
      expect(decoder.end()).toEqual([]);
    }),
  );
});
