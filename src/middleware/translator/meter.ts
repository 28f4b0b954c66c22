import { estimateOutput } from "../../budget/estimate.ts";
import { GatewayError, isGatewayError } from "../../core/errors.ts";
import { type StreamEvent, textLength } from "../../core/events.ts";
import type { Exchange, Outcome } from "../../core/exchange.ts";
import type { ChatResponse } from "../../core/request.ts";
import type { Usage } from "../../core/usage.ts";

/** Watches one answer go by and ends its attempt, once, with what it used. */
export class Meter {
  readonly #exchange: Exchange;
  /** HTTP status of the upstream's answer. */
  readonly status: number;
  #usage: Usage | undefined;
  #model: string | undefined;
  #characters = 0;
  #firstTokenMs: number | undefined;

  constructor(exchange: Exchange, status: number) {
    this.#exchange = exchange;
    this.status = status;
  }

  /** @param counted whether its text counts */
  event(event: StreamEvent, counted: boolean): void {
    if (event.type === "usage") this.#usage = event.usage;
    else if (event.type === "start") this.#model = event.model;
    else if (counted) this.#characters += textLength(event);
  }

  /** Text that passed without being decoded. */
  text(characters: number): void {
    this.#characters += characters;
  }

  content(): void {
    this.#firstTokenMs ??= performance.now() - this.#exchange.startedAt;
    this.#exchange.firstTokenMs = this.#firstTokenMs;
  }

  told(usage: Usage, model: string | undefined): void {
    this.#usage = usage;
    this.#model = model;
  }

  response(response: ChatResponse): void {
    this.#usage = response.usage;
    this.#model = response.model;
    if (response.usage) return;
    for (const choice of response.choices) {
      for (const part of choice.content) {
        if (part.type === "text" || part.type === "thinking" || part.type === "refusal")
          this.#characters += part.text.length;
        else if (part.type === "tool-call") this.#characters += part.name.length + part.arguments.length;
      }
    }
  }

  /** The answer is complete. */
  finish(): void {
    this.#end({ ok: true, aborted: this.#exchange.draining });
  }

  /** The answer broke in the middle; what was seen of it is settled. @returns the error, with its provider's name */
  broken(error: Error): GatewayError {
    const known = isGatewayError(error)
      ? error
      : new GatewayError("upstream_unreachable", "The connection to the upstream broke in the middle of its answer", {
          cause: error,
        });
    const aborted = (this.#exchange.aborted ?? known).code === "client_closed";
    const named = new GatewayError(known.code, known.message, {
      ...known,
      provider: this.#exchange.target?.providerName,
      cause: known.cause,
    });
    this.#end({ ok: false, error: named, aborted });
    return named;
  }

  /** The answer is complete, and it is a refusal that somebody else may answer. @returns the error */
  refused(): GatewayError {
    const error = this.#exchange.upstreamError("content_refused", "The model declined to answer", { ladder: "next" });
    this.#end({ ok: false, error, complete: true });
    return error;
  }

  #end(end: { ok: boolean; error?: GatewayError; aborted?: boolean; complete?: boolean }): void {
    const exchange = this.#exchange;
    const usage = this.#counted(end.complete ?? end.ok);
    const outcome: Outcome = {
      ok: end.ok,
      status: end.error?.status ?? this.status,
      billable: true,
      usage,
      costNanoUsd: exchange.services.cost(exchange.target!, usage, this.#model),
      totalMs: performance.now() - exchange.startedAt,
    };
    if (end.error) outcome.error = end.error;
    if (end.aborted) outcome.aborted = true;
    if (this.#model !== undefined) outcome.model = this.#model;
    if (this.#firstTokenMs !== undefined) outcome.firstTokenMs = this.#firstTokenMs;
    exchange.finish(outcome);
  }

  /** The provider's count; where it is missing or stops short of what was streamed, our own. */
  #counted(complete: boolean): Usage {
    const told = this.#usage;
    if (told && complete) return told;
    const output = Math.max(told?.outputTokens ?? 0, estimateOutput(this.#characters));
    return {
      inputTokens:
        told && told.inputTokens > 0 ? told.inputTokens : this.#exchange.services.estimateInput(this.#exchange),
      cacheReadTokens: told?.cacheReadTokens ?? 0,
      cacheWriteTokens: told?.cacheWriteTokens ?? 0,
      outputTokens: output,
      estimated: true,
    };
  }
}
