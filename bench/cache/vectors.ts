/** A search in memory, over one partition: vectors of 1,536 numbers, alike as questions about one subject are. */
import { memoryVectors } from "../../src/caches/vectors-memory.ts";
import { range, short, spread } from "../statistics.ts";

const LENGTH = 1_536;
const SEARCHES = 15;

export async function vectors(sizes: readonly number[], smoke: boolean): Promise<string[][]> {
  const rows = [["entries", "threshold", "mean cosine", "ms per search, min–median–max", "longest block, ms", "MB"]];
  for (const entries of sizes) {
    for (const alike of [0, 0.6]) {
      const index = memoryVectors({ maxEntries: entries });
      const random = generator(7);
      const before = process.memoryUsage().arrayBuffers;
      for (let i = 0; i < entries; i++)
        await index.add({ partition: "p", id: `${i}`, vector: like(random, alike), question: "?" }, 3_600_000);
      const bytes = process.memoryUsage().arrayBuffers - before;
      for (const threshold of [0.95, 0.8]) {
        const times: number[] = [];
        let block = 0;
        for (let i = 0; i < (smoke ? 2 : SEARCHES); i++) {
          const query = like(random, alike);
          const stop = watch((ms) => {
            block = Math.max(block, ms);
          });
          const started = performance.now();
          const search = index.search("p", query, threshold);
          block = Math.max(block, performance.now() - started);
          await search;
          times.push(performance.now() - started);
          stop();
        }
        rows.push([
          `${entries}`,
          `${threshold}`,
          short(alike),
          range(spread(times)),
          short(block),
          short(bytes / 2 ** 20),
        ]);
      }
    }
  }
  return rows;
}

/** Of length 1; two of them have about the cosine `alike`. */
function like(random: () => number, alike: number): Float32Array {
  const noise = Float32Array.from({ length: LENGTH }, () => random() + random() + random() - 1.5);
  const length = Math.hypot(...noise);
  const shared = Math.sqrt(alike / LENGTH);
  const vector = noise.map((each, i) => (each / length) * Math.sqrt(1 - alike) + (i % 2 === 0 ? shared : -shared));
  const whole = Math.hypot(...vector);
  return vector.map((each) => each / whole);
}

/** How long the thread was not free for others. */
function watch(onTurn: (ms: number) => void): () => void {
  let last = performance.now();
  let on = true;
  const turn = () => {
    const now = performance.now();
    onTurn(now - last);
    last = now;
    if (on) setImmediate(turn);
  };
  setImmediate(turn);
  return () => {
    on = false;
  };
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
