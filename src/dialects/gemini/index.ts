import type { Dialect, ModelInfo, Route } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import { tokenCount } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { bounds } from "./bounds.ts";
import { embeddings } from "./embeddings.ts";
import { decodeError, encodeError } from "./errors.ts";
import { ID } from "./id.ts";
import { decodeCountRequest, decodeRequest, encodeCountRequest, encodeRequest, modelPath } from "./request.ts";
import { decodeResponse, encodeResponse, usageOf } from "./response.ts";
import { OWN_MARK } from "./signatures.ts";
import { streamDecoder } from "./stream-decoder.ts";
import { streamEncoder } from "./stream-encoder.ts";
import type { GeminiStyle } from "./style.ts";

export type { GeminiStyle } from "./style.ts";

/** What SDKs ask for: the newest one `v1`, all before it `v1beta`. [G-SDK] */
const VERSIONS = ["/v1beta", "/v1"];

function routesOf(version: string): Route[] {
  const model = `${version}/models/{model}`;
  return [
    { method: "POST", path: `${model}:generateContent`, operation: "chat", stream: false },
    { method: "POST", path: `${model}:streamGenerateContent`, operation: "chat", stream: true },
    { method: "POST", path: `${model}:countTokens`, operation: "count-tokens" },
    { method: "POST", path: `${model}:embedContent`, operation: "embeddings" },
    { method: "POST", path: `${model}:batchEmbedContents`, operation: "embeddings" },
    { method: "GET", path: `${version}/models`, operation: "models" },
    { method: "GET", path: model, operation: "models" },
  ];
}

/** The Gemini API (`generateContent`) as one family of models wants it written. Callers see no difference. */
export function geminiWith(style: GeminiStyle): Dialect {
  return {
    id: ID,
    prefix: "/gemini",
    routes: VERSIONS.flatMap(routesOf),
    modelInPath: true,
    knownBy: ["x-goog-api-key", "x-goog-api-client"],
    forwardHeaders: ["x-goog-api-client", "x-server-timeout"],
    returnHeaders: ["server-timing", "retry-after"],
    bounds,
    chatPath: (model, stream) => `/${modelPath(model)}:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`,

    decodeRequest,
    encodeRequest: (request, model) => encodeRequest(request, model, style),
    decodeResponse,
    encodeResponse,
    usageOf,
    streamDecoder,
    streamEncoder,
    ownMarks: [OWN_MARK],
    // Comments break the SDKs' older readers: they look for `data:` at the very start.
    ping: 'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}]}\n\n',
    decodeError,
    encodeError,
    encodeModels,

    countTokens: {
      decodeRequest: decodeCountRequest,
      encodeResponse: (totalTokens) => ({ totalTokens }),
      path: (model) => `/${modelPath(model)}:countTokens`,
      encodeRequest: (request, model) => encodeCountRequest(request, model, style),
      decodeResponse: (body) => (isObject(body) ? tokenCount(body.totalTokens) : undefined),
    },
    embeddings,
  };
}

/** The Gemini API, plain. */
export const gemini: Dialect = geminiWith({});

function encodeModels(models: readonly ModelInfo[], one: boolean): JsonObject {
  if (!one) return { models: models.map(encodeModel) };
  if (!models[0]) throw new GatewayError("model_not_found", "There is no such model");
  return encodeModel(models[0]);
}

const METHODS = ["generateContent", "streamGenerateContent", "countTokens"];

function encodeModel({ id, displayName }: ModelInfo): JsonObject {
  return { name: `models/${id}`, version: "", displayName: displayName ?? id, supportedGenerationMethods: METHODS };
}
