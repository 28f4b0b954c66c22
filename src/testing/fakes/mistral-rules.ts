import type { MistralBody, MistralMessage } from "./mistral-schema.ts";

/** What Mistral refuses with 400 although the schema lets it through. */

export interface MistralModel {
  match: RegExp;
  /** Accepted `reasoning_effort` values; null = the model refuses the parameter. */
  efforts: readonly string[] | null;
  /** Thinks when no effort is given. */
  thinksByDefault?: boolean;
  vision: boolean;
  /** Accepts `prompt_mode: "reasoning"`. */
  promptMode?: boolean;
}

/** Reasoning per model [CAT-M, M-DOC, M-VIBE-1117]; the first row that matches counts. */
const MODELS: readonly MistralModel[] = [
  {
    match: /^mistral-small-(latest|2603)$|^mistral-medium(-latest|-2604|-3|-3[.-]5)?$/,
    efforts: ["none", "high"],
    vision: true,
  },
  { match: /^magistral-(small|medium)-latest$|^mistral-vibe-cli-/, efforts: ["none", "high"], vision: true },
  { match: /^(zai-)?glm-5-2$|^labs-leanstral/, efforts: ["none", "high"], vision: false },
  { match: /^mistral-large-4(-0)?$/, efforts: ["low", "medium", "high"], thinksByDefault: true, vision: true },
  {
    match: /^zai-glm-(5|5-3|5-3-flash|latest)$/,
    efforts: ["low", "high", "max"],
    thinksByDefault: true,
    vision: false,
  },
  { match: /^magistral-(small|medium)-25\d\d$/, efforts: null, thinksByDefault: true, vision: false, promptMode: true },
  { match: /^mistral-large-(latest|2512)$|^mistral-(small|medium)-25\d\d$|^pixtral-12b/, efforts: null, vision: true },
  {
    match: /^(labs-)?devstral|^ministral-|^codestral|^mistral-code|^voxtral-|^open-mistral-nemo/,
    efforts: null,
    vision: false,
  },
];

/** Gone since [M-DOC]: answers like an unknown model. */
const RETIRED = /^devstral-2512$|^pixtral-large/;

/** The row of a model, or undefined when the API does not know it (any more). */
export function mistralModel(id: string): MistralModel | undefined {
  return RETIRED.test(id) ? undefined : MODELS.find((model) => model.match.test(id));
}

export interface MistralError {
  message: string;
  type: string;
  code: string | null;
}

/** The first thing the API would refuse with 400, or undefined. */
export function mistralRefusal(body: MistralBody): MistralError | undefined {
  const model = mistralModel(body.model);
  if (!model) return { message: `Invalid model: ${body.model}`, type: "invalid_model", code: "1500" };
  return (
    modelRefusal(body, model) ??
    functionNames(body) ??
    orderRefusal(body.messages) ??
    toolCallRefusal(body.messages) ??
    contentRefusal(body.messages)
  );
}

/** Message order as mistral-common's validator in serving mode [M-COMMON]. */
const MAY_FOLLOW: Record<string, readonly string[]> = {
  system: ["user", "assistant", "system"],
  user: ["assistant", "system", "user"],
  assistant: ["assistant", "user", "tool"],
  // mistral-common #218 allows a user here; the hosted models do not.
  tool: ["assistant", "tool"],
};
const TOOL_CALL_ID = /^[a-zA-Z0-9]{9}$/;
const FUNCTION_NAME = /^[a-zA-Z0-9_-]{1,64}$/;
const NAME_RULE = "must be a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum length of 64.";

const order = (message: string): MistralError => ({ message, type: "invalid_request_message_order", code: "3230" });
const badCall = (message: string): MistralError => ({ message, type: "invalid_function_call", code: "3280" });
const badArgs = (message: string): MistralError => ({ message, type: "invalid_request_invalid_args", code: "3051" });

