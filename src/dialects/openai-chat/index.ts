import { type Dialect, deltaMembers, type ModelInfo, topLevelBounds } from "../../core/dialect.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { embeddingsWith } from "./embeddings.ts";
import { decodeError, encodeError } from "./errors.ts";
import { ID } from "./id.ts";
import { decodeRequest, encodeRequest } from "./request.ts";
import { decodeResponse, encodeResponse } from "./response.ts";
import { streamDecoder } from "./stream.ts";
import { streamEncoder } from "./stream-encoder.ts";
import { type ChatStyle, resolveStyle } from "./style.ts";
import { decodeUsage } from "./usage.ts";

export type { ChatStyle } from "./style.ts";

/** OpenAI Chat Completions as one kind of server wants them written. Callers see no difference. */
export function openaiChatWith(style: ChatStyle): Dialect {
  const resolved = resolveStyle(style);
  const fields = ["max_completion_tokens", "max_tokens"];
  return {
    id: ID,
    prefix: "/openai",
    routes: [
      { method: "POST", path: "/v1/chat/completions", operation: "chat" },
      { method: "POST", path: "/v1/embeddings", operation: "embeddings" },
      { method: "GET", path: "/v1/models", operation: "models" },
      { method: "GET", path: "/v1/models/{model}", operation: "models" },
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
    bounds: topLevelBounds(resolved.maxTokens === "max_tokens" ? fields.toReversed() : fields, "n"),
    chatPath: () => "/chat/completions",
    decodeRequest: (body) => decodeRequest(body),
    encodeRequest: (request, model) => encodeRequest(request, model, resolved),
    decodeResponse: (body) => decodeResponse(body, resolved),
    encodeResponse,
    usageOf: (body) => ({
      usage: decodeUsage(body),
      model: typeof body.model === "string" ? body.model : undefined,
    }),
    streamDecoder: () => streamDecoder(resolved),
    streamEncoder,
    ping: ": keep-alive\n\n",
    deltaMembers: deltaMembers({
      text: ["content", "reasoning_content", "reasoning", "refusal", "arguments", "input", "text"],
      other: ["obfuscation", "p"],
    }),
    ownMarks: ['"reasoning_content"', '"thinking_blocks"'],
    streamUsage: {
      member: "stream_options",
      ask: (current) =>
        isObject(current) && current.include_usage === true
          ? undefined
          : JSON.stringify({ ...(isObject(current) && current), include_usage: true }),
      hidden: ',"usage":null',
    },
    isLast: ({ data }) => data.trim() === "[DONE]",
    decodeError,
    encodeError,
    encodeModels,
    embeddings: embeddingsWith(resolved),
  };
}

/** OpenAI Chat Completions, plain. */
export const openaiChat: Dialect = openaiChatWith({});

function encodeModels(models: readonly ModelInfo[], one: boolean): JsonObject {
  const data = models.map(({ id, ownedBy }) => ({ id, object: "model", created: 0, owned_by: ownedBy ?? "turnpike" }));
  const [first] = data;
  return one && first ? first : { object: "list", data };
}
