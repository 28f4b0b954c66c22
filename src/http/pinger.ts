/** Streams that may fall silent while the upstream thinks. One timer for all of them. */
export interface Pinged {
  lastWrite: number;
  ping(): void;
}

const QUIET_MS = 15_000;
const streams = new Set<Pinged>();
let timer: NodeJS.Timeout | undefined;

/** Pings a stream whenever it was silent for 15 s. @returns stops it */
export function keepAwake(stream: Pinged): () => void {
  streams.add(stream);
  timer ??= setInterval(() => {
    const now = performance.now();
    for (const each of streams) {
      if (now - each.lastWrite < QUIET_MS) continue;
      each.lastWrite = now;
      each.ping();
    }
  }, 5_000).unref();
  return () => {
    streams.delete(stream);
    if (streams.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}
