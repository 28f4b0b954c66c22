import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { collector, type StreamEvent } from "../../src/core/events.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { openaiResponses } from "../../src/dialects/openai-responses/index.ts";
import { formatFrames } from "../../src/dialects/sse.ts";

const ID = "openai-responses";
const context: CallerContext = {
  model: "asked-for",
  id: "x1",
  created: 7,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};

function decode(...objects: JsonObject[]): StreamEvent[] {
  const decoder = openaiResponses.streamDecoder();
  const events = objects.flatMap((data, i) =>
    // Every other event without its name, as some servers send them all.
    decoder.feed({
      ...(i % 2 === 0 && typeof data.type === "string" && { event: data.type }),
      data: JSON.stringify(data),
    }),
  );
  return [...events, ...decoder.end()];
}

const head = { id: "resp_1", object: "response", created_at: 3, model: "up", output: [] };
const created = { type: "response.created", sequence_number: 0, response: { ...head, status: "in_progress" } };
const usage = { input_tokens: 10, output_tokens: 4, output_tokens_details: { reasoning_tokens: 1 } };
const counted = { inputTokens: 10, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens: 4, reasoningTokens: 1 };
const completed = (output: JsonObject[] = [], more: JsonObject = {}) => ({
  type: "response.completed",
  response: { ...head, status: "completed", output, usage, ...more },
});
const added = (output_index: number, item: JsonObject) => ({ type: "response.output_item.added", output_index, item });
const done = (output_index: number, item: JsonObject) => ({ type: "response.output_item.done", output_index, item });
const step = (type: string, output_index: number, more: JsonObject) => ({
  type: `response.${type}`,
  output_index,
  ...more,
});
const words = (output_index: number, delta: string, content_index = 0) =>
  step("output_text.delta", output_index, { content_index, delta, obfuscation: "xyz" });
const message = (...texts: string[]) => ({
  type: "message",
  id: "msg_1",
  role: "assistant",
  status: "completed",
  content: texts.map((text) => ({ type: "output_text", text, annotations: [] })),
});
const call = (id: string, args: string) => ({
  type: "function_call",
  id: `fc_${id}`,
  call_id: id,
  name: "f",
  arguments: args,
});

const start: StreamEvent = { type: "start", id: "resp_1", model: "up", created: 3 };
const ended = (reason: "stop" | "tool-calls" | "length" | "refusal" = "stop"): StreamEvent[] => [
  { type: "finish", reason },
  { type: "usage", usage: counted },
];
const textBlock = (...texts: string[]): StreamEvent[] => [
  { type: "text-start" },
  ...texts.map((text) => ({ type: "text-delta" as const, text })),
  { type: "text-end" },
];
const callBlock = (id: string, ...pieces: string[]): StreamEvent[] => [
  { type: "tool-call-start", id, name: "f" },
  ...pieces.map((text) => ({ type: "tool-call-delta" as const, arguments: text })),
  { type: "tool-call-end" },
];