function modelRefusal(body: MistralBody, model: MistralModel): MistralError | undefined {
  const effort = body.reasoning_effort ?? undefined;
  if (effort !== undefined && !model.efforts) return badArgs("reasoning_effort is not enabled for this model");
  if (effort !== undefined && !model.efforts?.includes(effort)) {
    const supported = model.efforts?.map((value) => `'${value}'`).join(", ");
    return badArgs(`reasoning_effort '${effort}' is not supported by this model. Supported values: [${supported}]`);
  }
  if (body.prompt_mode && !model.promptMode) return badArgs("Reasoning prompt mode is not enabled for this model");
  if (!model.vision && chunks(body.messages).some((chunk) => chunk.type === "image_url"))
    return badArgs("Image input is not enabled for this model");
  return undefined;
}

function functionNames(body: MistralBody): MistralError | undefined {
  const tools = (body.tools ?? []).flatMap((tool) => ("function" in tool ? [tool.function.name] : []));
  const bad = tools.find((name) => !FUNCTION_NAME.test(name));
  return bad === undefined ? undefined : badArgs(`Function name was ${bad} but ${NAME_RULE}`);
}

function orderRefusal(messages: readonly MistralMessage[]): MistralError | undefined {
  const [first, last] = [messages[0], messages.at(-1)];
  if (!first || !last) return order("Conversation must have at least one message");
  if (first.role !== "user" && first.role !== "system")
    return order("Conversation must start with a user message or system message");
  const lastMayBe = last.role === "user" || last.role === "tool" || (last.role === "assistant" && last.prefix);
  if (messages.length > 1 && !lastMayBe)
    return order(`Expected last role User or Tool (or Assistant with prefix True) for serving but got ${last.role}`);
  for (const [i, message] of messages.entries()) {
    const before = messages[i - 1]?.role;
    if (before && !MAY_FOLLOW[before]?.includes(message.role))
      return order(`Unexpected role '${message.role}' after role '${before}'`);
  }
  return undefined;
}

function toolCallRefusal(messages: readonly MistralMessage[]): MistralError | undefined {
  let open = new Set<string>();
  let expected = 0;
  for (const message of messages) {
    if (message.role === "assistant") {
      if (expected !== 0) return order("Not the same number of function calls and responses");
      const calls = message.tool_calls ?? [];
      for (const call of calls) {
        if (!TOOL_CALL_ID.test(call.id ?? "null")) return badCall(idRule(call.id ?? "null"));
        if (!FUNCTION_NAME.test(call.function.name))
          return badCall(`Function name was ${call.function.name} but ${NAME_RULE}`);
      }
      open = new Set(calls.map((call) => call.id as string));
      if (open.size !== calls.length) return order("Duplicate tool call id in assistant message");
      expected = calls.length;
    }
    if (message.role === "tool") {
      const id = message.tool_call_id;
      if (id === null || id === undefined) return badCall("Tool call id has to be defined.");
      if (!TOOL_CALL_ID.test(id)) return badCall(idRule(id));
      if (expected > 0 && !open.delete(id)) return order(`Unexpected tool call id ${id} in tool results`);
      expected--;
    }
  }
  return expected === 0 ? undefined : order("Not the same number of function calls and responses");
}

function contentRefusal(messages: readonly MistralMessage[]): MistralError | undefined {
  const plain = (message: string): MistralError => ({ message, type: "invalid_request_error", code: null });
  for (const [i, message] of messages.entries()) {
    if (message.role === "assistant") {
      if (!message.content?.length && !message.tool_calls?.length)
        return plain("Assistant message must have either content or tool_calls, but not none.");
      if (message.prefix && i !== messages.length - 1)
        return plain("Assistant message with prefix True must be last message");
    }
    if (message.role === "tool" && chunks([message]).some((chunk) => chunk.type === "thinking"))
      return plain("Thinking chunks are not allowed in tool messages");
  }
  return undefined;
}

function idRule(id: string): string {
  return `Tool call id was ${id} but must be a-z, A-Z, 0-9, with a length of 9.`;
}

function chunks(messages: readonly MistralMessage[]) {
  return messages.flatMap((message) => (Array.isArray(message.content) ? message.content : []));
}
