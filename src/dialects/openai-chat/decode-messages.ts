import type { Message, Part, TextPart, ThinkingPart, ToolResultPart } from "../../core/request.ts";
import { readThinking } from "../../core/thinking-envelope.ts";
import type { JsonObject } from "../../core/util.ts";
import { filled, list, object, oneOf, optional, refuse, rest, text } from "./check.ts";
import { ID } from "./id.ts";
import { decodeContent, isText } from "./parts.ts";

const knownRole = oneOf(["system", "developer", "user", "assistant", "tool"]);

/** Fields that a message's decoder reads; any other is kept in the message's extensions. */
const COMMON = ["role", "content", "name"];
const FIELDS = {
  user: new Set(COMMON),
  system: new Set(COMMON),
  assistant: new Set([
    ...COMMON,
    ...["refusal", "tool_calls", "function_call", "thinking_blocks", "reasoning_content", "reasoning"],
  ]),
};

/** Leading instructions become `system`; consecutive tool messages become one user message of results. */
export function decodeMessages(value: unknown): { system: TextPart[]; messages: Message[] } {
  const items = list(value, "messages");
  if (items.length === 0) throw refuse("messages", "a non-empty array");
  const system: TextPart[] = [];
  const messages: Message[] = [];
  let results: Part[] | undefined;
  for (let i = 0; i < items.length; i++) {
    const path = `messages.${i}`;
    const message = object(items[i], path);
    const role = knownRole(message.role, `${path}.role`);
    if (role === "tool") {
      if (!results) {
        results = [];
        messages.push({ role: "user", content: results });
      }
      results.push(decodeToolResult(message, path));
      continue;
    }
    results = undefined;
    if (role === "assistant") messages.push(decodeAssistant(message, path));
    else if (role === "user")
      messages.push(withCommon("user", decodeContent(message.content, `${path}.content`), message, path));
    else if (messages.length === 0) system.push(...decodeSystem(message, path));
    else messages.push(withCommon("system", decodeSystem(message, path), message, path));
  }
  return { system, messages };
}

function withCommon(role: Message["role"], content: Part[], message: JsonObject, path: string): Message {
  const name = optional(message.name, `${path}.name`, text);
  const extensions = rest(message, FIELDS[role]);
  return { role, content, name, extensions: extensions && { dialect: ID, value: extensions } };
}

function decodeSystem(message: JsonObject, path: string): TextPart[] {
  const parts = decodeContent(message.content, `${path}.content`);
  const wrong = parts.findIndex((part) => !isText(part));
  if (wrong >= 0) throw refuse(`${path}.content.${wrong}.type`, "text");
  return parts.filter(isText).filter((part) => part.text !== "");
}

const RESULT_PARTS: ReadonlySet<string> = new Set(["text", "image", "document", "opaque"]);

function decodeToolResult(message: JsonObject, path: string): ToolResultPart {
  const id = filled(message.tool_call_id, `${path}.tool_call_id`);
  const parts = optional(message.content, `${path}.content`, decodeContent) ?? [];
  const wrong = parts.findIndex((part) => !RESULT_PARTS.has(part.type));
  if (wrong >= 0) throw refuse(`${path}.content.${wrong}.type`, "one of text, image_url, file");
  const content = parts as ToolResultPart["content"];
  const [only] = content;
  return {
    type: "tool-result",
    id,
    content: only?.type === "text" && content.length === 1 && only.text === "" ? [] : content,
  };
}

function decodeAssistant(message: JsonObject, path: string): Message {
  const refusal = optional(message.refusal, `${path}.refusal`, text);
  const said = optional(message.content, `${path}.content`, decodeContent) ?? [];
  const content: Part[] = decodeThinking(message, path);
  for (const part of said) if (!isText(part) || part.text !== "") content.push(part);
  if (refusal) content.push({ type: "refusal", text: refusal });
  content.push(...(optional(message.tool_calls, `${path}.tool_calls`, decodeCalls) ?? []));
  if (message.function_call !== undefined && message.function_call !== null) {
    throw refuse(`${path}.function_call`, "absent: use `tool_calls` and messages of role `tool`");
  }
  return withCommon("assistant", content, message, path);
}

/** Blocks with their signatures, if the client kept them; otherwise the text alone. */
function decodeThinking(message: JsonObject, path: string): ThinkingPart[] {
  const blocks = optional(message.thinking_blocks, `${path}.thinking_blocks`, list) ?? [];
  if (blocks.length > 0) return blocks.map((item, i) => decodeBlock(item, `${path}.thinking_blocks.${i}`));
  const key = typeof message.reasoning_content === "string" ? "reasoning_content" : "reasoning";
  const thought = optional(message[key], `${path}.${key}`, text);
  return thought ? [{ type: "thinking", text: thought }] : [];
}

const thinkingType = oneOf(["thinking", "redacted_thinking"]);

function decodeBlock(item: unknown, path: string): ThinkingPart {
  const block = object(item, path);
  if (thinkingType(block.type, `${path}.type`) === "redacted_thinking") {
    return { type: "thinking", text: "", redacted: text(block.data, `${path}.data`) };
  }
  return readThinking(text(block.thinking, `${path}.thinking`), optional(block.signature, `${path}.signature`, text));
}

function decodeCalls(value: unknown, path: string): Part[] {
  return list(value, path).map((item, i) => {
    const at = `${path}.${i}`;
    const call = object(item, at);
    if (call.type === "custom") return decodeCustomCall(call, at);
    const inner = object(call.function, `${at}.function`);
    return {
      type: "tool-call",
      id: filled(call.id, `${at}.id`),
      name: filled(inner.name, `${at}.function.name`),
      arguments: optional(inner.arguments, `${at}.function.arguments`, text) ?? "",
    };
  });
}

function decodeCustomCall(call: JsonObject, path: string): Part {
  const inner = object(call.custom, `${path}.custom`);
  return {
    type: "tool-call",
    id: filled(call.id, `${path}.id`),
    name: filled(inner.name, `${path}.custom.name`),
    arguments: optional(inner.input, `${path}.custom.input`, text) ?? "",
    custom: true,
  };
}
