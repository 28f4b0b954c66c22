/** Interleaved rounds: every variant once per round, the order rotated, CPU time read before and after. */
import { LONG, SHORT, type Way } from "./bodies.ts";
import { type Child, runLoad } from "./processes.ts";
import type { Scenario } from "./scenarios.ts";
import { type Spread, spread } from "./statistics.ts";
import type { Variant } from "./variants.ts";

/** One variant in one round. */
export interface Sample {
  /** CPU µs of the process under test, per request. */
  cpuUs: number;
  /** The same per chunk of a stream, without what a request costs by itself. */
  chunkUs?: number;
  requestsPerSecond: number;
  /** Part of the time in which the process under test was busy: when it is low, the load was the bottleneck. */
  busy: number;
  /** ms */
  p50: number;
  p95: number;
  p99: number;
  rssMB: number;
}

/** A variant's samples, one per round. */
export interface Measured {
  variant: string;
  samples: Sample[];
}

export interface Running {
  variant: Variant;
  child: Child;
}

export async function rounds(
  scenario: Scenario,
  all: readonly Running[],
  load: Child,
  count: number,
): Promise<Measured[]> {
  const samples = new Map<Running, Sample[]>(all.map((each) => [each, []]));
  /** A peer that cannot do it must not end the run; ourselves we do not forgive. */
  async function attempt(each: Running, run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (!each.variant.peer) throw error;
      console.log(`${each.variant.name} is left out of ${scenario.name}: ${(error as Error).message.split("\n")[0]}`);
      samples.delete(each);
    }
  }
  const { way, requests, ms } = scenario.warmup;
  for (const each of all) await attempt(each, () => once({ ...scenario, requests, ms }, way, each, load));
  for (let round = 0; round < count; round++) {
    const running = [...samples.keys()];
    for (let i = 0; i < running.length; i++) {
      const each = running[(i + round) % running.length]!;
      await attempt(each, async () => samples.get(each)!.push(await sample(scenario, each, load)));
    }
  }
  return [...samples].map(([{ variant }, samples]) => ({ variant: variant.name, samples }));
}

async function sample(scenario: Scenario, each: Running, load: Child): Promise<Sample> {
  const whole = await once(scenario, scenario.way, each, load);
  if (!scenario.shorter) return whole;
  const short = await once(scenario, scenario.shorter, each, load);
  return { ...whole, chunkUs: (whole.cpuUs - short.cpuUs) / (LONG - SHORT) };
}

async function once(scenario: Scenario, way: Way, { variant, child }: Running, load: Child): Promise<Sample> {
  const { bytes, connections, requests, ms } = scenario;
  const before = await child.probe();
  const loaded = await runLoad(load, {
    type: "loop",
    port: child.port,
    ...{ connections, requests, ms },
    ...variant.job(way, bytes),
  });
  const after = await child.probe();
  const cpuUs = after.cpuUs - before.cpuUs;
  const { elapsedMs, p50, p95, p99 } = loaded;
  return {
    cpuUs: cpuUs / loaded.requests,
    requestsPerSecond: (1_000 * loaded.requests) / elapsedMs,
    busy: cpuUs / 1_000 / elapsedMs,
    ...{ p50, p95, p99 },
    rssMB: after.rss / 1e6,
  };
}

export type Pick = (sample: Sample) => number;

export const figures = ({ samples }: Measured, pick: Pick): Spread => spread(samples.map(pick));

/** Each sample against the other variant's of the same round. */
export const ratios = ({ samples }: Measured, to: Measured, pick: Pick): Spread =>
  spread(samples.map((sample, round) => pick(sample) / pick(to.samples[round]!)));

export const differences = ({ samples }: Measured, to: Measured, pick: Pick): Spread =>
  spread(samples.map((sample, round) => pick(sample) - pick(to.samples[round]!)));
