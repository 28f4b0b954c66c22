import type { PathFacts } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import type { ChatRequest, TextPart } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import {
  camel,
  filled,
  isEmpty,
  list,
  maybe,
  maybeMessage,
  message,
  need,
  others,
  present,
  refuse,
  string,
} from "./check.ts";
import { decodeConfig, encodeConfig } from "./config.ts";
import { ID } from "./id.ts";
import { decodeContents, encodeContents, encodeSystem } from "./messages.ts";
import type { GeminiStyle } from "./style.ts";
import { decodeToolConfig, decodeTools, encodeToolConfig, encodeTools } from "./tools.ts";

const FIELDS = new Set([
  "model",
  "contents",
  "systemInstruction",
  "tools",
  "toolConfig",
  "generationConfig",
  "serviceTier",
]);

/** `models/x` → `x`; other resources (`tunedModels/x`) keep their name. */
export const modelName = (resource: string): string => resource.replace(/^models\//, "");

/** Path of a model below the base URL. Nothing in a name can leave it. */
export function modelPath(model: string): string {
  const [, kind = "models", name = model] = /^(models|tunedModels)\/([^/]+)$/.exec(model) ?? [];
  return `${kind}/${encodeURIComponent(name)}`;
}

export function requestBody(body: unknown): JsonObject {
  if (!isObject(body)) throw new GatewayError("invalid_request", "The request body must be a JSON object");
  return camel(body);
}

/** @throws GatewayError `invalid_request` with the path of the field in camel case, whatever the caller wrote */
export function decodeRequest(given: unknown, { model, stream = false }: PathFacts = {}): ChatRequest {
  const body = requestBody(given);
  const kept = others(body, FIELDS);
  const toolConfig = maybeMessage(body, "toolConfig", "");
  const tools = decodeTools(maybe(body, "tools", "", list) ?? []);
  const request: ChatRequest = present({
    model: modelName(model ?? need(body, "model", "", filled)),
    system: decodeSystem(maybeMessage(body, "systemInstruction", "")),
    messages: decodeContents(need(body, "contents", "", list)),
    tools,
    toolChoice: toolConfig && decodeToolConfig(toolConfig, tools, kept),
    ...decodeConfig(maybeMessage(body, "generationConfig", "") ?? {}, kept),
    serviceTier: maybe(body, "serviceTier", "", string),
    stream,
  });
  if (request.messages.length === 0) throw refuse("contents", "must not be empty");
  if (!isEmpty(kept)) request.extensions = { dialect: ID, value: kept };
  return request;
}

function decodeSystem(system: JsonObject | undefined): TextPart[] {
  if (!system) return [];
  const parts = need(system, "parts", "systemInstruction", list);
  return parts.map((part, i) => {
    const path = `systemInstruction.parts.${i}`;
    return { type: "text", text: need(message(part, path), "text", path, string) };
  });
}

/** Without the model: it stands in the path. */
export function encodeRequest(request: ChatRequest, model: string, style: GeminiStyle): JsonObject {
  const { generationConfig, toolConfig, ...kept } = request.extensions?.dialect === ID ? request.extensions.value : {};
  const system = style.systemAsUser?.(model) ? [] : encodeSystem(request.system);
  const tools = encodeTools(request.tools);
  return present({
    ...kept,
    contents: encodeContents(request, model, style),
    systemInstruction: system.length > 0 ? { parts: system } : undefined,
    tools: tools.length > 0 ? tools : undefined,
    toolConfig: tools.length > 0 ? encodeToolConfig(request, toolConfig) : undefined,
    generationConfig: encodeConfig(request, generationConfig),
    serviceTier: request.serviceTier,
  });
}

/** `{ contents }`, a whole request, or one in `generateContentRequest`. */
export function decodeCountRequest(given: unknown, path: PathFacts = {}): ChatRequest {
  const body = requestBody(given);
  return decodeRequest(maybeMessage(body, "generateContentRequest", "") ?? body, path);
}

export function encodeCountRequest(request: ChatRequest, model: string, style: GeminiStyle): JsonObject {
  return { generateContentRequest: { model: modelPath(model), ...encodeRequest(request, model, style) } };
}
