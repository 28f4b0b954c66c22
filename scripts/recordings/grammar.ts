/** What every stream that we write must keep to, by caller's dialect: wire.md §1.6, §2.3, §3.3, §5.2. */
import { isObject, type JsonObject } from "../../src/core/util.ts";
import { num, object, objects, parsed, str } from "./facts.ts";
import type { ServerEvent } from "./sse.ts";

/** @returns one line for each rule that is broken */
export function checkGrammar(dialect: string, events: readonly ServerEvent[]): string[] {
  const problems = new Set<string>();
  const rule = (holds: boolean, problem: string) => void (holds || problems.add(problem));
  GRAMMARS[dialect]?.(events, rule);
  return [...problems].map((problem) => `grammar: ${problem}`);
}

type Rule = (holds: boolean, problem: string) => void;

const GRAMMARS: Record<string, (events: readonly ServerEvent[], rule: Rule) => void> = {
  "anthropic-messages": anthropic,
  "openai-chat": chat,
  "openai-responses": responses,
  gemini,
};

const data = ({ data: text }: ServerEvent): JsonObject => object(parsed(text));

function anthropic(events: readonly ServerEvent[], rule: Rule): void {
  const payloads = events.map(data);
  const types = payloads.map(({ type }) => str(type));
  rule(types[0] === "message_start", "message_start is not first");
  rule(types.filter((type) => type === "message_start").length === 1, "not exactly one message_start");
  rule(types.at(-1) === "message_stop", "message_stop is not last");
  rule(types.at(-2) === "message_delta", "message_delta does not stand before message_stop");
  rule(
    events.every(({ event }, i) => event === types[i]),
    "an event's name is not its type",
  );
  let open: JsonObject | undefined;
  let index = 0;
  let called = false;
  let deltas: JsonObject[] = [];
  for (const payload of payloads) {
    if (payload.type === "content_block_start") {
      rule(open === undefined, "blocks interleave");
      rule(payload.index === index, "indices are not dense");
      open = object(payload.content_block);
      deltas = [];
      if (open.type === "tool_use") called = true;
      if (open.type === "tool_use") rule(str(open.id) !== "" && str(open.name) !== "", "a tool call has no id or name");
    } else if (payload.type === "content_block_delta") {
      rule(open !== undefined && payload.index === index, "a delta outside its block");
      deltas.push(object(payload.delta));
    } else if (payload.type === "content_block_stop") {
      rule(open !== undefined && payload.index === index, "a stop without its block");
      anthropicBlock(open ?? {}, deltas, rule);
      open = undefined;
      index++;
    } else if (payload.type === "message_delta") {
      rule(open === undefined, "message_delta inside a block");
      const { stop_reason } = object(payload.delta);
      const cut = /^(max_tokens|refusal|model_context_window_exceeded)$/.test(str(stop_reason));
      rule(cut || (stop_reason === "tool_use") === called, `stop_reason ${stop_reason}, tool calls ${called}`);
      rule(typeof object(payload.usage).output_tokens === "number", "message_delta has no output_tokens");
    }
    rule(counts(object(payload.usage ?? object(payload.message).usage)), "a usage count is no number of at least 0");
  }
}

function anthropicBlock(block: JsonObject, deltas: JsonObject[], rule: Rule): void {
  const kinds = deltas.map(({ type }) => type);
  if (block.type === "thinking") {
    rule(kinds.filter((kind) => kind === "signature_delta").length === 1, "not exactly one signature_delta");
    rule(kinds.at(-1) === "signature_delta", "signature_delta is not last in its block");
  } else if (block.type === "tool_use") {
    const text = deltas.map(({ partial_json }) => str(partial_json)).join("");
    rule(isObject(block.input) && Object.keys(block.input).length === 0, "a tool_use starts with input");
    rule(text === "" || isObject(parsed(text)) || typeof parsed(text) === "string", "tool input is no object");
  } else if (block.type === "text") {
    rule(
      kinds.some((kind) => kind === "text_delta"),
      "an empty text block",
    );
  }
}

function counts(usage: JsonObject): boolean {
  return Object.entries(usage).every(
    ([name, value]) => !name.endsWith("_tokens") || (Number.isInteger(value) && num(value) >= 0),
  );
}

function chat(events: readonly ServerEvent[], rule: Rule): void {
  rule(
    events.every(({ event }) => event === undefined),
    "an event has a name",
  );
  rule(events.at(-1)?.data === "[DONE]", "[DONE] is not last");
  const chunks = events.slice(0, -1).map(data);
  rule(
    chunks.every(({ object: kind }) => kind === "chat.completion.chunk"),
    "a chunk of another kind",
  );
  rule(new Set(chunks.map(({ id }) => id)).size === 1, "the id changes");
  const counted = chunks.findIndex(({ usage }) => isObject(usage));
  rule(counted === -1 || counted === chunks.length - 1, "the usage chunk is not last");
  rule(counted === -1 || objects(chunks[counted]!.choices).length === 0, "the usage chunk has choices");
  const pieces = chunks.flatMap(({ choices }) => objects(choices));
  for (const mine of Map.groupBy(pieces, ({ index }) => index).values()) chatChoice(mine, rule);
}

