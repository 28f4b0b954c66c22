import { anthropicMessages } from "../dialects/anthropic-messages/index.ts";
import { openaiChatWith } from "../dialects/openai-chat/index.ts";
import { bearer, defineProvider } from "./define.ts";

/**
 * Any server that speaks Chat Completions: llama-server, Ollama, vLLM, LM Studio… What such servers have in common
 * and nothing more (wire.md §6); what yours can do beyond it is told by `capabilities`.
 */
export const openaiCompatible = defineProvider({
  type: "openai-compatible",
  // llama-server counts in this form [LL]; on with `countsTokens: true`.
  countDialect: anthropicMessages,
  auth: bearer(),
  capabilities: [
    {
      match: /^/,
      parameters: {
        seed: true,
        logitBias: false,
        parallelToolCalls: false,
        serviceTier: false,
        userId: false,
        sessionId: false,
        metadata: false,
      },
      reasoning: false,
      replayThinking: "none",
      // Chat templates of local models often refuse a system message that is not the first.
      systemMessages: "start",
      documents: false,
      messageNames: true,
      fileIds: false,
      source: ["LL", "OL", "VLLM-R"],
    },
  ],
  dialect: openaiChatWith({
    maxTokens: "max_tokens",
    systemRole: "system",
    thinking: "omit",
    toolContent: "text",
    includeUsage: true,
    userField: false,
    sessionField: false,
    restoreExtensions: true,
  }),
});
