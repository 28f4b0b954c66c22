import fc from "fast-check";
import { budget, createGateway, logger, router, toFetchHandler, translator } from "turnpike";
import { defineProvider } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { describe, expect, test } from "vitest";
import type { Dialect } from "../../src/core/dialect.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";
import { openaiResponses } from "../../src/dialects/openai-responses/index.ts";
import { logBook } from "../support/gateway.ts";

/** Streams that pass through: what reaches the caller, and what is read of them on the way by. */

interface Wire {
  name: string;
  dialect: Dialect;
  path: string;
  request: object;
  frame(data: object | string): string;
  /** Frames before the text, of one piece of text, and behind it. */
  head: object[];
  delta(text: string, n: number): object;
  tail: (object | string)[];
  usage: { inputTokens: number; outputTokens: number };
}

const padding = (n: number) => "abcdefghijklmnop".slice(0, n % 11);
const json = (data: object | string) => (typeof data === "string" ? data : JSON.stringify(data));
const named = (data: object | string) => `event: ${(data as { type: string }).type}\ndata: ${json(data)}\n\n`;
const messages = [{ role: "user", content: "hi" }];

const chunk = (delta: object, more: object = {}, finish: string | null = null) => ({
  id: "c1",
  object: "chat.completion.chunk",
  created: 1,
  model: "up",
  choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
  ...more,
});

const chat: Wire = {
  name: "Chat Completions",
  dialect: openaiChat,
  path: "/v1/chat/completions",
  request: { model: "p/m", messages, stream: true, stream_options: { include_usage: true } },
  frame: (data) => `data: ${json(data)}\n\n`,
  head: [chunk({ role: "assistant", content: "" }, { usage: null })],
  delta: (content, n) => chunk({ content }, { usage: null, obfuscation: padding(n) }),
  tail: [
    chunk({}, { usage: null }, "stop"),
    { ...chunk({}), choices: [], usage: { prompt_tokens: 11, completion_tokens: 22, total_tokens: 33 } },
    "[DONE]",
  ],
  usage: { inputTokens: 11, outputTokens: 22 },
};

const anthropic: Wire = {
  name: "Messages",
  dialect: anthropicMessages,
  path: "/v1/messages",
  request: { model: "p/m", messages, max_tokens: 100, stream: true },
  frame: named,
  head: [
    { type: "message_start", message: { id: "m", model: "up", content: [], usage: { input_tokens: 11 } } },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
  ],
  delta: (text) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
  tail: [
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 22 } },
    { type: "message_stop" },
  ],
  usage: { inputTokens: 11, outputTokens: 22 },
};

const place = { item_id: "i1", output_index: 0, content_index: 0 };
const responses: Wire = {
  name: "Responses",
  dialect: openaiResponses,
  path: "/v1/responses",
  request: { model: "p/m", input: "hi", stream: true },
  frame: named,
  head: [
    { type: "response.created", sequence_number: 0, response: { id: "r", model: "up", output: [] } },
    { type: "response.output_item.added", output_index: 0, item: { id: "i1", type: "message", content: [] } },
  ],
  delta: (delta, n) => ({
    type: "response.output_text.delta",
    sequence_number: n,
    ...place,
    delta,
    obfuscation: padding(n),
  }),
  tail: [
    {
      type: "response.completed",
      response: { id: "r", status: "completed", output: [], usage: { input_tokens: 11, output_tokens: 22 } },
    },
  ],
  usage: { inputTokens: 11, outputTokens: 22 },
};

const WIRES = [chat, anthropic, responses];

/** As some servers write them, and all may. */
const STYLES: Record<string, (frame: string, n: number) => string> = {
  "as JSON.stringify writes": (frame) => frame,
  "with spaces before the last brace": (frame, n) => frame.replace(/\}(\n\n)$/, `${" ".repeat(n % 5)}}$1`),
  "with CRLF": (frame) => frame.replaceAll("\n", "\r\n"),
  "with comments between them": (frame) => `: working\n\n${frame}`,
};

const TEXTS = ["Hello", ' "quoted\\" ', "naïve", "東京の天気", "🦊", "\n\ndata: [DONE]\n\n", '"usage":{"', " end."];

function streamOf(wire: Wire, texts: readonly string[], style = (frame: string, _n: number) => frame): string {
  const data = [...wire.head, ...texts.map((text, n) => wire.delta(text, n)), ...wire.tail];
  return data.map((each, n) => style(wire.frame(each), n)).join("");
}

interface Seen {
  body: string;
  /** In how many pieces it came. */
  pieces: number;
  attempt: Record<string, unknown>;
  /** Frames that were decoded. */
  decoded: number;
}

interface Given {
  /** Every frame is decoded. */
  exact?: boolean;
  /** A limit that needs the usage, which the caller did not ask for. */
  hidden?: boolean;
  cut?: boolean;
}

