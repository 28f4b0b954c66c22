/**
 * `node bench/budget/run.ts`: what an exact cap costs, and what it saves. See docs/budgets-proof.md.
 *
 *   --only NAME   speed, overspend or soak; may be repeated
 *   --ms N        how long each measurement of speed lasts (default 2000)
 *   --requests N  of each soak (default 1,000,000 in memory, 100,000 in SQLite)
 *   --smoke       a little of everything; nothing about time
 *
 * With `node --expose-gc` the soak tells what is really kept.
 */
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { short, table } from "../statistics.ts";
import { engines } from "./engines.ts";
import { overspend } from "./overspend.ts";
import { type Sample, soakMemory, soakSqlite } from "./soak.ts";
import { measure } from "./speed.ts";

const { values: options } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: [] },
    ms: { type: "string", default: "2000" },
    requests: { type: "string" },
    smoke: { type: "boolean", default: false },
  },
});
const { smoke } = options;
const wanted = (name: string) => options.only.length === 0 || options.only.includes(name);

console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores; Node ${process.version}; load ${short(loadavg()[0]!)} before the start\n`,
);

if (wanted("speed")) {
  const rows = [["", "limits", "reserve+settle/s", "reserve p50 µs", "p99 µs", "× raw driver"]];
  for await (const engine of engines()) {
    for (const limits of [1, 5]) {
      const { perSecond, p50, p99, ratio } = await measure(engine, limits, smoke ? 40 : Number(options.ms));
      rows.push([engine.name, `${limits}`, short(perSecond), short(p50), short(p99), ratio ? short(ratio) : "–"]);
    }
    await engine.end();
  }
  console.log(`${table(rows)}\n`);
}

if (wanted("overspend")) {
  const rows = [["in flight", "reserve, then settle", "check, then charge"]];
  for (const inFlight of smoke ? [16] : [16, 64, 256]) {
    const { reserved, checked } = await overspend(inFlight);
    rows.push([`${inFlight}`, `${short(reserved)} %`, `${short(checked)} %`]);
  }
  console.log(`spent of a cap of 100,000 tokens\n${table(rows)}\n`);
}

if (wanted("soak")) {
  const requests = (large: number, small: number) => Number(options.requests ?? (smoke ? small : large));
  print("memory", await soakMemory(requests(1_000_000, 10_000)));
  print("sqlite", await soakSqlite(requests(100_000, 1_000)));
}

function print(name: string, samples: readonly Sample[]): void {
  const head = ["requests", "s", "RSS MB", "heap MB", "counter rows", "reservation rows", "file MB", "WAL MB"];
  const rows = samples.map(({ requests, seconds, rssMB, heapMB, rows }) => [
    `${requests}`,
    ...[seconds, rssMB, heapMB].map(short),
    ...(rows ? [`${rows.counters}`, `${rows.reservations}`, short(rows.fileMB), short(rows.walMB)] : []),
  ]);
  const columns = rows[0]!.length;
  console.log(`soak over ten days, ${name} store\n${table([head.slice(0, columns), ...rows])}\n`);
}
