/**
 * Races of real processes for one cap of a shared store, with one of them killed if you like.
 *
 * @example
 * // my-store.mjs: export default ({ path }) => myStore(path)
 * await storeRace({ module: new URL("./my-store.mjs", import.meta.url), options: { path }, kill: true })
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { isAbsolute } from "node:path";
import type { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import type { BudgetStore } from "../core/budget-store.ts";
import type { MaybePromise } from "../core/util.ts";
import { openStore, ownHold, type RaceTask, sharedHold } from "./store-racer.ts";

export { runRacer, type StoreFactory } from "./store-racer.ts";

export interface StoreRaceOptions {
  /**
   * Address or absolute path of a module that Node.js can import as it is. It exports a {@link StoreFactory}; `close()`
   * of the store it makes must end all that the factory opened.
   */
  readonly module: string | URL;
  /** Name of the export that is the factory. @default "default" */
  readonly factory?: string | undefined;
  /** Handed to the factory in every process, so JSON: where the shared data are. They need not be empty. */
  readonly options?: unknown;
  /** @default 4 */
  readonly processes?: number | undefined;
  /** Requests at the same time in each process. @default 16 */
  readonly inFlight?: number | undefined;
  /** Units that all processes together may spend; so many that each of them gets some. @default 100_000 */
  readonly cap?: number | undefined;
  /** Most output units of a request: the larger, the fewer requests fit, and the sooner a slow store is through. @default 300 */
  readonly largest?: number | undefined;
  /** Ends one process with SIGKILL in the middle. Its holds are to be given back. @default false */
  readonly kill?: boolean | undefined;
  /** Something bad, called up to five times in the middle; answers how many connections it met. */
  accident?(): MaybePromise<number>;
  /**
   * The store keeps slices of the cap in each process, as `leased()` does: slices of a killed process count as spent, and
   * answers tell a counter of several moments. @default false
   */
  readonly leased?: boolean | undefined;
  /** How long after the end of its life a hold may still block others, ms. @default 0 */
  readonly sweepDelayMs?: number | undefined;
  /** Processes that are not through by then stop, and the race has failed, ms. @default 30_000 */
  readonly patienceMs?: number | undefined;
  /** Options of Node.js for the processes, such as `["--import", "tsx"]`. @default [] */
  readonly execArgv?: readonly string[] | undefined;
}

/** What came out of a race that kept all rules, in units. */
export interface RaceFigures {
  readonly cap: number;
  /** What the store counts as used in the end. */
  readonly used: number;
  /** What the processes know to have spent: `used`, unless one was killed. */
  readonly spent: number;
  /** Largest sum of used and held that was seen. */
  readonly most: number;
  /** Connections that accidents met. */
  readonly accidents: number;
  readonly seconds: number;
}

const LONG_MS = 10 * 60_000;
/** Life of the holds of a process that will be killed. */
const VICTIM_TTL_MS = 3_000;
/** A queue of waiting calls must be able to pass between two accidents. */
const ACCIDENT_EVERY_MS = 300;
const ACCIDENTS = 5;

/**
 * Lets processes race for a cap, and checks that it was never passed and nearly used up (98 %), that every unit which
 * was spent is counted once, and that nothing stays held.
 * @throws AssertionError when the store breaks a rule, with what the processes said.
 * @throws TypeError when the module exports no factory.
 */
export async function storeRace(options: StoreRaceOptions): Promise<RaceFigures> {
  const { kill = false, leased = false } = options;
  const task = taskOf(options);
  const store = await openStore({ ...task, racer: 0 });
  const racers: Racer[] = [];
  try {
    assert.ok(store.traits.shared, "a store that other processes do not see (traits.shared) cannot race");
    for (let racer = 1; racer <= (options.processes ?? 4); racer++) {
      const isVictim = kill && racer === 1;
      racers.push(start({ ...task, racer, isVictim, ...(isVictim && { ttlMs: VICTIM_TTL_MS }) }, options.execArgv));
    }
    const seen = await watch(store, task, racers, options);
    const held = await heldAtLast(store, task, kill ? VICTIM_TTL_MS + (options.sweepDelayMs ?? 0) : 0);
    assert.equal(held, 0, `${held} units stay held after everybody has left`);
    const figures = { cap: task.cap, ...seen, ...(await books(store, task, racers)) };
    check(figures, racers, kill && leased ? Number.POSITIVE_INFINITY : sum(racers, "intends"), kill);
    return figures;
  } finally {
    for (const { child } of racers) child.kill("SIGKILL");
    await store.close?.();
  }
}

function taskOf(options: StoreRaceOptions): RaceTask {
  const { module, factory = "default", cap = 100_000, inFlight = 16, largest = 300, patienceMs = 30_000 } = options;
  const size = { cap, inFlight, largest, patienceMs };
  for (const [name, value] of Object.entries({ ...size, processes: options.processes ?? 4 })) {
    if (!Number.isSafeInteger(value) || value < 1) throw new TypeError(`${name} must be a whole number from 1`);
  }
  const isPath = typeof module === "string" && isAbsolute(module);
  const address = isPath ? pathToFileURL(module).href : String(module);
  const race = `race ${randomUUID()}`;
  const isExact = !options.leased;
  const made = { module: address, factory, options: options.options ?? null, race, racer: 0 };
  return { ...made, ...size, ttlMs: LONG_MS, isVictim: false, isExact };
}

