import { z } from "zod";
import { type Finding, findings } from "./findings.ts";

/** The closed request schema of OpenAI's Chat Completions [O-SDK]. */

const textPart = z.strictObject({
  type: z.literal("text"),
  text: z.string(),
  prompt_cache_breakpoint: z.looseObject({}).optional(),
});
const texts = z.union([z.string(), z.array(textPart)]);
const userPart = z.discriminatedUnion("type", [
  textPart,
  z.strictObject({
    type: z.literal("image_url"),
    image_url: z.strictObject({ url: z.string(), detail: z.enum(["auto", "low", "high"]).optional() }),
    prompt_cache_breakpoint: z.looseObject({}).optional(),
  }),
  z.strictObject({
    type: z.literal("input_audio"),
    input_audio: z.strictObject({ data: z.string(), format: z.enum(["wav", "mp3"]) }),
  }),
  z.strictObject({
    type: z.literal("file"),
    file: z.strictObject({
      file_data: z.string().optional(),
      file_id: z.string().optional(),
      filename: z.string().optional(),
    }),
  }),
]);
const name = z.string().optional();
const toolCall = z.discriminatedUnion("type", [
  z.strictObject({
    id: z.string(),
    type: z.literal("function"),
    function: z.strictObject({ name: z.string(), arguments: z.string() }),
  }),
  z.strictObject({
    id: z.string(),
    type: z.literal("custom"),
    custom: z.strictObject({ name: z.string(), input: z.string() }),
  }),
]);
const message = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("developer"), content: texts, name }),
  z.strictObject({ role: z.literal("system"), content: texts, name }),
  z.strictObject({ role: z.literal("user"), content: z.union([z.string(), z.array(userPart)]), name }),
  z.strictObject({
    role: z.literal("assistant"),
    content: z
      .union([
        z.string(),
        z.array(
          z.discriminatedUnion("type", [textPart, z.strictObject({ type: z.literal("refusal"), refusal: z.string() })]),
        ),
      ])
      .nullish(),
    refusal: z.string().nullish(),
    tool_calls: z.array(toolCall).min(1).optional(),
    audio: z.strictObject({ id: z.string() }).nullish(),
    annotations: z.array(z.unknown()).optional(),
    name,
  }),
  z.strictObject({ role: z.literal("tool"), content: texts, tool_call_id: z.string() }),
]);

const functionName = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/);
const object = z.looseObject({});
const tool = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("function"),
    function: z.strictObject({
      name: functionName,
      description: z.string().optional(),
      parameters: object.optional(),
      strict: z.boolean().nullish(),
    }),
  }),
  z.strictObject({
    type: z.literal("custom"),
    custom: z.strictObject({ name: functionName, description: z.string().optional(), format: object.optional() }),
  }),
]);
const penalty = z.number().min(-2).max(2).nullish();

const body = z.strictObject({
  model: z.string(),
  messages: z.array(message).min(1),
  max_completion_tokens: z.int().min(1).nullish(),
  max_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  logit_bias: z.record(z.string(), z.number()).nullish(),
  n: z.int().min(1).max(128).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(4)]).nullish(),
  seed: z.int().nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), include_obfuscation: z.boolean().optional() })
    .nullish(),
  tools: z.array(tool).min(1).optional(),
  tool_choice: z
    .union([
      z.enum(["none", "auto", "required"]),
      z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: z.string() }) }),
      z.strictObject({ type: z.literal("custom"), custom: z.strictObject({ name: z.string() }) }),
      z.strictObject({
        type: z.literal("allowed_tools"),
        allowed_tools: z.strictObject({ mode: z.enum(["auto", "required"]), tools: z.array(object) }),
      }),
    ])
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
  response_format: z
    .discriminatedUnion("type", [
      z.strictObject({ type: z.literal("text") }),
      z.strictObject({ type: z.literal("json_object") }),
      z.strictObject({
        type: z.literal("json_schema"),
        json_schema: z.strictObject({
          name: functionName,
          schema: object.optional(),
          strict: z.boolean().nullish(),
          description: z.string().optional(),
        }),
      }),
    ])
    .optional(),
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).nullish(),
  verbosity: z.enum(["low", "medium", "high"]).nullish(),
  service_tier: z.enum(["auto", "default", "flex", "scale", "priority", "fast"]).nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  user: z.string().optional(),
  safety_identifier: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  prompt_cache_options: object.optional(),
  prompt_cache_retention: z.enum(["in_memory", "24h"]).nullish(),
  store: z.boolean().nullish(),
  prediction: object.nullish(),
  modalities: z.array(z.enum(["text", "audio"])).nullish(),
  audio: object.nullish(),
  web_search_options: object.optional(),
  moderation: object.nullish(),
  functions: z.array(object).optional(),
  function_call: z.union([z.string(), object]).optional(),
});

