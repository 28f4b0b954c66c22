import type { ChatRequest, Message, Part, ToolCallPart, ToolResultPart } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import { ID } from "./id.ts";
import { encodeContent, encodePart, isText } from "./parts.ts";
import type { ResolvedStyle } from "./style.ts";

export function encodeMessages(request: ChatRequest, model: string, style: ResolvedStyle): JsonObject[] {
  const role = typeof style.systemRole === "function" ? style.systemRole(model) : style.systemRole;
  const names = callNames(request.messages);
  const system = request.system.map((part) => part.text).filter((text) => text !== "");
  const messages: JsonObject[] = system.length === 0 ? [] : [{ role, content: system.join("\n\n") }];
  for (const message of request.messages) {
    if (message.role === "assistant") messages.push(encodeAssistant(message, style));
    else if (message.role === "user") messages.push(...encodeUser(message, names, style));
    else messages.push({ ...common(message, style), role, content: texts(message.content).join("\n\n") });
  }
  const last = messages.at(-1);
  if (style.prefix && last?.role === "assistant") last.prefix = true;
  return messages;
}

function common(message: Message, style: ResolvedStyle): JsonObject {
  return {
    ...(style.restoreExtensions && message.extensions?.dialect === ID && message.extensions.value),
    ...(style.names && message.name !== undefined && { name: message.name }),
  };
}

function texts(parts: readonly Part[]): string[] {
  return parts.filter(isText).map((part) => part.text);
}

function callNames(messages: readonly Message[]): Map<string, string> {
  const calls = messages.flatMap((message) => message.content).filter((part) => part.type === "tool-call");
  return new Map(calls.map((call) => [call.id, call.name]));
}

/** Results first, as tool messages; then what they could not hold and the rest, as one user message. */
function encodeUser(message: Message, names: ReadonlyMap<string, string>, style: ResolvedStyle): JsonObject[] {
  const results = message.content.filter((part) => part.type === "tool-result");
  const others = message.content.filter((part) => part.type !== "tool-result");
  const attached = attachments(results, style);
  const tools = results.map((result) => {
    const name = names.get(result.id);
    return {
      role: "tool",
      tool_call_id: result.id,
      ...(style.toolName && name !== undefined && { name }),
      content: encodeContent(resultContent(result, attached, style), style),
    };
  });
  if (results.length > 0 && attached.length + others.length === 0) return tools;
  return [
    ...tools,
    { ...common(message, style), role: "user", content: encodeContent([...attached, ...others], style) },
  ];
}

function isAttachment(part: Part): boolean {
  return part.type === "image" || (part.type === "document" && part.source.kind !== "text");
}

/** Images and files of all results of a turn, where tool messages may hold text only. */
function attachments(results: readonly ToolResultPart[], style: ResolvedStyle): Part[] {
  return style.toolContent === "chunks" ? [] : results.flatMap((result) => result.content.filter(isAttachment));
}

function resultContent(result: ToolResultPart, attached: readonly Part[], style: ResolvedStyle): Part[] {
  const content: Part[] = result.content.map((part) => {
    if (!attached.includes(part)) return part;
    const alike = attached.filter((other) => other.type === part.type);
    return { type: "text", text: `[${part.type} ${alike.indexOf(part) + 1} of ${alike.length} attached below]` };
  });
  if (content.every((part) => isText(part) && part.text === ""))
    content.splice(0, Infinity, { type: "text", text: style.emptyToolResult });
  return result.isError ? markError(content) : content;
}

function markError(content: Part[]): Part[] {
  const first = content.findIndex(isText);
  if (first < 0) return [{ type: "text", text: "Error:" }, ...content];
  return content.map((part, i) =>
    i === first && isText(part) && !part.text.startsWith("Error:") ? { ...part, text: `Error: ${part.text}` } : part,
  );
}

function encodeAssistant(message: Message, style: ResolvedStyle): JsonObject {
  const calls = message.content.filter(isCall).map(encodeCall);
  const refusal = message.content.flatMap((part) => (part.type === "refusal" ? [part.text] : [])).join("");
  const thinking = message.content.flatMap((part) => (part.type === "thinking" ? [part.text] : [])).join("");
  const asField = style.refusal === "field" && refusal !== "";
  const content = assistantContent(message.content, style);
  return {
    ...common(message, style),
    role: "assistant",
    content: content === "" && (calls.length > 0 || asField) ? null : content,
    ...(asField && { refusal }),
    ...(style.thinking === "reasoning_content" && thinking !== "" && { reasoning_content: thinking }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}

/** One string where there is only text; chunks, in order, where there is more. */
function assistantContent(parts: readonly Part[], style: ResolvedStyle): string | JsonObject[] {
  const said = parts.filter((part) => !isCall(part) && !(part.type === "refusal" && style.refusal === "field"));
  const chunks = said.flatMap((part) => encodePart(part, style));
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
