/** What a run is like, decided by its seed. */
import type { Random } from "./random.ts";
import type { Network } from "./remote.ts";

export interface Plan {
  readonly processes: number;
  readonly callers: number;
  readonly requestsPerCaller: number;
  readonly cap: number;
  /** Of the rolling limit; undefined: there is none. */
  readonly rollingCap: number | undefined;
  /** Some requests are also counted by a counter without a limit. */
  readonly counting: boolean;
  /** Most output of a request. */
  readonly largest: number;
  /** Of what the shared store holds: requests, or leases. */
  readonly onExpire: "release" | "charge";
  /** Of requests. Over leases they are of the process's own store: given back, as the middleware does. */
  readonly requestsExpireBy: "release" | "charge";
  /** Life of a reservation without renewal. */
  readonly holdTtlMs: number;
  readonly network: Network;
  /** Some answers cost more than was reserved for them. */
  readonly overruns: boolean;
  /** Probabilities per step. */
  readonly crash: number;
  readonly pause: number;
  readonly clockStep: number;
}

export function planOf(random: Random, kind: "plain" | "leased"): Plan {
  const isCalm = random.chance(0.25);
  const rate = (...rates: number[]) => (isCalm ? 0 : random.pick(rates));
  const onExpire = random.pick(["release", "charge"] as const);
  return {
    processes: 2 + random.below(3),
    callers: 3 + random.below(4),
    requestsPerCaller: 3 + random.below(4),
    cap: random.pick([300, 1_000, 3_000]),
    rollingCap: random.chance(0.5) ? random.pick([300, 800]) : undefined,
    counting: true,
    largest: random.pick([40, 200]),
    onExpire,
    requestsExpireBy: kind === "plain" ? onExpire : "release",
    holdTtlMs: random.pick([2_000, 4_000]),
    network: { dropped: rate(0, 0.05, 0.15), lost: rate(0, 0.05, 0.15), twice: rate(0, 0.1) },
    overruns: random.chance(0.2),
    crash: rate(0, 0, 0.003),
    pause: rate(0, 0, 0.004),
    clockStep: rate(0, 0, 0.003),
  };
}
