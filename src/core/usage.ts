/** What one answer cost in tokens. Counts are whole and never negative. */
export interface Usage {
  /** All input, cached or not. */
  inputTokens: number;
  /** Part of the input that was read from the provider's prompt cache. */
  cacheReadTokens: number;
  /** Part of the input that was written to it. */
  cacheWriteTokens: number;
  /** All output, reasoning included. */
  outputTokens: number;
  /** Part of the output; absent when the provider does not tell. */
  reasoningTokens?: number;
  /** True when Turnpike counted, because the provider did not tell. */
  estimated?: boolean;
}

/** A count as a provider sent it: whole and ≥ 0, or undefined for anything else. */
export function tokenCount(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 && value <= Number.MAX_SAFE_INTEGER
    ? Math.round(value)
    : undefined;
}
