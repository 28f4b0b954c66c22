import { callerContext } from "../../core/caller-context.ts";
import type { Frame, StreamDecoder } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import { isContent, type StreamEvent } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { ByteSink, ByteSource, UpstreamResponse } from "../../core/provider.ts";
import type { StreamSink, StreamSource } from "../../core/reply.ts";
import { Meter } from "./meter.ts";

/** Most bytes of an undecided answer that are held back; beyond it the attempt counts as decided. */
const MAX_PREAMBLE = 256 * 1024;

const NOBODY: StreamSink = { bytes() {}, frames() {}, end() {}, fail() {} };

/** Whom a stream tells that its attempt is decided. */
export interface Decision {
  /** The answer has begun: it is this one's to give. */
  decide(): void;
  /** It failed before: somebody else may be asked. */
  refuse(error: GatewayError): void;
}

/** Upstream bytes → caller's bytes or frames, in one synchronous pass per chunk. */
export abstract class Pump implements StreamSource, ByteSink {
  protected readonly exchange: Exchange;
  protected readonly meter: Meter;
  protected readonly decoder: StreamDecoder;
  readonly #source: ByteSource;

  /** Dropped once it is told. */
  #decision: Decision | undefined;
  protected decided = false;
  /** The upstream has said its last. */
  protected complete = false;
  protected failed: GatewayError | undefined;
  /** It ended with a refusal and has said nothing. */
  #declines = false;

  #arrived: Uint8Array[] | undefined;
  #sink: StreamSink | undefined;
  #done = false;
  #held: (Uint8Array | Frame[])[] = [];
  #heldBytes = 0;
  /** How it ended, when that was before the sink was there. */
  #ending: { error?: GatewayError; frames: Frame[] } | undefined;

  constructor(exchange: Exchange, { status, body }: UpstreamResponse, decision: Decision) {
    this.exchange = exchange;
    this.meter = new Meter(exchange, status);
    this.decoder = exchange.upstreamDialect.streamDecoder();
    this.#source = body;
    this.#decision = decision;
  }

  run(): void {
    // Registered after the call's own listener, which decides whether there is to be a drain.
    this.exchange.onAbort(() => {
      if (this.exchange.draining) this.#detach();
    });
    this.#source.start(this);
  }

  /** Reads what is whole of a chunk, and what was left of the one before. */
  protected abstract read(chunk: Uint8Array): void;
  /** Reads what is left at the end. */
  protected abstract readRest(): void;
  /** What one event becomes. */
  protected abstract pass(event: StreamEvent): void;
  /** Hands on what a chunk became. */
  protected abstract flush(chunk?: Uint8Array): void;
  /** Frames behind the last event. */
  protected abstract last(): void;
  /** Frames that tell an error in the caller's dialect. */
  protected abstract errorFrames(error: GatewayError): Frame[];
  /** An error of the upstream's own reaches the caller as it came. */
  protected abstract readonly passesErrors: boolean;

  /** @param counted whether the meter counts their text */
  protected take(events: readonly StreamEvent[], counted = true): void {
    for (const event of events) {
      if (this.failed) return;
      if (event.type === "error") {
        this.failed = event.error;
        return;
      }
      this.meter.event(event, counted);
      if (!this.decided) {
        if (event.type === "finish" && event.reason === "refusal") this.#declines = this.exchange.refusalFails;
        this.decided = !this.#declines && isContent(event);
      }
      this.pass(event);
    }
  }

