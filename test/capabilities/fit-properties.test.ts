import fc from "fast-check";
import { mistral } from "turnpike/providers";
import { validateMistral } from "turnpike/testing";
import { expect, test } from "vitest";
import { fit as fitTo } from "../../src/capabilities/fit/index.ts";
import { type ChatRequest, EFFORTS, type Message, type Part, type Tool } from "../../src/core/request.ts";

/** Whatever a caller's conversation is, what is fitted and written for Mistral is something that Mistral takes. */

const provider = mistral({ apiKey: "key" });
const MODELS = [
  "mistral-medium-3-5",
  "mistral-small-latest",
  "mistral-large-4",
  "mistral-large-latest",
  "magistral-medium-latest",
  "zai-glm-5",
  "codestral-latest",
  "devstral-small-latest",
  "ministral-8b-latest",
];

const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
/** Without the members that are undefined, as codecs leave them out. */
const record = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc
    .record(model)
    .map((value) => Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T);

const words = fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom("", "Hello.", "日本 🦊", "\n"));
const filled = words.filter((text) => text !== "");
const dialect = fc.constantFrom("anthropic-messages", "openai-chat");
const cache = optional(fc.constant({ type: "ephemeral" }));
const callId = fc.oneof(
  fc.constantFrom("toolu_01A", "call_abc|def", "abcdefghi", "x", "9chars_xx", "ÄÖÜäöüßéè"),
  fc.string({ minLength: 1, maxLength: 20 }),
);
const toolName = fc.oneof(
  fc.constantFrom("Read", "mcp__server__tool", "a.b.c", "with space", "x".repeat(80), "ünïcode"),
  fc.string({ minLength: 1, maxLength: 10 }),
);

const text = record({ type: fc.constant("text" as const), text: words, cache });
const source = fc.oneof(
  fc.constant({ kind: "base64" as const, mediaType: "image/png", data: "iVBORw0KGgo=" }),
  fc.constant({ kind: "url" as const, url: "https://example.com/cat.png" }),
  fc.constant({ kind: "file" as const, dialect: "anthropic-messages", id: "file_1" }),
);
const image = record({
  type: fc.constant("image" as const),
  source,
  detail: optional(fc.constantFrom("auto" as const, "low" as const)),
});
const document = record({
  type: fc.constant("document" as const),
  source: fc.oneof(
    source,
    fc.record({ kind: fc.constant("text" as const), mediaType: fc.constant("text/plain"), text: words }),
  ),
  title: optional(words),
});
const audio = fc.constant({ type: "audio" as const, data: "AAAA", format: "wav" });
const opaque = record({
  type: fc.constant("opaque" as const),
  dialect: fc.constant("anthropic-messages"),
  kind: fc.constantFrom("server_tool_use", "web_search_tool_result", "tool_reference", "compaction"),
  value: fc.constant({ type: "server_tool_use", id: "srv_1", name: "web_search", tool_name: "Read" }),
});
const thinking = record({
  type: fc.constant("thinking" as const),
  text: words,
  signature: optional(
    fc.constantFrom(
      { origin: "anthropic-messages", data: "c2ln" },
      { origin: "mistral", data: "" },
      { origin: "mistral", model: "mistral-medium-3-5", data: "sig" },
      { origin: "gemini", data: "x" },
    ),
  ),
});
const redacted = fc.constant({ type: "thinking" as const, text: "", redacted: "ZW5j" });
const refusal = fc.record({ type: fc.constant("refusal" as const), text: words });

/** One turn of a conversation: its results point to calls by number, so that most of them exist. */
const assistant = fc
  .record({
    said: fc.array(fc.oneof(text, thinking, redacted, refusal, opaque), { maxLength: 3 }),
    calls: fc.uniqueArray(
      record({
        type: fc.constant("tool-call" as const),
        id: callId,
        name: toolName,
        arguments: fc.constantFrom("", "{}", '{"a":1}', '{"broken'),
        custom: optional(fc.constant(true)),
      }),
      { maxLength: 3, selector: (call) => call.id },
    ),
  })
  .map(({ said, calls }): Message => ({ role: "assistant", content: [...said, ...calls] }));
const result = record({
  type: fc.constant("tool-result" as const),
  id: callId,
  content: fc.array(fc.oneof(text, image, document, opaque), { maxLength: 2 }),
  isError: optional(fc.boolean()),
});
const user = fc.record({
  /** Which calls of the turn before are answered, in which order; the rest is made up. */
  answers: fc.array(fc.nat(3), { maxLength: 4 }),
  strays: fc.array(result, { maxLength: 1 }),
  content: fc.array(fc.oneof(text, image, document, audio, opaque), { maxLength: 3 }),
  answer: result,
});
const system = fc.array(text, { maxLength: 2 }).map((content): Message => ({ role: "system", content }));

const messages = fc
  .array(
    fc.oneof({ arbitrary: user, weight: 4 }, { arbitrary: assistant, weight: 4 }, { arbitrary: system, weight: 1 }),
    { minLength: 1, maxLength: 8 },
  )
  .map((turns): Message[] => {
    const list: Message[] = [];
    let open: string[] = [];
    for (const turn of turns) {
      if ("role" in turn) {
        list.push(turn);
        if (turn.role === "assistant")
          open = turn.content.flatMap((part) => (part.type === "tool-call" ? [part.id] : []));
        continue;
      }
      const answered = [...new Set(turn.answers)].flatMap((at) => open[at] ?? []);
      const results: Part[] = answered.map((id) => ({ ...turn.answer, id }));
      list.push({ role: "user", content: [...results, ...turn.strays, ...turn.content] });
      open = [];
    }
    return list;
  });

