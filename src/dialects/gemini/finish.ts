import type { FinishReason } from "../../core/request.ts";

const REFUSED = ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"];
const REFUSED_IMAGES = ["IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"];

const REASONS = new Map<unknown, FinishReason>([
  ["MAX_TOKENS", "length"],
  ["CONTINUATION", "pause"],
  ...[...REFUSED, ...REFUSED_IMAGES].map((reason) => [reason, "refusal"] as const),
]);

/** The model wrote something that is no answer: another try may help. */
export const FAILED: ReadonlySet<unknown> = new Set([
  "MALFORMED_FUNCTION_CALL",
  "MALFORMED_RESPONSE",
  "UNEXPECTED_TOOL_CALL",
]);

/** The wire says STOP for tool calls too. */
export function decodeFinish(reason: unknown, called: boolean): FinishReason {
  return REASONS.get(reason) ?? (called ? "tool-calls" : "stop");
}

const WIRE: Record<FinishReason, string> = {
  stop: "STOP",
  "stop-sequence": "STOP",
  "tool-calls": "STOP",
  length: "MAX_TOKENS",
  "context-window": "MAX_TOKENS",
  refusal: "SAFETY",
  pause: "CONTINUATION",
};

export const encodeFinish = (reason: FinishReason): string => WIRE[reason];
