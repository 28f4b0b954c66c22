import { GatewayError } from "../../core/errors.ts";
import {
  type ChatRequest,
  EFFORTS,
  type Effort,
  type Message,
  type OutputFormat,
  type Reasoning,
  type TextPart,
  type ToolChoice,
} from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { decodeBlock, decodeText, encodeParts, encodeText, plainText } from "./blocks.ts";
import * as check from "./check.ts";
import { isEmpty, item, maybe, need, others, present, refuse } from "./check.ts";
import { ID } from "./id.ts";
import { decodeTool, encodeTool } from "./tools.ts";

/** Written when neither the caller nor the target's capabilities bound the answer: the field is required. */
const DEFAULT_MAX_TOKENS = 4096;

/** Claude Code's first system block differs per conversation, which would spoil the prompt cache of anyone else. */
const BILLING_LINE = "x-anthropic-billing-header:";

const FIELDS = new Set([
  "model",
  "system",
  "messages",
  "tools",
  "tool_choice",
  "max_tokens",
  "temperature",
  "top_p",
  "top_k",
  "stop_sequences",
  "thinking",
  "output_config",
  "output_format",
  "stream",
  "service_tier",
  "metadata",
]);
const OUTPUT_FIELDS = new Set(["effort", "format"]);
const METADATA_FIELDS = new Set(["user_id"]);
const MESSAGE_FIELDS = new Set(["role", "content"]);
const TOOL_CHOICE_FIELDS = new Set(["type", "name", "disable_parallel_tool_use"]);
const THINKING_FIELDS = new Set(["type", "budget_tokens", "display"]);

const ROLES = check.oneOf("user", "assistant", "system");
const ONLY_TEXT = check.oneOf("text");
const CHOICES = check.oneOf("auto", "any", "tool", "none");

/** What a token count may be asked about. */
const COUNT_FIELDS = [
  "model",
  "messages",
  "system",
  "tools",
  "tool_choice",
  "thinking",
  "output_config",
  "cache_control",
  "speed",
  "context_management",
  "mcp_servers",
  "compaction",
];

export function decodeRequest(body: unknown): ChatRequest {
  const request = decodeCountRequest(body);
  request.maxTokens = need(body as JsonObject, "max_tokens", "", check.count);
  return request;
}

/** The same fields; only that nothing bounds an answer that is never written. */
export function decodeCountRequest(body: unknown): ChatRequest {
  if (!isObject(body)) throw new GatewayError("invalid_request", "The request body must be a JSON object");
  const kept = others(body, FIELDS);
  const output = maybe(body, "output_config", "", check.object);
  const keptOutput = output && others(output, OUTPUT_FIELDS);
  const choice = maybe(body, "tool_choice", "", check.object);
  const metadata = maybe(body, "metadata", "", check.object);
  const userId = metadata && maybe(metadata, "user_id", "metadata", check.string);
  const request: ChatRequest = present({
    model: need(body, "model", "", check.filled),
    system: decodeSystem(body),
    messages: need(body, "messages", "", check.list).map((message, i) => decodeMessage(message, `messages.${i}`)),
    tools: (maybe(body, "tools", "", check.list) ?? []).map((tool, i) => decodeTool(tool, `tools.${i}`)),
    toolChoice: choice && decodeToolChoice(choice),
    parallelToolCalls: choice && decodeParallel(choice),
    maxTokens: maybe(body, "max_tokens", "", check.count),
    temperature: maybe(body, "temperature", "", check.number),
    topP: maybe(body, "top_p", "", check.number),
    topK: maybe(body, "top_k", "", check.number),
    stop: maybe(body, "stop_sequences", "", check.strings),
    reasoning: decodeReasoning(body, output && decodeEffort(output, keptOutput!), kept),
    outputFormat:
      (output && decodeFormat(output, "format", "output_config", keptOutput!)) ??
      decodeFormat(body, "output_format", "", kept),
    stream: maybe(body, "stream", "", check.flag) ?? false,
    serviceTier: maybe(body, "service_tier", "", check.string),
    userId,
    sessionId: sessionOf(userId),
  });
  if (request.messages.length === 0) throw refuse("messages", "must not be empty");
  keep(kept, "output_config", keptOutput);
  keep(kept, "metadata", metadata && others(metadata, METADATA_FIELDS));
  keep(kept, "tool_choice", choice && others(choice, TOOL_CHOICE_FIELDS));
  if (!isEmpty(kept)) request.extensions = { dialect: ID, value: kept };
  return request;
}

function keep(kept: JsonObject, field: string, members: JsonObject | undefined): void {
  if (members && !isEmpty(members)) kept[field] = members;
}

