import { createHash } from "node:crypto";
import type { FunctionTool, Tool } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import { asFunction, asFunctionCalls } from "./custom-tools.ts";
import type { FitState } from "./index.ts";
import { mapped } from "./mapped.ts";
import { adaptSchema, plainSchema } from "./schema.ts";
import { holds, tellSchema } from "./schema-rules.ts";
import { unsupported } from "./unsupported.ts";
import { fitWebSearch, tellOfNoSearch } from "./web-search.ts";

/** Every provider's rule for function names, unless a row says otherwise. */
const TOOL_NAME = { pattern: /^[a-zA-Z0-9_-]{1,64}$/, maxLength: 64 };

/** What was done to tools and is undone in the answer. Names are the target's → the caller's. */
export interface FittedTools {
  toolNames: ReadonlyMap<string, string>;
  /** Custom tools that became functions, as the caller knows them. */
  customTools: ReadonlySet<string>;
}

const NO_NAMES: ReadonlyMap<string, string> = new Map();
const NO_TOOLS: ReadonlySet<string> = new Set();

export function fitTools(state: FitState): FittedTools {
  const { request, capabilities } = state;
  const asked = request.tools;
  const keepsCustom = capabilities.customTools === true;
  request.tools = mapped(asked, (tool) => fitTool(tool, asked, state));
  if (capabilities.hostedWithFunctions === false) dropHosted(state);
  if (request.tools.length === 0 && asked.length > 0 && asked.every(({ type }) => type === "web-search"))
    tellOfNoSearch(state);
  if (!keepsCustom) request.messages = mapped(request.messages, asFunctionCalls);
  fitChoice(state, asked);
  return { toolNames: fitNames(state), customTools: keepsCustom ? NO_TOOLS : customOf(asked, request.tools) };
}

/** Names of the custom tools that were asked for, where any tool is left. */
function customOf(asked: readonly Tool[], fitted: readonly Tool[]): ReadonlySet<string> {
  const custom = fitted.length === 0 ? [] : asked.filter((tool) => tool.type === "custom");
  return custom.length === 0 ? NO_TOOLS : new Set(custom.map(({ name }) => name));
}

function fitTool(tool: Tool, asked: readonly Tool[], state: FitState): Tool | undefined {
  const { capabilities, changes, dialect } = state;
  if (tool.type === "opaque" && tool.client && tool.dialect !== dialect) {
    // The caller waits for its calls; an answer without them would look as if none had been needed.
    const param = `tools.${asked.indexOf(tool)}`;
    throw unsupported((target) => `${target} cannot be given a tool of type ${tool.kind}`, param, state);
  }
  if (capabilities.tools === false) {
    changes.push({ field: "tools", kind: "dropped", from: tool.name ?? "tool", reason: "no tool support" });
    return undefined;
  }
  switch (tool.type) {
    case "function":
      return fitFunction(tool, state);
    case "custom":
      return capabilities.customTools === true ? tool : asFunction(tool, state);
    case "web-search":
      return fitWebSearch(tool, state);
    case "opaque":
      if (tool.dialect === dialect) return tool;
      changes.push({ field: "tools", kind: "dropped", from: tool.kind, reason: "the target has no such tool" });
      return undefined;
  }
}

/** The caller's own tools are what it waits for: they stay where both cannot be had. */
function dropHosted({ request, changes }: FitState): void {
  const own = request.tools.filter(({ type }) => type === "function" || type === "custom");
  if (own.length === 0) return;
  for (const tool of request.tools) {
    if (own.includes(tool)) continue;
    const from = tool.type === "opaque" ? tool.kind : tool.name.slice(0, 64);
    changes.push({ field: "tools", kind: "dropped", from, reason: "not together with functions" });
  }
  request.tools = own;
}

function fitFunction(tool: FunctionTool, state: FitState): FunctionTool {
  const { dialect, changes } = state;
  const { native, extensions } = tool;
  if (native?.dialect === dialect) return tool;
  if (native) changes.push({ field: "tools", kind: "moved", from: String(native.value.type), to: "function" });
  // Of deferred loading and the like: all tools are sent, so nothing is lost.
  const foreign = extensions !== undefined && extensions.dialect !== dialect;
  const fitted = foreign ? { ...tool, extensions: undefined } : tool;
  return fitSchema(native ? { ...fitted, native: undefined } : fitted, state);
}

