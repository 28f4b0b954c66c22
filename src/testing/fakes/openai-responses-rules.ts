import { type OpenAIFamily, openAIFamily, takesSampling } from "./openai-models.ts";
import { historyError, type ResponsesMemory } from "./openai-responses-history.ts";
import type { ResponsesItem } from "./openai-responses-items.ts";
import { mediaError } from "./openai-responses-media.ts";
import { itemsOf, type ResponsesBody, responsesSchemaError } from "./openai-responses-schema.ts";
import { bad, type OpenAIError } from "./openai-schema.ts";
import { schemaFault } from "./openai-strict.ts";

/** What OpenAI's Responses refuses though the schema lets it through [O-SDK, CAT-O, FX-P, FX-V]. */

export interface ResponsesRefusal {
  status: number;
  error: OpenAIError;
}

/**
 * The first thing the API would refuse about a body, or undefined.
 * @param memory what the server has stored; undefined: whatever the body refers to counts as stored
 */
export function responsesRefusal(
  value: unknown,
  memory: ResponsesMemory | undefined,
  counting = false,
): ResponsesRefusal | undefined {
  const early = responsesSchemaError(value, counting);
  if (early) return { status: 400, error: early };
  const asked = value as ResponsesBody;
  const family = openAIFamily(asked.model);
  if (!family) {
    const error = bad(`The requested model '${asked.model}' does not exist.`, "model", "model_not_found");
    return { status: 400, error };
  }
  const items = itemsOf(asked);
  const error =
    pairError(asked) ??
    reasoningError(asked, family) ??
    samplingError(asked, family) ??
    toolError(asked) ??
    formatError(asked, items) ??
    mediaError(items);
  return error ? { status: 400, error } : historyError(asked, items, memory);
}

/** Fields that need, or exclude, another one. */
function pairError(asked: ResponsesBody): OpenAIError | undefined {
  const { input, previous_response_id: previous, conversation, prompt } = asked;
  if (previous && conversation) {
    const message =
      "Mutually exclusive parameters: 'previous_response_id', 'conversation'. Ensure you are only providing one of them.";
    return bad(message, null, "mutually_exclusive_parameters");
  }
  if ((input === undefined || input.length === 0) && !previous && !conversation && !prompt) {
    const message = `One of "input" or "previous_response_id" or 'prompt' or 'conversation' must be provided.`;
    return bad(message, "input", "missing_required_parameter");
  }
  if (asked.stream_options && !asked.stream)
    return bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options");
  return undefined;
}

function reasoningError(
  { model, reasoning, include, text }: ResponsesBody,
  family: OpenAIFamily,
): OpenAIError | undefined {
  const { efforts } = family;
  const fields = Object.entries(reasoning ?? {}).filter(([, value]) => value !== null && value !== undefined);
  if (!efforts && fields[0]) return unsupported(`reasoning.${fields[0][0]}`, "unsupported_parameter");
  const effort = reasoning?.effort ?? undefined;
  if (effort !== undefined && !efforts?.includes(effort))
    return valueError("reasoning.effort", effort, model, efforts ?? []);
  if (!efforts && include?.includes("reasoning.encrypted_content"))
    return bad("Encrypted content is not supported with this model.", "include");
  const verbosity = text?.verbosity ?? "medium";
  return efforts || verbosity === "medium" ? undefined : valueError("text.verbosity", verbosity, model, ["medium"]);
}

function samplingError(asked: ResponsesBody, family: OpenAIFamily): OpenAIError | undefined {
  if (takesSampling(family, asked.reasoning?.effort)) return undefined;
  const field = (["temperature", "top_p", "top_logprobs"] as const).find((key) => typeof asked[key] === "number");
  if (field) return unsupported(field);
  return asked.include?.includes("message.output_text.logprobs")
    ? bad("logprobs are not supported with reasoning models.", "include")
    : undefined;
}

/** `code` is null for sampling [FX-V responses__reasoning-model-temperature-error]. */
function unsupported(param: string, code: string | null = null): OpenAIError {
  return bad(`Unsupported parameter: '${param}' is not supported with this model.`, param, code);
}

function valueError(param: string, value: string, model: string, values: readonly string[]): OpenAIError {
  const quoted = values.map((one) => `'${one}'`);
  const list = quoted.length > 2 ? `${quoted.slice(0, -1).join(", ")}, and ${quoted.at(-1)}` : quoted.join(" and ");
  const message = `Unsupported value: '${value}' is not supported with the '${model}' model. Supported values are: ${list}.`;
  return bad(message, param, "unsupported_value");
}

function toolError({ tools, tool_choice: choice }: ResponsesBody): OpenAIError | undefined {
  for (const [i, tool] of (tools ?? []).entries()) {
    if (tool.type !== "function") continue;
    const fault = tool.parameters ? schemaFault(tool.parameters, tool.strict === true) : undefined;
    if (fault !== undefined)
      return bad(
        `Invalid schema for function '${tool.name}': ${fault}`,
        `tools[${i}].parameters`,
        "invalid_function_parameters",
      );
  }
  if (choice === "required" && !tools?.length)
    return bad("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice");
  if (typeof choice !== "object" || choice === null) return undefined;
  const chosen: readonly { type?: unknown; name?: unknown }[] =
    choice.type === "allowed_tools" ? choice.tools : [choice];
  const missing = chosen.find(
    (one) => !tools?.some((tool) => tool.type === one.type && (one.name === undefined || tool.name === one.name)),
  );
  if (!missing) return undefined;
  return bad(`Tool choice '${missing.name ?? missing.type}' not found in 'tools' parameter.`, "tool_choice");
}

function formatError({ text, instructions }: ResponsesBody, items: readonly ResponsesItem[]): OpenAIError | undefined {
  const format = text?.format;
  if (format?.type === "json_object" && !/json/i.test(JSON.stringify([instructions, items]))) {
    const rule = "must contain the word 'json' in some form to use 'text.format' of type 'json_object'.";
    return bad(`Response input messages ${rule}`, "input");
  }
  if (format?.type !== "json_schema") return undefined;
  const fault = schemaFault(format.schema, format.strict === true);
  if (fault === undefined) return undefined;
  return bad(
    `Invalid schema for response_format '${format.name}': ${fault}`,
    "text.format.schema",
    "invalid_json_schema",
  );
}
