import fc from "fast-check";
import { collector, type StreamEvent } from "../../src/core/events.ts";
import type { ChatResponse, Choice, FinishReason, Part, ToolCallPart } from "../../src/core/request.ts";
import type { Usage } from "../../src/core/usage.ts";
import { record, some } from "./record.ts";

/** Arbitrary canonical answers and the streams they may come as, and what of them every dialect can tell. */

const words = fc.oneof(
  fc.constantFrom("Hello.", "日本 🦊", "\n", " ", '{"a":', "data: x\r\n\r\n", "\u2028\u0000"),
  fc.string({ unit: "binary", minLength: 1, maxLength: 8 }),
);
const texts = fc.array(words, { maxLength: 4 });
const name = fc.constantFrom("get_weather", "mcp__server__tool", "a-b");
const args = fc.oneof(
  fc.constantFrom("", "{}", '{"a":1}', '{"broken', "[1]", '{"a":{"b":["é",null]}}'),
  fc
    .dictionary(fc.string({ maxLength: 3 }), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 2 })
    .map((v) => JSON.stringify(v)),
);
const signature = fc.constantFrom(
  undefined,
  { origin: "anthropic-messages", data: "c2ln" },
  { origin: "openai-responses", kind: "rs_1", data: "gAAAAB" },
  { origin: "gemini", kind: "call", data: "c2ln" },
  { origin: "gemini", kind: "answer", data: "c2ln" },
  { origin: "mistral", model: "m", data: "" },
);

interface Block {
  /** With the pieces in which a stream brings its text. */
  part: Part;
  pieces: string[];
}
const textBlock = texts.map((pieces): Block => ({ part: { type: "text", text: pieces.join("") }, pieces }));
const thinkingBlock = fc.tuple(texts, signature).map(
  ([pieces, proof]): Block => ({
    part: { type: "thinking", text: pieces.join(""), ...(proof && { signature: proof }) },
    pieces,
  }),
);
const redacted = fc.constant<Block>({ part: { type: "thinking", text: "", redacted: "ZW5j" }, pieces: [] });
const callBlock = fc.record({ name, json: args, cuts: fc.array(fc.nat(20), { maxLength: 3 }) }).map(
  ({ name, json, cuts }): Block => ({
    part: { type: "tool-call", id: "", name, arguments: json },
    pieces: cutAt(json, cuts),
  }),
);
const refusalBlock = texts.map(
  (pieces): Block => ({ part: { type: "refusal", text: `No. ${pieces.join("")}` }, pieces: ["No. ", ...pieces] }),
);

const answered = fc.record({
  blocks: fc.array(
    fc.oneof(
      { weight: 4, arbitrary: textBlock },
      { weight: 2, arbitrary: thinkingBlock },
      { weight: 1, arbitrary: redacted },
      { weight: 3, arbitrary: callBlock },
    ),
    { maxLength: 5 },
  ),
  reason: fc.constantFrom<FinishReason>(
    "stop",
    "stop",
    "stop-sequence",
    "length",
    "context-window",
    "tool-calls",
    "pause",
  ),
});
const refused = fc.record({
  blocks: fc.tuple(fc.array(textBlock, { maxLength: 1 }), refusalBlock).map(([before, block]) => [...before, block]),
  reason: fc.constant<FinishReason>("refusal"),
});
const filtered = fc.record({
  blocks: fc.array(textBlock, { maxLength: 2 }),
  reason: fc.constant<FinishReason>("refusal"),
});

const count = fc.oneof(fc.nat(30), fc.nat(200_000));
const usage: fc.Arbitrary<Usage> = record<
  Omit<Usage, "inputTokens" | "outputTokens"> & { plain: number; said: number }
>({
  plain: count,
  said: count,
  cacheReadTokens: count,
  cacheWriteTokens: count,
  reasoningTokens: some(count),
}).map(({ plain, said, ...counts }) => ({
  inputTokens: plain + counts.cacheReadTokens + counts.cacheWriteTokens,
  outputTokens: said + (counts.reasoningTokens ?? 0),
  ...counts,
}));

export interface Answer {
  whole: ChatResponse;
  events: StreamEvent[];
}

/** @param most choices */
export const answers = (most: number): fc.Arbitrary<Answer> =>
  fc
    .record({
      choices: fc.array(
        fc.oneof(
          { weight: 8, arbitrary: answered },
          { weight: 1, arbitrary: refused },
          { weight: 1, arbitrary: filtered },
        ),
        { minLength: 1, maxLength: most },
      ),
      usage,
      /** Earlier counts, which the last one replaces: encoders wait for no other once the answer is finished. */
      counted: fc.array(fc.tuple(usage, fc.nat(60)), { maxLength: 2 }),
      usageAt: fc.nat(60),
      turns: fc.array(fc.nat(most - 1), { maxLength: 30 }),
    })
    .map(({ choices: given, usage, counted, usageAt, turns }) => {
      const choices = given.map(({ blocks, reason }, at) => ({
        reason,
        blocks: blocks.map((block, i) => numbered(block, `call_${at}_${i}`)),
      }));
      const whole = {
        id: "up_1",
        model: "upstream",
        created: 7,
        choices: choices.map(
          ({ blocks, reason }): Choice => ({ content: blocks.map(({ part }) => part), finishReason: reason }),
        ),
        usage,
      };
      const streams = choices.map(({ blocks, reason }, at) => eventsOf(blocks, reason, at));
      const events = interleaved(streams, turns);
      events.splice(usageAt % (events.length + 1), 0, { type: "usage", usage });
      const early = events.findIndex(({ type }) => type === "finish" || type === "usage");
      for (const [each, at] of counted) events.splice(at % (early + 1), 0, { type: "usage", usage: each });
      return { whole, events: [{ type: "start", id: "up_1", model: "upstream", created: 7 }, ...events] };
    });

