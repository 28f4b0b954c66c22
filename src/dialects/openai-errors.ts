import type { ErrorAnswer } from "../core/dialect.ts";
import { type ErrorCode, GatewayError } from "../core/errors.ts";
import { isObject } from "../core/util.ts";

const MAX_TEXT = 300;

/** An error answer of any shape that servers of this dialect have. */
interface Fault {
  message: string;
  type?: string | undefined;
  code?: string | undefined;
  param?: string | undefined;
}

const BY_STATUS: Record<number, ErrorCode> = {
  400: "invalid_request",
  401: "upstream_auth",
  402: "upstream_error",
  403: "upstream_auth",
  404: "model_not_found",
  408: "upstream_timeout",
  409: "conflict",
  413: "request_too_large",
  422: "invalid_request",
  429: "rate_limited",
  500: "upstream_error",
  502: "upstream_error",
  503: "upstream_overloaded",
  504: "upstream_timeout",
  524: "upstream_timeout",
  529: "upstream_overloaded",
};

/** Codes and types that say more than the status that they come with. */
const BY_NAME: Record<string, ErrorCode> = {
  model_not_found: "model_not_found",
  invalid_model: "model_not_found",
  context_length_exceeded: "context_length_exceeded",
  exceed_context_size_error: "context_length_exceeded",
  rate_limit_exceeded: "rate_limited",
  overloaded_error: "upstream_overloaded",
};

const SPENT = new Set(["insufficient_quota", "insufficient_balance"]);

const TOO_LONG =
  /maximum (?:context|prompt) length|exceeds? the (?:available|model'?s?) context|too large for model|prompt is too long|input is too long|input token count.*exceeds|context[ _]length[ _]exceeded|reduce the length of the (?:messages|prompt)/i;
const MAXIMUM = [
  /maximum (?:context|prompt) length (?:is|of) ([\d,]+)/i,
  /with ([\d,]+) maximum context/i,
  /context size \(([\d,]+)/i,
  />\s*([\d,]+) maximum/i,
  /allowed \(([\d,]+)\)/i,
];
const TOKENS = [
  /(?:resulted in|requested|contains|passed) ([\d,]+)/i,
  /(?:request|prompt|count) \(([\d,]+)/i,
  /too long: ([\d,]+)/i,
];

export function decodeError(status: number, body: unknown): GatewayError {
  const fault = readFault(status, body);
  const spent = status === 402 || SPENT.has(fault.code ?? "") || SPENT.has(fault.type ?? "");
  const code = spent ? "upstream_error" : codeOf(status, fault);
  const shared = {
    param: fault.param,
    upstreamCode: fault.code ?? fault.type,
    details: code === "context_length_exceeded" ? sizes(fault.message, body) : undefined,
  };
  if (spent) return new GatewayError(code, fault.message, { ...shared, status: 402, retryable: false });
  // Such messages quote the key.
  if (status === 401) return new GatewayError(code, "The upstream refused the gateway's credentials", shared);
  if (code === "upstream_error" && status >= 500)
    return new GatewayError(code, fault.message, { ...shared, status: status === 500 ? 500 : 502 });
  return new GatewayError(code, fault.message, shared);
}

function codeOf(status: number, { message, type, code }: Fault): ErrorCode {
  for (const name of [code, type]) if (name !== undefined && Object.hasOwn(BY_NAME, name)) return BY_NAME[name]!;
  if (status !== 429 && status !== 401 && status !== 403 && TOO_LONG.test(message)) return "context_length_exceeded";
  return BY_STATUS[status] ?? (status >= 400 && status < 500 ? "invalid_request" : "upstream_error");
}

function readFault(status: number, body: unknown): Fault {
  const otherwise = `The upstream answered with status ${status}`;
  if (!isObject(body)) {
    const text = typeof body === "string" ? body.trim() : "";
    return { message: text === "" ? otherwise : `${otherwise}: ${cut(text)}` };
  }
  const error = isObject(body.error) ? body.error : body;
  const said = typeof body.error === "string" ? body.error : (error.message ?? error.detail);
  const fault = isObject(said) ? readDetail(said.detail) : readDetail(said);
  const raw = isObject(error.metadata) && typeof error.metadata.raw === "string" ? `: ${error.metadata.raw}` : "";
  return {
    message: fault.message === "" ? otherwise : cut(fault.message + raw),
    type: name(error.type) ?? fault.type,
    code: name(error.code),
    param: name(error.param) ?? fault.param,
  };
}

/** Text, or a list of `{ loc, msg, type }` as validators write it. */
function readDetail(detail: unknown): Fault {
  if (typeof detail === "string") return { message: detail };
  const items = Array.isArray(detail) ? detail.filter(isObject) : [];
  const [first] = items;
  const loc = Array.isArray(first?.loc) ? first.loc.filter((step, i) => i > 0 || step !== "body").join(".") : "";
  return {
    message: items
      .map((item) => item.msg)
      .filter((msg) => typeof msg === "string")
      .join("; "),
    type: name(first?.type),
    param: loc === "" ? undefined : loc,
  };
}

function name(value: unknown): string | undefined {
  return typeof value === "number" || (typeof value === "string" && value !== "") ? String(value) : undefined;
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

function sizes(message: string, body: unknown): Record<string, unknown> | undefined {
  const error = isObject(body) && isObject(body.error) ? body.error : {};
  const tokens = count(error.n_prompt_tokens) ?? match(message, TOKENS);
  const maximum = count(error.n_ctx) ?? match(message, MAXIMUM);
  if (tokens === undefined && maximum === undefined) return undefined;
  return { ...(tokens !== undefined && { tokens }), ...(maximum !== undefined && { maximum }) };
}

function count(value: unknown): number | undefined {
  return Number.isSafeInteger(value) ? (value as number) : undefined;
}

function match(text: string, patterns: readonly RegExp[]): number | undefined {
  for (const pattern of patterns) {
    const digits = pattern.exec(text)?.[1];
    if (digits !== undefined) return Number(digits.replaceAll(",", ""));
  }
  return undefined;
}

/** An error where an answer was expected: some servers send it with status 200. */
export function isErrorBody(body: unknown): boolean {
  if (!isObject(body)) return false;
  return (body.error !== undefined && body.error !== null && body.error !== "") || body.object === "error";
}

/** The HTTP status that an error body names, or 500. */
export function statusOf(body: unknown): number {
  if (!isObject(body)) return 500;
  const error = isObject(body.error) ? body.error : body;
  const named = [error.status_code, body.raw_status_code, error.status, error.code].map(Number);
  return named.find((status) => Number.isInteger(status) && status >= 400 && status < 600) ?? 500;
}

const TYPES: Partial<Record<ErrorCode, [type: string, code: string | null]>> = {
  invalid_request: ["invalid_request_error", null],
  unauthenticated: ["invalid_request_error", "invalid_api_key"],
  budget_exceeded: ["insufficient_quota", "budget_exceeded"],
  rate_limited: ["rate_limit_error", "rate_limit_exceeded"],
};

export function encodeError(error: GatewayError): ErrorAnswer {
  const [type, code] = TYPES[error.code] ?? [error.status < 500 ? "invalid_request_error" : "server_error", error.code];
  return {
    // Overload is 503 here, whatever it was where it came from (529).
    status: error.code === "upstream_overloaded" ? 503 : error.status,
    body: {
      error: {
        message: error.message,
        type: error.code === "upstream_error" && error.status === 402 ? "insufficient_quota" : type,
        param: error.param ?? null,
        code: code ?? error.upstreamCode ?? null,
        ...(error.details && { details: error.details }),
      },
    },
  };
}
