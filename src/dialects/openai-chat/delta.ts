import type { Signature } from "../../core/request.ts";
import { readThinking } from "../../core/thinking-envelope.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { referenceAnnotation } from "./annotations.ts";
import type { Blocks } from "./blocks.ts";
import { ID } from "./id.ts";
import { pieceText } from "./parts.ts";

export interface DeltaOptions {
  at: { choice?: number };
  /** A whole message, not a piece of one. */
  whole: boolean;
  /** A signature that the server put on thinking of its own. */
  sign(data: string): Signature;
}

/** Reads a `delta` or a whole `message`, in any of the forms that servers have for it. */
export function readDelta(delta: JsonObject, target: Blocks, options: DeltaOptions): void {
  const thoughts = objects(delta.thinking_blocks);
  const reasoning = options.whole && thoughts.length > 0 ? "" : reasoningText(delta);
  target.add("thinking", reasoning);
  for (const block of thoughts) readThinkingBlock(block, target, options);
  if (typeof delta.content === "string") target.add("text", delta.content);
  else if (Array.isArray(delta.content)) for (const chunk of delta.content) readChunk(chunk, target, options);
  if (typeof delta.refusal === "string") target.add("refusal", delta.refusal);
  const annotations = objects(delta.annotations);
  if (annotations.length > 0) target.cite(annotations);
  for (const call of objects(delta.tool_calls)) target.call(call);
  if (isObject(delta.function_call)) target.call({ index: 0, function: delta.function_call });
}

function objects(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function reasoningText(delta: JsonObject): string {
  const direct = [delta.reasoning_content, delta.reasoning].find((value) => typeof value === "string" && value !== "");
  if (typeof direct === "string") return direct;
  return objects(delta.reasoning_details)
    .map((detail) => detail.text ?? detail.summary)
    .filter((text) => typeof text === "string")
    .join("");
}

/** Blocks repeat, as a whole, the text that `reasoning_content` has told already. */
function readThinkingBlock(block: JsonObject, target: Blocks, { whole, at }: DeltaOptions): void {
  if (block.type === "redacted_thinking") {
    if (typeof block.data === "string") target.event({ type: "redacted-thinking", data: block.data, ...at });
    return;
  }
  const { text, signature } = readThinking(typeof block.thinking === "string" ? block.thinking : "", block.signature);
  if (text !== "" && !target.thinks()) target.add("thinking", text);
  if (whole || signature) target.seal(signature);
}

function readChunk(chunk: unknown, target: Blocks, { at, sign }: DeltaOptions): void {
  if (typeof chunk === "string") target.add("text", chunk);
  if (!isObject(chunk)) return;
  if (chunk.type === "text") target.add("text", pieceText(chunk));
  else if (chunk.type === "refusal") target.add("refusal", pieceText(chunk.refusal));
  else if (chunk.type === "thinking") {
    const pieces = Array.isArray(chunk.thinking) ? chunk.thinking : [chunk.thinking];
    target.add("thinking", pieces.map(pieceText).join(""));
    if (typeof chunk.signature === "string" && chunk.signature !== "") target.seal(sign(chunk.signature));
  } else if (referenceAnnotation(chunk)) target.cite([referenceAnnotation(chunk)!]);
  else if (typeof chunk.type === "string") {
    const part = { type: "opaque" as const, dialect: ID, kind: chunk.type, value: chunk };
    target.event({ type: "opaque", part, ...at });
  }
}
