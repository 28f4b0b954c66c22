import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StreamEvent } from "../../src/core/events.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";
import { formatFrames, sseReader } from "../../src/dialects/sse.ts";

const context = { model: "m", id: "X", created: 9, inputTokens: 1, includeUsage: true, showThinking: true };
const start: StreamEvent = { type: "start", id: "chatcmpl-X", model: "m", created: 9 };

function read(chunks: Uint8Array[]): StreamEvent[] {
  const decoder = openaiChat.streamDecoder();
  const events: StreamEvent[] = [];
  const reader = sseReader((frame) => events.push(...decoder.feed(frame)));
  for (const chunk of chunks) reader.feed(chunk);
  reader.end();
  return [...events, ...decoder.end()];
}

function write(events: readonly StreamEvent[]): string {
  const encoder = openaiChat.streamEncoder(context);
  return formatFrames([...events.flatMap((event) => encoder.encode(event)), ...encoder.end()]);
}

const piece = fc.string({ minLength: 1, maxLength: 6, unit: "binary" });
const pieces = fc.array(piece, { minLength: 1, maxLength: 4 });
const jsonPieces = fc.tuple(fc.dictionary(piece, fc.jsonValue()), fc.nat(20)).map(([value, at]) => {
  const text = JSON.stringify(value);
  return [text.slice(0, at), text.slice(at)].filter((part) => part !== "");
});
const signature = fc.constantFrom(
  undefined,
  { origin: "anthropic-messages", data: "sig" },
  { origin: "mistral", model: "m", data: "" },
);

const block = fc.oneof(
  pieces.map((texts): StreamEvent[] => [
    { type: "text-start" },
    ...texts.map((text): StreamEvent => ({ type: "text-delta", text })),
    { type: "text-end" },
  ]),
  fc
    .tuple(pieces, signature)
    .map(([texts, sign]): StreamEvent[] => [
      { type: "thinking-start" },
      ...texts.map((text): StreamEvent => ({ type: "thinking-delta", text })),
      { type: "thinking-end", ...(sign && { signature: sign }) },
    ]),
  fc
    .tuple(piece, piece, jsonPieces)
    .map(([id, name, args]): StreamEvent[] => [
      { type: "tool-call-start", id, name },
      ...args.map((part): StreamEvent => ({ type: "tool-call-delta", arguments: part })),
      { type: "tool-call-end" },
    ]),
  piece.map((data): StreamEvent[] => [{ type: "redacted-thinking", data }]),
);

/** Blocks of one choice, as the dialect can tell them apart: no two texts or thoughts in a row, no id twice. */
const choice = fc.tuple(fc.array(block, { maxLength: 6 }), fc.boolean()).map(([list, long]): StreamEvent[] => {
  const ids = new Set<string>();
  const blocks = list.filter(([first], i) => {
    if (first?.type !== "tool-call-start") return first?.type !== list[i - 1]?.[0]?.type || i === 0;
    if (ids.has(first.id)) return false;
    ids.add(first.id);
    return true;
  });
  const kept = blocks.filter(
    ([first], i) => i === 0 || first?.type === "tool-call-start" || first?.type !== blocks[i - 1]?.[0]?.type,
  );
  return [...kept.flat(), { type: "finish", reason: long ? "length" : ids.size > 0 ? "tool-calls" : "stop" }];
});

const usage = fc
  .record({ inputTokens: fc.nat(), outputTokens: fc.nat(), reasoning: fc.option(fc.nat()), cached: fc.nat() })
  .map(({ inputTokens, outputTokens, reasoning, cached }) => ({
    inputTokens,
    outputTokens,
    cacheReadTokens: Math.min(cached, inputTokens),
    cacheWriteTokens: 0,
    ...(reasoning !== null && { reasoningTokens: Math.min(reasoning, outputTokens) }),
  }));

/** Up to three choices, dealt out in any order. */
const stream = fc
  .tuple(fc.array(choice, { minLength: 1, maxLength: 3 }), fc.infiniteStream(fc.nat()), usage)
  .map(([choices, dice, counts]): StreamEvent[] => {
    const queues = choices.map((events, i) => events.map((event) => (i === 0 ? event : { ...event, choice: i })));
    const events: StreamEvent[] = [start];
    for (
      let left = queues.filter((queue) => queue.length > 0);
      left.length > 0;
      left = left.filter((q) => q.length > 0)
    ) {
      events.push(left[dice.next().value % left.length]?.shift() as StreamEvent);
    }
    return [...events, { type: "usage", usage: counts }];
  });

