import { z } from "zod";
import { inputItem, type ResponsesItem } from "./openai-responses-items.ts";
import { type OpenAIError, schemaErrorIn } from "./openai-schema.ts";

/** The closed request schema of OpenAI's Responses, wire.md §3.1 [O-SDK ResponseCreateParamsBase]. */

const name = z
  .string()
  .max(64)
  .regex(/^[a-zA-Z0-9_-]+$/);
const object = z.looseObject({});

/** Tools that OpenAI itself runs, or whose form is theirs alone: taken as they are. */
const HOSTED_TOOLS = [
  "file_search",
  "computer",
  "computer_use_preview",
  "web_search",
  "web_search_2025_08_26",
  "web_search_preview",
  "web_search_preview_2025_03_11",
  "mcp",
  "code_interpreter",
  "programmatic_tool_calling",
  "image_generation",
  "local_shell",
  "shell",
  "namespace",
  "tool_search",
  "apply_patch",
] as const;

const tool = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("function"),
    name,
    parameters: object.nullish(),
    strict: z.boolean().nullish(),
    description: z.string().nullish(),
    defer_loading: z.boolean().optional(),
    async: z.boolean().optional(),
    allowed_callers: z.array(z.enum(["direct", "programmatic"])).nullish(),
    output_schema: object.nullish(),
  }),
  z.strictObject({
    type: z.literal("custom"),
    name,
    description: z.string().optional(),
    format: object.optional(),
    defer_loading: z.boolean().optional(),
    async: z.boolean().optional(),
    allowed_callers: z.array(z.enum(["direct", "programmatic"])).nullish(),
  }),
  z.looseObject({ type: z.enum(HOSTED_TOOLS) }),
]);

const toolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("function"), name: z.string() }),
    z.strictObject({ type: z.literal("custom"), name: z.string() }),
    z.strictObject({ type: z.literal("allowed_tools"), mode: z.enum(["auto", "required"]), tools: z.array(object) }),
    z.looseObject({ type: z.enum(HOSTED_TOOLS) }),
  ]),
]);

const format = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text") }),
  z.strictObject({ type: z.literal("json_object") }),
  z.strictObject({
    type: z.literal("json_schema"),
    name,
    schema: object,
    strict: z.boolean().nullish(),
    description: z.string().optional(),
  }),
]);

/** What the count of input tokens takes too [O-SDK InputTokenCountParams]. */
const shared = {
  input: z.union([z.string(), z.array(inputItem)]).optional(),
  instructions: z.string().nullish(),
  previous_response_id: z.string().nullish(),
  conversation: z.union([z.string(), z.strictObject({ id: z.string() })]).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning: z
    .strictObject({
      effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).nullish(),
      summary: z.enum(["auto", "concise", "detailed"]).nullish(),
      generate_summary: z.enum(["auto", "concise", "detailed"]).nullish(),
      context: z.enum(["auto", "current_turn", "all_turns"]).nullish(),
      mode: z.enum(["standard", "pro"]).nullish(),
    })
    .nullish(),
  text: z.strictObject({ format: format.optional(), verbosity: z.enum(["low", "medium", "high"]).nullish() }).nullish(),
  tools: z.array(tool).nullish(),
  tool_choice: toolChoice.nullish(),
  truncation: z.enum(["auto", "disabled"]).nullish(),
};

const countBody = z.strictObject({ model: z.string(), ...shared, personality: z.string().optional() });

const body = z.strictObject({
  model: z.string(),
  ...shared,
  access_programs: object.optional(),
  background: z.boolean().nullish(),
  context_management: z.array(object).nullish(),
  image: object.optional(),
  include: z
    .array(
      z.enum([
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
      ]),
    )
    .nullish(),
  max_output_tokens: z.int().min(16).nullish(),
  max_tool_calls: z.int().min(1).nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  moderation: object.nullish(),
  prompt: object.nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_options: object.optional(),
  prompt_cache_retention: z.enum(["in_memory", "24h"]).nullish(),
  safety_identifier: z.string().max(64).nullish(),
  service_tier: z.enum(["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]).nullish(),
  store: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().optional() }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  user: z.string().optional(),
});

/** A body that passed the schema. */
export type ResponsesBody = z.infer<typeof body>;

/** The items of a body that passed the schema; a text is one message. */
export function itemsOf({ input = [] }: Pick<ResponsesBody, "input">): ResponsesItem[] {
  return typeof input === "string"
    ? [inputItem.parse({ role: "user", content: input })]
    : input.map((one) => inputItem.parse(one));
}

/** The first thing the schema has against a body, or undefined. `counting`: for `input_tokens`. */
export function responsesSchemaError(value: unknown, counting = false): OpenAIError | undefined {
  return schemaErrorIn(counting ? countBody : body, value);
}
