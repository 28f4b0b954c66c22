import type { CapabilityRow } from "../core/provider.ts";
import { openaiChatWith } from "../dialects/openai-chat/index.ts";
import { bearer, defineProvider } from "./define.ts";

/** Efforts of models that only know none and high: thinking stays on from `low` upwards (wire.md §8.1). */
const ON_OFF = {
  levels: ["high"],
  map: { minimal: "off", low: "high", medium: "high" },
  off: "none",
} as const;

/** Facts with their sources in wire.md §4 and capabilities.json. */
const capabilities: readonly CapabilityRow[] = [
  {
    // The body is a closed schema: 422 `extra_forbidden` for anything else.
    match: /^/,
    parameters: {
      temperature: { min: 0, max: 1.5 },
      topP: { min: Number.MIN_VALUE, max: 1 },
      topK: false,
      logitBias: false,
      logprobs: false,
      serviceTier: ["auto", "standard_only"],
      userId: false,
    },
    reasoning: false,
    replayThinking: "none",
    images: true,
    documents: true,
    documentNotes: ["title", "filename"],
    toolCallId: { pattern: /^[a-zA-Z0-9]{9}$/, length: 9 },
    systemMessages: "start",
    userAfterTool: "bridge",
    firstMessage: "user-or-system",
    fileIds: false,
    prefill: true,
    // Its own connector; there is no further wish that it takes.
    webSearch: { as: { type: "web_search" }, takes: [] },
    source: ["M-SPEC", "M-COMMON", "CAT-M", "ECA-231", "ECA-233", "FX-P"],
  },
  {
    match:
      /^(mistral-(small-(latest|2603)|medium(-latest|-2604|-3|-3[.-]5)?$)|magistral-.*-latest|mistral-vibe-cli|labs-leanstral|(zai-)?glm-5-2$)/,
    reasoning: ON_OFF,
    replayThinking: "own",
    source: ["CAT-M", "M-DOC", "MODELS-1986"],
  },
  {
    match: /^mistral-large-4/,
    reasoning: { levels: ["low", "medium", "high"], off: "never" },
    replayThinking: "own",
    source: ["CAT-M", "M-DOC2"],
  },
  {
    // Left out, effort would be the highest.
    match: /^(zai-)?glm-(5|5-3.*|latest)$/,
    reasoning: { levels: ["low", "high", "max"], map: { medium: "high", xhigh: "max" }, off: "never", default: "high" },
    replayThinking: "own",
    source: ["CAT-M", "M-VIBE-1117"],
  },
  { match: /^(ministral|codestral|mistral-code|voxtral|devstral)/, images: false, source: ["M-DOC"] },
  // No source says that these see images.
  { match: /^((zai-)?glm|labs-leanstral)/, images: false },
  {
    match: /^devstral-2512$/,
    retired: "2026-07-31",
    successor: "mistral-medium-3-5",
    source: ["M-DOC", "CAT-M"],
  },
];

/** Mistral AI, France. Chat Completions with a closed schema of its own. */
export const mistral = defineProvider({
  type: "mistral",
  baseURL: "https://api.mistral.ai/v1",
  auth: bearer("MISTRAL_API_KEY"),
  jurisdiction: "EU",
  region: "EU",
  priceId: "mistral",
  // Never byte for byte: an OpenAI client's ordinary fields are refused here.
  passThrough: false,
  models: ["mistral-medium-3-5", "mistral-large-4", "mistral-small-latest", "codestral-latest"],
  capabilities,
  dialect: openaiChatWith({
    maxTokens: "max_tokens",
    systemRole: "system",
    thinking: "chunks",
    toolContent: "chunks",
    seedField: "random_seed",
    requiredChoice: "any",
    includeUsage: false,
    documents: "document_url",
    dimensionsField: "output_dimension",
    userField: false,
    sessionField: "prompt_cache_key",
    toolName: true,
    prefix: true,
    names: false,
    refusal: "text",
    audio: "base64",
    strictTools: "when-true",
    emptyToolResult: "(no output)",
    parametersRequired: true,
    restoreExtensions: false,
    originType: "mistral",
  }),
});
