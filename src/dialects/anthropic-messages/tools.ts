import type { FunctionTool, Tool, WebSearchTool } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import * as check from "./check.ts";
import { isEmpty, item, maybe, need, others, present } from "./check.ts";
import { clientTool, isOnlyHere } from "./client-tools.ts";
import { ID } from "./id.ts";

const FIELDS = new Set(["type", "name", "description", "input_schema", "strict", "cache_control"]);

/** The edition every model with web search takes. */
const WEB_SEARCH = "web_search_20250305";

export function decodeTool(value: unknown, path: string): Tool {
  const tool = item(value, path, check.object);
  const type = maybe(tool, "type", path, check.string);
  if (type !== undefined && type !== "custom") return decodeTyped(tool, type, path);
  const kept = others(tool, FIELDS);
  return {
    type: "function",
    name: need(tool, "name", path, check.filled),
    description: maybe(tool, "description", path, check.string),
    parameters: need(tool, "input_schema", path, check.object),
    strict: maybe(tool, "strict", path, check.flag),
    cache: maybe(tool, "cache_control", path, check.object),
    extensions: isEmpty(kept) ? undefined : { dialect: ID, value: kept },
  };
}

function decodeTyped(tool: JsonObject, type: string, path: string): Tool {
  const known = clientTool(type);
  if (known) {
    return {
      type: "function",
      name: need(tool, "name", path, check.filled),
      ...known,
      strict: maybe(tool, "strict", path, check.flag),
      cache: maybe(tool, "cache_control", path, check.object),
      native: { dialect: ID, value: tool },
    };
  }
  if (/^web_search_\d{8}$/.test(type)) return decodeWebSearch(tool, path);
  const name = maybe(tool, "name", path, check.string);
  return { type: "opaque", dialect: ID, client: isOnlyHere(type) || undefined, kind: type, name, value: tool };
}

function decodeWebSearch(tool: JsonObject, path: string): WebSearchTool {
  return {
    type: "web-search",
    name: need(tool, "name", path, check.filled),
    allowedDomains: maybe(tool, "allowed_domains", path, check.strings),
    blockedDomains: maybe(tool, "blocked_domains", path, check.strings),
    userLocation: maybe(tool, "user_location", path, check.object),
    maxUses: maybe(tool, "max_uses", path, check.count),
    native: { dialect: ID, value: tool },
  };
}

export function encodeTool(tool: Tool): JsonObject | undefined {
  switch (tool.type) {
    case "function":
      return tool.native?.dialect === ID ? tool.native.value : encodeFunction(tool);
    case "web-search":
      return tool.native.dialect === ID ? tool.native.value : encodeWebSearch(tool);
    case "opaque":
      return tool.dialect === ID ? tool.value : undefined;
    // `fit` has made a function of it.
    case "custom":
      return undefined;
  }
}

function encodeFunction(tool: FunctionTool): JsonObject {
  const known = present({
    name: tool.name,
    description: tool.description,
    input_schema: tool.parameters.type === undefined ? { type: "object", ...tool.parameters } : tool.parameters,
    strict: tool.strict,
    cache_control: tool.cache,
  });
  return tool.extensions?.dialect === ID ? { ...tool.extensions.value, ...known } : known;
}

/** The API wants either the domains that are allowed or those that are not. */
function encodeWebSearch(tool: WebSearchTool): JsonObject {
  return present({
    type: WEB_SEARCH,
    name: "web_search",
    max_uses: tool.maxUses,
    allowed_domains: tool.allowedDomains,
    blocked_domains: tool.allowedDomains ? undefined : tool.blockedDomains,
    user_location: tool.userLocation,
  });
}
