import { contentFaults, turnFault } from "./gemini-contents.ts";
import { type GeminiModel, geminiModel } from "./gemini-models.ts";
import { generateContentRequest } from "./gemini-proto.ts";
import { jsonSchemaFaults, openAPIFaults } from "./gemini-schemas.ts";
import type { GeminiBody, GeminiConfig } from "./gemini-types.ts";
import { readProto, type Violation } from "./proto-json.ts";

/** What the Gemini API refuses of a `generateContent` request [G-SDK, CAT-G, G-THOUGHT; wordings as quoted in reports]. */

export interface GeminiRefusal {
  status: number;
  message: string;
  /** Of the `BadRequest` detail. */
  violations?: readonly Violation[];
}

export const badGemini = (message: string): GeminiRefusal => ({ status: 400, message });

/** What `readProto` has against a body, as one refusal. */
export function violationsRefusal(violations: readonly Violation[]): GeminiRefusal | undefined {
  if (violations.length === 0) return undefined;
  return { status: 400, message: violations.map(({ description }) => description).join("\n"), violations };
}

export function modelRefusal(id: string, method: string): GeminiRefusal {
  const rule = `is not found for API version v1beta, or is not supported for ${method}.`;
  const hint = "Call ModelService.ListModels to see the list of available models and their supported methods.";
  return { status: 404, message: `models/${id} ${rule} ${hint}` };
}

/** The first thing the API would refuse about a body, or the body as it was understood. @param foreign see `validateGemini` */
export function readGemini(id: string, value: unknown, foreign: boolean): GeminiRefusal | { body: GeminiBody } {
  const model = geminiModel(id);
  if (!model) return modelRefusal(id, "generateContent");
  const { value: read, violations } = readProto(generateContentRequest, value);
  const early = violationsRefusal(violations);
  if (early) return early;
  const body = read as GeminiBody;
  const faults = [...contentsFaults(body), ...toolFaults(body), ...configFaults(body.generationConfig ?? {})];
  if (faults.length > 0) return badGemini(faults.map((fault) => `* GenerateContentRequest.${fault}\n`).join(""));
  const message =
    thinkingFault(body.generationConfig ?? {}, model) ??
    abilityFault(body, model, id) ??
    choiceFault(body) ??
    turnFault(body.contents ?? [], model, foreign);
  return message === undefined ? { body } : badGemini(message);
}

function contentsFaults({ contents, systemInstruction }: GeminiBody): string[] {
  if (!contents?.length) return ["contents: contents is not specified"];
  const system = systemInstruction ? contentFaults(systemInstruction, "system_instruction") : [];
  return [...contents.flatMap((content, i) => contentFaults(content, `contents[${i}]`)), ...system];
}

const NAME_RULE =
  "Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 128.";

function toolFaults({ tools = [] }: GeminiBody): string[] {
  return tools.flatMap(({ functionDeclarations = [] }, i) =>
    functionDeclarations.flatMap((declared, j) => {
      const path = `tools[${i}].function_declarations[${j}]`;
      const { name = "", parameters, parametersJsonSchema } = declared;
      return [
        ...(/^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$/.test(name) ? [] : [`${path}.name: ${NAME_RULE}`]),
        ...(parameters && parametersJsonSchema !== undefined
          ? [`${path}: parameters and parameters_json_schema are mutually exclusive.`]
          : []),
        ...(parameters ? rootFaults(parameters.type, `${path}.parameters`) : []),
        ...(parameters ? openAPIFaults(parameters, `${path}.parameters`) : []),
        ...(parametersJsonSchema === undefined
          ? []
          : jsonFaults(parametersJsonSchema, `${path}.parameters_json_schema`)),
      ];
    }),
  );
}

function jsonFaults(schema: unknown, path: string): string[] {
  const type = (schema as { type?: unknown } | null)?.type;
  return [...rootFaults(String(type).toUpperCase(), path), ...jsonSchemaFaults(schema, path)];
}

function rootFaults(type: string | undefined, path: string): string[] {
  return type === "OBJECT" ? [] : [`${path}.type: schema type for function parameters should be OBJECT`];
}

/** The ranges; all of them inclusive. */
const RANGES: readonly [field: keyof GeminiConfig, name: string, min: number, max: number][] = [
  ["temperature", "temperature", 0, 2],
  ["topP", "top_p", 0, 1],
  ["topK", "top_k", 1, Number.POSITIVE_INFINITY],
  ["candidateCount", "candidate_count", 1, 8],
  ["maxOutputTokens", "max_output_tokens", 1, Number.POSITIVE_INFINITY],
  ["presencePenalty", "presence_penalty", -2, 2],
  ["frequencyPenalty", "frequency_penalty", -2, 2],
  ["logprobs", "logprobs", 0, 20],
];
const MIME_TYPES = ["text/plain", "application/json", "application/xml", "application/yaml", "text/x.enum"];

