/** What of an answer each caller's wire can carry, in the words of `Facts` (wire.md §8.5, §9). */
import type { FinishReason } from "../../src/core/request.ts";
import { isObject } from "../../src/core/util.ts";
import type { CallFacts, ChoiceFacts, Facts, Member } from "./facts.ts";

const ALWAYS: readonly Member[] = ["text", "thinking", "refusal", "calls", "finish"];

/** @param from dialect of the upstream that answered */
export function membersOf(from: string, dialect: string): readonly Member[] {
  if (from === dialect) return [...ALWAYS, "urls", "blocks"];
  // Messages cites pages only by its own encrypted index.
  return dialect === "anthropic-messages" ? ALWAYS : [...ALWAYS, "urls"];
}

const FINISH: Record<string, Partial<Record<FinishReason, FinishReason>>> = {
  "anthropic-messages": {},
  "openai-chat": { "stop-sequence": "stop", pause: "stop", "context-window": "length" },
  "openai-responses": { "stop-sequence": "stop", pause: "stop", "context-window": "length" },
  gemini: { "stop-sequence": "stop", pause: "stop", "context-window": "length" },
};

/** Wires whose answers hold several choices, and a refusal beside the text. */
const SEVERAL = new Set(["openai-chat", "gemini"]);
const REFUSALS = new Set(["openai-chat", "openai-responses"]);

export function carried(facts: Facts, dialect: string): Facts {
  const choices = SEVERAL.has(dialect) ? facts.choices : facts.choices.slice(0, 1);
  const usage = facts.usage && { ...facts.usage, ...(dialect === "gemini" && { cacheWrite: 0 }) };
  return { ...facts, choices: choices.map((choice) => carriedChoice(choice, dialect)), ...(usage && { usage }) };
}

function carriedChoice(choice: ChoiceFacts, dialect: string): ChoiceFacts {
  const calls = choice.calls.map((call) => carriedCall(call, dialect));
  const asText = !REFUSALS.has(dialect);
  return {
    ...choice,
    calls,
    text: asText ? choice.text + choice.refusal : choice.text,
    refusal: asText ? "" : choice.refusal,
    finish: carriedFinish(choice, dialect),
  };
}

function carriedFinish({ finish, calls, blocks, refusal }: ChoiceFacts, dialect: string): FinishReason {
  const known = FINISH[dialect]?.[finish] ?? finish;
  if (known === "length" || known === "context-window" || known === "refusal") return known;
  if (refusal !== "" && dialect === "anthropic-messages") return "refusal";
  if (calls.length > 0 || blocks.some((block) => block.includes('"type":"function_call"'))) return "tool-calls";
  if (refusal !== "") return dialect === "gemini" ? known : "refusal";
  return known === "tool-calls" ? "stop" : known;
}

/** Arguments that are no object stay visible where the wire holds objects. */
function carriedCall({ id, name, input, custom }: CallFacts, dialect: string): CallFacts {
  if (dialect === "anthropic-messages") id = id.replace(/[^a-zA-Z0-9_-]/g, "_");
  const holdsObjects = dialect === "anthropic-messages" || dialect === "gemini";
  if (custom) return { id, name, input: holdsObjects ? { input } : input };
  return { id, name, input: holdsObjects && !isObject(input) ? { __invalid_json: input } : input };
}
