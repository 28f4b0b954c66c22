import { tokenCount, type Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** `undefined` if the server does not tell both sides. */
export function decodeUsage(usage: unknown): Usage | undefined {
  if (!isObject(usage)) return undefined;
  const input = tokenCount(usage.input_tokens);
  const output = tokenCount(usage.output_tokens);
  if (input === undefined || output === undefined) return undefined;
  const details = isObject(usage.input_tokens_details) ? usage.input_tokens_details : {};
  const outputDetails = isObject(usage.output_tokens_details) ? usage.output_tokens_details : {};
  const cacheReadTokens = Math.min(tokenCount(details.cached_tokens) ?? 0, input);
  const reasoning = tokenCount(outputDetails.reasoning_tokens);
  return {
    inputTokens: input,
    cacheReadTokens,
    cacheWriteTokens: Math.min(tokenCount(details.cache_write_tokens) ?? 0, input - cacheReadTokens),
    outputTokens: output,
    ...(reasoning !== undefined && { reasoningTokens: Math.min(reasoning, output) }),
  };
}

export function encodeUsage(usage: Usage): JsonObject {
  return {
    input_tokens: usage.inputTokens,
    input_tokens_details: { cached_tokens: usage.cacheReadTokens, cache_write_tokens: usage.cacheWriteTokens },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0 },
    total_tokens: usage.inputTokens + usage.outputTokens,
  };
}
