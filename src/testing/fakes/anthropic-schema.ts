import { z } from "zod";
import { findings } from "./findings.ts";
import { pydanticError } from "./pydantic.ts";

/**
 * The closed request schema of Anthropic's Messages [A-SDK], beta fields included: which beta a field needs is
 * `anthropic-rules.ts`. Blocks of server tools and betas are only known by name.
 */

const cacheControl = z
  .strictObject({ type: z.literal("ephemeral"), ttl: z.enum(["5m", "1h"]).optional(), scope: z.string().optional() })
  .nullish();
const any = z.looseObject({});
const citations = z.strictObject({ enabled: z.boolean().optional() }).nullish();

const text = z.strictObject({
  type: z.literal("text"),
  text: z.string(),
  cache_control: cacheControl,
  citations: z.array(any).nullish(),
});
const url = z.strictObject({ type: z.literal("url"), url: z.string() });
const file = z.strictObject({ type: z.literal("file"), file_id: z.string() });
const imageType = z.enum(["image/jpeg", "image/png", "image/gif", "image/webp"]);
const image = z.strictObject({
  type: z.literal("image"),
  source: z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("base64"), media_type: imageType, data: z.string() }),
    url,
    file,
  ]),
  cache_control: cacheControl,
});
const document = z.strictObject({
  type: z.literal("document"),
  source: z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("base64"), media_type: z.literal("application/pdf"), data: z.string() }),
    z.strictObject({ type: z.literal("text"), media_type: z.literal("text/plain"), data: z.string() }),
    z.strictObject({
      type: z.literal("content"),
      content: z.union([z.string(), z.array(z.discriminatedUnion("type", [text, image]))]),
    }),
    url,
    file,
  ]),
  title: z.string().nullish(),
  context: z.string().nullish(),
  citations,
  cache_control: cacheControl,
});
const searchResult = z.strictObject({
  type: z.literal("search_result"),
  source: z.string(),
  title: z.string(),
  content: z.array(text),
  citations,
  cache_control: cacheControl,
});
const toolReference = z.strictObject({
  type: z.literal("tool_reference"),
  tool_name: z.string(),
  cache_control: cacheControl,
});
const toolUse = z.strictObject({
  type: z.literal("tool_use"),
  id: z.string().regex(/^[a-zA-Z0-9_-]+$/),
  name: z.string(),
  input: any,
  caller: any.optional(),
  toolset_name: z.string().nullish(),
  cache_control: cacheControl,
});
const toolResult = z.strictObject({
  type: z.literal("tool_result"),
  tool_use_id: z.string().regex(/^[a-zA-Z0-9_-]+$/),
  content: z
    .union([
      z.string(),
      z.array(
        z.discriminatedUnion("type", [
          text,
          image,
          document,
          searchResult,
          toolReference,
          z.looseObject({ type: z.literal("browser_state") }),
        ]),
      ),
    ])
    .optional(),
  is_error: z.boolean().optional(),
  toolset_name: z.string().nullish(),
  cache_control: cacheControl,
});
const known = z.looseObject({
  type: z.enum([
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "advisor_tool_result",
    "container_upload",
    "mcp_tool_use",
    "mcp_tool_result",
    "mcp_tool_listing",
    "compaction",
    "fallback",
    "tool_addition",
    "tool_removal",
  ]),
});
const block = z.discriminatedUnion("type", [
  text,
  image,
  document,
  searchResult,
  z.strictObject({ type: z.literal("thinking"), thinking: z.string(), signature: z.string() }),
  z.strictObject({ type: z.literal("redacted_thinking"), data: z.string() }),
  toolUse,
  toolResult,
  toolReference,
  known,
]);

const effort = z.enum(["low", "medium", "high", "xhigh", "max"]).nullish();
const message = z.strictObject({
  role: z.enum(["user", "assistant", "system"]),
  content: z.union([z.string(), z.array(block)]),
  output_config: z.strictObject({ effort }).optional(),
});

const customTool = z.strictObject({
  type: z.literal("custom").nullish(),
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
  description: z.string().optional(),
  input_schema: z.looseObject({ type: z.literal("object") }),
  strict: z.boolean().optional(),
  cache_control: cacheControl,
  defer_loading: z.boolean().optional(),
  eager_input_streaming: z.boolean().nullish(),
  input_examples: z.array(any).optional(),
  allowed_callers: z.array(z.string()).optional(),
});
const TYPED_TOOL =
  /^(bash|text_editor|memory|computer|browser|web_search|web_fetch|code_execution|tool_search_tool_(bm25|regex)|advisor|mcp_toolset)(_toolset)?(_\d{8})?$/;
