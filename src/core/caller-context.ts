import type { CallerContext } from "./dialect.ts";
import type { Exchange } from "./exchange.ts";
import type { ChatRequest } from "./request.ts";

/** What the codecs may know when they write for this caller. */
export function callerContext(exchange: Exchange): CallerContext {
  const request = readable(exchange);
  return {
    model: exchange.body.model,
    id: exchange.id,
    created: Math.floor(exchange.services.now() / 1_000),
    inputTokens: exchange.services.estimateInput(exchange),
    includeUsage: request?.includeUsage ?? false,
    showThinking: request?.reasoning?.show ?? true,
    request: exchange.body,
  };
}

/** A request that passes through may hold what only its own upstream can read. */
function readable(exchange: Exchange): ChatRequest | undefined {
  try {
    return exchange.request;
  } catch {
    return undefined;
  }
}
