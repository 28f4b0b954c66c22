import type { ErrorCode, GatewayError } from "../../core/errors.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { decodeError, encodeError, statusOf } from "../openai-errors.ts";

/** Codes of a failed answer that blame the request [O-SDK ResponseError]; they come without a status. */
const BLAMES_REQUEST =
  /^(invalid_|image_|unsupported_|empty_image|failed_to_download|data_residency|bio_policy|misalignment)/;

/** The `error` of a failed answer, or an `error` event in either of its shapes: flat or nested (wire.md §0.9). */
export function decodeFailure(source: JsonObject): GatewayError {
  const error = isObject(source.error) ? source.error : source;
  const { message, code, param } = error;
  // The type of a flat event is the event's own.
  const type = error.type === "error" ? undefined : error.type;
  const status = BLAMES_REQUEST.test(String(code)) ? 400 : statusOf({ error });
  return decodeError(status, { error: { message: message ?? "The upstream's answer failed", type, code, param } });
}

const CODES: Partial<Record<ErrorCode, string>> = {
  rate_limited: "rate_limit_exceeded",
  invalid_request: "invalid_prompt",
  context_length_exceeded: "invalid_prompt",
  unsupported: "invalid_prompt",
};

/** `error` of an answer with the status `failed`: its codes are few [O-SDK ResponseError]. */
export function failureOf(error: GatewayError): JsonObject {
  return { code: CODES[error.code] ?? "server_error", message: error.message };
}

/** Members of an `error` event: both shapes at once, since clients know one or the other. */
export function errorEvent(error: GatewayError): JsonObject {
  const told = encodeError(error).body.error as JsonObject;
  return { code: told.code, message: told.message, param: told.param, error: told };
}
