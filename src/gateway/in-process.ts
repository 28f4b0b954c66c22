import type { Frame } from "../core/dialect.ts";
import { type GatewayError, isGatewayError } from "../core/errors.ts";
import type { Exchange } from "../core/exchange.ts";
import type { StreamSource } from "../core/reply.ts";
import { isObject } from "../core/util.ts";
import { sseReader } from "../dialects/sse.ts";

/** The chunks of a streamed answer. Leaving the loop early closes the upstream. */
export interface ChunkStream<T> extends AsyncIterable<T> {
  /** Id of the request, as in the log. */
  readonly requestId: string;
  cancel(): void;
}

/** Chunks that wait for a slow reader before the upstream is paused. */
const HIGH_WATER = 64;

/** A pushed stream as an async iterable: the only place where one is made. */
export function readStream<T>(source: StreamSource, exchange: Exchange): ChunkStream<T> {
  const queue: unknown[] = [];
  let ended = false;
  let failure: unknown;
  let wake: (() => void) | undefined;
  let paused = false;
  const notify = () => {
    if (!paused && queue.length > HIGH_WATER && !ended) {
      paused = true;
      source.pause();
    }
    wake?.();
    wake = undefined;
  };
  const fail = (error: unknown) => {
    ended = true;
    failure = error;
    notify();
  };
  const push = (data: unknown) => {
    // A frame that was only passed on is still text.
    if (data !== "[DONE]") queue.push(typeof data === "string" ? JSON.parse(data) : data);
  };
  // Bytes of a pass-through are read here, because in process nobody wants bytes.
  const reader = sseReader(({ data }) => {
    push(data);
  });
  source.start({
    bytes(chunk) {
      try {
        reader.feed(chunk);
        notify();
      } catch (error) {
        source.cancel();
        fail(error);
      }
    },
    frames(frames: Frame[]) {
      for (const frame of frames) push(frame.data);
      notify();
    },
    end() {
      ended = true;
      notify();
    },
    fail(error: GatewayError, frames: Frame[]) {
      // Told by the upstream's own error frame, which has passed: here it is thrown instead.
      const last = queue.at(-1);
      if (frames.length === 0 && isObject(last) && "error" in last) queue.pop();
      fail(error);
    },
  });
  return {
    requestId: exchange.id,
    cancel() {
      source.cancel();
      ended = true;
      notify();
    },
    async *[Symbol.asyncIterator]() {
      try {
        for (;;) {
          while (queue.length > 0) {
            yield queue.shift() as T;
            if (paused && queue.length < HIGH_WATER / 2) {
              paused = false;
              source.resume();
            }
          }
          if (ended) {
            if (failure !== undefined)
              throw isGatewayError(failure)
                ? failure
                : exchange.upstreamError("upstream_invalid", "The upstream's stream is not valid", { cause: failure });
            return;
          }
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        if (!ended) source.cancel();
      }
    },
  };
}
