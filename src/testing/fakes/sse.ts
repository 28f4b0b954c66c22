import type { ServerResponse } from "node:http";

/** One server-sent event; objects are written as JSON, strings as they are. */
export interface Frame {
  event?: string;
  data: unknown;
  /** Not an event: `data` is a text that goes out as it is. */
  raw?: boolean;
}

/** A stream in three parts, so that a fault can strike between them. */
export interface FrameStream {
  /** Content type. @default "text/event-stream; charset=utf-8" */
  type?: string;
  open: readonly Frame[];
  content: readonly Frame[];
  close: readonly Frame[];
}

/** Legal ways to write the same stream, to see who reads it wrongly. */
export interface SseOptions {
  /** @default "\n" */
  eol?: "\n" | "\r\n" | "\r";
  /** Writes the stream in pieces of so many bytes, so that lines, JSON and UTF-8 characters arrive torn. */
  splitBytes?: number;
  /** A `: keep-alive` comment before every event. @default false */
  comments?: boolean;
}

/** The text of one event. */
export function frameText(frame: Frame, { eol = "\n", comments = false }: SseOptions = {}): string {
  const data = typeof frame.data === "string" ? frame.data : JSON.stringify(frame.data);
  if (frame.raw) return data;
  const lines = [...(frame.event === undefined ? [] : [`event: ${frame.event}`]), `data: ${data}`];
  return `${comments ? `: keep-alive${eol}${eol}` : ""}${lines.join(eol)}${eol}${eol}`;
}

/** Writes one event and waits until the socket took it (or is gone). */
export async function writeFrame(response: ServerResponse, frame: Frame, options: SseOptions): Promise<void> {
  const bytes = Buffer.from(frameText(frame, options));
  const size = options.splitBytes ?? bytes.length;
  for (let at = 0; at < bytes.length && !response.destroyed; at += size) {
    await write(response, bytes.subarray(at, at + size));
    // A turn of the event loop, so that pieces leave one by one and a client in the same process gets its turn too.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Resolves when the bytes were handed to the system, or the socket is gone. */
export function write(response: ServerResponse, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed) return resolve();
    response.once("close", resolve);
    response.write(bytes, () => {
      response.off("close", resolve);
      resolve();
    });
  });
}