function chatChoice(pieces: JsonObject[], rule: Rule): void {
  const deltas = pieces.map(({ delta }) => object(delta));
  rule(deltas[0]?.role === "assistant", "the first delta has no role");
  rule(
    deltas.slice(1).every(({ role }) => role === undefined),
    "the role is repeated",
  );
  const reasons = pieces.map(({ finish_reason }) => finish_reason);
  rule(reasons.filter((reason) => reason !== null).length === 1, "not exactly one finish_reason");
  rule(reasons.at(-1) !== null, "finish_reason is not last");
  const calls = deltas.flatMap(({ tool_calls }) => objects(tool_calls));
  let next = 0;
  for (const call of calls) {
    const first = call.index === next;
    if (first) next++;
    rule(first || call.index === next - 1, "indices of tool calls are not dense");
    rule((call.id !== undefined) === first, "id on another than the first piece of a call");
    rule(!first || call.type !== "function" || str(object(call.function).name) !== "", "a tool call without a name");
  }
  const reason = str(reasons.at(-1));
  rule(reason !== "tool_calls" || next > 0, "finish_reason tool_calls without a call");
  rule(reason !== "stop" || next === 0, "finish_reason stop with a call");
}

const ENDS = /^response\.(completed|incomplete|failed)$/;

function responses(events: readonly ServerEvent[], rule: Rule): void {
  const payloads = events.map(data);
  const types = payloads.map(({ type }) => str(type));
  rule(
    payloads.every(({ sequence_number }, i) => sequence_number === i),
    "sequence numbers have gaps",
  );
  rule(
    events.every(({ event }, i) => event === types[i]),
    "an event's name is not its type",
  );
  rule(types[0] === "response.created" && types[1] === "response.in_progress", "created, in_progress are not first");
  rule(ENDS.test(types.at(-1) ?? ""), "the end of the response is not last");
  rule(types.filter((type) => ENDS.test(type)).length === 1, "not exactly one end");
  const items: JsonObject[] = [];
  let open: string | undefined;
  let part = false;
  let text = "";
  for (const payload of payloads) {
    const type = str(payload.type);
    if (payload.output_index !== undefined) rule(payload.output_index === items.length, "output_index is not dense");
    if (type === "response.output_item.added") {
      rule(open === undefined, "items interleave");
      open = str(object(payload.item).type);
      text = "";
    } else if (type === "response.output_item.done") {
      rule(open === str(object(payload.item).type), "an item ends as another type");
      rule(!part, "an item ends inside a part");
      items.push(object(payload.item));
      open = undefined;
    } else if (/_part\.added$/.test(type)) {
      rule(!part, "parts interleave");
      part = true;
      text = "";
    } else if (/_part\.done$/.test(type)) {
      rule(part, "a part ends that has not begun");
      part = false;
    } else if (/\.delta$/.test(type)) {
      rule(open !== undefined, "a delta outside its item");
      text += str(payload.delta);
    } else if (/\.done$/.test(type)) {
      const whole = payload.text ?? payload.arguments ?? payload.input ?? payload.refusal;
      rule(whole === undefined || whole === text, `${type} is not the sum of its deltas`);
    }
  }
  const { output } = object(payloads.at(-1)?.response);
  // The probabilities of tokens are told once, at the end.
  const bare = (value: unknown) => JSON.stringify(value, (key, member) => (key === "logprobs" ? [] : member));
  rule(bare(output) === bare(items), "the final output is not the items that were done");
}

const PARTS = /^(text|functionCall|inlineData|executableCode|codeExecutionResult|toolCall|toolResponse|fileData)$/;

function gemini(events: readonly ServerEvent[], rule: Rule): void {
  rule(
    events.every(({ event }) => event === undefined),
    "an event has a name",
  );
  rule(
    events.every(({ data: text }) => text !== "[DONE]"),
    "[DONE] has no place here",
  );
  const chunks = events.map(data);
  const candidates = chunks.flatMap((chunk) => objects(chunk.candidates));
  for (const mine of Map.groupBy(candidates, ({ index }) => num(index)).values()) {
    const reasons = mine.map(({ finishReason }) => finishReason ?? undefined);
    rule(reasons.filter((reason) => reason !== undefined).length === 1, "not exactly one finishReason");
    rule(reasons.at(-1) !== undefined, "finishReason is not in the last chunk of a candidate");
  }
  for (const part of candidates.flatMap(({ content }) => objects(object(content).parts))) {
    rule(
      Object.keys(part).some((key) => PARTS.test(key) || key === "thoughtSignature"),
      "a part of no kind",
    );
    if (part.functionCall) rule(isObject(object(part.functionCall).args ?? {}), "args are no object");
    if (part.functionCall) rule(str(object(part.functionCall).name) !== "", "a call without a name");
  }
  rule(
    chunks.every(({ candidates: list, usageMetadata }) => list !== undefined || usageMetadata !== undefined),
    "a chunk that says nothing",
  );
}
