/**
 * A world in which nothing happens by itself: time stands still until a step is taken, and the seed decides which. Code
 * that runs inside a simulated process sees timers of this world instead of Node's, so that the real sources
 * (`leased()`, the `Ledger`) run here unchanged.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Random } from "./random.ts";

/** Stands for one operating system process. What it waits for never comes once it is dead, and later while it is paused. */
export interface SimProcess {
  readonly name: string;
  isAlive: boolean;
  isPaused: boolean;
  /** What its clock is ahead of the world's, ms. */
  clockOffset: number;
}

interface Step {
  /** Undefined: the network, which outlives processes. */
  readonly process: SimProcess | undefined;
  run(): void;
}

class Timer {
  due: number;
  readonly every: number | undefined;
  readonly process: SimProcess;
  readonly callback: () => void;
  constructor(process: SimProcess, callback: () => void, due: number, every?: number) {
    this.process = process;
    this.callback = callback;
    this.due = due;
    this.every = every;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

const START = Date.UTC(2026, 0, 1);
const inside = new AsyncLocalStorage<{ world: World; process: SimProcess }>();

export class World {
  readonly random: Random;
  /** True time, epoch ms; never goes back. */
  now = START;
  #steps: Step[] = [];
  #timers = new Set<Timer>();

  constructor(random: Random) {
    this.random = random;
  }

  /** Runs code as a process. */
  spawn(process: SimProcess, action: () => void): void {
    inside.run({ world: this, process }, action);
  }

  /** Something that may happen from now on, in any order with all the rest. */
  later(process: SimProcess | undefined, run: () => void): void {
    this.#steps.push({ process, run });
  }

  timer(process: SimProcess, callback: () => void, ms: number, isRepeated: boolean): Timer {
    const every = Math.max(1, Number(ms) || 0);
    const timer = new Timer(process, callback, this.now + every, isRepeated ? every : undefined);
    this.#timers.add(timer);
    return timer;
  }

  clear(timer: Timer): void {
    this.#timers.delete(timer);
  }

  crash(process: SimProcess): void {
    process.isAlive = false;
    this.#steps = this.#steps.filter((step) => step.process !== process);
    for (const timer of this.#timers) if (timer.process === process) this.#timers.delete(timer);
  }

  /** Takes one step and lets everything run that follows from it at once. Returns false when nothing is left to do. */
  async step(): Promise<boolean> {
    if (this.#steps.length === 0) await settled();
    const ready = this.#steps.filter(({ process }) => !process?.isPaused);
    const timer = this.#nextTimer();
    if (ready.length === 0 && !timer) return false;
    if (ready.length > 0 && (!timer || this.random.chance(0.85))) {
      const step = this.random.pick(ready);
      this.#steps.splice(this.#steps.indexOf(step), 1);
      this.now += this.random.below(4);
      if (step.process) this.spawn(step.process, step.run);
      else step.run();
    } else {
      this.#fire(timer!);
    }
    await settled();
    return true;
  }

  #nextTimer(): Timer | undefined {
    let soonest: Timer | undefined;
    for (const timer of this.#timers) {
      if (!timer.process.isPaused && (!soonest || timer.due < soonest.due)) soonest = timer;
    }
    return soonest;
  }

  #fire(timer: Timer): void {
    this.now = Math.max(this.now, timer.due);
    if (timer.every === undefined) this.#timers.delete(timer);
    else timer.due = this.now + timer.every;
    this.spawn(timer.process, timer.callback);
  }
}

/** When this resolves, all promises that could go on have gone on. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Replaces Node's timers for code inside simulated processes, and only for it. Returns how to undo it. */
export function installTimers(): () => void {
  const { setTimeout, setInterval, clearTimeout, clearInterval } = globalThis;
  const start = (real: (callback: () => void, ms?: number) => unknown, isRepeated: boolean) =>
    ((callback: () => void, ms = 0, ...rest: unknown[]) => {
      const here = inside.getStore();
      if (here) return here.world.timer(here.process, callback, ms, isRepeated);
      return Reflect.apply(real, globalThis, [callback, ms, ...rest]);
    }) as unknown as typeof setTimeout;
  const stop = (real: typeof clearTimeout) => (timer: unknown) => {
    if (timer instanceof Timer) inside.getStore()?.world.clear(timer);
    else real(timer as NodeJS.Timeout);
  };
  Object.assign(globalThis, {
    setTimeout: start(setTimeout, false),
    setInterval: start(setInterval, true),
    clearTimeout: stop(clearTimeout),
    clearInterval: stop(clearInterval),
  });
  return () => void Object.assign(globalThis, { setTimeout, setInterval, clearTimeout, clearInterval });
}
