import type { FinishReason } from "../../../src/core/request.ts";
import type { JsonObject } from "../../../src/core/util.ts";
import {
  type ChoiceFacts,
  canonicalText,
  emptyChoice,
  type Facts,
  num,
  object,
  objects,
  parsed,
  str,
  type UsageFacts,
} from "../facts.ts";
import { payloads, type Said, said, type Wire } from "./wire.ts";

const CUT: Record<string, FinishReason> = {
  max_output_tokens: "length",
  content_filter: "refusal",
};

const ENDS = /^response\.(completed|incomplete|failed)$/;

export const responsesWire: Wire = {
  dialect: "openai-responses",
  path: /\/responses(\?|$)/,
  isWhole: (body) => body.object === "response" || (Array.isArray(body.output) && body.status !== undefined),
  isPiece: ({ type }) => str(type).startsWith("response."),
  isError: () => false,
  marks: { first: ({ type }) => type === "response.created", last: ({ type }) => ENDS.test(str(type)) },

  whole: (body) => readResponse(body, objects(body.output)),

  /** An item is what its end says it is, or else what its start and its deltas do. */
  stream(events) {
    const items = new Map<number, JsonObject>();
    const done = new Set<number>();
    let last: JsonObject | undefined;
    let error: string | undefined;
    for (const event of payloads(events)) {
      const at = num(event.output_index);
      if (event.type === "response.output_item.added") items.set(at, { ...object(event.item) });
      else if (event.type === "response.output_item.done") {
        items.set(at, object(event.item));
        done.add(at);
      } else if (ENDS.test(str(event.type))) last = object(event.response);
      else if (event.type === "error") error = str(object(event.error ?? event).message);
      else if (!done.has(at)) addDelta(items.get(at) ?? {}, event);
    }
    const sorted = [...items].sort(([a], [b]) => a - b).map(([, item]) => item);
    const facts = readResponse(last ?? {}, sorted.length > 0 ? sorted : objects(last?.output));
    if (last?.status === "failed") error ??= str(object(last.error).message);
    return { ...facts, complete: last !== undefined && error === undefined, ...(error !== undefined && { error }) };
  },

  request(body) {
    const out = said();
    if (body.instructions) out.texts.push(str(body.instructions));
    if (typeof body.input === "string") out.texts.push(body.input);
    for (const item of objects(body.input)) {
      if (item.type === "function_call") out.calls.push({ name: str(item.name), input: parsed(str(item.arguments)) });
      else if (item.type === "function_call_output") addTexts(item.output, out);
      else if (item.type === undefined || item.type === "message") addTexts(item.content, out);
    }
    for (const tool of objects(body.tools)) {
      const plain = tool.type === "function";
      out.tools.push({ name: str(tool.name ?? tool.type), ...(plain && { schema: tool.parameters }) });
    }
    const { instructions: _, input: __, tools: ___, ...parameters } = body;
    out.parameters = parameters;
    return out;
  },

  errorMessage: (body) => str(object(body.error).message) || str(body.message) || str(body.error),
};

function addDelta(item: JsonObject, event: JsonObject): void {
  const delta = str(event.delta);
  switch (event.type) {
    case "response.output_text.delta":
      item.text = str(item.text) + delta;
      break;
    case "response.refusal.delta":
      item.refused = str(item.refused) + delta;
      break;
    case "response.reasoning_text.delta":
    case "response.reasoning_summary_text.delta":
      item.thought = str(item.thought) + delta;
      break;
    case "response.function_call_arguments.delta":
      item.arguments = str(item.arguments) + delta;
      break;
    case "response.custom_tool_call_input.delta":
      item.input = str(item.input) + delta;
  }
}

/** A call of a tool in a namespace, or by the model's own program, means nothing to callers of other wires. */
function isOwn({ type, namespace, caller }: JsonObject): boolean {
  return type === "function_call" && (Boolean(namespace) || (caller != null && object(caller).type !== "direct"));
}

function readResponse(body: JsonObject, items: JsonObject[]): Facts {
  const choice = emptyChoice();
  for (const item of items) addItem(item, choice);
  const reason = str(object(body.incomplete_details).reason);
  const otherwise = items.some(({ type }) => /^(function|custom_tool)_call$/.test(str(type)))
    ? "tool-calls"
    : choice.refusal !== ""
      ? "refusal"
      : "stop";
  choice.finish = body.status === "incomplete" ? (CUT[reason] ?? "pause") : otherwise;
  const usage = object(body.usage);
  return {
    choices: [choice],
    ...(usage.input_tokens !== undefined && { usage: readUsage(usage) }),
    ...(body.status === "failed" && { error: str(object(body.error).message) }),
    complete: true,
  };
}

function addItem(item: JsonObject, choice: ChoiceFacts): void {
  switch (isOwn(item) ? "own" : item.type) {
    case "message":
      choice.text += str(item.text);
      choice.refusal += str(item.refused);
      for (const part of objects(item.content)) {
        choice.text += str(part.text);
        choice.refusal += str(part.refusal);
        choice.urls.push(...objects(part.annotations).flatMap(({ url }) => (url ? [str(url)] : [])));
      }
      break;
    case "reasoning":
      choice.thinking += str(item.thought);
      for (const part of [...objects(item.summary), ...objects(item.content)]) choice.thinking += str(part.text);
      if (item.encrypted_content) choice.proofs.push(str(item.encrypted_content));
      break;
    case "function_call":
      choice.calls.push({ id: str(item.call_id), name: str(item.name), input: parsed(str(item.arguments)) });
      break;
    case "custom_tool_call":
      choice.calls.push({ id: str(item.call_id), name: str(item.name), input: str(item.input), custom: true });
      break;
    default:
      choice.blocks.push(canonicalText(item));
  }
}

function readUsage(usage: JsonObject): UsageFacts {
  const input = object(usage.input_tokens_details);
  return {
    input: num(usage.input_tokens),
    output: num(usage.output_tokens),
    cacheRead: num(input.cached_tokens),
    cacheWrite: num(input.cache_write_tokens),
    reasoning: num(object(usage.output_tokens_details).reasoning_tokens),
  };
}

function addTexts(content: unknown, out: Said): void {
  if (typeof content === "string") out.texts.push(content);
  for (const part of objects(content)) if (/text$/.test(str(part.type))) out.texts.push(str(part.text));
}
