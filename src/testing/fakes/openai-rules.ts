import { type OpenAIFamily, openAIFamily, takesSampling } from "./openai-models.ts";
import { bad, type OpenAIBody, type OpenAIError, openAISchemaError } from "./openai-schema.ts";

/** What OpenAI's Chat Completions refuses though the schema lets it through [O-SDK, CAT-O, FX-P]. */

/** The first thing the API would refuse about a body, or undefined. */
export function openAIRefusal(value: unknown): { status: number; error: OpenAIError } | undefined {
  const early = openAISchemaError(value);
  if (early) return { status: 400, error: early };
  const asked = value as OpenAIBody;
  const family = openAIFamily(asked.model);
  if (!family) {
    const message = `The model \`${asked.model}\` does not exist or you do not have access to it.`;
    return { status: 404, error: { ...bad(message, null), code: "model_not_found" } };
  }
  if (family.responsesOnly) {
    const message = "This model is only supported in v1/responses and not in v1/chat/completions.";
    return { status: 404, error: bad(message, "model") };
  }
  const error = modelError(asked, family) ?? pairError(asked) ?? toolMessageError(asked.messages);
  return error && { status: 400, error };
}

function modelError(asked: OpenAIBody, family: OpenAIFamily): OpenAIError | undefined {
  const { efforts } = family;
  const effort = asked.reasoning_effort ?? undefined;
  if (efforts && typeof asked.max_tokens === "number")
    return unsupported("max_tokens", " Use 'max_completion_tokens' instead.");
  if (effort !== undefined && !efforts) return bad(`Unrecognized request argument supplied: reasoning_effort`, null);
  if (effort !== undefined && !efforts?.includes(effort)) {
    const values = efforts?.map((value) => `'${value}'`).join(", ");
    const message = `Unsupported value: 'reasoning_effort' does not support '${effort}' with this model. Supported values are: ${values}.`;
    return bad(message, "reasoning_effort", "unsupported_value");
  }
  if (family.toolsOnlyWithNone && asked.tools && effort !== undefined && effort !== "none") {
    const message = `Function tools with reasoning_effort are not supported for ${asked.model} in /v1/chat/completions. Please use /v1/responses instead.`;
    return bad(message, "reasoning_effort", "unsupported_value");
  }
  // Recorded with gpt-5-mini [FX-P openai-chat].
  const audio = asked.messages.findIndex(
    (m) => Array.isArray(m.content) && m.content.some((p) => p.type === "input_audio"),
  );
  if (audio >= 0 && !asked.model.includes("audio")) {
    const message = `Invalid 'messages[${audio}]'. Content blocks are expected to be either text or image_url type.`;
    return bad(message, `messages[${audio}]`, "invalid_value");
  }
  if (family.stop === false && asked.stop !== undefined && asked.stop !== null) return unsupported("stop");

  if (takesSampling(family, effort)) return undefined;
  if (typeof asked.temperature === "number" && asked.temperature !== 1) {
    const message = `Unsupported value: 'temperature' does not support ${asked.temperature} with this model. Only the default (1) value is supported.`;
    return bad(message, "temperature", "unsupported_value");
  }
  if (typeof asked.top_p === "number" && asked.top_p !== 1) return unsupported("top_p");
  return asked.logprobs ? unsupported("logprobs") : undefined;
}

function unsupported(param: string, hint = ""): OpenAIError {
  const message = `Unsupported parameter: '${param}' is not supported with this model.${hint}`;
  return bad(message, param, "unsupported_parameter");
}

/** Fields that only make sense beside another one. */
function pairError(asked: OpenAIBody): OpenAIError | undefined {
  for (const field of ["tool_choice", "parallel_tool_calls"] as const) {
    if (asked[field] !== undefined && !asked.tools)
      return bad(`Invalid value for '${field}': '${field}' is only allowed when 'tools' are specified.`, field);
  }
  if (asked.stream_options && !asked.stream)
    return bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options");
  return undefined;
}

/** Every call answered by the tool messages directly after it, and no tool message without a call. */
function toolMessageError(messages: OpenAIBody["messages"]): OpenAIError | undefined {
  let open: string[] | undefined;
  for (const [i, message] of messages.entries()) {
    const at = `messages.[${i}].role`;
    if (message.role === "tool") {
      if (!open) {
        const rule = "must be a response to a preceeding message with 'tool_calls'";
        return bad(`Invalid parameter: messages with role 'tool' ${rule}.`, at);
      }
      if (!open.includes(message.tool_call_id)) {
        const where = "not found in 'tool_calls' of previous message";
        return bad(
          `Invalid parameter: 'tool_call_id' of '${message.tool_call_id}' ${where}.`,
          `messages.[${i}].tool_call_id`,
        );
      }
      open = open.filter((id) => id !== message.tool_call_id);
      continue;
    }
    if (open?.length) return unanswered(open, at);
    open = message.role === "assistant" ? message.tool_calls?.map((call) => call.id) : undefined;
  }
  return open?.length ? unanswered(open, `messages.[${messages.length}].role`) : undefined;
}

function unanswered(ids: readonly string[], param: string): OpenAIError {
  const rule =
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.";
  return bad(`${rule} The following tool_call_ids did not have response messages: ${ids.join(", ")}`, param);
}