  data(chunk: Uint8Array): void {
    if (this.#done) return;
    if (this.#arrived) {
      this.#arrived.push(chunk);
      return;
    }
    this.#arrived = [chunk];
    queueMicrotask(this.#work);
  }

  /** Chunks that came in one packet are worked on, and written, in one piece. */
  readonly #work = (): void => {
    const chunks = this.#arrived;
    if (!chunks) return;
    this.#arrived = undefined;
    this.#take(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
  };

  #take(chunk: Uint8Array): void {
    if (this.#done) return;
    const before = this.decided;
    try {
      this.read(chunk);
      const { failed } = this;
      if (failed) {
        // What came before it belongs to the caller.
        if (this.decided) this.flush(chunk);
        this.#source.cancel();
        return this.#fail(failed, this.passesErrors);
      }
      this.flush(chunk);
      if (this.complete) this.#end();
      else if (this.decided && !before) this.#announce();
    } catch (error) {
      this.#broken(error as Error);
    }
  }

  end(): void {
    this.#work();
    if (this.#done) return;
    try {
      this.readRest();
      this.#end();
    } catch (error) {
      this.#broken(error as Error);
    }
  }

  error(error: Error): void {
    this.#work();
    if (this.#done) return;
    // What was decoded before the break belongs to the caller.
    this.flush();
    this.#fail(error);
  }

  #end(): void {
    if (this.#done) return;
    if (!this.failed) this.take(this.decoder.end());
    if (this.#declines) this.failed ??= this.meter.refused();
    if (this.failed) return this.#fail(this.failed);
    this.last();
    this.flush();
    this.#succeed();
  }

  #broken(error: Error): void {
    this.#source.cancel();
    this.#fail(error);
  }

  #announce(): void {
    this.meter.content();
    this.#decision?.decide();
    this.#decision = undefined;
  }

  protected out(item: Uint8Array | Frame[]): void {
    if (this.#sink) {
      if (Array.isArray(item)) this.#sink.frames(item);
      else this.#sink.bytes(item);
      return;
    }
    this.#held.push(item);
    this.#heldBytes += Array.isArray(item) ? 64 * item.length : item.length;
    if (this.#heldBytes > MAX_PREAMBLE) {
      if (this.decided) this.#source.pause();
      else {
        this.decided = true;
        this.#announce();
      }
    }
  }

  #succeed(): void {
    this.#done = true;
    this.decided = true;
    this.meter.content();
    this.meter.finish();
    this.#ending = { frames: [] };
    if (this.#sink) this.#sink.end();
    else this.#decision?.decide();
  }

  /** @param told the caller has the upstream's own error frame already */
  #fail(error: Error, told = false): void {
    if (this.#done) return;
    this.#done = true;
    const known = this.meter.broken(error);
    if (!this.decided) return this.#decision?.refuse(known);
    this.#ending = { error: known, frames: told ? [] : this.errorFrames(known) };
    if (this.#sink) this.#sink.fail(known, this.#ending.frames);
    else this.#decision?.decide();
  }

  start(sink: StreamSink): void {
    if (this.exchange.draining) return;
    this.#sink = sink;
    const held = this.#held;
    this.#held = [];
    for (const item of held) {
      if (Array.isArray(item)) sink.frames(item);
      else sink.bytes(item);
    }
    if (!this.#ending) this.#source.resume();
    else if (this.#ending.error) sink.fail(this.#ending.error, this.#ending.frames);
    else sink.end();
  }
  pause(): void {
    if (!this.#done) this.#source.pause();
  }
  resume(): void {
    if (!this.#done) this.#source.resume();
  }
  /** Nobody reads any more; the upstream is read on. */
  #detach(): void {
    this.#sink = NOBODY;
    this.#held = [];
    if (!this.#done) this.#source.resume();
  }
  cancel(): void {
    if (this.#done || this.exchange.draining) return;
    if (!this.exchange.aborted && this.exchange.mayDrain?.()) {
      this.exchange.draining = true;
      this.#detach();
      return;
    }
    this.#done = true;
    this.#source.cancel();
    this.meter.broken(
      this.exchange.aborted ?? this.exchange.upstreamError("client_closed", "The caller stopped reading"),
    );
  }
}

/** Writes for the caller, where an answer passes that nobody wrote for it. */
export const encoderOf = (exchange: Exchange) => exchange.dialect.streamEncoder(callerContext(exchange));
