import type { Dialect } from "../../../src/core/dialect.ts";
import { type ErrorCode, type GatewayError, isGatewayError } from "../../../src/core/errors.ts";
import { object } from "../facts.ts";
import { sdkOf } from "../sdk.ts";
import type { Wire } from "../wires/index.ts";

/** Codes that make sense for a status. */
const CODES: Record<number, readonly ErrorCode[]> = {
  400: ["invalid_request", "context_length_exceeded", "model_not_found", "upstream_auth", "unsupported"],
  401: ["upstream_auth"],
  402: ["upstream_error"],
  403: ["upstream_auth"],
  404: ["model_not_found", "not_found"],
  408: ["upstream_timeout"],
  409: ["conflict"],
  413: ["request_too_large", "context_length_exceeded"],
  422: ["invalid_request", "context_length_exceeded"],
  429: ["rate_limited"],
  500: ["upstream_error"],
  503: ["upstream_overloaded"],
  504: ["upstream_timeout"],
  529: ["upstream_overloaded"],
};
/** A spent balance hides behind several statuses. */
const SPENT = /insufficient_(quota|balance)|quota/i;

export async function checkError(
  wire: Wire,
  dialect: Dialect,
  status: number,
  body: unknown,
  callers: readonly Dialect[],
): Promise<string[]> {
  const error = dialect.decodeError(status, body);
  const text = wire.errorMessage(object(body)).trim();
  const problems = [
    ...checkCode(error, status, body),
    ...checkWords(error, status, text),
    ...checkFailed(dialect, body),
  ];
  for (const caller of callers) problems.push(...(await checkCaller(error, caller)));
  return problems.map((problem) => `error: ${problem}`);
}

function checkCode({ code, retryable }: GatewayError, status: number, body: unknown): string[] {
  const spent = code === "upstream_error" && SPENT.test(JSON.stringify(body));
  const sensible =
    spent || (CODES[status]?.includes(code) ?? code === (status < 500 ? "invalid_request" : "upstream_error"));
  const hopeless = status < 500 && ![408, 409, 429].includes(status);
  return [
    ...(sensible ? [] : [`status ${status} became ${code}`]),
    ...(hopeless && retryable ? [`status ${status} is said to be worth another try`] : []),
  ];
}

/** The words of a 401 may quote our key. */
function checkWords({ message }: GatewayError, status: number, text: string): string[] {
  if (message.trim() === "") return ["no message"];
  return status === 401 || message.includes(text.slice(0, 250)) ? [] : [`the message is lost: ${text.slice(0, 100)}`];
}

/** A body that tells of an error where an answer was expected. */
export function checkFailed(dialect: Dialect, body: unknown, words = ""): string[] {
  try {
    dialect.decodeResponse(body);
    return ["an error body is taken for an answer"];
  } catch (thrown) {
    if (isGatewayError(thrown) && !thrown.message.includes(words.slice(0, 250)))
      return [`the words of the failure are lost: ${words}`];
    return isGatewayError(thrown) ? [] : [`decodeResponse throws ${thrown}`];
  }
}

async function checkCaller(error: GatewayError, caller: Dialect): Promise<string[]> {
  const { status, body } = caller.encodeError(error, "req_1");
  const raised = await sdkOf(caller.id).failure(status, JSON.parse(JSON.stringify(body)));
  const words = error.message.slice(0, 100);
  const kept = raised.message.includes(words) || raised.message.includes(JSON.stringify(words).slice(1, -1));
  const reworded = error.code === "context_length_exceeded" && /prompt is too long/.test(raised.message);
  return [
    ...(raised.status === status
      ? []
      : [`to ${caller.id}: the SDK raises ${raised.name} with status ${raised.status}, not ${status}`]),
    ...(kept || reworded ? [] : [`to ${caller.id}: the SDK says ${raised.message.slice(0, 100)}`]),
  ];
}
