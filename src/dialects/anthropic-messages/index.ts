import { type Dialect, type ModelInfo, type RawFrame, topLevelBounds } from "../../core/dialect.ts";
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
  skipLength,
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

/** A delta's type and the field of its text. Neither can stand inside a JSON string, where quotes are escaped. */
const TEXT_DELTAS = [
  ['"type":"text_delta"', '"text":"'],
  ['"type":"input_json_delta"', '"partial_json":"'],
  ['"type":"thinking_delta"', '"thinking":"'],
] as const;

function skipLength({ event, data }: RawFrame): number | undefined {
  if (event !== undefined && event !== "content_block_delta") return undefined;
  if (!data.includes('"type":"content_block_delta"')) return undefined;
  for (const [type, field] of TEXT_DELTAS) {
    if (!data.includes(type)) continue;
    const at = data.indexOf(field);
    if (at === -1) return undefined;
    const start = at + field.length;
    let end = data.indexOf('"', start);
    while (end !== -1 && isEscaped(data, end)) end = data.indexOf('"', end + 1);
    return end === -1 ? undefined : end - start;
  }
  return undefined;
}

function isEscaped(data: string, quote: number): boolean {
  let back = quote - 1;
  while (data[back] === "\\") back--;
  return (quote - back) % 2 === 0;
}