const typedTool = z.looseObject({ type: z.string().regex(TYPED_TOOL) });

const noParallel = z.boolean().optional();
const display = z.enum(["summarized", "omitted", "updates"]).nullish();
const blockBinding = any.optional();

const shared = {
  model: z.string(),
  messages: z.array(message),
  system: z.union([z.string(), z.array(text)]).optional(),
  tools: z.array(z.union([customTool, typedTool])).optional(),
  tool_choice: z
    .discriminatedUnion("type", [
      z.strictObject({ type: z.literal("auto"), disable_parallel_tool_use: noParallel }),
      z.strictObject({ type: z.literal("any"), disable_parallel_tool_use: noParallel }),
      z.strictObject({ type: z.literal("tool"), name: z.string(), disable_parallel_tool_use: noParallel }),
      z.strictObject({ type: z.literal("none") }),
    ])
    .optional(),
  thinking: z
    .discriminatedUnion("type", [
      z.strictObject({
        type: z.literal("enabled"),
        budget_tokens: z.int().min(1024),
        display,
        block_binding: blockBinding,
      }),
      z.strictObject({ type: z.literal("adaptive"), display, block_binding: blockBinding }),
      z.strictObject({ type: z.literal("disabled") }),
      z.strictObject({ type: z.literal("between_tools") }),
    ])
    .optional(),
  output_config: z
    .strictObject({
      effort,
      format: z.strictObject({ type: z.literal("json_schema"), schema: any }).nullish(),
      task_budget: any.nullish(),
    })
    .optional(),
  cache_control: cacheControl,
  speed: z.enum(["standard", "fast"]).nullish(),
  context_management: any.nullish(),
  mcp_servers: z.array(any).optional(),
  compaction: any.nullish(),
};
const count = z.strictObject(shared);
const create = z.strictObject({
  ...shared,
  max_tokens: z.int().min(0),
  stop_sequences: z.array(z.string()).optional(),
  stream: z.boolean().optional(),
  temperature: z.number().min(0).max(1).optional(),
  top_p: z.number().min(0).max(1).optional(),
  top_k: z.int().min(0).optional(),
  metadata: z.strictObject({ user_id: z.string().nullish() }).optional(),
  service_tier: z.enum(["auto", "standard_only"]).optional(),
  container: z.union([z.string(), any]).nullish(),
  inference_geo: z.string().nullish(),
  diagnostics: any.nullish(),
  fallbacks: z.unknown().optional(),
  fallback_credit_token: z.unknown().optional(),
  thread: any.nullish(),
  output_format: any.nullish(),
  billing_policy: any.nullish(),
  safeguards: z.unknown().optional(),
});

/** A `count_tokens` or Messages body that passed the schema. */
export type AnthropicBody = z.infer<typeof count> & Partial<z.infer<typeof create>>;
export type AnthropicMessage = z.infer<typeof message>;
export type AnthropicBlock = z.infer<typeof block>;

/** The first thing the schema has against a body, worded like Anthropic's 400, or undefined. */
export function anthropicSchemaError(body: unknown, counting: boolean): string | undefined {
  const [wrong] = findings(counting ? count : create, body);
  if (!wrong) return undefined;
  const pattern = wrong.rule === "other" && /pattern (\/.*\/)/.exec(wrong.message)?.[1];
  const msg = pattern ? `String should match pattern '${pattern.slice(1, -1)}'` : pydanticError(wrong).msg;
  return wrong.path.length === 0 ? msg : `${tagged(wrong.path, body).join(".")}: ${msg}`;
}

/** Puts the type of a block, tool or thinking config between its place and its field, as the API does. */
function tagged(path: readonly (string | number)[], body: unknown): (string | number)[] {
  let value = body as Record<string | number, unknown> | undefined;
  return path.flatMap((key, i) => {
    value = value?.[key] as typeof value;
    const inside = i < path.length - 1 && path[i + 1] !== "type";
    if (!inside || !(typeof key === "number" || key === "thinking" || key === "tool_choice")) return [key];
    const tag = value?.type ?? (path[0] === "tools" && i === 1 ? "custom" : undefined);
    return typeof tag === "string" ? [key, tag] : [key];
  });
}
