import type { ChatResponse, Choice, Part, TextPart } from "../../src/core/request.ts";
import { isObject } from "../../src/core/util.ts";
import {
  addresses,
  type CallFacts,
  type ChoiceFacts,
  canonicalText,
  emptyChoice,
  type Facts,
  parsed,
  str,
  strings,
} from "./facts.ts";

/**
 * What an answer in canonical form says.
 *
 * @param target dialect of a caller: without what only another dialect's callers can be told
 */
export function canonicalFacts(response: ChatResponse, target?: string): Facts {
  const { usage } = response;
  return {
    choices: response.choices.map((choice) => choiceFacts(choice, target)),
    ...(usage && {
      usage: {
        input: usage.inputTokens,
        output: usage.outputTokens,
        cacheRead: usage.cacheReadTokens,
        cacheWrite: usage.cacheWriteTokens,
        reasoning: usage.reasoningTokens ?? 0,
      },
    }),
    complete: true,
  };
}

function choiceFacts({ content, finishReason }: Choice, target: string | undefined): ChoiceFacts {
  const facts: ChoiceFacts = { ...emptyChoice(), finish: finishReason };
  for (const part of content) add(part, facts, target);
  return facts;
}

function add(part: Part, facts: ChoiceFacts, target: string | undefined): void {
  switch (part.type) {
    case "text":
      facts.text += part.text;
      facts.urls.push(...pages(part, target));
      break;
    case "refusal":
      facts.refusal += part.text;
      break;
    case "thinking":
      facts.thinking += part.text;
      facts.proofs.push(...(part.redacted ? [part.redacted] : []), ...(part.signature ? [part.signature.data] : []));
      break;
    case "tool-call":
      facts.calls.push(callFacts(part.id, part.name, part.arguments, part.custom ?? false));
      break;
    case "opaque": {
      if (target !== undefined && part.dialect !== target) break;
      const custom = part.kind === "tool_call" && isObject(part.value.custom) ? part.value.custom : undefined;
      if (custom) facts.calls.push(callFacts(str(part.value.id), str(custom.name), str(custom.input), true));
      else facts.blocks.push(canonicalText(part.value));
      // A block may hold proofs among its members.
      facts.proofs.push(...strings(part.value));
    }
  }
}

function pages({ citations }: TextPart, target: string | undefined): string[] {
  if (!citations) return [];
  const native = target === undefined || target === citations.dialect ? addresses(citations.value) : [];
  return [...native, ...(citations.sources ?? []).map(({ url }) => url)];
}

function callFacts(id: string, name: string, text: string, custom: boolean): CallFacts {
  return custom ? { id, name, input: text, custom } : { id, name, input: parsed(text) };
}
