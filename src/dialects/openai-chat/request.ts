import {
  type ChatRequest,
  EFFORTS,
  type Effort,
  type OutputFormat,
  type Reasoning,
  type Tool,
} from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import {
  type Check,
  filled,
  flag,
  integer,
  list,
  number,
  object,
  oneOf,
  optional,
  present,
  refuse,
  rest,
  text,
} from "./check.ts";
import { decodeMessages } from "./decode-messages.ts";
import { encodeMessages } from "./encode-messages.ts";
import { ID } from "./id.ts";
import type { ResolvedStyle } from "./style.ts";
import {
  addTools,
  decodeFunctionChoice,
  decodeFunctions,
  decodeToolChoice,
  decodeTools,
  decodeWebSearchOptions,
  writesStrict,
} from "./tools.ts";

const positive = integer(1);
const notNegative = integer(0);
const whole = integer(Number.MIN_SAFE_INTEGER);
const knownEffort = oneOf<"none" | Effort>(["none", ...EFFORTS]);

/** Fields that are the same on both sides but for their name. */
const FIELDS: readonly { wire: string; name: keyof ChatRequest; check: Check<unknown> }[] = [
  { wire: "temperature", name: "temperature", check: number },
  { wire: "top_p", name: "topP", check: number },
  { wire: "top_k", name: "topK", check: integer(-1) },
  { wire: "presence_penalty", name: "presencePenalty", check: number },
  { wire: "frequency_penalty", name: "frequencyPenalty", check: number },
  { wire: "logit_bias", name: "logitBias", check: object },
  { wire: "n", name: "n", check: integer(1, 128) },
  { wire: "logprobs", name: "logprobs", check: flag },
  { wire: "top_logprobs", name: "topLogprobs", check: notNegative },
  { wire: "service_tier", name: "serviceTier", check: text },
  { wire: "metadata", name: "metadata", check: object },
];

const KNOWN = new Set([
  ...FIELDS.map(({ wire }) => wire),
  ...[
    "model",
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "stop",
    "seed",
    "random_seed",
    "stream",
    "stream_options",
  ],
  ...[
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "web_search_options",
    "response_format",
  ],
  ...["reasoning_effort", "prompt_mode", "user", "safety_identifier", "prompt_cache_key"],
]);

const STREAM_OPTIONS = new Set(["include_usage"]);

export function decodeRequest(value: unknown): ChatRequest {
  const body = object(value, "body");
  const read = <T>(field: string, check: Check<T>): T | undefined => optional(body[field], field, check);
  const streamOptions = read("stream_options", object);
  const completionTokens = read("max_completion_tokens", positive);
  const maxTokens = read("max_tokens", positive);
  const choice = read("tool_choice", decodeToolChoice);
  const request: ChatRequest = present({
    model: filled(body.model, "model"),
    ...decodeMessages(body.messages),
    tools: decodeAllTools(body),
    toolChoice: choice?.choice ?? read("function_call", decodeFunctionChoice),
    stream: read("stream", flag) ?? false,
    maxTokens: completionTokens ?? maxTokens,
    parallelToolCalls: read("parallel_tool_calls", flag),
    seed: read("seed", whole) ?? read("random_seed", notNegative),
    stop: read("stop", decodeStop),
    outputFormat: read("response_format", decodeFormat),
    reasoning: decodeReasoning(body),
    includeUsage: streamOptions && optional(streamOptions.include_usage, "stream_options.include_usage", flag),
    userId: read("safety_identifier", text) ?? read("user", text),
    sessionId: read("prompt_cache_key", text),
  });
  for (const { wire, name, check } of FIELDS) {
    const member = read(wire, check);
    if (member !== undefined) (request as object as JsonObject)[name] = member;
  }
  const extensions = rest(body, KNOWN) ?? {};
  if (choice?.kept) extensions.tool_choice = choice.kept;
  const kept = streamOptions && rest(streamOptions, STREAM_OPTIONS);
  if (kept) extensions.stream_options = kept;
  if (isObject(body.response_format) && isUnknownFormat(body.response_format))
    extensions.response_format = body.response_format;
  if (Object.keys(extensions).length > 0) request.extensions = { dialect: ID, value: extensions };
  return request;
}

