import { tokenCount, type Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** Usage of an answer or chunk, wherever the server puts it; `undefined` if it does not tell both sides. */
export function decodeUsage(body: JsonObject): Usage | undefined {
  const nested = isObject(body.x_groq) ? body.x_groq.usage : undefined;
  const usage = isObject(body.usage) ? body.usage : nested;
  if (!isObject(usage)) return undefined;
  const total = tokenCount(usage.total_tokens);
  const completion = tokenCount(usage.completion_tokens);
  const input = tokenCount(usage.prompt_tokens) ?? difference(total, completion);
  const output = completion ?? difference(total, input);
  if (input === undefined || output === undefined) return undefined;

  const prompt = isObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : usage.prompt_token_details;
  const inputDetails = isObject(prompt) ? prompt : {};
  const outputDetails = isObject(usage.completion_tokens_details) ? usage.completion_tokens_details : {};
  const cacheRead = first(
    usage.num_cached_tokens,
    inputDetails.cached_tokens,
    usage.prompt_cache_hit_tokens,
    usage.cached_tokens,
  );
  const cacheWrite = first(inputDetails.cache_write_tokens, usage.cache_write_tokens);
  const reasoning = first(outputDetails.reasoning_tokens, usage.reasoning_tokens);
  // xAI counts reasoning beside the completion, all others inside.
  const outside = reasoning !== undefined && total === input + output + reasoning ? reasoning : 0;
  const cacheReadTokens = Math.min(cacheRead ?? 0, input);
  return {
    inputTokens: input,
    cacheReadTokens,
    cacheWriteTokens: Math.min(cacheWrite ?? 0, input - cacheReadTokens),
    outputTokens: output + outside,
    ...(reasoning !== undefined && { reasoningTokens: Math.min(reasoning, output + outside) }),
  };
}

function first(...values: unknown[]): number | undefined {
  for (const value of values) {
    const count = tokenCount(value);
    if (count !== undefined) return count;
  }
  return undefined;
}

function difference(total: number | undefined, part: number | undefined): number | undefined {
  return total !== undefined && part !== undefined && total >= part ? total - part : undefined;
}

export function encodeUsage(usage: Usage): JsonObject {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
    prompt_tokens_details: {
      cached_tokens: usage.cacheReadTokens,
      ...(usage.cacheWriteTokens > 0 && { cache_write_tokens: usage.cacheWriteTokens }),
    },
    ...(usage.reasoningTokens !== undefined && {
      completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    }),
  };
}
