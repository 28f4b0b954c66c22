import type { FinishReason } from "../../core/request.ts";

const REASONS: Record<string, FinishReason> = {
  stop: "stop",
  length: "length",
  max_tokens: "length",
  model_length: "context-window",
  tool_calls: "tool-calls",
  function_call: "tool-calls",
  content_filter: "refusal",
  sensitive: "refusal",
};

/** Reasons that say that the answer failed. */
export const FAILED: ReadonlySet<unknown> = new Set(["error", "network_error", "insufficient_system_resource"]);

export interface Seen {
  call: boolean;
  refusal: boolean;
}

/** What was seen in the answer wins over a `stop` or `tool_calls` that does not fit it. */
export function decodeFinish(
  reason: unknown,
  stopReason: unknown,
  seen: Seen,
): { reason: FinishReason; stopSequence?: string } {
  const known = typeof reason === "string" && Object.hasOwn(REASONS, reason) ? REASONS[reason]! : "stop";
  if (known !== "stop" && known !== "tool-calls") return { reason: known };
  if (seen.call) return { reason: "tool-calls" };
  if (seen.refusal) return { reason: "refusal" };
  return typeof stopReason === "string" ? { reason: "stop-sequence", stopSequence: stopReason } : { reason: "stop" };
}

const WIRE: Record<FinishReason, string> = {
  stop: "stop",
  "stop-sequence": "stop",
  pause: "stop",
  length: "length",
  "context-window": "length",
  "tool-calls": "stop",
  refusal: "content_filter",
};

export function encodeFinish(reason: FinishReason, calls: boolean): string {
  const wire = WIRE[reason];
  return calls && wire === "stop" ? "tool_calls" : wire;
}
