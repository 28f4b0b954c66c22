import { type ErrorCode, GatewayError } from "../../core/errors.ts";
import type { Target } from "../../core/provider.ts";

export interface Failure {
  target: Target;
  error: GatewayError;
}

/** A request the caller must change; another target would refuse it too. */
const CALLERS_FAULT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "invalid_request",
  "unsupported",
  "request_too_large",
  "unauthenticated",
  "forbidden",
  "client_closed",
  "timeout",
  "internal",
]);

/** Nothing another target could mend. */
export function isFinal(error: GatewayError): boolean {
  if (error.ladder) return error.ladder === "stop";
  return CALLERS_FAULT.has(error.code);
}

/** The request went to a model, or its filter, that will not answer it. */
export function isRefusal({ code, upstreamCode = "" }: GatewayError): boolean {
  return code === "content_refused" || /content_(filter|policy)|responsible_ai/.test(upstreamCode);
}

/**
 * One error for the whole ladder: the status of the last target that was asked, which is what a client can act on, and
 * every reason. Who may not be asked at all is no news to the client.
 */
export function oneError(failures: readonly Failure[]): GatewayError {
  const last = (failures.findLast(({ error }) => error.code !== "no_compliant_target") ?? failures.at(-1)!).error;
  if (failures.length === 1) return last;
  const reasons = failures.map(({ target, error }) => `${target.name}: ${error.message}`);
  return new GatewayError(last.code, `No target could answer. ${reasons.join(" | ")}`, {
    status: last.status,
    param: last.param,
    retryable: last.retryable,
    retryAfterSeconds: last.retryAfterSeconds,
    upstreamCode: last.upstreamCode,
    provider: last.provider,
    details: {
      ...last.details,
      attempts: failures.map(({ target, error }) => ({
        target: target.name,
        code: error.code,
        message: error.message,
      })),
    },
    cause: last,
  });
}
