/** What a slow stream holds: memory of a process with many of them open, and with twice as many. */
import { setTimeout as sleep } from "node:timers/promises";
import { BYTES } from "./bodies.ts";
import { type Child, runLoad } from "./processes.ts";
import type { Variant } from "./variants.ts";

export interface StreamMemory {
  variant: string;
  streams: number;
  /** kB per stream, after a collection: of the resident memory, and of heap and buffers. */
  rssKB: number;
  heapKB: number;
}

export async function memory(variant: Variant, load: Child, streams: number, settleMs: number): Promise<StreamMemory> {
  const child = (await variant.start())!;
  const { port } = child;
  // Code and its tables are there before the first count, and the heap has the size that any traffic gives it.
  const burst = variant.job("burst", BYTES["1k"]);
  await runLoad(load, { type: "loop", port, connections: 64, requests: 3 * streams, ...burst });
  const open = async () => {
    await runLoad(load, { type: "open", port, connections: streams, ...variant.job("slow", BYTES["1k"]) });
    await sleep(settleMs);
    return child.probe(true);
  };
  const some = await open();
  const twice = await open();
  load.send({ type: "drop" });
  await child.stop();
  return {
    variant: variant.name,
    streams,
    rssKB: (twice.rss - some.rss) / streams / 1e3,
    heapKB: (twice.heap - some.heap) / streams / 1e3,
  };
}
