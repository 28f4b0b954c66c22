/** `POST /v1/embeddings`, as every server of this family takes it [O-SDK]. */
import type { Dialect } from "../../core/dialect.ts";
import type { EmbeddingRequest, EmbeddingResponse } from "../../core/embeddings.ts";
import { GatewayError } from "../../core/errors.ts";
import { tokenCount } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { filled, integer, object, oneOf, optional, refuse, rest, text } from "./check.ts";
import { ID } from "./id.ts";
import type { ResolvedStyle } from "./style.ts";

const KNOWN = new Set(["model", "input", "dimensions", "output_dimension", "encoding_format", "user"]);

/** As one kind of server wants them written; callers see no difference. */
export const embeddingsWith = (style: ResolvedStyle): NonNullable<Dialect["embeddings"]> => ({
  path: () => "/embeddings",

  decodeRequest(value): EmbeddingRequest {
    const body = object(value, "body");
    const dimensions =
      optional(body.dimensions, "dimensions", integer(1)) ??
      optional(body.output_dimension, "output_dimension", integer(1));
    const encoding = optional(body.encoding_format, "encoding_format", oneOf<"float" | "base64">(["float", "base64"]));
    const userId = optional(body.user, "user", text);
    const unknown = rest(body, KNOWN);
    return {
      model: filled(body.model, "model"),
      inputs: decodeInput(body.input),
      ...(dimensions !== undefined && { dimensions }),
      ...(encoding !== undefined && { encoding }),
      ...(userId !== undefined && { userId }),
      ...(unknown && { extensions: { dialect: ID, value: unknown } }),
    };
  },

  encodeRequest: ({ inputs, dimensions, userId, extensions }, model): JsonObject => ({
    ...(style.restoreExtensions && extensions?.dialect === ID && extensions.value),
    model,
    input: inputs.length === 1 && typeof inputs[0] === "string" ? inputs[0] : inputs,
    // Numbers, whatever the caller wants: only those can be written in every dialect.
    encoding_format: "float",
    ...(dimensions !== undefined && { [style.dimensionsField]: dimensions }),
    ...(userId !== undefined && style.userField !== false && { [style.userField]: userId }),
  }),

  decodeResponse(body): EmbeddingResponse {
    const data = isObject(body) && Array.isArray(body.data) ? body.data.filter(isObject) : undefined;
    if (!data) throw new GatewayError("upstream_invalid", "The upstream's answer holds no embeddings");
    const usage = (body as JsonObject).usage;
    const inputTokens = isObject(usage) ? tokenCount(usage.prompt_tokens ?? usage.total_tokens) : undefined;
    const { model } = body as JsonObject;
    return {
      vectors: data
        .toSorted((a, b) => Number(a.index ?? 0) - Number(b.index ?? 0))
        .map((item) => vector(item.embedding)),
      ...(typeof model === "string" && { model }),
      ...(inputTokens !== undefined && { inputTokens }),
    };
  },

  encodeResponse: ({ vectors, inputTokens = 0 }, { encoding }, model): JsonObject => ({
    object: "list",
    data: vectors.map((each, index) => ({
      object: "embedding",
      index,
      embedding: encoding === "base64" ? base64(each) : each,
    })),
    model,
    usage: { prompt_tokens: inputTokens, total_tokens: inputTokens },
  }),
});

/** A text, texts, one text's tokens, or several texts' tokens. */
function decodeInput(input: unknown): (string | number[])[] {
  const isTokens = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length > 0 && value.every((item) => Number.isSafeInteger(item) && item >= 0);
  const inputs = typeof input === "string" || isTokens(input) ? [input] : input;
  if (Array.isArray(inputs) && inputs.length > 0 && inputs.every((item) => typeof item === "string" || isTokens(item)))
    return inputs;
  throw refuse("input", "a string, an array of strings, or arrays of tokens");
}

function vector(value: unknown): number[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "number")) return value;
  if (typeof value !== "string") throw new GatewayError("upstream_invalid", "The upstream's answer holds no vector");
  const bytes = Buffer.from(value, "base64");
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, index) => bytes.readFloatLE(index * 4));
}

/** 32-bit floats, little-endian. */
function base64(numbers: readonly number[]): string {
  const bytes = Buffer.alloc(numbers.length * 4);
  for (const [index, number] of numbers.entries()) bytes.writeFloatLE(number, index * 4);
  return bytes.toString("base64");
}
