import { contentFaults } from "./gemini-contents.ts";
import { geminiEmbedder } from "./gemini-models.ts";
import { batchEmbedContentsRequest, embedContentRequest } from "./gemini-proto.ts";
import { badGemini, type GeminiRefusal, modelRefusal, violationsRefusal } from "./gemini-rules.ts";
import type { GeminiEmbedding } from "./gemini-types.ts";
import { readProto } from "./proto-json.ts";
import { vectorFor } from "./vectors.ts";

/** `:embedContent` and `:batchEmbedContents` [G-SDK]. */

const MOST = 100;

/** The requests as understood, or why the API would refuse them. */
export function readEmbeddings(
  id: string,
  method: string,
  value: unknown,
): GeminiRefusal | { requests: GeminiEmbedding[] } {
  const model = geminiEmbedder(id);
  if (!model) return modelRefusal(id, method);
  const isBatch = method === "batchEmbedContents";
  const { value: read, violations } = readProto(isBatch ? batchEmbedContentsRequest : embedContentRequest, value);
  const early = violationsRefusal(violations);
  if (early) return early;
  const requests = isBatch ? ((read as { requests?: GeminiEmbedding[] }).requests ?? []) : [read as GeminiEmbedding];
  const head = isBatch ? "BatchEmbedContentsRequest" : "EmbedContentRequest";
  const faults = requests.flatMap((one, i) =>
    embeddingFaults(one, id, model.dimensions, isBatch ? `requests[${i}].` : ""),
  );
  if (requests.length === 0) faults.push("requests: at least one request is required");
  if (requests.length > MOST) faults.push(`requests: at most ${MOST} requests can be in one batch`);
  return faults.length > 0 ? badGemini(faults.map((fault) => `* ${head}.${fault}\n`).join("")) : { requests };
}

function embeddingFaults(asked: GeminiEmbedding, id: string, most: number, path: string): string[] {
  const { model, content, title, taskType, outputDimensionality: dimensions } = asked;
  const faults = content ? contentFaults(content, `${path}content`) : [`${path}content: content is not specified`];
  // Each request of a batch names the model again.
  if (path !== "" || model !== undefined) {
    if (model === undefined) faults.push(`${path}model: model is not specified`);
    else if (model !== `models/${id}`)
      faults.push(`${path}model: model must match the model of the batch, 'models/${id}'`);
  }
  if (title !== undefined && taskType !== "RETRIEVAL_DOCUMENT")
    faults.push(`${path}title: only applicable when task_type is RETRIEVAL_DOCUMENT`);
  if (dimensions !== undefined && (dimensions < 1 || dimensions > most))
    faults.push(`${path}output_dimensionality: must be in the range [1, ${most}]`);
  return faults;
}

/** One vector for each request; only the model, its content and its task matter. */
export function geminiVectors(id: string, requests: readonly GeminiEmbedding[]): { values: number[] }[] {
  const { dimensions = 0 } = geminiEmbedder(id) ?? {};
  return requests.map(({ content, taskType, outputDimensionality = dimensions }) => {
    const parts = (content?.parts ?? []).map((part) => part.text ?? part);
    return { values: vectorFor(JSON.stringify([id, taskType, parts]), outputDimensionality) };
  });
}
