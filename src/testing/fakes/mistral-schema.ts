import { z } from "zod";
import { findings } from "./findings.ts";
import { pydanticError } from "./pydantic.ts";

/** The closed request schema of Mistral's Chat Completions [M-SPEC]: every object forbids fields it does not name. */

const text = z.strictObject({ type: z.literal("text"), text: z.string() });
const reference = z.strictObject({
  type: z.literal("reference"),
  reference_ids: z.array(z.union([z.int(), z.string()])),
});
const toolReference = z.strictObject({
  type: z.literal("tool_reference"),
  tool: z.string(),
  title: z.string(),
  url: z.string().nullish(),
  favicon: z.string().nullish(),
  description: z.string().nullish(),
});
const thinking = z.strictObject({
  type: z.literal("thinking"),
  thinking: z.array(z.discriminatedUnion("type", [text, reference, toolReference])),
  signature: z.string().nullish(),
  closed: z.boolean().optional(),
});
const imageUrl = z.strictObject({ url: z.string(), detail: z.enum(["low", "auto", "high"]).nullish() });
const chunk = z.discriminatedUnion("type", [
  text,
  thinking,
  reference,
  z.strictObject({ type: z.literal("image_url"), image_url: z.union([z.string(), imageUrl]) }),
  z.strictObject({ type: z.literal("document_url"), document_url: z.string(), document_name: z.string().nullish() }),
  z.strictObject({ type: z.literal("file"), file_id: z.string() }),
  z.strictObject({ type: z.literal("input_audio"), input_audio: z.string() }),
]);
const content = z.union([z.string(), z.array(chunk)]);

const toolCall = z.strictObject({
  id: z.string().optional(),
  type: z.literal("function").optional(),
  index: z.int().optional(),
  function: z.strictObject({
    name: z.string(),
    arguments: z.union([z.string(), z.record(z.string(), z.unknown())]),
  }),
});
const message = z.discriminatedUnion("role", [
  z.strictObject({
    role: z.literal("system"),
    content: z.union([z.string(), z.array(z.discriminatedUnion("type", [text, thinking]))]),
  }),
  z.strictObject({ role: z.literal("user"), content: content.nullable() }),
  z.strictObject({
    role: z.literal("assistant"),
    content: content.nullish(),
    tool_calls: z.array(toolCall).nullish(),
    prefix: z.boolean().optional(),
  }),
  z.strictObject({
    role: z.literal("tool"),
    content: content.nullable(),
    tool_call_id: z.string().nullish(),
    name: z.string().nullish(),
  }),
]);

const names = z.array(z.string()).nullish();
const toolConfiguration = z.strictObject({ exclude: names, include: names, requires_confirmation: names }).nullish();
const serverTool = <const T extends string>(type: T) =>
  z.strictObject({ type: z.literal(type), tool_configuration: toolConfiguration });
const tool = z.union([
  z.strictObject({
    type: z.literal("function").optional(),
    function: z.strictObject({
      name: z.string(),
      description: z.string().optional(),
      strict: z.boolean().optional(),
      parameters: z.record(z.string(), z.unknown()),
    }),
  }),
  serverTool("web_search"),
  serverTool("web_search_premium"),
  serverTool("code_interpreter"),
  serverTool("image_generation"),
  z.strictObject({
    type: z.literal("document_library"),
    library_ids: z.array(z.string()),
    tool_configuration: toolConfiguration,
  }),
  z.strictObject({
    type: z.literal("connector"),
    connector_id: z.string(),
    authorization: z.looseObject({}).nullish(),
    tool_configuration: toolConfiguration,
  }),
]);

const penalty = z.number().min(-2).max(2).nullish();
const body = z.strictObject({
  model: z.string(),
  messages: z.array(message),
  temperature: z.number().min(0).max(1.5).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  max_tokens: z.int().min(0).nullish(),
  stream: z.boolean().optional(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  random_seed: z.int().min(0).nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  response_format: z
    .strictObject({
      type: z.enum(["text", "json_object", "json_schema"]).optional(),
      json_schema: z
        .strictObject({
          name: z.string(),
          description: z.string().nullish(),
          schema: z.record(z.string(), z.unknown()),
          strict: z.boolean().optional(),
        })
        .nullish(),
    })
    .optional(),
  tools: z.array(tool).nullish(),
  tool_choice: z
    .union([
      z.enum(["auto", "none", "any", "required"]),
      z.strictObject({
        type: z.literal("function").optional(),
        function: z.strictObject({ name: z.string() }),
      }),
    ])
    .optional(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  n: z.int().min(1).nullish(),
  prediction: z.strictObject({ type: z.literal("content").optional(), content: z.string().optional() }).optional(),
  parallel_tool_calls: z.boolean().optional(),
  // `max` is not in the published schema, but taken at run time [M-VIBE-1117].
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).nullish(),
  prompt_mode: z.literal("reasoning").nullish(),
  guardrails: z.array(z.looseObject({ block_on_error: z.boolean().optional() })).nullish(),
  prompt_cache_key: z.string().nullish(),
  service_tier: z.enum(["auto", "standard_only"]).nullish(),
  safe_prompt: z.boolean().optional(),
  document_image_limit: z.int().nullish(),
  document_page_limit: z.int().nullish(),
});

/** A body that passed the schema. */
export type MistralBody = z.infer<typeof body>;
export type MistralMessage = z.infer<typeof message>;

/** One entry of the `detail` of a 422. */
export interface MistralDetail {
  type: string;
  loc: (string | number)[];
  msg: string;
  input: unknown;
}

/** What the schema has against a body, as Mistral's 422 lists it. */
export function mistralDetails(value: unknown): MistralDetail[] {
  return findings(body, value).map((finding) => ({
    ...pydanticError(finding),
    loc: ["body", ...tagged(finding.path, value)],
    input: finding.input ?? null,
  }));
}

/** Pydantic puts the role between a message's index and its field. */
function tagged(path: (string | number)[], value: unknown): (string | number)[] {
  const [field, index, ...rest] = path;
  if (field !== "messages" || typeof index !== "number" || rest.length === 0 || rest[0] === "role") return path;
  const role = (value as { messages: { role: string }[] }).messages[index]?.role ?? "user";
  return [field, index, role, ...rest];
}