/** A body that passed the schema. */
export type OpenAIBody = z.infer<typeof body>;

export interface OpenAIError {
  message: string;
  type: string;
  param: string | null;
  code: string | null;
}

/** An `invalid_request_error`. */
export const bad = (message: string, param: string | null, code: string | null = null): OpenAIError => ({
  message,
  type: "invalid_request_error",
  param,
  code,
});

/** The first thing the schema has against a body, or undefined. */
export function openAISchemaError(value: unknown): OpenAIError | undefined {
  const [wrong] = findings(body, value);
  if (!wrong) return undefined;
  // Chat words its own unknown fields in another way than those further in.
  if (wrong.rule === "extra" && wrong.path.length === 1)
    return bad(`Unrecognized request argument supplied: ${paramOf(wrong)}`, null);
  return imageInTool(wrong, value) ?? schemaError(wrong);
}

/** As `openAISchemaError`, of any schema; a missing field counts before an unknown one. */
export function schemaErrorIn(schema: z.ZodType, value: unknown): OpenAIError | undefined {
  const found = findings(schema, value);
  const wrong = found.find(({ rule }) => rule === "missing") ?? found[0];
  return wrong && schemaError(wrong);
}

function paramOf({ path }: Finding): string {
  return path.map((key, i) => (typeof key === "number" ? `[${key}]` : i === 0 ? key : `.${key}`)).join("");
}

function schemaError(finding: Finding): OpenAIError {
  const { rule, input } = finding;
  const param = paramOf(finding);
  if (rule === "extra") return bad(`Unknown parameter: '${param}'.`, param, "unknown_parameter");
  if (rule === "missing") return bad(`Missing required parameter: '${param}'.`, param, "missing_required_parameter");
  if (rule === "values") {
    const values = (finding.values ?? []).map((value) => `'${value}'`).join(", ");
    return bad(`Invalid value: '${String(input)}'. Supported values are: ${values}.`, param, "invalid_value");
  }
  if (rule === "type")
    return bad(
      `Invalid type for '${param}': expected ${finding.expected}, but got ${typeof input} instead.`,
      param,
      "invalid_type",
    );
  return rule === "min" || rule === "max"
    ? boundError(finding, param)
    : bad(`Invalid '${param}'.`, param, "invalid_value");
}

/** Numbers have bounds, texts and lists have lengths; each in its own words. */
function boundError({ rule, input, limit }: Finding, param: string): OpenAIError {
  if (typeof input === "number") {
    const kind = /temperature|top_p|penalty/.test(param) ? "decimal" : "integer";
    const [word, code, sign] =
      rule === "min" ? ["below minimum", "below_min", ">="] : ["above maximum", "above_max", "<="];
    const message = `Invalid '${param}': ${kind} ${word} value. Expected a value ${sign} ${limit}, but got ${input} instead.`;
    return bad(message, param, `${kind}_${code}_value`);
  }
  const what = Array.isArray(input) ? "array" : "string";
  const length = Array.isArray(input) || typeof input === "string" ? input.length : undefined;
  if (length === 0) {
    const message = `Invalid '${param}': empty ${what}. Expected ${what === "array" ? "an" : "a"} ${what} with minimum length ${limit}, but got an empty ${what} instead.`;
    return bad(message, param, `empty_${what}`);
  }
  const [word, code, bound] = rule === "min" ? ["short", "below_min", "minimum"] : ["long", "above_max", "maximum"];
  const article = what === "array" ? "an" : "a";
  const message = `Invalid '${param}': ${what} too ${word}. Expected ${article} ${what} with ${bound} length ${limit}, but got ${article} ${what} with length ${length} instead.`;
  return bad(message, param, `${what}_${code}_length`);
}

/** Images in tool messages have a wording of their own. */
function imageInTool({ path, input }: Finding, value: unknown): OpenAIError | undefined {
  const [field, index] = path;
  if (field !== "messages" || typeof index !== "number" || input !== "image_url") return undefined;
  const { role } = (value as OpenAIBody).messages[index] ?? {};
  if (role === "user") return undefined;
  const rule = `Image URLs are only allowed for messages with role 'user', but this message with role '${role}'`;
  return bad(`Invalid 'messages[${index}]'. ${rule} contains an image URL.`, `messages[${index}]`, "invalid_value");
}
