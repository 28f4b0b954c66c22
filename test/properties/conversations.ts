import fc from "fast-check";
import {
  type ChatRequest,
  EFFORTS,
  type Message,
  type OutputFormat,
  type Part,
  type Reasoning,
  type Tool,
  type ToolCallPart,
  type ToolResultPart,
} from "../../src/core/request.ts";
import { CALLER, marker } from "./marks.ts";
import { rarely, record, some } from "./record.ts";
import { anySchema, objectSchema } from "./schemas.ts";

/**
 * Arbitrary canonical requests. Every string that must not be lost in silence holds a `§`, which becomes a mark of its
 * own; what one dialect alone knows is of any dialect, or of whichever the caller speaks (`CALLER`).
 */

const dialect = fc.constantFrom(CALLER, CALLER, "anthropic-messages", "openai-chat", "openai-responses", "gemini");
const odd = fc.string({ unit: "binary", maxLength: 6 });
const words = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("§", "Hello §.", "日本 § 🦊", "§\n\n", "  §", '{"§":1}', "\\u0000§\u0000") },
  { weight: 1, arbitrary: odd.map((text) => `${text}§`) },
);
const maybeWords = fc.oneof({ weight: 6, arbitrary: words }, { weight: 1, arbitrary: fc.constantFrom("", " ", "\n") });
const cache = rarely(fc.constantFrom({ type: "ephemeral" }, { type: "ephemeral", ttl: "1h" }));
const base64 = fc.constant("§");

const text = record<Extract<Part, { type: "text" }>>({ type: fc.constant("text"), text: maybeWords, cache });
const file = dialect.map((name) => ({ kind: "file" as const, dialect: name, id: "file_§" }));
const image = record<Extract<Part, { type: "image" }>>({
  type: fc.constant("image"),
  source: fc.oneof(
    fc.constantFrom("image/png", "image/jpeg").map((mediaType) => ({ kind: "base64" as const, mediaType, data: "§" })),
    fc.constant({ kind: "url" as const, url: "https://example.com/§.png" }),
    file,
  ),
  detail: some(fc.constantFrom("auto", "low", "high")),
  cache,
});
const document = record<Extract<Part, { type: "document" }>>({
  type: fc.constant("document"),
  source: fc.oneof(
    base64.map((data) => ({ kind: "base64" as const, mediaType: "application/pdf", data })),
    fc.constant({ kind: "text" as const, mediaType: "text/plain", text: "§ said" }),
    fc.constant({ kind: "url" as const, url: "https://example.com/§.pdf" }),
    file,
  ),
  title: rarely(fc.constantFrom("§", '"§"')),
  filename: rarely(fc.constant("§.pdf")),
  context: rarely(fc.constant("about §")),
  citations: rarely(fc.boolean()),
  cache,
});
const audio = fc.constantFrom("wav", "mp3").map((format): Part => ({ type: "audio", data: "§", format }));
const opaque = fc.constantFrom<Part>(
  {
    type: "opaque",
    dialect: "anthropic-messages",
    kind: "server_tool_use",
    value: { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "§" } },
  },
  {
    type: "opaque",
    dialect: "anthropic-messages",
    kind: "container_upload",
    value: { type: "container_upload", file_id: "f§" },
  },
  {
    type: "opaque",
    dialect: "gemini",
    kind: "executableCode",
    value: { executableCode: { language: "PYTHON", code: "§" } },
  },
);
const reference: ToolResultPart["content"][number] = {
  type: "opaque",
  dialect: "anthropic-messages",
  kind: "tool_reference",
  value: { type: "tool_reference", tool_name: "§" },
};

const signature = fc.constantFrom(
  undefined,
  { origin: CALLER, data: "§" },
  { origin: "anthropic-messages", data: "§" },
  { origin: "openai-responses", kind: "rs_§", data: "§" },
  { origin: "gemini", kind: "call", data: "§" },
  { origin: "gemini", kind: "answer", data: "§" },
  { origin: "mistral", model: "mistral-medium-3-5", data: "" },
  { origin: "mistral", model: "mistral-medium-3-5", data: "§" },
  { origin: "nobody", data: "§" },
);
const thinking = fc
  .tuple(fc.constantFrom("", "§", "§\n§ 🤔"), signature)
  .map(([thought, proof]): Part => ({ type: "thinking", text: thought, ...(proof && { signature: proof }) }));
const redacted = fc.constant<Part>({ type: "thinking", text: "", redacted: "§" });
const refusal = fc.constant<Part>({ type: "refusal", text: "I will not §." });

const IDS = ["toolu_§", "call_§|ü", "§x", "§", "x§ y", `${"long_".repeat(14)}§`];
const NAMES = ["get_§", "mcp__server__§", "a.b.§", "with space §", `§${"x".repeat(80)}`, "ünïcode§", "9§", "-§"];
const ARGUMENTS = ['{"a":"§"}', '{"§":[1,{"b":null}]}', "", "{}", '{"broken§', "[1]", '"§"', "null", '{"a":1e400}'];

