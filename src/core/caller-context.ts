import type { CallerContext } from "./dialect.ts";
import type { Exchange } from "./exchange.ts";

/** What the codecs may know when they write for this caller. */
export function callerContext(exchange: Exchange): CallerContext {
  const { body, dialect, operation, services, id } = exchange;
  return {
    model: body.model,
    id,
    created: Math.floor(services.now() / 1_000),
    inputTokens: services.estimateInput(exchange),
    ...body.wishes(dialect, operation),
    request: body,
  };
}