describe("an upstream's stream", () => {
  it("tells reasoning, text, and calls as they come", () => {
    const reasoning = { type: "reasoning", id: "rs_1", summary: [] };
    expect(
      decode(
        created,
        { ...created, type: "response.in_progress" },
        added(0, { ...reasoning, encrypted_content: "partial" }),
        step("reasoning_summary_part.added", 0, { summary_index: 0, part: {} }),
        step("reasoning_summary_text.delta", 0, { summary_index: 0, delta: "so" }),
        step("reasoning_summary_text.done", 0, { summary_index: 0, text: "so" }),
        step("reasoning_summary_text.delta", 0, { summary_index: 1, delta: "then" }),
        done(0, { ...reasoning, summary: [{ text: "so" }, { text: "then" }], encrypted_content: "whole" }),
        added(1, message()),
        step("content_part.added", 1, { content_index: 0, part: { type: "output_text", text: "" } }),
        words(1, "hel"),
        words(1, "lo"),
        step("output_text.done", 1, { content_index: 0, text: "hello" }),
        done(1, message("hello")),
        added(2, call("c1", "")),
        step("function_call_arguments.delta", 2, { delta: '{"a"' }),
        step("function_call_arguments.delta", 2, { delta: ":1}" }),
        step("function_call_arguments.done", 2, { arguments: '{"a":1}' }),
        done(2, call("c1", '{"a":1}')),
        completed(),
      ),
    ).toEqual([
      start,
      { type: "thinking-start" },
      { type: "thinking-delta", text: "so" },
      { type: "thinking-delta", text: "\n\nthen" },
      { type: "thinking-end", signature: { origin: ID, kind: "rs_1", data: "whole" } },
      ...textBlock("hel", "lo"),
      ...callBlock("c1", '{"a"', ":1}"),
      ...ended("tool-calls"),
    ]);
  });

  it("keeps items apart by their index, whatever ids their events have", () => {
    let n = 0;
    const rotated = (event: JsonObject) => ({ ...event, item_id: `id-${n++}` });
    expect(
      decode(
        created,
        added(0, { ...message(), id: "a" }),
        rotated(words(0, "x")),
        rotated(words(0, "y")),
        done(0, { ...message("xy"), id: "b" }),
        added(1, { ...call("c1", ""), id: "c" }),
        rotated(step("function_call_arguments.delta", 1, { delta: "{}" })),
        done(1, { ...call("c1", "{}"), id: "d" }),
        completed(),
      ),
    ).toEqual([start, ...textBlock("x", "y"), ...callBlock("c1", "{}"), ...ended("tool-calls")]);
  });

  it("puts interleaved items one behind the other", () => {
    const args = (index: number, delta: string) => step("function_call_arguments.delta", index, { delta });
    expect(
      decode(
        created,
        added(0, call("a", "")),
        added(1, call("b", "")),
        args(1, "{"),
        args(0, "["),
        added(2, message()),
        words(2, "t"),
        done(2, message("t")),
        args(1, "}"),
        done(1, call("b", "{}")),
        args(0, "]"),
        done(0, call("a", "[]")),
        completed(),
      ),
    ).toEqual([
      start,
      ...callBlock("a", "[", "]"),
      ...callBlock("b", "{", "}"),
      ...textBlock("t"),
      ...ended("tool-calls"),
    ]);
  });

  it("takes from the complete item what no delta told", () => {
    expect(
      decode(
        created,
        added(0, { type: "reasoning", id: "rs_1", summary: [] }),
        done(0, { type: "reasoning", id: "rs_1", summary: [{ text: "hm" }] }),
        added(1, message()),
        step("output_text.done", 1, { content_index: 0, text: "whole" }),
        done(1, message("whole", "and more")),
        done(2, call("a", "[1]")),
        added(3, { type: "function_call" }),
        step("function_call_arguments.delta", 3, { delta: "[2]" }),
        done(3, call("b", "[2]")),
        added(4, { type: "custom_tool_call", call_id: "c", name: "f", input: "" }),
        step("custom_tool_call_input.done", 4, { input: "ls" }),
        done(4, { type: "custom_tool_call", call_id: "c", name: "f", input: "ls" }),
        completed(),
      ),
    ).toEqual([
      start,
      { type: "thinking-start" },
      { type: "thinking-delta", text: "hm" },
      { type: "thinking-end" },
      ...textBlock("whole"),
      ...textBlock("and more"),
      ...callBlock("a", "[1]"),
      ...callBlock("b", "[2]"),
      { type: "tool-call-start", id: "c", name: "f", custom: true },
      { type: "tool-call-delta", arguments: "ls" },
      { type: "tool-call-end" },
      ...ended("tool-calls"),
    ]);
  });

  it("takes the whole output from its last event where nothing else told it", () => {
    expect(decode(created, completed([message("hi"), call("a", "{}")]))).toEqual([
      start,
      ...textBlock("hi"),
      ...callBlock("a", "{}"),
      ...ended("tool-calls"),
    ]);
    expect(decode(created, added(0, message()), words(0, "h"), completed([message("hi")]))).toEqual([
      start,
      ...textBlock("h", "i"),
      ...ended(),
    ]);
  });

  it("begins an item by its first delta where its beginning was lost", () => {
    expect(decode(words(0, "hi"), completed())).toEqual([{ type: "start" }, ...textBlock("hi"), ...ended()]);
  });

  it("tells citations at the end of the text, and log probabilities at the end of the answer", () => {
    const page = { type: "url_citation", url: "https://a.example", title: "A", start_index: 0, end_index: 2 };
    const logprob = (token: string) => ({ token, bytes: [], logprob: -1, top_logprobs: [] });
    const events = decode(
      created,
      added(0, message()),
      { ...words(0, "hi"), logprobs: [logprob("hi")] },
      step("output_text.annotation.added", 0, { content_index: 0, annotation_index: 0, annotation: page }),
      { ...words(0, "!", 1), logprobs: [logprob("!")] },
      done(0, message("hi", "!")),
      done(1, { ...message(), content: [{ type: "output_text", text: "", logprobs: [logprob("late")] }] }),
      completed(),
    );
    expect(events).toEqual([
      start,
      { type: "text-start" },
      { type: "text-delta", text: "hi" },
      {
        type: "text-end",
        citations: { dialect: ID, value: [page], sources: [{ url: page.url, title: "A", start: 0, end: 2 }] },
      },
      ...textBlock("!"),
      ...textBlock(),
      { type: "logprobs", value: { content: [logprob("hi"), logprob("!"), logprob("late")] } },
      ...ended(),
    ]);
  });

  it("tells a refusal, and items that only this dialect knows", () => {
    const search = { type: "web_search_call", id: "ws_1", status: "completed" };
    const refused = { ...message(), content: [{ type: "refusal", refusal: "no way" }] };
    expect(
      decode(
        created,
        added(0, { ...search, status: "in_progress" }),
        step("web_search_call.searching", 0, { item_id: "ws_1" }),
        done(0, search),
        { type: "response.from_the_future", output_index: 0, delta: "?" },
        added(1, message()),
        step("refusal.delta", 1, { content_index: 0, delta: "no" }),
        step("refusal.done", 1, { content_index: 0, refusal: "no way" }),
        done(1, refused),
        completed(),
      ),
    ).toEqual([
      start,
      { type: "opaque", part: { type: "opaque", dialect: ID, kind: "web_search_call", value: search } },
      { type: "refusal-delta", text: "no" },
      { type: "refusal-delta", text: " way" },
      ...ended("refusal"),
    ]);
  });

  it("that is incomplete ends by its reason", () => {
    const response = { ...head, status: "incomplete", incomplete_details: { reason: "max_output_tokens" }, usage };
    expect(decode(created, { type: "response.incomplete", response })).toEqual([start, ...ended("length")]);
  });

  it.each([
    [
      {
        type: "error",
        error: { type: "insufficient_quota", code: "insufficient_quota", message: "spent", param: null },
      },
      "upstream_error",
      402,
    ],
    [{ type: "error", code: "rate_limit_exceeded", message: "slow down", param: null }, "rate_limited", 429],
    [{ type: "error", error: { type: "server_error", code: null, message: "Sorry" } }, "upstream_error", 500],
    [
      { type: "response.failed", response: { ...head, error: { code: "rate_limit_exceeded", message: "slow" } } },
      "rate_limited",
      429,
    ],
    [
      { type: "response.failed", response: { ...head, error: { code: "invalid_image", message: "bad" } } },
      "invalid_request",
      400,
    ],
    [{ error: { message: "bare", type: "server_error" } }, "upstream_error", 500],
  ])("that fails ends in an error, and leaves what is open as it is: %j", (event, code, status) => {
    const events = decode(created, added(0, call("a", "")), event as JsonObject, completed());
    expect(events.slice(0, 2)).toEqual([start, { type: "tool-call-start", id: "a", name: "f" }]);
    expect(events.slice(2)).toEqual([{ type: "error", error: expect.objectContaining({ code, status }) }]);
  });

  it("that breaks off, or is not JSON, ends in an error", () => {
    const broken = decode(created, added(0, message()), words(0, "hi"));
    expect(broken.at(-1)).toMatchObject({ type: "error", error: { code: "upstream_unreachable" } });
    const decoder = openaiResponses.streamDecoder();
    expect(decoder.feed({ data: "{" })).toMatchObject([{ type: "error", error: { code: "upstream_invalid" } }]);
    expect([...decoder.feed({ data: JSON.stringify(completed()) }), ...decoder.end()]).toEqual([]);
  });
});

