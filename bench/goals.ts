/** What was aimed at, beside what this run measured. */
import { type Held, isHeld } from "./hold.ts";
import type { StreamMemory } from "./memory.ts";
import type { MicroResult } from "./micro/bench.ts";
import { chunk, cpu, perSecond } from "./report.ts";
import { type Measured, type Pick, ratios } from "./rounds.ts";
import { type Spread, short } from "./statistics.ts";
import type { Workers } from "./workers.ts";

export interface Results {
  scenarios: Readonly<Record<string, readonly Measured[]>>;
  memory: readonly StreamMemory[];
  micro: readonly MicroResult[];
  workers?: readonly Workers[] | undefined;
  hold?: Held | undefined;
}

interface Goal {
  what: string;
  most?: number;
  least?: number;
  /** `undefined`: not measured in this run. */
  measured: Spread | number | undefined;
}

function goals({ scenarios, memory, micro, workers }: Results): Goal[] {
  const against = (scenario: string, variant: string, pick: Pick, other = "floor") => {
    const find = (name: string) => scenarios[scenario]?.find((one) => one.variant === name);
    const [one, to] = [find(variant), find(other)];
    return one && to && ratios(one, to, pick);
  };
  const inProcess = (name: string) => {
    const us = micro.find((each) => each.name === name)?.us;
    return us && { min: us.min, median: us.p50, max: us.p99 };
  };
  const stream = (variant: string) => memory.find((each) => each.variant === variant)?.heapKB;
  const two = (size: string) => workers?.find((each) => each.size === size)?.capacity;
  return [
    { what: "passed, 1 KB, × floor", most: 1.2, measured: against("json-1k", "pass-chat", cpu) },
    { what: "passed, 30 KB", most: 1.15, measured: against("json-30k", "pass-chat", cpu) },
    { what: "passed, 200 KB", most: 1.15, measured: against("json-200k", "pass-chat", cpu) },
    { what: "translated, 1 KB", most: 1.5, measured: against("json-1k", "to-chat", cpu) },
    { what: "translated, 30 KB", most: 3.2, measured: against("json-30k", "to-chat", cpu) },
    { what: "stream passed, burst, per chunk", most: 1.15, measured: against("burst", "pass-chat", chunk) },
    { what: "stream passed, paced", most: 1.15, measured: against("paced", "pass-chat", chunk) },
    { what: "stream translated, burst", most: 1.8, measured: against("burst", "to-chat", chunk) },
    { what: "stream translated, paced", most: 1.3, measured: against("paced", "to-chat", chunk) },
    { what: "`completion()`, whole default stack, µs", most: 5, measured: inProcess("whole default stack") },
    { what: "`completion()`, bare, µs", most: 3, measured: inProcess("router and translator") },
    { what: "requests/s × Portkey, 1 KB", least: 8, measured: against("json-1k", "pass-chat", perSecond, "portkey") },
    { what: "requests/s × Portkey, 30 KB", least: 8, measured: against("json-30k", "pass-chat", perSecond, "portkey") },
    { what: "slow stream passed, heap and buffers, kB", most: 32, measured: stream("pass-chat") },
    { what: "slow stream translated, heap and buffers, kB", most: 45, measured: stream("to-chat") },
    { what: "two workers × one, 1 KB, by CPU", least: 1.6, measured: two("1k") },
    { what: "two workers × one, 30 KB, by CPU", least: 1.6, measured: two("30k") },
  ];
}

/** A table in Markdown, for docs/performance.md. */
export function againstTheGoals(results: Results): string {
  const rows = goals(results).map(({ what, most, least, measured }) => {
    const goal = most === undefined ? `≥ ${least}` : `≤ ${most}`;
    if (measured === undefined) return [what, goal, "–", "not measured"];
    const value = typeof measured === "number" ? measured : measured.median;
    const isMet = most === undefined ? value >= least! : value <= most;
    return [what, goal, shown(measured), isMet ? "met" : "**missed**"];
  });
  rows.push(held(results.hold));
  const lines = [["Goal", "", "Measured", ""], ["---", "---", "---", "---"], ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

const shown = (measured: Spread | number) =>
  typeof measured === "number"
    ? short(measured)
    : `${short(measured.min)}–**${short(measured.median)}**–${short(measured.max)}`;

function held(one: Held | undefined): string[] {
  const what = "5,000 requests/s held, one core, no error";
  if (!one) return [what, "yes", "–", "not measured"];
  const measured = `${short(one.achieved)}/s for ${short(one.seconds)} s, ${one.errors} errors, ${short(100 * one.busy)} % of the core`;
  return [what, "yes", measured, isHeld(one) ? "met" : "**missed**"];
}
