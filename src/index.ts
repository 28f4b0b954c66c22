/** Turnpike: an AI gateway that is a library. Start at {@link createGateway}. */

export type { BudgetUsage } from "./budget/report.ts";
export * from "./core/budget-store.ts";
export type * from "./core/cache-store.ts";
export type { Bounds, Dialect, Frame, ModelInfo, Operation, PathFacts } from "./core/dialect.ts";
export { type ErrorCode, GatewayError, type GatewayErrorOptions, isGatewayError } from "./core/errors.ts";
export type { AttemptRecord, Exchange, Identity, Outcome } from "./core/exchange.ts";
export {
  defineMiddleware,
  type ExplainedTarget,
  type Explanation,
  type LimitState,
  type Middleware,
  type Next,
} from "./core/middleware.ts";
export type { CallBody, Capabilities, CapabilityRow, Lesson, Provider, Target } from "./core/provider.ts";
export { JsonBody, type Reply, type StreamBody, type StreamSource } from "./core/reply.ts";
export type { Change, ChatRequest, ChatResponse, Message, Part, Tool } from "./core/request.ts";
export type { Usage } from "./core/usage.ts";
export type { JsonObject } from "./core/util.ts";
export {
  type CallOptions,
  createGateway,
  type ExplainOptions,
  type Gateway,
  type GatewayOptions,
  type TargetCapabilities,
} from "./gateway/create-gateway.ts";
export type { ChunkStream } from "./gateway/in-process.ts";
export type {
  AnthropicEvent,
  AnthropicMessage,
  ChatCompletion,
  ChatCompletionChunk,
  EmbeddingList,
  OpenAIResponse,
  OpenAIResponseEvent,
} from "./gateway/shapes.ts";
export { toFetchHandler } from "./http/fetch-handler.ts";
export { type NodeHandler, type NodeHandlerOptions, toNodeHandler } from "./http/node-handler.ts";
export { type AuthOptions, auth, hashKey, type JwtOptions, type LookupResult } from "./middleware/auth/index.ts";
export { type BudgetOptions, type BudgetWarning, budget, type TopUp } from "./middleware/budget/index.ts";
export { type CacheMiddleware, type CacheOptions, type CacheStats, cache } from "./middleware/cache/index.ts";
export { type LoggerOptions, type LogSink, logger } from "./middleware/logger.ts";
export { type ResidencyOptions, residency } from "./middleware/residency.ts";
export { type RouterOptions, router } from "./middleware/router/index.ts";
export { type TranslatorOptions, translator } from "./middleware/translator/index.ts";
