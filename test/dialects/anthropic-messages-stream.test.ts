import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, it } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { collector, type StreamEvent } from "../../src/core/events.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { formatFrames, sseReader } from "../../src/dialects/sse.ts";

const ID = "anthropic-messages";
const context: CallerContext = {
  model: "asked-for",
  id: "x1",
  created: 0,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};

function decodeBytes(...chunks: Uint8Array[]): StreamEvent[] {
  const events: StreamEvent[] = [];
  const decoder = anthropicMessages.streamDecoder();
  const reader = sseReader((frame) => events.push(...decoder.feed(frame)));
  for (const chunk of chunks) reader.feed(chunk);
  reader.end();
  return [...events, ...decoder.end()];
}
const sse = (objects: JsonObject[]) => objects.map((o) => `event: ${o.type}\ndata: ${JSON.stringify(o)}\n\n`).join("");
const decode = (...objects: JsonObject[]) => decodeBytes(Buffer.from(sse(objects)));

function encode(events: StreamEvent[], options: Partial<CallerContext> = {}) {
  const encoder = anthropicMessages.streamEncoder({ ...context, ...options });
  return [...events.flatMap((event) => encoder.encode(event)), ...encoder.end()];
}
/** Deltas are written as text. */
const parsed = ({ data }: { data: unknown }) => (typeof data === "string" ? JSON.parse(data) : data) as JsonObject;
const data = (frames: { data: unknown }[]) => frames.map(parsed);
/** What stands between the head and the end of a message. */
const blocks = (events: StreamEvent[], options: Partial<CallerContext> = {}) =>
  data(encode(events, options)).filter(({ type }) => String(type).startsWith("content_block"));
const delta = (frames: JsonObject[]) => frames.find(({ type }) => type === "message_delta")!;

const start = {
  type: "message_start",
  message: {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "claude-x",
    content: [],
    usage: { input_tokens: 10, cache_read_input_tokens: 20, cache_creation_input_tokens: 3, output_tokens: 2 },
  },
};
const open = (index: number, content_block: JsonObject) => ({ type: "content_block_start", index, content_block });
const add = (index: number, change: JsonObject) => ({ type: "content_block_delta", index, delta: change });
const close = (index: number) => ({ type: "content_block_stop", index });
const end = (stop_reason: string, usage: JsonObject = { output_tokens: 9 }) => [
  { type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage },
  { type: "message_stop" },
];

const answer = [
  start,
  open(0, { type: "thinking", thinking: "", signature: "" }),
  { type: "ping" },
  add(0, { type: "thinking_delta", thinking: "Überlegen 🤔" }),
  add(0, { type: "signature_delta", signature: "sig" }),
  close(0),
  open(1, { type: "text", text: "" }),
  add(1, { type: "text_delta", text: "naïve " }),
  add(1, { type: "text_delta", text: "日本語" }),
  close(1),
  open(2, { type: "tool_use", id: "toolu_1", name: "f", input: {} }),
  add(2, { type: "input_json_delta", partial_json: "" }),
  add(2, { type: "input_json_delta", partial_json: '{"city":"Zü' }),
  add(2, { type: "input_json_delta", partial_json: 'rich"}' }),
  close(2),
  ...end("tool_use", {
    input_tokens: 10,
    cache_read_input_tokens: null,
    output_tokens: 9,
    output_tokens_details: { thinking_tokens: 4 },
  }),
];
const usage = { inputTokens: 33, cacheReadTokens: 20, cacheWriteTokens: 3, outputTokens: 9, reasoningTokens: 4 };
const events: StreamEvent[] = [
  { type: "start", id: "msg_1", model: "claude-x" },
  {
    type: "usage",
    usage: { inputTokens: 33, cacheReadTokens: 20, cacheWriteTokens: 3, outputTokens: 0, estimated: true },
  },
  { type: "thinking-start" },
  { type: "thinking-delta", text: "Überlegen 🤔" },
  { type: "thinking-end", signature: { origin: ID, data: "sig" } },
  { type: "text-start" },
  { type: "text-delta", text: "naïve " },
  { type: "text-delta", text: "日本語" },
  { type: "text-end" },
  { type: "tool-call-start", id: "toolu_1", name: "f" },
  { type: "tool-call-delta", arguments: '{"city":"Zü' },
  { type: "tool-call-delta", arguments: 'rich"}' },
  { type: "tool-call-end" },
  { type: "usage", usage },
  { type: "finish", reason: "tool-calls" },
  { type: "usage", usage },
];

