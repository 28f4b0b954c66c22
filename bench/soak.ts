/**
 * `npm run soak`: a great many requests through the whole default stack, over sockets, then callers who leave their
 * streams. Resident memory is only told; what is left over at the end (requests in flight, reserved tokens, sockets)
 * makes it fail. See docs/performance.md.
 *
 *   --requests N   (default 200,000)
 *   --left N       streams whose caller leaves (default 10,000)
 *   --json FILE    everything, as data
 *   --smoke        a little of it
 */
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BYTES, type Size, type Way } from "./bodies.ts";
import { build } from "./build.ts";
import type { State } from "./gateway.ts";
import { type Child, runLoad, startLoad, startUpstream, stopAll } from "./processes.ts";
import { short, slope } from "./statistics.ts";
import { turnpike, type Variant } from "./variants.ts";

const { values: options } = parseArgs({
  options: {
    requests: { type: "string" },
    left: { type: "string" },
    json: { type: "string" },
    smoke: { type: "boolean", default: false },
  },
});
const REQUESTS = Number(options.requests ?? (options.smoke ? 2_000 : 200_000));
const LEFT = Number(options.left ?? (options.smoke ? 200 : 10_000));
const STEPS = options.smoke ? 4 : 20;
/** Idle sockets to the upstream are kept for 4 s. */
const PATIENCE_MS = 15_000;

/** What a step asks for, in parts of a hundred. */
const MIX: readonly { part: number; mode: "pass-chat" | "to-chat"; way: Way; size: Size }[] = [
  { part: 70, mode: "pass-chat", way: "json", size: "1k" },
  { part: 10, mode: "to-chat", way: "json", size: "30k" },
  { part: 10, mode: "pass-chat", way: "burst", size: "1k" },
  { part: 10, mode: "to-chat", way: "burst", size: "1k" },
];

interface Sample {
  /** Requests so far, and streams that were left. */
  requests: number;
  left: number;
  seconds: number;
  rssMB: number;
  /** After a collection: resident, and JavaScript heap and buffers. */
  collectedMB: number;
  heapMB: number;
}

const began = performance.now();
const samples: Sample[] = [];
/** A few requests tell nothing about memory. */
const say = (text: string) => options.smoke || console.log(text);
const row = (cells: readonly string[]) => cells.map((cell) => cell.padStart(20)).join("");

try {
  const upstream = await startUpstream();
  const load = await startLoad();
  const variants = turnpike(build(fileURLToPath(new URL("..", import.meta.url))), `http://127.0.0.1:${upstream.port}`);
  const ask = (mode: string): Variant => variants.find(({ name }) => name === mode)!;
  // One gateway for both: its provider speaks Chat, so what is asked in Chat is passed and the rest translated.
  const gateway = (await ask("to-chat").start())!;
  const { port } = gateway;

  say(row(["requests", "callers who left", "s", "resident MB", "after a collection", "heap and buffers"]));
  for (let step = 1; step <= STEPS; step++) {
    for (const { part, mode, way, size } of MIX) {
      const requests = Math.max(1, Math.round((REQUESTS * part) / 100 / STEPS));
      await runLoad(load, { type: "loop", port, connections: 64, requests, ...ask(mode).job(way, BYTES[size]) });
    }
    await take(gateway, Math.round((REQUESTS * step) / STEPS), 0);
  }
  for (let step = 1; step <= STEPS; step++) {
    const mode = step % 2 === 0 ? "pass-chat" : "to-chat";
    const requests = Math.round(LEFT / STEPS);
    await runLoad(load, { type: "leave", port, connections: 100, requests, ...ask(mode).job("paced", BYTES["1k"]) });
    await take(gateway, REQUESTS, requests * step);
  }

  const atOnce = await stateOf(gateway, upstream);
  const atEnd = await settled(gateway, upstream);
  console.log(
    `\nin flight ${atOnce.inFlight} → ${atEnd.inFlight}, reserved tokens ${atOnce.held} → ${atEnd.held}, sockets in use ${atOnce.sockets} → ${atEnd.sockets}, connections to the upstream ${atOnce.upstreamSockets} → ${atEnd.upstreamSockets} (right after the last request → in the end)`,
  );
  const memory = growth();
  say(
    `second half of the requests, MB per 10^6 of them: resident ${signed(memory.resident)}, after a collection ${signed(memory.collected)}, heap and buffers ${signed(memory.heap)}`,
  );
  say(`after ${LEFT} callers left: heap and buffers ${signed(memory.left)} MB`);
  if (options.json) writeFileSync(options.json, JSON.stringify({ samples, atOnce, atEnd, memory }, null, 2));
  for (const [what, left] of Object.entries(atEnd)) {
    if (left === 0) continue;
    console.error(`left over after ${PATIENCE_MS / 1_000} s: ${what} ${left}`);
    process.exitCode = 1;
  }
} finally {
  await stopAll();
}

async function take(gateway: Child, requests: number, left: number): Promise<void> {
  const { rss } = await gateway.probe();
  const collected = await gateway.probe(true);
  const sample = {
    requests,
    left,
    seconds: (performance.now() - began) / 1_000,
    rssMB: rss / 1e6,
    collectedMB: collected.rss / 1e6,
    heapMB: collected.heap / 1e6,
  };
  samples.push(sample);
  const { seconds, rssMB, collectedMB, heapMB } = sample;
  say(row([`${requests}`, `${left}`, ...[seconds, rssMB, collectedMB].map(short), heapMB.toFixed(2)]));
}

/** Slopes over the second half, when caches are full, and what the callers who left brought. */
function growth() {
  const asked = samples.filter(({ left }) => left === 0);
  const half = asked.slice(asked.length >> 1);
  const per = (pick: (sample: Sample) => number) => slope(half.map((one) => [one.requests / 1e6, pick(one)]));
  const [before, after] = [asked.at(-1)!, samples.at(-1)!];
  return {
    resident: per(({ rssMB }) => rssMB),
    collected: per(({ collectedMB }) => collectedMB),
    heap: per(({ heapMB }) => heapMB),
    left: after.heapMB - before.heapMB,
  };
}

function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${short(Math.abs(value))}`;
}

async function stateOf(gateway: Child, upstream: Child) {
  const { inFlight, held, sockets } = await gateway.ask<State>({ type: "state" }, "state");
  const { open } = await upstream.ask<{ open: number }>({ type: "sockets" }, "sockets");
  return { inFlight, held, sockets, upstreamSockets: open };
}

/** As soon as nothing is left, or when patience ends. */
async function settled(gateway: Child, upstream: Child) {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const state = await stateOf(gateway, upstream);
    if (performance.now() > until || Object.values(state).every((left) => left === 0)) return state;
    await sleep(250);
  }
}
