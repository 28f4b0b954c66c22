import fc from "fast-check";
import OpenAI from "openai";
import { expect, it } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { collector, type StreamEvent } from "../../src/core/events.ts";
import { type ChatRequest, EFFORTS, type Message, type Part, type Tool } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { openaiResponses } from "../../src/dialects/openai-responses/index.ts";
import { formatFrames, sseReader } from "../../src/dialects/sse.ts";

const ID = "openai-responses";
const context: CallerContext = {
  model: "m",
  id: "x1",
  created: 1,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};

const word = fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 });
const id = fc.stringMatching(/^[a-zA-Z0-9_-]{1,12}$/);
const json = fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);
const encrypted = fc.stringMatching(/^gAAAA[A-Za-z0-9_-]{0,20}$/);
const own = fc.record({ origin: fc.constant(ID), kind: id.map((text) => `rs_${text}`), data: encrypted });

const text = fc.record({ type: fc.constant("text" as const), text: word });
const webUrl = fc.webUrl();
const image = fc.record(
  {
    type: fc.constant("image" as const),
    source: fc.oneof(
      fc.record({ kind: fc.constant("base64" as const), mediaType: fc.constant("image/png"), data: fc.base64String() }),
      fc.record({ kind: fc.constant("url" as const), url: webUrl }),
      fc.record({ kind: fc.constant("file" as const), dialect: fc.constant(ID), id }),
    ),
    detail: fc.constantFrom("auto" as const, "low" as const, "high" as const),
  },
  { requiredKeys: ["type", "source", "detail"] },
);
const document = fc.oneof(
  fc.record({
    type: fc.constant("document" as const),
    source: fc.record({
      kind: fc.constant("base64" as const),
      mediaType: fc.constant("application/pdf"),
      data: fc.base64String({ minLength: 4 }),
    }),
    filename: word,
  }),
  fc.record({
    type: fc.constant("document" as const),
    source: fc.oneof(
      fc.record({ kind: fc.constant("url" as const), url: webUrl }),
      fc.record({ kind: fc.constant("file" as const), dialect: fc.constant(ID), id }),
    ),
  }),
);
const search: Part = {
  type: "opaque",
  dialect: ID,
  kind: "web_search_call",
  value: { type: "web_search_call", id: "ws_1", status: "completed", action: { type: "search", query: "q" } },
};

const call = fc.record({
  type: fc.constant("tool-call" as const),
  id,
  name: id,
  arguments: json.map((v) => JSON.stringify(v)),
});
const custom = fc.record({
  type: fc.constant("tool-call" as const),
  id: id.map((text) => `c_${text}`),
  name: id,
  arguments: fc.string(),
  custom: fc.constant(true as const),
});
const thinking = fc.record({ type: fc.constant("thinking" as const), text: fc.string(), signature: own });

/** A turn of the model, which ends with something that its reasoning led to, and the results of its calls. */
const turn = fc
  .tuple(fc.array(fc.oneof(thinking, text, call, custom, fc.constant(search)), { maxLength: 4 }), text)
  .map(([parts, last]) => [...parts, last] as Part[])
  .filter((parts) => {
    const ids = parts.flatMap((part) => (part.type === "tool-call" ? part.id : []));
    return new Set(ids).size === ids.length;
  });
const content = fc.array(fc.oneof(text, image, document), { maxLength: 3 });
const said = fc.array(fc.oneof(text, image, document), { minLength: 1, maxLength: 3 });
const exchange = fc
  .tuple(
    said,
    fc.option(fc.array(text, { minLength: 1, maxLength: 2 })),
    turn,
    fc.array(content, { minLength: 4, maxLength: 4 }),
  )
  .map(([asked, instruction, parts, outputs]): Message[] => {
    const calls = parts.filter((part) => part.type === "tool-call");
    const results = calls.map((part, i): Part => ({ type: "tool-result", id: part.id, content: outputs[i]! }));
    return [
      { role: "user", content: asked },
      ...(instruction ? [{ role: "system" as const, content: instruction }] : []),
      { role: "assistant", content: parts },
      ...(results.length > 0 ? [{ role: "user" as const, content: results }] : []),
    ];
  });
const messages = fc.array(exchange, { minLength: 1, maxLength: 3 }).map((list) => list.flat());

