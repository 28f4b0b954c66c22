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

const FINISH: Record<string, FinishReason> = {
  end_turn: "stop",
  stop_sequence: "stop-sequence",
  max_tokens: "length",
  model_context_window_exceeded: "context-window",
  tool_use: "tool-calls",
  refusal: "refusal",
  pause_turn: "pause",
  compaction: "pause",
};

export const anthropicWire: Wire = {
  dialect: "anthropic-messages",
  path: /\/messages(\?|$)/,
  isWhole: (body) => body.type === "message" && Array.isArray(body.content),
  isPiece: ({ type }) => /^(message_(start|delta|stop)|content_block_(start|delta|stop))$/.test(str(type)),
  isError: (body) => body.type === "error",
  marks: { first: ({ type }) => type === "message_start", last: ({ type }) => type === "message_stop" },

  whole: (body) =>
    readMessage(objects(body.content), object(body.usage), str(body.stop_reason), object(body.stop_details)),

  stream(events) {
    const blocks: JsonObject[] = [];
    const open = new Map<unknown, JsonObject>();
    let usage: JsonObject = {};
    let stop: JsonObject | undefined;
    let error: string | undefined;
    let over = false;
    for (const event of payloads(events)) {
      if (over) break;
      if (event.type === "message_start") {
        const { output_tokens: _, output_tokens_details: __, ...input } = object(object(event.message).usage);
        usage = { ...usage, ...told(input) };
      } else if (event.type === "content_block_start") {
        const block = { ...object(event.content_block), json: "" };
        open.set(event.index, block);
        blocks.push(block);
      } else if (event.type === "content_block_delta") addDelta(open.get(event.index) ?? {}, object(event.delta));
      else if (event.type === "message_delta") {
        usage = { ...usage, ...told(object(event.usage)) };
        if (object(event.delta).stop_reason) stop = object(event.delta);
      } else if (event.type === "message_stop") {
        stop ??= {};
        over = true;
      } else if (event.type === "error") {
        error = str(object(event.error).message);
        over = true;
      }
    }
    const whole = blocks.map(({ json, ...block }) => (json === "" ? block : { ...block, input: parsed(str(json)) }));
    const facts = readMessage(whole, usage, str(stop?.stop_reason), object(stop?.stop_details));
    return { ...facts, complete: stop !== undefined && error === undefined, ...(error !== undefined && { error }) };
  },

  request(body) {
    const out = said();
    addTexts(body.system, out);
    for (const message of objects(body.messages)) addTexts(message.content, out);
    for (const tool of objects(body.tools)) {
      const plain = tool.type === undefined || tool.type === "custom";
      out.tools.push({ name: str(tool.name), ...(plain && { schema: tool.input_schema }) });
    }
    const { system: _, messages: __, tools: ___, ...parameters } = body;
    out.parameters = parameters;
    return out;
  },

  errorMessage: (body) => str(object(body.error).message),
};

const told = (usage: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== null));

function addDelta(block: JsonObject, { type, ...delta }: JsonObject): void {
  if (type === "input_json_delta") block.json = str(block.json) + str(delta.partial_json);
  else if (type === "citations_delta") block.citations = [...objects(block.citations), delta.citation];
  else if (type === "compaction_delta") Object.assign(block, delta);
  else
    for (const [key, value] of Object.entries(delta))
      if (typeof value === "string") block[key] = str(block[key]) + value;
}

function readMessage(blocks: JsonObject[], usage: JsonObject, stop: string, details: JsonObject): Facts {
  const choice = emptyChoice();
  for (const block of blocks) addBlock(block, choice);
  if (!blocks.some(({ type }) => type === "text")) choice.refusal = str(details.explanation);
  choice.finish = FINISH[stop] ?? "stop";
  return {
    choices: [choice],
    ...((usage.input_tokens !== undefined || usage.output_tokens !== undefined) && { usage: readUsage(usage) }),
    complete: true,
  };
}

function addBlock(block: JsonObject, choice: ChoiceFacts): void {
  switch (block.type) {
    case "text":
      choice.text += str(block.text);
      choice.urls.push(...objects(block.citations).flatMap(({ url }) => (typeof url === "string" ? [url] : [])));
      break;
    case "thinking":
      choice.thinking += str(block.thinking);
      if (block.signature) choice.proofs.push(str(block.signature));
      break;
    case "redacted_thinking":
      choice.proofs.push(str(block.data));
      break;
    case "tool_use":
      choice.calls.push({ id: str(block.id), name: str(block.name), input: block.input });
      break;
    default:
      choice.blocks.push(canonicalText(block));
  }
}

function readUsage(usage: JsonObject): UsageFacts {
  const cacheRead = num(usage.cache_read_input_tokens);
  const cacheWrite = num(usage.cache_creation_input_tokens);
  return {
    input: num(usage.input_tokens) + cacheRead + cacheWrite,
    output: num(usage.output_tokens),
    cacheRead,
    cacheWrite,
    reasoning: num(object(usage.output_tokens_details).thinking_tokens),
  };
}

function addTexts(content: unknown, out: Said): void {
  if (typeof content === "string") out.texts.push(content);
  for (const block of objects(content)) {
    if (block.type === "text") out.texts.push(str(block.text));
    else if (block.type === "tool_use") out.calls.push({ name: str(block.name), input: block.input });
    else if (block.type === "tool_result") addTexts(block.content, out);
  }
}
