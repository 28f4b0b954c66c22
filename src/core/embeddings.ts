import type { JsonObject } from "./util.ts";

/** Texts to be turned into vectors, whatever dialect asked. */
export interface EmbeddingRequest {
  /** As the caller asked for it. */
  model: string;
  /** Text, or tokens of the model's own vocabulary. At least one. */
  inputs: (string | number[])[];
  /** Length of the vectors, where the model lets it be chosen. */
  dimensions?: number;
  /** How the caller wants the numbers written. @default "float" */
  encoding?: "float" | "base64";
  /** What the vectors are for, in the dialect's own word (`RETRIEVAL_QUERY`). */
  task?: { dialect: string; value: string };
  userId?: string;
  /** The caller's form takes one input and answers one vector, or many. */
  single?: boolean;
  /** Top-level fields that only the caller's dialect knows. */
  extensions?: { dialect: string; value: JsonObject };
}

export interface EmbeddingResponse {
  /** As the provider names it. */
  model?: string;
  /** In the order of the inputs. */
  vectors: number[][];
  /** Absent where the provider does not tell. */
  inputTokens?: number;
}
