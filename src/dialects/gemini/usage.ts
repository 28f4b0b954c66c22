import { tokenCount, type Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { present } from "./check.ts";

/** Thoughts are counted beside the candidates, pages that tools read beside the prompt; cached input is in it. [FX-V] */
export function decodeUsage(value: unknown): Usage | undefined {
  if (!isObject(value)) return undefined;
  const count = (name: string) => tokenCount(value[`${name}TokenCount`]);
  const input = count("prompt");
  const candidates = count("candidates");
  const thoughts = count("thoughts");
  // Counts of zero are left out; a count of nothing at all says nothing.
  if (input === undefined && candidates === undefined && thoughts === undefined) return undefined;
  return present({
    inputTokens: (input ?? 0) + (count("toolUsePrompt") ?? 0),
    cacheReadTokens: count("cachedContent") ?? 0,
    cacheWriteTokens: 0,
    outputTokens: (candidates ?? 0) + (thoughts ?? 0),
    reasoningTokens: thoughts,
  });
}

export function encodeUsage(usage: Usage, serviceTier?: string): JsonObject {
  const { inputTokens, cacheReadTokens, outputTokens, reasoningTokens } = usage;
  const thoughts = Math.min(reasoningTokens ?? 0, outputTokens);
  return present({
    promptTokenCount: inputTokens,
    cachedContentTokenCount: cacheReadTokens || undefined,
    candidatesTokenCount: outputTokens - thoughts,
    thoughtsTokenCount: reasoningTokens === undefined ? undefined : thoughts,
    totalTokenCount: inputTokens + outputTokens,
    serviceTier,
  });
}
