/** Requests and answers of the benchmark: the same in every run, shaped like Claude Code's, and of an exact size. */

export type Size = "1k" | "30k" | "200k";
export type Wire = "chat" | "anthropic";

/** The virtual key that the load presents. */
export const KEY = "tp-bench-0123456789abcdef";

export const BYTES: Readonly<Record<Size, number>> = { "1k": 1_024, "30k": 30 * 1_024, "200k": 200 * 1_024 };

/**
 * How the upstream answers, which is the first segment of its path and part of the model's name: at once, with a stream
 * of {@link LONG} or {@link SHORT} chunks in one write or one every 8 ms, or with a chunk every second for ever.
 */
export const WAYS = ["json", "burst", "burst-short", "paced", "paced-short", "slow"] as const;
export type Way = (typeof WAYS)[number];

/** Chunks of a stream. What a short one costs less is the cost of the chunks between, without the request's own. */
export const LONG = 100;
export const SHORT = 10;
const CHUNK_BYTES = 280;

/** Code with quotes and line ends: what tool results are made of, and what makes JSON strings slow to hop over. */
const CODE = `export function settle(id: string, actual: number) {\n\tconst found = held.get(id);\n\tif (!found) throw new Error("no such \\"hold\\"");\n\treturn { ...found, used: actual };\n}\n`;
const PROSE =
  "You are an interactive agent that helps with software engineering tasks. Use the instructions below and the tools available to you; never guess an URL. ";

const fill = (text: string, length: number) => text.repeat(Math.ceil(length / text.length)).slice(0, length);

/** A request of exactly `bytes` bytes. `tools` take a third of it and the conversation half, from 8 KB upwards. */
export function request(wire: Wire, bytes: number, { model, stream }: { model: string; stream: boolean }): string {
  const parts = bytes < 8_192 ? [] : turns(Math.round(bytes * 0.5));
  const tools = bytes < 8_192 ? 0 : Math.round(bytes / 3 / 1_100);
  const write = (system: string) =>
    JSON.stringify(
      wire === "chat" ? chat(model, stream, system, parts, tools) : messages(model, stream, system, parts, tools),
    );
  const empty = write("").length;
  // The system prompt makes up the exact size; a bare text has no characters that JSON would escape.
  return write(fill(PROSE, Math.max(1, bytes - empty)));
}

interface Turn {
  id: string;
  path: string;
  result: string;
}

function turns(bytes: number): Turn[] {
  const list: Turn[] = [];
  for (let left = bytes; left > 0; left -= 3_000) {
    const id = `toolu_01${fill(`Bench${list.length}x`, 20)}`;
    list.push({ id, path: `/work/src/file-${list.length}.ts`, result: fill(CODE, Math.min(2_500, left)) });
  }
  return list;
}

function schema(n: number) {
  return {
    type: "object",
    properties: {
      file_path: { type: "string", description: "The absolute path to the file to read or to modify" },
      offset: { type: "number", description: "The line number to start from", minimum: 0 },
      mode: { type: "string", enum: ["content", "files_with_matches", "count"], default: "content" },
      options: {
        type: "object",
        properties: { multiline: { type: "boolean" }, context: { type: "integer" } },
        additionalProperties: false,
      },
      [`only_${n}`]: { type: "array", items: { type: "string" }, description: fill(PROSE, 160) },
    },
    required: ["file_path"],
    additionalProperties: false,
    $schema: "http://json-schema.org/draft-07/schema#",
  };
}

function messages(model: string, stream: boolean, system: string, parts: Turn[], tools: number) {
  return {
    model,
    messages: [
      { role: "user", content: [{ type: "text", text: "Please find out why the test fails, and mend it." }] },
      ...parts.flatMap(({ id, path, result }) => [
        {
          role: "assistant",
          content: [
            { type: "text", text: "I will read the file first." },
            { type: "tool_use", id, name: "tool_0", input: { file_path: path, offset: 0 } },
          ],
        },
        { role: "user", content: [{ tool_use_id: id, type: "tool_result", content: result }] },
      ]),
    ],
    system: [{ type: "text", text: system, ...(tools > 0 && { cache_control: { type: "ephemeral" } }) }],
    ...(tools > 0 && {
      tools: Array.from({ length: tools }, (_, n) => ({
        name: `tool_${n}`,
        description: fill(PROSE, 300),
        input_schema: schema(n),
      })),
    }),
    max_tokens: 1_024,
    temperature: 1,
    stream,
  };
}