/** What a caller of the same dialect gets, and the log, where the upstream sends the chunks that are passed. */
function house(wire: Wire, given: Given = {}): (chunks: readonly Uint8Array[]) => Promise<Seen> {
  let decoded = 0;
  let chunks: readonly Uint8Array[] = [];
  const dialect: Dialect = {
    ...wire.dialect,
    streamDecoder() {
      const decoder = wire.dialect.streamDecoder();
      return {
        feed(frame) {
          decoded++;
          return decoder.feed(frame);
        },
        end: () => decoder.end(),
      };
    },
  };
  if (given.exact) delete (dialect as { deltaMembers?: RegExp }).deltaMembers;
  const provider = defineProvider({
    type: "sample",
    dialect,
    baseURL: "http://sample.invalid/v1",
    price: "free",
    transport: () => async () => ({
      status: 200,
      headers: { "content-type": "text/event-stream" },
      body: {
        start(sink) {
          for (const chunk of chunks) sink.data(chunk);
          if (given.cut) sink.error(new Error("reset"));
          else sink.end();
        },
        pause() {},
        resume() {},
        cancel() {},
      },
    }),
  });
  const log = logBook();
  const limit = { name: "all", tokens: 1e12, per: "day" } as const;
  const gateway = createGateway({
    providers: { p: provider() },
    use: [
      logger({ to: log.sink }),
      router(),
      ...(given.hidden ? [budget({ store: memoryStore(), limits: [limit] })] : []),
      translator(),
    ],
  });
  const body = JSON.stringify({ ...wire.request, ...(given.hidden && { stream_options: undefined }) });
  const headers = { "content-type": "application/json", "anthropic-version": "2023-06-01" };
  const handle = toFetchHandler(gateway);
  return async (sent) => {
    chunks = sent;
    decoded = 0;
    const response = await handle(new Request(`http://localhost${wire.path}`, { method: "POST", headers, body }));
    const pieces: Uint8Array[] = [];
    for await (const piece of response.body!) pieces.push(piece);
    const received = Buffer.concat(pieces).toString();
    const attempt = log.attempts()[0]!;
    log.records.length = 0;
    return { body: received, pieces: pieces.length, attempt, decoded };
  };
}

function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...places].sort((a, b) => a - b);
  return [0, ...sorted]
    .map((from, i) => bytes.subarray(from, sorted[i] ?? bytes.length))
    .filter(({ length }) => length > 0);
}

/** Ids and times that the gateway makes itself. */
const withoutIds = (body: string) => body.replace(/"resp_\w+"|"created_at":\d+/g, "");

/** One frame per chunk, as a slow upstream sends. */
const oneByOne = (stream: string) => stream.split(/(?<=\n\r?\n)/).map((frame) => Buffer.from(frame));

