import { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { Signature } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { callId } from "./calls.ts";
import { objects, text } from "./check.ts";
import { citationsOf, type Grounding } from "./citations.ts";
import { decodeFinish, FAILED } from "./finish.ts";
import { ID } from "./id.ts";
import { decodeLogprobs } from "./logprobs.ts";
import { PartialArgs } from "./partial-args.ts";
import { type SignedOn, signatureOf } from "./signatures.ts";

type At = { choice?: number };
/** What an event says besides its choice. */
type Said = StreamEvent extends infer Event
  ? Event extends { choice?: number }
    ? Omit<Event, "choice">
    : never
  : never;

export interface CandidateOptions {
  index: number;
  /** Makes ids of calls that have none unique among answers. */
  responseId: string;
  emit(event: StreamEvent): void;
}

/** Reads one candidate of an answer, whole or in pieces. */
export class Candidate {
  readonly #options: CandidateOptions;
  readonly #at: At;
  #open: "text" | "thinking" | undefined;
  #call: PartialArgs | undefined;
  #calls = 0;
  /** Of the open text. */
  #text = "";
  #answered = false;
  /** Came without text of its own: it waits until the text is complete. */
  #trailing: string | undefined;
  #grounding: Grounding = {};
  #logprobs: JsonObject[] = [];
  #reason: unknown;
  #message: string | undefined;

  constructor(options: CandidateOptions) {
    this.#options = options;
    this.#at = options.index === 0 ? {} : { choice: options.index };
  }

  get finished(): boolean {
    return this.#reason !== undefined;
  }

  read(candidate: JsonObject): void {
    const content = isObject(candidate.content) ? candidate.content : {};
    for (const part of objects(content.parts)) this.#part(part);
    const { groundingMetadata, citationMetadata, finishReason } = candidate;
    if (isObject(groundingMetadata)) this.#grounding.groundingMetadata = groundingMetadata;
    if (isObject(citationMetadata)) this.#grounding.citationMetadata = citationMetadata;
    this.#logprobs.push(...decodeLogprobs(candidate.logprobsResult));
    this.#message = text(candidate.finishMessage) ?? this.#message;
    // Some servers say STOP in every piece: the last word counts.
    if (typeof finishReason === "string" && finishReason !== "FINISH_REASON_UNSPECIFIED") this.#reason = finishReason;
  }

  /** The answer is over. @throws GatewayError if it failed before it said anything */
  finish(): void {
    this.#close();
    if (FAILED.has(this.#reason) && !this.#answered) {
      const upstreamCode = String(this.#reason);
      throw new GatewayError("upstream_error", this.#message ?? `The model's answer was unusable: ${upstreamCode}`, {
        upstreamCode,
      });
    }
    const reason = decodeFinish(this.#reason, this.#calls > 0);
    if (reason === "refusal" && !this.#answered && this.#message)
      this.#emit({ type: "refusal-delta", text: this.#message });
    if (this.#logprobs.length > 0) this.#emit({ type: "logprobs", value: { content: this.#logprobs, refusal: null } });
    this.#emit({ type: "finish", reason });
  }

  #emit(said: Said): void {
    this.#options.emit({ ...said, ...this.#at } as StreamEvent);
  }

  #part(part: JsonObject): void {
    const signature = text(part.thoughtSignature) || undefined;
    if (isObject(part.functionCall)) this.#functionCall(part.functionCall, signature);
    else if (typeof part.text === "string") this.#words(part.text, part.thought === true, signature);
    else this.#opaque(part, signature);
  }

  #words(words: string, thought: boolean, signature: string | undefined): void {
    if (words === "") {
      if (signature !== undefined) this.#hold(signature);
      return;
    }
    if (thought) {
      this.#begin("thinking");
      this.#emit({ type: "thinking-delta", text: words });
      if (signature !== undefined) this.#endThinking(signature, "answer");
      return;
    }
    if (signature !== undefined) this.#sign(signature, "answer");
    this.#begin("text");
    this.#text += words;
    this.#answered = true;
    this.#emit({ type: "text-delta", text: words });
  }

  #functionCall(call: JsonObject, signature: string | undefined): void {
    const name = text(call.name);
    if (name !== undefined) {
      if (signature !== undefined) this.#sign(signature, "call");
      this.#close();
      this.#answered = true;
      const { index, responseId } = this.#options;
      const args = isObject(call.args) ? JSON.stringify(call.args) : (text(call.args) ?? "");
      const ordinal = this.#calls++;
      const id = text(call.id) || callId(responseId, index, ordinal, name, args);
      this.#emit({ type: "tool-call-start", id, name });
      if (call.args !== undefined || (call.willContinue !== true && call.partialArgs === undefined)) {
        if (args !== "" && args !== "{}") this.#emit({ type: "tool-call-delta", arguments: args });
        return this.#emit({ type: "tool-call-end" });
      }
      this.#call = new PartialArgs();
    }
    for (const arg of objects(call.partialArgs)) this.#call?.add(arg);
    if (call.willContinue !== true) this.#endCall();
  }

  /** Code that the provider ran, media, …: what is alone in a piece is complete. */
  #opaque(part: JsonObject, signature: string | undefined): void {
    const kind = Object.keys(part).find((key) => key !== "thought" && key !== "thoughtSignature");
    if (kind === undefined) {
      if (signature !== undefined) this.#hold(signature);
      return;
    }
    this.#close();
    this.#emit({ type: "opaque", part: { type: "opaque", dialect: ID, kind, value: part } });
  }

  #hold(signature: string): void {
    if (this.#open === "text") this.#trailing = signature;
    else this.#sign(signature, "answer");
  }

  /** Signs the thinking just before, or stands as thinking of no text where there is none. */
  #sign(data: string, kind: SignedOn): void {
    if (this.#open !== "thinking") this.#begin("thinking");
    this.#endThinking(data, kind);
  }

  #begin(kind: "text" | "thinking"): void {
    if (this.#open === kind && this.#trailing === undefined) return;
    this.#close();
    this.#open = kind;
    this.#emit({ type: `${kind}-start` });
  }

  #endThinking(data: string, kind: SignedOn): void {
    this.#open = undefined;
    const signature: Signature = signatureOf(data, kind);
    this.#emit({ type: "thinking-end", signature });
  }

  #endCall(): void {
    if (!this.#call) return;
    const { json } = this.#call;
    this.#call = undefined;
    if (json !== "{}") this.#emit({ type: "tool-call-delta", arguments: json });
    this.#emit({ type: "tool-call-end" });
  }

  #close(): void {
    this.#endCall();
    const open = this.#open;
    this.#open = undefined;
    if (open === "thinking") this.#emit({ type: "thinking-end" });
    if (open !== "text") return;
    const citations = citationsOf(this.#grounding, this.#text);
    this.#emit({ type: "text-end", ...(citations && { citations }) });
    this.#grounding = {};
    this.#text = "";
    const trailing = this.#trailing;
    this.#trailing = undefined;
    if (trailing !== undefined) this.#sign(trailing, "answer");
  }
}