function chat(model: string, stream: boolean, system: string, parts: Turn[], tools: number) {
  return {
    model,
    messages: [
      { role: "system", content: system },
      { role: "user", content: "Please find out why the test fails, and mend it." },
      ...parts.flatMap(({ id, path, result }) => [
        {
          role: "assistant",
          content: "I will read the file first.",
          tool_calls: [
            {
              id,
              type: "function",
              function: { name: "tool_0", arguments: JSON.stringify({ file_path: path, offset: 0 }) },
            },
          ],
        },
        { role: "tool", tool_call_id: id, content: result },
      ]),
    ],
    ...(tools > 0 && {
      tools: Array.from({ length: tools }, (_, n) => ({
        type: "function",
        function: { name: `tool_${n}`, description: fill(PROSE, 300), parameters: schema(n) },
      })),
    }),
    max_tokens: 1_024,
    temperature: 1,
    stream,
    ...(stream && { stream_options: { include_usage: true } }),
  };
}

const SAID = "The test fails because the reservation is settled twice; I mended it in store.ts. ";
const HEAD = { id: "chatcmpl-Bench0123456789abcdef", created: 1_763_800_000, model: "bench-model" };

/** A whole answer of about 620 bytes. */
export function answer(wire: Wire): string {
  if (wire === "anthropic") {
    return JSON.stringify({
      id: "msg_01Bench0123456789abcdef",
      type: "message",
      role: "assistant",
      model: "bench-model",
      content: [{ type: "text", text: fill(SAID, 320) }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: {
        input_tokens: 312,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
        output_tokens: 87,
        service_tier: "standard",
      },
    });
  }
  return JSON.stringify({
    ...HEAD,
    object: "chat.completion",
    system_fingerprint: "fp_bench01234",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: fill(SAID, 240), refusal: null },
        logprobs: null,
        finish_reason: "stop",
      },
    ],
    usage: {
      prompt_tokens: 312,
      completion_tokens: 87,
      total_tokens: 399,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    },
  });
}

/** A streamed answer: events of about 280 bytes, ending with the usage. */
export function streamChunks(wire: Wire, count = LONG): string[] {
  return wire === "chat" ? chatChunks(count) : messageChunks(count);
}

function chatChunks(count: number): string[] {
  const piece = (delta: object, finish: string | null = null) =>
    `data: ${JSON.stringify({ ...HEAD, object: "chat.completion.chunk", system_fingerprint: "fp_bench01234", choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] })}\n\n`;
  const text = fill(SAID, CHUNK_BYTES - piece({ content: "" }).length);
  const usage = { prompt_tokens: 312, completion_tokens: 1_870, total_tokens: 2_182 };
  return [
    piece({ role: "assistant", content: "" }),
    ...Array<string>(count - 3).fill(piece({ content: text })),
    piece({}, "stop"),
    `data: ${JSON.stringify({ ...HEAD, object: "chat.completion.chunk", choices: [], usage })}\n\ndata: [DONE]\n\n`,
  ];
}

function messageChunks(count: number): string[] {
  const event = (type: string, more: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
  const delta = (text: string) => event("content_block_delta", { index: 0, delta: { type: "text_delta", text } });
  const text = fill(SAID, CHUNK_BYTES - delta("").length);
  const { content: _, ...head } = JSON.parse(answer("anthropic")) as Record<string, unknown>;
  return [
    event("message_start", { message: { ...head, content: [], stop_reason: null } }),
    event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
    ...Array<string>(count - 5).fill(delta(text)),
    event("content_block_stop", { index: 0 }),
    event("message_delta", {
      delta: { stop_reason: "end_turn", stop_sequence: null },
      usage: { output_tokens: 1_870 },
    }),
    event("message_stop", {}),
  ];
}
