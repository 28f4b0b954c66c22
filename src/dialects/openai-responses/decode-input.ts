import type { Message, OpaquePart, Part, TextPart, ToolResultPart } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import { defined, filled, list, object, oneOf, optional, refuse, rest, text, unsupported } from "./check.ts";
import { decodeContent, isText } from "./content.ts";
import { ID } from "./id.ts";
import { readReasoning } from "./thinking.ts";

const ROLES = ["user", "assistant", "system", "developer"] as const;
const MESSAGE_FIELDS = new Set(["type", "role", "content", "id", "status", "phase"]);
const CALL_FIELDS = new Set(["type", "call_id", "name", "arguments", "input", "output", "id", "status", "created_by"]);

/**
 * `instructions` and leading instructions of `input` become `system`. Items of one model turn become one assistant
 * message, and consecutive outputs of tools one user message; what only this dialect knows stays in the turn where it
 * stands.
 */
export function decodeInput(body: JsonObject): { system: TextPart[]; messages: Message[] } {
  const instructions = optional(body.instructions, "instructions", text);
  const system: TextPart[] = instructions ? [{ type: "text", text: instructions }] : [];
  const messages: Message[] = [];
  /** May take further items. */
  let open: Message | undefined;

  function turn(role: "assistant" | "user"): Message {
    if (open?.role !== role) {
      open = { role, content: [] };
      messages.push(open);
    }
    return open;
  }

  function said(item: JsonObject, path: string): void {
    const role = oneOf(ROLES)(item.role, `${path}.role`);
    const content = decodeContent(item.content, `${path}.content`);
    if (role === "assistant") return addAnswer(turn(role), item, content, path);
    open = undefined;
    const extensions = rest(item, MESSAGE_FIELDS);
    const more = extensions && { extensions: { dialect: ID, value: extensions } };
    if (role === "user") messages.push({ role, content, ...more });
    else if (messages.length === 0) system.push(...instruction(content, path));
    else messages.push({ role: "system", content: instruction(content, path), ...more });
  }

  for (const [i, value] of decodeItems(body.input).entries()) {
    const path = `input.${i}`;
    const item = object(value, path);
    // A message may leave out its type, and a reference too.
    const type = optional(item.type, `${path}.type`, text) ?? (item.role === undefined ? "item_reference" : "message");
    switch (type) {
      case "message":
        said(item, path);
        break;
      case "reasoning":
        turn("assistant").content.push(decodeReasoning(item, path));
        break;
      case "function_call":
      case "custom_tool_call":
        addCall(turn("assistant"), item, path);
        break;
      case "function_call_output":
      case "custom_tool_call_output":
        addResult(turn("user"), item, path);
        break;
      case "item_reference":
        throw unsupported(path, type);
      default: {
        const part: OpaquePart = { type: "opaque", dialect: ID, kind: type, value: item };
        (open ?? turn("assistant")).content.push(part);
      }
    }
  }
  return { system, messages };
}

function decodeItems(input: unknown): unknown[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  if (!Array.isArray(input) || input.length === 0) throw refuse("input", "a string or a non-empty array of items");
  return input;
}

function instruction(content: Part[], path: string): TextPart[] {
  const wrong = content.findIndex((part) => !isText(part));
  if (wrong >= 0) throw refuse(`${path}.content.${wrong}.type`, "input_text");
  return content.filter(isText).filter((part) => part.text !== "");
}

/** The phase of a text is kept by its place among the texts of the turn. */
function addAnswer(message: Message, item: JsonObject, content: Part[], path: string): void {
  const phase = optional(item.phase, `${path}.phase`, text);
  for (const [i, part] of content.entries()) {
    if (part.type !== "text" && part.type !== "refusal") {
      throw refuse(`${path}.content.${i}.type`, "one of output_text, refusal");
    }
    if (part.text === "") continue;
    if (phase !== undefined) keep(message, "phase", String(message.content.filter(isText).length), phase);
    message.content.push(part);
  }
}

function decodeReasoning(item: JsonObject, path: string): Part {
  const texts = ["summary", "content"].flatMap((field) =>
    (optional(item[field], `${path}.${field}`, list) ?? []).map((value, i) => {
      const at = `${path}.${field}.${i}`;
      return text(object(value, at).text, `${at}.text`);
    }),
  );
  return readReasoning(texts, optional(item.encrypted_content, `${path}.encrypted_content`, text), item.id);
}

function addCall(message: Message, item: JsonObject, path: string): void {
  const id = filled(item.call_id, `${path}.call_id`);
  const name = filled(item.name, `${path}.name`);
  message.content.push(
    item.type === "custom_tool_call"
      ? { type: "tool-call", id, name, arguments: text(item.input, `${path}.input`), custom: true }
      : { type: "tool-call", id, name, arguments: text(item.arguments, `${path}.arguments`) },
  );
  keep(message, "tool_call", id, rest(item, CALL_FIELDS));
}

/** Results stand before whatever else is in their turn. */
function addResult(message: Message, item: JsonObject, path: string): void {
  const id = filled(item.call_id, `${path}.call_id`);
  const parts = decodeContent(item.output, `${path}.output`);
  const wrong = parts.findIndex((part) => !["text", "image", "document", "opaque"].includes(part.type));
  if (wrong >= 0) throw refuse(`${path}.output.${wrong}.type`, "one of input_text, input_image, input_file");
  const content = item.output === "" ? [] : (parts as ToolResultPart["content"]);
  const place = message.content.findLastIndex((part) => part.type === "tool-result") + 1;
  message.content.splice(place, 0, { type: "tool-result", id, content });
  keep(message, "tool_call", id, rest(item, CALL_FIELDS));
}

/** Remembers a fact about one part in the message's extensions: `{ [field]: { [key]: value } }`. */
function keep(message: Message, field: string, key: string, value: unknown): void {
  if (value === undefined) return;
  const kept = message.extensions?.value ?? {};
  const group = { ...(kept[field] as JsonObject | undefined), ...defined({ [key]: value }) };
  message.extensions = { dialect: ID, value: { ...kept, [field]: group } };
}
