import fc from "fast-check";
import { expect, it } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import type { StreamEvent } from "../../src/core/events.ts";
import { type ChatRequest, EFFORTS, type Part } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { formatFrames, sseReader } from "../../src/dialects/sse.ts";

const ID = "anthropic-messages";
const context: CallerContext = {
  model: "m",
  id: "x1",
  created: 0,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};

const word = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => text.trim() !== "");
const id = fc.stringMatching(/^[a-zA-Z0-9_-]{1,12}$/);
const json = fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);
const cache = fc.constantFrom<JsonObject>({ type: "ephemeral" }, { type: "ephemeral", ttl: "1h" });
const native = fc.stringMatching(/^[A-Za-z]{1,20}=$/).map((data) => ({ origin: ID, data }));

const text = fc.record({ type: fc.constant("text" as const), text: word, cache }, { requiredKeys: ["type", "text"] });
const source = fc.oneof(
  fc.record({ kind: fc.constant("base64" as const), mediaType: fc.constant("image/png"), data: fc.base64String() }),
  fc.record({ kind: fc.constant("url" as const), url: word }),
  fc.record({ kind: fc.constant("file" as const), dialect: fc.constant(ID), id: word }),
);
const image = fc.record({ type: fc.constant("image" as const), source, cache }, { requiredKeys: ["type", "source"] });
const document = fc.record(
  {
    type: fc.constant("document" as const),
    source: fc.oneof(
      source,
      fc.record({ kind: fc.constant("text" as const), mediaType: fc.constant("text/plain"), text: fc.string() }),
    ),
    title: word,
    context: word,
    citations: fc.boolean(),
    cache,
  },
  { requiredKeys: ["type", "source"] },
);
const opaque = fc
  .record({ kind: fc.constantFrom("container_upload", "server_tool_use", "x_tool_result"), id, input: json })
  .map(
    ({ kind, id, input }): Part => ({ type: "opaque", dialect: ID, kind, value: { type: kind, id, name: "n", input } }),
  );
const result = fc.record(
  {
    type: fc.constant("tool-result" as const),
    id,
    content: fc.array(fc.oneof(text, image, document), { maxLength: 3 }),
    isError: fc.boolean(),
    cache,
  },
  { requiredKeys: ["type", "id", "content"] },
);
const call = fc.record(
  {
    type: fc.constant("tool-call" as const),
    id,
    name: id,
    arguments: json.map((value) => JSON.stringify(value)),
    cache,
  },
  { requiredKeys: ["type", "id", "name", "arguments"] },
);
const thinking = fc.oneof(
  fc.record({ type: fc.constant("thinking" as const), text: fc.string(), signature: native }),
  fc.record({ type: fc.constant("thinking" as const), text: fc.constant(""), redacted: word }),
);
const user = fc
  .tuple(
    fc.array(result, { maxLength: 2 }),
    fc.array(fc.oneof(text, image, document, opaque), { minLength: 1, maxLength: 3 }),
  )
  .map(([results, others]) => [...results, ...others] as Part[]);
const assistant = fc.array(fc.oneof(thinking, text, call, opaque), { minLength: 1, maxLength: 4 }) as fc.Arbitrary<
  Part[]
>;
const messages = fc.array(fc.tuple(user, assistant, fc.option(text)), { minLength: 1, maxLength: 4 }).map((turns) =>
  turns.flatMap(([asked, answered, instruction]): ChatRequest["messages"] => [
    { role: "user", content: asked },
    ...(instruction
      ? [
          {
            role: "system" as const,
            content: [instruction],
            extensions: { dialect: ID, value: { output_config: { effort: "low" } } },
          },
        ]
      : []),
    { role: "assistant", content: answered },
  ]),
);

