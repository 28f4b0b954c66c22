import { GatewayError } from "../../core/errors.ts";
import type { ChatResponse, Choice, Citations, FinishReason, Part, Source } from "../../core/request.ts";
import type { Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { defined } from "./check.ts";
import { decodeFailure } from "./errors.ts";
import { ID } from "./id.ts";
import { readReasoning } from "./thinking.ts";
import { decodeUsage } from "./usage.ts";

export const string = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

export const objects = (value: unknown): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

export function decodeResponse(body: unknown): ChatResponse {
  if (!isObject(body)) throw new GatewayError("upstream_invalid", "The upstream's answer is not an object");
  if (isObject(body.error)) throw decodeFailure(body);
  if (!Array.isArray(body.output)) throw new GatewayError("upstream_invalid", "The upstream's answer has no output");
  const output = objects(body.output);
  const content = output.flatMap(decodeItem);
  const logprobs = output.flatMap((item) => objects(item.content).flatMap((part) => objects(part.logprobs)));
  const choice: Choice = { content, finishReason: decodeFinish(body, seenIn(output)) };
  if (logprobs.length > 0) choice.logprobs = { content: logprobs };
  const serviceTier = string(body.service_tier);
  const usage = decodeUsage(body.usage);
  return { ...decodeHead(body), choices: [choice], ...defined({ usage, serviceTier }) };
}

export function decodeHead(body: JsonObject): { id?: string; model?: string; created?: number } {
  const created = Number.isSafeInteger(body.created_at) ? (body.created_at as number) : undefined;
  return defined({ id: string(body.id), model: string(body.model), created });
}

/** For a pass-through. */
export function usageOf(body: JsonObject): { usage?: Usage | undefined; model?: string | undefined } {
  return { usage: decodeUsage(body.usage), model: string(body.model) };
}

export function decodeItem(item: JsonObject): Part[] {
  if (item.type === "message") return objects(item.content).flatMap(decodeContent);
  if (item.type === "reasoning") return [readReasoning(textsOf(item), item.encrypted_content, item.id)];
  if (!isPlainCall(item)) return [{ type: "opaque", dialect: ID, kind: string(item.type) ?? "unknown", value: item }];
  const call = { type: "tool-call" as const, ...decodeCall(item), arguments: argumentsOf(item) };
  return [item.type === "custom_tool_call" ? { ...call, custom: true } : call];
}

function decodeContent(part: JsonObject): Part[] {
  if (part.type === "output_text") {
    const citations = decodeCitations(part.annotations);
    return [{ type: "text", text: string(part.text) ?? "", ...(citations && { citations }) }];
  }
  return part.type === "refusal" ? [{ type: "refusal", text: string(part.refusal) ?? "" }] : [];
}

/** Texts of a reasoning item: those of its summary, then those of its content. */
export function textsOf(item: JsonObject): string[] {
  return [...objects(item.summary), ...objects(item.content)].map(({ text }) => string(text) ?? "");
}

/**
 * A call that says no more than a name and arguments. One of a tool in a namespace, or made by the model's own program,
 * can only be told to a caller of this dialect, who has defined those.
 */
export function isPlainCall(item: JsonObject): boolean {
  if (item.type !== "function_call" && item.type !== "custom_tool_call") return false;
  const caller = isObject(item.caller) ? item.caller.type : "direct";
  return caller === "direct" && (item.namespace === undefined || item.namespace === null);
}

export function decodeCall(item: JsonObject): { id: string; name: string } {
  return { id: string(item.call_id) ?? string(item.id) ?? "", name: string(item.name) ?? "" };
}

export function argumentsOf(item: JsonObject): string {
  return string(item.type === "custom_tool_call" ? item.input : item.arguments) ?? "";
}

export function decodeCitations(annotations: unknown): Citations | undefined {
  const value = objects(annotations);
  if (value.length === 0) return undefined;
  const sources = value.flatMap((annotation) => decodeSource(annotation) ?? []);
  return { dialect: ID, value, ...(sources.length > 0 && { sources }) };
}

function decodeSource({ type, url, title, start_index, end_index }: JsonObject): Source | undefined {
  if (type !== "url_citation" || typeof url !== "string") return undefined;
  const at = (index: unknown) => (Number.isSafeInteger(index) ? (index as number) : undefined);
  return { url, ...defined({ title: string(title), start: at(start_index), end: at(end_index) }) };
}

/** What an answer holds that decides how it ended. */
export interface Seen {
  call: boolean;
  refusal: boolean;
}

export function seenIn(output: readonly JsonObject[]): Seen {
  return {
    call: output.some(({ type }) => type === "function_call" || type === "custom_tool_call"),
    refusal: output.some((item) => objects(item.content).some(({ type }) => type === "refusal")),
  };
}

export function decodeFinish({ status, incomplete_details }: JsonObject, seen: Seen): FinishReason {
  if (status === "incomplete") {
    const reason = isObject(incomplete_details) ? incomplete_details.reason : undefined;
    if (reason === "content_filter") return "refusal";
    // Other reasons (`max_messages`, `steered`) leave an answer that can be continued.
    return reason === "max_output_tokens" ? "length" : "pause";
  }
  if (seen.call) return "tool-calls";
  return seen.refusal ? "refusal" : "stop";
}
