import type { Dialect } from "../core/dialect.ts";
import type { CapabilityRow, SchemaRules } from "../core/provider.ts";
import type { ChatRequest } from "../core/request.ts";
import { openaiChatWith } from "../dialects/openai-chat/index.ts";
import { openaiResponses } from "../dialects/openai-responses/index.ts";
import { bearer, defineProvider } from "./define.ts";

/** Models that think; they take the role `developer` and no `max_tokens` (wire.md §2.5). */
const REASONING_MODEL = /^(gpt-[5-9]|o\d)/;

/** What `strict` takes [O-SDK lib/transform]; whatever is not strict is taken as it is. */
const schemas: SchemaRules = {
  of: "strict",
  refused: [
    ...["allOf", "oneOf", "not", "if", "then", "else", "patternProperties", "propertyNames", "prefixItems"],
    ...["dependencies", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"],
    ...["minProperties", "maxProperties", "uniqueItems", "contains", "minContains", "maxContains"],
    ...["contentEncoding", "contentMediaType", "contentSchema", "$anchor", "$dynamicRef", "$dynamicAnchor"],
  ],
  values: { $ref: (ref) => String(ref).startsWith("#") },
  formats: ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"],
  closedObjects: true,
  allRequired: true,
  objectRoot: true,
  bareRefs: true,
  explicitShapes: true,
};

const NO_SAMPLING = { temperature: false, topP: false, logprobs: false } as const;

/** Some think when nothing is said, so it has to be said that they should not [CAT-O, FX-P]. */
const SAMPLING_WHEN_OFF = {
  parameters: { temperature: { min: 0, max: 2 }, topP: true, logprobs: true },
  sampling: "when-off",
} as const;

const capabilities: readonly CapabilityRow[] = [
  {
    match: /^/,
    parameters: {
      temperature: { min: 0, max: 2 },
      topK: false,
      serviceTier: ["auto", "default", "flex", "scale", "priority", "fast"],
    },
    maxStopSequences: 4,
    reasoning: false,
    replayThinking: "none",
    jsonByName: true,
    messageNames: true,
    documentNotes: ["title", "filename"],
    documents: true,
    documentURLs: false,
    schemas,
    source: ["O-SDK", "CAT-O"],
  },
  { match: /^gpt-[5-9]/, customTools: true, source: ["O-SDK"] },
  {
    // Responses has no such fields.
    match: /^/,
    dialect: "openai-responses",
    parameters: {
      stop: false,
      n: false,
      seed: false,
      presencePenalty: false,
      frequencyPenalty: false,
      logitBias: false,
      serviceTier: ["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"],
    },
    minOutputTokens: 16,
    toolCallId: { pattern: /^[a-zA-Z0-9_-]{1,64}$/, length: 40 },
    replayThinking: "own",
    // 400 "reasoning was provided without its required following item". [FX-P]
    thinkingLast: false,
    maxIdLength: 64,
    messageNames: false,
    documentURLs: true,
    audio: false,
    source: ["O-SDK"],
  },
  { match: /^/, dialect: "openai-chat", webSearch: false, audio: false, source: ["O-SDK", "FX-P"] },
  { match: /audio/, dialect: "openai-chat", audio: true, source: ["O-SDK"] },
  // The only models that search in Chat, always, and take no domains.
  { match: /search/, dialect: "openai-chat", webSearch: { takes: ["userLocation"] }, source: ["O-SDK"] },
  {
    match: /^/,
    dialect: "openai-responses",
    webSearch: { takes: ["allowedDomains", "userLocation"] },
    source: ["O-SDK"],
  },
  {
    match: REASONING_MODEL,
    reasoning: { levels: ["low", "medium", "high", "xhigh", "max"], off: "never" },
    parameters: NO_SAMPLING,
    source: ["CAT-O"],
  },
  {
    match: /^gpt-5(-mini|-nano)?(-\d{4}.*)?$/,
    reasoning: { levels: ["minimal", "low", "medium", "high"], off: "never" },
    source: ["CAT-O"],
  },
  {
    match: /^gpt-5\.1/,
    ...SAMPLING_WHEN_OFF,
    reasoning: { levels: ["low", "medium", "high"], off: "none" },
    source: ["CAT-O"],
  },
  {
    match: /^gpt-5\.[2-5]/,
    ...SAMPLING_WHEN_OFF,
    reasoning: { levels: ["low", "medium", "high", "xhigh"], off: "none" },
    source: ["CAT-O"],
  },
  {
    match: /^(gpt-5\.6|gpt-6-(sol|luna)|gpt-6\.1-terra)/,
    ...SAMPLING_WHEN_OFF,
    reasoning: { levels: ["low", "medium", "high", "xhigh", "max"], off: "none" },
    source: ["CAT-O"],
  },
  {
    match: /^o\d/,
    reasoning: { levels: ["low", "medium", "high"], off: "never" },
    parameters: { stop: false },
    source: ["O-SDK"],
  },
];

const chat = openaiChatWith({
  maxTokens: "max_completion_tokens",
  systemRole: (model) => (REASONING_MODEL.test(model) ? "developer" : "system"),
  thinking: "omit",
  toolContent: "text",
  includeUsage: true,
  restoreExtensions: true,
});

/** Takes function tools together with reasoning in Responses only [CAT-O]. */
const TOOLS_IN_RESPONSES = /^gpt-5\.6/;

/** Not served by Chat Completions at all [CAT-O]. */
const RESPONSES_ONLY = /codex|^gpt-5-pro/;

/**
 * Callers of either dialect get their own. For others Responses carries more of models that think: their reasoning
 * comes back in a tool loop (wire.md §9.6). It has no stop sequences, though.
 */
function chooseDialect(caller: Dialect, model: string, request: () => ChatRequest): Dialect {
  if (caller.id === openaiResponses.id || RESPONSES_ONLY.test(model)) return openaiResponses;
  if (caller.id !== chat.id && REASONING_MODEL.test(model) && request().stop === undefined) return openaiResponses;
  if (!TOOLS_IN_RESPONSES.test(model)) return chat;
  const { tools, reasoning } = request();
  return tools.length > 0 && reasoning && reasoning.mode !== "off" ? openaiResponses : chat;
}

/** OpenAI: Chat Completions and Responses. */
export const openai = defineProvider({
  type: "openai",
  baseURL: "https://api.openai.com/v1",
  auth: bearer("OPENAI_API_KEY"),
  jurisdiction: "US",
  priceId: "openai",
  models: ["gpt-5.5", "gpt-5-mini", "gpt-4.1"],
  capabilities,
  otherDialects: [openaiResponses],
  chooseDialect,
  countsTokens: true,
  countDialect: openaiResponses,
  dialect: chat,
});
