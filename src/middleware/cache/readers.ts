import { callerContext } from "../../core/caller-context.ts";
import type { Frame, StreamEncoder } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { StreamSink, StreamSource } from "../../core/reply.ts";
import { left, served } from "./entry.ts";
import type { Place, Recording } from "./recording.ts";

/** What one chunk of the upstream's stream became: as it came, and what it means. */
export interface Item {
  raw: Uint8Array | Frame[];
  events: readonly StreamEvent[];
  /** Where the record ended before it. */
  before: Place;
}

/** How a stream ended; `frames` tell an error in the dialect of who asked first. */
export type Ending = { error?: undefined } | { error: GatewayError; frames: Frame[] };

/** Whom a reader tells that it starts, pauses, goes on, or is gone. */
export interface Desk {
  readonly recording: Recording;
  changed(): void;
  gone(reader: Reader, reason: GatewayError): void;
}

/** One caller of a shared stream, at its own pace. */
export abstract class Reader implements StreamSource {
  readonly exchange: Exchange;
  protected readonly desk: Desk;
  protected sink: StreamSink | undefined;
  #ending: Ending | undefined;
  #over = false;
  paused = true;

  constructor(exchange: Exchange, desk: Desk) {
    this.exchange = exchange;
    this.desk = desk;
  }

  abstract take(item: Item): void;
  /** Hands on what waits, as long as it is not paused. True when nothing waits any more. */
  protected abstract flush(): boolean;
  protected abstract finish(sink: StreamSink, ending: Ending): void;
  /** Frames that tell an error of this caller's own. */
  protected abstract errorFrames(error: GatewayError): Frame[];

  start(sink: StreamSink): void {
    this.sink = sink;
    this.resume();
  }
  pause(): void {
    this.paused = true;
    this.desk.changed();
  }
  resume(): void {
    this.paused = false;
    this.#move();
    this.desk.changed();
  }
  cancel(): void {
    if (this.#over) return;
    this.sink = undefined;
    this.desk.gone(this, new GatewayError("client_closed", "The caller stopped reading"));
  }

  end(ending: Ending): void {
    this.#ending = ending;
    this.#move();
  }

  /** Ends for this caller alone. */
  drop(reason: GatewayError): void {
    if (this.#over) return;
    this.#over = true;
    left(this.exchange, reason);
    this.sink?.fail(reason, this.errorFrames(reason));
  }

  #move(): void {
    if (this.#over || !this.sink || !this.flush() || !this.#ending) return;
    this.#over = true;
    this.finish(this.sink, this.#ending);
  }
}

/** Bytes that wait for the caller who asked first, while others read on; beyond it that caller is too slow. */
const MAX_BACKLOG = 16 * 1024 * 1024;

/** Who asked first gets the upstream's stream as it came; its exchange ends with the upstream's attempt. */
export class FirstReader extends Reader {
  #backlog: Item["raw"][] = [];
  #bytes = 0;

  take({ raw }: Item): void {
    if (!this.paused && this.#backlog.length === 0) return this.#out(raw);
    this.#backlog.push(raw);
    this.#bytes += Array.isArray(raw) ? 256 * raw.length : raw.length;
    if (this.#bytes > MAX_BACKLOG) {
      this.#backlog = [];
      this.desk.gone(this, new GatewayError("timeout", "The caller reads too slowly"));
    }
  }
  protected flush(): boolean {
    while (!this.paused && this.#backlog.length > 0) {
      const raw = this.#backlog.shift()!;
      this.#bytes -= Array.isArray(raw) ? 256 * raw.length : raw.length;
      this.#out(raw);
    }
    return this.#backlog.length === 0;
  }
  protected finish(sink: StreamSink, ending: Ending): void {
    if (ending.error) sink.fail(ending.error, ending.frames);
    else sink.end();
  }
  protected errorFrames(error: GatewayError): Frame[] {
    return this.exchange.dialect.streamEncoder(callerContext(this.exchange)).error(error);
  }
  #out(raw: Item["raw"]): void {
    if (Array.isArray(raw)) this.sink!.frames(raw);
    else this.sink!.bytes(raw);
  }
}

/** Who came later gets the same answer in its own dialect, from the record where it cannot keep up. */
export class LaterReader extends Reader {
  readonly #encoder: StreamEncoder;
  #behind: Place | undefined = { index: 0, offset: 0 };

  constructor(exchange: Exchange, desk: Desk) {
    super(exchange, desk);
    this.#encoder = exchange.dialect.streamEncoder(callerContext(exchange));
  }

  take({ events, before }: Item): void {
    if (this.paused) this.#behind ??= before;
    else this.#out(events);
  }
  protected flush(): boolean {
    if (this.paused) return this.#behind === undefined;
    if (this.#behind) {
      const rest = [...this.desk.recording.from(this.#behind)];
      this.#behind = undefined;
      this.#out(rest);
    }
    return true;
  }
  protected finish(sink: StreamSink, { error }: Ending): void {
    if (error) {
      const own = ownError(error);
      left(this.exchange, own);
      return sink.fail(own, this.#encoder.error(own));
    }
    const last = this.#encoder.end();
    if (last.length > 0) sink.frames(last);
    served(this.exchange);
    sink.end();
  }
  protected errorFrames(error: GatewayError): Frame[] {
    return this.#encoder.error(error);
  }
  #out(events: readonly StreamEvent[]): void {
    this.exchange.firstTokenMs ??= performance.now() - this.exchange.startedAt;
    const frames = events.flatMap((event) => this.#encoder.encode(event));
    if (frames.length > 0) this.sink!.frames(frames);
  }
}

/** The same error, for another caller. */
export function ownError(error: GatewayError): GatewayError {
  return new GatewayError(error.code, error.message, { ...error, billable: false, cause: error.cause });
}
