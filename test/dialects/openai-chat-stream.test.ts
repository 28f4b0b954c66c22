import { describe, expect, test } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { GatewayError } from "../../src/core/errors.ts";
import type { StreamEvent } from "../../src/core/events.ts";
import { openaiChat, openaiChatWith } from "../../src/dialects/openai-chat/index.ts";

const start: StreamEvent = { type: "start", id: "c1", model: "m" };
const usage = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 };
const counted = { inputTokens: 7, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens: 3 };

const chunk = (delta: unknown, finish_reason: string | null = null, more: object = {}) => ({
  id: "c1",
  model: "m",
  choices: [{ index: 0, delta, finish_reason }],
  ...more,
});

/** Decodes chunks as an upstream sends them, `[DONE]` at the end unless told otherwise. */
function decode(chunks: unknown[], { dialect = openaiChat, done = true } = {}): StreamEvent[] {
  const decoder = dialect.streamDecoder();
  const frames = chunks.map((value) => ({ data: typeof value === "string" ? value : JSON.stringify(value) }));
  if (done) frames.push({ data: "[DONE]" });
  return [...frames.flatMap((frame) => decoder.feed(frame)), ...decoder.end()];
}

const call = (index: number | undefined, args: unknown, id?: string, name?: string) => ({
  tool_calls: [{ index, id, function: { name, arguments: args } }],
});
const toolCall = (id: string, name: string, ...pieces: string[]): StreamEvent[] => [
  { type: "tool-call-start", id, name },
  ...pieces.map((piece): StreamEvent => ({ type: "tool-call-delta", arguments: piece })),
  { type: "tool-call-end" },
];
const finish = (reason: "stop" | "tool-calls" | "refusal" | "length"): StreamEvent => ({ type: "finish", reason });
const thinking = (text: string, signature?: string): StreamEvent[] => [
  { type: "thinking-start" },
  { type: "thinking-delta", text },
  {
    type: "thinking-end",
    ...(signature !== undefined && { signature: { origin: "mine", model: "m", data: signature } }),
  },
];
const text = (...pieces: string[]): StreamEvent[] => [
  { type: "text-start" },
  ...pieces.map((piece): StreamEvent => ({ type: "text-delta", text: piece })),
  { type: "text-end" },
];

