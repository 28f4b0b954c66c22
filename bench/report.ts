/** A run's figures as tables. */
import { LONG } from "./bodies.ts";
import type { StreamMemory } from "./memory.ts";
import type { MicroResult } from "./micro/bench.ts";
import { differences, figures, type Measured, type Pick, ratios } from "./rounds.ts";
import type { Scenario } from "./scenarios.ts";
import { range, short, spread, table } from "./statistics.ts";
import type { Workers } from "./workers.ts";

export function scenarioTable(scenario: Scenario, measured: readonly Measured[]): string {
  const { bytes, connections } = scenario;
  const rounds = measured[0]?.samples.length;
  const title = `requests of ${bytes} bytes, ${connections} connections, ${rounds} rounds, min–median–max`;
  return `${title}\n${table(rowsOf(scenario, measured))}`;
}

type Column = [head: string, cell: (one: Measured) => string];

function rowsOf(scenario: Scenario, measured: readonly Measured[]): string[][] {
  const columns: Column[] = [
    ...columnsOf(scenario, measured),
    ["busy %", median(({ busy }) => 100 * busy)],
    ["RSS MB", median(({ rssMB }) => rssMB)],
  ];
  return [
    ["", ...columns.map(([head]) => head)],
    ...measured.map((one) => [one.variant, ...columns.map(([, cell]) => cell(one))]),
  ];
}

const median = (pick: Pick) => (one: Measured) => short(figures(one, pick).median);
const spreadOf = (pick: Pick) => (one: Measured) => range(figures(one, pick));

function columnsOf(scenario: Scenario, measured: readonly Measured[]): Column[] {
  const floor = measured.find(({ variant }) => variant === "floor")!;
  const against = (pick: Pick) => (one: Measured) => range(ratios(one, floor, pick));
  const times: Column[] = [
    ["p50 ms", median(({ p50 }) => p50)],
    ["p95", median(({ p95 }) => p95)],
    ["p99", median(({ p99 }) => p99)],
  ];
  if (scenario.shorter) {
    return [
      ["CPU µs per chunk", spreadOf(chunk)],
      ["× floor", against(chunk)],
      ["with the request", spreadOf((sample) => cpu(sample) / LONG)],
      ["× floor", against(cpu)],
      ["chunks/s", spreadOf((sample) => perSecond(sample) * LONG)],
    ];
  }
  if (scenario.direct) {
    const direct = measured.find(({ variant }) => variant === "no proxy")!;
    const added = (pick: Pick) => (one: Measured) =>
      one === direct ? "" : range(differences(one, direct, (sample) => 1_000 * pick(sample)));
    return [
      ["CPU µs", spreadOf(cpu)],
      ...times,
      ["added p50 µs", added(({ p50 }) => p50)],
      ["added p95 µs", added(({ p95 }) => p95)],
      ["added p99 µs", added(({ p99 }) => p99)],
    ];
  }
  return [
    ["CPU µs per request", spreadOf(cpu)],
    ["× floor", against(cpu)],
    ["requests/s", spreadOf(perSecond)],
    ...times,
  ];
}

export const cpu: Pick = ({ cpuUs }) => cpuUs;
export const chunk: Pick = ({ chunkUs }) => chunkUs ?? Number.NaN;
export const perSecond: Pick = ({ requestsPerSecond }) => requestsPerSecond;
export function memoryTable(streams: readonly StreamMemory[]): string {
  const rows = streams.map((one) => [one.variant, short(one.rssKB), short(one.heapKB)]);
  return `kB per slow stream\n${table([["", "resident", "heap and buffers"], ...rows])}`;
}

export function workersTable(results: readonly Workers[]): string {
  const rows = results.flatMap(({ size, one, two, seen, capacity }) => {
    const row = (name: string, samples: typeof one, ...ratios: [string, string]) => {
      const median = (pick: (sample: (typeof one)[number]) => number) => short(spread(samples.map(pick)).median);
      return [
        `${size}, ${name}`,
        median(({ requestsPerSecond }) => requestsPerSecond),
        median(({ cpuUs }) => cpuUs),
        median(({ loadShare }) => 100 * loadShare),
        median(({ capacity }) => capacity),
        ...ratios,
      ];
    };
    return [row("one worker", one, "", ""), row("two workers", two, range(seen), range(capacity))];
  });
  const head = ["", "requests/s", "CPU µs per request", "load %", "requests/s by CPU", "× one worker, seen", "by CPU"];
  return `load and upstream take their part ("load %") of the same cores: what is seen is less than what is possible;
"by CPU" is what the CPU time of the busiest worker allows
${table([head, ...rows])}`;
}

export function microTables(results: readonly MicroResult[]): string {
  const groups = [...Map.groupBy(results, (result) => result.group)].map(([group, rows]) => {
    const cells = rows.map(({ name, us, allocated, bytes }) => [
      name,
      ...[us.min, us.p50, us.p99, us.avg].map(short),
      bytes === undefined ? "" : short((1_024 * us.p50) / bytes),
      short(allocated / 1_024),
    ]);
    return `${group}\n${table([["", "min µs", "p50", "p99", "mean", "µs per KB", "heap KB"], ...cells])}`;
  });
  return groups.join("\n\n");
}
