import { createParser, type ParseError } from "eventsource-parser";
import type { Frame, RawFrame } from "../core/dialect.ts";
import { GatewayError } from "../core/errors.ts";
import { asBuffer } from "../core/read-all.ts";

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
  const parser = createParser({ onEvent: onFrame, maxBufferSize: MAX_EVENT_BYTES, onError: refuse });
  let decoder: TextDecoder | undefined;
  /** The bytes so far may have ended inside a character. */
  let torn = false;
  return {
    feed(chunk) {
      const wasTorn = torn;
      torn = chunk.length > 0 ? chunk[chunk.length - 1]! >= 0x80 : wasTorn;
      // Nearly every chunk ends with a line, and takes half as long without a decoder that remembers.
      if (!torn && !wasTorn) return parser.feed(asBuffer(chunk).toString());
      decoder ??= new TextDecoder("utf-8", { ignoreBOM: true });
      parser.feed(decoder.decode(chunk, { stream: true }));
    },
    end() {
      parser.feed(`${decoder?.decode() ?? ""}\n\n`);
      parser.reset();
    },
  };
}

function refuse({ type }: ParseError): void {
  if (type !== "max-buffer-size-exceeded") return;
  throw new GatewayError("upstream_invalid", "The upstream sent an event of more than 16 MiB");
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