describe("reading a stream", () => {
  test("text, then the reason, then the usage", () => {
    const chunks = [
      { ...chunk({ role: "assistant", content: "" }), created: 5, usage: null },
      chunk({ content: "Hel" }),
      chunk({ content: "lo" }),
      chunk({}, "stop"),
      { id: "c1", choices: [], usage },
    ];
    expect(decode(chunks)).toEqual([
      { ...start, created: 5 },
      ...text("Hel", "lo"),
      finish("stop"),
      { type: "usage", usage: counted },
    ]);
  });

  test("a first chunk without choices and without an id says nothing yet", () => {
    const chunks = [
      { id: "", model: "", choices: [], prompt_filter_results: [] },
      chunk({ content: "a" }),
      chunk({}, "stop"),
    ];
    expect(decode(chunks)).toEqual([start, ...text("a"), finish("stop")]);
  });

  test.each([
    ["reasoning_content", { reasoning_content: "hm" }],
    ["reasoning", { reasoning: "hm" }],
    ["reasoning beside an empty reasoning_content", { reasoning_content: "", reasoning: "hm" }],
    ["reasoning_details", { reasoning_details: [{ type: "reasoning.text", text: "hm" }] }],
    ["both, which repeat each other", { reasoning: "hm", reasoning_details: [{ text: "hm" }] }],
    ["thinking chunks", { content: [{ type: "thinking", thinking: [{ type: "text", text: "hm" }] }] }],
  ])("thinking in %s", (_, delta) => {
    const chunks = [chunk(delta), chunk({ content: "a" }), chunk({}, "stop")];
    expect(decode(chunks)).toEqual([start, ...thinking("hm"), ...text("a"), finish("stop")]);
    const dialect = openaiChatWith({ originType: "mine" });
    expect(decode(chunks, { dialect })).toEqual([start, ...thinking("hm", ""), ...text("a"), finish("stop")]);
  });

  test("one list of chunks may end the thinking and begin the text", () => {
    const content = [
      { type: "thinking", thinking: [{ type: "text", text: "hm" }], signature: "sig", closed: true },
      { type: "text", text: "a" },
    ];
    const dialect = openaiChatWith({ originType: "mine" });
    expect(decode([chunk({ content }), chunk({ content: "b" }, "stop")], { dialect })).toEqual([
      start,
      ...thinking("hm", "sig"),
      ...text("a", "b"),
      finish("stop"),
    ]);
  });

  test("a tool call in pieces, or whole, or with its arguments as an object", () => {
    const expected = (...pieces: string[]) => [start, ...toolCall("a", "f", ...pieces), finish("tool-calls")];
    const pieces = [
      chunk(call(0, "", "a", "f")),
      chunk(call(0, '{"x"')),
      chunk(call(0, ":1}")),
      chunk({}, "tool_calls"),
    ];
    expect(decode(pieces)).toEqual(expected('{"x"', ":1}"));
    expect(decode([chunk(call(0, '{"x":1}', "a", "f"), "tool_calls")])).toEqual(expected('{"x":1}'));
    expect(decode([chunk(call(0, { x: 1 }, "a", "f"), "tool_calls")])).toEqual(expected('{"x":1}'));
    expect(decode([chunk(call(0, "", "a", "f"), "tool_calls")])).toEqual(expected());
  });

  test("pieces without an index belong to the last call, a new id begins another", () => {
    const chunks = [
      chunk(call(undefined, '{"x"', "a", "f")),
      chunk(call(undefined, ":1}")),
      chunk(call(undefined, "{}", "b", "g")),
      chunk({}, "tool_calls"),
    ];
    expect(decode(chunks)).toEqual([
      start,
      ...toolCall("a", "f", '{"x"', ":1}"),
      ...toolCall("b", "g", "{}"),
      finish("tool-calls"),
    ]);
  });

  test("id and name repeated on every piece are still one call", () => {
    const chunks = [chunk(call(0, '{"x"', "a", "f")), chunk(call(0, ":1}", "a", "f")), chunk({}, "tool_calls")];
    expect(decode(chunks)).toEqual([start, ...toolCall("a", "f", '{"x"', ":1}"), finish("tool-calls")]);
  });

  test("whole calls that all have index 0 are told apart by their ids, or by being whole", () => {
    const ids = [chunk(call(0, "{}", "a", "f")), chunk(call(0, "{}", "b", "f")), chunk({}, "stop")];
    expect(decode(ids)).toEqual([
      start,
      ...toolCall("a", "f", "{}"),
      ...toolCall("b", "f", "{}"),
      finish("tool-calls"),
    ]);
    const without = [chunk(call(0, "{}", undefined, "f")), chunk(call(0, "{}", undefined, "f"), "stop")];
    expect(decode(without)).toEqual([
      start,
      ...toolCall("call_c1_0_0", "f", "{}"),
      ...toolCall("call_c1_0_1", "f", "{}"),
      finish("tool-calls"),
    ]);
  });

  test("calls that arrive interleaved leave one after the other", () => {
    const chunks = [
      chunk(call(0, "", "a", "f")),
      chunk(call(1, "", "b", "g")),
      chunk(call(0, '{"x"')),
      chunk(call(1, '{"y"')),
      chunk(call(1, ":2}")),
      chunk(call(0, ":1}")),
      chunk({}, "tool_calls"),
    ];
    expect(decode(chunks)).toEqual([
      start,
      ...toolCall("a", "f", '{"x"', ":1}"),
      ...toolCall("b", "g", '{"y":2}'),
      finish("tool-calls"),
    ]);
  });

  test("the next call is written at once when the one before is whole", () => {
    const decoder = openaiChat.streamDecoder();
    const feed = (value: unknown) => decoder.feed({ data: JSON.stringify(value) });
    feed(chunk(call(0, '{"x":1}', "a", "f")));
    expect(feed(chunk(call(1, '{"y"', "b", "g")))).toEqual([
      { type: "tool-call-end" },
      { type: "tool-call-start", id: "b", name: "g" },
      { type: "tool-call-delta", arguments: '{"y"' },
    ]);
  });

  test("calls of custom tools stream their text", () => {
    const chunks = [
      chunk({ tool_calls: [{ index: 0, id: "a", type: "custom", custom: { name: "c", input: "1" } }] }),
      chunk({ tool_calls: [{ index: 0, custom: { input: "2" } }] }, "tool_calls"),
    ];
    expect(decode(chunks)).toEqual([
      start,
      { type: "tool-call-start", id: "a", name: "c", custom: true },
      { type: "tool-call-delta", arguments: "1" },
      { type: "tool-call-delta", arguments: "2" },
      { type: "tool-call-end" },
      finish("tool-calls"),
    ]);
  });

  test("a custom call whose text looks like whole JSON waits for the rest of it, whatever comes between", () => {
    const piece = (index: number, input: string, more: object = {}) =>
      chunk({ tool_calls: [{ index, custom: { input, ...more } }] });
    const chunks = [
      chunk({ tool_calls: [{ index: 0, id: "a", type: "custom", custom: { name: "c", input: "{}" } }] }),
      chunk({ tool_calls: [{ index: 1, id: "b", type: "custom", custom: { name: "d", input: "x" } }] }),
      piece(0, "{}"),
      piece(1, "y"),
      chunk({}, "tool_calls"),
    ];
    const calls = decode(chunks).flatMap((event) =>
      event.type === "tool-call-start" ? [event.id] : event.type === "tool-call-delta" ? [event.arguments] : [],
    );
    expect(calls).toEqual(["a", "{}", "{}", "b", "xy"]);
  });

  test.each([
    ["stop", finish("stop")],
    ["length", finish("length")],
    ["model_length", { type: "finish", reason: "context-window" }],
    ["content_filter", finish("refusal")],
    ["tool_calls", finish("stop")],
    ["function_call", finish("stop")],
    ["something_new", finish("stop")],
  ])("finish_reason %s of a text", (reason, expected) => {
    expect(decode([chunk({ content: "a" }), chunk({}, reason)]).at(-1)).toEqual(expected);
  });

  test("a stop string that the server names", () => {
    const stopped = { choices: [{ index: 0, delta: { content: "a" }, finish_reason: "stop", stop_reason: "END" }] };
    expect(decode([stopped]).at(-1)).toEqual({ type: "finish", reason: "stop-sequence", stopSequence: "END" });
    const token = { choices: [{ index: 0, delta: { content: "a" }, finish_reason: "stop", stop_reason: 128009 }] };
    expect(decode([token]).at(-1)).toEqual(finish("stop"));
  });

  test("a refusal", () => {
    expect(decode([chunk({ refusal: "No" }), chunk({ refusal: "." }), chunk({}, "stop")])).toEqual([
      start,
      { type: "refusal-delta", text: "No" },
      { type: "refusal-delta", text: "." },
      finish("refusal"),
    ]);
  });

  test("log probabilities are one value, with all tokens", () => {
    const piece = (token: string) => ({
      choices: [{ index: 0, delta: { content: token }, logprobs: { content: [{ token }], refusal: null } }],
    });
    expect(decode([piece("a"), piece("b"), chunk({}, "stop")]).slice(-2)).toEqual([
      { type: "logprobs", value: { content: [{ token: "a" }, { token: "b" }], refusal: null } },
      finish("stop"),
    ]);
  });

  test("several choices", () => {
    const at = (index: number, content: string, finish_reason: string | null = null) => ({
      choices: [{ index, delta: { content }, finish_reason }],
    });
    expect(decode([at(0, "a"), at(1, "b"), at(0, "", "stop"), at(1, "", "length")])).toEqual([
      { type: "start" },
      { type: "text-start" },
      { type: "text-delta", text: "a" },
      { type: "text-start", choice: 1 },
      { type: "text-delta", text: "b", choice: 1 },
      { type: "text-end" },
      finish("stop"),
      { type: "text-end", choice: 1 },
      { type: "finish", reason: "length", choice: 1 },
    ]);
  });

  test("a reason that comes twice, and text after it, are one ending", () => {
    const chunks = [
      chunk({ content: "a" }, "stop"),
      chunk({ content: "" }, "stop", { usage }),
      chunk({ content: "late" }),
    ];
    expect(decode(chunks)).toEqual([start, ...text("a"), finish("stop"), { type: "usage", usage: counted }]);
  });
});

