/** In process, around a provider that answers at once: what the cache adds to a miss and takes from a hit. */
import { createGateway, router, translator } from "../../src/index.ts";
import { type CacheOptions, cache } from "../../src/middleware/cache/index.ts";
import { simulated } from "../../src/providers/simulated.ts";
import { range, spread } from "../statistics.ts";

const SAMPLES = 7;

export async function hits(smoke: boolean): Promise<string[][]> {
  const rows = [["µs per request, min–median–max", "1 KB prompt", "30 KB", "200 KB"]];
  const sizes = [1, 30, 200];
  const measure = async (name: string, make: (kb: number) => (i: number) => Promise<unknown>) => {
    const cells: string[] = [];
    for (const kb of sizes) cells.push(range(await microseconds(make(kb), smoke)));
    rows.push([name, ...cells]);
  };
  const plain = gateway();
  await measure("no cache", (kb) => (i) => plain.completion(request(kb, i)));
  const missing = gateway({});
  await measure("miss, stored", (kb) => (i) => missing.completion(request(kb, i)));
  const bypassing = gateway({});
  await measure("bypass (no temperature)", (kb) => (i) => bypassing.completion(request(kb, i, {})));
  const hitting = gateway({});
  await measure("hit", (kb) => () => hitting.completion(request(kb, 0)));
  const streaming = gateway({});
  await measure("hit, streamed", (kb) => async () => {
    let last: unknown;
    for await (const chunk of await streaming.completion({ ...request(kb, 0), stream: true })) last = chunk;
    return last;
  });
  return rows;
}

const gateway = (options?: CacheOptions) =>
  createGateway({
    providers: { simulated: simulated() },
    use: [...(options ? [cache({ ...options, maxBytes: 32 * 1024 * 1024 })] : []), router(), translator()],
  });

/** `i` makes it another question. */
const request = (kb: number, i: number, more: object = { temperature: 0 }) => ({
  model: "simulated/fast",
  max_tokens: 200,
  ...more,
  messages: [
    { role: "system", content: "You are a careful assistant. ".repeat(Math.ceil((kb * 1_024) / 29)) },
    { role: "user", content: `Question ${i}` },
  ],
});

let serial = 0;

async function microseconds(call: (i: number) => Promise<unknown>, smoke: boolean) {
  const samples: number[] = [];
  for (let sample = -2; sample < (smoke ? 1 : SAMPLES); sample++) {
    const started = performance.now();
    let calls = 0;
    do {
      for (let i = 0; i < 20; i++) await call(serial++);
      calls += 20;
    } while (performance.now() - started < (smoke ? 5 : 300));
    if (sample >= 0) samples.push((1_000 * (performance.now() - started)) / calls);
  }
  return spread(samples);
}
