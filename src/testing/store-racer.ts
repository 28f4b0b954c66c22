/** One process of a race: many requests in flight on one shared counter, until nothing is left and nobody holds any. */
import { once } from "node:events";
import { writeSync } from "node:fs";
import type { BudgetStore, CounterState, Hold, ReserveRequest } from "../core/budget-store.ts";
import type { MaybePromise } from "../core/util.ts";

/**
 * Makes a store on data that all processes share.
 * @param options as given to the race, after a way through JSON
 * @param racer 1 for the first process, 2 for the second …; 0 for the one that watches
 */
export type StoreFactory = (options: never, racer: number) => MaybePromise<BudgetStore>;

/** What a process is told, as JSON. */
export interface RaceTask {
  /** Address of the factory's module. */
  readonly module: string;
  /** Name of the export that is the factory. */
  readonly factory: string;
  readonly options: unknown;
  /** Heads the names of counters and ids: no other race on the same data has it. */
  readonly race: string;
  readonly racer: number;
  readonly cap: number;
  readonly inFlight: number;
  /** Most output units of a request. */
  readonly largest: number;
  readonly ttlMs: number;
  /** It will be killed: it keeps a hold, and does not end by itself. */
  readonly isVictim: boolean;
  /** Answers tell the counter as it was at one moment. */
  readonly isExact: boolean;
  /** Gives up after so long, ms. */
  readonly patienceMs: number;
}

const FIXED = 3;
/** Where a process tells what it does: its stdout belongs to the store. */
const REPORT = 3;

/** @throws TypeError when the module exports no such function */
export async function openStore({ module, factory, options, racer }: RaceTask): Promise<BudgetStore> {
  const exported = (await import(/* @vite-ignore */ module)) as Record<string, StoreFactory | undefined>;
  const open = exported[factory];
  if (typeof open !== "function")
    throw new TypeError(`${module} must export a function "${factory}" that makes a store`);
  return open(options as never, racer);
}

/** The counter that all race for. */
export function sharedHold({ race, cap }: Pick<RaceTask, "race" | "cap">): Hold {
  const span = { bucket: 0, from: 0, step: 0, until: 4e12 };
  return { counter: `${race} cap`, ...span, fixed: FIXED, perUnit: 1, limit: cap };
}

/** A counter without a limit that only one process charges. */
export function ownHold(task: Pick<RaceTask, "race" | "cap">, racer: number): Hold {
  return { ...sharedHold(task), counter: `${task.race} own ${racer}`, limit: null };
}

/**
 * What `storeRace()` starts in each process; nothing to call yourself. Its only argument is a {@link RaceTask} as JSON.
 * Says `ready`, begins at the first input, and ends when its parent does. Says what it intends to settle before it does,
 * and that it did, so that a process that was killed can be judged.
 */
export async function runRacer(): Promise<void> {
  const task = JSON.parse(process.argv[1]!) as RaceTask;
  const store = await openStore(task);
  process.stdin.on("end", () => process.exit(1));
  tell("ready");
  await once(process.stdin, "data");
  await new Racer(store, task).run();
  await store.close?.();
  process.exit();
}

function tell(what: string): void {
  writeSync(REPORT, `${what}\n`);
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

class Racer {
  readonly #store: BudgetStore;
  readonly #task: RaceTask;
  readonly #holds: readonly [Hold, Hold];
  readonly #deadline: number;
  #requests = 0;
  #random: number;

  constructor(store: BudgetStore, task: RaceTask) {
    this.#store = store;
    this.#task = task;
    this.#holds = [sharedHold(task), ownHold(task, task.racer)];
    this.#deadline = performance.now() + task.patienceMs;
    this.#random = task.racer * 7919 + 1;
  }

  async run(): Promise<void> {
    if (this.#task.isVictim) await this.#keepOne();
    await Promise.all(Array.from({ length: this.#task.inFlight }, () => this.#work()));
    // A victim has nothing more to do, but it does not leave.
    while (this.#task.isVictim && performance.now() < this.#deadline) await sleep(100);
  }

  /** A hold that nobody will settle. */
  async #keepOne(): Promise<void> {
    const result = await this.#store.reserve(this.#request(10));
    if (!result.ok) throw new Error("the first reservation of a process was denied");
    tell("keeps");
  }

  async #work(): Promise<void> {
    for (let denials = 0; performance.now() < this.#deadline; ) {
      const request = this.#request(1 + this.#pick(this.#task.largest));
      const sentAt = performance.now();
      const result = await this.#store.reserve(request);
      const shared = this.#sharedState(result.ok ? result.after : result.denied);
      if (!result.ok) {
        if (shared.held === 0) return;
        // Those who wait for the last holds must not keep the store from ending them.
        await sleep(5 + this.#pick(20 * Math.min(++denials, 10)));
        continue;
      }
      denials = 0;
      if (this.#pick(8) === 0) await this.#reserveAgain(request, result.granted);
      await sleep(this.#pick(6));
      // The hold of a victim is short: it may have ended, and what is settled late comes on top.
      if (this.#task.isVictim && performance.now() - sentAt > this.#task.ttlMs / 2) continue;
      if (this.#pick(8) === 0) await this.#store.release(request.id);
      else await this.#settle(request, 1 + this.#pick(FIXED + result.granted));
    }
  }

  #request(want: number): ReserveRequest {
    const { race, racer, ttlMs } = this.#task;
    const id = `${race} ${racer}:${++this.#requests}`;
    const holds = this.#requests % 2 ? this.#holds : this.#holds.toReversed();
    return { id, fingerprint: "race", holds, want, min: 1, ttlMs, onExpire: "release" };
  }

  #sharedState(states: readonly CounterState[]): CounterState {
    const { cap, isExact } = this.#task;
    const [{ counter }] = this.#holds;
    const state = states.find((one) => one.counter === counter);
    if (!state) throw new Error(`reserve answered no state of counter "${counter}"`);
    if (isExact && state.used + state.held > cap)
      throw new Error(`used + held passes the cap: ${JSON.stringify(state)}`);
    return state;
  }

  async #reserveAgain(request: ReserveRequest, granted: number): Promise<void> {
    const again = await this.#store.reserve(request);
    if (!again.ok || !again.replayed || again.granted !== granted) {
      throw new Error(`the same reservation once more, with ${granted} granted, answered ${JSON.stringify(again)}`);
    }
  }

  async #settle({ id, holds }: ReserveRequest, amount: number): Promise<void> {
    const actual = new Map(holds.map(({ counter }) => [counter, amount]));
    tell(`intends ${amount}`);
    const { outcome } = await this.#store.settle({ id, actual, holds });
    if (outcome !== "settled") throw new Error(`settle of a live hold answered "${outcome}"`);
    tell(`settled ${amount}`);
    if (this.#pick(8) > 0) return;
    const again = await this.#store.settle({ id, actual, holds });
    if (again.outcome !== "duplicate") throw new Error(`the same settle once more answered "${again.outcome}"`);
  }

  #pick(below: number): number {
    this.#random = (this.#random * 48271) % 2147483647;
    return this.#random % below;
  }
}
