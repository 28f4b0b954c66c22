import { LRUCache } from "lru-cache";
import pRetry from "p-retry";
import { type GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Target } from "../../core/provider.ts";
import type { Reply } from "../../core/reply.ts";

/** Retries that a target may have at once, before its share of the requests counts. */
const BURST = 10;

/** Tokens per target: a request adds a part of one, a retry takes one, so that retries cannot amplify an outage. */
export class RetryBudget {
  readonly #share: number;
  readonly #tokens = new LRUCache<string, number>({ max: 1_000 });

  constructor(share: number) {
    this.#share = share;
  }
  request(target: Target): void {
    const name = target.name;
    this.#tokens.set(name, Math.min(BURST, (this.#tokens.get(name) ?? BURST) + this.#share));
  }
  take(target: Target): boolean {
    const name = target.name;
    const left = this.#tokens.get(name) ?? BURST;
    if (left < 1) return false;
    this.#tokens.set(name, left - 1);
    return true;
  }
}

export interface RetryOptions {
  retries: number;
  maxRetryAfterMs: number;
  budget: RetryBudget;
}

/** The same target again, patiently, where that can help. */
export function withRetries(
  exchange: Exchange,
  target: Target,
  once: () => Promise<Reply>,
  { retries, maxRetryAfterMs, budget }: RetryOptions,
): Promise<Reply> {
  if (retries === 0) return once();
  const waitOf = (error: GatewayError) => (error.retryAfterSeconds ?? 0) * 1_000;
  const worthIt = (error: GatewayError) =>
    error.retryable && !exchange.aborted && error.code !== "budget_unavailable" && waitOf(error) <= maxRetryAfterMs;
  return once().catch((first: unknown) => {
    const failure = toGatewayError(first);
    if (!worthIt(failure)) throw failure;
    let failed = false;
    const again = () => {
      if (failed) return once();
      failed = true;
      return Promise.reject(failure);
    };
    return pRetry(again, {
      retries,
      signal: exchange.signal,
      minTimeout: 400,
      maxTimeout: 8_000,
      randomize: true,
      shouldRetry: ({ error }) => worthIt(toGatewayError(error)) && budget.take(target),
      onFailedAttempt: ({ error, retriesLeft }) => {
        const known = toGatewayError(error);
        return waitOf(known) > 0 && retriesLeft > 0 && worthIt(known) ? sleep(waitOf(known), exchange) : undefined;
      },
    });
  });
}

/** Ends early when the caller leaves. */
function sleep(ms: number, exchange: Exchange): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    exchange.onAbort(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
