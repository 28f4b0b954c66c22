import { z } from "zod";

/** The input items of OpenAI's Responses, each closed [O-SDK ResponseInputItem]. */

const status = z.enum(["in_progress", "completed", "incomplete"]).nullish();
const id = z.string().max(64).nullish();
const callId = z.string().min(1).max(64);
const breakpoint = z.looseObject({}).optional();

const inputText = z.strictObject({
  type: z.literal("input_text"),
  text: z.string(),
  prompt_cache_breakpoint: breakpoint,
});
const inputImage = z.strictObject({
  type: z.literal("input_image"),
  image_url: z.string().nullish(),
  file_id: z.string().nullish(),
  detail: z.enum(["auto", "low", "high", "original"]).nullish(),
  prompt_cache_breakpoint: breakpoint,
});
const inputFile = z.strictObject({
  type: z.literal("input_file"),
  file_data: z.string().nullish(),
  file_id: z.string().nullish(),
  file_url: z.string().nullish(),
  filename: z.string().nullish(),
  detail: z.enum(["auto", "low", "high"]).optional(),
  prompt_cache_breakpoint: breakpoint,
});
const inputParts = z.array(z.discriminatedUnion("type", [inputText, inputImage, inputFile]));
const outputParts = z.array(
  z.discriminatedUnion("type", [
    z.strictObject({
      type: z.literal("output_text"),
      text: z.string(),
      annotations: z.array(z.looseObject({ type: z.string() })).nullish(),
      logprobs: z.array(z.looseObject({})).nullish(),
    }),
    z.strictObject({ type: z.literal("refusal"), refusal: z.string() }),
  ]),
);

const asked = (role: "user" | "system" | "developer") =>
  z.strictObject({
    type: z.literal("message"),
    role: z.literal(role),
    content: z.union([z.string(), inputParts]),
    id,
    status,
    phase: z.null().optional(),
  });
const message = z.discriminatedUnion("role", [
  asked("user"),
  asked("system"),
  asked("developer"),
  z.strictObject({
    type: z.literal("message"),
    role: z.literal("assistant"),
    content: z.union([z.string(), outputParts]),
    id,
    status,
    phase: z.enum(["commentary", "final_answer"]).nullish(),
  }),
]);

const caller = z.looseObject({ type: z.string() }).nullish();
const toolName = z
  .string()
  .max(128)
  .regex(/^[a-zA-Z0-9_-]+$/);

const calls = [
  z.strictObject({
    type: z.literal("function_call"),
    call_id: callId,
    name: toolName,
    arguments: z.string(),
    id,
    status,
    namespace: z.string().nullish(),
    async: z.boolean().optional(),
    caller,
  }),
  z.strictObject({
    type: z.literal("function_call_output"),
    call_id: callId,
    output: z.union([z.string(), inputParts]),
    id,
    status,
    name: z.string().nullish(),
    namespace: z.string().nullish(),
    caller,
  }),
  z.strictObject({
    type: z.literal("custom_tool_call"),
    call_id: callId,
    name: toolName,
    input: z.string(),
    id,
    status,
    namespace: z.string().nullish(),
    async: z.boolean().optional(),
    caller,
  }),
  z.strictObject({
    type: z.literal("custom_tool_call_output"),
    call_id: callId,
    output: z.union([z.string(), inputParts]),
    id,
    status,
    caller,
  }),
] as const;

const reasoning = z.strictObject({
  type: z.literal("reasoning"),
  id,
  summary: z.array(z.strictObject({ type: z.literal("summary_text"), text: z.string() })),
  // Their own models take no reasoning text back: "Expected an array with maximum length 0".
  content: z.array(z.unknown()).max(0).nullish(),
  encrypted_content: z.string().nullish(),
  status,
});

const hosted = z.looseObject({
  type: z.enum([
    "file_search_call",
    "computer_call",
    "computer_call_output",
    "web_search_call",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "configuration_update",
    "image_generation_call",
    "code_interpreter_call",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "compaction_trigger",
    "program",
    "program_output",
  ]),
  id,
});

const item = z.discriminatedUnion("type", [
  message,
  ...calls,
  reasoning,
  z.strictObject({ type: z.literal("item_reference"), id: z.string().max(64) }),
  z.strictObject({ type: z.literal("compaction"), id, encrypted_content: z.string() }),
  hosted,
]);

/** One item of `input`. Messages and references may leave their type out. */
export const inputItem = z.preprocess((value) => {
  if (typeof value !== "object" || value === null || "type" in value) return value;
  return { ...value, type: "role" in value ? "message" : "item_reference" };
}, item);

export type ResponsesItem = z.infer<typeof item>;
