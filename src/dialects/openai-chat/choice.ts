import { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { Signature } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { blocks } from "./blocks.ts";
import { readDelta } from "./delta.ts";
import { decodeError } from "./errors.ts";
import { decodeFinish, FAILED } from "./finish.ts";
import { ID } from "./id.ts";

/** Reads one choice of an answer, whole or in pieces. */
export interface ChoiceReader {
  readonly finished: boolean;
  /**
   * @param pages annotations told beside the choice; the last ones count
   * @throws GatewayError if the server says that this choice failed
   */
  read(choice: JsonObject, pages?: JsonObject[]): void;
  /** The answer is over, whether or not the server said why. */
  finish(): void;
}

export interface ChoiceOptions {
  index: number;
  whole: boolean;
  originType: string | undefined;
  emit(event: StreamEvent): void;
  /** What the answer's head says: the model, and its id as a source of call ids. */
  head: { id?: string; model?: string };
}

export function choiceReader({ index, whole, originType, emit, head }: ChoiceOptions): ChoiceReader {
  const at = index === 0 ? {} : { choice: index };
  const sign = (origin: string, data: string): Signature => ({
    origin,
    ...(head.model !== undefined && { model: head.model }),
    data,
  });
  const target = blocks({
    at,
    emit,
    unsigned: () => (originType === undefined ? undefined : sign(originType, "")),
    callId: (n) => `call_${(head.id ?? "").replace(/[^0-9a-zA-Z]/g, "").slice(-24)}_${index}_${n}`,
  });
  const options = { at, whole, sign: (data: string) => sign(originType ?? ID, data) };
  let logprobs: JsonObject | undefined;
  let cited: JsonObject[] = [];
  let finished = false;

  function finish(reason: unknown, stopReason: unknown): void {
    finished = true;
    if (cited.length > 0) target.cite(cited);
    target.flush();
    if (logprobs) emit({ type: "logprobs", value: logprobs, ...at });
    emit({ type: "finish", ...decodeFinish(reason, stopReason, target.seen), ...at });
  }

  return {
    get finished() {
      return finished;
    },
    read(choice, pages = []) {
      if (finished) return;
      if (pages.length > 0) cited = pages;
      const delta = choice.delta ?? choice.message;
      if (isObject(delta)) readDelta(delta, target, options);
      if (isObject(choice.logprobs)) logprobs = addLogprobs(logprobs, choice.logprobs);
      const reason = choice.finish_reason;
      if (FAILED.has(reason)) throw failure(choice, reason);
      if (reason !== undefined && reason !== null && reason !== "") finish(reason, choice.stop_reason);
    },
    finish() {
      if (!finished) finish(undefined, undefined);
    },
  };
}

function failure(choice: JsonObject, reason: unknown): GatewayError {
  if (choice.error) return decodeError(500, { error: choice.error });
  return new GatewayError("upstream_error", "The upstream ended the answer with an error", {
    upstreamCode: String(reason),
  });
}

/** One value for the whole answer: `content` and `refusal` are lists of tokens, and grow. */
function addLogprobs(sum: JsonObject | undefined, piece: JsonObject): JsonObject {
  const merged: JsonObject = { ...sum };
  for (const [key, value] of Object.entries(piece)) {
    const before = merged[key];
    merged[key] = Array.isArray(before) ? (Array.isArray(value) ? [...before, ...value] : before) : value;
  }
  return merged;
}
