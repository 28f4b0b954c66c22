import type { CapabilityRow, SchemaRules } from "../core/provider.ts";
import { anthropicMessages } from "../dialects/anthropic-messages/index.ts";
import { defineProvider, keyHeader } from "./define.ts";

const ALL_EFFORTS = ["low", "medium", "high", "xhigh", "max"] as const;

const FORMATS = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
const SCALARS = new Set(["string", "number", "boolean"]);
/** References to groups, looking around, word boundaries. */
const HARD_PATTERN = /\(\?<?[=!]|\\[1-9bB]/;

/** What can be compiled into a grammar, for every output schema and for strict tools [A-DOC structured-outputs]. */
const schemas: SchemaRules = {
  of: "output",
  accepted: [
    ...["type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "definitions", "title", "description", "default"],
    ...["properties", "required", "additionalProperties", "items", "minItems", "format", "pattern"],
  ],
  values: {
    $ref: (ref) => String(ref).startsWith("#"),
    enum: (values) => Array.isArray(values) && values.every((value) => value === null || SCALARS.has(typeof value)),
    minItems: (least) => least === 0 || least === 1,
    pattern: (pattern) => !HARD_PATTERN.test(String(pattern)),
  },
  formats: FORMATS,
  closedObjects: true,
  bareRefs: true,
  recursive: false,
  most: { strictTools: 20, optional: 24, unions: 16 },
};

/** Thinking, effort and sampling per model: wire.md §1.8. Unknown names are treated as the newest. */
const capabilities: readonly CapabilityRow[] = [
  {
    match: /^/,
    parameters: {
      temperature: false,
      topP: false,
      topK: false,
      seed: false,
      presencePenalty: false,
      frequencyPenalty: false,
      logitBias: false,
      n: false,
      logprobs: false,
      serviceTier: ["auto", "standard_only"],
      sessionId: false,
      metadata: false,
    },
    reasoning: { levels: ALL_EFFORTS, off: "never", auto: true },
    replayThinking: "own",
    cacheMarks: true,
    outputFormats: ["json-schema"],
    schemas,
    webSearch: true,
    documents: true,
    audio: false,
    prefill: false,
    firstMessage: "user",
    systemMessages: "after-user",
    forcedToolChoice: false,
    defaultMaxTokens: 32_000,
    maxOutputTokens: 128_000,
    source: ["A-DOC", "A-SDK", "CAT-A"],
  },
  {
    // With thinking turned off, the effort may be high at most; none is sent then.
    match: /^claude-(haiku-5-5|opus-5(?!-5))/,
    reasoning: { levels: ALL_EFFORTS, off: "none", auto: true },
    forcedToolChoice: true,
    source: ["A-DOC"],
  },
  {
    match: /^claude-(fable|mythos)-5(?!-)/,
    forcedToolChoice: true,
    source: ["A-DOC"],
  },
  {
    match: /^claude-(sonnet-5(?!-5)|opus-4-7|(opus|sonnet|haiku)-4-[0-6]|(opus|sonnet)-4(?!-[0-9])|3)/,
    systemMessages: "start",
    source: ["A-DOC"],
  },
  {
    match: /^claude-(sonnet-5(?!-5)|opus-4-[78])/,
    reasoning: { levels: ALL_EFFORTS, off: "none", auto: true },
    forcedToolChoice: true,
    source: ["A-DOC"],
  },
  {
    match: /^claude-(opus|sonnet)-4-6/,
    parameters: { temperature: { min: 0, max: 1 }, topP: true, topK: true },
    sampling: "without-thinking",
    reasoning: { levels: ["low", "medium", "high", "max"], off: "none", auto: true },
    forcedToolChoice: true,
    source: ["A-DOC", "FX-P"],
  },
  {
    // Sampling is possible while thinking is off; it is left out whenever thinking may be on.
    match: /^claude-(opus-4-5|(haiku|sonnet)-4-5|(opus|sonnet)-4-[01]|(opus|sonnet)-4(?!-[0-9]\b)|3)/,
    parameters: { temperature: { min: 0, max: 1 }, topP: true, topK: true },
    sampling: "without-thinking",
    reasoning: { budget: { min: 1024, max: 32_768 }, off: "none" },
    forcedToolChoice: "not-with-thinking",
    // 400 "final assistant content cannot end with trailing whitespace".
    prefill: "trimmed",
    maxOutputTokens: 64_000,
    source: ["A-DOC", "CAT-A"],
  },
  {
    match: /^claude-opus-4-5/,
    reasoning: { levels: ["low", "medium", "high"], budget: { min: 1024, max: 32_768 }, off: "none" },
    source: ["A-DOC", "CAT-A"],
  },
  {
    // From before structured outputs: neither a format nor strict tools.
    match: /^claude-((opus|sonnet)-4(-0)?(-\d{8})?$|3)/,
    outputFormats: [],
    schemas: { ...schemas, most: { strictTools: 0, optional: 0, unions: 0 } },
    source: ["A-DOC"],
  },
];

/** Anthropic, Messages API. */
export const anthropic = defineProvider({
  type: "anthropic",
  baseURL: "https://api.anthropic.com/v1",
  auth: keyHeader("x-api-key", "ANTHROPIC_API_KEY"),
  // Callers of the same dialect send their own version, which wins.
  headers: { "anthropic-version": "2023-06-01" },
  jurisdiction: "US",
  priceId: "anthropic",
  countsTokens: true,
  models: ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"],
  capabilities,
  dialect: anthropicMessages,
});
