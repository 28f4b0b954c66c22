import { createHash } from "node:crypto";
import { type ChatRequest, EFFORTS, type Effort, type OutputFormat, type Reasoning } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import {
  type Check,
  defined,
  filled,
  flag,
  integer,
  list,
  number,
  object,
  oneOf,
  optional,
  rest,
  text,
  unsupported,
} from "./check.ts";
import { isSaid } from "./content.ts";
import { decodeInput } from "./decode-input.ts";
import { encodeInput } from "./encode-input.ts";
import { ID } from "./id.ts";
import { decodeToolChoice, decodeTools, encodeTools } from "./tools.ts";

/** Fields that are the same on both sides but for their name. */
const FIELDS: readonly [wire: string, name: keyof ChatRequest, read: Check<unknown>][] = [
  ["temperature", "temperature", number],
  ["top_p", "topP", number],
  ["top_logprobs", "topLogprobs", integer(0)],
  ["service_tier", "serviceTier", text],
  ["metadata", "metadata", object],
];

/** Answered from what the upstream has stored: legal on a pass-through only. */
const STORED = ["previous_response_id", "conversation", "prompt"];

const KNOWN = new Set([
  ...FIELDS.map(([wire]) => wire),
  ...STORED,
  ...["model", "input", "instructions", "max_output_tokens", "stream", "background", "include", "text", "reasoning"],
  ...["tools", "tool_choice", "parallel_tool_calls", "user", "safety_identifier", "prompt_cache_key"],
]);

const LOGPROBS = "message.output_text.logprobs";
const ENCRYPTED = "reasoning.encrypted_content";

/** The API's own bound. */
const LONGEST_ID = 64;

/** What a token count may be asked about [O-SDK InputTokenCountParams]. */
const COUNT_FIELDS = [
  ...["model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls"],
  ...["reasoning", "text", "truncation", "personality"],
];

export function decodeRequest(value: unknown): ChatRequest {
  const body = object(value, "body");
  const read = <T>(field: string, check: Check<T>): T | undefined => optional(body[field], field, check);
  for (const field of STORED) if (body[field] !== undefined && body[field] !== null) throw unsupported(field);
  if (read("background", flag)) throw unsupported("background");
  const include = read("include", list) ?? [];
  const choice = read("tool_choice", decodeToolChoice);
  const kept: JsonObject = {
    ...rest(body, KNOWN),
    ...defined({
      tool_choice: choice?.kept,
      reasoning: keptReasoning(read("reasoning", object) ?? {}),
      text: keptText(read("text", object) ?? {}),
    }),
  };
  const others = include.filter((item) => item !== LOGPROBS);
  if (others.length > 0) kept.include = others;
  return {
    model: filled(body.model, "model"),
    ...decodeInput(body),
    tools: read("tools", decodeTools) ?? [],
    stream: read("stream", flag) ?? false,
    ...defined({
      toolChoice: choice?.choice,
      parallelToolCalls: read("parallel_tool_calls", flag),
      maxTokens: read("max_output_tokens", integer(1)),
      reasoning: read("reasoning", decodeReasoning),
      outputFormat: read("text", decodeFormat),
      logprobs: include.includes(LOGPROBS) || undefined,
      userId: read("safety_identifier", text) ?? read("user", text),
      sessionId: read("prompt_cache_key", text),
      ...Object.fromEntries(FIELDS.map(([wire, name, check]) => [name, read(wire, check)])),
    }),
    ...(Object.keys(kept).length > 0 && { extensions: { dialect: ID, value: kept } }),
  };
}