const tool = fc.oneof(
  fc.record(
    {
      type: fc.constant("function" as const),
      name: id,
      description: fc.string(),
      parameters: json.map((properties) => ({ type: "object", properties })),
      strict: fc.boolean(),
      extensions: fc.constant<{ dialect: string; value: JsonObject }>({ dialect: ID, value: { defer_loading: true } }),
    },
    { requiredKeys: ["type", "name", "parameters", "strict"] },
  ),
  fc.record(
    {
      type: fc.constant("custom" as const),
      name: id,
      description: fc.string(),
      format: fc.constantFrom({ type: "text" }, { type: "grammar", syntax: "regex", definition: "a+" }),
    },
    { requiredKeys: ["type", "name"] },
  ),
  fc.constant<Tool>({
    type: "web-search",
    name: "web_search",
    allowedDomains: ["example.com"],
    userLocation: { type: "approximate", city: "Paris" },
    native: {
      dialect: ID,
      value: {
        type: "web_search",
        filters: { allowed_domains: ["example.com"] },
        user_location: { type: "approximate", city: "Paris" },
      },
    },
  }),
  fc.constant<Tool>({
    type: "opaque",
    dialect: ID,
    kind: "file_search",
    value: { type: "file_search", vector_store_ids: ["vs_1"] },
  }),
);
const unit = fc.double({ min: 0, max: 1, noNaN: true }).map(Math.abs);
const request: fc.Arbitrary<ChatRequest> = fc.record(
  {
    model: word,
    system: fc.array(text, { maxLength: 1 }),
    messages,
    tools: fc.array(tool, { minLength: 1, maxLength: 3 }),
    toolChoice: fc.oneof(
      fc.record({ type: fc.constantFrom("auto" as const, "required" as const, "none" as const) }),
      fc.record({ type: fc.constant("tool" as const), name: id }),
    ),
    parallelToolCalls: fc.boolean(),
    maxTokens: fc.integer({ min: 16 }),
    temperature: unit,
    topP: unit,
    logprobs: fc.constant(true),
    topLogprobs: fc.nat(20),
    reasoning: fc.oneof(
      fc.constant({ mode: "off" as const }),
      fc.record(
        { mode: fc.constant("on" as const), effort: fc.constantFrom(...EFFORTS), show: fc.constant(true) },
        { requiredKeys: ["mode", "effort"] },
      ),
      fc.constant({ mode: "default" as const, show: true }),
    ),
    outputFormat: fc.oneof(
      fc.constant({ type: "json" as const }),
      fc.record(
        { type: fc.constant("json-schema" as const), name: id, schema: json, strict: fc.boolean(), description: word },
        { requiredKeys: ["type", "name", "schema"] },
      ),
    ),
    stream: fc.boolean(),
    serviceTier: fc.constantFrom("auto", "flex"),
    userId: word,
    sessionId: word,
    metadata: fc.constant({ project: "p" }),
  },
  { requiredKeys: ["model", "system", "messages", "tools", "stream"] },
);

it("reads every request that it writes", () => {
  fc.assert(
    fc.property(request, (value) => {
      const wire = JSON.parse(JSON.stringify(openaiResponses.encodeRequest(value, value.model)));
      const { extensions, ...read } = openaiResponses.decodeRequest(wire);
      expect(read).toEqual(value);
      // What the wire needs beside: no store, the signatures of reasoning, how the summary is to be.
      expect(extensions?.value).toMatchObject({ store: false });
      expect(
        openaiResponses.decodeRequest(openaiResponses.encodeRequest({ ...read, extensions: extensions! }, "m")),
      ).toEqual({
        ...value,
        model: "m",
        extensions,
      });
    }),
    { numRuns: 300 },
  );
});