/** A call by the number of its tool; beyond the tools it has a name of its own. */
const call = fc.record({
  id: fc.constantFrom(...IDS),
  tool: fc.nat(5),
  name: fc.constantFrom(...NAMES),
  arguments: fc.constantFrom(...ARGUMENTS),
  cache,
});
const answered = record<Omit<ToolResultPart, "id">>({
  type: fc.constant("tool-result"),
  content: fc.array(
    fc.oneof(
      { weight: 5, arbitrary: text },
      { weight: 1, arbitrary: image },
      { weight: 1, arbitrary: document },
      { weight: 1, arbitrary: fc.constant(reference) },
    ),
    { maxLength: 3 },
  ),
  isError: rarely(fc.boolean()),
  cache,
});

const weighted = (...list: [number, fc.Arbitrary<Part>][]) =>
  fc.oneof(...list.map(([weight, arbitrary]) => ({ weight, arbitrary })));
const assistant = fc.record({
  role: fc.constant("assistant" as const),
  before: fc.array(weighted([5, text], [4, thinking], [1, redacted], [1, refusal], [1, opaque]), { maxLength: 3 }),
  calls: fc.array(call, { maxLength: 3 }),
  after: fc.array(weighted([3, text], [1, thinking]), { maxLength: 1 }),
});
const user = fc.record({
  role: fc.constant("user" as const),
  /** Which calls of the turn before are answered, in which order. */
  answers: fc.uniqueArray(fc.nat(2), { maxLength: 3 }),
  results: fc.array(answered, { minLength: 3, maxLength: 3 }),
  orphan: rarely(fc.constant("orphan_§")),
  content: fc.array(weighted([6, text], [2, image], [1, document], [1, audio], [1, opaque]), { maxLength: 3 }),
  name: rarely(fc.constant("user_§")),
});
const system = fc.record({
  role: fc.constant("system" as const),
  content: fc.array(text, { minLength: 1, maxLength: 2 }),
});
type Turn =
  { user: typeof user; assistant: typeof assistant; system: typeof system }[
    | "user"
    | "assistant"
    | "system"] extends fc.Arbitrary<infer T>
    ? T
    : never;
const turns: fc.Arbitrary<Turn[]> = fc.array(
  fc.oneof<fc.WeightedArbitrary<Turn>[]>(
    { weight: 5, arbitrary: user },
    { weight: 5, arbitrary: assistant },
    { weight: 1, arbitrary: system },
  ),
  { maxLength: 6 },
);