describe("reading a stream", () => {
  it("gives canonical events", () => {
    expect(decode(...answer)).toEqual(events);
  });

  it("gives the same events wherever the bytes are split", () => {
    for (const newline of ["\n", "\r\n", "\r"]) {
      const bytes = Buffer.from(sse(answer).replaceAll("\n", newline));
      for (let at = 1; at < bytes.length; at++) {
        expect(decodeBytes(bytes.subarray(0, at), bytes.subarray(at))).toEqual(events);
      }
      expect(decodeBytes(...Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)))).toEqual(events);
    }
  });

  it("takes a second message_start, unknown events, deltas and a [DONE] for nothing", () => {
    const noise = [start, { type: "brand_new" }, add(7, { type: "input_json_delta", partial_json: "x" })];
    const bytes = Buffer.from(`${sse([start, ...noise, ...answer.slice(1)])}data: [DONE]\n\n`);
    expect(decodeBytes(bytes)).toEqual(events);
  });

  it("does not miss message_stop when the stop reason came", () => {
    expect(decode(...answer.slice(0, -1))).toEqual(events);
  });

  it("takes message_stop alone for an end too", () => {
    expect(decode(start, { type: "message_stop" }).at(-2)).toEqual({ type: "finish", reason: "stop" });
  });

  it("tells when the stream breaks off, and does not complete what is open", () => {
    const broken = decode(...answer.slice(0, 13));
    expect(broken.at(-1)).toMatchObject({ type: "error", error: { code: "upstream_unreachable" } });
    expect(broken.filter(({ type }) => type === "tool-call-end")).toEqual([]);
    expect(decode().at(-1)).toMatchObject({ type: "error", error: { code: "upstream_unreachable" } });
  });

  it("reads an error in the stream, and nothing after it", () => {
    const error = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } };
    expect(decode(start, error, ...answer.slice(1)).slice(2)).toEqual([
      {
        type: "error",
        error: expect.objectContaining({ code: "upstream_overloaded", status: 529, message: "Overloaded" }),
      },
    ]);
  });

  it("tells when an event is no JSON", () => {
    expect(decodeBytes(Buffer.from("event: ping\ndata: {oops\n\n"))).toEqual([
      { type: "error", error: expect.objectContaining({ code: "upstream_invalid" }) },
    ]);
  });

  it("collects citations for the end of the text", () => {
    const citation = { type: "char_location", cited_text: "a" };
    const read = decode(
      start,
      open(0, { type: "text", text: "", citations: [] }),
      add(0, { type: "citations_delta", citation }),
      add(0, { type: "text_delta", text: "a" }),
      close(0),
      ...end("end_turn"),
    );
    expect(read).toContainEqual({ type: "text-end", citations: { dialect: ID, value: [citation] } });
    expect(blocks(read)).toContainEqual(add(0, { type: "citations_delta", citation }));
  });

  it("gives blocks of server tools and other unknown ones whole", () => {
    const result = { type: "web_search_tool_result", tool_use_id: "s", content: [] };
    const read = decode(
      start,
      open(0, { type: "server_tool_use", id: "s", name: "web_search", input: {} }),
      add(0, { type: "input_json_delta", partial_json: '{"query"' }),
      add(0, { type: "input_json_delta", partial_json: ':"x"}' }),
      close(0),
      open(1, result),
      close(1),
      open(2, { type: "compaction", content: null }),
      add(2, { type: "compaction_delta", content: "Summary", encrypted_content: "e" }),
      close(2),
      ...end("end_turn"),
    );
    const parts = read.flatMap((event) => (event.type === "opaque" ? event.part : []));
    expect(parts.map(({ kind, value }) => [kind, value])).toEqual([
      ["server_tool_use", { type: "server_tool_use", id: "s", name: "web_search", input: { query: "x" } }],
      ["web_search_tool_result", result],
      ["compaction", { type: "compaction", content: "Summary", encrypted_content: "e" }],
    ]);
    expect(blocks(read)).toEqual([
      open(0, { type: "server_tool_use", id: "s", name: "web_search", input: {} }),
      add(0, { type: "input_json_delta", partial_json: '{"query":"x"}' }),
      close(0),
      open(1, result),
      close(1),
      open(2, { type: "compaction", content: null }),
      add(2, { type: "compaction_delta", content: "Summary", encrypted_content: "e" }),
      close(2),
    ]);
  });

  it("puts blocks one after the other that a server interleaves", () => {
    const read = decode(
      start,
      open(0, { type: "tool_use", id: "a", name: "f", input: {} }),
      open(1, { type: "tool_use", id: "b", name: "g", input: {} }),
      add(1, { type: "input_json_delta", partial_json: "{}" }),
      add(0, { type: "input_json_delta", partial_json: '{"x":1}' }),
      close(1),
      close(0),
      ...end("tool_use"),
    );
    expect(read.slice(2, 8)).toEqual([
      { type: "tool-call-start", id: "a", name: "f" },
      { type: "tool-call-delta", arguments: '{"x":1}' },
      { type: "tool-call-end" },
      { type: "tool-call-start", id: "b", name: "g" },
      { type: "tool-call-delta", arguments: "{}" },
      { type: "tool-call-end" },
    ]);
  });

  it("takes text and arguments that stand whole in the start of their block", () => {
    const read = decode(
      start,
      open(0, { type: "text", text: "Hi" }),
      close(0),
      open(1, { type: "tool_use", id: "a", name: "f", input: { x: 1 } }),
      close(1),
      ...end("tool_use"),
    );
    expect(read).toContainEqual({ type: "text-delta", text: "Hi" });
    expect(read).toContainEqual({ type: "tool-call-delta", arguments: '{"x":1}' });
  });

  it("says in words why an empty answer was refused", () => {
    const stop_details = { type: "refusal", category: null, explanation: "No." };
    const read = decode(
      start,
      { type: "message_delta", delta: { stop_reason: "refusal", stop_details } },
      { type: "message_stop" },
    );
    expect(read).toContainEqual({ type: "refusal-delta", text: "No." });
    expect(read).toContainEqual({ type: "finish", reason: "refusal" });
  });
});

