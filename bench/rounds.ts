/** Interleaved rounds: every variant once per round, the order rotated, CPU time read before and after. */
import type { Loaded } from "./load.ts";
import { type Child, type Probe, runLoad } from "./processes.ts";
import { type Spread, spread } from "./statistics.ts";
import type { Variant, Way } from "./variants.ts";

export interface Scenario {
  name: string;
  way: Way;
  bytes: number;
  connections: number;
  requests: number;
  /** Requests to each variant before anything is counted. */
  warmup: number;
  /** What one request is divided into: chunks of a stream. */
  units: number;
}

export interface Measured {
  variant: string;
  /** CPU µs of the process under test, per request or per chunk. */
  cpuUs: Spread;
  /** Against the floor of the same round. */
  ratio: Spread;
  requestsPerSecond: Spread;
  p50: Spread;
  p95: Spread;
  p99: Spread;
  rssMB: number;
}

export interface Running {
  variant: Variant;
  child: Child;
}

interface Sample {
  cpuUs: number;
  loaded: Loaded;
  rss: number;
}

export async function rounds(
  scenario: Scenario,
  all: readonly Running[],
  load: Child,
  count: number,
): Promise<Measured[]> {
  const running: Running[] = [];
  for (const each of all) {
    try {
      await once(scenario, each, load, scenario.warmup);
      running.push(each);
    } catch (error) {
      // A peer that cannot do it must not end the run; ourselves we do not forgive.
      if (!each.variant.peer) throw error;
      console.log(`${each.variant.name} is left out of ${scenario.name}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  const samples = new Map<Running, Sample[]>(running.map((each) => [each, []]));
  for (let round = 0; round < count; round++) {
    for (let i = 0; i < running.length; i++) {
      const each = running[(i + round) % running.length]!;
      samples.get(each)!.push(await once(scenario, each, load, scenario.requests));
    }
  }
  const floors = samples.get(running.find(({ variant }) => variant.name === "floor") ?? running[0]!)!;
  return running.map((each) => {
    const own = samples.get(each)!;
    const of = (value: (sample: Sample) => number) => spread(own.map(value));
    return {
      variant: each.variant.name,
      cpuUs: of((sample) => sample.cpuUs / scenario.units),
      ratio: spread(own.map((sample, round) => sample.cpuUs / floors[round]!.cpuUs)),
      requestsPerSecond: of(({ loaded }) => (1_000 * loaded.requests) / loaded.elapsedMs),
      p50: of(({ loaded }) => loaded.p50),
      p95: of(({ loaded }) => loaded.p95),
      p99: of(({ loaded }) => loaded.p99),
      rssMB: own.at(-1)!.rss / 1e6,
    };
  });
}

async function once(scenario: Scenario, { variant, child }: Running, load: Child, requests: number): Promise<Sample> {
  const { way, bytes, connections } = scenario;
  const job = { type: "run" as const, port: child.port, connections, requests, ...variant.job(way, bytes) };
  const before: Probe = await child.probe();
  const loaded = await runLoad(load, job);
  const after = await child.probe();
  return { cpuUs: (after.cpuUs - before.cpuUs) / requests, loaded, rss: after.rss };
}
