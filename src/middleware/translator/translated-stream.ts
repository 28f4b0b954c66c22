import type { Frame, RawFrame, StreamEncoder } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { UpstreamResponse } from "../../core/provider.ts";
import { type SseReader, sseReader } from "../../dialects/sse.ts";
import { type Decision, encoderOf, Pump } from "./pump.ts";
import { isEmpty, type Restoration, restoreEvents } from "./restore.ts";

/** An answer in another dialect, or one that is not as the caller knows it: decoded and written anew. */
export class TranslatedStream extends Pump {
  protected readonly passesErrors = false;
  readonly #encoder: StreamEncoder;
  readonly #restore: ((event: StreamEvent) => readonly StreamEvent[]) | undefined;
  readonly #reader: SseReader;
  #frames: Frame[] = [];

  constructor(exchange: Exchange, response: UpstreamResponse, tools: Restoration, decision: Decision) {
    super(exchange, response, decision);
    this.#encoder = encoderOf(exchange);
    this.#restore = isEmpty(tools) ? undefined : restoreEvents(tools);
    const { isLast } = exchange.upstreamDialect;
    this.#reader = sseReader((frame: RawFrame) => {
      if (this.complete || this.failed) return;
      this.take(this.decoder.feed(frame));
      if (isLast?.(frame)) this.complete = true;
    });
  }

  protected read(chunk: Uint8Array): void {
    this.#reader.feed(chunk);
  }
  protected readRest(): void {
    this.#reader.end();
  }
  protected pass(event: StreamEvent): void {
    if (!this.#restore) return this.#write(event);
    for (const restored of this.#restore(event)) this.#write(restored);
  }
  #write(event: StreamEvent): void {
    for (const frame of this.#encoder.encode(event)) this.#frames.push(frame);
  }
  protected last(): void {
    this.#frames.push(...this.#encoder.end());
  }
  protected flush(): void {
    if (this.#frames.length === 0) return;
    this.out(this.#frames);
    this.#frames = [];
  }
  protected errorFrames(error: GatewayError): Frame[] {
    return this.#encoder.error(error);
  }
}