const anySignature = fc.oneof(
  own,
  fc.record(
    { origin: word.filter((name) => name !== ID), model: word, kind: fc.constantFrom("thought", "item"), data: word },
    { requiredKeys: ["origin", "data"] },
  ),
);
const deltas = fc.array(word, { minLength: 1, maxLength: 4 });
const annotation = fc.constant({
  type: "url_citation",
  url: "https://a.example/",
  title: "A",
  start_index: 0,
  end_index: 1,
});
const block: fc.Arbitrary<StreamEvent[]> = fc.oneof(
  fc.tuple(deltas, fc.option(annotation)).map(([texts, cited]): StreamEvent[] => [
    { type: "text-start" },
    ...texts.map((text) => ({ type: "text-delta" as const, text })),
    {
      type: "text-end",
      ...(cited && {
        citations: {
          dialect: ID,
          value: [cited],
          sources: [{ url: cited.url, title: cited.title, start: 0, end: 1 }],
        },
      }),
    },
  ]),
  fc
    .tuple(deltas, fc.option(anySignature))
    .map(([texts, signature]): StreamEvent[] => [
      { type: "thinking-start" },
      ...texts.map((text) => ({ type: "thinking-delta" as const, text })),
      { type: "thinking-end", ...(signature && { signature }) },
    ]),
  fc
    .tuple(id, id, deltas, fc.boolean())
    .map(([id, name, fragments, isCustom]): StreamEvent[] => [
      { type: "tool-call-start", id, name, ...(isCustom && { custom: true }) },
      ...fragments.map((text) => ({ type: "tool-call-delta" as const, arguments: text })),
      { type: "tool-call-end" },
    ]),
  deltas.map((texts): StreamEvent[] => texts.map((text) => ({ type: "refusal-delta", text }))),
  word.map((data): StreamEvent[] => [{ type: "redacted-thinking", data }]),
  fc.constant<StreamEvent[]>([{ type: "opaque", part: search as Part & { type: "opaque" } }]),
);
const usage = fc
  .record({
    plain: fc.nat(),
    cacheReadTokens: fc.nat(),
    cacheWriteTokens: fc.nat(),
    answer: fc.nat(),
    reasoningTokens: fc.nat(),
  })
  .map(({ plain, answer, ...counts }) => ({
    inputTokens: plain + counts.cacheReadTokens + counts.cacheWriteTokens,
    outputTokens: answer + counts.reasoningTokens,
    ...counts,
  }));
/** No two items of an answer have the same id. */
function withOwnId(event: StreamEvent, i: number): StreamEvent {
  if (event.type === "tool-call-start") return { ...event, id: `${event.id}_${i}` };
  if (event.type === "opaque")
    return { ...event, part: { ...event.part, value: { ...event.part.value, id: `ws_${i}` } } };
  if (event.type !== "thinking-end" || event.signature?.origin !== ID) return event;
  return { ...event, signature: { ...event.signature, kind: `rs_${i}` } };
}

const answer = fc
  .record({
    blocks: fc
      .array(block, { maxLength: 6 })
      .map((list) => list.flatMap((events, i) => events.map((event) => withOwnId(event, i)))),
    cut: fc.boolean(),
    usage,
  })
  .map(({ blocks, cut, usage }) => {
    const called = blocks.some(({ type }) => type === "tool-call-start");
    const refused = blocks.some(({ type }) => type === "refusal-delta");
    const reason = cut ? "length" : called ? "tool-calls" : refused ? "refusal" : "stop";
    const events: StreamEvent[] = [...blocks, { type: "finish", reason }, { type: "usage", usage }];
    return events;
  });

function encode(events: StreamEvent[], showThinking = true) {
  const encoder = openaiResponses.streamEncoder({ ...context, showThinking });
  return [...events.flatMap((event) => encoder.encode(event)), ...encoder.end()];
}

function decode(...chunks: Uint8Array[]): StreamEvent[] {
  const events: StreamEvent[] = [];
  const decoder = openaiResponses.streamDecoder();
  const reader = sseReader((frame) => events.push(...decoder.feed(frame)));
  for (const chunk of chunks) reader.feed(chunk);
  reader.end();
  return [...events, ...decoder.end()];
}

const collect = (events: readonly StreamEvent[]) => {
  const collected = collector();
  for (const event of events) collected.add(event);
  return collected.response();
};

it("reads every stream that it writes, at every split of its bytes", () => {
  fc.assert(
    fc.property(answer, fc.nat(), (events, at) => {
      const bytes = Buffer.from(formatFrames(encode(events)));
      const read = decode(bytes.subarray(0, at % bytes.length), bytes.subarray(at % bytes.length));
      expect(read[0]).toEqual({ type: "start", id: "resp_x1", model: "m", created: 1 });
      expect(read.slice(1)).toEqual(events);
    }),
    { numRuns: 300 },
  );
});

