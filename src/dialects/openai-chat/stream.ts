import type { RawFrame, StreamDecoder } from "../../core/dialect.ts";
import { GatewayError, isGatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { pagesBeside } from "./annotations.ts";
import type { Answer } from "./blocks.ts";
import { ChoiceReader } from "./choice.ts";
import { decodeError, isErrorBody, statusOf } from "./errors.ts";
import { PlainChunks } from "./plain-chunks.ts";
import type { ResolvedStyle } from "./style.ts";
import { decodeUsage } from "./usage.ts";

const NONE: readonly unknown[] = [];

export function streamDecoder({ originType }: Pick<ResolvedStyle, "originType">): StreamDecoder {
  const answer: Answer = { originType };
  const choices = new Map<number, ChoiceReader>();
  const plain = new PlainChunks();
  let events: StreamEvent[] | undefined;
  let started = false;
  let over = false;

  function emit(event: StreamEvent): void {
    if (events) events.push(event);
    else events = [event];
  }

  function at(index: number): ChoiceReader {
    let choice = choices.get(index);
    if (!choice) {
      choice = new ChoiceReader(index, false, answer, emit);
      choices.set(index, choice);
    }
    return choice;
  }

  function start(chunk: JsonObject): void {
    if (started) return;
    started = true;
    const head = readHead(chunk);
    answer.id = head.id;
    answer.model = head.model;
    emit({ type: "start", ...head });
  }

  function read(frame: RawFrame): void {
    const chunk = parse(frame.data);
    const pieces: readonly unknown[] = Array.isArray(chunk.choices) ? chunk.choices : NONE;
    const usage = decodeUsage(chunk);
    // Azure opens with a chunk that has neither choices nor an id.
    if (!started && (pieces.some(isObject) || usage || chunk.id)) start(chunk);
    if (isErrorBody(chunk) || frame.event === "error") {
      if (usage) emit({ type: "usage", usage });
      throw decodeError(statusOf(chunk), chunk);
    }
    const pages = pagesBeside(chunk);
    for (const piece of pieces) if (isObject(piece)) at(indexOf(piece)).read(piece, pages);
    if (usage) emit({ type: "usage", usage });
    plain.learn(frame, chunk);
  }

  /** `[DONE]`: whoever has not told why it stopped, has stopped. */
  function done(): void {
    over = true;
    start({});
    at(0);
    for (const choice of choices.values()) choice.finish();
  }

  function take(): StreamEvent[] {
    const taken = events ?? [];
    events = undefined;
    return taken;
  }

  return {
    feed(frame) {
      if (over) return [];
      const text = plain.read(frame);
      if (text !== undefined) {
        at(0).say(text);
        return take();
      }
      const data = frame.data.trim();
      if (data === "") return [];
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

export function readHead({ id, model, created }: JsonObject): { id?: string; model?: string; created?: number } {
  const head: { id?: string; model?: string; created?: number } = {};
  if (typeof id === "string" && id !== "") head.id = id;
  if (typeof model === "string" && model !== "") head.model = model;
  if (Number.isSafeInteger(created) && (created as number) > 0) head.created = created as number;
  return head;
}
