import type { FinishReason } from "../../../src/core/request.ts";
import { isObject, type JsonObject } from "../../../src/core/util.ts";
import {
  type CallFacts,
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
  length: "length",
  max_tokens: "length",
  model_length: "context-window",
  content_filter: "refusal",
  sensitive: "refusal",
};

interface Call extends CallFacts {
  index: unknown;
  text: string;
}

interface Reading extends ChoiceFacts {
  parts: Call[];
  reason: string;
}

export const chatWire: Wire = {
  dialect: "openai-chat",
  path: /\/chat\/completions(\?|$)/,
  isWhole: ({ choices }) => objects(choices).some(({ message }) => isObject(message)),
  isPiece: ({ object: kind, choices }) =>
    kind === "chat.completion.chunk" || objects(choices).some(({ delta }) => isObject(delta)),
  isError: (body) => body.object === "error",
  end: { data: "[DONE]" },

  whole: (body) => read([body]),
  stream: (events) => read(payloads(events)),

  request(body) {
    const out = said();
    for (const message of objects(body.messages)) {
      addTexts(message.content, out);
      if (message.refusal) out.texts.push(str(message.refusal));
      for (const call of objects(message.tool_calls)) {
        const { name, arguments: text } = object(call.function);
        if (name) out.calls.push({ name: str(name), input: typeof text === "string" ? parsed(text) : text });
      }
    }
    for (const tool of objects(body.tools)) {
      const { name, parameters } = object(tool.function ?? tool.custom ?? tool);
      out.tools.push({ name: str(name) || str(tool.type), ...(parameters !== undefined && { schema: parameters }) });
    }
    const { messages: _, tools: __, ...parameters } = body;
    out.parameters = parameters;
    return out;
  },

  errorMessage(body) {
    const error = isObject(body.error) ? body.error : body;
    const message = typeof body.error === "string" ? body.error : (error.message ?? error.detail);
    if (typeof message === "string") return message;
    return str(objects(isObject(message) ? message.detail : message)[0]?.msg);
  },
};

/** A whole answer is read as a stream of one piece. */
function read(pieces: JsonObject[]): Facts {
  const choices: Reading[] = [];
  let usage: UsageFacts | undefined;
  let error: string | undefined;
  let urls: string[] = [];
  for (const piece of pieces) {
    for (const choice of objects(piece.choices)) {
      const index = num(choice.index);
      while (choices.length <= index) choices.push({ ...emptyChoice(), parts: [], reason: "" });
      const reading = choices[index]!;
      if (reading.reason !== "") continue;
      addMessage(object(choice.delta ?? choice.message), reading);
      reading.reason = str(choice.finish_reason);
      if (reading.reason === "error") error ??= str(object(choice.error).message);
    }
    if (Array.isArray(piece.citations)) urls = piece.citations.filter((url) => typeof url === "string");
    if (isObject(piece.error)) error = str(piece.error.message);
    const counted = isObject(piece.usage) ? piece.usage : object(piece.x_groq).usage;
    usage = readUsage(object(counted)) ?? usage;
  }
  choices[0]?.urls.push(...urls);
  return {
    choices: choices.map(finished),
    ...(usage && { usage }),
    ...(error !== undefined && { error }),
    complete: error === undefined && choices.length > 0 && choices.every(({ reason }) => reason !== ""),
  };
}

function addMessage(message: JsonObject, choice: Reading): void {
  if (typeof message.content === "string") choice.text += message.content;
  const thought = [message.reasoning_content, message.reasoning].map(str).find((text) => text !== "");
  const details = objects(message.reasoning_details).map(({ text, summary }) => str(text) + str(summary));
  choice.thinking += thought ?? details.join("");
  for (const part of objects(message.content)) {
    if (part.type === "text") choice.text += str(part.text);
    else if (part.type === "thinking") {
      const pieces = typeof part.thinking === "string" ? [{ text: part.thinking }] : objects(part.thinking);
      choice.thinking += pieces.map(({ text }) => str(text)).join("");
      if (part.signature) choice.proofs.push(str(part.signature));
    } else choice.blocks.push(canonicalText(part));
  }
  choice.refusal += str(message.refusal);
  for (const { url_citation } of objects(message.annotations))
    if (object(url_citation).url) choice.urls.push(str(object(url_citation).url));
  for (const call of objects(message.tool_calls)) addCall(call, choice.parts);
}

function addCall(piece: JsonObject, calls: Call[]): void {
  const inner = object(piece.function ?? piece.custom);
  const id = str(piece.id);
  const found =
    (id !== "" && calls.findLast((call) => call.id === id)) ||
    calls.findLast(
      (call) => (piece.index === undefined || call.index === piece.index) && (id === "" || call.id === ""),
    );
  const call = found || { id, index: piece.index, name: "", text: "", input: undefined };
  if (!found) calls.push(call);
  call.name ||= str(inner.name);
  if (piece.custom !== undefined) call.custom = true;
  const text = inner.arguments ?? inner.input ?? "";
  call.text += typeof text === "string" ? text : JSON.stringify(text);
}

function finished({ parts, reason, ...facts }: Reading): ChoiceFacts {
  const calls = parts.map(({ id, name, text, custom }) =>
    custom ? { id, name, input: text, custom } : { id, name, input: parsed(text) },
  );
  const otherwise = calls.length > 0 ? "tool-calls" : facts.refusal !== "" ? "refusal" : "stop";
  return { ...facts, calls, finish: FINISH[reason] ?? otherwise };
}

function readUsage(usage: JsonObject): UsageFacts | undefined {
  if (usage.prompt_tokens === undefined) return undefined;
  const prompt = object(usage.prompt_tokens_details ?? usage.prompt_token_details);
  const completion = object(usage.completion_tokens_details);
  const input = num(usage.prompt_tokens);
  const output = num(usage.completion_tokens);
  const reasoning = num(completion.reasoning_tokens ?? usage.reasoning_tokens);
  // xAI counts reasoning beside the completion.
  const beside = usage.total_tokens === input + output + reasoning ? reasoning : 0;
  const cached = [usage.num_cached_tokens, prompt.cached_tokens, usage.prompt_cache_hit_tokens, usage.cached_tokens];
  return {
    input,
    output: output + beside,
    cacheRead: num(cached.find((count) => typeof count === "number")),
    cacheWrite: num(prompt.cache_write_tokens ?? usage.cache_write_tokens),
    // Some count more reasoning than output.
    reasoning: Math.min(reasoning, output + beside),
  };
}

function addTexts(content: unknown, out: Said): void {
  if (typeof content === "string") out.texts.push(content);
  for (const part of objects(content)) if (part.type === "text") out.texts.push(str(part.text));
}