/** Order within each choice, which is all that a stream promises. */
function byChoice(events: readonly StreamEvent[]): Record<string, StreamEvent[]> {
  return Object.groupBy(
    events,
    (event) => `${event.type === "usage" ? "usage" : "choice" in event ? event.choice : 0}`,
  ) as never;
}

describe("streams, both ways", () => {
  test("canonical events survive being written and read", () => {
    fc.assert(
      fc.property(stream, (events) => {
        expect(byChoice(read([Buffer.from(write(events))]))).toEqual(byChoice(events));
      }),
      { numRuns: 300 },
    );
  });

  test("every split of the bytes gives the same events", () => {
    const events: StreamEvent[] = [
      start,
      { type: "thinking-start" },
      { type: "thinking-delta", text: "Überlegung 🤔" },
      { type: "thinking-end" },
      { type: "text-start" },
      { type: "text-delta", text: "日本語 – naïve 🚀" },
      { type: "text-end" },
      { type: "tool-call-start", id: "é", name: "f" },
      { type: "tool-call-delta", arguments: '{"città":"Zürich"}' },
      { type: "tool-call-end" },
      { type: "finish", reason: "tool-calls" },
      { type: "usage", usage: { inputTokens: 1, outputTokens: 2, cacheReadTokens: 0, cacheWriteTokens: 0 } },
    ];
    const bytes = Buffer.from(`: hello 🚀\r\n\r\n${write(events)}`);
    for (let i = 0; i <= bytes.length; i++) {
      expect(read([bytes.subarray(0, i), bytes.subarray(i)])).toEqual(events);
    }
    expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(events);
  });

  test("tool calls never interleave, whatever order their pieces arrive in", () => {
    const calls = fc.array(jsonPieces, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(calls, fc.infiniteStream(fc.nat()), fc.boolean(), (list, dice, whole) => {
        const queues = list.map((args, index) => [
          { index, id: `id${index}`, function: { name: `f${index}`, arguments: "" } },
          ...args.map((part) => ({ index, function: { arguments: part } })),
        ]);
        const decoder = openaiChat.streamDecoder();
        const events: StreamEvent[] = [];
        const feed = (delta: object, finish_reason: string | null = null) =>
          events.push(...decoder.feed({ data: JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] }) }));
        const order: string[] = [];
        for (let left = [...queues]; left.length > 0; left = left.filter((queue) => queue.length > 0)) {
          const next = left[dice.next().value % left.length]?.shift();
          if (next && "id" in next && next.id) order.push(next.id);
          feed({ tool_calls: [next], ...(whole && { content: "and" }) });
        }
        feed({}, "tool_calls");

        const seen: { id: string; text: string }[] = [];
        let open: string | undefined;
        for (const event of events) {
          if (event.type === "tool-call-start") {
            expect(open).toBeUndefined();
            open = "call";
            seen.push({ id: event.id, text: "" });
          } else if (event.type === "text-start") {
            expect(open).toBeUndefined();
            open = "text";
          } else if (event.type === "tool-call-delta") {
            expect(open).toBe("call");
            seen.at(-1)!.text += event.arguments;
          } else if (event.type === "text-delta") expect(open).toBe("text");
          else if (event.type === "tool-call-end" || event.type === "text-end") open = undefined;
        }
        expect(open).toBeUndefined();
        expect(seen).toEqual(order.map((id) => ({ id, text: list[Number(id.slice(2))]!.join("") })));
      }),
      { numRuns: 300 },
    );
  });

  test("chunks that are like the one before but for their text are read like any others", () => {
    const said = fc.constantFrom(
      "a",
      "b",
      "stop",
      "m",
      "",
      '"',
      "\\",
      "é",
      '"}},"x":{"content":"b"',
      "\ud83e",
      "a".repeat(99),
    );
    const first = (content: string, more = {}) => ({ index: 0, delta: { content, ...more } });
    const call = { index: 0, id: "i", function: { name: "f", arguments: "{" } };
    const around = fc.constantFrom<((content: string) => object)[]>(
      (content) => ({ choices: [first(content)] }),
      (content) => ({ choices: [first(content, { role: "assistant" })], usage: null }),
      (content) => ({ choices: [{ ...first(content), finish_reason: null }] }),
      (content) => ({ choices: [{ ...first(content), finish_reason: "stop" }] }),
      (content) => ({ choices: [{ ...first(content), logprobs: { content: [{ token: "a" }] } }] }),
      (content) => ({ choices: [first(content, { reasoning_content: "b" })] }),
      (content) => ({ choices: [first(content, { reasoning_content: content })] }),
      (content) => ({ choices: [first(content, { tool_calls: [call] })] }),
      (content) => ({ choices: [first(content)], citations: ["a"] }),
      (content) => ({ choices: [first(content)], citations: [content] }),
      (content) => ({ x: "a", choices: [first("b")], y: content }),
      (content) => ({ x: content, id: content, choices: [{ delta: { content } }] }),
      (content) => ({ choices: [{ ...first(content), index: 1 }] }),
      (content) => ({ choices: [first(content), { ...first("b"), index: 1 }] }),
      (content) => ({ choices: [first(content)], usage: { prompt_tokens: 1, completion_tokens: 2 } }),
      (content) => ({ choices: [first(content)], x_groq: { usage: { prompt_tokens: 1, completion_tokens: 2 } } }),
    );
    const escaped = (json: string) => json.replace(/"a"/g, '"\\u0061"');
    const writing = fc.constantFrom<((value: object) => string)[]>(
      (value) => JSON.stringify(value),
      (value) => JSON.stringify(value),
      (value) => JSON.stringify(value, null, 1),
      (value) => escaped(JSON.stringify(value)),
      (value) => `${JSON.stringify(value)} `,
      (value) => JSON.stringify(value).slice(0, -1),
    );
    const alike = fc.tuple(around, writing, fc.array(said, { minLength: 1, maxLength: 4 }));
    const runs = fc.array(alike, { minLength: 1, maxLength: 6 });
    const decoded = (list: string[]) => {
      const decoder = openaiChat.streamDecoder();
      const events = [...list.flatMap((data) => decoder.feed({ data })), ...decoder.end()];
      return events.map((event) => (event.type === "error" ? event.error.message : event));
    };
    fc.assert(
      fc.property(runs, (list) => {
        const data = list.flatMap(([make, write, texts]) => texts.map((content) => write(make(content))));
        const different = data.map((each, i) => each.replace("{", `{"n":${i},`));
        expect(decoded(data)).toEqual(decoded(different));
      }),
      { numRuns: 2_000 },
    );
  });

  test("junk never throws, and its error is the upstream's", () => {
    const json = fc.jsonValue({ maxDepth: 1, depthSize: "xsmall" });
    const field = fc.constantFrom(
      "content",
      "tool_calls",
      "reasoning",
      "thinking_blocks",
      "function_call",
      "annotations",
    );
    const item = fc.constantFrom("id", "index", "type", "function", "custom", "name", "arguments", "thinking", "text");
    const value = fc.oneof(json, fc.array(fc.dictionary(item, json, { maxKeys: 4 }), { maxLength: 3 }));
    const chunk = fc.record(
      {
        choices: fc.array(
          fc.record({ index: json, delta: fc.dictionary(field, value, { maxKeys: 3 }), logprobs: json }),
          { maxLength: 2 },
        ),
      },
      { requiredKeys: [] },
    );
    const junk = fc.oneof(
      chunk,
      fc.dictionary(fc.constantFrom("choices", "usage", "error", "object", "id"), json, { maxKeys: 3 }),
    );
    fc.assert(
      fc.property(fc.array(junk, { maxLength: 4 }), (chunks) => {
        const decoder = openaiChat.streamDecoder();
        const events = chunks.flatMap((data) => decoder.feed({ data: JSON.stringify(data) }));
        for (const event of [...events, ...decoder.end()]) {
          if (event.type === "error") expect(event.error.code).not.toBe("internal");
        }
      }),
      { numRuns: 500 },
    );
  });
});