describe.each(WIRES)("a stream of $name that passes through", (wire) => {
  test.each(Object.entries(STYLES))("%s, cut at any byte, is unchanged and tells its usage", async (_, style) => {
    const stream = streamOf(wire, TEXTS, style);
    const bytes = Buffer.from(stream);
    const pass = house(wire);
    for (let at = 0; at < bytes.length; at++) {
      const { body, attempt } = await pass(cutAt(bytes, [at, at + 2]));
      // Nothing is read behind the last event, not even the rest of its own line end where that is torn.
      expect(body.trimEnd()).toBe(stream.trimEnd());
      expect(attempt).toMatchObject({ outcome: "served", ...wire.usage });
      expect(attempt).not.toHaveProperty("estimated");
    }
  });

  test("is not decoded where a delta is like the one before, however it is cut into chunks", async () => {
    const texts = Array.from({ length: 100 }, (_, n) => TEXTS[n % TEXTS.length]!);
    const pass = house(wire);
    for (const style of [STYLES["as JSON.stringify writes"]!, STYLES["with CRLF"]!]) {
      const stream = streamOf(wire, texts, style);
      const bytes = Buffer.from(stream);
      for (const chunks of [[bytes], [new Uint8Array(bytes)], oneByOne(stream)]) {
        const { body, decoded } = await pass(chunks);
        expect(body).toBe(stream);
        expect(decoded).toBeLessThan(wire.head.length + wire.tail.length + 4);
      }
    }
  });

  test("reaches the caller in one piece where it came in one go", async () => {
    const stream = streamOf(wire, TEXTS);
    const { body, pieces } = await house(wire)(oneByOne(stream));
    expect(body).toBe(stream);
    expect(pieces).toBe(1);
  });

  test("is decoded where something else has changed", async () => {
    const texts = Array.from({ length: 100 }, () => "a");
    const data = [...wire.head, ...texts.map((text, n) => ({ ...wire.delta(text, n), unknown: `${n}` })), ...wire.tail];
    const stream = data.map((each) => wire.frame(each)).join("");
    const { body, decoded, attempt } = await house(wire)(oneByOne(stream));
    expect(body).toBe(stream);
    expect(decoded).toBe(data.length);
    expect(attempt).toMatchObject({ outcome: "served", ...wire.usage });
  });

  test("that breaks before its usage is told is estimated as if all of it had been decoded", async () => {
    const word = fc.constantFrom("The ", "reservation", " is", "\n", " settled ", '"twice"', "東京", "é", "🦊", "");
    const pass = house(wire, { cut: true });
    const decode = house(wire, { cut: true, exact: true });
    const property = fc.asyncProperty(
      fc.array(word, { minLength: 20, maxLength: 200 }),
      fc.array(fc.nat(20_000)),
      async (texts, places) => {
        const stream = streamOf({ ...wire, tail: [] }, ["Hello", ...texts]);
        const chunks = cutAt(Buffer.from(stream), places);
        const [fast, exact] = [await pass(chunks), await decode(chunks)];
        expect(withoutIds(fast.body)).toBe(withoutIds(exact.body));
        expect(fast.attempt).toMatchObject({ outcome: "failed", estimated: true, code: exact.attempt.code });
        const ratio = Number(fast.attempt.outputTokens) / Number(exact.attempt.outputTokens);
        // Escapes count as they are written.
        expect(ratio).toBeGreaterThan(0.95);
        expect(ratio).toBeLessThan(1.3);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });
});

const said = ({ outcome, code, reason, model, inputTokens, estimated }: Record<string, unknown>) => ({
  outcome,
  code,
  reason,
  model,
  inputTokens,
  estimated,
});

describe("what matters stands out from deltas", () => {
  const usage = { prompt_tokens: 7, completion_tokens: 8, total_tokens: 15 };
  const choices = (delta: object, finish: string | null = null) => [{ index: 0, delta, finish_reason: finish }];
  /** Frames that are much alike. */
  const FRAMES: object[] = [
    { id: "c", choices: choices({ content: "a" }) },
    { id: "c", choices: choices({ content: 'b"},"finish_reason":"stop"}]}' }) },
    { id: "c", choices: choices({ content: "" }) },
    { id: "c", choices: choices({ content: "c" }), usage },
    { id: "c", choices: choices({ content: "d" }), usage: null },
    { id: "c", usage, choices: choices({ content: "e" }) },
    { id: "c", choices: choices({ content: "f" }, "stop") },
    { id: "c", choices: choices({ content: null, refusal: "no" }) },
    { id: "c", choices: choices({ reasoning_content: "hm" }) },
    { id: "c", choices: choices({ tool_calls: [{ index: 0, id: "t", function: { name: "f", arguments: "" } }] }) },
    { id: "c", choices: choices({ tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] }) },
    { id: "c", choices: [...choices({ content: "g" }), { index: 1, delta: { content: "h" }, finish_reason: null }] },
    { id: "c", choices: choices({ content: "i" }), error: { message: "broken", code: 500 } },
    { error: { message: "content", code: "i" } },
    { id: "c", choices: [], usage },
  ];
  const frames = fc.array(fc.constantFrom<object | string>(...FRAMES, ...FRAMES.slice(0, 3), "[DONE]"), {
    maxLength: 30,
  });

  test.each([false, true])("in any order of frames and cut anywhere, usage hidden: %s", async (hidden) => {
    const pass = house(chat, { hidden });
    const decode = house(chat, { hidden, exact: true });
    const property = fc.asyncProperty(frames, fc.array(fc.nat(3_000)), async (data, places) => {
      const stream = [...chat.head, { choices: choices({ content: "a" }) }, ...data].map(chat.frame).join("");
      const chunks = cutAt(Buffer.from(stream), places);
      const [fast, exact] = [await pass(chunks), await decode(chunks)];
      expect(said(fast.attempt)).toEqual(said(exact.attempt));
      if (!fast.attempt.estimated) expect(fast.attempt.outputTokens).toBe(exact.attempt.outputTokens);
      expect(fast.body).toBe(exact.body);
    });
    await fc.assert(property, { numRuns: 300 });
  });
});

test("usage that only a budget asked for is taken out, at whatever byte the stream is cut", async () => {
  const stream = streamOf(chat, TEXTS);
  const shown = streamOf({ ...chat, tail: [chat.tail[0]!, chat.tail[2]!] }, TEXTS).replaceAll(',"usage":null', "");
  const bytes = Buffer.from(stream);
  const pass = house(chat, { hidden: true });
  for (let at = 0; at < bytes.length; at++) {
    const { body, attempt } = await pass(cutAt(bytes, [at]));
    expect(body).toBe(shown);
    expect(attempt).toMatchObject({ outcome: "served", ...chat.usage });
  }
});
