import type { RawFrame, StreamDecoder } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { decodeFailure } from "./errors.ts";
import { type ItemReader, itemReader } from "./item-reader.ts";
import { decodeFinish, decodeHead, objects, seenIn } from "./response.ts";
import { decodeUsage } from "./usage.ts";

/** The type of an item whose beginning a proxy has lost, by the first delta that tells of it. */
const TYPE_OF_DELTA = new Map([
  ["response.output_text.delta", "message"],
  ["response.refusal.delta", "message"],
  ["response.reasoning_summary_text.delta", "reasoning"],
  ["response.reasoning_text.delta", "reasoning"],
  ["response.function_call_arguments.delta", "function_call"],
  ["response.custom_tool_call_input.delta", "custom_tool_call"],
]);

interface Item {
  /** `output_index`, because ids of items may differ from event to event; the id where a server sends no index. */
  key: unknown;
  reader: ItemReader;
  done: boolean;
  /** Events that wait because an earlier item is still open. */
  queue: StreamEvent[];
}

export function streamDecoder(): StreamDecoder {
  /** Items that are not written to their end; only the first one writes. */
  const items: Item[] = [];
  const seen = { call: false, refusal: false };
  const logprobs: JsonObject[] = [];
  let out: StreamEvent[] = [];
  let began = false;
  let started = false;
  let ended = false;

  function begin(key: unknown, value: JsonObject): Item {
    began = true;
    start({});
    const emit = (event: StreamEvent) => void (item === items[0] ? out : item.queue).push(event);
    const item: Item = { key, reader: itemReader(value, emit), done: false, queue: [] };
    items.push(item);
    item.reader.begin?.();
    return item;
  }

  function find(key: unknown): Item | undefined {
    return items.find((item) => item.key === key && !item.done);
  }

  function finish(item: Item, value: JsonObject): void {
    const told = item.reader.finish(value);
    item.done = true;
    logprobs.push(...(told.logprobs ?? []));
    const { call } = seenIn([value]);
    seen.call ||= call;
    seen.refusal ||= told.refused ?? false;
    while (items[0]?.done) {
      items.shift();
      if (items[0]) out.push(...items[0].queue.splice(0));
    }
  }

  function read(event: JsonObject, type: unknown): void {
    const response = isObject(event.response) ? event.response : {};
    const item = isObject(event.item) ? event.item : {};
    const key = event.output_index ?? event.item_id ?? item.id;
    switch (type) {
      case "response.created":
      case "response.in_progress":
      case "response.queued":
        return start(response);
      case "response.completed":
        return complete(response);
      case "response.incomplete":
        return complete({ ...response, status: "incomplete" });
      case "response.failed":
        usage(response);
        return fail(decodeFailure(response));
      case "error":
        return fail(decodeFailure(event));
      case "response.output_item.added":
        begin(key, item);
        return;
      case "response.output_item.done":
        return finish(find(key) ?? begin(key, item), item);
    }
    if (typeof type !== "string") return;
    const lost = TYPE_OF_DELTA.get(type);
    const open = find(key) ?? (lost === undefined ? undefined : begin(key, { type: lost }));
    open?.reader.read(event, type);
  }

  function start(response: JsonObject): void {
    if (!started) out.push({ type: "start", ...decodeHead(response) });
    started = true;
  }

  function usage(response: JsonObject): void {
    const told = decodeUsage(response.usage);
    if (told) out.push({ type: "usage", usage: told });
  }

  /** The usage last, so that encoders need not wait for the end of the bytes. */
  function complete(response: JsonObject): void {
    start(response);
    const output = objects(response.output);
    for (const item of items.filter(({ done }) => !done)) {
      const value = typeof item.key === "number" ? output[item.key] : output.find(({ id }) => id === item.key);
      finish(item, value ?? item.reader.value);
    }
    // Some servers tell their output only here.
    if (!began) for (const [index, value] of output.entries()) finish(begin(index, value), value);
    if (logprobs.length > 0) out.push({ type: "logprobs", value: { content: logprobs } });
    out.push({ type: "finish", reason: decodeFinish(response, seen) });
    usage(response);
    ended = true;
  }

  /** What is open stays open: a tool call that was cut must not look complete. */
  function fail(error: GatewayError): void {
    out.push({ type: "error", error });
    ended = true;
  }

  function take(): StreamEvent[] {
    const events = out;
    out = [];
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
      if (isObject(event)) read(event, event.type ?? frame.event ?? (isObject(event.error) ? "error" : undefined));
      return take();
    },
    end() {
      if (!ended)
        fail(new GatewayError("upstream_unreachable", "The upstream closed the stream before the answer was complete"));
      return take();
    },
  };
}