const tool = fc.oneof(
  fc.record(
    {
      type: fc.constant("function" as const),
      name: id,
      description: fc.string(),
      parameters: json.map((schema) => ({ ...schema, type: "object" })),
      strict: fc.boolean(),
      cache,
      extensions: fc.constant({ dialect: ID, value: { defer_loading: true } }),
    },
    { requiredKeys: ["type", "name", "parameters"] },
  ),
  fc.constant({
    type: "opaque" as const,
    dialect: ID,
    kind: "bash_1",
    name: "bash",
    value: { type: "bash_1", name: "bash" },
  }),
  fc
    .record(
      {
        type: fc.constant("web-search" as const),
        name: fc.constant("web_search"),
        allowedDomains: fc.array(fc.string()),
        maxUses: fc.nat(),
      },
      { requiredKeys: ["type", "name"] },
    )
    .map(({ allowedDomains, maxUses, ...search }) => ({
      ...search,
      ...(allowedDomains && { allowedDomains }),
      ...(maxUses !== undefined && { maxUses }),
      native: {
        dialect: ID,
        value: {
          type: "web_search_20260318",
          name: "web_search",
          ...(allowedDomains && { allowed_domains: allowedDomains }),
          ...(maxUses !== undefined && { max_uses: maxUses }),
        },
      },
    })),
);
const effort = fc.constantFrom(...EFFORTS);
const show = fc.boolean();
const reasoning = fc.oneof(
  fc.record({ mode: fc.constant("off" as const), effort }, { requiredKeys: ["mode"] }),
  fc.record({ mode: fc.constant("auto" as const), effort, show }, { requiredKeys: ["mode", "effort"] }),
  fc.record({ mode: fc.constant("on" as const), budget: fc.nat(), effort, show }, { requiredKeys: ["mode", "budget"] }),
  fc.record({ mode: fc.constant("default" as const), effort }),
);
const request: fc.Arbitrary<ChatRequest> = fc
  .record(
    {
      model: word,
      system: fc.array(text, { maxLength: 3 }),
      messages,
      tools: fc.array(tool, { minLength: 1, maxLength: 3 }),
      toolChoice: fc.oneof(
        fc.record({ type: fc.constantFrom("auto" as const, "required" as const) }),
        fc.record({ type: fc.constant("tool" as const), name: id }),
      ),
      parallelToolCalls: fc.constant(false),
      maxTokens: fc.nat(),
      temperature: fc.double({ min: 0, max: 1, noNaN: true }).map(Math.abs),
      topP: fc.double({ min: 0, max: 1, noNaN: true }).map(Math.abs),
      topK: fc.nat(),
      stop: fc.array(word, { minLength: 1, maxLength: 3 }),
      reasoning,
      outputFormat: json.map((schema) => ({ type: "json-schema" as const, schema, strict: true })),
      stream: fc.boolean(),
      serviceTier: fc.constantFrom("auto", "standard_only"),
      userId: word,
      extensions: json
        .filter((value) => Object.keys(value).length > 0 && !Object.keys(value).some((key) => key in KNOWN))
        .map((value) => ({ dialect: ID, value })),
    },
    { requiredKeys: ["model", "system", "messages", "tools", "maxTokens", "stream"] },
  )
  // One call at a time is written as part of the choice, and the session as part of the user's id.
  .filter((value) => value.parallelToolCalls === undefined || value.toolChoice !== undefined)
  .filter((value) => !value.userId?.startsWith("{"));
const KNOWN: Record<string, true> = {
  system: true,
  thinking: true,
  model: true,
  tools: true,
  stream: true,
  metadata: true,
};

it("reads every request that it writes", () => {
  fc.assert(
    fc.property(request, (value) => {
      const wire = JSON.parse(JSON.stringify(anthropicMessages.encodeRequest(value, value.model)));
      expect(anthropicMessages.decodeRequest(wire)).toEqual(value);
    }),
    { numRuns: 300 },
  );
});

