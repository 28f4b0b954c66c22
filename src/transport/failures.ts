import { GatewayError, isGatewayError } from "../core/errors.ts";

const TROUBLES = {
  "connect-timeout": ["upstream_timeout", "The upstream did not accept a connection in time"],
  "head-timeout": ["upstream_timeout", "The upstream did not begin to answer in time"],
  "idle-timeout": ["upstream_timeout", "The upstream went silent in the middle of its answer"],
  unreachable: ["upstream_unreachable", "The upstream could not be reached"],
  broken: ["upstream_unreachable", "The connection to the upstream broke"],
  malformed: ["upstream_invalid", "The upstream does not speak HTTP/1.1 as it should"],
} as const;

/** @param sent before any byte left nothing can have been billed */
export function failure(
  trouble: keyof typeof TROUBLES,
  sent: boolean,
  cause?: Error & { code?: string },
): GatewayError {
  const [code, message] = TROUBLES[trouble];
  return new GatewayError(code, message, { upstreamCode: cause?.code, billable: sent, cause });
}

/** Why a call was stopped, and what that costs: who was asked may bill although nobody reads the answer. */
export function stopped(reason: Error, sent: boolean): Error {
  return isGatewayError(reason) ? new GatewayError(reason.code, reason.message, { ...reason, billable: sent }) : reason;
}

export function isRedirect(status: number): boolean {
  return status >= 300 && status < 400;
}

export function redirected(status: number): GatewayError {
  // A followed redirect would carry the provider's key to an address nobody configured.
  return new GatewayError(
    "upstream_invalid",
    `The upstream answered with a redirect (${status}), which is not followed`,
  );
}
