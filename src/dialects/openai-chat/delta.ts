import { readThinking } from "../../core/thinking-envelope.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { referenceAnnotation } from "./annotations.ts";
import type { Blocks } from "./blocks.ts";
import { ID } from "./id.ts";
import { pieceText } from "./parts.ts";

/** Reads a `delta` or, if `whole`, a `message`, in any of the forms that servers have for it. */
export function readDelta(delta: JsonObject, target: Blocks, whole: boolean): void {
  const thoughts = objects(delta.thinking_blocks);
  if (!whole || thoughts.length === 0) target.add("thinking", reasoningText(delta));
  for (const block of thoughts) readThinkingBlock(block, target, whole);
  const { content, refusal } = delta;
  if (typeof content === "string") target.add("text", content);
  else if (Array.isArray(content)) for (const chunk of content) readChunk(chunk, target);
  if (typeof refusal === "string") target.add("refusal", refusal);
  const annotations = objects(delta.annotations);
  if (annotations.length > 0) target.cite(annotations);
  for (const call of objects(delta.tool_calls)) target.call(call);
  if (isObject(delta.function_call)) target.call({ index: 0, function: delta.function_call });
}

const NONE: readonly JsonObject[] = [];

/** Most chunks have no list at all. */
function objects(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : NONE;
}

function reasoningText({ reasoning_content, reasoning, reasoning_details }: JsonObject): string {
  if (typeof reasoning_content === "string" && reasoning_content !== "") return reasoning_content;
  if (typeof reasoning === "string" && reasoning !== "") return reasoning;
  let text = "";
  for (const detail of objects(reasoning_details)) {
    const piece = detail.text ?? detail.summary;
    if (typeof piece === "string") text += piece;
  }
  return text;
}

/** Blocks repeat, as a whole, the text that `reasoning_content` has told already. */
function readThinkingBlock(block: JsonObject, target: Blocks, whole: boolean): void {
  if (block.type === "redacted_thinking") {
    if (typeof block.data === "string") target.event({ type: "redacted-thinking", data: block.data });
    return;
  }
  const { text, signature } = readThinking(typeof block.thinking === "string" ? block.thinking : "", block.signature);
  if (text !== "" && !target.thinks()) target.add("thinking", text);
  if (whole || signature) target.seal(signature);
}

function readChunk(chunk: unknown, target: Blocks): void {
  if (typeof chunk === "string") target.add("text", chunk);
  if (!isObject(chunk)) return;
  if (chunk.type === "text") target.add("text", pieceText(chunk));
  else if (chunk.type === "refusal") target.add("refusal", pieceText(chunk.refusal));
  else if (chunk.type === "thinking") {
    const pieces = Array.isArray(chunk.thinking) ? chunk.thinking : [chunk.thinking];
    target.add("thinking", pieces.map(pieceText).join(""));
    if (typeof chunk.signature === "string" && chunk.signature !== "") target.seal(target.sign(chunk.signature));
  } else if (referenceAnnotation(chunk)) target.cite([referenceAnnotation(chunk)!]);
  else if (typeof chunk.type === "string") {
    target.event({ type: "opaque", part: { type: "opaque", dialect: ID, kind: chunk.type, value: chunk } });
  }
}