/** Starts all at once, and looks on until all have left. */
async function watch(
  store: BudgetStore,
  task: RaceTask,
  racers: readonly Racer[],
  { kill = false, leased = false, accident }: StoreRaceOptions,
): Promise<Pick<RaceFigures, "most" | "accidents" | "seconds">> {
  await Promise.all(racers.map((racer) => racer.ready));
  const started = performance.now();
  const victim = kill ? racers[0]! : undefined;
  victim?.go();
  // What it must not give back it takes before the others come.
  while (victim?.isRunning() && !victim.says("keeps")) await sleep(5);
  for (const racer of racers) if (racer !== victim) racer.go();
  let [most, accidents, accidentsLeft, nextAccident] = [0, 0, ACCIDENTS, 0];
  while (racers.some((racer) => racer.isRunning())) {
    const { used, held } = await read(store, task);
    most = Math.max(most, used + held);
    assert.ok(most <= task.cap, `used ${used} + held ${held} passes the cap of ${task.cap}`);
    for (const racer of racers) racer.assertWell();
    // Slices are posted late: there, what is held tells how far the race has come.
    const progress = leased ? used + held : used;
    if (progress > task.cap / 4) victim?.kill();
    if (accident && used > task.cap / 10 && accidentsLeft > 0 && performance.now() > nextAccident) {
      accidents += await accident();
      accidentsLeft--;
      nextAccident = performance.now() + ACCIDENT_EVERY_MS;
    }
    await sleep(20);
  }
  await Promise.all(racers.map((racer) => racer.ended));
  for (const racer of racers) racer.assertWell();
  return { most, accidents, seconds: (performance.now() - started) / 1000 };
}

/** What is held once it has had the time to end. */
async function heldAtLast(store: BudgetStore, task: RaceTask, ms: number): Promise<number> {
  const deadline = performance.now() + ms;
  for (;;) {
    const { held } = await read(store, task);
    if (held === 0 || performance.now() > deadline) return held;
    await sleep(50);
  }
}

/** Checks what each process spent against its own counter, and adds up. */
async function books(store: BudgetStore, task: RaceTask, racers: readonly Racer[]) {
  for (const [i, racer] of racers.entries()) {
    if (racer.isKilled()) continue;
    const [own] = await store.usage([ownHold(task, i + 1)]);
    const expected = { used: racer.sum("settled"), held: 0 };
    assert.deepEqual({ used: own!.used, held: own!.held }, expected, `the own counter of process ${i + 1}`);
  }
  const { used } = await read(store, task);
  return { used, spent: sum(racers, "settled") };
}

function check({ cap, used, spent, ...figures }: RaceFigures, racers: readonly Racer[], most: number, kill: boolean) {
  const said = `${used} of ${cap} units are counted as used, ${spent} are known to be spent`;
  assert.ok(used <= cap, `the cap is passed: ${said}`);
  assert.ok(used >= 0.98 * cap, `less than 98 % of the cap were used within ${figures.seconds.toFixed(1)} s: ${said}`);
  if (!kill) assert.equal(used, spent, said);
  assert.ok(used >= spent, `what was spent is missing: ${said}`);
  assert.ok(used <= most, `more is counted than anybody intended to spend, ${most}: ${said}`);
  const served = racers.filter((racer) => racer.sum("settled") > 0).length;
  assert.ok(served >= Math.min(2, racers.length), "only one process got anything: nobody raced");
  if (kill) assert.ok(racers[0]!.isKilled(), "the race was over before a process could be killed");
}

async function read(store: BudgetStore, task: RaceTask): Promise<{ used: number; held: number }> {
  const [state] = await store.usage([sharedHold(task)]);
  return state!;
}

function sum(racers: readonly Racer[], word: "intends" | "settled"): number {
  return racers.reduce((total, racer) => total + racer.sum(word), 0);
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- Processes ----

interface Racer {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  readonly ready: Promise<unknown>;
  go(): void;
  isRunning(): boolean;
  isKilled(): boolean;
  kill(): void;
  /** @throws AssertionError when it failed */
  assertWell(): void;
  says(word: "keeps"): boolean;
  /** Sum of the numbers after a word in its report. */
  sum(word: "intends" | "settled"): number;
}

function start(task: RaceTask, execArgv: readonly string[] = []): Racer {
  // This very file has the function, as a source and as whatever file of the package it was built into.
  const script = `const { runRacer } = await import(${JSON.stringify(import.meta.url)}); await runRacer();`;
  const flags = ["--no-warnings", ...execArgv, "--input-type=module", "--eval", script];
  const child = spawn(process.execPath, [...flags, JSON.stringify(task)], {
    stdio: ["pipe", "ignore", "pipe", "pipe"],
  });
  // A process that has failed reads no more.
  child.stdin!.on("error", () => {});
  const report = child.stdio[3] as Readable;
  let said = "";
  let errors = "";
  let isKilled = false;
  report.setEncoding("utf8").on("data", (text) => {
    said += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text) => {
    errors += text;
  });
  const ended = once(child, "close");
  return {
    child,
    ended,
    ready: Promise.race([once(report, "data"), ended]),
    go: () => child.stdin!.write("go\n"),
    isRunning: () => child.exitCode === null && child.signalCode === null,
    isKilled: () => isKilled,
    kill() {
      isKilled = child.kill("SIGKILL") || isKilled;
    },
    assertWell() {
      const hasFailed = !isKilled && (child.exitCode ?? 0) !== 0;
      assert.ok(!hasFailed, `process ${task.racer} ended with ${child.exitCode}: ${errors.trim()}`);
    },
    says: (word) => said.includes(`${word}\n`),
    sum: (word) =>
      [...said.matchAll(new RegExp(`^${word} (\\d+)$`, "gm"))].reduce((total, hit) => total + Number(hit[1]), 0),
  };
}
