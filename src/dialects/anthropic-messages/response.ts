import type { CallerContext } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import type { ChatResponse, FinishReason, Part, Signature } from "../../core/request.ts";
import { encodeSignature, readThinking } from "../../core/thinking-envelope.ts";
import { tokenCount, type Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { toolId, toolInput } from "./blocks.ts";
import { citationsOf, encodeCitations } from "./citations.ts";
import { decodeError } from "./errors.ts";
import { ID } from "./id.ts";

export function decodeResponse(body: unknown): ChatResponse {
  if (isObject(body) && body.type === "error") throw decodeError(undefined, body);
  if (!isObject(body) || !Array.isArray(body.content)) {
    throw new GatewayError("upstream_invalid", "The upstream's answer is not a message");
  }
  const content = body.content.flatMap((block) => (isObject(block) ? decodeBlock(block) : []));
  const explanation = refusalText(body.stop_details);
  if (explanation !== undefined && !content.some((part) => part.type === "text")) {
    content.push({ type: "refusal", text: explanation });
  }
  const usage = isObject(body.usage) ? body.usage : {};
  return {
    id: text(body.id),
    model: text(body.model),
    choices: [{ content, finishReason: decodeStop(body.stop_reason), stopSequence: text(body.stop_sequence) }],
    usage: toUsage(readUsage({}, usage)),
    serviceTier: text(usage.service_tier),
  };
}

function decodeBlock(block: JsonObject): Part | Part[] {
  switch (block.type) {
    case "text":
      if (typeof block.text !== "string") return [];
      return { type: "text", text: block.text, citations: citationsOf(block.citations) };
    case "thinking":
      return readThinking(text(block.thinking) ?? "", block.signature);
    case "redacted_thinking":
      return { type: "thinking", text: "", redacted: text(block.data) ?? "" };
    case "tool_use":
      return {
        type: "tool-call",
        id: text(block.id) ?? "",
        name: text(block.name) ?? "",
        arguments: isObject(block.input) ? JSON.stringify(block.input) : (text(block.input) ?? ""),
      };
    default:
      return { type: "opaque", dialect: ID, kind: text(block.type) ?? "unknown", value: block };
  }
}

export function encodeResponse({ choices, usage, serviceTier }: ChatResponse, context: CallerContext): JsonObject {
  const { content, finishReason: reason, stopSequence } = choices[0] ?? { content: [], finishReason: "stop" };
  const blocks: JsonObject[] = [];
  let refused = "";
  let called = false;
  let index = 0;
  for (const part of withoutTail(content)) {
    if (part.type === "refusal") refused += part.text;
    else if (part.type === "tool-call") called = true;
    const block = encodeBlock(part, index++, context);
    if (block) blocks.push(block);
  }
  const { stop_reason, stop_sequence, stop_details } = encodeStop({ reason, stopSequence, called, refused });
  const counts = encodeUsage(usage, context);
  if (serviceTier !== undefined && TIERS.has(serviceTier)) counts.service_tier = serviceTier;
  return { ...messageHead(context), content: blocks, stop_reason, stop_sequence, stop_details, usage: counts };
}

const TIERS: ReadonlySet<string> = new Set(["standard", "priority", "batch"]);

/** A foreign signature without thinking is no last block: clients take that one for the answer. */
function withoutTail(content: readonly Part[]): readonly Part[] {
  const last = content.at(-1);
  const tail = last?.type === "thinking" && last.text === "" && isForeign(last.signature);
  return tail && content.length > 1 ? withoutTail(content.slice(0, -1)) : content;
}

export const isForeign = (signature: Signature | undefined): boolean =>
  signature !== undefined && signature.origin !== ID;

function encodeBlock(part: Part, index: number, context: CallerContext): JsonObject | undefined {
  switch (part.type) {
    case "text": {
      if (part.text === "") return undefined;
      const citations = encodeCitations(part.text, part.citations);
      return citations ? { type: "text", text: part.text, citations } : { type: "text", text: part.text };
    }
    case "refusal":
      return part.text === "" ? undefined : { type: "text", text: part.text };
    case "thinking": {
      if (part.redacted !== undefined) return { type: "redacted_thinking", data: part.redacted };
      const [shown, hidden] = context.showThinking ? [part.text, ""] : ["", part.text];
      return { type: "thinking", thinking: shown, signature: encodeSignature(part.signature, hidden) };
    }
    case "tool-call":
      return {
        type: "tool_use",
        id: answerToolId(part.id, index, context),
        name: part.name,
        // A custom tool is a function of `{ input }` here (wire.md §9.6).
        input: part.custom ? { input: part.arguments } : toolInput(part.arguments),
      };
    case "opaque":
      return part.dialect === ID ? part.value : undefined;
    default:
      return undefined;
  }
}

export function usageOf(body: JsonObject): { usage?: Usage | undefined; model?: string | undefined } {
  return {
    usage: isObject(body.usage) ? toUsage(readUsage({}, body.usage)) : undefined,
    model: text(body.model),
  };
}

/** What a message says of itself before its content. */
export function messageHead(context: CallerContext): JsonObject {
  return { id: `msg_${context.id}`, type: "message", role: "assistant", model: context.model };
}

export function answerToolId(id: string, index: number, context: CallerContext): string {
  return id === "" ? `toolu_${context.id}_${index}` : toolId(id);
}

export const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** Why a message was refused, in words. */
export function refusalText(details: unknown): string | undefined {
  return isObject(details) && details.type === "refusal" && details.explanation !== ""
    ? text(details.explanation)
    : undefined;
}

const FINISH_OF_STOP = new Map<unknown, FinishReason>(
  Object.entries({
    end_turn: "stop",
    stop_sequence: "stop-sequence",
    max_tokens: "length",
    model_context_window_exceeded: "context-window",
    tool_use: "tool-calls",
    refusal: "refusal",
    pause_turn: "pause",
    // The caller asked for a stop after the summary: it goes on with the next request.
    compaction: "pause",
  } as const),
);

export function decodeStop(reason: unknown): FinishReason {
  return FINISH_OF_STOP.get(reason) ?? "stop";
}

const STOP_OF_FINISH: Record<FinishReason, string> = {
  stop: "end_turn",
  "stop-sequence": "stop_sequence",
  length: "max_tokens",
  "context-window": "model_context_window_exceeded",
  "tool-calls": "end_turn",
  refusal: "refusal",
  pause: "pause_turn",
};

/** What decides how an answer ended: not the finish reason alone. */
export interface Ending {
  reason: FinishReason;
  stopSequence?: string | undefined;
  /** Whether there is a tool call: callers run it only at `tool_use`, whatever the upstream said. */
  called: boolean;
  /** Text of the refusal, or empty. */
  refused: string;
}

export function encodeStop({ reason, stopSequence, called, refused }: Ending): JsonObject {
  const cut = reason === "length" || reason === "context-window";
  if (!cut && (reason === "refusal" || refused !== "")) {
    const stop_details = { type: "refusal", category: null, explanation: refused === "" ? null : refused };
    return { stop_reason: "refusal", stop_sequence: null, stop_details };
  }
  const stop_reason = called && !cut ? "tool_use" : STOP_OF_FINISH[reason];
  const stop_sequence = stop_reason === "stop_sequence" ? (stopSequence ?? null) : null;
  return { stop_reason, stop_sequence, stop_details: null };
}

/** Counters as they came, of one message. */
export interface Counters {
  input?: number;
  cacheRead?: number;
  cacheWrite?: number;
  output?: number;
  reasoning?: number;
}

/** Adds what `usage` tells: later values win, nulls say nothing. */
export function readUsage(counters: Counters, usage: unknown): Counters {
  if (!isObject(usage)) return counters;
  const details = isObject(usage.output_tokens_details) ? usage.output_tokens_details : undefined;
  const input = tokenCount(usage.input_tokens);
  const cacheRead = tokenCount(usage.cache_read_input_tokens);
  const cacheWrite = tokenCount(usage.cache_creation_input_tokens);
  const output = tokenCount(usage.output_tokens);
  const reasoning = tokenCount(details?.thinking_tokens);
  const told = { ...counters };
  if (input !== undefined) told.input = input;
  if (cacheRead !== undefined) told.cacheRead = cacheRead;
  if (cacheWrite !== undefined) told.cacheWrite = cacheWrite;
  if (output !== undefined) told.output = output;
  if (reasoning !== undefined) told.reasoning = reasoning;
  return told;
}

/** Anthropic counts input three times apart; the canonical input is all of it. */
export function toUsage({ input, cacheRead = 0, cacheWrite = 0, output, reasoning }: Counters): Usage | undefined {
  if (input === undefined && output === undefined) return undefined;
  const usage: Usage = {
    inputTokens: (input ?? 0) + cacheRead + cacheWrite,
    cacheReadTokens: cacheRead,
    cacheWriteTokens: cacheWrite,
    outputTokens: output ?? 0,
  };
  if (reasoning !== undefined) usage.reasoningTokens = reasoning;
  // Not told (yet).
  if (output === undefined) usage.estimated = true;
  return usage;
}

export function encodeUsage(usage: Usage | undefined, context: CallerContext): JsonObject {
  const { inputTokens, cacheReadTokens, cacheWriteTokens, outputTokens, reasoningTokens } = usage ?? {
    inputTokens: context.inputTokens,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    outputTokens: 0,
  };
  const counts: JsonObject = {
    input_tokens: Math.max(0, inputTokens - cacheReadTokens - cacheWriteTokens),
    cache_creation_input_tokens: cacheWriteTokens,
    cache_read_input_tokens: cacheReadTokens,
    output_tokens: outputTokens,
  };
  if (reasoningTokens !== undefined) counts.output_tokens_details = { thinking_tokens: reasoningTokens };
  // Who asked for a search reads how often it was made; no other dialect tells.
  if (asksForSearch(context)) counts.server_tool_use = { web_search_requests: 0, web_fetch_requests: 0 };
  return counts;
}

function asksForSearch({ request }: CallerContext): boolean {
  const tools = request?.mentions?.(SEARCH) === false ? undefined : request?.member("tools");
  return Array.isArray(tools) && tools.some((tool) => isObject(tool) && String(tool.type).startsWith(SEARCH));
}

/** Begins the type of a search tool, which has a date at its end. */
const SEARCH = "web_search_";