it("reads the same events from one byte at a time", () => {
  fc.assert(
    fc.property(answer, (events) => {
      const bytes = Buffer.from(formatFrames(encode(events)));
      expect(decode(...Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(decode(bytes));
    }),
    { numRuns: 50 },
  );
});

it("reads every whole answer that it writes, and writes the same one as the stream", () => {
  fc.assert(
    fc.property(answer, (events) => {
      const response = collect(events);
      const wire = JSON.parse(JSON.stringify(openaiResponses.encodeResponse(response, context))) as JsonObject;
      expect(openaiResponses.decodeResponse(wire)).toEqual({ ...response, id: "resp_x1", model: "m", created: 1 });
      const streamed = encode(events).at(-1)!.data as { response: JsonObject };
      // Ids and what is sealed for them may differ: in a stream the id is told before the upstream's is known.
      expect(shape(streamed.response)).toEqual(shape(wire));
    }),
    { numRuns: 300 },
  );
});

function shape(response: JsonObject): unknown {
  const items = (response.output as JsonObject[]).map((item) =>
    item.type === "reasoning" ? { ...item, id: "", encrypted_content: typeof item.encrypted_content } : item,
  );
  return JSON.parse(JSON.stringify({ ...response, output: items }));
}

it("writes streams that the official client puts together as they were meant", async () => {
  await fc.assert(
    fc.asyncProperty(answer, fc.boolean(), async (events, showThinking) => {
      const frames = encode(events, showThinking);
      const bytes = formatFrames(frames);
      const client = new OpenAI({
        apiKey: "k",
        maxRetries: 0,
        fetch: async () => new Response(bytes, { headers: { "content-type": "text/event-stream" } }),
      });
      const final = await client.responses.stream({ model: "m", input: "x" }).finalResponse();
      const { response } = JSON.parse(JSON.stringify(frames.at(-1)!.data)) as { response: JsonObject };
      expect(final).toMatchObject(response);
    }),
    { numRuns: 60 },
  );
});

const anyText = fc.oneof(fc.constant(""), fc.string());
const anyEvent: fc.Arbitrary<StreamEvent> = fc.oneof(
  ...(["text-start", "text-end", "thinking-start", "thinking-end", "tool-call-end"] as const).map((type) =>
    fc.option(fc.constant(1), { nil: undefined, freq: 3 }).map((choice) => (choice ? { type, choice } : { type })),
  ),
  fc.record({ type: fc.constant("text-delta" as const), text: anyText }),
  fc.record({ type: fc.constant("thinking-delta" as const), text: anyText }),
  fc.record({ type: fc.constant("refusal-delta" as const), text: anyText }),
  fc.record({ type: fc.constant("thinking-end" as const), signature: anySignature }),
  fc.record({ type: fc.constant("tool-call-start" as const), id: anyText, name: id }),
  fc.record({ type: fc.constant("tool-call-delta" as const), arguments: anyText }),
  fc.record({ type: fc.constant("redacted-thinking" as const), data: anyText }),
  fc.constant<StreamEvent>({ type: "opaque", part: search as Part & { type: "opaque" } }),
  fc.constant<StreamEvent>({ type: "start" }),
  fc.constant<StreamEvent>({ type: "logprobs", value: { content: [] } }),
  fc.record({ type: fc.constant("usage" as const), usage }),
  fc.record({
    type: fc.constant("finish" as const),
    reason: fc.constantFrom("stop" as const, "tool-calls" as const, "length" as const, "refusal" as const),
  }),
);

it("writes a legal stream whatever the events are", () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 40 }), fc.boolean(), (events, showThinking) => {
      const frames = encode(events, showThinking).map(({ event, data }) => {
        expect((data as JsonObject).type).toBe(event);
        return data as JsonObject & { type: string; item: JsonObject; part: JsonObject };
      });
      expect(frames.map(({ sequence_number }) => sequence_number)).toEqual(frames.map((_, i) => i));
      const types = frames.map(({ type }) => type);
      expect(types.slice(0, 2)).toEqual(["response.created", "response.in_progress"]);
      expect(types.at(-1)).toMatch(/^response\.(completed|incomplete)$/);

      let index = -1;
      let item: JsonObject | undefined;
      let part: string | undefined;
      for (const frame of frames.slice(2, -1)) {
        if (frame.type === "response.output_item.added") {
          expect(item).toBeUndefined();
          item = frame.item;
          index++;
        }
        expect(item).toBeDefined();
        expect(frame.output_index).toBe(index);
        if (frame.type === "response.output_item.done") {
          expect(part).toBeUndefined();
          expect(frame.item).toMatchObject({ id: item!.id, type: item!.type });
          item = undefined;
        } else if (frame.type !== "response.output_item.added") {
          expect(frame.item_id).toBe(item!.id);
          if (frame.type.endsWith("_part.added")) part = String(frame.part.type);
          else if (frame.type.endsWith("_part.done")) part = undefined;
          else if (frame.type.includes("output_text")) expect(part).toBe("output_text");
          else if (frame.type.includes("refusal")) expect(part).toBe("refusal");
          else if (frame.type.includes("reasoning")) expect([part, showThinking]).toEqual(["summary_text", true]);
        }
      }
      expect(item).toBeUndefined();
      expect((frames.at(-1)!.response as { output: unknown[] }).output).toHaveLength(index + 1);
    }),
    { numRuns: 300 },
  );
});

