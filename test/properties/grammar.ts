import type { RawFrame } from "../../src/core/dialect.ts";
import type { JsonObject } from "../../src/core/util.ts";

/** What the streams of each dialect must look like (wire.md §1.6, §2.3, §3.3, §5.2). Returns what is wrong. */
export const GRAMMARS: Record<string, (frames: readonly RawFrame[]) => string[]> = {
  "anthropic-messages": anthropic,
  "openai-chat": chat,
  "openai-responses": responses,
  gemini,
};

// biome-ignore lint/suspicious/noExplicitAny: a wire of any shape is looked at
type Json = Record<string, any>;

/** Collects what does not hold. */
function findings() {
  const wrong: string[] = [];
  return { wrong, must: (holds: unknown, what: string) => void (holds || wrong.push(what)) };
}

const DELTAS: Record<string, readonly string[]> = {
  text: ["text_delta", "citations_delta"],
  thinking: ["thinking_delta", "signature_delta"],
  tool_use: ["input_json_delta"],
};

function anthropic(frames: readonly RawFrame[]): string[] {
  const { wrong, must } = findings();
  const events = frames.map(({ event, data }) => {
    const value = JSON.parse(data) as Json;
    must(event === value.type, `event ${event} holds ${value.type}`);
    return value;
  });
  const told = events.filter(({ type }) => type !== "ping");
  const shape = told.map(({ type }) => type).join(" ");
  const block = "content_block_start( content_block_delta)* content_block_stop";
  must(RegExp(`^message_start( ${block})*( message_delta)+ message_stop$`).test(shape), `order: ${shape}`);
  must(told[0]?.message?.content?.length === 0 && told[0].message.stop_reason === null, "message_start is not empty");
  must(told[0]?.message?.usage?.input_tokens >= 0, "message_start has no usage");
  let index = -1;
  let kind = "";
  let signed = false;
  for (const { type, index: at, content_block: opened, delta, usage } of told) {
    if (type === "content_block_start") {
      must(at === ++index, `index ${at} instead of ${index}`);
      kind = opened.type;
      signed = false;
    } else if (type === "content_block_delta") {
      must(at === index, `delta of ${at} in ${index}`);
      must(DELTAS[kind]?.includes(delta.type), `${delta.type} in ${kind}`);
      must(!signed, "a delta after the signature");
      signed ||= delta.type === "signature_delta";
    } else if (type === "content_block_stop") {
      must(at === index, `stop of ${at} in ${index}`);
      must(kind !== "thinking" || signed, "thinking without a signature");
    } else if (type === "message_delta") must(usage?.output_tokens >= 0, "message_delta has no usage");
  }
  const last = told.findLast(({ type }) => type === "message_delta");
  must(typeof last?.delta?.stop_reason === "string", "no stop reason");
  return wrong;
}

function chat(frames: readonly RawFrame[]): string[] {
  const { wrong, must } = findings();
  must(
    frames.every(({ event }) => event === undefined),
    "an event has a name",
  );
  must(frames.at(-1)?.data === "[DONE]", "no [DONE]");
  const chunks = frames.slice(0, -1).map(({ data }) => JSON.parse(data) as Json);
  must(new Set(chunks.map(({ id, created, model }) => `${id} ${created} ${model}`)).size <= 1, "heads differ");
  const usageAt = chunks.findIndex(({ usage }) => usage);
  must(usageAt < 0 || usageAt === chunks.length - 1, "usage before the end");
  must(usageAt < 0 || chunks[usageAt]?.choices.length === 0, "usage beside a choice");
  const choices = new Map<number, { calls: number; finished: boolean }>();
  for (const { choices: pieces } of chunks) {
    for (const { index, delta, finish_reason: finish } of pieces as Json[]) {
      let choice = choices.get(index);
      if (!choice) {
        must(delta.role === "assistant", `choice ${index} begins without a role`);
        choice = { calls: 0, finished: false };
        choices.set(index, choice);
      } else must(delta.role === undefined, "a role twice");
      must(!choice.finished, `choice ${index} goes on after its end`);
      for (const call of (delta.tool_calls ?? []) as Json[]) {
        const opens = call.index === choice.calls;
        must(opens || call.index === choice.calls - 1, `call ${call.index} after ${choice.calls} calls`);
        if (opens) choice.calls++;
        must(opens === (call.id !== undefined), "an id that is not on the first piece");
        must(opens === (call.function?.name !== undefined), "a name that is not on the first piece");
      }
      choice.finished ||= finish !== null;
    }
  }
  for (const [index, { finished }] of choices) must(finished, `choice ${index} has no end`);
  return wrong;
}

