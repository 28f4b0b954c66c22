import type { ChatRequest, Message, Part, ThinkingPart, ToolResultPart } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { encodeContent, isInput, isSaid, isText } from "./content.ts";
import { ID } from "./id.ts";

/** Members of a message's extensions that speak of its parts (see `keep` in the decoder). */
interface Kept {
  phase: JsonObject;
  tool_call: JsonObject;
  /** Fields of the message itself. */
  fields: JsonObject;
}

export function encodeInput(messages: ChatRequest["messages"]): JsonObject[] {
  const custom = new Set<string>();
  for (const part of messages.flatMap((message) => message.content)) {
    if (part.type === "tool-call" && part.custom) custom.add(part.id);
  }
  return messages.flatMap((message) => {
    if (message.role === "assistant") return encodeAssistant(message);
    if (message.role === "user") return encodeUser(message, custom);
    const { fields } = kept(message);
    return { ...fields, role: "system", content: encodeContent(message.content.filter(isText).filter(isSaid)) };
  });
}

function kept({ extensions }: Message): Kept {
  const { phase, tool_call, ...fields } = extensions?.dialect === ID ? extensions.value : {};
  return { phase: isObject(phase) ? phase : {}, tool_call: isObject(tool_call) ? tool_call : {}, fields };
}

/** Outputs of tools, and items that only this dialect knows, are items of their own; the rest is one message. */
function encodeUser(message: Message, custom: ReadonlySet<string>): JsonObject[] {
  const { tool_call, fields } = kept(message);
  const items: JsonObject[] = [];
  const said: Part[] = [];
  for (const part of message.content) {
    if (part.type === "tool-result") {
      const type = custom.has(part.id) ? "custom_tool_call_output" : "function_call_output";
      items.push({ ...extra(tool_call, part.id), type, call_id: part.id, output: encodeOutput(part) });
    } else if (part.type === "opaque" && !isInput(part.kind)) {
      if (part.dialect === ID) items.push(part.value);
    } else if (part.type !== "text" || part.onlyFor === undefined || part.onlyFor === ID) said.push(part);
  }
  const content = encodeContent(said);
  if (content.length > 0) items.push({ ...fields, role: "user", content });
  return items;
}

function extra(calls: JsonObject, id: string): JsonObject {
  const more = calls[id];
  return isObject(more) ? more : {};
}

function encodeOutput({ content, isError }: ToolResultPart): string | JsonObject[] {
  const output = encodeContent(content);
  if (typeof output !== "string" && output.length === 0) return isError ? "Error:" : "";
  if (!isError) return output;
  if (typeof output === "string") return markError(output);
  const first = output.findIndex((chunk) => chunk.type === "input_text");
  if (first < 0) return [{ type: "input_text", text: "Error:" }, ...output];
  return output.map((chunk, i) => (i === first ? { ...chunk, text: markError(String(chunk.text)) } : chunk));
}

function markError(text: string): string {
  return text.startsWith("Error:") ? text : `Error: ${text}`;
}

function encodeAssistant(message: Message): JsonObject[] {
  const { phase, tool_call } = kept(message);
  const items: JsonObject[] = [];
  let texts = 0;
  for (const part of message.content) {
    if (part.type === "thinking") items.push(...encodeReasoning(part));
    else if (part.type === "text") {
      const said = phase[String(texts++)];
      // As a string: parts of type `output_text` are valid only with the id of a stored message [O-SPEC].
      if (isSaid(part))
        items.push({ role: "assistant", content: part.text, ...(typeof said === "string" && { phase: said }) });
    } else if (part.type === "refusal" && part.text !== "") {
      // As a string too: a part of type `refusal` stands in a stored message only [O-SPEC OutputMessage].
      items.push({ role: "assistant", content: part.text });
    } else if (part.type === "tool-call") {
      const { id, name } = part;
      items.push({
        ...extra(tool_call, id),
        ...(part.custom
          ? { type: "custom_tool_call", call_id: id, name, input: part.arguments }
          : { type: "function_call", call_id: id, name, arguments: part.arguments || "{}" }),
      });
    } else if (part.type === "opaque" && part.dialect === ID) items.push(part.value);
  }
  // "Item 'rs_…' of type 'reasoning' was provided without its required following item." [FX-P]
  while (items.at(-1)?.type === "reasoning") items.pop();
  return items;
}

/** Only what the API can verify: its own, encrypted. */
function encodeReasoning({ text, signature }: ThinkingPart): JsonObject[] {
  if (signature?.origin !== ID || signature.data === "") return [];
  const summary = text === "" ? [] : [{ type: "summary_text", text }];
  const id = signature.kind === undefined ? {} : { id: signature.kind };
  return [{ type: "reasoning", ...id, summary, encrypted_content: signature.data }];
}
