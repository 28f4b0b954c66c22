import { createParser } from "eventsource-parser";
import type { Frame, RawFrame } from "../core/dialect.ts";
import { GatewayError } from "../core/errors.ts";

/** Longest line or event that is buffered. Whole images come in one event, so it is generous. */
const MAX_EVENT_BYTES = 16 * 1024 * 1024;

export interface SseReader {
  feed(chunk: Uint8Array): void;
  /** The bytes ended: an event without its blank line is delivered too (some servers close early). */
  end(): void;
}

/**
 * Bytes → server-sent events, at any split (inside a UTF-8 sequence, inside CRLF), with CR, LF or CRLF, comments and
 * multi-line data.
 * @throws GatewayError `upstream_invalid` when one event is larger than 16 MiB
 */
export function sseReader(onFrame: (frame: RawFrame) => void): SseReader {
  const decoder = new TextDecoder();
  const parser = createParser({
    onEvent: (event) => onFrame(event),
    maxBufferSize: MAX_EVENT_BYTES,
    onError: (error) => {
      if (error.type === "max-buffer-size-exceeded") {
        throw new GatewayError("upstream_invalid", "The upstream sent an event of more than 16 MiB");
      }
    },
  });
  return {
    feed: (chunk) => parser.feed(decoder.decode(chunk, { stream: true })),
    end() {
      const rest = decoder.decode();
      parser.feed(`${rest}\n\n`);
      parser.reset();
    },
  };
}

export function formatFrame(frame: Frame): string {
  const data = typeof frame.data === "string" ? frame.data : JSON.stringify(frame.data);
  return frame.event === undefined ? `data: ${data}\n\n` : `event: ${frame.event}\ndata: ${data}\n\n`;
}

export function formatFrames(frames: readonly Frame[]): string {
  let text = "";
  for (const frame of frames) text += formatFrame(frame);
  return text;
}