describe("the end of a stream", () => {
  const cut = "The upstream closed the stream before the answer was complete";

  test("without a reason and without [DONE] is an error, and open blocks stay open", () => {
    const events = decode([chunk(call(0, '{"x"', "a", "f"))], { done: false });
    expect(events.slice(0, -1)).toEqual([start, ...toolCall("a", "f", '{"x"').slice(0, -1)]);
    expect(events.at(-1)).toMatchObject({ type: "error", error: { code: "upstream_unreachable", message: cut } });
    expect(decode([], { done: false })).toMatchObject([{ type: "error", error: { message: cut } }]);
  });

  test("without a reason but with [DONE] is a stop", () => {
    expect(decode([chunk({ content: "a" })])).toEqual([start, ...text("a"), finish("stop")]);
    expect(decode([])).toEqual([{ type: "start" }, finish("stop")]);
  });

  test("is told by [DONE] alone", () => {
    expect(openaiChat.isLast?.({ data: "[DONE]" })).toBe(true);
    expect(openaiChat.isLast?.({ data: JSON.stringify(chunk({ content: "[DONE]" }, "stop")) })).toBe(false);
  });

  test("with a reason but without [DONE] is fine", () => {
    expect(decode([chunk({ content: "a" }, "stop")], { done: false })).toEqual([start, ...text("a"), finish("stop")]);
  });

  test.each<[string, object, object]>([
    ["an error object", { error: { message: "Overloaded", code: 503 } }, { code: "upstream_overloaded" }],
    ["an error text", { error: "boom" }, { code: "upstream_error", message: "boom" }],
    ["object error", { object: "error", message: "boom", type: "x" }, { code: "upstream_error", message: "boom" }],
    ["finish_reason error", chunk({}, "error"), { code: "upstream_error", upstreamCode: "error" }],
  ])("%s in mid-stream ends it", (_, failure, error) => {
    const events = decode([chunk({ content: "a" }), failure, chunk({ content: "b" }, "stop")]);
    expect(events.at(-1)).toMatchObject({ type: "error", error });
    expect(events.filter((event) => event.type === "text-delta")).toEqual([{ type: "text-delta", text: "a" }]);
  });

  test("what is not JSON is an error of the upstream", () => {
    for (const junk of ["<html>", "1", "[]"]) {
      expect(decode([junk])).toMatchObject([{ type: "error", error: { code: "upstream_invalid" } }]);
    }
  });
});

