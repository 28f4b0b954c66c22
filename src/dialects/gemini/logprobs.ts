import { isObject, type JsonObject } from "../../core/util.ts";
import { objects, text } from "./check.ts";

/**
 * Log probabilities are canonical as `{ content: [{ token, logprob, bytes, top_logprobs }], refusal: null }`.
 * @returns the entries of one `logprobsResult`
 */
export function decodeLogprobs(result: unknown): JsonObject[] {
  if (!isObject(result)) return [];
  const top = objects(result.topCandidates);
  return objects(result.chosenCandidates).map((chosen, i) => ({
    ...entry(chosen),
    top_logprobs: objects(top[i]?.candidates).map(entry),
  }));
}

function entry({ token, logProbability }: JsonObject): JsonObject {
  const word = text(token) ?? "";
  return { token: word, logprob: Number(logProbability ?? 0), bytes: [...Buffer.from(word)] };
}

export function encodeLogprobs(value: unknown): JsonObject | undefined {
  const entries = isObject(value) ? objects(value.content) : [];
  if (entries.length === 0) return undefined;
  const wire = ({ token, logprob }: JsonObject) => ({ token, logProbability: logprob });
  return {
    chosenCandidates: entries.map(wire),
    topCandidates: entries.map((each) => ({ candidates: objects(each.top_logprobs).map(wire) })),
  };
}
