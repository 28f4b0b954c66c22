import type { StreamEvent } from "../../core/events.ts";
import type { Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { Candidate } from "./candidate.ts";
import { objects, present, text } from "./check.ts";
import { decodeError } from "./errors.ts";
import { decodeUsage } from "./usage.ts";

const MAX_CANDIDATES = 128;

/** Reads one answer, whole or in pieces: both are made of the same objects. */
export class Answer {
  readonly #emit: (event: StreamEvent) => void;
  readonly #candidates = new Map<number, Candidate>();
  #responseId: string | undefined;
  #started = false;
  #usage: Usage | undefined;
  /** Why there is no candidate. */
  #blocked: string | undefined;

  constructor(emit: (event: StreamEvent) => void) {
    this.#emit = emit;
  }

  /** Whether the upstream said how it ended. */
  get finished(): boolean {
    if (this.#candidates.size === 0) return this.#blocked !== undefined;
    return [...this.#candidates.values()].every(({ finished }) => finished);
  }

  /** @throws GatewayError that the upstream told */
  read(piece: JsonObject): void {
    if (isObject(piece.error)) throw decodeError(undefined, piece);
    if (!this.#started) {
      this.#started = true;
      this.#responseId = text(piece.responseId);
      this.#emit(present({ type: "start", id: this.#responseId, model: text(piece.modelVersion) }));
    }
    for (const [i, candidate] of objects(piece.candidates).entries()) this.#at(candidate.index ?? i)?.read(candidate);
    const { blockReason, blockReasonMessage } = isObject(piece.promptFeedback) ? piece.promptFeedback : {};
    if (typeof blockReason === "string") {
      this.#blocked = text(blockReasonMessage) ?? `The prompt was blocked: ${blockReason}`;
    }
    const usage = decodeUsage(piece.usageMetadata);
    if (!usage) return;
    this.#usage = usage;
    this.#emit({ type: "usage", usage });
  }

  /** It is over; the usage comes once more, last. @throws GatewayError if a candidate failed */
  finish(): void {
    for (const candidate of this.#candidates.values()) candidate.finish();
    if (this.#candidates.size === 0) {
      if (this.#blocked !== undefined) this.#emit({ type: "refusal-delta", text: this.#blocked });
      this.#emit({ type: "finish", reason: this.#blocked === undefined ? "stop" : "refusal" });
    }
    if (this.#usage) this.#emit({ type: "usage", usage: this.#usage });
  }

  #at(index: unknown): Candidate | undefined {
    if (!Number.isSafeInteger(index) || Number(index) < 0 || Number(index) >= MAX_CANDIDATES) return undefined;
    let candidate = this.#candidates.get(Number(index));
    if (!candidate) {
      candidate = new Candidate({ index: Number(index), responseId: this.#responseId ?? "", emit: this.#emit });
      this.#candidates.set(Number(index), candidate);
    }
    return candidate;
  }
}
