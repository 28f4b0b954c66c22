import type { LRUCache } from "lru-cache";
import type { Demand } from "../../budget/demand.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Target } from "../../core/provider.ts";

/** Any request may reserve this much output, even where it is more than its share of what remains. */
const SHARE_FLOOR = 8_192;

/** Output tokens the caller asked for, per choice, and how many choices. @throws GatewayError `invalid_request` */
export function outputOf(exchange: Exchange, target: Target, fallback: number): { asked: number; choices: number } {
  if (exchange.operation === "embeddings") return { asked: 0, choices: 1 };
  const { maxTokens, choices } = exchange.bounds;
  const { defaultMaxTokens, maxOutputTokens } = target.provider.capabilities(target.model);
  const asked = Math.min(maxTokens ?? defaultMaxTokens ?? fallback, maxOutputTokens ?? Number.MAX_SAFE_INTEGER);
  return { asked, choices };
}

/**
 * What a request may ask of the store: all it wants, but not more than its share of what was left when we last heard,
 * so that one request with a large `max_tokens` does not lock everybody else out. Only the store's answer is exact.
 */
export function grantable(
  asked: number,
  choices: number,
  demands: readonly Demand[],
  remaining: LRUCache<string, number>,
  maxShare: number,
): number {
  let want = asked * choices;
  for (const { hold } of demands) {
    if (hold.perUnit === 0 || hold.limit === null) continue;
    const room = (remaining.get(`${hold.counter}@${hold.bucket}`) ?? hold.limit) / hold.perUnit;
    want = Math.min(want, Math.max(SHARE_FLOOR * choices, Math.floor(room * maxShare)));
  }
  return want;
}
