import { type Dialect, deltaMembers, topLevelBounds } from "../../core/dialect.ts";
import { tokenCount } from "../../core/usage.ts";
import { isObject } from "../../core/util.ts";
import { decodeError, encodeError } from "../openai-errors.ts";
import { ID } from "./id.ts";
import { isLast } from "./last.ts";
import { decodeRequest, encodeCountRequest, encodeRequest } from "./request.ts";
import { decodeResponse, usageOf } from "./response.ts";
import { streamDecoder } from "./stream-decoder.ts";
import { encodeResponse, streamEncoder } from "./stream-encoder.ts";

/** The Responses API: what Codex and the OpenAI SDKs speak, and OpenAI's reasoning models. */
export const openaiResponses: Dialect = {
  id: ID,
  prefix: "/openai",
  routes: [
    { method: "POST", path: "/v1/responses", operation: "chat" },
    { method: "POST", path: "/v1/responses/input_tokens", operation: "count-tokens" },
  ],
  forwardHeaders: ["openai-organization", "openai-project", "openai-beta", "x-client-request-id", "idempotency-key"],
  returnHeaders: [
    ...["limit", "remaining", "reset"].flatMap((what) => [
      `x-ratelimit-${what}-requests`,
      `x-ratelimit-${what}-tokens`,
    ]),
    ...["openai-organization", "openai-project", "openai-processing-ms", "openai-version", "openai-model"],
    ...["retry-after", "retry-after-ms", "x-should-retry"],
  ],
  bounds: topLevelBounds(["max_output_tokens"]),
  ownMarks: ["tp1."],
  chatPath: () => "/responses",

  decodeRequest: (body) => decodeRequest(body),
  encodeRequest,
  decodeResponse,
  encodeResponse,
  usageOf,
  streamDecoder,
  streamEncoder,
  ping: ": keep-alive\n\n",
  deltaMembers: deltaMembers({ text: ["delta"], other: ["sequence_number", "obfuscation"] }),
  isLast,
  decodeError,
  encodeError,

  /** Listed under the Chat dialect's routes, which both share. */
  encodeModels: (models) => ({
    object: "list",
    data: models.map(({ id, ownedBy }) => ({ id, object: "model", created: 0, owned_by: ownedBy ?? "turnpike" })),
  }),

  countTokens: {
    decodeRequest: (body) => decodeRequest(body),
    encodeResponse: (inputTokens) => ({ object: "response.input_tokens", input_tokens: inputTokens }),
    path: () => "/responses/input_tokens",
    encodeRequest: encodeCountRequest,
    decodeResponse: (body) => (isObject(body) ? tokenCount(body.input_tokens) : undefined),
  },
};
