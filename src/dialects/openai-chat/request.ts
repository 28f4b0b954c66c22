import { type ChatRequest, EFFORTS, type Effort, type OutputFormat, type Reasoning } from "../../core/request.ts";
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
  refuse,
  rest,
  text,
} from "./check.ts";
import { decodeMessages } from "./decode-messages.ts";
import { encodeMessages } from "./encode-messages.ts";
import { ID } from "./id.ts";
import type { ResolvedStyle } from "./style.ts";
import {
  decodeFunctionChoice,
  decodeFunctions,
  decodeToolChoice,
  decodeTools,
  decodeWebSearchOptions,
  encodeTools,
  strictField,
} from "./tools.ts";

/** Fields that are the same on both sides but for their name. */
const FIELDS: readonly [wire: string, name: keyof ChatRequest, read: Check<unknown>][] = [
  ["temperature", "temperature", number],
  ["top_p", "topP", number],
  ["top_k", "topK", integer(-1)],
  ["presence_penalty", "presencePenalty", number],
  ["frequency_penalty", "frequencyPenalty", number],
  ["logit_bias", "logitBias", object],
  ["n", "n", integer(1, 128)],
  ["logprobs", "logprobs", flag],
  ["top_logprobs", "topLogprobs", integer(0)],
  ["service_tier", "serviceTier", text],
  ["metadata", "metadata", object],
];

const KNOWN = new Set([
  ...FIELDS.map(([wire]) => wire),
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

export function decodeRequest(value: unknown): ChatRequest {
  const body = object(value, "body");
  const read = <T>(field: string, check: Check<T>): T | undefined => optional(body[field], field, check);
  const streamOptions = read("stream_options", object) ?? {};
  const completionTokens = read("max_completion_tokens", integer(1));
  const request: ChatRequest = {
    model: filled(body.model, "model"),
    ...decodeMessages(body.messages),
    tools: [
      ...(read("tools", decodeTools) ?? []),
      ...(read("functions", decodeFunctions) ?? []),
      ...(read("web_search_options", decodeWebSearchOptions) ?? []),
    ],
    stream: read("stream", flag) ?? false,
    ...defined({
      maxTokens: read("max_tokens", integer(1)),
      parallelToolCalls: read("parallel_tool_calls", flag),
      seed: read("seed", integer(Number.MIN_SAFE_INTEGER)) ?? read("random_seed", integer(0)),
      stop: read("stop", decodeStop),
      outputFormat: read("response_format", decodeFormat),
      reasoning: decodeReasoning(body),
      includeUsage: optional(streamOptions.include_usage, "stream_options.include_usage", flag),
      userId: read("safety_identifier", text) ?? read("user", text),
      sessionId: read("prompt_cache_key", text),
      ...Object.fromEntries(FIELDS.map(([wire, name, check]) => [name, read(wire, check)])),
    }),
  };
  if (completionTokens !== undefined) request.maxTokens = completionTokens;
  const choice = read("tool_choice", decodeToolChoice);
  const toolChoice = choice?.choice ?? read("function_call", decodeFunctionChoice);
  if (toolChoice) request.toolChoice = toolChoice;
  const kept = rest(streamOptions, new Set(["include_usage"]));
  const extensions = {
    ...rest(body, KNOWN),
    ...(choice?.kept && { tool_choice: choice.kept }),
    ...(kept && { stream_options: kept }),
    ...(isObject(body.response_format) &&
      isUnknownFormat(body.response_format) && { response_format: body.response_format }),
  };
  if (Object.keys(extensions).length > 0) request.extensions = { dialect: ID, value: extensions };
  return request;
}

export function encodeRequest(request: ChatRequest, model: string, style: ResolvedStyle): JsonObject {
  const extensions = style.restoreExtensions && request.extensions?.dialect === ID ? request.extensions.value : {};
  const { tool_choice: _choice, stream_options, ...unknown } = extensions;
  return {
    ...unknown,
    model,
    messages: encodeMessages(request, model, style),
    ...encodeTools(request, style),
    ...(request.maxTokens !== undefined && { [style.maxTokens]: request.maxTokens }),
    ...Object.fromEntries(
      FIELDS.filter(([, name]) => request[name] !== undefined).map(([wire, name]) => [wire, request[name]]),
    ),
    ...(request.seed !== undefined && { [style.seedField]: request.seed }),
    ...(request.stop && request.stop.length > 0 && { stop: request.stop }),
    ...(request.outputFormat && { response_format: encodeFormat(request.outputFormat, style) }),
    ...style.reasoning(request.reasoning, model),
    ...(style.userField !== false && request.userId !== undefined && { [style.userField]: request.userId }),
    ...(style.sessionField !== false && request.sessionId !== undefined && { [style.sessionField]: request.sessionId }),
    ...(request.stream && { stream: true, ...streamOptions(stream_options, style) }),
    ...style.extraBody(request, model),
  };
}

function streamOptions(kept: unknown, style: ResolvedStyle): JsonObject {
  const options = { ...(isObject(kept) && kept), ...(style.includeUsage && { include_usage: true }) };
  return Object.keys(options).length === 0 ? {} : { stream_options: options };
}

function decodeStop(value: unknown, path: string): string[] | undefined {
  if (typeof value === "string") return [value];
  if (!Array.isArray(value)) throw refuse(path, "a string or an array of strings");
  const stop = list(value, path).map((item, i) => text(item, `${path}.${i}`));
  return stop.length === 0 ? undefined : stop;
}

function decodeReasoning(body: JsonObject): Reasoning | undefined {
  const effort = optional(body.reasoning_effort, "reasoning_effort", oneOf<"none" | Effort>(["none", ...EFFORTS]));
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
    ...defined({
      name: optional(inner.name, `${at}.name`, text),
      strict: optional(inner.strict, `${at}.strict`, flag),
      description: optional(inner.description, `${at}.description`, text),
    }),
  };
}

function encodeFormat(format: OutputFormat, style: ResolvedStyle): JsonObject {
  if (format.type === "json") return { type: "json_object" };
  const { name = "output", description, schema, strict } = format;
  return {
    type: "json_schema",
    json_schema: { name, ...(description !== undefined && { description }), schema, ...strictField(strict, style) },
  };
}

/** Without the members that are undefined. */
function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
