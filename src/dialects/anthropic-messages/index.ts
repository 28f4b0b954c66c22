import { type Dialect, deltaMembers, type ModelInfo, topLevelBounds } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import { tokenCount } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { decodeError, encodeError } from "./errors.ts";
import { ID } from "./id.ts";
import { decodeCountRequest, decodeRequest, encodeCountRequest, encodeRequest } from "./request.ts";
import { decodeResponse, encodeResponse, usageOf } from "./response.ts";
import { streamDecoder } from "./stream-decoder.ts";
import { streamEncoder } from "./stream-encoder.ts";

/** The Messages API: what Claude Code and the Anthropic SDKs speak, and Anthropic's models. */
export const anthropicMessages: Dialect = {
  id: ID,
  prefix: "/anthropic",
  routes: [
    { method: "POST", path: "/v1/messages", operation: "chat" },
    { method: "POST", path: "/v1/messages/count_tokens", operation: "count-tokens" },
    { method: "GET", path: "/v1/models", operation: "models" },
    { method: "GET", path: "/v1/models/{model}", operation: "models" },
    { method: "HEAD", path: "/api/hello", operation: "hello" },
    { method: "HEAD", path: "/", operation: "hello" },
  ],
  knownBy: ["anthropic-version"],
  forwardHeaders: [
    "anthropic-version",
    "anthropic-beta",
    "anthropic-workspace-id",
    "anthropic-user-profile-id",
    "x-claude-code-session-id",
    "x-claude-code-agent-id",
    "x-claude-code-parent-agent-id",
    "x-claude-code-agent-type",
    "x-claude-code-request-class",
    "x-claude-code-prompt-id",
  ],
  returnHeaders: [
    "request-id",
    "anthropic-organization-id",
    ...["requests", "tokens", "input-tokens", "output-tokens"].flatMap((what) =>
      ["limit", "remaining", "reset"].map((value) => `anthropic-ratelimit-${what}-${value}`),
    ),
  ],
  bounds: topLevelBounds(["max_tokens"]),
  chatPath: () => "/messages",

  decodeRequest,
  encodeRequest,
  decodeResponse,
  encodeResponse,
  usageOf,
  streamDecoder,
  streamEncoder,
  clientModels: ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"],
  ownMarks: ["tp1."],
  ping: 'event: ping\ndata: {"type": "ping"}\n\n',
  deltaMembers: deltaMembers({ text: ["text", "thinking", "partial_json"], other: ["estimated_tokens"] }),
  isLast: ({ event }) => event === "message_stop",
  decodeError,
  encodeError,

  encodeModels(models, one) {
    if (!one) {
      const data = models.map(encodeModel);
      return { data, has_more: false, first_id: models[0]?.id ?? null, last_id: models.at(-1)?.id ?? null };
    }
    if (!models[0]) throw new GatewayError("model_not_found", "There is no such model");
    return encodeModel(models[0]);
  },

  countTokens: {
    decodeRequest: decodeCountRequest,
    encodeResponse: (inputTokens) => ({ input_tokens: inputTokens }),
    path: () => "/messages/count_tokens",
    encodeRequest: encodeCountRequest,
    decodeResponse: (body) => (isObject(body) ? tokenCount(body.input_tokens) : undefined),
  },
};

function encodeModel({ id, displayName }: ModelInfo): JsonObject {
  // The API's own way of saying that the date is not known.
  return { type: "model", id, display_name: displayName ?? id, created_at: "1970-01-01T00:00:00Z" };
}