const signature = fc.oneof(
  native,
  fc.record(
    { origin: word, model: word, kind: fc.constantFrom("thought", "item"), data: fc.string() },
    { requiredKeys: ["origin", "data"] },
  ),
);
const deltas = fc.array(fc.string({ unit: "grapheme", minLength: 1 }), { maxLength: 4 });
const block: fc.Arbitrary<StreamEvent[]> = fc.oneof(
  fc
    .tuple(deltas, fc.option(fc.array(json, { minLength: 1, maxLength: 2 })))
    .filter(([texts]) => texts.length > 0)
    .map(([texts, citations]): StreamEvent[] => [
      { type: "text-start" },
      ...texts.map((text) => ({ type: "text-delta" as const, text })),
      { type: "text-end", ...(citations && { citations: { dialect: ID, value: citations } }) },
    ]),
  fc
    .tuple(deltas, fc.option(signature))
    .map(([texts, signature]): StreamEvent[] => [
      { type: "thinking-start" },
      ...texts.map((text) => ({ type: "thinking-delta" as const, text })),
      { type: "thinking-end", ...(signature && { signature }) },
    ]),
  fc
    .tuple(id, id, deltas)
    .filter(([, , fragments]) => fragments.length > 0)
    .map(([id, name, fragments]): StreamEvent[] => [
      { type: "tool-call-start", id, name },
      ...fragments.map((text) => ({ type: "tool-call-delta" as const, arguments: text })),
      { type: "tool-call-end" },
    ]),
  word.map((data): StreamEvent[] => [{ type: "redacted-thinking", data }]),
  opaque.map((part): StreamEvent[] => [{ type: "opaque", part: part as Part & { type: "opaque" } }]),
);
const usage = fc
  .record({
    plain: fc.nat(),
    cacheReadTokens: fc.nat(),
    cacheWriteTokens: fc.nat(),
    outputTokens: fc.nat(),
    reasoningTokens: fc.nat(),
  })
  .map(({ plain, ...counts }) => ({
    inputTokens: plain + counts.cacheReadTokens + counts.cacheWriteTokens,
    ...counts,
  }));
const answer = fc.record({
  blocks: fc.array(block, { maxLength: 6 }).map((list) => list.flat()),
  reason: fc.constantFrom("stop", "stop-sequence", "length", "context-window", "refusal", "pause"),
  usage,
});

const encode = (events: StreamEvent[], showThinking = true) => {
  const encoder = anthropicMessages.streamEncoder({ ...context, showThinking });
  return [...events.flatMap((event) => encoder.encode(event)), ...encoder.end()];
};

/** What the encoder leaves out on purpose: foreign signatures without thinking, behind everything else. */
function withoutTail(blocks: StreamEvent[]): StreamEvent[] {
  const [start, end] = blocks.slice(-2);
  const empty = start?.type === "thinking-start" && end?.type === "thinking-end";
  const foreign = empty && end.signature !== undefined && end.signature.origin !== "anthropic-messages";
  return foreign && blocks.length > 2 ? withoutTail(blocks.slice(0, -2)) : blocks;
}

it("reads every stream that it writes, through the bytes", () => {
  fc.assert(
    fc.property(answer, fc.nat(), ({ blocks, reason, usage }, at) => {
      const called = blocks.some(({ type }) => type === "tool-call-start");
      const cut = reason === "length" || reason === "context-window" || reason === "refusal";
      const finish: StreamEvent = { type: "finish", reason: called && !cut ? "tool-calls" : reason };
      const bytes = Buffer.from(formatFrames(encode([{ type: "start" }, ...blocks, finish, { type: "usage", usage }])));
      const decoder = anthropicMessages.streamDecoder();
      const read: StreamEvent[] = [];
      const reader = sseReader((frame) => read.push(...decoder.feed(frame)));
      reader.feed(bytes.subarray(0, at % bytes.length));
      reader.feed(bytes.subarray(at % bytes.length));
      reader.end();
      read.push(...decoder.end());
      expect(read[0]).toEqual({ type: "start", id: "msg_x1", model: "m" });
      expect(read.filter(({ type }) => type !== "usage").slice(1)).toEqual([...withoutTail(blocks), finish]);
      expect(read.at(-1)).toEqual({ type: "usage", usage });
    }),
    { numRuns: 300 },
  );
});