const tool: fc.Arbitrary<Tool> = fc.oneof(
  record<Extract<Tool, { type: "function" }>>({
    type: fc.constant("function"),
    name: toolName,
    description: optional(words),
    parameters: fc.constantFrom({}, { type: "object", properties: { a: { type: "string" } } }),
    strict: optional(fc.boolean()),
    cache,
  }),
  fc.constant({
    type: "opaque",
    dialect: "anthropic-messages",
    kind: "code_execution_20250825",
    name: "code_execution",
    value: { type: "code_execution_20250825" },
  }),
  record<Extract<Tool, { type: "custom" }>>({
    type: fc.constant("custom"),
    name: toolName,
    description: optional(words),
    format: optional(fc.constant({ type: "grammar", grammar: { syntax: "regex", definition: "a+" } })),
  }),
  record<Extract<Tool, { type: "web-search" }>>({
    type: fc.constant("web-search"),
    name: fc.constant("web_search"),
    allowedDomains: optional(fc.array(words, { maxLength: 2 })),
    maxUses: optional(fc.nat(5)),
    native: dialect.map((name) => ({
      dialect: name,
      value: name === "openai-chat" ? {} : { type: "web_search_20250305" },
    })),
  }),
  fc.constant({
    type: "function",
    name: "bash",
    parameters: { type: "object", properties: { command: { type: "string" } } },
    native: { dialect: "anthropic-messages", value: { type: "bash_20250124", name: "bash" } },
  }),
);

const request = record<ChatRequest>({
  model: fc.constant("asked"),
  system: fc.array(text, { maxLength: 2 }),
  messages,
  tools: fc.uniqueArray(tool, { maxLength: 3, selector: (each) => each.name }),
  toolChoice: optional(
    fc.oneof(
      fc.constantFrom({ type: "auto" as const }, { type: "none" as const }, { type: "required" as const }),
      toolName.map((name) => ({ type: "tool" as const, name })),
    ),
  ),
  parallelToolCalls: optional(fc.boolean()),
  maxTokens: optional(fc.nat(200_000)),
  temperature: optional(fc.double({ min: 0, max: 2, noNaN: true })),
  topP: optional(fc.double({ min: 0, max: 1, noNaN: true })),
  topK: optional(fc.integer({ min: 1, max: 500 })),
  seed: optional(fc.integer({ min: 0, max: 2 ** 31 })),
  stop: optional(fc.array(filled, { minLength: 1, maxLength: 6 })),
  presencePenalty: optional(fc.double({ min: -2, max: 2, noNaN: true })),
  frequencyPenalty: optional(fc.double({ min: -2, max: 2, noNaN: true })),
  logitBias: optional(fc.constant({ "50256": -100 })),
  n: optional(fc.integer({ min: 1, max: 4 })),
  logprobs: optional(fc.boolean()),
  topLogprobs: optional(fc.nat(5)),
  reasoning: optional(
    record<NonNullable<ChatRequest["reasoning"]>>({
      mode: fc.constantFrom("off", "on", "auto", "default"),
      effort: optional(fc.constantFrom(...EFFORTS)),
      budget: optional(fc.integer({ min: 1024, max: 100_000 })),
      show: optional(fc.boolean()),
    }),
  ),
  outputFormat: optional(
    fc.constantFrom(
      { type: "json" as const },
      { type: "json-schema" as const, schema: { type: "object" } },
      { type: "json-schema" as const, name: "out", schema: {}, strict: true },
    ),
  ),
  stream: fc.boolean(),
  includeUsage: optional(fc.boolean()),
  serviceTier: optional(fc.constantFrom("auto", "flex", "standard_only")),
  userId: optional(words),
  sessionId: optional(words),
  metadata: optional(fc.constant({ a: "b" })),
  extensions: optional(dialect.map((name) => ({ dialect: name, value: { speed: "fast", thread: {} } }))),
});

test("any conversation, fitted and written for Mistral, is accepted by Mistral", () => {
  fc.assert(
    fc.property(
      request,
      fc.constantFrom(...MODELS),
      optional(fc.integer({ min: 1, max: 10_000 })),
      (asked, model, grantedTokens) => {
        fc.pre(
          asked.messages.some(({ role, content }) => role === "user" && content.some((part) => part.type === "text")),
        );
        const before = structuredClone(asked);
        const target = {
          capabilities: provider.capabilities(model),
          dialect: provider.dialect.id,
          provider: provider.type,
          grantedTokens,
        };
        const { request: fitted } = fitTo(asked, target);
        const body = JSON.parse(JSON.stringify(provider.dialect.encodeRequest(fitted, model)));
        expect(validateMistral(body), JSON.stringify(body.messages)).toBeUndefined();
        if (grantedTokens !== undefined) expect(body.max_tokens).toBeLessThanOrEqual(grantedTokens);
        expect(asked, "the caller's request is not touched").toEqual(before);
      },
    ),
    { numRuns: 1_000 },
  );
});

test("a conversation is fitted the same way twice", () => {
  fc.assert(
    fc.property(request, fc.constantFrom(...MODELS), (asked, model) => {
      const target = {
        capabilities: provider.capabilities(model),
        dialect: provider.dialect.id,
        provider: provider.type,
      };
      expect(fitTo(asked, target)).toEqual(fitTo(asked, target));
    }),
    { numRuns: 100 },
  );
});
