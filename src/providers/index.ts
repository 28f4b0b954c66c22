/** Providers: who to send requests to. Each is one small file; `defineProvider` makes your own. */

export type { Capabilities, CapabilityRow, PriceOverride, ProviderOperation, Transport } from "../core/provider.ts";
export type { Reasoning } from "../core/request.ts";
export type { JsonObject } from "../core/util.ts";
export { anthropicMessages } from "../dialects/anthropic-messages/index.ts";
export { type GeminiStyle, gemini as geminiDialect, geminiWith } from "../dialects/gemini/index.ts";
export { type ChatStyle, openaiChat, openaiChatWith } from "../dialects/openai-chat/index.ts";
export { openaiResponses } from "../dialects/openai-responses/index.ts";
export { anthropic } from "./anthropic.ts";
export type { ProviderFactory, ProviderOptions, ProviderSpec } from "./define.ts";
export { bearer, defineProvider, keyHeader } from "./define.ts";
export { gemini } from "./gemini.ts";
export { mistral } from "./mistral.ts";
export { openai } from "./openai.ts";
export { openaiCompatible } from "./openai-compatible.ts";
export { simulated } from "./simulated.ts";
