import { callerContext } from "../../core/caller-context.ts";
import type { Frame, RawFrame, StreamEncoder } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import { isContent, type StreamEvent } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { UpstreamResponse } from "../../core/provider.ts";
import { readAll } from "../../core/read-all.ts";
import type { Reply, StreamSink, StreamSource } from "../../core/reply.ts";
import { sseReader } from "../../dialects/sse.ts";
import type { Prepared } from "./index.ts";
import { declined, decode, parse } from "./json.ts";
import { written } from "./local.ts";
import { Meter } from "./meter.ts";
import { restoreAnswer, restoreEvents } from "./restore.ts";

/** Most bytes of an undecided answer that are held back; beyond it the attempt counts as decided. */
const MAX_PREAMBLE = 256 * 1024;

/**
 * The answer as a stream in the caller's dialect. Resolves at the first content event: until then an error is thrown
 * and the router may try another target; from then on it ends the stream.
 */
export function answerStream(
  exchange: Exchange,
  prepared: Prepared,
  response: UpstreamResponse,
  streamed: boolean,
): Promise<Reply> {
  if (!streamed) return streamOfJson(exchange, prepared, response);
  return new Promise((resolve, reject) => {
    const pump = new Pump(exchange, prepared, response, () => resolve(reply(pump)), reject);
    pump.run();
  });
}

const reply = (source: StreamSource): Reply => ({ status: 200, headers: {}, body: { type: "stream", source } });

const NOBODY: StreamSink = { bytes() {}, frames() {}, end() {}, fail() {} };

/** Upstream bytes → caller's bytes or frames, in one synchronous pass per chunk. */
class Pump implements StreamSource {
  readonly #exchange: Exchange;
  readonly #prepared: Prepared;
  readonly #response: UpstreamResponse;
  readonly #decide: () => void;
  readonly #refuse: (error: GatewayError) => void;
  readonly #meter: Meter;
  readonly #encoder: StreamEncoder | undefined;

  #sink: StreamSink | undefined;
  #decided = false;
  #done = false;
  #held: (Uint8Array | Frame[])[] = [];
  #heldBytes = 0;
  /** How it ended, when that was before the sink was there. */
  #ending: { error?: GatewayError; frames: Frame[] } | undefined;

  constructor(
    exchange: Exchange,
    prepared: Prepared,
    response: UpstreamResponse,
    decide: () => void,
    refuse: (error: GatewayError) => void,
  ) {
    this.#exchange = exchange;
    this.#prepared = prepared;
    this.#response = response;
    this.#decide = decide;
    this.#refuse = refuse;
    this.#meter = new Meter(exchange, response.status);
    this.#encoder = prepared.passThrough ? undefined : exchange.dialect.streamEncoder(callerContext(exchange));
  }

