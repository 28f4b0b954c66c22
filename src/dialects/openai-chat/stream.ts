import type { RawFrame, StreamDecoder } from "../../core/dialect.ts";
import { GatewayError, isGatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { pagesBeside } from "./annotations.ts";
import { type ChoiceReader, choiceReader } from "./choice.ts";
import { decodeError, isErrorBody, statusOf } from "./errors.ts";
import type { ResolvedStyle } from "./style.ts";
import { decodeUsage } from "./usage.ts";

export function streamDecoder({ originType }: Pick<ResolvedStyle, "originType">): StreamDecoder {
  const head: { id?: string; model?: string } = {};
  const choices = new Map<number, ChoiceReader>();
  let events: StreamEvent[] = [];
  let started = false;
  let over = false;
  const emit = (event: StreamEvent) => void events.push(event);

  function at(index: number): ChoiceReader {
    let choice = choices.get(index);
    if (!choice) {
      choice = choiceReader({ index, whole: false, originType, emit, head });
      choices.set(index, choice);
    }
    return choice;
  }

  function start(chunk: JsonObject): void {
    if (started) return;
    started = true;
    const { id, model, created } = readHead(chunk);
    if (id !== undefined) head.id = id;
    if (model !== undefined) head.model = model;
    emit({ type: "start", ...head, ...(created !== undefined && { created }) });
  }

  function read(frame: RawFrame): void {
    const chunk = parse(frame.data);
    const pieces = Array.isArray(chunk.choices) ? chunk.choices.filter(isObject) : [];
    const usage = decodeUsage(chunk);
    // Azure opens with a chunk that has neither choices nor an id.
    if (pieces.length > 0 || usage || chunk.id) start(chunk);
    if (isErrorBody(chunk) || frame.event === "error") {
      if (usage) emit({ type: "usage", usage });
      throw decodeError(statusOf(chunk), chunk);
    }
    const pages = pagesBeside(chunk);
    for (const piece of pieces) at(indexOf(piece)).read(piece, pages);
    if (usage) emit({ type: "usage", usage });
  }

  /** `[DONE]`: whoever has not told why it stopped, has stopped. */
  function done(): void {
    over = true;
    start({});
    at(0);
    for (const choice of choices.values()) choice.finish();
  }

  function take(): StreamEvent[] {
    const taken = events;
    events = [];
    return taken;
  }

  return {
    feed(frame) {
      const data = frame.data.trim();
      if (over || data === "") return [];
      try {
        if (data === "[DONE]") done();
        else read(frame);
      } catch (error) {
        over = true;
        emit({ type: "error", error: isGatewayError(error) ? error : unreadable(error) });
      }
      return take();
    },
    /** Blocks that are open stay open before an error: a half tool call must not look like a whole one. */
    end() {
      if (over) return [];
      over = true;
      if (choices.size > 0 && [...choices.values()].every((choice) => choice.finished)) return [];
      const message = "The upstream closed the stream before the answer was complete";
      return [{ type: "error", error: new GatewayError("upstream_unreachable", message) }];
    },
  };
}

function unreadable(cause: unknown): GatewayError {
  return new GatewayError("upstream_invalid", "The upstream sent an event that cannot be read", { cause });
}

function parse(data: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (cause) {
    throw new GatewayError("upstream_invalid", "The upstream sent an event that is not JSON", { cause });
  }
  if (!isObject(value)) throw new GatewayError("upstream_invalid", "The upstream sent an event that is not an object");
  return value;
}

/** Index of a choice; the first one if the server does not tell. */
export function indexOf({ index }: JsonObject): number {
  return Number.isInteger(index) && Number(index) >= 0 && Number(index) < 128 ? Number(index) : 0;
}

export function readHead(body: JsonObject): { id?: string; model?: string; created?: number } {
  const { id, model, created } = body;
  return {
    ...(typeof id === "string" && id !== "" && { id }),
    ...(typeof model === "string" && model !== "" && { model }),
    ...(Number.isSafeInteger(created) && (created as number) > 0 && { created: created as number }),
  };
}