function encode(events: StreamEvent[], options: Partial<CallerContext> = {}) {
  const encoder = openaiResponses.streamEncoder({ ...context, ...options });
  const frames = [...events.flatMap((event) => encoder.encode(event)), ...encoder.end()];
  return JSON.parse(JSON.stringify(frames.map(({ data }) => data))) as (JsonObject & { type: string })[];
}

function client(frames: JsonObject[]) {
  const bytes = formatFrames(frames.map((data) => ({ event: String(data.type), data })));
  const fetch = async () => new Response(bytes, { headers: { "content-type": "text/event-stream" } });
  return new OpenAI({ apiKey: "k", maxRetries: 0, fetch });
}

describe("a stream for a caller", () => {
  const answer: StreamEvent[] = [
    { type: "start" },
    { type: "thinking-start" },
    { type: "thinking-delta", text: "hm" },
    { type: "thinking-end", signature: { origin: ID, kind: "rs_up", data: "gA" } },
    { type: "text-start" },
    { type: "text-delta", text: "hello" },
    {
      type: "text-end",
      citations: {
        dialect: "gemini",
        value: {},
        sources: [{ url: "https://a.example", title: "A", start: 0, end: 5 }],
      },
    },
    { type: "refusal-delta", text: "no" },
    { type: "tool-call-start", id: "c1", name: "f" },
    { type: "tool-call-end" },
    { type: "tool-call-start", id: "c2", name: "g", custom: true },
    { type: "tool-call-delta", arguments: "ls" },
    { type: "tool-call-end" },
    { type: "finish", reason: "tool-calls" },
    { type: "usage", usage: counted },
  ];

  it("has every event of the grammar", () => {
    expect(encode(answer).map(({ type, output_index }) => [type.replace("response.", ""), output_index])).toEqual([
      ["created", undefined],
      ["in_progress", undefined],
      ["output_item.added", 0],
      ["reasoning_summary_part.added", 0],
      ["reasoning_summary_text.delta", 0],
      ["reasoning_summary_text.done", 0],
      ["reasoning_summary_part.done", 0],
      ["output_item.done", 0],
      ["output_item.added", 1],
      ["content_part.added", 1],
      ["output_text.delta", 1],
      ["output_text.annotation.added", 1],
      ["output_text.done", 1],
      ["content_part.done", 1],
      ["content_part.added", 1],
      ["refusal.delta", 1],
      ["refusal.done", 1],
      ["content_part.done", 1],
      ["output_item.done", 1],
      ["output_item.added", 2],
      ["function_call_arguments.delta", 2],
      ["function_call_arguments.done", 2],
      ["output_item.done", 2],
      ["output_item.added", 3],
      ["custom_tool_call_input.delta", 3],
      ["custom_tool_call_input.done", 3],
      ["output_item.done", 3],
      ["completed", undefined],
    ]);
  });

  it("is put together by the official client", async () => {
    const frames = encode(answer);
    const stream = client(frames).responses.stream({ model: "m", input: "x" });
    const final = await stream.finalResponse();
    expect(final).toMatchObject(frames.at(-1)!.response as JsonObject);
    expect(final.output_text).toBe("hello");
    expect(final.output).toMatchObject([
      { type: "reasoning", id: "rs_x1_0", summary: [{ text: "hm" }] },
      { type: "message", content: [{ text: "hello", annotations: [{ url: "https://a.example" }] }, { refusal: "no" }] },
      { type: "function_call", call_id: "c1", arguments: "{}" },
      { type: "custom_tool_call", call_id: "c2", input: "ls" },
    ]);
    expect(final.usage).toMatchObject({ input_tokens: 10, output_tokens: 4, total_tokens: 14 });
  });

  it("remembers the id of encrypted reasoning whose item had to be announced under another", () => {
    const { output } = encode(answer).at(-1)!.response as { output: JsonObject[] };
    expect(output[0]!.encrypted_content).toMatch(/^tp1\./);
    const { messages } = openaiResponses.decodeRequest({ model: "m", input: output });
    expect(messages[0]!.content[0]).toEqual({
      type: "thinking",
      text: "hm",
      signature: { origin: ID, kind: "rs_up", data: "gA" },
    });
    const hidden = encode(answer, { showThinking: false }).at(-1)!.response as { output: JsonObject[] };
    expect(hidden.output[0]).toEqual({ type: "reasoning", id: "rs_up", summary: [], encrypted_content: "gA" });
  });

  it("ends with the answer as soon as finish and usage are known, in any order", () => {
    for (const tail of [answer.slice(-2), answer.slice(-2).toReversed()]) {
      const frames = encode([...answer.slice(0, -2), ...tail]);
      expect(frames.filter(({ type }) => type === "response.completed")).toHaveLength(1);
      expect((frames.at(-1)!.response as JsonObject).usage).toMatchObject({ output_tokens: 4 });
    }
    const encoder = openaiResponses.streamEncoder(context);
    for (const event of answer.slice(0, -1)) encoder.encode(event);
    expect(encoder.encode(answer.at(-1)!).map(({ event }) => event)).toEqual(["response.completed"]);
    expect(encoder.end()).toEqual([]);
  });

  it("is incomplete where the answer was cut", () => {
    const frames = encode([
      { type: "text-delta", text: "hel" },
      { type: "finish", reason: "length" },
    ]);
    expect(frames.at(-1)).toMatchObject({
      type: "response.incomplete",
      response: {
        incomplete_details: { reason: "max_output_tokens" },
        output: [{ status: "incomplete" }],
        usage: null,
      },
    });
  });

  it("tells log probabilities with the complete answer", () => {
    const logprobs = [{ token: "a", bytes: [97], logprob: -0.1, top_logprobs: [] }];
    const frames = encode([
      { type: "text-delta", text: "a" },
      { type: "logprobs", value: { content: logprobs } },
    ]);
    expect(frames.at(-1)!.response).toMatchObject({ output: [{ content: [{ text: "a", logprobs }] }] });
  });

  it("tells the first of several choices", () => {
    const frames = encode([
      { type: "text-delta", text: "a" },
      { type: "text-delta", text: "b", choice: 1 },
    ]);
    expect(frames.filter(({ type }) => type.endsWith("output_text.delta")).map(({ delta }) => delta)).toEqual(["a"]);
  });

  it("that fails says so in both forms of an error, then as a failed answer, and nothing more", async () => {
    const encoder = openaiResponses.streamEncoder(context);
    const frames = answer.slice(0, 6).flatMap((event) => encoder.encode(event));
    const failure = encoder.error(new GatewayError("upstream_overloaded", "try later"));
    const told = { code: "upstream_overloaded", message: "try later", param: null };
    expect(failure.map(({ data }) => data)).toMatchObject([
      { type: "error", ...told, error: { ...told, type: "server_error" } },
      {
        type: "response.failed",
        response: {
          status: "failed",
          error: { code: "server_error", message: "try later" },
          output: [{ type: "reasoning" }],
        },
      },
    ]);
    expect([...encoder.encode({ type: "text-delta", text: "x" }), ...encoder.end()]).toEqual([]);
    const all = [...frames, ...failure].map(({ data }) => data as JsonObject);
    expect(all.map(({ sequence_number }) => sequence_number)).toEqual(all.map((_, i) => i));
    const read = client(all).responses.stream({ model: "m", input: "x" }).finalResponse();
    await expect(read).rejects.toThrow(OpenAI.APIError);
    const events = decode(...all);
    expect(events.at(-1)).toMatchObject({ type: "error", error: { message: "try later" } });
  });

  it("tells a decoder of its own dialect everything", () => {
    const collected = collector();
    for (const event of decode(...encode(answer))) collected.add(event);
    const { content } = collected.response().choices[0]!;
    expect(content.map(({ type }) => type)).toEqual(["thinking", "text", "refusal", "tool-call", "tool-call"]);
  });
});