describe("writing a stream", () => {
  const context: CallerContext = {
    model: "asked",
    id: "X",
    created: 9,
    inputTokens: 1,
    includeUsage: false,
    showThinking: true,
  };
  const head = { id: "chatcmpl-X", object: "chat.completion.chunk", created: 9, model: "asked" };
  const out = (delta: unknown, finish_reason: string | null = null, index = 0) => ({
    data: { ...head, choices: [{ index, delta, finish_reason }] },
  });
  const role = out({ role: "assistant", content: "" });

  function encode(events: StreamEvent[], more: Partial<CallerContext> = {}) {
    const encoder = openaiChat.streamEncoder({ ...context, ...more });
    return [...events.flatMap((event) => encoder.encode(event)), ...encoder.end()];
  }

  test("thinking, text and tool calls", () => {
    const signature = { origin: "anthropic-messages", data: "sig" };
    const events: StreamEvent[] = [
      start,
      { type: "thinking-start" },
      { type: "thinking-delta", text: "hm" },
      { type: "thinking-end", signature },
      { type: "redacted-thinking", data: "secret" },
      ...text("a"),
      ...toolCall("t", "f", "{}"),
      ...toolCall("u", "g"),
      finish("tool-calls"),
    ];
    const call = (index: number, id: string, name: string) => ({
      tool_calls: [{ index, id, type: "function", function: { name, arguments: "{}" } }],
    });
    expect(encode(events)).toEqual([
      role,
      out({ reasoning_content: "hm" }),
      out({ thinking_blocks: [{ type: "thinking", thinking: "hm", signature: "sig" }] }),
      out({ thinking_blocks: [{ type: "redacted_thinking", data: "secret" }] }),
      out({ content: "a" }),
      out(call(0, "t", "f")),
      out(call(1, "u", "g")),
      out({}, "tool_calls"),
      { data: "[DONE]" },
    ]);
    expect(JSON.stringify(encode(events, { showThinking: false }))).not.toContain("hm");
  });

  test("usage is the last chunk, for those who asked", () => {
    const usage = { inputTokens: 7, cacheReadTokens: 4, cacheWriteTokens: 0, outputTokens: 3, reasoningTokens: 2 };
    const events: StreamEvent[] = [start, { type: "usage", usage }, ...text("a"), finish("stop")];
    expect(encode(events).at(-2)).toEqual(out({}, "stop"));
    const [first, ...others] = encode(events, { includeUsage: true });
    expect(first?.data).toMatchObject({ usage: null });
    expect(others.slice(-2)).toEqual([
      {
        data: {
          ...head,
          choices: [],
          usage: {
            prompt_tokens: 7,
            completion_tokens: 3,
            total_tokens: 10,
            prompt_tokens_details: { cached_tokens: 4 },
            completion_tokens_details: { reasoning_tokens: 2 },
          },
        },
      },
      { data: "[DONE]" },
    ]);
  });

  test.each([
    ["stop", "stop"],
    ["stop-sequence", "stop"],
    ["pause", "stop"],
    ["length", "length"],
    ["context-window", "length"],
    ["refusal", "content_filter"],
    ["tool-calls", "stop"],
  ] as const)("%s of a text is %s", (reason, written) => {
    expect(encode([start, ...text("a"), { type: "finish", reason }]).at(-2)).toEqual(out({}, written));
  });

  test("a call makes every stop tool_calls, but length stays length", () => {
    expect(encode([start, ...toolCall("t", "f"), finish("stop")]).at(-2)).toEqual(out({}, "tool_calls"));
    expect(encode([start, ...toolCall("t", "f"), finish("length")]).at(-2)).toEqual(out({}, "length"));
  });

  test("every choice opens with its role", () => {
    const events: StreamEvent[] = [start, { type: "text-delta", text: "b", choice: 1 }];
    expect(encode(events).slice(0, -1)).toEqual([
      role,
      out({ role: "assistant", content: "" }, null, 1),
      out({ content: "b" }, null, 1),
    ]);
  });

  test("an error ends the stream without [DONE]", () => {
    const encoder = openaiChat.streamEncoder(context);
    encoder.encode(start);
    const error = new GatewayError("upstream_overloaded", "Busy");
    const failure = { message: "Busy", type: "server_error", param: null, code: "upstream_overloaded" };
    expect(encoder.error(error)).toEqual([{ data: { error: failure } }]);
    expect(encoder.end()).toEqual([]);
    expect(encode([start, { type: "error", error }]).at(-1)).toEqual({ data: { error: failure } });
  });
});