it("reads any JSON as a request, or refuses it with the field's name", () => {
  const field = fc.constantFrom("input", "tools", "tool_choice", "text", "reasoning", "include", "metadata", "stream");
  const key = fc.constantFrom("type", "role", "content", "call_id", "name", "arguments", "output", "summary", "text");
  const kind = fc.constantFrom("message", "reasoning", "function_call", "function_call_output", "custom", "user");
  const item = fc.dictionary(key, fc.oneof(kind, fc.jsonValue({ maxDepth: 2 })), { maxKeys: 5 });
  const junk = fc.dictionary(field, fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.array(item, { maxLength: 3 }), item));
  fc.assert(
    fc.property(junk, (fields) => {
      try {
        openaiResponses.decodeRequest({ model: "m", input: "hi", ...fields });
      } catch (error) {
        expect(error).toMatchObject({ name: "GatewayError", code: "invalid_request", param: expect.any(String) });
      }
    }),
    { numRuns: 1000 },
  );
});

it("reads any JSON as an answer or an event, or gives the upstream's error", () => {
  const json = fc.jsonValue({ maxDepth: 2 });
  const key = fc.constantFrom(
    "type",
    "id",
    "content",
    "name",
    "call_id",
    "arguments",
    "summary",
    "text",
    "annotations",
  );
  const kind = fc.constantFrom("message", "reasoning", "function_call", "output_text", "refusal", "x_call");
  const part = fc.dictionary(key, fc.oneof(kind, json), { maxKeys: 5 });
  const item = fc.dictionary(key, fc.oneof(kind, json, fc.array(part, { maxLength: 2 })), { maxKeys: 6 });
  const members = { output: fc.oneof(json, fc.array(item, { maxLength: 3 })), usage: json, error: json, status: json };
  const response = fc.record(members, { requiredKeys: [] });
  const steps = ["created", "output_item.added", "output_item.done", "output_text.delta", "completed", "failed"];
  const event = fc.record(
    {
      type: fc.constantFrom("error", ...steps.map((step) => `response.${step}`)),
      output_index: fc.oneof(fc.nat(2), json),
      content_index: json,
      delta: json,
      item: fc.oneof(json, item),
      response: fc.oneof(json, response),
    },
    { requiredKeys: ["type"] },
  );
  const isUpstreams = (code: string) => /^(upstream_|rate_limited|invalid_request|model_not_found|context)/.test(code);
  fc.assert(
    fc.property(fc.oneof(json, response), fc.array(event, { maxLength: 8 }), (body, events) => {
      try {
        openaiResponses.decodeResponse(body);
      } catch (error) {
        expect((error as Error).name).toBe("GatewayError");
      }
      const decoder = openaiResponses.streamDecoder();
      const read = [...events.flatMap((data) => decoder.feed({ data: JSON.stringify(data) })), ...decoder.end()];
      const last = read.at(-1)!;
      if (last.type === "error") expect(isUpstreams(last.error.code)).toBe(true);
      else expect(read.some(({ type }) => type === "finish")).toBe(true);
    }),
    { numRuns: 1000 },
  );
});
