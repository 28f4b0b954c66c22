import { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { type Answer, Blocks } from "./blocks.ts";
import { readDelta } from "./delta.ts";
import { decodeError } from "./errors.ts";
import { decodeFinish, FAILED } from "./finish.ts";

/** Reads one choice of an answer, whole or in pieces. */
export class ChoiceReader {
  readonly #blocks: Blocks;
  readonly #whole: boolean;
  #logprobs: JsonObject | undefined;
  #cited: readonly JsonObject[] = [];
  #finished = false;

  /** @param whole the answer is read at once, not in pieces */
  constructor(index: number, whole: boolean, answer: Answer, emit: (event: StreamEvent) => void) {
    this.#blocks = new Blocks(index, answer, emit);
    this.#whole = whole;
  }

  get finished(): boolean {
    return this.#finished;
  }

  /**
   * @param pages annotations told beside the choice; the last ones count
   * @throws GatewayError if the server says that this choice failed
   */
  read(choice: JsonObject, pages: readonly JsonObject[]): void {
    if (this.#finished) return;
    if (pages.length > 0) this.#cited = pages;
    const delta = choice.delta ?? choice.message;
    if (isObject(delta)) readDelta(delta, this.#blocks, this.#whole);
    if (isObject(choice.logprobs)) this.#logprobs = addLogprobs(this.#logprobs, choice.logprobs);
    const reason = choice.finish_reason;
    if (reason === undefined || reason === null || reason === "") return;
    if (FAILED.has(reason)) throw failure(choice, reason);
    this.finish(reason, choice.stop_reason);
  }

  /** More of its text, and nothing else. */
  say(text: string): void {
    if (!this.#finished) this.#blocks.add("text", text);
  }

  /** The answer is over, whether or not the server said why. */
  finish(reason?: unknown, stopReason?: unknown): void {
    if (this.#finished) return;
    this.#finished = true;
    const blocks = this.#blocks;
    if (this.#cited.length > 0) blocks.cite(this.#cited);
    blocks.flush();
    if (this.#logprobs) blocks.emit({ type: "logprobs", value: this.#logprobs });
    blocks.emit({ type: "finish", ...decodeFinish(reason, stopReason, blocks.seen) });
  }
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