describe("writing a stream", () => {
  it("writes a message as Anthropic would", () => {
    expect(encode(events.slice(0, 1)).slice(0, 2)).toEqual([
      {
        event: "message_start",
        data: {
          type: "message_start",
          message: {
            id: "msg_x1",
            type: "message",
            role: "assistant",
            model: "asked-for",
            content: [],
            stop_reason: null,
            stop_sequence: null,
            stop_details: null,
            usage: { input_tokens: 5, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 1 },
          },
        },
      },
      { event: "ping", data: { type: "ping" } },
    ]);
    const original = answer.slice(1, -2).filter(({ type }) => type !== "ping");
    expect(blocks(events)).toEqual(
      original.filter((frame) => JSON.stringify(frame).includes('"partial_json":""') === false),
    );
    expect(data(encode(events)).slice(-2)).toEqual([
      {
        type: "message_delta",
        delta: { stop_reason: "tool_use", stop_sequence: null, stop_details: null },
        usage: {
          input_tokens: 10,
          cache_creation_input_tokens: 3,
          cache_read_input_tokens: 20,
          output_tokens: 9,
          output_tokens_details: { thinking_tokens: 4 },
        },
      },
      { type: "message_stop" },
    ]);
  });

  it("is understood by Anthropic's own client", async () => {
    const body = formatFrames(encode(events));
    const client = new Anthropic({
      apiKey: "k",
      fetch: async () => new Response(body, { headers: { "content-type": "text/event-stream" } }),
    });
    const request = { model: "m", max_tokens: 9, messages: [{ role: "user" as const, content: "hi" }] };
    const message = await client.messages.stream(request).finalMessage();
    expect(message.content).toMatchObject([
      { type: "thinking", thinking: "Überlegen 🤔", signature: "sig" },
      { type: "text", text: "naïve 日本語" },
      { type: "tool_use", id: "toolu_1", name: "f", input: { city: "Zürich" } },
    ]);
    expect(message).toMatchObject({
      stop_reason: "tool_use",
      model: "asked-for",
      usage: { input_tokens: 10, output_tokens: 9 },
    });
  });

  it("starts with the real input when it is known", () => {
    const [first] = data(encode([events.at(-1)!, ...events.slice(0, 1)]));
    expect(first).toMatchObject({
      message: { usage: { input_tokens: 10, cache_read_input_tokens: 20, output_tokens: 1 } },
    });
  });

  it("starts at the first event", () => {
    const encoder = anthropicMessages.streamEncoder(context);
    expect(encoder.encode({ type: "start" }).map(({ event }) => event)).toEqual(["message_start", "ping"]);
    expect(encoder.encode({ type: "text-start" })).toEqual([]);
  });

  it("opens no block for text that never comes", () => {
    const silent: StreamEvent[] = [{ type: "text-start" }, { type: "text-delta", text: "" }, { type: "text-end" }];
    expect(blocks(silent)).toEqual([]);
  });

  it("closes as soon as the usage came after the finish, and says nothing after that", () => {
    const encoder = anthropicMessages.streamEncoder(context);
    const types = (event: StreamEvent) => encoder.encode(event).map((frame) => frame.event);
    expect(types({ type: "finish", reason: "stop" })).toEqual(["message_start", "ping"]);
    expect(types({ type: "usage", usage })).toEqual(["message_delta", "message_stop"]);
    expect(types({ type: "text-delta", text: "late" })).toEqual([]);
    expect(encoder.end()).toEqual([]);
    expect(encoder.error(new GatewayError("internal", "late"))).toEqual([]);
  });

  it("runs tools whenever there are any, and never when there are none", () => {
    const called: StreamEvent[] = [{ type: "tool-call-start", id: "a", name: "f" }, { type: "tool-call-end" }];
    const reason = (...list: StreamEvent[]) => (delta(data(encode(list))).delta as JsonObject).stop_reason;
    expect(reason(...called, { type: "finish", reason: "stop" })).toBe("tool_use");
    expect(reason({ type: "finish", reason: "tool-calls" })).toBe("end_turn");
    expect(reason(...called, { type: "finish", reason: "length" })).toBe("max_tokens");
    expect(reason(...called, { type: "finish", reason: "refusal" })).toBe("refusal");
  });

  it("writes no arguments as an empty object, and broken ones as they came", () => {
    const call = (...fragments: string[]): StreamEvent[] => [
      { type: "tool-call-start", id: "a", name: "f" },
      ...fragments.map((text): StreamEvent => ({ type: "tool-call-delta", arguments: text })),
      { type: "tool-call-end" },
    ];
    expect(blocks(call())[1]).toEqual(add(0, { type: "input_json_delta", partial_json: "{}" }));
    expect(blocks(call("{oo", "", "ps")).slice(1, -1)).toEqual([
      add(0, { type: "input_json_delta", partial_json: "{oo" }),
      add(0, { type: "input_json_delta", partial_json: "ps" }),
    ]);
  });

  it("signs thinking in Turnpike's envelope, and keeps its text there when it is hidden", () => {
    const thought: StreamEvent[] = [
      { type: "thinking-start" },
      { type: "thinking-delta", text: "h" },
      { type: "thinking-delta", text: "m" },
      { type: "thinking-end", signature: { origin: "mistral", data: "" } },
    ];
    const shown = blocks(thought);
    expect(shown.map(({ delta }) => (delta as JsonObject)?.type)).toEqual([
      undefined,
      "thinking_delta",
      "thinking_delta",
      "signature_delta",
      undefined,
    ]);
    const hidden = blocks(thought, { showThinking: false });
    expect(hidden).toHaveLength(3);
    const { signature } = hidden[1]!.delta as { signature: string };
    expect(JSON.parse(Buffer.from(signature.slice(4), "base64url").toString())).toEqual({
      p: "mistral",
      k: "text",
      d: "hm",
    });
    // An upstream that is a Turnpike itself gives the text back.
    const read = decode(start, ...hidden, ...end("end_turn"));
    expect(read).toContainEqual({ type: "thinking-delta", text: "hm" });
  });

  it("shows a refusal as text and as the reason", () => {
    const frames = data(
      encode([
        { type: "refusal-delta", text: "I " },
        { type: "refusal-delta", text: "cannot." },
        { type: "finish", reason: "stop" },
      ]),
    );
    expect(frames.filter(({ type }) => type === "content_block_start")).toHaveLength(1);
    expect(delta(frames).delta).toEqual({
      stop_reason: "refusal",
      stop_sequence: null,
      stop_details: { type: "refusal", category: null, explanation: "I cannot." },
    });
  });

  it("writes the first of several answers", () => {
    const two: StreamEvent[] = [
      { type: "text-delta", text: "a" },
      { type: "text-delta", text: "b", choice: 1 },
      { type: "finish", reason: "length", choice: 1 },
      { type: "finish", reason: "stop" },
    ];
    expect(blocks(two)).toEqual([
      open(0, { type: "text", text: "" }),
      add(0, { type: "text_delta", text: "a" }),
      close(0),
    ]);
    expect(delta(data(encode(two))).delta).toMatchObject({ stop_reason: "end_turn" });
  });

  it("ends with an error and leaves the open block open", () => {
    const error = new GatewayError("upstream_overloaded", "Overloaded");
    const frames = encode([
      { type: "text-delta", text: "a" },
      { type: "error", error },
    ]);
    expect(frames.slice(-2).map((frame) => ({ ...frame, data: parsed(frame) }))).toEqual([
      { event: "content_block_delta", data: add(0, { type: "text_delta", text: "a" }) },
      {
        event: "error",
        data: {
          type: "error",
          error: { type: "overloaded_error", message: "Overloaded", details: { error_code: "upstream_overloaded" } },
        },
      },
    ]);
  });

  it("gives a whole answer back through a stream", () => {
    const all = collector();
    for (const event of decodeBytes(Buffer.from(formatFrames(encode(events))))) all.add(event);
    expect(all.response().choices[0]).toEqual({
      content: [
        { type: "thinking", text: "Überlegen 🤔", signature: { origin: ID, data: "sig" } },
        { type: "text", text: "naïve 日本語" },
        { type: "tool-call", id: "toolu_1", name: "f", arguments: '{"city":"Zürich"}' },
      ],
      finishReason: "tool-calls",
    });
  });
});

