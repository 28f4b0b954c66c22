import type { CustomTool, FunctionTool, Message } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import type { FitState } from "./index.ts";

/** Member of the arguments in which a function carries the free text of a custom tool. */
export const INPUT = "input";

/** A custom tool as a function of one string; what was a grammar is told in words. */
export function asFunction(tool: CustomTool, { changes }: FitState): FunctionTool {
  const grammar = grammarOf(tool.format);
  changes.push({ field: "tools", kind: "moved", from: tool.name.slice(0, 64), to: "function" });
  if (grammar) changes.push({ field: "tools.format", kind: "adjusted", from: "grammar", to: "description" });
  const description = [tool.description, grammar].filter((text) => text !== undefined && text !== "").join("\n\n");
  return {
    type: "function",
    name: tool.name,
    ...(description !== "" && { description }),
    parameters: {
      type: "object",
      properties: { [INPUT]: { type: "string", description: "The whole input of the tool, as plain text." } },
      required: [INPUT],
      additionalProperties: false,
    },
  };
}

/** Dialects nest a grammar or do not: `{ type, grammar: { syntax, definition } }`, `{ type, syntax, definition }`. */
function grammarOf(format: JsonObject | undefined): string | undefined {
  if (format?.type !== "grammar") return undefined;
  const { syntax, definition } = isObject(format.grammar) ? format.grammar : format;
  return `The input must be valid in this grammar (${String(syntax)}):\n${String(definition)}`;
}

/** Earlier calls of custom tools as calls of those functions. */
export function asFunctionCalls(message: Message): Message {
  if (!message.content.some((part) => part.type === "tool-call" && part.custom)) return message;
  return {
    ...message,
    content: message.content.map((part) => {
      if (part.type !== "tool-call" || !part.custom) return part;
      const { custom: _, ...call } = part;
      return { ...call, arguments: JSON.stringify({ [INPUT]: part.arguments }) };
    }),
  };
}
