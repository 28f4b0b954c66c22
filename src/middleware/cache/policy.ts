import type { RequestBody } from "../../core/body.ts";
import type { ChatRequest, ChatResponse, Choice, Part } from "../../core/request.ts";

export interface PolicyOptions {
  /** Highest temperature whose answers are kept. */
  temperature: number | "any";
  toolCalls: boolean;
}

/** What the caller's `cache-control` allows. */
export interface CacheControl {
  read: boolean;
  write: boolean;
  /** Oldest answer that is accepted. */
  maxAgeMs: number;
}

export function readCacheControl(header: string | undefined): CacheControl {
  const said = new Map(
    (header ?? "").split(",").map((part) => {
      const [name = "", value = ""] = part.split("=", 2).map((each) => each.trim().toLowerCase());
      return [name, value.replaceAll('"', "")] as const;
    }),
  );
  const noStore = said.has("no-store");
  const maxAge = said.get("max-age");
  // What cannot be read counts as stale [RFC 9111 §4.2.1].
  const seconds = maxAge === undefined ? Number.POSITIVE_INFINITY : /^\d+$/.test(maxAge) ? Number(maxAge) : 0;
  return { read: !noStore && !said.has("no-cache") && seconds > 0, write: !noStore, maxAgeMs: seconds * 1_000 };
}

/**
 * Tells without reading it that a request names no temperature, which is most of them: every dialect uses this word.
 */
export function namesTemperature(body: RequestBody, { temperature }: PolicyOptions): boolean {
  return temperature === "any" || body.mentions("temperature");
}

/** Whether two such requests may have one answer. */
export function mayShare(request: ChatRequest, { temperature }: PolicyOptions): boolean {
  // Who says no temperature gets the provider's, which is above 0.
  const isRepeatable = temperature === "any" || (request.temperature ?? Number.POSITIVE_INFINITY) <= temperature;
  // A search, a sandbox: the answer depends on more than the request.
  return isRepeatable && request.tools.every(({ type }) => type === "function" || type === "custom");
}

/** Whether an answer is worth giving to others: complete, no refusal, nothing that only its first caller can use. */
export function mayKeep({ choices }: ChatResponse, options: PolicyOptions): boolean {
  return choices.length > 0 && choices.every((choice) => isWhole(choice, options));
}

function isWhole({ finishReason, content }: Choice, { toolCalls }: PolicyOptions): boolean {
  const ended =
    finishReason === "stop" || finishReason === "stop-sequence" || (toolCalls && finishReason === "tool-calls");
  return ended && content.some(saysSomething) && content.every((part) => isPlain(part, toolCalls));
}

function isPlain({ type }: Part, toolCalls: boolean): boolean {
  return type === "text" || type === "thinking" || (toolCalls && type === "tool-call");
}

function saysSomething(part: Part): boolean {
  return part.type === "tool-call" || (part.type === "text" && part.text.trim() !== "");
}