function configFaults(config: GeminiConfig): string[] {
  const at = "generation_config";
  const { stopSequences = [], responseMimeType = "text/plain", responseSchema, responseJsonSchema } = config;
  const faults = RANGES.flatMap(([field, name, min, max]) => {
    const value = config[field] as number | undefined;
    const range =
      max === Number.POSITIVE_INFINITY ? `must be at least ${min}` : `must be in the range [${min}, ${max}]`;
    return value === undefined || (value >= min && value <= max) ? [] : [`${at}.${name}: ${name} ${range}.`];
  });
  if (stopSequences.length > 5) faults.push(`${at}.stop_sequences: at most 5 stop sequences are allowed.`);
  if (stopSequences.includes("")) faults.push(`${at}.stop_sequences: stop sequences must not be empty.`);
  if (!MIME_TYPES.includes(responseMimeType)) {
    const allowed = MIME_TYPES.map((type) => `\`${type}\``).join(", ");
    faults.push(`${at}.response_mime_type: allowed mimetypes are ${allowed}.`);
  }
  if (responseSchema && responseJsonSchema !== undefined)
    faults.push(`${at}: response_schema and response_json_schema are mutually exclusive.`);
  if ((responseSchema || responseJsonSchema !== undefined) && responseMimeType === "text/plain")
    faults.push(`${at}.response_mime_type: must be set to 'application/json' when a response schema is specified.`);
  if (responseSchema) faults.push(...openAPIFaults(responseSchema, `${at}.response_schema`, false));
  if (responseJsonSchema !== undefined)
    faults.push(...jsonSchemaFaults(responseJsonSchema, `${at}.response_json_schema`));
  if (config.logprobs !== undefined && !config.responseLogprobs)
    faults.push(`${at}.logprobs: response_logprobs must be true when logprobs is set.`);
  return faults;
}

function thinkingFault({ thinkingConfig }: GeminiConfig, { levels, budget }: GeminiModel): string | undefined {
  if (!thinkingConfig) return undefined;
  const { thinkingBudget: asked, thinkingLevel: level, includeThoughts } = thinkingConfig;
  if (!levels && !budget) return "Thinking is not supported for this model.";
  if (asked !== undefined && level !== undefined)
    return "You can only set only one of thinking budget and thinking level.";
  if (level !== undefined && !levels) return "Thinking level is not supported for this model.";
  if (level !== undefined && !levels?.includes(level))
    return `Thinking level ${level} is not supported for this model. Please retry with other thinking level.`;
  if (asked === undefined || asked === -1) return undefined;
  if (!budget) return "Thinking budget is not supported for this model.";
  if (asked === 0 && !budget.off) return "Budget 0 is invalid. This model only works in thinking mode.";
  if (asked === 0 && includeThoughts)
    return "Thinking_config.include_thoughts is only enabled when thinking is enabled.";
  if (asked !== 0 && (asked < budget.min || asked > budget.max))
    return `The thinking budget ${asked} is invalid. Please choose a value between ${budget.min} and ${budget.max}.`;
  return undefined;
}

/** What only other models can do. */
function abilityFault({ tools = [], toolConfig, generationConfig = {} }: GeminiBody, model: GeminiModel, id: string) {
  const hasFunctions = tools.some((tool) => tool.functionDeclarations?.length);
  const hasBuiltIns = tools.some((tool) => Object.keys(tool).some((key) => key !== "functionDeclarations"));
  const type = generationConfig.responseMimeType ?? "text/plain";
  if (!model.jsonWithTools && type !== "text/plain" && (hasFunctions || hasBuiltIns)) {
    const what = hasFunctions ? "Function calling" : "Tool use";
    return `${what} with a response mime type: '${type}' is unsupported`;
  }
  if (hasFunctions && hasBuiltIns && !model.jsonWithTools) return "Tool use with function calling is unsupported";
  if (hasFunctions && hasBuiltIns && !toolConfig?.includeServerSideToolInvocations)
    return "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function calling.";
  const { presencePenalty, frequencyPenalty, responseLogprobs, candidateCount = 1 } = generationConfig;
  if (!model.needsSignature && (presencePenalty || frequencyPenalty)) return `Penalty is not enabled for models/${id}`;
  if (responseLogprobs) return `Logprobs is not enabled for models/${id}`;
  return candidateCount > 1 ? `Multiple candidates is not enabled for models/${id}` : undefined;
}

function choiceFault({ tools = [], toolConfig }: GeminiBody): string | undefined {
  const names = tools.flatMap(({ functionDeclarations = [] }) => functionDeclarations.map(({ name }) => name));
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice) return `Duplicate function declaration found: ${twice}`;
  const { mode = "AUTO", allowedFunctionNames: allowed } = toolConfig?.functionCallingConfig ?? {};
  if (!toolConfig?.functionCallingConfig) return undefined;
  if (names.length === 0) return "Function calling config is set without function_declarations.";
  if (allowed && mode !== "ANY" && mode !== "VALIDATED")
    return "Allowed function names should be set only when function calling mode is ANY or VALIDATED.";
  const unknown = allowed?.find((name) => !names.includes(name));
  return unknown && `Allowed function name '${unknown}' is not among the function declarations.`;
}
