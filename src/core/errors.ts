/**
 * Every error that leaves Turnpike is a {@link GatewayError}: a closed `code`, an HTTP `status`, and whether trying
 * again can help. Each dialect writes it in its own envelope, so that every official SDK raises its own class.
 */

/** What can go wrong, and the HTTP status a caller sees. */
export const ERROR_STATUS = {
  /** The caller's request is malformed; `param` names the field. */
  invalid_request: 400,
  /** The prompt does not fit the target's context window. */
  context_length_exceeded: 400,
  /** The request needs something the target cannot do, and `onUnsupported: "reject"` is set. */
  unsupported: 400,
  /** The model, or a filter before it, declined to answer; only where a route has somebody else to ask. */
  content_refused: 400,
  /** No or wrong virtual key. */
  unauthenticated: 401,
  /** A budget is spent; `retryAfterSeconds` says when it opens again. */
  budget_exceeded: 402,
  /** The key is known, but may not do this. */
  forbidden: 403,
  model_not_found: 404,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  request_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  /** The caller left before the answer was complete (never seen by the caller). */
  client_closed: 499,
  internal: 500,
  /** The upstream answered an error of its own (status kept where a client can act on it). */
  upstream_error: 502,
  /** The upstream refused *our* credentials. Never the caller's 401. */
  upstream_auth: 502,
  /** No connection, reset, or an answer that ends before its end. */
  upstream_unreachable: 502,
  /** The upstream answered something that is not its protocol (redirect, HTML, broken JSON). */
  upstream_invalid: 502,
  upstream_overloaded: 503,
  /** The budget store did not answer and the limit says `onStoreError: "deny"`. */
  budget_unavailable: 503,
  /** No target that the policy allows. */
  no_compliant_target: 403,
  /** No target left that may be asked (operation, model). */
  no_target: 404,
  shutting_down: 503,
  upstream_timeout: 504,
  /** The caller's own deadline passed. */
  timeout: 504,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "conflict",
  "rate_limited",
  "upstream_error",
  "upstream_unreachable",
  "upstream_invalid",
  "upstream_overloaded",
  "upstream_timeout",
  "budget_unavailable",
  "shutting_down",
]);

/** An upstream's error answer as it came, so that a caller of the same dialect can be given it unmodified. */
export interface UpstreamAnswer {
  readonly dialect: string;
  readonly status: number;
  readonly body: Uint8Array;
  /** Those that its dialect gives to callers. */
  readonly headers: Readonly<Record<string, string>>;
  readonly isJson: boolean;
}

export interface GatewayErrorOptions {
  /** HTTP status; default: by code. */
  status?: number | undefined;
  /** The field of the request that is wrong, as a path: `messages.0.content`. */
  param?: string | undefined;
  /** Default: by code. */
  retryable?: boolean | undefined;
  /** Whole seconds after which trying again makes sense. */
  retryAfterSeconds?: number | undefined;
  /** The upstream's own error type or code, for the log. */
  upstreamCode?: string | undefined;
  /** Name of the provider that answered. */
  provider?: string | undefined;
  upstream?: UpstreamAnswer | undefined;
  /** Further machine-readable facts for the caller (for a budget: limit, used, resets at). Never a secret. */
  details?: Record<string, unknown> | undefined;
  /** Whether the upstream may charge for what it had begun. @default false */
  billable?: boolean | undefined;
  /** What a router with further targets does: `next` where they may succeed, `stop` where they must not be tried. */
  ladder?: "next" | "stop" | undefined;
  cause?: unknown;
}

const MARK = Symbol.for("turnpike.GatewayError");

export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly retryable: boolean;
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly upstreamCode: string | undefined;
  readonly provider: string | undefined;
  readonly upstream: UpstreamAnswer | undefined;
  readonly details: Record<string, unknown> | undefined;
  readonly billable: boolean;
  readonly ladder: "next" | "stop" | undefined;

  constructor(code: ErrorCode, message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status ?? ERROR_STATUS[code];
    this.retryable = options.retryable ?? RETRYABLE.has(code);
    this.param = options.param;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.upstreamCode = options.upstreamCode;
    this.provider = options.provider;
    this.upstream = options.upstream;
    this.details = options.details;
    this.billable = options.billable ?? false;
    this.ladder = options.ladder;
    Object.defineProperty(this, MARK, { value: true });
  }
}

/** Tells a Turnpike error, also where two copies of the package are loaded and `instanceof` would not. */
export function isGatewayError(value: unknown): value is GatewayError {
  return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[MARK] === true;
}

/** Any thrown thing as a GatewayError; what is unknown becomes `internal`, and its text stays out of the answer. */
export function toGatewayError(error: unknown): GatewayError {
  if (isGatewayError(error)) return error;
  return new GatewayError("internal", "Internal error in the gateway", { cause: error });
}
