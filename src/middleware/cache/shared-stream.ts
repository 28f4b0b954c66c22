import type { Dialect, Frame } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import { collector, type StreamEvent } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { StreamSource } from "../../core/reply.ts";
import type { ChatResponse } from "../../core/request.ts";
import { sseReader } from "../../dialects/sse.ts";
import { type Desk, type Ending, FirstReader, LaterReader, type Reader } from "./readers.ts";
import { Recording } from "./recording.ts";

/**
 * One upstream's stream for many callers. It is read as fast as the fastest of them: only when all are full, the
 * upstream waits.
 */
export class SharedStream implements Desk {
  readonly recording = new Recording();
  /** The whole answer; undefined where it could not be read or grew too large. Rejects when the stream breaks. */
  readonly whole: Promise<ChatResponse | undefined>;
  readonly #source: StreamSource;
  readonly #dialect: Dialect;
  readonly #readers = new Set<Reader>();
  readonly #onGone: (exchange: Exchange, reason: GatewayError) => void;
  #settle!: { resolve(answer: ChatResponse | undefined): void; reject(error: GatewayError): void };
  /** Callers who wait for the end. */
  #waiting = 0;
  #begun = false;
  #halted = false;
  #ending: Ending | undefined;
  #recorded = true;
  /** What cannot be read can still be handed to the first caller, but to no other. */
  #unreadable: GatewayError | undefined;
  readonly #maxChars: number;

  /** @param maxChars beyond it nobody can join any more, and where nobody has, it is no longer recorded */
  constructor(
    source: StreamSource,
    dialect: Dialect,
    maxChars: number,
    onGone: (exchange: Exchange, reason: GatewayError) => void,
  ) {
    this.#source = source;
    this.#dialect = dialect;
    this.#maxChars = maxChars;
    this.#onGone = onGone;
    this.whole = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.whole.catch(() => {});
  }

  /** Whether a later caller can still get all of it. */
  get open(): boolean {
    return this.#recorded && this.recording.size <= this.#maxChars;
  }

  first(exchange: Exchange): StreamSource {
    return this.#add(new FirstReader(exchange, this));
  }

  later(exchange: Exchange): StreamSource {
    return this.#add(new LaterReader(exchange, this));
  }

  /** Reads on, however slow the readers are, for somebody who waits for the end. @returns who no longer waits says so */
  hurry(): () => void {
    this.#waiting++;
    this.#begin();
    this.changed();
    return () => {
      this.#waiting--;
      this.changed();
    };
  }

  /** A caller has left; what it was told depends on the reason. */
  drop(exchange: Exchange, reason: GatewayError): boolean {
    for (const reader of this.#readers) {
      if (reader.exchange !== exchange) continue;
      this.#readers.delete(reader);
      reader.drop(reason);
      this.changed();
      return true;
    }
    return false;
  }

  /** Goes on although nobody reads. */
  readAlone(): void {
    this.#begin();
    this.changed();
  }

  changed(): void {
    const readers = [...this.#readers];
    if (readers.some(({ paused }) => !paused)) this.#begin();
    if (!this.#begun || this.#ending) return;
    const full = this.#waiting === 0 && readers.length > 0 && readers.every(({ paused }) => paused);
    if (full === this.#halted) return;
    this.#halted = full;
    if (full) this.#source.pause();
    else this.#source.resume();
  }

  gone(reader: Reader, reason: GatewayError): void {
    this.#onGone(reader.exchange, reason);
  }

  #add(reader: Reader): Reader {
    this.#readers.add(reader);
    if (this.#ending) reader.end(this.#endingFor(reader));
    return reader;
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    const decoder = this.#dialect.streamDecoder();
    let events: StreamEvent[] = [];
    const sse = sseReader((frame) => events.push(...decoder.feed(frame)));
    const read = (work: () => void) => {
      if (!this.#recorded) return;
      try {
        work();
      } catch {
        this.#recorded = false;
        this.#unreadable = new GatewayError("upstream_invalid", "The answer to an identical request could not be read");
      }
    };
    const pass = (raw: Uint8Array | Frame[]) => {
      const before = this.recording.end;
      // How the stream ends is told by the source.
      const seen = events.filter(({ type }) => type !== "error");
      if (this.#recorded) for (const event of seen) this.recording.add(event);
      if (this.recording.size > this.#maxChars && this.#waiting === 0 && this.#readers.size < 2) {
        this.#recorded = false;
        this.recording.clear();
      }
      const item = { raw, events: seen, before };
      events = [];
      for (const reader of this.#readers) reader.take(item);
    };
    this.#source.start({
      bytes: (chunk) => {
        read(() => sse.feed(chunk));
        pass(chunk);
      },
      frames: (frames) => {
        read(() => {
          for (const { event, data } of frames)
            events.push(...decoder.feed({ event, data: typeof data === "string" ? data : JSON.stringify(data) }));
        });
        pass(frames);
      },
      end: () => {
        read(() => {
          sse.end();
          events.push(...decoder.end());
          if (events.some(({ type }) => type === "error")) throw new Error("the stream is not complete");
        });
        pass([]);
        this.#end({});
      },
      fail: (error, frames) => this.#end({ error, frames }),
    });
  }

  #end(ending: Ending): void {
    this.#ending = ending;
    if (ending.error) this.#settle.reject(ending.error);
    else this.#settle.resolve(this.#collect());
    for (const reader of this.#readers) reader.end(this.#endingFor(reader));
  }

  #endingFor(reader: Reader): Ending {
    if (!this.#unreadable || reader instanceof FirstReader) return this.#ending!;
    return { error: this.#unreadable, frames: [] };
  }

  #collect(): ChatResponse | undefined {
    if (!this.#recorded) return undefined;
    const collected = collector();
    for (const event of this.recording.from({ index: 0, offset: 0 })) collected.add(event);
    return collected.response();
  }
}