  run(): void {
    // Registered after the call's own listener, which decides whether there is to be a drain.
    this.#exchange.onAbort(() => {
      if (this.#exchange.draining) this.#detach();
    });
    const dialect = this.#exchange.upstreamDialect;
    const decoder = dialect.streamDecoder();
    const restore = restoreEvents(this.#prepared.tools);
    let frames: Frame[] = [];
    let failed: GatewayError | undefined;
    let complete = false;
    /** It ended with a refusal and has said nothing. */
    let declines = false;

    const take = (events: readonly StreamEvent[]) => {
      for (const event of events) {
        if (failed) return;
        if (event.type === "error") {
          failed = event.error;
          return;
        }
        this.#meter.event(event);
        if (event.type === "finish" && event.reason === "refusal" && !this.#decided)
          declines = this.#exchange.refusalFails;
        if (!this.#decided && !declines && isContent(event)) this.#decided = true;
        if (this.#encoder) for (const restored of restore(event)) frames.push(...this.#encoder.encode(restored));
      }
    };
    const quiet = (frame: RawFrame) => ({ ...frame, data: dialect.streamUsage!.hide(frame.data) });
    const onFrame = (frame: RawFrame) => {
      if (complete || failed) return;
      if (this.#decided && !this.#encoder) {
        const characters = dialect.skipLength?.(frame);
        if (characters !== undefined) {
          if (this.#prepared.hidesUsage) frames.push(quiet(frame));
          return this.#meter.text(characters);
        }
      }
      const events = decoder.feed(frame);
      take(events);
      if (this.#prepared.hidesUsage && events.length > 0 && events.every(({ type }) => type === "usage")) return;
      if (this.#prepared.hidesUsage) frames.push(quiet(frame));
      if (dialect.isLast?.(frame)) complete = true;
    };
    const reader = sseReader(onFrame);

    /** Hands on what one chunk became; the moment of decision is inside. */
    const flush = (chunk?: Uint8Array) => {
      if (this.#encoder || this.#prepared.hidesUsage) {
        if (frames.length > 0) this.#out(frames);
        frames = [];
      } else if (chunk) this.#out(chunk);
    };
    const end = () => {
      if (this.#done) return;
      if (!failed) take(decoder.end());
      if (declines) failed ??= this.#meter.refused();
      if (failed) return this.#fail(failed);
      if (this.#encoder) frames.push(...this.#encoder.end());
      flush();
      this.#succeed();
    };

    const guarded = (work: () => void) => {
      try {
        work();
      } catch (error) {
        this.#response.body.cancel();
        this.#fail(error as GatewayError);
      }
    };
    this.#response.body.start({
      data: (chunk) => {
        if (this.#done) return;
        guarded(() => {
          const before = this.#decided;
          reader.feed(chunk);
          // An error frame of the upstream's own reaches a pass-through caller as it came.
          if (failed && (this.#encoder || before)) flush(chunk);
          if (failed) {
            this.#response.body.cancel();
            return this.#fail(failed, !this.#encoder && before);
          }
          flush(chunk);
          if (complete) end();
          else if (this.#decided && !before) this.#announce();
        });
      },
      end: () =>
        guarded(() => {
          reader.end();
          end();
        }),
      error: (error) => {
        if (this.#done) return;
        // What was decoded before the break belongs to the caller.
        flush();
        this.#fail(error as GatewayError);
      },
    });
  }

  #announce(): void {
    this.#meter.content();
    this.#decide();
  }

  #out(item: Uint8Array | Frame[]): void {
    if (this.#sink) {
      if (Array.isArray(item)) this.#sink.frames(item);
      else this.#sink.bytes(item);
      return;
    }
    this.#held.push(item);
    this.#heldBytes += Array.isArray(item) ? 64 * item.length : item.length;
    if (this.#heldBytes > MAX_PREAMBLE) {
      if (this.#decided) this.#response.body.pause();
      else {
        this.#decided = true;
        this.#announce();
      }
    }
  }

  #succeed(): void {
    this.#done = true;
    this.#decided = true;
    this.#meter.content();
    this.#meter.finish();
    this.#ending = { frames: [] };
    if (this.#sink) this.#sink.end();
    else this.#decide();
  }

  /** @param told the caller has the upstream's own error frame already */
  #fail(error: Error, told = false): void {
    if (this.#done) return;
    this.#done = true;
    const known = this.#meter.broken(error);
    if (!this.#decided) return this.#refuse(known);
    const encoder = this.#encoder ?? this.#exchange.dialect.streamEncoder(callerContext(this.#exchange));
    this.#ending = { error: known, frames: told ? [] : encoder.error(known) };
    if (this.#sink) this.#sink.fail(known, this.#ending.frames);
    else this.#decide();
  }

  start(sink: StreamSink): void {
    if (this.#exchange.draining) return;
    this.#sink = sink;
    const held = this.#held;
    this.#held = [];
    for (const item of held) {
      if (Array.isArray(item)) sink.frames(item);
      else sink.bytes(item);
    }
    if (!this.#ending) this.#response.body.resume();
    else if (this.#ending.error) sink.fail(this.#ending.error, this.#ending.frames);
    else sink.end();
  }
  pause(): void {
    if (!this.#done) this.#response.body.pause();
  }
  resume(): void {
    if (!this.#done) this.#response.body.resume();
  }
  /** Nobody reads any more; the upstream is read on. */
  #detach(): void {
    this.#sink = NOBODY;
    this.#held = [];
    if (!this.#done) this.#response.body.resume();
  }
  cancel(): void {
    if (this.#done || this.#exchange.draining) return;
    if (!this.#exchange.aborted && this.#exchange.mayDrain?.()) {
      this.#exchange.draining = true;
      this.#detach();
      return;
    }
    this.#done = true;
    this.#response.body.cancel();
    this.#meter.broken(
      this.#exchange.aborted ?? this.#exchange.upstreamError("client_closed", "The caller stopped reading"),
    );
  }
}

/** Some servers answer JSON whatever they are asked. */
async function streamOfJson(exchange: Exchange, prepared: Prepared, response: UpstreamResponse): Promise<Reply> {
  const meter = new Meter(exchange, response.status);
  const bytes = await readAll(response.body, 64 * 1024 * 1024).catch((error) => {
    throw meter.broken(error);
  });
  const answer = decode(exchange, parse(bytes, meter), meter);
  restoreAnswer(answer, prepared.tools);
  meter.response(answer);
  if (exchange.refusalFails && declined(answer)) throw meter.refused();
  meter.content();
  meter.finish();
  return written(exchange, answer);
}
