import pRetry from "p-retry";
import { type GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Reply } from "../../core/reply.ts";
import type { ParsedOptions } from "./options.ts";

/**
 * The same target again, patiently, where that can help.
 * @param allowed whether the target may have one more retry @throws what it failed with last
 */
export async function retry(
  exchange: Exchange,
  failure: GatewayError,
  once: () => Promise<Reply>,
  allowed: () => boolean,
  { retries, maxRetryAfterMs }: Pick<ParsedOptions, "retries" | "maxRetryAfterMs">,
): Promise<Reply> {
  const waitOf = (error: GatewayError) => (error.retryAfterSeconds ?? 0) * 1_000;
  const worthIt = (error: GatewayError) =>
    error.retryable && !exchange.aborted && error.code !== "budget_unavailable" && waitOf(error) <= maxRetryAfterMs;
  if (retries === 0 || !worthIt(failure)) throw failure;
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
    shouldRetry: ({ error }) => worthIt(toGatewayError(error)) && allowed(),
    onFailedAttempt: ({ error, retriesLeft }) => {
      const known = toGatewayError(error);
      return waitOf(known) > 0 && retriesLeft > 0 && worthIt(known) ? sleep(waitOf(known), exchange) : undefined;
    },
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