function fitSchema(tool: FunctionTool, state: FitState): FunctionTool {
  const rules = state.capabilities.schemas;
  const strict = tool.strict === true;
  if (!rules || !holds(rules, "tool", strict)) {
    const { schema, changes } = plainSchema(tool.parameters, rules);
    tellSchema(state, "tools.parameters", changes);
    return withParameters(tool, schema);
  }
  const { schema, changes, problem } = adaptSchema(tool.parameters, rules);
  const refused = problem ?? (strict ? state.purse.spend(schema, rules, "tool") : undefined);
  if (refused === undefined || !strict) {
    // What was not enforced before is not lost by being told in words.
    tellSchema(state, "tools.parameters", changes, strict ? undefined : "moved");
    return withParameters(tool, schema);
  }
  state.changes.push({ field: "tools.strict", kind: "adjusted", from: true, to: false, reason: refused });
  return { ...tool, strict: false, parameters: plainSchema(tool.parameters, rules).schema };
}

function withParameters(tool: FunctionTool, parameters: JsonObject): FunctionTool {
  return parameters === tool.parameters ? tool : { ...tool, parameters };
}

function fitChoice({ request, capabilities, changes, dialect }: FitState, asked: readonly Tool[]): void {
  const choice = request.toolChoice;
  if (request.tools.length === 0) {
    request.toolChoice = undefined;
    request.parallelToolCalls = undefined;
    return;
  }
  if (!choice || choice.type === "auto" || choice.type === "none") return;
  const rule = capabilities.forcedToolChoice ?? true;
  const thinking = request.reasoning !== undefined && request.reasoning.mode !== "off";
  const allowed = rule === true || (rule === "not-with-thinking" && !thinking);
  if (allowed && (choice.type === "required" || isThere(choice.name))) return;
  changes.push({
    field: "tool_choice",
    kind: "adjusted",
    from: choice.type === "tool" ? choice.name : "required",
    to: "auto",
  });
  request.toolChoice = { type: "auto" };

  /** Tools that a provider runs are chosen by name in their own dialect only. */
  function isThere(name: string): boolean {
    const tool = asked.find((candidate) => candidate.name === name);
    if (tool?.type === "web-search" && tool.native.dialect !== dialect) return false;
    return !tool || request.tools.some((candidate) => candidate.name === name);
  }
}

function fitNames(state: FitState): ReadonlyMap<string, string> {
  const { request } = state;
  const { pattern, maxLength } = state.capabilities.toolName ?? TOOL_NAME;
  const toTarget = new Map<string, string>();
  const rename = (name: string): string => {
    if (pattern.test(name)) return name;
    let legal = toTarget.get(name);
    if (legal === undefined) {
      legal = legalName(name, pattern, maxLength);
      toTarget.set(name, legal);
    }
    return legal;
  };
  const renamed = <T extends { name: string }>(item: T): T => {
    const name = rename(item.name);
    return name === item.name ? item : { ...item, name };
  };
  request.tools = mapped(request.tools, (tool) =>
    tool.type === "function" || tool.type === "custom" ? renamed(tool) : tool,
  );
  if (request.toolChoice?.type === "tool") request.toolChoice = renamed(request.toolChoice);
  request.messages = mapped(request.messages, (message) => {
    const content = mapped(message.content, (part) => (part.type === "tool-call" ? renamed(part) : part));
    return content === message.content ? message : { ...message, content };
  });
  if (toTarget.size === 0) return NO_NAMES;
  for (const [from, to] of toTarget)
    state.changes.push({ field: "tools.name", kind: "moved", from: from.slice(0, 64), to });
  return new Map([...toTarget].map(([from, to]) => [to, from]));
}

/** A name that the target takes, the same for the same name. */
function legalName(name: string, pattern: RegExp, maxLength: number): string {
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 8);
  const plain = `${name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, maxLength - 10)}_${hash}`;
  // Some want a letter first.
  return pattern.test(plain) ? plain : `_${plain}`;
}
