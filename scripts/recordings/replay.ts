/** Bytes → frames → canonical events, with our own reader and codec. */
import type { Dialect, RawFrame } from "../../src/core/dialect.ts";
import { collector, type StreamEvent } from "../../src/core/events.ts";
import type { ChatResponse } from "../../src/core/request.ts";
import { sseReader } from "../../src/dialects/sse.ts";

/** @param cuts positions at which the bytes are cut, ascending */
export function framesOf(bytes: Uint8Array, cuts: readonly number[]): RawFrame[] {
  const frames: RawFrame[] = [];
  const reader = sseReader((frame) => void frames.push(frame));
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    reader.feed(bytes.subarray(from, to));
    from = to;
  }
  reader.end();
  return frames;
}

export function decodeFrames(dialect: Dialect, frames: readonly RawFrame[]): StreamEvent[] {
  const decoder = dialect.streamDecoder();
  const events = frames.flatMap((frame) => decoder.feed(frame));
  return [...events, ...decoder.end()];
}

export function collect(events: readonly StreamEvent[]): ChatResponse {
  const whole = collector();
  for (const event of events) whole.add(event);
  return whole.response();
}
