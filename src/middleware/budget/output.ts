import type { Coverage } from "../../budget/accounts.ts";
import type { Demand } from "../../budget/demand.ts";
import type { Exchange } from "../../core/exchange.ts";

/** Any request may reserve this much output, even where it is more than its share of what remains. */
const SHARE_FLOOR = 8_192;

/** Output tokens the caller asked for, per choice. @throws GatewayError `invalid_request` */
export function askedOf(exchange: Exchange, coverage: Coverage, fallback: number): number {
  const { defaultMaxTokens, maxOutputTokens } = coverage;
  const { maxTokens } = exchange.bounds;
  return Math.min(maxTokens ?? defaultMaxTokens ?? fallback, maxOutputTokens ?? Number.MAX_SAFE_INTEGER);
}

/**
 * What a request may ask of the store: all it wants, but not more than its share of what was left when we last heard,
 * so that one request with a large `max_tokens` does not lock everybody else out. Only the store's answer is exact.
 */
export function grantable(asked: number, choices: number, demands: readonly Demand[], maxShare: number): number {
  let want = asked * choices;
  for (const { account, hold } of demands) {
    if (hold.perUnit === 0 || hold.limit === null) continue;
    const { standing } = account;
    const left = standing.bucket === hold.bucket ? standing.left : hold.limit;
    want = Math.min(want, Math.max(SHARE_FLOOR * choices, Math.floor((left / hold.perUnit) * maxShare)));
  }
  return want;
}
