/** What a slow stream holds: a process of its own, its memory before and while many streams are open. */
import { setTimeout as sleep } from "node:timers/promises";
import { BYTES } from "./bodies.ts";
import { type Child, runLoad } from "./processes.ts";
import type { Variant } from "./variants.ts";

export interface StreamMemory {
  variant: string;
  streams: number;
  /** kB per stream: of the resident memory, and of heap and buffers after a collection. */
  rssKB: number;
  heapKB: number;
}

export async function memory(variant: Variant, load: Child, streams: number, settleMs: number): Promise<StreamMemory> {
  const child = (await variant.start())!;
  const { port } = child;
  // Code and its tables are there before the first count, and the heap has the size that any traffic gives it.
  const burst = variant.job("burst", BYTES["1k"]);
  await runLoad(load, { type: "loop", port, connections: 64, requests: 3 * streams, ...burst });
  const slow = { type: "open", port, ...variant.job("slow", BYTES["1k"]) } as const;
  await runLoad(load, { ...slow, connections: 20 });
  load.send({ type: "drop" });
  await sleep(settleMs / 2);
  const before = await child.probe(true);
  await runLoad(load, { ...slow, connections: streams });
  await sleep(settleMs);
  const during = await child.probe();
  const collected = await child.probe(true);
  load.send({ type: "drop" });
  await child.stop();
  return {
    variant: variant.name,
    streams,
    rssKB: (during.rss - before.rss) / streams / 1e3,
    heapKB: (collected.heap - before.heap) / streams / 1e3,
  };
}