/** Without a store, unless the caller asked for one in this dialect. @param model the upstream's name */
export function encodeRequest(request: ChatRequest, model: string): JsonObject {
  const extensions = request.extensions?.dialect === ID ? request.extensions.value : {};
  const { tool_choice: _, include, reasoning, text, stream_options, ...unknown } = extensions;
  const instructions = request.system.filter(isSaid).map((part) => part.text);
  const format = request.outputFormat && { format: encodeFormat(request.outputFormat) };
  const thinks = request.reasoning !== undefined && request.reasoning.mode !== "off";
  const included = new Set(Array.isArray(include) ? include : []);
  if (thinks) included.add(ENCRYPTED);
  if (request.logprobs) included.add(LOGPROBS);
  return {
    store: false,
    ...unknown,
    model,
    ...(instructions.length > 0 && { instructions: instructions.join("\n\n") }),
    input: encodeInput(request.messages),
    ...encodeTools(request),
    ...filledObject("text", { ...(isObject(text) && text), ...format }),
    ...filledObject("reasoning", encodeReasoning(request.reasoning, isObject(reasoning) ? reasoning : {})),
    ...(included.size > 0 && { include: [...included] }),
    ...(request.maxTokens !== undefined && { max_output_tokens: request.maxTokens }),
    ...Object.fromEntries(
      FIELDS.filter(([, name]) => request[name] !== undefined).map(([wire, name]) => [wire, request[name]]),
    ),
    ...defined({ safety_identifier: bounded(request.userId), prompt_cache_key: bounded(request.sessionId) }),
    ...(request.stream && { stream: true, ...defined({ stream_options }) }),
  };
}

export function encodeCountRequest(request: ChatRequest, model: string): JsonObject {
  const body = encodeRequest(request, model);
  return defined(Object.fromEntries(COUNT_FIELDS.map((field) => [field, body[field]])));
}

function filledObject(field: string, value: JsonObject): JsonObject {
  return Object.keys(value).length === 0 ? {} : { [field]: value };
}

/** Ids of more than 64 characters are refused; a digest names the same thing. */
function bounded(id: string | undefined): string | undefined {
  return id === undefined || id.length <= LONGEST_ID ? id : createHash("sha256").update(id).digest("hex");
}

function decodeReasoning(value: unknown, path: string): Reasoning | undefined {
  const reasoning = object(value, path);
  const effort = optional(reasoning.effort, `${path}.effort`, oneOf<"none" | Effort>(["none", ...EFFORTS]));
  const summary = optional(reasoning.summary ?? reasoning.generate_summary, `${path}.summary`, text);
  const show = summary === undefined ? {} : { show: true };
  if (effort === "none") return { mode: "off", ...show };
  if (effort !== undefined) return { mode: "on", effort, ...show };
  return summary === undefined ? undefined : { mode: "default", ...show };
}

/** @param kept what the caller said beside the effort, in this dialect */
function encodeReasoning(reasoning: Reasoning | undefined, kept: JsonObject): JsonObject {
  const { summary, generate_summary: _, ...more } = kept;
  if (reasoning?.mode === "off") return { ...more, effort: "none" };
  return {
    ...more,
    ...(reasoning?.effort !== undefined && { effort: reasoning.effort }),
    ...(reasoning?.show && { summary: summary ?? "auto" }),
  };
}

/** What the effort and the wish to read do not already say. */
function keptReasoning(value: JsonObject): JsonObject | undefined {
  return rest(value, new Set(value.summary === "auto" ? ["effort", "summary"] : ["effort"]));
}

/** The verbosity, and a format that is not known here. */
function keptText(value: JsonObject): JsonObject | undefined {
  const known = ["text", "json_object", "json_schema"];
  const isKnown = !isObject(value.format) || known.includes(String(value.format.type));
  return rest(value, new Set(isKnown ? ["format"] : []));
}

function decodeFormat(value: unknown, path: string): OutputFormat | undefined {
  const format = optional(object(value, path).format, `${path}.format`, object);
  const at = `${path}.format`;
  const type = format && filled(format.type, `${at}.type`);
  if (type === "json_object") return { type: "json" };
  if (!format || type !== "json_schema") return undefined;
  return {
    type: "json-schema",
    schema: object(format.schema, `${at}.schema`),
    ...defined({
      name: optional(format.name, `${at}.name`, text),
      strict: optional(format.strict, `${at}.strict`, flag),
      description: optional(format.description, `${at}.description`, text),
    }),
  };
}

function encodeFormat(format: OutputFormat): JsonObject {
  if (format.type === "json") return { type: "json_object" };
  const { name = "output", schema, strict, description } = format;
  return { type: "json_schema", name, schema, ...defined({ strict, description }) };
}
