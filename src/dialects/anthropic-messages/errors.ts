import type { ErrorAnswer } from "../../core/dialect.ts";
import { type ErrorCode, GatewayError } from "../../core/errors.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** Error types in a stream have no status of their own. */
const STATUS_OF_TYPE = new Map(
  Object.entries({
    invalid_request_error: 400,
    authentication_error: 401,
    billing_error: 402,
    permission_error: 403,
    not_found_error: 404,
    conflict_error: 409,
    request_too_large: 413,
    rate_limit_error: 429,
    api_error: 500,
    timeout_error: 504,
    overloaded_error: 529,
  }),
);

const TYPE_OF_CODE: Partial<Record<ErrorCode, string>> = {
  invalid_request: "invalid_request_error",
  context_length_exceeded: "invalid_request_error",
  unsupported: "invalid_request_error",
  method_not_allowed: "invalid_request_error",
  unsupported_media_type: "invalid_request_error",
  unauthenticated: "authentication_error",
  budget_exceeded: "billing_error",
  forbidden: "permission_error",
  no_compliant_target: "permission_error",
  model_not_found: "not_found_error",
  not_found: "not_found_error",
  no_target: "not_found_error",
  conflict: "conflict_error",
  request_too_large: "request_too_large",
  rate_limited: "rate_limit_error",
  upstream_overloaded: "overloaded_error",
  upstream_timeout: "timeout_error",
  timeout: "timeout_error",
};

/** How the vendors say that a prompt does not fit (wire.md §8.8). */
const TOO_LONG = [
  /prompt is too long/i,
  /prompt_too_long/i,
  /input is too long/i,
  /maximum context length/i,
  /context[_ ]length[_ ]exceeded/i,
  /exceeds? the (available|model's|maximum) context/i,
  /too large for model with/i,
  /input token count.*exceeds/i,
  /exceed context limit/i,
];

/** Claude Code lowers `max_tokens` at this wording, and compacts at the other. */
const SUM_TOO_LONG = /^input length and `?max_tokens`? exceed context limit/i;

const MAX_TEXT = 300;

const SPENT = /reached your (?:specified )?(?:API )?usage limits|credit balance is too low/i;

/** @param status `undefined` for an error in a stream */
export function decodeError(status: number | undefined, body: unknown): GatewayError {
  const error = isObject(body) ? body.error : undefined;
  const source: JsonObject = isObject(error) ? error : isObject(body) ? body : {};
  const upstreamCode = [source.type, source.code].find((name) => typeof name === "string") as string | undefined;
  const effective = effectiveStatus(status, upstreamCode);
  const text = [source.message, source.detail, error, body].find(
    (value) => typeof value === "string" && value.trim() !== "",
  );
  const message = (text as string | undefined)?.trim() ?? `The upstream answered with status ${effective}`;
  const options = { upstreamCode, ...(isObject(source.details) && { details: source.details }) };
  const fail = (code: ErrorCode, answered?: number, retryable?: boolean) =>
    new GatewayError(code, isObject(body) ? message : shorten(message), { ...options, status: answered, retryable });
  if ([400, 413, 422].includes(effective) && TOO_LONG.some((wording) => wording.test(message))) {
    return fail("context_length_exceeded");
  }
  // A spent account is told as a bad request.
  if (effective === 400 && SPENT.test(message)) return fail("upstream_error", 402, false);
  switch (effective) {
    case 400:
    case 422:
      return fail("invalid_request");
    case 401:
    case 403:
      return fail("upstream_auth");
    case 402:
      return fail("upstream_error", 402, false);
    case 404:
      return fail("model_not_found");
    case 408:
    case 504:
      return fail("upstream_timeout");
    case 409:
      return fail("conflict");
    case 413:
      return fail("request_too_large");
    case 429:
      return fail("rate_limited");
    case 503:
    case 529:
      return fail("upstream_overloaded", effective);
    default:
      return effective >= 500 ? fail("upstream_error", effective) : fail("upstream_error", effective, false);
  }
}

/** The status counts, but for servers that hide a known error behind a 200 or 500. */
function effectiveStatus(status: number | undefined, type: string | undefined): number {
  const byType = type === undefined ? undefined : STATUS_OF_TYPE.get(type);
  if (status === undefined || status < 400) return byType ?? 500;
  return status >= 500 && type !== "api_error" ? (byType ?? status) : status;
}

function shorten(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

export function encodeError(error: GatewayError, requestId: string): ErrorAnswer {
  const status = error.code === "upstream_overloaded" ? 529 : error.status;
  return { status, body: { ...errorBody(error), request_id: requestId } };
}

/** As it also stands in a stream. */
export function errorBody(error: GatewayError): JsonObject {
  const type = error.status === 402 ? "billing_error" : (TYPE_OF_CODE[error.code] ?? "api_error");
  const message = error.code === "context_length_exceeded" ? tooLong(error.message) : error.message;
  return { type: "error", error: { type, message, details: { error_code: error.code, ...error.details } } };
}

/** The wording at which Claude Code compacts the conversation, with the numbers if the message has them. */
function tooLong(message: string): string {
  if (/^prompt is too long/i.test(message) || SUM_TOO_LONG.test(message)) return message;
  // Whole numbers that are not part of a name; the prompt is the largest, the limit the next below.
  const numbers = [...message.matchAll(/(?<![\w.-])\d[\d,_]*(?![\w-]|\.\d)/g)].map(([text]) =>
    Number(text.replace(/[,_]/g, "")),
  );
  const [tokens, limit] = [...new Set(numbers)].sort((a, b) => b - a);
  if (tokens === undefined || limit === undefined || limit < 100) return `prompt is too long: ${message}`;
  return `prompt is too long: ${tokens} tokens > ${limit} maximum`;
}
