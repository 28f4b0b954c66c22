/** What a slow stream holds: a fresh process, its memory before and while many streams are open. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Child, runLoad } from "./processes.ts";
import type { Variant } from "./variants.ts";

export interface Held {
  variant: string;
  streams: number;
  /** kB per stream: of the resident memory, and of heap and buffers after a collection. */
  rssKB: number;
  heapKB: number;
}

export async function memory(variant: Variant, load: Child, streams: number): Promise<Held | undefined> {
  const child = variant.peer ? undefined : await variant.start();
  if (!child) return undefined;
  const job = { port: child.port, requests: 0, ...variant.job("slow", 1_024) };
  // Code and its tables are there before the first count.
  await runLoad(load, { ...job, type: "hold", connections: 20 });
  load.send({ type: "drop" });
  await sleep(500);
  const before = await child.probe(true);
  await runLoad(load, { ...job, type: "hold", connections: streams });
  await sleep(4_000);
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
