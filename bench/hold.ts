/** A fixed rate held for a while, whether or not the gateway keeps up. */
import { BYTES } from "./bodies.ts";
import { type Child, loadOnce, runLoad } from "./processes.ts";
import { short } from "./statistics.ts";
import type { Variant } from "./variants.ts";

export interface Held {
  variant: string;
  perSecond: number;
  seconds: number;
  requests: number;
  errors: number;
  firstError?: string;
  /** Answers per second. */
  achieved: number;
  /** ms, from the moment a request was due. */
  p50: number;
  p99: number;
  max: number;
  /** Part of one core. */
  busy: number;
  rssMB: { before: number; after: number };
}

export async function hold(variant: Variant, load: Child, perSecond: number, ms: number): Promise<Held> {
  const child = (await variant.start())!;
  const ask = { port: child.port, connections: 128, ...variant.job("json", BYTES["1k"]) };
  await runLoad(load, { type: "loop", requests: 4 * perSecond, ms: 8_000, ...ask });
  const before = await child.probe();
  const { requests, errors, firstError, elapsedMs, p50, p99, max } = await loadOnce(load, {
    type: "rate",
    ...{ perSecond, ms },
    ...ask,
  });
  const after = await child.probe();
  await child.stop();
  return {
    variant: variant.name,
    perSecond,
    seconds: ms / 1_000,
    requests,
    errors,
    ...(firstError !== undefined && { firstError }),
    achieved: (1_000 * requests) / elapsedMs,
    ...{ p50, p99, max },
    busy: (after.cpuUs - before.cpuUs) / 1_000 / elapsedMs,
    rssMB: { before: before.rss / 1e6, after: after.rss / 1e6 },
  };
}

/** Every request was answered, and the rate was kept. */
export const isHeld = ({ errors, achieved, perSecond }: Held) => errors === 0 && achieved >= 0.99 * perSecond;

export const describeHeld = (one: Held) =>
  `${one.variant}, ${one.perSecond} requests/s for ${one.seconds} s: ${short(one.achieved)}/s answered, ${one.errors} errors${one.firstError ? ` (${one.firstError.split("\n")[0]})` : ""}, p50 ${short(one.p50)} ms, p99 ${short(one.p99)} ms, longest ${short(one.max)} ms, ${short(100 * one.busy)} % of one core, resident ${short(one.rssMB.before)} → ${short(one.rssMB.after)} MB`;
