import type { RawFrame, StreamDecoder } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import { readThinking } from "../../core/thinking-envelope.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { toolInput } from "./blocks.ts";
import { isEmpty, present } from "./check.ts";
import { citationsOf } from "./citations.ts";
import { decodeError } from "./errors.ts";
import { ID } from "./id.ts";
import { type Counters, decodeStop, readUsage, refusalText, text, toUsage } from "./response.ts";

type Finish = Extract<StreamEvent, { type: "finish" }>;

/** A block of the upstream's answer while it comes. */
interface Block {
  index: unknown;
  /** Its start, and for opaque blocks what their deltas added. */
  value: JsonObject;
  thinking: string;
  signature: string;
  json: string;
  citations: unknown[];
  stopped: boolean;
  /** Events that wait because an earlier block is still open. */
  queue: StreamEvent[];
}

export function streamDecoder(): StreamDecoder {
  const blocks: Block[] = [];
  let out: StreamEvent[] | undefined;
  let counters: Counters = {};
  let started = false;
  let ended = false;
  let hasText = false;
  let finish: Finish | undefined;
  let explanation: string | undefined;

  function put(event: StreamEvent): void {
    if (out) out.push(event);
    else out = [event];
  }

  function emit(block: Block, event: StreamEvent): void {
    if (block === blocks[0]) put(event);
    else block.queue.push(event);
  }

  function open(index: unknown, value: JsonObject): Block {
    const block = { index, value, thinking: "", signature: "", json: "", citations: [], stopped: false, queue: [] };
    blocks.push(block);
    switch (value.type) {
      case "text":
        emit(block, { type: "text-start" });
        addText(block, value.text);
        break;
      case "thinking":
        emit(block, { type: "thinking-start" });
        addThinking(block, value.thinking);
        break;
      case "redacted_thinking":
        emit(block, { type: "redacted-thinking", data: text(value.data) ?? "" });
        break;
      case "tool_use":
        emit(block, { type: "tool-call-start", id: text(value.id) ?? "", name: text(value.name) ?? "" });
        break;
    }
    return block;
  }

  function addText(block: Block, value: unknown): void {
    if (typeof value !== "string" || value === "") return;
    hasText = true;
    emit(block, { type: "text-delta", text: value });
  }

  function addThinking(block: Block, value: unknown): void {
    if (typeof value !== "string" || value === "") return;
    block.thinking += value;
    emit(block, { type: "thinking-delta", text: value });
  }

  function delta(index: unknown, change: JsonObject): void {
    let block = blocks.find((open) => open.index === index && !open.stopped);
    if (!block) {
      // A proxy lost the start.
      if (change.type === "text_delta") block = open(index, { type: "text" });
      else if (change.type === "thinking_delta") block = open(index, { type: "thinking" });
      else return;
    }
    const kind = block.value.type;
    switch (change.type) {
      case "text_delta":
        if (kind === "text") addText(block, change.text);
        break;
      case "thinking_delta":
        if (kind === "thinking") addThinking(block, change.thinking);
        break;
      case "signature_delta":
        if (kind === "thinking") block.signature += text(change.signature) ?? "";
        break;
      case "citations_delta":
        if (kind === "text") block.citations.push(change.citation);
        break;
      case "input_json_delta": {
        const json = text(change.partial_json) ?? "";
        block.json += json;
        if (kind === "tool_use" && json !== "") emit(block, { type: "tool-call-delta", arguments: json });
        return;
      }
    }
    if (isOpaque(block.value)) {
      const { type: _, ...members } = change;
      block.value = { ...block.value, ...members };
    }
  }

  function stop(block: Block): void {
    const { value } = block;
    if (value.type === "text") {
      const given = Array.isArray(value.citations) ? value.citations : [];
      const citations = citationsOf([...given, ...block.citations]);
      emit(block, { type: "text-end", ...(citations && { citations }) });
    } else if (value.type === "thinking") {
      const part = readThinking(block.thinking, block.signature || value.signature);
      if (part.text !== block.thinking) emit(block, { type: "thinking-delta", text: part.text });
      emit(block, { type: "thinking-end", ...(part.signature && { signature: part.signature }) });
    } else if (value.type === "tool_use") {
      // Some servers send the arguments whole, with the start.
      const whole = block.json === "" && isObject(value.input) && !isEmpty(value.input);
      if (whole) emit(block, { type: "tool-call-delta", arguments: JSON.stringify(value.input) });
      emit(block, { type: "tool-call-end" });
    } else if (isOpaque(value)) {
      const complete = block.json === "" ? value : { ...value, input: toolInput(block.json) };
      emit(block, {
        type: "opaque",
        part: { type: "opaque", dialect: ID, kind: text(value.type) ?? "unknown", value: complete },
      });
    }
    block.stopped = true;
    while (blocks[0]?.stopped) {
      blocks.shift();
      blocks[0]?.queue.forEach(put);
    }
  }

  function read(event: JsonObject, type: unknown): void {
    switch (type) {
      case "message_start": {
        const message = isObject(event.message) ? event.message : {};
        // What it says of the output is a first guess.
        const { output: _, reasoning: __, ...input } = readUsage({}, message.usage);
        counters = { ...counters, ...input };
        if (started) break;
        started = true;
        put(present({ type: "start", id: text(message.id), model: text(message.model) }));
        usage();
        break;
      }
      case "content_block_start":
        if (isObject(event.content_block)) open(event.index, event.content_block);
        break;
      case "content_block_delta":
        if (isObject(event.delta)) delta(event.index, event.delta);
        break;
      case "content_block_stop": {
        const block = blocks.find(({ index, stopped }) => index === event.index && !stopped);
        if (block) stop(block);
        break;
      }
      case "message_delta": {
        const change = isObject(event.delta) ? event.delta : {};
        counters = readUsage(counters, event.usage);
        if (typeof change.stop_reason === "string") {
          const stopSequence = text(change.stop_sequence);
          finish = present({ type: "finish" as const, reason: decodeStop(change.stop_reason), stopSequence });
          explanation = refusalText(change.stop_details);
        }
        usage();
        break;
      }
      case "message_stop":
        finish ??= { type: "finish", reason: "stop" };
        complete();
        break;
      case "error":
        fail(decodeError(undefined, event));
        break;
    }
  }

  function usage(): void {
    const told = toUsage(counters);
    if (told) put({ type: "usage", usage: told });
  }

  /** The usage once more, last, so that encoders need not wait for the end of the bytes. */
  function complete(): void {
    for (const block of blocks.filter(({ stopped }) => !stopped)) stop(block);
    if (explanation !== undefined && !hasText) put({ type: "refusal-delta", text: explanation });
    put(finish!);
    usage();
    ended = true;
  }

  function fail(error: GatewayError): void {
    // What is open stays open: a tool call that was cut must not look complete.
    put({ type: "error", error });
    ended = true;
  }

  function take(): StreamEvent[] {
    const events = out ?? [];
    out = undefined;
    return events;
  }

  return {
    feed(frame: RawFrame) {
      if (ended || frame.data === "" || frame.data === "[DONE]") return [];
      let event: unknown;
      try {
        event = JSON.parse(frame.data);
      } catch (cause) {
        fail(new GatewayError("upstream_invalid", "The upstream sent an event that is not valid JSON", { cause }));
        return take();
      }
      if (isObject(event)) read(event, event.type ?? frame.event);
      return take();
    },
    end() {
      if (ended) return [];
      if (finish) complete();
      else
        fail(new GatewayError("upstream_unreachable", "The upstream closed the stream before the answer was complete"));
      return take();
    },
  };
}

function isOpaque({ type }: JsonObject): boolean {
  return type !== "text" && type !== "thinking" && type !== "redacted_thinking" && type !== "tool_use";
}
