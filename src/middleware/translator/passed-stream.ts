import { isAscii } from "node:buffer";
import type { Frame, RawFrame } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { UpstreamResponse } from "../../core/provider.ts";
import { asBuffer } from "../../core/read-all.ts";
import { type SseReader, sseReader } from "../../dialects/sse.ts";
import { DeltaPattern, textIn } from "./delta-pattern.ts";
import { type Decision, encoderOf, Pump } from "./pump.ts";

const LF = 0x0a;
const CR = 0x0d;

/** Patterns that nothing was like before a stream is taken to have none. */
const PATIENCE = 8;

/**
 * An answer whose bytes go through as they came; what they tell of the usage and the end is read on the way by. Most
 * frames are deltas like the one before: they are told from others without being decoded.
 */
export class PassedStream extends Pump {
  protected readonly passesErrors = true;
  readonly #reader: SseReader;
  readonly #members: RegExp | undefined;
  /** What was only asked for by us is taken out: this text, and frames that tell nothing but the usage. */
  readonly #hidden: string | undefined;

  #pattern: DeltaPattern | undefined;
  #patience = PATIENCE;
  /** The reader holds no part of a frame. */
  #between = false;
  /** What was read last told text at most. */
  #quiet = false;
  #frames: Frame[] = [];

  constructor(exchange: Exchange, response: UpstreamResponse, hidesUsage: boolean, decision: Decision) {
    super(exchange, response, decision);
    const { deltaMembers, streamUsage } = exchange.upstreamDialect;
    this.#members = deltaMembers;
    this.#hidden = hidesUsage ? streamUsage!.hidden : undefined;
    this.#reader = sseReader((frame) => this.#decode(frame));
  }

  protected read(chunk: Uint8Array): void {
    if (this.#members) this.#watch(asBuffer(chunk), this.#members);
    else this.#reader.feed(chunk);
  }

  #watch(chunk: Buffer, members: RegExp): void {
    const text = chunk.toString("latin1");
    const ascii = isAscii(chunk);
    for (let at = 0; at < text.length; ) {
      if (this.complete || this.failed) return;
      const pattern = this.#between ? this.#pattern : undefined;
      const alike = pattern ? pattern.end(chunk, text, ascii, at) : at;
      if (alike > at) {
        this.meter.text(pattern!.characters);
        this.#patience = PATIENCE;
        if (this.#hidden !== undefined) this.#show(chunk, text, at, alike, this.#hidden);
        at = alike;
        continue;
      }
      at = this.#readFrame(chunk, text, at, members);
    }
  }

  /** Reads one frame, or what is there of it. @returns where it ends */
  #readFrame(chunk: Buffer, text: string, from: number, members: RegExp): number {
    const found = frameEnd(text, from);
    const end = found === -1 ? text.length : found;
    const whole = this.#between && found !== -1;
    this.#quiet = true;
    this.#reader.feed(chunk.subarray(from, end));
    this.#between = found !== -1;
    if (whole && this.#quiet && this.decided && this.#patience > 0) {
      // Not a slice of the chunk's text, all of which it would keep.
      this.#pattern = DeltaPattern.of(chunk.toString("latin1", from, end), members) ?? this.#pattern;
      this.#patience--;
    }
    return end;
  }

  /** Part of a chunk, without what is hidden. */
  #show(chunk: Buffer, text: string, from: number, to: number, hidden: string): void {
    this.flush();
    const shown = text.slice(from, to).replaceAll(hidden, "");
    this.out(shown.length === to - from ? chunk.subarray(from, to) : Buffer.from(shown, "latin1"));
  }

  #decode(frame: RawFrame): void {
    if (this.complete || this.failed) return;
    // Decoders that missed deltas may tell their text again later: from the decision on it is counted as it passes.
    const members = this.decided ? this.#members : undefined;
    const events = this.decoder.feed(frame);
    this.take(events, !members);
    if (members && events.some(isText)) this.meter.text(textIn(frame.data, members));
    this.#quiet &&= events.every(isText);
    if (this.#hidden !== undefined) {
      if (events.length > 0 && events.every(({ type }) => type === "usage")) return;
      this.#frames.push({ ...frame, data: frame.data.replace(this.#hidden, "") });
    }
    if (this.exchange.upstreamDialect.isLast?.(frame)) this.complete = true;
  }

  protected readRest(): void {
    this.#reader.end();
  }
  protected pass(): void {}
  protected last(): void {}
  protected flush(chunk?: Uint8Array): void {
    if (this.#hidden === undefined) {
      if (chunk) this.out(chunk);
    } else if (this.#frames.length > 0) {
      this.out(this.#frames);
      this.#frames = [];
    }
  }
  protected errorFrames(error: GatewayError): Frame[] {
    return encoderOf(this.exchange).error(error);
  }
}

/** Behind the blank line that ends a frame, with LF or CRLF, and leaves nothing in a reader; -1 where there is none. */
function frameEnd(text: string, from: number): number {
  for (let at = text.indexOf("\n", from); at !== -1; at = text.indexOf("\n", at + 1)) {
    const next = text.charCodeAt(at + 1);
    if (next === LF) return at + 2;
    if (next === CR && text.charCodeAt(at + 2) === LF) return at + 3;
  }
  return -1;
}

function isText({ type }: StreamEvent): boolean {
  switch (type) {
    case "text-start":
    case "text-delta":
    case "thinking-start":
    case "thinking-delta":
    case "refusal-delta":
    case "tool-call-delta":
      return true;
    default:
      return false;
  }
}