function numbered({ part, pieces }: Block, id: string): Block {
  return { part: part.type === "tool-call" ? { ...part, id } : part, pieces };
}

function cutAt(text: string, cuts: readonly number[]): string[] {
  const at = [...new Set([0, ...cuts.map((cut) => cut % (text.length + 1)), text.length])].sort((a, b) => a - b);
  return at.slice(1).map((end, i) => text.slice(at[i], end));
}

function eventsOf(blocks: readonly Block[], reason: FinishReason, at: number): StreamEvent[] {
  const choice = at === 0 ? {} : { choice: at };
  const events = blocks.flatMap(({ part, pieces }): StreamEvent[] => {
    switch (part.type) {
      case "text":
        return [
          { type: "text-start", ...choice },
          ...pieces.map((text) => ({ type: "text-delta" as const, text, ...choice })),
          { type: "text-end", ...choice },
        ];
      case "thinking":
        if (part.redacted !== undefined) return [{ type: "redacted-thinking", data: part.redacted, ...choice }];
        return [
          { type: "thinking-start", ...choice },
          ...pieces.map((text) => ({ type: "thinking-delta" as const, text, ...choice })),
          { type: "thinking-end", ...choice, ...(part.signature && { signature: part.signature }) },
        ];
      case "tool-call":
        return [
          { type: "tool-call-start", id: part.id, name: part.name, ...choice },
          ...pieces.map((json) => ({ type: "tool-call-delta" as const, arguments: json, ...choice })),
          { type: "tool-call-end", ...choice },
        ];
      case "refusal":
        return pieces.map((text) => ({ type: "refusal-delta", text, ...choice }));
      default:
        return [];
    }
  });
  return [...events, { type: "finish", reason, ...choice }];
}

/** Streams of several choices, mixed as `turns` says; what is left comes one after the other. */
function interleaved(streams: readonly StreamEvent[][], turns: readonly number[]): StreamEvent[] {
  const left = streams.map((events) => [...events]);
  const mixed = turns.flatMap((turn) => left[turn % left.length]?.splice(0, 1) ?? []);
  return [...mixed, ...left.flat()];
}

export function collected(events: readonly StreamEvent[]): ChatResponse {
  const whole = collector();
  for (const event of events) {
    if (event.type === "error") throw event.error;
    whole.add(event);
  }
  return whole.response();
}

/** What is told of an answer, however it is cut into blocks. */
export function facts({ choices, usage }: ChatResponse) {
  return { choices: choices.map(choiceFacts), usage: usage && usageFacts(usage) };
}

function choiceFacts({ content, finishReason }: Choice) {
  const said = (types: readonly Part["type"][]) =>
    content.flatMap((part) => (types.includes(part.type) && "text" in part ? part.text : "")).join("");
  return {
    text: said(["text", "refusal"]),
    thinking: said(["thinking"]),
    calls: content.filter((part) => part.type === "tool-call").map(callFacts),
    finishReason,
  };
}

/** Arguments that are no object are told as such where a wire has objects only. */
function callFacts({ id, name, arguments: json }: ToolCallPart) {
  try {
    const value: unknown = JSON.parse(json.trim() === "" ? "{}" : json);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { id, name, input: value };
  } catch {}
  return { id, name, input: { __invalid_json: json } };
}

function usageFacts({ reasoningTokens = 0, estimated: _, ...counts }: Usage) {
  return { ...counts, reasoningTokens };
}

export type Facts = ReturnType<typeof facts>;

/** What a dialect cannot tell of it, by wire.md §8.5 and §8.6. */
export function toldBy(dialect: string, { choices, usage }: Facts): Facts {
  return {
    choices: choices.map((choice) => ({ ...choice, finishReason: finishToldBy(dialect, choice) })),
    usage: usage && (dialect === "gemini" ? { ...usage, cacheWriteTokens: 0 } : usage),
  };
}

function finishToldBy(dialect: string, { finishReason, calls }: Facts["choices"][number]): FinishReason {
  const own = dialect === "anthropic-messages";
  if (finishReason === "length" || finishReason === "context-window") return own ? finishReason : "length";
  if (finishReason === "refusal") return "refusal";
  if (finishReason === "pause" && dialect === "gemini") return "pause";
  if (calls.length > 0) return "tool-calls";
  if (finishReason === "tool-calls") return "stop";
  return own ? finishReason : "stop";
}