const chance = fc.option(fc.constant(1), { nil: undefined, freq: 3 });
const anyText = fc.oneof(fc.constant(""), fc.string());
const anyEvent: fc.Arbitrary<StreamEvent> = fc.oneof(
  ...(["text-start", "text-end", "thinking-start", "thinking-end", "tool-call-end"] as const).map((type) =>
    chance.map((choice) => ({ type, choice })),
  ),
  fc.record({ type: fc.constant("text-delta" as const), text: anyText, choice: chance }),
  fc.record({ type: fc.constant("thinking-delta" as const), text: anyText, choice: chance }),
  fc.record({ type: fc.constant("refusal-delta" as const), text: anyText, choice: chance }),
  fc.record({ type: fc.constant("thinking-end" as const), signature, choice: chance }),
  fc.record({ type: fc.constant("tool-call-start" as const), id: anyText, name: id, choice: chance }),
  fc.record({ type: fc.constant("tool-call-delta" as const), arguments: anyText, choice: chance }),
  fc.record({ type: fc.constant("redacted-thinking" as const), data: anyText, choice: chance }),
  opaque.map((part) => ({ type: "opaque" as const, part: part as Part & { type: "opaque" } })),
  fc.constant({ type: "start" as const }),
  fc.constant({ type: "logprobs" as const, value: {} }),
  fc.record({ type: fc.constant("usage" as const), usage }),
  fc.record({
    type: fc.constant("finish" as const),
    reason: fc.constantFrom("stop", "tool-calls", "length", "refusal"),
  }),
);

it("writes a legal stream whatever the events are", () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 40 }), fc.boolean(), (events, showThinking) => {
      const frames = encode(events, showThinking).map(({ event, data }) => {
        // Deltas are written as text.
        const said = (typeof data === "string" ? JSON.parse(data) : data) as JsonObject;
        expect(said.type).toBe(event);
        return said as JsonObject & { type: string; delta: JsonObject; content_block: JsonObject };
      });
      const types = frames.map(({ type }) => type);
      expect(types.slice(0, 2)).toEqual(["message_start", "ping"]);
      expect(types.slice(-2)).toEqual(["message_delta", "message_stop"]);
      for (const once of ["message_start", "message_delta", "message_stop"]) {
        expect(types.filter((type) => type === once)).toHaveLength(1);
      }

      let index = -1;
      let open: string | undefined;
      let signatures = 0;
      let called = false;
      for (const frame of frames.slice(2, -2)) {
        if (frame.type === "content_block_start") {
          expect(open).toBeUndefined();
          expect(frame.index).toBe(++index);
          open = frame.content_block.type as string;
          signatures = 0;
          if (open === "text") expect(frame.content_block.text).toBe("");
          if (open === "tool_use") {
            called = true;
            expect(frame.content_block.id).toMatch(/^[a-zA-Z0-9_-]+$/);
            expect(frame.content_block.input).toEqual({});
          }
        } else {
          expect(open).toBeDefined();
          expect(frame.index).toBe(index);
          if (frame.type === "content_block_stop") {
            expect(signatures).toBe(open === "thinking" ? 1 : 0);
            open = undefined;
          } else {
            expect(signatures).toBe(0);
            if (frame.delta.type === "signature_delta") signatures++;
            if (frame.delta.type === "thinking_delta") expect(showThinking).toBe(true);
          }
        }
      }
      expect(open).toBeUndefined();

      const { stop_reason } = frames.at(-2)!.delta;
      if (stop_reason === "tool_use") expect(called).toBe(true);
      if (called) expect(["tool_use", "max_tokens", "refusal"]).toContain(stop_reason);
    }),
    { numRuns: 500 },
  );
});
