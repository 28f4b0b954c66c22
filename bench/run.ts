/**
 * `npm run bench`: Turnpike beside a bare proxy, and beside peers that are there. See docs/performance.md.
 *
 *   --only NAME       scenarios (and `micro`, `memory`, `latency`) whose name starts so; may be repeated
 *   --variant NAME    only variants whose name starts so; the floor always runs; may be repeated
 *   --rounds N        rounds per scenario (default 7)
 *   --against DIR     a second clone of the repository, measured in the same rounds
 *   --peers DIR       where `npm install @portkey-ai/gateway` was run (default /tmp/peers)
 *   --profile DIR     writes a CPU profile per mode there; `node bench/profile.ts FILE` sums it up
 *   --json FILE       everything, as data
 *   --smoke           a few requests of everything; asserts that they are answered, nothing about time
 */
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BYTES, STREAM_CHUNKS } from "./bodies.ts";
import { build } from "./build.ts";
import { type Held, memory } from "./memory.ts";
import type { MicroResult } from "./micro.ts";
import { isPinned, startLoad, startMicro, startUpstream, stopAll } from "./processes.ts";
import { type Measured, type Running, rounds, type Scenario } from "./rounds.ts";
import { range, short, table } from "./statistics.ts";
import { direct, floor, portkey, turnpike, type Variant } from "./variants.ts";

const { values: options } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: [] },
    variant: { type: "string", multiple: true, default: [] },
    rounds: { type: "string", default: "7" },
    against: { type: "string" },
    peers: { type: "string", default: "/tmp/peers" },
    profile: { type: "string" },
    json: { type: "string" },
    smoke: { type: "boolean", default: false },
  },
});

const { smoke } = options;
const ROUNDS = smoke ? 1 : Number(options.rounds);
const wanted = (name: string) => options.only.length === 0 || options.only.some((start) => name.startsWith(start));

const json = { way: "json", connections: 64, units: 1 } as const;
const stream = { bytes: BYTES["1k"], connections: 64, units: STREAM_CHUNKS } as const;
const SCENARIOS: readonly Scenario[] = [
  { ...json, name: "json-1k", bytes: BYTES["1k"], requests: 3_000, warmup: 4_000 },
  { ...json, name: "json-30k", bytes: BYTES["30k"], requests: 1_500, warmup: 2_000 },
  { ...json, name: "json-200k", bytes: BYTES["200k"], requests: 400, warmup: 400 },
  { ...stream, name: "burst", way: "burst", requests: 640, warmup: 640 },
  { ...stream, name: "paced", way: "paced", requests: 192, warmup: 64 },
];
/** One caller at a time: what a proxy adds to a request when nobody waits in line. */
const LATENCY: Scenario = {
  ...json,
  name: "latency",
  bytes: BYTES["30k"],
  connections: 1,
  requests: 2_000,
  warmup: 500,
};

const root = fileURLToPath(new URL("..", import.meta.url));
const started = new Date();
const results: Record<string, Measured[]> = {};
const held: Held[] = [];
let micro: MicroResult[] = [];

console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores${isPinned ? ", pinned" : ", not pinned"}; Node ${process.version}; load ${loadavg()[0]?.toFixed(2)} before the start\n`,
);

try {
  const upstream = await startUpstream();
  const load = await startLoad();
  const upstreamURL = `http://127.0.0.1:${upstream.port}`;
  const dist = build(root);
  const candidates: Variant[] = [
    ...turnpike(dist, upstreamURL, "", options.profile),
    ...(options.against ? turnpike(build(options.against), upstreamURL, " (against)") : []),
    portkey(upstreamURL, resolve(options.peers)),
  ].filter(({ name }) => options.variant.length === 0 || options.variant.some((start) => name.startsWith(start)));
  const variants = [floor(upstreamURL), ...candidates];

  const scenarios = [...SCENARIOS, LATENCY].filter(({ name }) => wanted(name));
  if (scenarios.length > 0) {
    const running: Running[] = [];
    for (const variant of [direct(upstream), ...variants]) {
      const child = await variant.start();
      if (child) running.push({ variant, child });
      else console.log(`${variant.name}: not installed in ${options.peers}, left out\n`);
    }
    for (const given of scenarios) {
      const scenario = smoke
        ? { ...given, requests: 8, warmup: 8, connections: Math.min(4, given.connections) }
        : given;
      const chosen = running.filter(
        ({ variant }) => scenario === LATENCY || scenario.name === "latency" || variant.name !== "no proxy",
      );
      results[scenario.name] = await rounds(scenario, chosen, load, ROUNDS);
      print(scenario, results[scenario.name]!);
    }
    for (const { child } of running) if (child !== upstream) await child.stop();
  }

  if (wanted("memory")) {
    for (const variant of variants) {
      if (variant.name.includes("bare")) continue;
      const one = await memory(variant, load, smoke ? 5 : 1_000);
      if (one) held.push(one);
    }
    console.log("memory per slow stream, kB");
    const rows = held.map((one) => [one.variant, short(one.rssKB), short(one.heapKB)]);
    console.log(`${table([["", "resident", "heap + buffers"], ...rows])}\n`);
  }

  if (wanted("micro")) {
    const child = startMicro([join(root, "src"), dist, ...(smoke ? ["smoke"] : [])]);
    ({ results: micro } = await child.next<{ results: MicroResult[] }>("done"));
    const rows = micro.map(({ name, us, bytes }) => [name, range(us), bytes ? short((1_024 * us.median) / bytes) : ""]);
    console.log(`in process\n${table([["", "µs, min–median–max", "µs per KB"], ...rows])}\n`);
  }
} finally {
  await stopAll();
}

if (options.json) {
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, pinned: isPinned, node: process.version };
  writeFileSync(
    options.json,
    JSON.stringify({ started, machine, rounds: ROUNDS, results, memory: held, micro }, null, 2),
  );
  console.log(`written to ${options.json}`);
}

function print(scenario: Scenario, measured: readonly Measured[]): void {
  const unit = scenario.units > 1 ? "chunk" : "request";
  const rows = measured.map((one) => [
    one.variant,
    range(one.cpuUs),
    range(one.ratio),
    short(one.requestsPerSecond.median),
    short(one.p50.median),
    short(one.p95.median),
    short(one.p99.median),
    short(one.rssMB),
  ]);
  const head = ["", `CPU µs per ${unit}`, "× floor", "requests/s", "p50 ms", "p95", "p99", "RSS MB"];
  console.log(
    `${scenario.name}: ${scenario.bytes} byte requests, ${scenario.connections} connections, ${ROUNDS} rounds of ${scenario.requests}`,
  );
  console.log(`${table([head, ...rows])}\n`);
}
