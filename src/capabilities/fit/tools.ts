import { createHash } from "node:crypto";
import type { FunctionTool, Message, Tool } from "../../core/request.ts";
import type { FitState } from "./index.ts";

/** Every provider's rule for function names, unless a row says otherwise. */
const TOOL_NAME = { pattern: /^[a-zA-Z0-9_-]{1,64}$/, maxLength: 64 };

/** @returns names as the target knows them → as the caller does, for those that had to be changed */
export function fitTools(state: FitState): Map<string, string> {
  const { request, capabilities, changes, dialect } = state;
  const kept: Tool[] = [];
  for (const tool of request.tools) {
    if (capabilities.tools === false) {
      changes.push({ field: "tools", kind: "dropped", from: tool.name ?? "tool", reason: "no tool support" });
    } else if (tool.type === "opaque" && tool.dialect !== dialect) {
      changes.push({ field: "tools", kind: "dropped", from: tool.kind, reason: "the target has no such tool" });
    } else kept.push(tool.type === "function" ? ownFields(tool, state) : tool);
  }
  request.tools = kept;
  fitChoice(state);
  return fitNames(state);
}

function ownFields(tool: FunctionTool, { dialect }: FitState): FunctionTool {
  if (!tool.extensions || tool.extensions.dialect === dialect) return tool;
  // Deferred loading and the like: all tools are sent, so nothing is lost.
  const { extensions: _, ...rest } = tool;
  return rest;
}

function fitChoice({ request, capabilities, changes }: FitState): void {
  const choice = request.toolChoice;
  if (request.tools.length === 0) {
    delete request.toolChoice;
    delete request.parallelToolCalls;
    return;
  }
  if (!choice || choice.type === "auto" || choice.type === "none") return;
  const rule = capabilities.forcedToolChoice ?? true;
  const thinking = request.reasoning !== undefined && request.reasoning.mode !== "off";
  if (rule === true || (rule === "not-with-thinking" && !thinking)) return;
  changes.push({
    field: "tool_choice",
    kind: "adjusted",
    from: choice.type === "tool" ? choice.name : "required",
    to: "auto",
  });
  request.toolChoice = { type: "auto" };
}

function fitNames(state: FitState): Map<string, string> {
  const { pattern, maxLength } = state.capabilities.toolName ?? TOOL_NAME;
  const toTarget = new Map<string, string>();
  const rename = (name: string): string => {
    if (pattern.test(name)) return name;
    const known = toTarget.get(name);
    if (known) return known;
    const hash = createHash("sha256").update(name).digest("hex").slice(0, 8);
    const legal = `${name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, maxLength - 9)}_${hash}`;
    toTarget.set(name, legal);
    return legal;
  };
  const { request } = state;
  request.tools = request.tools.map((tool) =>
    tool.type === "function" && !pattern.test(tool.name) ? { ...tool, name: rename(tool.name) } : tool,
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
