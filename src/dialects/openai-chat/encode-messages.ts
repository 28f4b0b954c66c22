import type { ChatRequest, Message, Part, ToolCallPart, ToolResultPart } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import { ID } from "./id.ts";
import { encodeContent, encodePart, isText } from "./parts.ts";
import type { ResolvedStyle } from "./style.ts";

const NO_NAMES: ReadonlyMap<string, string> = new Map();

export function encodeMessages(request: ChatRequest, model: string, style: ResolvedStyle): JsonObject[] {
  const role = typeof style.systemRole === "function" ? style.systemRole(model) : style.systemRole;
  const names = style.toolName ? callNames(request.messages) : NO_NAMES;
  const system = request.system.map((part) => part.text).filter((text) => text !== "");
  const messages: JsonObject[] = system.length === 0 ? [] : [{ role, content: system.join("\n\n") }];
  for (const message of request.messages) {
    if (message.role === "assistant") messages.push(encodeAssistant(message, style));
    else if (message.role === "user") addUser(messages, message, names, style);
    else messages.push(encodeMessage(message, role, texts(message.content).join("\n\n"), style));
  }
  const last = messages.at(-1);
  if (style.prefix && last?.role === "assistant") last.prefix = true;
  return messages;
}

/** A message with what only this dialect knows of it. */
function encodeMessage(
  { extensions, name }: Message,
  role: string,
  content: unknown,
  style: ResolvedStyle,
): JsonObject {
  const own = style.restoreExtensions && extensions?.dialect === ID;
  const message: JsonObject = own ? { ...extensions.value, role, content } : { role, content };
  if (style.names && name !== undefined) message.name = name;
  return message;
}

function texts(parts: readonly Part[]): string[] {
  return parts.filter(isText).map((part) => part.text);
}

function callNames(messages: readonly Message[]): Map<string, string> {
  const names = new Map<string, string>();
  for (const { content } of messages) for (const part of content) if (isCall(part)) names.set(part.id, part.name);
  return names;
}

/** Results first, as tool messages; then what they could not hold and the rest, as one user message. */
function addUser(
  messages: JsonObject[],
  message: Message,
  names: ReadonlyMap<string, string>,
  style: ResolvedStyle,
): void {
  const results = message.content.filter(isResult);
  const attached = attachments(results, style);
  for (const result of results) {
    const tool: JsonObject = { role: "tool", tool_call_id: result.id };
    const name = names.get(result.id);
    if (name !== undefined) tool.name = name;
    tool.content = encodeContent(resultContent(result, attached, style), style);
    messages.push(tool);
  }
  const others = results.length === 0 ? message.content : message.content.filter((part) => !isResult(part));
  if (results.length > 0 && attached.length + others.length === 0) return;
  const content = attached.length === 0 ? others : [...attached, ...others];
  messages.push(encodeMessage(message, "user", encodeContent(content, style), style));
}

function isResult(part: Part): part is ToolResultPart {
  return part.type === "tool-result";
}

function isAttachment(part: Part): boolean {
  return part.type === "image" || (part.type === "document" && part.source.kind !== "text");
}

/** Images and files of all results of a turn, where tool messages may hold text only. */
function attachments(results: readonly ToolResultPart[], style: ResolvedStyle): Part[] {
  const found: Part[] = [];
  if (style.toolContent === "chunks") return found;
  for (const { content } of results) for (const part of content) if (isAttachment(part)) found.push(part);
  return found;
}

function resultContent(result: ToolResultPart, attached: readonly Part[], style: ResolvedStyle): Part[] {
  let content: Part[] = result.content;
  if (attached.length > 0)
    content = content.map((part) => (attached.includes(part) ? reference(part, attached) : part));
  if (content.every((part) => isText(part) && part.text === ""))
    content = [{ type: "text", text: style.emptyToolResult }];
  return result.isError ? markError(content) : content;
}

function reference(part: Part, attached: readonly Part[]): Part {
  const alike = attached.filter((other) => other.type === part.type);
  return { type: "text", text: `[${part.type} ${alike.indexOf(part) + 1} of ${alike.length} attached below]` };
}

function markError(content: Part[]): Part[] {
  const first = content.findIndex(isText);
  if (first < 0) return [{ type: "text", text: "Error:" }, ...content];
  return content.map((part, i) =>
    i === first && isText(part) && !part.text.startsWith("Error:") ? { ...part, text: `Error: ${part.text}` } : part,
  );
}

function encodeAssistant(message: Message, style: ResolvedStyle): JsonObject {
  const calls: JsonObject[] = [];
  let refusal = "";
  let thinking = "";
  for (const part of message.content) {
    if (part.type === "tool-call") calls.push(encodeCall(part));
    else if (part.type === "refusal") refusal += part.text;
    else if (part.type === "thinking") thinking += part.text;
  }
  const asField = style.refusal === "field" && refusal !== "";
  const content = assistantContent(message.content, style);
  const silent = content === "" && (calls.length > 0 || asField);
  const encoded = encodeMessage(message, "assistant", silent ? null : content, style);
  if (asField) encoded.refusal = refusal;
  if (style.thinking === "reasoning_content" && thinking !== "") encoded.reasoning_content = thinking;
  if (calls.length > 0) encoded.tool_calls = calls;
  return encoded;
}

/** One string where there is only text; chunks, in order, where there is more. */
function assistantContent(parts: readonly Part[], style: ResolvedStyle): string | JsonObject[] {
  const chunks: JsonObject[] = [];
  for (const part of parts) {
    if (isCall(part) || (part.type === "refusal" && style.refusal === "field")) continue;
    const chunk = encodePart(part, style);
    if (chunk) chunks.push(chunk);
  }
  return chunks.every((chunk) => chunk.type === "text") ? chunks.map((chunk) => chunk.text).join("") : chunks;
}

function isCall(part: Part): part is ToolCallPart {
  return part.type === "tool-call";
}

/** A call as it stands in a message. No arguments are written as `{}`: servers parse the text into their template. */
export function encodeCall(call: ToolCallPart): JsonObject {
  const { id, name } = call;
  return call.custom
    ? { id, type: "custom", custom: { name, input: call.arguments } }
    : { id, type: "function", function: { name, arguments: call.arguments || "{}" } };
}
