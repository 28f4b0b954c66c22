import type { ChatRequest, CustomTool, FunctionTool, Tool, ToolChoice, WebSearchTool } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { filled, flag, list, object, oneOf, optional, refuse, rest, text } from "./check.ts";
import { ID } from "./id.ts";
import type { ResolvedStyle } from "./style.ts";

const TOOL_FIELDS = new Set(["type", "function", "cache_control"]);
/** Servers of this dialect that search the web have it as a tool without a definition [M-SPEC]. */
const WEB_SEARCH = /^web_search(_|$)/;
const emptyParameters = (): JsonObject => ({ type: "object", properties: {} });

export function decodeTools(value: unknown): Tool[] {
  return list(value, "tools").map((item, i) => {
    const path = `tools.${i}`;
    const tool = object(item, path);
    const kind = filled(tool.type ?? (tool.function === undefined ? undefined : "function"), `${path}.type`);
    if (kind === "function") return decodeFunction(object(tool.function, `${path}.function`), `${path}.function`, tool);
    if (kind === "custom") return decodeCustom(object(tool.custom, `${path}.custom`), `${path}.custom`);
    if (WEB_SEARCH.test(kind)) return { type: "web-search", name: kind, native: { dialect: ID, value: tool } };
    const inner = tool[kind];
    const name = isObject(inner) ? inner.name : tool.name;
    return { type: "opaque", dialect: ID, kind, name: typeof name === "string" ? name : undefined, value: tool };
  });
}

/** The deprecated `functions`. */
export function decodeFunctions(value: unknown): Tool[] {
  return list(value, "functions").map((item, i) =>
    decodeFunction(object(item, `functions.${i}`), `functions.${i}`, {}),
  );
}

function decodeFunction(value: JsonObject, path: string, outer: JsonObject): FunctionTool {
  const extensions = rest(outer, TOOL_FIELDS);
  return {
    type: "function",
    name: filled(value.name, `${path}.name`),
    description: optional(value.description, `${path}.description`, text),
    parameters: optional(value.parameters, `${path}.parameters`, object) ?? emptyParameters(),
    strict: optional(value.strict, `${path}.strict`, flag),
    cache: isObject(outer.cache_control) ? outer.cache_control : undefined,
    extensions: extensions && { dialect: ID, value: extensions },
  };
}

function decodeCustom(value: JsonObject, path: string): CustomTool {
  return {
    type: "custom",
    name: filled(value.name, `${path}.name`),
    description: optional(value.description, `${path}.description`, text),
    format: optional(value.format, `${path}.format`, object),
  };
}

/** The request's `web_search_options`: a search that is no tool on the wire [O-SDK]. */
export function decodeWebSearchOptions(value: unknown, path: string): WebSearchTool[] {
  const options = object(value, path);
  const location = optional(options.user_location, `${path}.user_location`, object);
  const userLocation = isObject(location?.approximate) ? { type: "approximate", ...location.approximate } : undefined;
  return [{ type: "web-search", name: "web_search", userLocation, native: { dialect: ID, value: options } }];
}

const anyMode = oneOf(["auto", "none", "required", "any"]);
const allowedMode = oneOf(["auto", "required"]);
const functionMode = oneOf(["auto", "none"]);

/** `kept`: a choice that the canonical form knows only by its mode, to be restored as it came. */
export function decodeToolChoice(value: unknown): { choice: ToolChoice; kept?: JsonObject } {
  if (typeof value === "string") {
    const mode = anyMode(value, "tool_choice");
    return { choice: { type: mode === "any" ? "required" : mode } };
  }
  const choice = object(value, "tool_choice");
  const type = text(choice.type ?? (choice.function && "function"), "tool_choice.type");
  if (type === "allowed_tools") {
    const inner = object(choice.allowed_tools, "tool_choice.allowed_tools");
    return {
      choice: { type: allowedMode(inner.mode, "tool_choice.allowed_tools.mode") },
      kept: choice,
    };
  }
  if (type !== "function" && type !== "custom")
    throw refuse("tool_choice.type", "one of function, custom, allowed_tools");
  const inner = object(choice[type], `tool_choice.${type}`);
  return { choice: { type: "tool", name: filled(inner.name, `tool_choice.${type}.name`) } };
}