/** From all the places where a request can have them. */
function decodeAllTools({ tools, functions, web_search_options }: JsonObject): Tool[] {
  const all = optional(tools, "tools", decodeTools) ?? [];
  all.push(...(optional(functions, "functions", decodeFunctions) ?? []));
  all.push(...(optional(web_search_options, "web_search_options", decodeWebSearchOptions) ?? []));
  return all;
}

export function encodeRequest(request: ChatRequest, model: string, style: ResolvedStyle): JsonObject {
  const extensions = style.restoreExtensions && request.extensions?.dialect === ID ? request.extensions.value : {};
  const { tool_choice: _choice, stream_options, ...unknown } = extensions;
  const body: JsonObject = { ...unknown, model, messages: encodeMessages(request, model, style) };
  addTools(body, request, style);
  if (request.maxTokens !== undefined) body[style.maxTokens] = request.maxTokens;
  for (const { wire, name } of FIELDS) if (request[name] !== undefined) body[wire] = request[name];
  if (request.seed !== undefined) body[style.seedField] = request.seed;
  if (request.stop && request.stop.length > 0) body.stop = request.stop;
  if (request.outputFormat) body.response_format = encodeFormat(request.outputFormat, style);
  Object.assign(body, style.reasoning(request.reasoning, model));
  if (style.userField !== false && request.userId !== undefined) body[style.userField] = request.userId;
  if (style.sessionField !== false && request.sessionId !== undefined) body[style.sessionField] = request.sessionId;
  if (request.stream) {
    body.stream = true;
    const options = { ...(isObject(stream_options) && stream_options), ...(style.includeUsage && INCLUDE_USAGE) };
    if (Object.keys(options).length > 0) body.stream_options = options;
  }
  return Object.assign(body, style.extraBody(request, model));
}

const INCLUDE_USAGE = { include_usage: true };

function decodeStop(value: unknown, path: string): string[] | undefined {
  if (typeof value === "string") return [value];
  if (!Array.isArray(value)) throw refuse(path, "a string or an array of strings");
  const stop = list(value, path).map((item, i) => text(item, `${path}.${i}`));
  return stop.length === 0 ? undefined : stop;
}

function decodeReasoning(body: JsonObject): Reasoning | undefined {
  const effort = optional(body.reasoning_effort, "reasoning_effort", knownEffort);
  if (effort !== undefined) return effort === "none" ? { mode: "off" } : { mode: "on", effort };
  return body.prompt_mode === "reasoning" ? { mode: "on", effort: "high" } : undefined;
}

function isUnknownFormat(format: JsonObject): boolean {
  return !["text", "json_object", "json_schema"].includes(String(format.type));
}

function decodeFormat(value: unknown, path: string): OutputFormat | undefined {
  const format = object(value, path);
  const type = filled(format.type, `${path}.type`);
  // llama.cpp and others take a schema with `json_object`.
  if (type === "json_object")
    return isObject(format.schema) ? { type: "json-schema", schema: format.schema } : { type: "json" };
  if (type !== "json_schema") return undefined;
  const inner = object(format.json_schema, `${path}.json_schema`);
  const at = `${path}.json_schema`;
  return {
    type: "json-schema",
    schema: optional(inner.schema, `${at}.schema`, object) ?? {},
    name: optional(inner.name, `${at}.name`, text),
    strict: optional(inner.strict, `${at}.strict`, flag),
    description: optional(inner.description, `${at}.description`, text),
  };
}

function encodeFormat(format: OutputFormat, style: ResolvedStyle): JsonObject {
  if (format.type === "json") return { type: "json_object" };
  const { name = "output", description, schema, strict } = format;
  const json_schema: JsonObject = { name };
  if (description !== undefined) json_schema.description = description;
  json_schema.schema = schema;
  if (writesStrict(strict, style)) json_schema.strict = strict;
  return { type: "json_schema", json_schema };
}
