import type { Dialect, PathFacts } from "../../core/dialect.ts";
import type { EmbeddingRequest } from "../../core/embeddings.ts";
import { GatewayError } from "../../core/errors.ts";
import { tokenCount } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import {
  count,
  filled,
  isEmpty,
  join,
  list,
  maybe,
  message,
  need,
  object,
  objects,
  others,
  present,
  refuse,
  string,
} from "./check.ts";
import { ID } from "./id.ts";
import { modelName, modelPath, requestBody } from "./request.ts";

const FIELDS = new Set(["model", "content", "taskType", "outputDimensionality"]);
const INPUT_FIELDS = new Set(["model", "content"]);

/** `:embedContent` takes one text, `:batchEmbedContents` many: which of them it is, the body tells. */
export const embeddings: NonNullable<Dialect["embeddings"]> = {
  path: ({ single }, model) => `/${modelPath(model)}:${single ? "embedContent" : "batchEmbedContents"}`,

  decodeRequest(given, { model }: PathFacts = {}) {
    const body = requestBody(given);
    const batch = maybe(body, "requests", "", list);
    const requests = (batch ?? [body]).map((each, i) => message(each, `requests.${i}`));
    const [first] = requests;
    if (!first) throw refuse("requests", "must not be empty");
    const at = (i: number) => (batch ? `requests.${i}` : "");
    const settings = JSON.stringify(others(first, INPUT_FIELDS));
    const odd = requests.findIndex((each) => JSON.stringify(others(each, INPUT_FIELDS)) !== settings);
    if (odd >= 0) throw refuse(`requests.${odd}`, "must have the same settings as the first request");
    const kept = others(first, FIELDS);
    const task = maybe(first, "taskType", at(0), string);
    return present<EmbeddingRequest>({
      model: modelName(model ?? need(batch ? body : first, "model", "", filled)),
      inputs: requests.map((each, i) => textOf(need(each, "content", at(i), object), join(at(i), "content"))),
      dimensions: maybe(first, "outputDimensionality", at(0), count),
      task: task === undefined ? undefined : { dialect: ID, value: task },
      single: batch === undefined,
      extensions: isEmpty(kept) ? undefined : { dialect: ID, value: kept },
    });
  },

  encodeRequest(request, model) {
    const { inputs, dimensions, task, extensions, single } = request;
    const settings = present({
      ...(extensions?.dialect === ID && extensions.value),
      model: modelPath(model),
      taskType: task?.dialect === ID ? task.value : undefined,
      outputDimensionality: dimensions,
    });
    const requests = inputs.map((input) => ({ ...settings, content: { parts: [{ text: wordsOnly(input) }] } }));
    return single ? requests[0]! : { requests };
  },

  decodeResponse(body) {
    const answer = isObject(body) ? body : {};
    const found = isObject(answer.embedding) ? [answer.embedding] : objects(answer.embeddings);
    const vectors = found.map(({ values }) => values).filter(isVector);
    if (vectors.length === 0 || vectors.length !== found.length) {
      throw new GatewayError("upstream_invalid", "The upstream's answer has no embeddings");
    }
    const usage = isObject(answer.usageMetadata) ? answer.usageMetadata : {};
    return present({ vectors, inputTokens: tokenCount(usage.promptTokenCount) });
  },

  encodeResponse({ vectors, inputTokens }, { single }) {
    const found = vectors.map((values) => ({ values }));
    const usageMetadata = inputTokens === undefined ? undefined : { promptTokenCount: inputTokens };
    return present({ ...(single ? { embedding: found[0] } : { embeddings: found }), usageMetadata });
  },
};

const isVector = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isFinite);

function textOf(content: JsonObject, path: string): string {
  const parts = need(content, "parts", path, list);
  if (parts.length === 0) throw refuse(`${path}.parts`, "must not be empty");
  const texts = parts.map((part, i) => need(message(part, `${path}.parts.${i}`), "text", `${path}.parts.${i}`, string));
  return texts.join("\n");
}

function wordsOnly(input: string | number[]): string {
  if (typeof input === "string") return input;
  throw new GatewayError("unsupported", "The target takes text, and no tokens", { param: "input" });
}