/** @param model the upstream's name */
export function encodeRequest(request: ChatRequest, model: string): JsonObject {
  const { thinking, output_config, metadata, tool_choice, ...kept } = own(request.extensions);
  const output = { ...part(output_config), ...encodeOutput(request) };
  const user = request.userId === undefined ? part(metadata) : { ...part(metadata), user_id: request.userId };
  const system = request.system.map(encodeText).filter(isObject);
  const tools = request.tools.map(encodeTool).filter(isObject);
  // The API refuses sequences of nothing but white space.
  const stop = request.stop?.filter((sequence) => sequence.trim() !== "");
  const known = present({
    model,
    max_tokens: request.maxTokens ?? DEFAULT_MAX_TOKENS,
    system: system.length === 0 ? undefined : (plainText(system) ?? system),
    messages: encodeMessages(request.messages),
    tools: tools.length === 0 ? undefined : tools,
    tool_choice: tools.length === 0 ? undefined : encodeToolChoice(request, part(tool_choice)),
    temperature: request.temperature,
    top_p: request.topP,
    top_k: request.topK,
    stop_sequences: stop?.length ? stop : undefined,
    thinking: encodeThinking(request.reasoning, part(thinking)),
    output_config: isEmpty(output) ? undefined : output,
    metadata: isEmpty(user) ? undefined : user,
    service_tier: request.serviceTier,
    stream: request.stream || undefined,
  });
  return isEmpty(kept) ? known : { ...kept, ...known };
}

function encodeOutput({ reasoning, outputFormat }: ChatRequest): JsonObject {
  const output: JsonObject = {};
  if (reasoning?.effort) output.effort = reasoning.effort;
  if (outputFormat?.type === "json-schema") output.format = { type: "json_schema", schema: outputFormat.schema };
  return output;
}

export function encodeCountRequest(request: ChatRequest, model: string): JsonObject {
  const body = encodeRequest(request, model);
  return present(Object.fromEntries(COUNT_FIELDS.map((field) => [field, body[field]])));
}

function own(extensions: { dialect: string; value: JsonObject } | undefined): JsonObject {
  return extensions?.dialect === ID ? extensions.value : {};
}

const part = (value: unknown): JsonObject => (isObject(value) ? value : {});

function decodeSystem(body: JsonObject): TextPart[] {
  const { system } = body;
  if (system === undefined || system === null || system === "") return [];
  if (typeof system === "string") return [markBilling({ type: "text", text: system })];
  if (!Array.isArray(system)) throw refuse("system", "must be a string or an array of text blocks");
  return system.map((value, i) => {
    const block = item(value, `system.${i}`, check.object);
    need(block, "type", `system.${i}`, ONLY_TEXT);
    return markBilling(decodeText(block, `system.${i}`));
  });
}

function markBilling(text: TextPart): TextPart {
  return text.text.startsWith(BILLING_LINE) ? { ...text, onlyFor: ID } : text;
}

function decodeMessage(value: unknown, path: string): Message {
  const message = item(value, path, check.object);
  const role = need(message, "role", path, ROLES);
  const kept = others(message, MESSAGE_FIELDS);
  const { content } = message;
  if (typeof content !== "string" && !Array.isArray(content)) {
    throw refuse(`${path}.content`, "is required and must be a string or an array of content blocks");
  }
  const parts = Array.isArray(content)
    ? content.map((block, i) => decodeBlock(block, `${path}.content.${i}`, kept))
    : [{ type: "text" as const, text: content }];
  return isEmpty(kept) ? { role, content: parts } : { role, content: parts, extensions: { dialect: ID, value: kept } };
}

/** Turns of one role in a row become one; a message with fields of its own stays alone. */
function encodeMessages(messages: readonly Message[]): JsonObject[] {
  const turns: { role: string; content: JsonObject[]; fields: JsonObject }[] = [];
  for (const message of messages) {
    const { tool_use: _, ...fields } = own(message.extensions);
    const content = encodeParts(message.content, own(message.extensions));
    if (content.length === 0) continue;
    const last = turns.at(-1);
    if (last?.role === message.role && isEmpty(last.fields) && isEmpty(fields)) last.content.push(...content);
    else turns.push({ role: message.role, content, fields });
  }
  return turns.map(({ role, content, fields }) => ({
    ...fields,
    role,
    content: plainText(content) ?? (role === "user" ? resultsFirst(content) : content),
  }));
}

function resultsFirst(blocks: JsonObject[]): JsonObject[] {
  const isResult = (block: JsonObject) => block.type === "tool_result";
  return blocks.some(isResult) ? [...blocks.filter(isResult), ...blocks.filter((block) => !isResult(block))] : blocks;
}

