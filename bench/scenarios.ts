/** What is asked of every variant, in rounds. */
import { BYTES, type Way } from "./bodies.ts";

export interface Scenario {
  name: string;
  way: Way;
  /** The same stream with fewer chunks. */
  shorter?: Way;
  bytes: number;
  connections: number;
  /** A sample ends after so many requests, or after `ms`. */
  requests: number;
  ms: number;
  /** Before anything is counted, so that V8 has optimised what it will. */
  warmup: { way: Way; requests: number; ms: number };
  /** Asked of the upstream without a proxy too: what is more than that was added. */
  direct?: true;
}

const json = { way: "json", connections: 64, requests: 20_000, ms: 1_000 } as const;
const warmJson = { way: "json", ms: 6_000 } as const;
const stream = { bytes: BYTES["1k"], connections: 64, warmup: { way: "burst", requests: 3_000, ms: 3_000 } } as const;

export const SCENARIOS: readonly Scenario[] = [
  { ...json, name: "json-1k", bytes: BYTES["1k"], warmup: { ...warmJson, requests: 20_000 } },
  { ...json, name: "json-30k", bytes: BYTES["30k"], warmup: { ...warmJson, requests: 8_000 } },
  { ...json, name: "json-200k", bytes: BYTES["200k"], warmup: { ...warmJson, requests: 2_000 } },
  { ...stream, name: "burst", way: "burst", shorter: "burst-short", requests: 20_000, ms: 1_000 },
  { ...stream, name: "paced", way: "paced", shorter: "paced-short", requests: 20_000, ms: 1_500 },
  // One caller at a time: what a proxy adds to a request when nobody waits in line.
  {
    ...json,
    name: "latency",
    bytes: BYTES["30k"],
    connections: 1,
    direct: true,
    warmup: { ...warmJson, requests: 8_000 },
  },
];

/** A few requests, to see that they are answered. */
export const small = (scenario: Scenario): Scenario => ({
  ...scenario,
  connections: Math.min(4, scenario.connections),
  requests: 4,
  warmup: { ...scenario.warmup, requests: 4 },
});