const tool: fc.Arbitrary<Tool> = fc.oneof(
  {
    weight: 6,
    arbitrary: record<Extract<Tool, { type: "function" }>>({
      type: fc.constant("function"),
      name: fc.constantFrom(...NAMES),
      description: some(fc.constantFrom("does §", "")),
      parameters: fc.oneof(
        { weight: 5, arbitrary: objectSchema },
        { weight: 1, arbitrary: fc.constantFrom<Record<string, unknown>>({}, { type: "object" }) },
      ),
      strict: some(fc.boolean()),
      cache,
    }),
  },
  {
    weight: 1,
    arbitrary: record<Extract<Tool, { type: "custom" }>>({
      type: fc.constant("custom"),
      name: fc.constantFrom(...NAMES),
      description: some(fc.constant("does §")),
      format: some(
        fc.constantFrom(
          { type: "text" },
          { type: "grammar", grammar: { syntax: "regex", definition: "§+" } },
          { type: "grammar", syntax: "lark", definition: "start: §" },
        ),
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Tool>(
      {
        type: "web-search",
        name: "web_search",
        native: { dialect: "anthropic-messages", value: { type: "web_search_20250305", name: "web_search" } },
      },
      {
        type: "web-search",
        name: "web_search",
        allowedDomains: ["§.example"],
        native: {
          dialect: "openai-responses",
          value: { type: "web_search", filters: { allowed_domains: ["§.example"] } },
        },
      },
      { type: "web-search", name: "googleSearch", native: { dialect: "gemini", value: { googleSearch: {} } } },
      {
        type: "opaque",
        dialect: "anthropic-messages",
        kind: "code_execution_20250825",
        name: "code_execution",
        value: { type: "code_execution_20250825", name: "code_execution" },
      },
      { type: "opaque", dialect: "gemini", kind: "urlContext", value: { urlContext: {} } },
    ),
  },
);

const outputFormat: fc.Arbitrary<OutputFormat> = fc.oneof(
  fc.constant<OutputFormat>({ type: "json" }),
  record<Extract<OutputFormat, { type: "json-schema" }>>({
    type: fc.constant("json-schema"),
    name: some(fc.constantFrom("out_§", "an answer §")),
    schema: anySchema,
    strict: some(fc.boolean()),
    description: some(fc.constant("format §")),
  }),
);
const reasoning: fc.Arbitrary<Reasoning> = record<Reasoning>({
  mode: fc.constantFrom("off", "on", "auto", "default"),
  effort: some(fc.constantFrom(...EFFORTS)),
  budget: some(fc.constantFrom(1, 1023, 1024, 4097, 12_001, 24_001, 100_000)),
  show: some(fc.boolean()),
});
const real = (min: number, max: number) => fc.double({ min, max, noNaN: true }).map((value) => value + 0);

const settings = {
  toolChoice: some(fc.oneof(fc.constantFrom("auto" as const, "none" as const, "required" as const), fc.nat(5))),
  parallelToolCalls: some(fc.boolean()),
  maxTokens: some(fc.constantFrom(1, 15, 1000, 2047, 5000, 50_001, 200_001)),
  temperature: rarely(real(0, 2)),
  topP: rarely(real(0, 1)),
  topK: rarely(fc.integer({ min: 1, max: 500 })),
  seed: rarely(fc.nat(2 ** 31 - 1)),
  stop: rarely(fc.array(fc.constantFrom("stop §", "\n\n§"), { minLength: 1, maxLength: 6 })),
  presencePenalty: rarely(real(-2, 2)),
  frequencyPenalty: rarely(real(-2, 2)),
  logitBias: rarely(fc.constant({ "50256": -100 })),
  n: fc.oneof({ weight: 15, arbitrary: fc.constantFrom(undefined, 1) }, { weight: 1, arbitrary: fc.constant(2) }),
  topLogprobs: rarely(fc.nat(5)),
  logprobs: rarely(fc.boolean()),
  reasoning: some(reasoning),
  outputFormat: rarely(outputFormat),
  includeUsage: some(fc.boolean()),
  serviceTier: rarely(fc.constantFrom("auto", "default", "flex", "priority", "standard_only")),
  userId: rarely(fc.constantFrom("user-§", '{"device_id":"d","session_id":"§"}', "§".repeat(12))),
  sessionId: rarely(fc.constant("session-§")),
  metadata: rarely(fc.constant({ project: "§" })),
  /** Of the caller's dialect; what it is, the caller knows. */
  extensions: rarely(fc.constant({ dialect: CALLER, value: {} })),
};

const plan = fc.record({
  system: fc.array(text, { maxLength: 2 }),
  turns,
  tools: fc.uniqueArray(tool, { maxLength: 3, selector: (each) => (each.type === "web-search" ? "search" : each) }),
  stream: fc.boolean(),
  settings: record<{ [K in keyof typeof settings]?: unknown }>(settings),
});

export const conversation: fc.Arbitrary<ChatRequest> = plan.map(({ system, turns, tools, stream, settings }) => {
  const mark = marker();
  const numbered = mark(tools);
  const names = numbered.flatMap(({ name }) => name ?? []);
  const messages = build(turns, numbered, mark);
  const asks = messages.some(({ role, content }) => role === "user" && content.some(isSaid));
  if (!asks) messages.push({ role: "user", content: [{ type: "text", text: "Hello §" }] });
  const { toolChoice, ...others } = settings;
  const choice =
    typeof toolChoice === "number" ? { type: "tool", name: names[toolChoice] ?? "missing" } : { type: toolChoice };
  if (others.topLogprobs !== undefined) others.logprobs = true;
  const request = {
    model: "asked",
    system,
    messages,
    tools: numbered,
    ...(toolChoice !== undefined && { toolChoice: choice }),
    ...others,
    stream,
  };
  return mostMarks(4, mark(request) as ChatRequest);
});

/** Of prompt caches: more are a mistake of the caller's own. */
function mostMarks(most: number, request: ChatRequest): ChatRequest {
  let marks = 0;
  return JSON.parse(JSON.stringify(request, (key, value) => (key === "cache" && ++marks > most ? undefined : value)));
}

const isSaid = (part: Part) => part.type === "text" && part.text.trim() !== "";

function build(turns: readonly Turn[], tools: readonly Tool[], mark: ReturnType<typeof marker>): Message[] {
  const messages: Message[] = [];
  let open: string[] = [];
  for (const turn of turns) {
    if (turn.role === "system") messages.push(turn);
    else if (turn.role === "assistant") {
      const calls = turn.calls.map((planned) => mark(callOf(planned, tools)));
      open = calls.map(({ id }) => id);
      messages.push({ role: "assistant", content: [...turn.before, ...calls, ...turn.after] });
    } else {
      const answers = turn.answers.flatMap((at) => open[at] ?? []);
      const results = answers.map((id, i): Part => ({ ...turn.results[i]!, id }));
      const orphan: Part[] = turn.orphan === undefined ? [] : [{ ...turn.results[2]!, id: turn.orphan }];
      const content = [...results, ...orphan, ...turn.content];
      const named = turn.name !== undefined && turn.content.some(isSaid);
      messages.push({ role: "user", content, ...(named && { name: turn.name! }) });
      open = [];
    }
  }
  return messages;
}

function callOf({ id, tool: at, name, arguments: json, cache }: Planned, tools: readonly Tool[]): ToolCallPart {
  const tool = tools[at];
  const made = { type: "tool-call" as const, id, name, arguments: json, ...(cache && { cache }) };
  if (tool?.type === "custom") return { ...made, name: tool.name, arguments: `free §${json}`, custom: true };
  return tool?.type === "function" ? { ...made, name: tool.name } : made;
}
type Planned = typeof call extends fc.Arbitrary<infer T> ? T : never;