/** What stands between an item's `added` and `done`, by its type. */
const ITEM: Record<string, RegExp> = {
  message:
    /^( content_part\.added( (output_text\.delta|output_text\.annotation\.added))*( output_text\.done)?( refusal\.delta)*( refusal\.done)? content_part\.done)*$/,
  function_call: /^( function_call_arguments\.delta)* function_call_arguments\.done$/,
  custom_tool_call: /^( custom_tool_call_input\.delta)* custom_tool_call_input\.done$/,
  reasoning:
    /^( reasoning_summary_part\.added( reasoning_summary_text\.delta)* reasoning_summary_text\.done reasoning_summary_part\.done)*( reasoning_text\.delta)*( reasoning_text\.done)?$/,
};

function responses(frames: readonly RawFrame[]): string[] {
  const { wrong, must } = findings();
  const events = frames.map(({ event, data }, i) => {
    const value = JSON.parse(data) as Json;
    must(event === value.type, `event ${event} holds ${value.type}`);
    must(value.sequence_number === i, `number ${value.sequence_number} instead of ${i}`);
    return value;
  });
  const [created, inProgress, ...rest] = events;
  must(created?.type === "response.created" && inProgress?.type === "response.in_progress", "the beginning");
  const last = rest.pop();
  must(/^response\.(completed|incomplete)$/.test(last?.type), `ends with ${last?.type}`);
  const done: Json[] = [];
  let open: Json | undefined;
  let inside = "";
  let deltas = "";
  for (const event of rest) {
    const type = (event.type as string).replace(/^response\./, "");
    must(event.output_index === done.length, `output_index ${event.output_index} instead of ${done.length}`);
    if (type === "output_item.added") {
      must(!open, "an item inside another");
      open = event.item;
      inside = "";
    } else if (type === "output_item.done") {
      must(open?.type === event.item.type && open?.id === event.item.id, "an item that is done was not added");
      must(ITEM[open?.type]?.test(inside), `inside ${open?.type}:${inside}`);
      done.push(event.item);
      open = undefined;
    } else {
      inside += ` ${type}`;
      must(event.item_id === undefined || event.item_id === open?.id, `${type} of another item`);
      if (type.endsWith(".delta")) deltas += event.delta;
      const whole = event.text ?? event.refusal ?? event.arguments ?? event.input;
      if (
        /\.(text|output_text|refusal|arguments|input|summary_text|call_arguments|call_input)?\.?done$/.test(type) &&
        typeof whole === "string"
      ) {
        must(whole === deltas || type.includes("arguments"), `${type} is not what its deltas were`);
        deltas = "";
      }
    }
  }
  must(!open, "an item is not done");
  must(JSON.stringify(last?.response?.output) === JSON.stringify(done), "the whole is not its items");
  return wrong;
}

function gemini(frames: readonly RawFrame[]): string[] {
  const { wrong, must } = findings();
  must(
    frames.every(({ event, data }) => event === undefined && data !== "[DONE]"),
    "a name, or [DONE]",
  );
  const chunks = frames.map(({ data }) => JSON.parse(data) as JsonObject & Json);
  const finished = new Set<number>();
  for (const { candidates = [] } of chunks) {
    for (const { index = 0, finishReason, content } of candidates as Json[]) {
      must(!finished.has(index), `candidate ${index} goes on after its end`);
      must(content === undefined || content.role === "model", "a candidate is no model");
      for (const part of content?.parts ?? []) must(Object.keys(part).length > 0, "an empty part");
      if (finishReason) finished.add(index);
    }
  }
  const indices = new Set(
    chunks.flatMap(({ candidates = [] }) => (candidates as Json[]).map(({ index = 0 }) => index)),
  );
  must(
    [...indices].every((index) => finished.has(index)),
    "a candidate has no end",
  );
  must(chunks.at(-1)?.usageMetadata, "the last chunk has no usage");
  return wrong;
}
