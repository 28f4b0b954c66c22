import type { ChatRequest, FunctionTool, Tool, ToolChoice } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import {
  filled,
  isEmpty,
  join,
  list,
  maybe,
  maybeMessage,
  message,
  need,
  object,
  others,
  present,
  refuse,
  string,
  strings,
} from "./check.ts";
import { ID } from "./id.ts";
import { toJsonSchema } from "./schema.ts";

const DECLARATION_FIELDS = new Set(["name", "description", "parameters", "parametersJsonSchema"]);
const CALLING_FIELDS = new Set(["mode", "allowedFunctionNames"]);

/** A tool of the wire is a group: one member per kind. */
export function decodeTools(tools: unknown[]): Tool[] {
  return tools.flatMap((value, i) => {
    const group = message(value, `tools.${i}`);
    return Object.entries(group).flatMap(([kind, tool]): Tool[] => {
      const path = `tools.${i}.${kind}`;
      if (tool === null || tool === undefined) return [];
      if (kind === "functionDeclarations") {
        return need(group, kind, `tools.${i}`, list).map((each, j) => decodeFunction(each, `${path}.${j}`));
      }
      const native = { dialect: ID, value: { [kind]: tool } };
      if (kind !== "googleSearch") return [{ type: "opaque", kind, ...native }];
      const blockedDomains = maybe(message(tool, path), "excludeDomains", path, strings);
      return [present({ type: "web-search", name: kind, blockedDomains, native })];
    });
  });
}

function decodeFunction(value: unknown, path: string): FunctionTool {
  const declaration = message(value, path);
  const schema = maybe(declaration, "parametersJsonSchema", path, object);
  const openApi = maybe(declaration, "parameters", path, object);
  const kept = others(declaration, DECLARATION_FIELDS);
  return present({
    type: "function",
    name: need(declaration, "name", path, filled),
    description: maybe(declaration, "description", path, string) || undefined,
    parameters: schema ?? (openApi ? toJsonSchema(openApi) : { type: "object", properties: {} }),
    extensions: isEmpty(kept) ? undefined : { dialect: ID, value: kept },
  });
}

export function encodeTools(tools: readonly Tool[]): JsonObject[] {
  const functionDeclarations = tools.flatMap((tool) => (tool.type === "function" ? encodeFunction(tool) : []));
  const others = tools.map(encodeHosted).filter(isObject);
  return functionDeclarations.length > 0 ? [{ functionDeclarations }, ...others] : others;
}

function encodeHosted(tool: Tool): JsonObject | undefined {
  if (tool.type === "opaque") return tool.dialect === ID ? tool.value : undefined;
  if (tool.type !== "web-search") return undefined;
  return tool.native.dialect === ID ? tool.native.value : { googleSearch: {} };
}

function encodeFunction({ name, description, parameters, extensions }: FunctionTool): JsonObject {
  const parametersJsonSchema = parameters.type === undefined ? { type: "object", ...parameters } : parameters;
  const kept = extensions?.dialect === ID ? extensions.value : {};
  return present({ ...kept, name, description, parametersJsonSchema });
}

/** Leaves in `kept` what the choice cannot say: several allowed names, `VALIDATED`, settings of retrieval. */
export function decodeToolConfig(config: JsonObject, tools: readonly Tool[], kept: JsonObject): ToolChoice | undefined {
  const calling = maybeMessage(config, "functionCallingConfig", "toolConfig");
  const own = ["functionCallingConfig", ...(areMixed(tools) ? ["includeServerSideToolInvocations"] : [])];
  const more = others(config, new Set(own));
  const path = "toolConfig.functionCallingConfig";
  let choice: ToolChoice | undefined;
  if (calling) {
    const mode = maybe(calling, "mode", path, string) ?? "MODE_UNSPECIFIED";
    const names = maybe(calling, "allowedFunctionNames", path, strings) ?? [];
    const unsaid: JsonObject = others(calling, CALLING_FIELDS);
    choice = choiceOf(mode, names);
    if (mode === "VALIDATED") unsaid.mode = mode;
    if (names.length > 0 && choice?.type !== "tool") unsaid.allowedFunctionNames = names;
    if (!isEmpty(unsaid)) more.functionCallingConfig = unsaid;
  }
  if (!isEmpty(more)) kept.toolConfig = more;
  return choice;
}

function choiceOf(mode: string, names: string[]): ToolChoice | undefined {
  switch (mode) {
    case "MODE_UNSPECIFIED":
      return undefined;
    case "AUTO":
    case "VALIDATED":
      return { type: "auto" };
    case "NONE":
      return { type: "none" };
    case "ANY":
      return names.length === 1 ? { type: "tool", name: names[0]! } : { type: "required" };
    default:
      throw refuse(join("toolConfig.functionCallingConfig", "mode"), "must be one of AUTO, ANY, NONE, VALIDATED");
  }
}

/** Functions and tools that the API runs itself. */
function areMixed(tools: readonly Tool[]): boolean {
  return tools.some(({ type }) => type === "function") && tools.some((tool) => encodeHosted(tool));
}

const MODES = { auto: "AUTO", none: "NONE", required: "ANY", tool: "ANY" } as const;

/** How functions are called may be told where there are functions only. */
export function encodeToolConfig({ toolChoice, tools }: ChatRequest, kept: unknown): JsonObject | undefined {
  const { functionCallingConfig: unsaid, ...more } = isObject(kept) ? kept : {};
  const calling = isObject(unsaid) ? { ...unsaid } : {};
  if (toolChoice) {
    calling.mode = toolChoice.type === "auto" ? (calling.mode ?? "AUTO") : MODES[toolChoice.type];
    if (toolChoice.type === "tool") calling.allowedFunctionNames = [toolChoice.name];
  }
  const functions = tools.some(({ type }) => type === "function");
  const config = {
    ...more,
    // Both kinds together are refused without it [G-PROTO ToolConfig].
    ...(areMixed(tools) && { includeServerSideToolInvocations: true }),
    ...(functions && !isEmpty(calling) && { functionCallingConfig: calling }),
  };
  return isEmpty(config) ? undefined : config;
}
