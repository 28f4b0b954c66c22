/**
 * `npm run bench`: Turnpike beside a bare proxy, and beside peers that are there. See docs/performance.md.
 *
 *   --only NAME       scenarios (also `memory`, `hold`, `workers`, `micro`) whose name starts so; may be repeated
 *   --variant NAME    only variants whose name starts so; the floor always runs; may be repeated
 *   --rounds N        rounds per scenario (default 5)
 *   --minutes N       how long `hold` lasts (default half a minute)
 *   --rate N          requests per second of `hold` (default 5000)
 *   --against DIR     a second clone of the repository, measured in the same rounds
 *   --peers DIR       where `npm install @portkey-ai/gateway` was run (default /tmp/peers)
 *   --profile DIR     writes a CPU profile per mode there; `node bench/profile.ts FILE` sums it up
 *   --json FILE       everything, as data (default node_modules/.cache/turnpike-bench.json)
 *   --smoke           a few requests of everything; asserts that they are answered, nothing about time
 */
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "./build.ts";
import { againstTheGoals, type Results } from "./goals.ts";
import { describeHeld, type Held, hold } from "./hold.ts";
import { memory, type StreamMemory } from "./memory.ts";
import type { MicroResult } from "./micro/bench.ts";
import { isPinned, startLoad, startMicro, startUpstream, stopAll } from "./processes.ts";
import { memoryTable, microTables, scenarioTable, workersTable } from "./report.ts";
import { type Measured, type Running, rounds } from "./rounds.ts";
import { SCENARIOS, small } from "./scenarios.ts";
import { direct, floor, portkey, turnpike, type Variant } from "./variants.ts";
import { type Workers, workers } from "./workers.ts";

const { values: options } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: [] },
    variant: { type: "string", multiple: true, default: [] },
    rounds: { type: "string", default: "5" },
    minutes: { type: "string", default: "0.5" },
    rate: { type: "string", default: "5000" },
    against: { type: "string" },
    peers: { type: "string", default: "/tmp/peers" },
    profile: { type: "string" },
    json: { type: "string" },
    smoke: { type: "boolean", default: false },
  },
});

const { smoke } = options;
const size = smoke
  ? { rounds: 1, streams: 5, settleMs: 100, rate: 100, holdMs: 500, workersMs: 200 }
  : {
      rounds: Number(options.rounds),
      streams: 1_000,
      settleMs: 4_000,
      rate: Number(options.rate),
      holdMs: 60_000 * Number(options.minutes),
      workersMs: 2_000,
    };
const chosen = (name: string, starts: readonly string[]) =>
  starts.length === 0 || starts.some((start) => name.startsWith(start));
const wanted = (name: string) => chosen(name, options.only);
/** A few requests tell nothing about speed. */
const report = (name: string, text: string) => console.log(smoke ? `${name}: answered` : `${name}: ${text}\n`);

const root = fileURLToPath(new URL("..", import.meta.url));
const began = new Date();
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, pinned: isPinned, node: process.version };
const loadBefore = loadavg()[0]!;
console.log(
  `${machine.cpu}, ${machine.cores} cores${isPinned ? ", pinned" : ", not pinned"}; Node ${machine.node}; load ${loadBefore.toFixed(2)} before the start\n`,
);

try {
  const results = await measure();
  const file = options.json ?? (smoke ? undefined : join(root, "node_modules/.cache/turnpike-bench.json"));
  if (file !== undefined) {
    const data = { began, machine, loadBefore, loadAfter: loadavg()[0], rounds: size.rounds, ...results };
    writeFileSync(file, JSON.stringify(data, null, 2));
    console.log(`written to ${file}\n`);
  }
  if (!smoke) console.log(`Against the goals\n\n${againstTheGoals(results)}`);
} finally {
  await stopAll();
}

async function measure(): Promise<Results> {
  const upstream = await startUpstream();
  const load = await startLoad();
  const upstreamURL = `http://127.0.0.1:${upstream.port}`;
  const dist = build(root);
  const own = [
    ...turnpike(dist, upstreamURL, "", options.profile),
    ...(options.against ? turnpike(build(options.against), upstreamURL, " (against)") : []),
  ].filter(({ name }) => chosen(name, options.variant) && !(smoke && name.includes("bare")));
  const base = floor(upstreamURL);
  const peers = [portkey(upstreamURL, resolve(options.peers))].filter(({ name }) => chosen(name, options.variant));

  const scenarios: Record<string, Measured[]> = {};
  const list = SCENARIOS.filter(({ name }) => wanted(name)).map((scenario) => (smoke ? small(scenario) : scenario));
  if (list.length > 0) {
    const running = await startAll([direct(upstream), base, ...own, ...peers]);
    for (const scenario of list) {
      const asked = running.filter(({ variant }) => scenario.direct || variant.name !== "no proxy");
      const measured = await rounds(scenario, asked, load, size.rounds);
      scenarios[scenario.name] = measured;
      report(scenario.name, scenarioTable(scenario, measured));
    }
    for (const { child } of running) if (child !== upstream) await child.stop();
  }

  const streams: StreamMemory[] = [];
  if (wanted("memory")) {
    for (const variant of smoke ? own.slice(0, 1) : [base, ...own.filter(({ name }) => !name.includes("bare"))]) {
      streams.push(await memory(variant, load, size.streams, size.settleMs));
    }
    report("memory", memoryTable(streams));
  }

  // The first is enough for what takes long.
  const [first] = own;
  let held: Held | undefined;
  if (wanted("hold") && first) {
    held = await hold(first, load, size.rate, size.holdMs);
    if (smoke && held.errors > 0) throw new Error(describeHeld(held));
    report("hold", describeHeld(held));
  }

  let scaled: Workers[] | undefined;
  if (wanted("workers") && first) {
    scaled = await workers({ dist, variant: first, rounds: size.rounds, ms: size.workersMs });
    if (scaled) report("workers", workersTable(scaled));
    else console.log("workers is left out: `turnpike --workers 2` does not start\n");
  }

  let micro: MicroResult[] = [];
  if (wanted("micro")) {
    const child = startMicro([dist, ...(smoke ? ["smoke"] : [])]);
    ({ results: micro } = await child.next<{ results: MicroResult[] }>("done"));
    await child.stop();
    report("micro", microTables(micro));
  }
  return { scenarios, memory: streams, hold: held, workers: scaled, micro };
}

async function startAll(variants: readonly Variant[]): Promise<Running[]> {
  const children = await Promise.all(variants.map((variant) => variant.start()));
  return variants.flatMap((variant, n) => {
    const child = children[n];
    if (!child) console.log(`${variant.name}: not installed in ${options.peers}, left out\n`);
    return child ? [{ variant, child }] : [];
  });
}
