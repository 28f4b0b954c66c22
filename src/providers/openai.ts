import type { CapabilityRow } from "../core/provider.ts";
import { openaiChatWith } from "../dialects/openai-chat/index.ts";
import { bearer, defineProvider } from "./define.ts";

/** Models that think; they take the role `developer` and no `max_tokens` (wire.md §2.5). */
const REASONING_MODEL = /^(gpt-[5-9]|o\d)/;

/** Without reasoning the sampling parameters are accepted, with it they are not. */
const NO_SAMPLING = { temperature: false, topP: false, logprobs: false } as const;

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
    documents: true,
    documentURLs: false,
    source: ["O-SDK", "CAT-O"],
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
  { match: /^gpt-5\.1/, reasoning: { levels: ["low", "medium", "high"], off: "none" }, source: ["CAT-O"] },
  { match: /^gpt-5\.[2-5]/, reasoning: { levels: ["low", "medium", "high", "xhigh"], off: "none" }, source: ["CAT-O"] },
  {
    match: /^(gpt-5\.6|gpt-6-(sol|luna)|gpt-6\.1-terra)/,
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

/** OpenAI, Chat Completions. */
export const openai = defineProvider({
  type: "openai",
  baseURL: "https://api.openai.com/v1",
  auth: bearer("OPENAI_API_KEY"),
  jurisdiction: "US",
  priceId: "openai",
  models: ["gpt-5.5", "gpt-5-mini", "gpt-4.1"],
  capabilities,
  dialect: openaiChatWith({
    maxTokens: "max_completion_tokens",
    systemRole: (model) => (REASONING_MODEL.test(model) ? "developer" : "system"),
    thinking: "omit",
    toolContent: "text",
    includeUsage: true,
    restoreExtensions: true,
  }),
});
