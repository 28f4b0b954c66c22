import { createHash } from "node:crypto";
import type { FunctionTool, Message, Tool } from "../../core/request.ts";
import { asFunction, asFunctionCalls } from "./custom-tools.ts";
import type { FitState } from "./index.ts";
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

export function fitTools(state: FitState): FittedTools {
  const { request, capabilities } = state;
  const asked = request.tools;
  const keepsCustom = capabilities.customTools === true;
  request.tools = asked.flatMap((tool, index) => fitTool(tool, index, state));
  if (capabilities.hostedWithFunctions === false) dropHosted(state);
  if (request.tools.length === 0 && asked.length > 0 && asked.every(({ type }) => type === "web-search"))
    tellOfNoSearch(state);
  if (!keepsCustom) request.messages = request.messages.map(asFunctionCalls);
  fitChoice(state, asked);
  const custom = keepsCustom || request.tools.length === 0 ? [] : asked.filter(({ type }) => type === "custom");
  return { toolNames: fitNames(state), customTools: new Set(custom.map(({ name }) => name!)) };
}

function fitTool(tool: Tool, index: number, state: FitState): Tool[] {
  const { capabilities, changes, dialect } = state;
  if (tool.type === "opaque" && tool.client && tool.dialect !== dialect) {
    // The caller waits for its calls; an answer without them would look as if none had been needed.
    throw unsupported((target) => `${target} cannot be given a tool of type ${tool.kind}`, `tools.${index}`, state);
  }
  if (capabilities.tools === false) {
    changes.push({ field: "tools", kind: "dropped", from: tool.name ?? "tool", reason: "no tool support" });
    return [];
  }
  switch (tool.type) {
    case "function":
      return [fitFunction(tool, state)];
    case "custom":
      return [capabilities.customTools === true ? tool : asFunction(tool, state)];
    case "web-search":
      return fitWebSearch(tool, state);
    case "opaque":
      if (tool.dialect === dialect) return [tool];
      changes.push({ field: "tools", kind: "dropped", from: tool.kind, reason: "the target has no such tool" });
      return [];
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
  if (tool.native?.dialect === dialect) return tool;
  const { native, extensions, ...fitted } = tool;
  if (native) changes.push({ field: "tools", kind: "moved", from: String(native.value.type), to: "function" });
  // Of deferred loading and the like: all tools are sent, so nothing is lost.
  if (extensions?.dialect === dialect) return fitSchema({ ...fitted, extensions }, state);
  return fitSchema(fitted, state);
}

function fitSchema(tool: FunctionTool, state: FitState): FunctionTool {
  const rules = state.capabilities.schemas;
  const strict = tool.strict === true;
  if (!rules || !holds(rules, "tool", strict)) {
    const { schema, changes } = plainSchema(tool.parameters, rules);
    tellSchema(state, "tools.parameters", changes);
    return { ...tool, parameters: schema };
  }
  const { schema, changes, problem } = adaptSchema(tool.parameters, rules);
  const refused = problem ?? (strict ? state.purse.spend(schema, rules, "tool") : undefined);
  if (refused === undefined || !strict) {
    // What was not enforced before is not lost by being told in words.
    tellSchema(state, "tools.parameters", changes, strict ? undefined : "moved");
    return { ...tool, parameters: schema };
  }
  state.changes.push({ field: "tools.strict", kind: "adjusted", from: true, to: false, reason: refused });
  return { ...tool, strict: false, parameters: plainSchema(tool.parameters, rules).schema };
}

function fitChoice({ request, capabilities, changes, dialect }: FitState, asked: readonly Tool[]): void {
  const choice = request.toolChoice;
  if (request.tools.length === 0) {
    delete request.toolChoice;
    delete request.parallelToolCalls;
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

function fitNames(state: FitState): Map<string, string> {
  const { pattern, maxLength } = state.capabilities.toolName ?? TOOL_NAME;
  const toTarget = new Map<string, string>();
  const rename = (name: string): string => {
    if (pattern.test(name)) return name;
    const known = toTarget.get(name);
    if (known) return known;
    const hash = createHash("sha256").update(name).digest("hex").slice(0, 8);
    const plain = `${name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, maxLength - 10)}_${hash}`;
    // Some want a letter first.
    const legal = pattern.test(plain) ? plain : `_${plain}`;
    toTarget.set(name, legal);
    return legal;
  };
  const { request } = state;
  request.tools = request.tools.map((tool) =>
    (tool.type === "function" || tool.type === "custom") && !pattern.test(tool.name)
      ? { ...tool, name: rename(tool.name) }
      : tool,
  );
  if (request.toolChoice?.type === "tool") request.toolChoice = { type: "tool", name: rename(request.toolChoice.name) };
  request.messages = request.messages.map((message) => renameCalls(message, rename, pattern));
  for (const [from, to] of toTarget)
    state.changes.push({ field: "tools.name", kind: "moved", from: from.slice(0, 64), to });
  return new Map([...toTarget].map(([from, to]) => [to, from]));
}

function renameCalls(message: Message, rename: (name: string) => string, pattern: RegExp): Message {
  if (!message.content.some((part) => part.type === "tool-call" && !pattern.test(part.name))) return message;
  return {
    ...message,
    content: message.content.map((part) => (part.type === "tool-call" ? { ...part, name: rename(part.name) } : part)),
  };
}
