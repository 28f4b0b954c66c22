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

function rowsOf(scenario: Scenario, measured: readonly Measured[]): string[][] {
  const floor = named(measured, "floor");
  const median = (pick: Pick) => (one: Measured) => short(figures(one, pick).median);
  const all =
    (pick: Pick, by = 1) =>
    (one: Measured) =>
      range(figures(one, (sample) => by * pick(sample)));
  const against = (pick: Pick) => (one: Measured) => range(ratios(one, floor, pick));
  const direct = measured.find(({ variant }) => variant === "no proxy");
  const added = (pick: Pick) => (one: Measured) =>
    direct && one !== direct ? range(differences(one, direct, (sample) => 1_000 * pick(sample))) : "";

  const columns: [string, (one: Measured) => string][] = scenario.shorter
    ? [
        ["CPU µs per chunk", all(chunk)],
        ["× floor", against(chunk)],
        ["with the request", all(cpu, 1 / LONG)],
        ["× floor", against(cpu)],
        ["chunks/s", (one) => short(LONG * figures(one, perSecond).median)],
      ]
    : scenario.direct
      ? [
          ["CPU µs", all(cpu)],
          ["p50 ms", median(({ p50 }) => p50)],
          ["p95", median(({ p95 }) => p95)],
          ["p99", median(({ p99 }) => p99)],
          ["added p50 µs", added(({ p50 }) => p50)],
          ["added p95 µs", added(({ p95 }) => p95)],
          ["added p99 µs", added(({ p99 }) => p99)],
        ]
      : [
          ["CPU µs per request", all(cpu)],
          ["× floor", against(cpu)],
          ["requests/s", median(perSecond)],
          ["p50 ms", median(({ p50 }) => p50)],
          ["p95", median(({ p95 }) => p95)],
          ["p99", median(({ p99 }) => p99)],
        ];
  columns.push(["busy %", median(({ busy }) => 100 * busy)], ["RSS MB", median(({ rssMB }) => rssMB)]);
  return [
    ["", ...columns.map(([head]) => head)],
    ...measured.map((one) => [one.variant, ...columns.map(([, cell]) => cell(one))]),
  ];
}

export const cpu: Pick = ({ cpuUs }) => cpuUs;
export const chunk: Pick = ({ chunkUs }) => chunkUs ?? Number.NaN;
export const perSecond: Pick = ({ requestsPerSecond }) => requestsPerSecond;
export const named = (measured: readonly Measured[], name: string): Measured =>
  measured.find(({ variant }) => variant === name)!;

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
