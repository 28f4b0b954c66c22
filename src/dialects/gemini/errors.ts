import type { ErrorAnswer } from "../../core/dialect.ts";
import { type ErrorCode, GatewayError } from "../../core/errors.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { isEmpty, objects, present, text } from "./check.ts";

const MAX_TEXT = 300;

/** `google.rpc.Code` names and their HTTP statuses. */
const STATUS_OF_NAME = new Map(
  Object.entries({
    INVALID_ARGUMENT: 400,
    FAILED_PRECONDITION: 400,
    OUT_OF_RANGE: 400,
    UNAUTHENTICATED: 401,
    PERMISSION_DENIED: 403,
    NOT_FOUND: 404,
    ABORTED: 409,
    ALREADY_EXISTS: 409,
    RESOURCE_EXHAUSTED: 429,
    CANCELLED: 499,
    INTERNAL: 500,
    UNKNOWN: 500,
    DATA_LOSS: 500,
    UNIMPLEMENTED: 501,
    UNAVAILABLE: 503,
    DEADLINE_EXCEEDED: 504,
  }),
);

const NAME_OF_STATUS: Record<number, string> = {
  401: "UNAUTHENTICATED",
  402: "RESOURCE_EXHAUSTED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ABORTED",
  429: "RESOURCE_EXHAUSTED",
  499: "CANCELLED",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

const CODE_OF_STATUS: Record<number, ErrorCode> = {
  400: "invalid_request",
  401: "upstream_auth",
  403: "upstream_auth",
  404: "model_not_found",
  408: "upstream_timeout",
  409: "conflict",
  413: "request_too_large",
  422: "invalid_request",
  429: "rate_limited",
  503: "upstream_overloaded",
  504: "upstream_timeout",
};

/** "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576)." */
const TOO_LONG = /input token count\D*(\d+)?\)? exceeds the maximum number of tokens\D*(\d+)?/i;

/** A wrong key is a 400 here. */
const WRONG_KEY = /API key (not (valid|found)|expired|invalid)/i;

/** @param status `undefined` for an error in a stream or behind a 200 */
export function decodeError(status: number | undefined, body: unknown): GatewayError {
  // Asked for no event stream, the API streams a list.
  const first: unknown = Array.isArray(body) ? body[0] : body;
  const error = isObject(first) ? (isObject(first.error) ? first.error : first) : {};
  const name = text(error.status);
  const details = objects(error.details);
  const reason = text(detail(details, "ErrorInfo")?.reason);
  const answered = effectiveStatus(status, name, error.code);
  const message =
    text(error.message) || shorten(text(body)?.trim() ?? "") || `The upstream answered with status ${answered}`;
  const options = {
    upstreamCode: reason ?? name,
    param: violatedField(details),
    retryAfterSeconds: retryDelay(details),
  };
  const fail = (code: ErrorCode, more: object = {}) => new GatewayError(code, message, { ...options, ...more });
  const tooLong = answered === 400 ? TOO_LONG.exec(message) : null;
  if (tooLong) return fail("context_length_exceeded", { details: sizes(tooLong) });
  if (reason?.startsWith("API_KEY_") || (answered === 400 && WRONG_KEY.test(message))) return fail("upstream_auth");
  const code = CODE_OF_STATUS[answered];
  if (code) return fail(code);
  return fail("upstream_error", { status: answered, retryable: answered >= 500 && answered !== 501 });
}

/** The status counts; where there is none, what the body says. */
function effectiveStatus(status: number | undefined, name: string | undefined, code: unknown): number {
  if (status !== undefined && status >= 400) return status;
  const isStatus = typeof code === "number" && Number.isInteger(code) && code >= 400 && code < 600;
  return (name === undefined ? undefined : STATUS_OF_NAME.get(name)) ?? (isStatus ? code : 500);
}

const detail = (details: JsonObject[], type: string) =>
  details.find((each) => text(each["@type"])?.endsWith(`google.rpc.${type}`));

function violatedField(details: JsonObject[]): string | undefined {
  return text(objects(detail(details, "BadRequest")?.fieldViolations)[0]?.field) || undefined;
}

/** `"34.4s"` → 35 */
function retryDelay(details: JsonObject[]): number | undefined {
  const seconds = Number.parseFloat(text(detail(details, "RetryInfo")?.retryDelay) ?? "");
  return Number.isFinite(seconds) && seconds >= 0 ? Math.ceil(seconds) : undefined;
}

function sizes([, tokens, maximum]: RegExpExecArray): JsonObject | undefined {
  const told = present({ tokens: tokens && Number(tokens), maximum: maximum && Number(maximum) });
  return isEmpty(told) ? undefined : told;
}

const shorten = (value: string) => (value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value);

export function encodeError(error: GatewayError): ErrorAnswer {
  return { status: statusOf(error), body: errorBody(error) };
}

/** Overload is 503 here, whatever it was where it came from (529). */
const statusOf = ({ code, status }: GatewayError) => (code === "upstream_overloaded" ? 503 : status);

/** As it also stands in a stream. */
export function errorBody(error: GatewayError): JsonObject {
  const { message, param, retryAfterSeconds } = error;
  const code = statusOf(error);
  const status = NAME_OF_STATUS[code] ?? (code < 500 ? "INVALID_ARGUMENT" : "INTERNAL");
  const rpc = (type: string, members: JsonObject) => ({
    "@type": `type.googleapis.com/google.rpc.${type}`,
    ...members,
  });
  const metadata = Object.fromEntries(
    Object.entries(error.details ?? {}).map(([key, value]) => [key, text(value) ?? JSON.stringify(value)]),
  );
  const details = [
    rpc("ErrorInfo", { reason: error.code.toUpperCase(), domain: "turnpike", ...(!isEmpty(metadata) && { metadata }) }),
    ...(param === undefined ? [] : [rpc("BadRequest", { fieldViolations: [{ field: param, description: message }] })]),
    ...(retryAfterSeconds === undefined ? [] : [rpc("RetryInfo", { retryDelay: `${retryAfterSeconds}s` })]),
  ];
  return { error: { code, message, status, details } };
}