describe("a foreign signature without thinking", () => {
  const signature = { origin: "elsewhere", kind: "answer", data: "c2ln" };
  const empty: StreamEvent[] = [{ type: "thinking-start" }, { type: "thinking-end", signature }];
  const text: StreamEvent[] = [{ type: "text-start" }, { type: "text-delta", text: "Hi" }, { type: "text-end" }];
  const call: StreamEvent[] = [{ type: "tool-call-start", id: "a", name: "f" }, { type: "tool-call-end" }];
  const kinds = (...events: StreamEvent[]) => {
    const encoder = anthropicMessages.streamEncoder(context);
    const frames = [...events, { type: "finish", reason: "stop" } as const].flatMap((event) => encoder.encode(event));
    frames.push(...encoder.end());
    return frames
      .map(({ data }) => data as { type: string; content_block: { type: string } })
      .flatMap(({ type, content_block }) => (type === "content_block_start" ? [content_block.type] : []));
  };

  it("stands before the call that it is for", () => {
    expect(kinds(...text, ...empty, ...call)).toEqual(["text", "thinking", "tool_use"]);
    expect(kinds(...empty, ...text)).toEqual(["thinking", "text"]);
  });

  it("is no last block, because clients take that one for the answer", () => {
    expect(kinds(...text, ...empty)).toEqual(["text"]);
    const part = { type: "thinking" as const, text: "", signature };
    const whole = anthropicMessages.encodeResponse(
      { choices: [{ content: [{ type: "text", text: "Hi" }, part, part], finishReason: "stop" }] },
      context,
    );
    expect(whole.content).toEqual([{ type: "text", text: "Hi" }]);
  });

  it("is told where there is nothing else", () => {
    expect(kinds(...empty)).toEqual(["thinking"]);
  });
});
