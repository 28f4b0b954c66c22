import type { CapabilityRow, SchemaRules } from "../core/provider.ts";
import { geminiWith } from "../dialects/gemini/index.ts";
import { defineProvider, keyHeader } from "./define.ts";

/** Third generation on: all but the names of older ones, as unknown names are newer (`gemini-flash-latest`). [CAT-G] */
const NEW = /^(models\/)?gemini-(?!1\b|2\b|pro$|pro-vision$|robotics-er-1\.5)/;

/** Instructions of the system are not taken. [CAT-G] */
const GEMMA = /^(models\/)?gemma-/;

const SCHEMAS: SchemaRules = {
  of: "all",
  accepted: [
    ...["$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"],
    ...["minItems", "maxItems", "minimum", "maximum", "anyOf", "properties", "additionalProperties"],
    ...["required", "propertyOrdering"],
    // Not in the SDK's list, but taken in recordings. [FX-P]
    "default",
  ],
  bareRefs: true,
  constAsEnum: true,
  formats: ["enum", "date-time"],
};

/** Facts with their sources in wire.md §5, §8 and capabilities.json. Unknown names are treated as the newest. */
const capabilities: readonly CapabilityRow[] = [
  {
    match: /^/,
    parameters: {
      temperature: { min: 0, max: 2 },
      topP: { min: 0, max: 1 },
      logitBias: false,
      logprobs: false,
      parallelToolCalls: false,
      serviceTier: ["standard", "flex", "priority"],
      userId: false,
      sessionId: false,
      metadata: false,
    },
    maxStopSequences: 5,
    reasoning: false,
    replayThinking: "own",
    images: true,
    documents: true,
    documentNotes: [],
    audio: true,
    outputFormats: ["json", "json-schema"],
    outputFormatWithTools: false,
    hostedWithFunctions: false,
    schemas: SCHEMAS,
    webSearch: { takes: [] },
    toolName: { pattern: /^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$/, maxLength: 128 },
    systemMessages: "start",
    // 400 "function call turn comes immediately after a user turn"; a history may not end with the model's turn.
    firstMessage: "user",
    prefill: false,
    source: ["G-SDK", "CAT-G", "FX-P", "FX-V"],
  },
  {
    match: /^(models\/)?gemini-2\.5/,
    // Penalties are known to another door of the vendor only.
    parameters: { presencePenalty: false, frequencyPenalty: false },
    reasoning: { budget: { min: 0, max: 24_576 }, off: "none", auto: true },
    maxOutputTokens: 65_536,
    source: ["CAT-G"],
  },
  {
    match: /^(models\/)?gemini-2\.5-pro/,
    reasoning: { budget: { min: 128, max: 32_768 }, off: "never", auto: true },
    source: ["CAT-G"],
  },
  {
    match: NEW,
    reasoning: { levels: ["minimal", "low", "medium", "high"], off: "never" },
    outputFormatWithTools: true,
    hostedWithFunctions: true,
    maxOutputTokens: 65_536,
    source: ["CAT-G"],
  },
  {
    match:
      /^(models\/)?gemini-(([3-9]|\d\d)(\.\d+)?-pro|(3\.([7-9]|\d\d)|([4-9]|\d\d)\.\d+)-flash(?!-lite)|(flash|pro)-latest)/,
    reasoning: { levels: ["low", "medium", "high"], off: "never" },
    source: ["CAT-G"],
  },
  {
    match: /^(models\/)?gemini-4-hydrogen/,
    reasoning: { levels: ["low", "medium", "high", "xhigh"], off: "never" },
    source: ["CAT-G"],
  },
  {
    match: /^(models\/)?gemini-3-pro-image/,
    reasoning: { budget: { min: 0, max: 32_768 }, off: "none", auto: true },
    source: ["CAT-G"],
  },
];

/** Gemini API with a key. */
export const gemini = defineProvider({
  type: "gemini",
  baseURL: "https://generativelanguage.googleapis.com/v1beta",
  auth: keyHeader("x-goog-api-key", "GEMINI_API_KEY"),
  jurisdiction: "US",
  priceId: "google",
  countsTokens: true,
  models: ["gemini-pro-latest", "gemini-flash-latest", "gemini-2.5-flash"],
  capabilities,
  dialect: geminiWith({
    signedCalls: (model) => NEW.test(model),
    mediaInResults: (model) => NEW.test(model),
    systemAsUser: (model) => GEMMA.test(model),
  }),
});
