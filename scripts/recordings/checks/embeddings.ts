import { isDeepStrictEqual } from "node:util";
import type { Dialect } from "../../../src/core/dialect.ts";
import type { EmbeddingRequest } from "../../../src/core/embeddings.ts";
import type { JsonObject } from "../../../src/core/util.ts";
import { object, objects, shorten, strings } from "../facts.ts";
import { sdkOf } from "../sdk.ts";
import { pathFacts } from "./request.ts";

export async function checkEmbeddings(
  dialect: Dialect,
  body: JsonObject,
  callers: readonly Dialect[],
): Promise<string[]> {
  const expected = readVectors(body);
  const response = dialect.embeddings!.decodeResponse(body);
  const problems = isDeepStrictEqual(response.vectors, expected) ? [] : ["the vectors are not the recorded ones"];
  const { prompt_tokens } = object(body.usage);
  if (prompt_tokens !== undefined && response.inputTokens !== prompt_tokens)
    problems.push(`usage: ${prompt_tokens} became ${response.inputTokens}`);
  const request: EmbeddingRequest = { model: "asked-model", inputs: expected.map((_, i) => `text ${i}`) };
  for (const caller of callers) {
    const read = sdkOf(caller.id).embeddings;
    if (!caller.embeddings || !read) continue;
    const vectors = await read(object(caller.embeddings.encodeResponse(response, request, "asked-model")));
    if (!isDeepStrictEqual(vectors, expected)) problems.push(`to ${caller.id}: the SDK reads other vectors`);
  }
  return problems.map((problem) => `embeddings: ${problem}`);
}

function readVectors(body: JsonObject): unknown[] {
  const list = objects(body.data ?? body.embeddings ?? [body.embedding]);
  const sorted = list.toSorted((a, b) => Number(a.index ?? 0) - Number(b.index ?? 0));
  return sorted.map(({ embedding, values }) =>
    typeof embedding === "string" ? fromBase64(embedding) : (embedding ?? values),
  );
}

function fromBase64(text: string): number[] {
  const bytes = Buffer.from(text, "base64");
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
}

/** Every text of a request for embeddings goes on. */
export function checkEmbeddingRequest(dialect: Dialect, path: string, body: JsonObject): string[] {
  const { embeddings } = dialect;
  const request = embeddings!.decodeRequest(body, pathFacts(path));
  const written = strings(embeddings!.encodeRequest(request, request.model));
  const asked = strings(body.input ?? body.content ?? body.requests);
  return asked.filter((text) => !written.includes(text)).map((text) => `embeddings: a text is lost: ${shorten(text)}`);
}