function decodeToolChoice(choice: JsonObject): ToolChoice {
  const type = need(choice, "type", "tool_choice", CHOICES);
  if (type === "tool") return { type, name: need(choice, "name", "tool_choice", check.filled) };
  return { type: type === "any" ? "required" : type };
}

function decodeParallel(choice: JsonObject): boolean | undefined {
  const disabled = maybe(choice, "disable_parallel_tool_use", "tool_choice", check.flag);
  return disabled === undefined ? undefined : !disabled;
}

function encodeToolChoice({ toolChoice, parallelToolCalls }: ChatRequest, kept: JsonObject): JsonObject | undefined {
  const single = parallelToolCalls === false;
  if (!toolChoice && !single) return undefined;
  const choice = toolChoice ?? { type: "auto" };
  if (choice.type === "none") return { type: "none" };
  const wire = choice.type === "required" ? { type: "any" } : choice;
  return { ...kept, ...wire, ...(single && { disable_parallel_tool_use: true }) };
}

function decodeEffort(output: JsonObject, keptOutput: JsonObject): Effort | undefined {
  const effort = maybe(output, "effort", "output_config", check.string);
  if (effort === undefined || EFFORTS.includes(effort as Effort)) return effort as Effort | undefined;
  keptOutput.effort = effort;
  return undefined;
}

/** What the intent cannot hold (`between_tools`, `updates`, new fields and types) goes to `kept.thinking`. */
function decodeReasoning(body: JsonObject, effort: Effort | undefined, kept: JsonObject): Reasoning | undefined {
  const thinking = maybe(body, "thinking", "", check.object);
  const onlyEffort: Reasoning | undefined = effort && { mode: "default", effort };
  if (!thinking) return onlyEffort;
  const more = others(thinking, THINKING_FIELDS);
  const display = maybe(thinking, "display", "thinking", check.string);
  if (display !== undefined && display !== "omitted" && display !== "summarized") more.display = display;
  const show = display === "omitted" ? false : display === "summarized" || display === "updates" ? true : undefined;
  let reasoning: Reasoning | undefined;
  const type = need(thinking, "type", "thinking", check.string);
  switch (type) {
    case "between_tools":
      more.type = type;
      reasoning = { mode: "off", effort, show };
      break;
    case "disabled":
      reasoning = { mode: "off", effort, show };
      break;
    case "adaptive":
      // The documented default.
      reasoning = { mode: "auto", effort: effort ?? "high", show };
      break;
    case "enabled":
      // Without an effort from the caller, `fit` makes one from the budget where the target takes no budgets.
      reasoning = { mode: "on", effort, budget: need(thinking, "budget_tokens", "thinking", check.count), show };
      break;
    default:
      Object.assign(more, thinking);
      reasoning = onlyEffort;
  }
  if (!isEmpty(more)) kept.thinking = more;
  return reasoning && present(reasoning);
}

function encodeThinking(reasoning: Reasoning | undefined, kept: JsonObject): JsonObject | undefined {
  const known = reasoning && reasoning.mode !== "default";
  if (!known) return kept.type === undefined || kept.type === "between_tools" ? undefined : kept;
  const { type, display, ...more } = kept;
  if (reasoning.mode === "off") return { ...more, type: type === "between_tools" ? type : "disabled" };
  const manual = reasoning.mode === "on" && reasoning.budget !== undefined;
  const shown = reasoning.show ? (display ?? "summarized") : reasoning.show === false ? "omitted" : display;
  return {
    ...more,
    ...(manual ? { type: "enabled", budget_tokens: reasoning.budget } : { type: "adaptive" }),
    ...(shown !== undefined && { display: shown }),
  };
}

function decodeFormat(from: JsonObject, key: string, path: string, kept: JsonObject): OutputFormat | undefined {
  const format = maybe(from, key, path, check.object);
  if (!format) return undefined;
  if (format.type === "json_schema") {
    const schema = need(format, "schema", path === "" ? key : `${path}.${key}`, check.object);
    // Here a schema is always held to.
    return { type: "json-schema", schema, strict: true };
  }
  kept[key] = format;
  return undefined;
}

/** Claude Code's user id is a JSON text that names the session. */
function sessionOf(userId: string | undefined): string | undefined {
  if (!userId?.startsWith("{")) return undefined;
  try {
    const session: unknown = JSON.parse(userId).session_id;
    return typeof session === "string" && session !== "" ? session : undefined;
  } catch {
    return undefined;
  }
}