/** The deprecated `function_call` of a request. */
export function decodeFunctionChoice(value: unknown): ToolChoice {
  if (typeof value === "string") return { type: functionMode(value, "function_call") };
  return { type: "tool", name: filled(object(value, "function_call").name, "function_call.name") };
}

/** Tools and what depends on them; nothing at all without tools, because servers refuse a choice among none. */
export function addTools(body: JsonObject, request: ChatRequest, style: ResolvedStyle): void {
  const tools: JsonObject[] = [];
  for (const tool of request.tools) {
    const encoded = encodeTool(tool, style);
    if (encoded) tools.push(encoded);
  }
  const search = request.tools.find((tool) => tool.type === "web-search");
  if (search && !isSearchTool(search)) body.web_search_options = encodeWebSearchOptions(search);
  if (tools.length === 0) return;
  body.tools = tools;
  if (request.toolChoice) body.tool_choice = encodeToolChoice(request.toolChoice, request, style);
  if (request.parallelToolCalls !== undefined) body.parallel_tool_calls = request.parallelToolCalls;
}

function encodeTool(tool: Tool, style: ResolvedStyle): JsonObject | undefined {
  switch (tool.type) {
    case "function":
      return encodeFunction(tool, style);
    case "custom":
      return encodeCustom(tool);
    case "web-search":
      return isSearchTool(tool) ? tool.native.value : undefined;
    case "opaque":
      return tool.dialect === ID ? tool.value : undefined;
  }
}

function isSearchTool({ native }: WebSearchTool): boolean {
  return native.dialect === ID && "type" in native.value;
}

function encodeWebSearchOptions(tool: WebSearchTool): JsonObject {
  if (tool.native.dialect === ID) return tool.native.value;
  const { type, ...approximate } = tool.userLocation ?? {};
  return type ? { user_location: { type: "approximate", approximate } } : {};
}

/** A grammar is nested here, and is not elsewhere. */
function encodeCustom({ name, description, format }: CustomTool): JsonObject {
  const { type, ...grammar } = format ?? {};
  const nested = type === "grammar" && !isObject(grammar.grammar) ? { type, grammar } : format;
  return {
    type: "custom",
    custom: { name, ...(description !== undefined && { description }), ...(nested && { format: nested }) },
  };
}

function encodeFunction(tool: FunctionTool, style: ResolvedStyle): JsonObject {
  const { name, description, parameters, strict, extensions } = tool;
  const definition: JsonObject = { name };
  if (description !== undefined) definition.description = description;
  if (style.parametersRequired || !isEmptySchema(parameters))
    definition.parameters = isEmpty(parameters) ? emptyParameters() : parameters;
  if (writesStrict(strict, style)) definition.strict = strict;
  const own = style.restoreExtensions && extensions?.dialect === ID;
  return own
    ? { ...extensions.value, type: "function", function: definition }
    : { type: "function", function: definition };
}

export function writesStrict(strict: boolean | undefined, style: ResolvedStyle): boolean {
  return strict === true || (strict === false && style.strictTools === "as-is");
}

function isEmptySchema(schema: JsonObject): boolean {
  for (const key in schema) if (key !== "type" && (key !== "properties" || !isEmpty(schema.properties))) return false;
  return true;
}

function isEmpty(members: unknown): boolean {
  for (const _ in members as object) return false;
  return true;
}

function encodeToolChoice(choice: ToolChoice, request: ChatRequest, style: ResolvedStyle): unknown {
  const kept =
    style.restoreExtensions && request.extensions?.dialect === ID ? request.extensions.value.tool_choice : undefined;
  if (isObject(kept) && isObject(kept.allowed_tools) && kept.allowed_tools.mode === choice.type) return kept;
  if (choice.type === "required") return style.requiredChoice;
  if (choice.type !== "tool") return choice.type;
  const { name } = choice;
  const tool = request.tools.find((candidate) => candidate.name === name);
  const kind = tool?.type === "opaque" ? tool.kind : tool?.type === "custom" ? "custom" : "function";
  return { type: kind, [kind]: { name } };
}
