/** Starts several racers on one shared counter, lets an accident happen, and adds up. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { BudgetStore } from "../../../src/core/budget-store.ts";

export interface RaceOptions {
  readonly kind: "redis" | "postgres" | "leased redis" | "leased postgres";
  /** Prefix or schema. */
  readonly name: string;
  /** A plain store on the same data. */
  readonly store: BudgetStore;
  readonly processes?: number;
  readonly inFlight?: number;
  /** Most output of a request: the larger, the fewer requests fit. @default 300 */
  readonly largest?: number;
  /** Kills one racer with SIGKILL in the middle. */
  readonly kill?: boolean;
  /** Something bad, called up to five times from a tenth of the cap on. Returns how many connections it met. */
  accident?(): Promise<number>;
}

const CAP = 100_000;
/** A queue of waiting calls must be able to pass between two accidents. */
const ACCIDENT_EVERY_MS = 300;
const cap = { counter: "cap", bucket: 0, from: 0, step: 0 };

/** Runs the race and checks what must hold in each: never over the cap, nearly all used, nothing held, truth charged. */
export async function race({ kind, name, store, kill = false, accident, ...size }: RaceOptions): Promise<void> {
  const processes = Number(process.env.TURNPIKE_RACE_PROCESSES ?? size.processes ?? 4);
  const inFlight = Number(process.env.TURNPIKE_RACE_IN_FLIGHT ?? size.inFlight ?? 16);
  // A killed racer's holds must end during the race; those of a slow one must not.
  const numbers = [inFlight, size.largest ?? 300, kill ? 3000 : 60_000].map(String);
  const racers = Array.from({ length: processes }, (_, i) => start(kind, name, `${CAP}`, `${i + 1}`, ...numbers));
  const [victim, ...others] = racers as [Racer, ...Racer[]];
  await Promise.all(racers.map((racer) => racer.ready));
  const started = performance.now();
  for (const racer of racers) racer.child.stdin!.write("go\n");

  const read = async () => (await store.usage([cap]))[0]!;
  let most = 0;
  let accidents = 0;
  let accidentsLeft = 5;
  let nextAccident = 0;
  while ((kill ? others : racers).some((racer) => racer.child.exitCode === null)) {
    const { used, held } = await read();
    most = Math.max(most, used + held);
    // Leases post late: there, what is held tells how far the race has come.
    const progress = kind.startsWith("leased") ? used + held : used;
    if (kill && progress > CAP / 4 && victim.sum("done") > 0) victim.child.kill("SIGKILL");
    if (accident && used > CAP / 10 && accidentsLeft > 0 && performance.now() > nextAccident) {
      accidents += await accident();
      accidentsLeft--;
      nextAccident = performance.now() + ACCIDENT_EVERY_MS;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await Promise.all(racers.map((racer) => racer.ended));
  for (const racer of racers) expect(racer.errors(), racer.errors()).toBe("");
  expect(racers.map((racer) => racer.child.exitCode)).toEqual([kill ? null : 0, ...others.map(() => 0)]);

  const { used, held } = await read();
  const sum = (word: string, of = racers) => of.reduce((total, racer) => total + racer.sum(word), 0);
  const seconds = (performance.now() - started) / 1000;
  if (process.env.TURNPIKE_RACE_FIGURES) {
    const share = `ledger ${(100 * used) / CAP} %, truly spent ${(100 * sum("done")) / CAP} %`;
    console.log(
      `${kind}, ${processes} x ${inFlight}${kill ? ", one killed" : ""}${accident ? `, ${accidents} accidents` : ""}: ${share}, most ${most}, ${seconds.toFixed(1)} s`,
    );
  }
  expect(held).toBe(0);
  expect(most).toBeLessThanOrEqual(CAP);
  expect(used).toBeLessThanOrEqual(CAP);
  expect(used).toBeGreaterThanOrEqual(0.98 * CAP);
  expect(sum("done")).toBeLessThanOrEqual(used);
  // The slices of a killed racer count as spent; elsewhere only what it was about to settle is unknown.
  if (!(kill && kind.startsWith("leased"))) expect(used).toBeLessThanOrEqual(sum("intend"));
  if (!kill) expect(used).toBe(sum("done"));
  for (const [i, racer] of racers.entries()) {
    if (kill && i === 0) continue;
    const [own] = await store.usage([{ ...cap, counter: `own ${i + 1}` }]);
    expect(own).toMatchObject({ used: racer.sum("done"), held: 0 });
  }
  // A slice goes to who comes first: with many processes on a small cap, leases may leave none for the last.
  const served = racers.filter((racer) => racer.sum("done") > 0).length;
  expect(served).toBeGreaterThanOrEqual(kind.startsWith("leased") ? 2 : processes);
  if (accident) expect(accidents).toBeGreaterThan(0);
}

interface Racer {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  /** Resolves at the first output. */
  readonly ready: Promise<unknown>;
  /** What it wrote to stderr, without Node's warnings. */
  errors(): string;
  /** Sum of the numbers after a word in its output. */
  sum(word: string): number;
}

function start(...args: string[]): Racer {
  const file = fileURLToPath(new URL("./shared-racer.ts", import.meta.url));
  const child = spawn(process.execPath, ["--no-warnings", file, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.on("data", (data) => {
    output += data;
  });
  child.stderr.on("data", (data) => {
    errors += data;
  });
  return {
    child,
    ended: once(child, "close"),
    ready: Promise.race([once(child.stdout, "data"), once(child, "close")]),
    errors: () => errors,
    sum: (word) =>
      [...output.matchAll(new RegExp(`^${word} (\\d+)$`, "gm"))].reduce((sum, hit) => sum + Number(hit[1]), 0),
  };
}
