import { z } from "zod";
import { countTokens, type Turn } from "./behaviour.ts";
import { bad, type OpenAIError, schemaErrorIn } from "./openai-schema.ts";
import { base64Of, vectorFor } from "./vectors.ts";

/** `POST /v1/embeddings` [O-SDK EmbeddingCreateParams]. */

const token = z.int().min(0);
const body = z.strictObject({
  model: z.string(),
  input: z.union([
    z.string(),
    z.array(z.string()).max(2048),
    z.array(token).max(2048),
    z.array(z.array(token).min(1).max(2048)).max(2048),
  ]),
  dimensions: z.int().min(1).optional(),
  encoding_format: z.enum(["float", "base64"]).optional(),
  user: z.string().optional(),
});

export type OpenAIEmbeddingBody = z.infer<typeof body>;

interface EmbeddingModel {
  dimensions: number;
  /** Whether fewer can be asked for. */
  shortens: boolean;
}

const MODELS: Record<string, EmbeddingModel> = {
  "text-embedding-ada-002": { dimensions: 1536, shortens: false },
  "text-embedding-3-small": { dimensions: 1536, shortens: true },
  "text-embedding-3-large": { dimensions: 3072, shortens: true },
};
const MAX_TOKENS = 8192;
const MAX_TOKENS_TOGETHER = 300_000;

/** The first thing the API would refuse about a body, or undefined. */
export function embeddingRefusal(value: unknown): { status: number; error: OpenAIError } | undefined {
  const early = schemaErrorIn(body, value);
  if (early) return { status: 400, error: early };
  const asked = value as OpenAIEmbeddingBody;
  const model = MODELS[asked.model];
  if (!model) {
    const message = `The model \`${asked.model}\` does not exist or you do not have access to it.`;
    return { status: 404, error: { ...bad(message, null), code: "model_not_found" } };
  }
  const error = inputError(asked) ?? dimensionError(asked, model);
  return error && { status: 400, error };
}

function inputError(asked: OpenAIEmbeddingBody): OpenAIError | undefined {
  const inputs = embeddingInputs(asked);
  if (inputs.length === 0)
    return bad(
      "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
      null,
    );
  if (inputs.some((input) => input.length === 0))
    return bad("Invalid 'input': input cannot be an empty string.", "input", "invalid_value");
  const sizes = inputs.map(tokensIn);
  const long = sizes.find((size) => size > MAX_TOKENS);
  if (long !== undefined) {
    const rule = `This model's maximum context length is ${MAX_TOKENS} tokens, however you requested ${long} tokens`;
    return bad(
      `${rule} (${long} in your prompt; 0 for the completion). Please reduce your prompt; or completion length.`,
      null,
    );
  }
  const all = sizes.reduce((sum, size) => sum + size, 0);
  if (all <= MAX_TOKENS_TOGETHER) return undefined;
  const code = "max_tokens_per_request";
  const message = `Requested ${all} tokens, max ${MAX_TOKENS_TOGETHER} tokens per request`;
  return { message, type: code, param: null, code };
}

function dimensionError(asked: OpenAIEmbeddingBody, model: EmbeddingModel): OpenAIError | undefined {
  if (asked.dimensions === undefined) return undefined;
  if (!model.shortens) return bad("This model does not support specifying dimensions.", null);
  if (asked.dimensions <= model.dimensions) return undefined;
  const rule = `Must be less than or equal to ${model.dimensions}.`;
  return bad(`Invalid value for 'dimensions' = ${asked.dimensions}. ${rule}`, "dimensions");
}

/** Each text, or each list of tokens. */
export function embeddingInputs({ input }: OpenAIEmbeddingBody): (string | number[])[] {
  if (typeof input === "string") return [input];
  return typeof input[0] === "number" ? [input as number[]] : (input as (string | number[])[]);
}

/** Four characters a token, as everywhere in the fakes; tokens are tokens. */
export function embeddingTokens(asked: OpenAIEmbeddingBody): number {
  return embeddingInputs(asked).reduce((sum, input) => sum + tokensIn(input), 0);
}

function tokensIn(input: string | number[]): number {
  return typeof input === "string" ? countTokens(input) : input.length;
}

/** The whole answer: each vector depends on the model and the input alone. */
export function embeddingList(turn: Turn, asked: OpenAIEmbeddingBody) {
  const dimensions = asked.dimensions ?? MODELS[asked.model]?.dimensions ?? 0;
  const data = embeddingInputs(asked).map((input, index) => {
    const vector = vectorFor(`${asked.model} ${JSON.stringify(input)}`, dimensions);
    const embedding = asked.encoding_format === "base64" ? base64Of(vector) : vector;
    return { object: "embedding", index, embedding };
  });
  const { prompt } = turn.usage;
  return { object: "list", data, model: asked.model, usage: { prompt_tokens: prompt, total_tokens: prompt } };
}
