import type { ChatRequest, FunctionTool, Tool, ToolChoice, WebSearchTool } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { type Check, defined, filled, flag, list, object, oneOf, optional, rest, text } from "./check.ts";
import { ID } from "./id.ts";

const FUNCTION_FIELDS = new Set(["type", "name", "description", "parameters", "strict"]);

/** `web_search`, `web_search_preview`, and both with a date. */
const WEB_SEARCH = /^web_search(_preview)?(_\d|$)/;

export function decodeTools(value: unknown): Tool[] {
  return list(value, "tools").map((item, i) => {
    const path = `tools.${i}`;
    const tool = object(item, path);
    const kind = filled(tool.type, `${path}.type`);
    if (kind === "function") return decodeFunction(tool, path);
    if (kind === "custom") {
      const description = optional(tool.description, `${path}.description`, text);
      const format = optional(tool.format, `${path}.format`, object);
      return { type: "custom", name: filled(tool.name, `${path}.name`), ...defined({ description, format }) };
    }
    if (WEB_SEARCH.test(kind)) return decodeWebSearch(tool, kind, path);
    return {
      type: "opaque",
      dialect: ID,
      kind,
      ...(typeof tool.name === "string" && { name: tool.name }),
      value: tool,
    };
  });
}

function decodeFunction(tool: JsonObject, path: string): FunctionTool {
  const extensions = rest(tool, FUNCTION_FIELDS);
  return {
    type: "function",
    name: filled(tool.name, `${path}.name`),
    parameters: optional(tool.parameters, `${path}.parameters`, object) ?? { type: "object", properties: {} },
    ...defined({
      description: optional(tool.description, `${path}.description`, text),
      strict: optional(tool.strict, `${path}.strict`, flag),
    }),
    ...(extensions && { extensions: { dialect: ID, value: extensions } }),
  };
}

const strings: Check<string[]> = (value, path) => list(value, path).map((item, i) => text(item, `${path}.${i}`));

function decodeWebSearch(tool: JsonObject, name: string, path: string): WebSearchTool {
  const filters = optional(tool.filters, `${path}.filters`, object) ?? {};
  const location = optional(tool.user_location, `${path}.user_location`, object);
  const domains = optional(filters.allowed_domains, `${path}.filters.allowed_domains`, strings);
  return {
    type: "web-search",
    name,
    ...(domains && domains.length > 0 && { allowedDomains: domains }),
    ...(location && { userLocation: location }),
    native: { dialect: ID, value: tool },
  };
}

const MODES = ["auto", "none", "required"] as const;

/** `kept`: a choice that the canonical form knows only by its mode, to be restored as it came. */
export function decodeToolChoice(value: unknown): { choice: ToolChoice; kept?: JsonObject } {
  if (typeof value === "string") return { choice: { type: oneOf(MODES)(value, "tool_choice") } };
  const choice = object(value, "tool_choice");
  const type = filled(choice.type, "tool_choice.type");
  if (type === "allowed_tools") {
    return { choice: { type: oneOf(["auto", "required"])(choice.mode, "tool_choice.mode") }, kept: choice };
  }
  if (type === "function" || type === "custom") {
    return { choice: { type: "tool", name: filled(choice.name, "tool_choice.name") } };
  }
  return WEB_SEARCH.test(type)
    ? { choice: { type: "tool", name: type } }
    : { choice: { type: "required" }, kept: choice };
}

/** Tools and what depends on them; nothing at all without tools, because servers refuse a choice among none. */
export function encodeTools(request: ChatRequest): JsonObject {
  const tools = request.tools.map(encodeTool).filter(isObject);
  if (tools.length === 0) return {};
  return {
    tools,
    ...(request.toolChoice && { tool_choice: encodeToolChoice(request.toolChoice, request) }),
    ...(request.parallelToolCalls !== undefined && { parallel_tool_calls: request.parallelToolCalls }),
  };
}

function encodeTool(tool: Tool): JsonObject | undefined {
  switch (tool.type) {
    case "function":
      return encodeFunction(tool);
    case "custom": {
      const { type, name, description, format } = tool;
      return { type, name, ...defined({ description, format: format && flatten(format) }) };
    }
    case "web-search":
      return tool.native.dialect === ID ? tool.native.value : encodeWebSearch(tool);
    case "opaque":
      return tool.dialect === ID ? tool.value : undefined;
  }
}

/** Here a grammar stands in the format itself, elsewhere in a member of its own [O-SDK]. */
function flatten({ grammar, ...format }: JsonObject): JsonObject {
  return isObject(grammar) ? { ...format, ...grammar } : { ...format, ...defined({ grammar }) };
}

/** Without `strict` the API would try to make every schema strict [O-SDK]. */
function encodeFunction({ name, description, parameters, strict, extensions }: FunctionTool): JsonObject {
  return {
    ...(extensions?.dialect === ID && extensions.value),
    type: "function",
    name,
    ...(description !== undefined && { description }),
    parameters: Object.keys(parameters).length === 0 ? { type: "object", properties: {} } : parameters,
    strict: strict ?? false,
  };
}

function encodeWebSearch({ allowedDomains, userLocation }: WebSearchTool): JsonObject {
  return {
    type: "web_search",
    ...(allowedDomains && { filters: { allowed_domains: allowedDomains } }),
    ...(userLocation && { user_location: userLocation }),
  };
}

function encodeToolChoice(choice: ToolChoice, request: ChatRequest): unknown {
  const kept = request.extensions?.dialect === ID ? request.extensions.value.tool_choice : undefined;
  // Kept under the mode that it stands for: `fit` may have changed that.
  if (isObject(kept) && (kept.mode ?? "required") === choice.type) return kept;
  if (choice.type !== "tool") return choice.type;
  const { name } = choice;
  const tool = request.tools.find((candidate) => candidate.name === name);
  if (tool?.type === "web-search") return { type: tool.native.dialect === ID ? tool.name : "web_search" };
  if (tool?.type === "opaque") return { type: tool.kind };
  return { type: tool?.type === "custom" ? "custom" : "function", name };
}
