/**
 * What every budget store must keep, as checks that run on any store with any test runner.
 *
 * @example
 * import { describe, test } from "vitest"
 * storeSuite({ name: "my store", create: () => myStore() }, { describe, test })
 */
import assert from "node:assert/strict";
import type {
  BudgetStore,
  CounterState,
  Hold,
  ReserveRequest,
  ReserveResult,
  SettleOutcome,
} from "../core/budget-store.ts";
import type { MaybePromise } from "../core/util.ts";
import { type StoreRaceOptions, storeRace } from "./store-race.ts";

/** Time as the checks see it. */
export interface SuiteClock {
  /** Epoch ms. A store with `virtualClock` must use it as its only clock. */
  readonly now: () => number;
}

export interface StoreSuiteOptions {
  /** Heads the names of the checks. */
  readonly name: string;
  /** Makes a store with nothing in it; called once per check. */
  create(clock: SuiteClock): MaybePromise<BudgetStore>;
  /** The store reads the given clock: waiting costs no time, and clock steps can be checked. @default false */
  readonly virtualClock?: boolean | undefined;
  /** Opens the data of the store that `create` made last once more, as after a restart. Leave out when data is lost. */
  reopen?(clock: SuiteClock): MaybePromise<BudgetStore>;
  /** How many rows, keys or entries the store has now; with it and `virtualClock`, garbage collection is checked. */
  size?(store: BudgetStore): MaybePromise<number>;
  /** How long after the end of its life a hold may still block others, ms. @default 0 */
  readonly sweepDelayMs?: number | undefined;
  /** How other processes open the store: with it they race for a cap, and once more with one of them killed. */
  readonly processes?: Omit<StoreRaceOptions, "kill" | "accident" | "sweepDelayMs"> | undefined;
}

export interface StoreCheck {
  /** A sentence about the behaviour. */
  readonly name: string;
  /** What a test runner should allow it, where that is more than usual, ms. */
  readonly timeoutMs?: number | undefined;
  /** @throws AssertionError when the store breaks the rule. */
  run(): Promise<void>;
}

/** What a test runner must offer: vitest, node:test, jest, mocha and bun do. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  /** Races of processes take seconds and say so as `timeoutMs`; mocha does not read it. */
  test(name: string, body: () => Promise<void>, timeoutMs?: number): unknown;
}

/** Registers all checks of {@link storeChecks} with a test runner. */
export function storeSuite(options: StoreSuiteOptions, { describe, test }: TestRunner): void {
  describe(options.name, () => {
    for (const { name, run, timeoutMs } of storeChecks(options)) {
      if (timeoutMs === undefined) test(name, run);
      else test(name, run, timeoutMs);
    }
  });
}

/** The checks that apply to a store, each with a store of its own. They can run in any order, one at a time. */
export function storeChecks(options: StoreSuiteOptions): StoreCheck[] {
  const checks = Object.entries(CHECKS)
    .filter(([, check]) => (check.needs ?? []).every((need) => Boolean(options[need])))
    .map(([name, check]) => ({
      name,
      async run() {
        const bench = await createBench(options);
        try {
          await check.run(bench);
        } finally {
          await bench.store.close?.();
        }
      },
    }));
  return [...checks, ...raceChecks(options)];
}

function raceChecks({ processes, sweepDelayMs }: StoreSuiteOptions): StoreCheck[] {
  if (!processes) return [];
  const timeoutMs = 2 * (processes.patienceMs ?? 30_000);
  const race = async (kill: boolean) => {
    await storeRace({ ...processes, kill, sweepDelayMs });
  };
  return [
    { name: "processes race for a cap: it is used up and never passed", timeoutMs, run: () => race(false) },
    {
      name: "processes race for a cap, and one is killed: its holds end, and the cap is kept",
      timeoutMs,
      run: () => race(true),
    },
  ];
}

// ---- The bench: a store, its clock, and short forms ----

const DAY = 24 * 3_600_000;
const MAX = Number.MAX_SAFE_INTEGER;
/** A life that ends within a check. Long enough for slow machines where the clock is real. */
const SHORT_MS = 80;
const LONG_MS = 10 * 60_000;

interface Bench {
  /** Replaced by `reopen`. */
  store: BudgetStore;
  readonly options: StoreSuiteOptions;
  /** Start of the calendar window that all checks use. */
  readonly today: number;
  now(): number;
  wait(ms: number): Promise<void>;
  /** Moves a virtual clock, also backwards. */
  step(ms: number): void;
  hold(counter: string, more?: Partial<Hold>): Hold;
  reserve(id: string, holds: readonly Hold[], more?: Partial<ReserveRequest>): Promise<ReserveResult>;
  /** Reserves, and fails the check when denied. */
  take(id: string, holds: readonly Hold[], more?: Partial<ReserveRequest>): Promise<Granted>;
  settle(id: string, actual: Record<string, number>, holds?: readonly Hold[]): Promise<SettleAnswer>;
  usage(hold: Hold): Promise<CounterState>;
  /** Asserts what is settled and held on the counter of a hold. */
  expectUsage(hold: Hold, used: number, held: number): Promise<void>;
  /** Waits until a hold of `SHORT_MS` is over, and makes the store notice. */
  outlive(): Promise<void>;
}

type Granted = Extract<ReserveResult, { ok: true }>;
type SettleAnswer = { outcome: SettleOutcome; overrun: number };

async function createBench(options: StoreSuiteOptions): Promise<Bench> {
  let offset = 0;
  const started = Date.now();
  const now = options.virtualClock ? () => started + offset : () => Date.now();
  const clock: SuiteClock = { now };
  const today = Math.floor(started / DAY) * DAY;

  const bench: Bench = {
    store: await options.create(clock),
    options,
    today,
    now,
    async wait(ms) {
      if (options.virtualClock) offset += ms;
      else await new Promise((resolve) => setTimeout(resolve, ms));
    },
    step(ms) {
      offset += ms;
    },
    hold(counter, more = {}) {
      const start = { bucket: today, from: today, step: 0, until: today + DAY };
      return { counter, ...start, fixed: 0, perUnit: 1, limit: 1000, ...more };
    },
    async reserve(id, holds, more = {}) {
      const base = { id, fingerprint: "f", holds, want: 100, min: 100, ttlMs: LONG_MS, onExpire: "release" } as const;
      return bench.store.reserve({ ...base, ...more });
    },
    async take(id, holds, more) {
      const result = await bench.reserve(id, holds, more);
      assert.ok(result.ok, `reservation ${id} should have been granted: ${JSON.stringify(result)}`);
      return result;
    },
    async settle(id, actual, holds = []) {
      return bench.store.settle({ id, actual: new Map(Object.entries(actual)), holds });
    },
    async usage({ counter, bucket, from, step }) {
      const [state] = await bench.store.usage([{ counter, bucket, from, step }]);
      assert.ok(state, "usage answers one state per reference");
      return state;
    },
    async expectUsage(hold, used, held) {
      const state = await bench.usage(hold);
      assert.deepEqual({ used: state.used, held: state.held }, { used, held }, `counter ${hold.counter}`);
    },
    async outlive() {
      await bench.wait(SHORT_MS + (options.virtualClock ? 0 : 40) + (options.sweepDelayMs ?? 0));
      // A denied reserve must look for expired holds: no limit has room for it.
      const probe = bench.hold("probe", { limit: 0, fixed: 1 });
      assert.equal((await bench.reserve(`probe ${Math.random()}`, [probe])).ok, false);
    },
  };
  return bench;
}

/** A repeatable random number in 0 … below − 1. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

async function rejects(action: () => MaybePromise<unknown>, name: string, message: string): Promise<void> {
  await assert.rejects(
    async () => action(),
    (error: Error) => error.name === name,
    message,
  );
}

// ---- The checks ----

interface Check {
  readonly needs?: readonly ("virtualClock" | "reopen" | "size")[];
  run(bench: Bench): Promise<void>;
}

const CHECKS: Record<string, Check> = {
  "fifty parallel reservations with room for ten: exactly ten are granted": {
    async run(b) {
      const hold = b.hold("cap");
      const results = await Promise.all(range(50).map((i) => b.reserve(`r${i}`, [hold])));
      assert.equal(results.filter((result) => result.ok).length, 10);
      await b.expectUsage(hold, 0, 1000);
    },
  },

  "used + held never passes the cap while no call uses more than it held": {
    async run(b) {
      const hold = b.hold("cap", { limit: 5000, fixed: 7 });
      let isRunning = true;
      const watch = async () => {
        while (isRunning) {
          const { used, held } = await b.usage(hold);
          assert.ok(used + held <= 5000, `used ${used} + held ${held} passes 5000`);
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      const work = async (worker: number) => {
        const pick = random(worker);
        for (let i = 0; i < 25; i++) {
          const id = `${worker}:${i}`;
          const result = await b.reserve(id, [hold], { want: 1 + pick(200), min: 1 });
          if (!result.ok) continue;
          assert.ok(result.after[0]!.used + result.after[0]!.held <= 5000);
          await b.settle(id, { cap: pick(7 + result.granted + 1) }, [hold]);
        }
      };
      const watching = watch();
      try {
        await Promise.all(range(8).map(work));
      } finally {
        isRunning = false;
        await watching;
      }
      const { used, held } = await b.usage(hold);
      assert.equal(held, 0);
      assert.ok(used <= 5000);
    },
  },

  "calls that use more than they held pass the cap by no more than the overrun that is reported": {
    async run(b) {
      const hold = b.hold("cap", { limit: 3000 });
      const pick = random(2);
      let overrun = 0;
      for (let i = 0; i < 60; i++) {
        const result = await b.reserve(`r${i}`, [hold], { want: 1 + pick(300), min: 1 });
        if (result.ok) {
          const actual = pick(2 * result.granted);
          const answer = await b.settle(`r${i}`, { cap: actual }, [hold]);
          assert.equal(answer.overrun, Math.max(0, actual - result.granted));
          overrun += answer.overrun;
        }
        const { used, held } = await b.usage(hold);
        assert.ok(used + held <= 3000 + overrun, `${used} + ${held} > 3000 + ${overrun}`);
      }
      assert.ok(overrun > 0);
    },
  },

  "in the end used is the sum of what was settled, to the unit, and nothing is held": {
    async run(b) {
      const holds = ["a", "b", "c"].map((name) => b.hold(name, { limit: null }));
      const truth = { a: 0, b: 0, c: 0 };
      await Promise.all(
        range(6).map(async (worker) => {
          const pick = random(100 + worker);
          for (let i = 0; i < 15; i++) {
            const id = `${worker}:${i}`;
            await b.take(id, holds, { want: pick(50), min: 0 });
            if (pick(4) === 0) {
              assert.deepEqual(await b.store.release(id), { released: true });
              continue;
            }
            const actual = { a: pick(100), b: pick(100), c: pick(100) };
            truth.a += actual.a;
            truth.b += actual.b;
            truth.c += actual.c;
            assert.equal((await b.settle(id, actual, holds)).outcome, "settled");
          }
        }),
      );
      for (const hold of holds) await b.expectUsage(hold, truth[hold.counter as "a"], 0);
    },
  },

  "a denied reservation changes no counter and names every counter without room": {
    async run(b) {
      const [roomy, full, small] = [b.hold("roomy"), b.hold("full", { limit: 99 }), b.hold("small", { limit: 5 })];
      const result = await b.reserve("r", [roomy, full, small]);
      assert.ok(!result.ok);
      assert.deepEqual(
        result.denied.map((state) => [state.counter, state.used, state.held, state.limit, state.needed, state.until]),
        [
          ["full", 0, 0, 99, 100, full.until],
          ["small", 0, 0, 5, 100, small.until],
        ],
      );
      for (const hold of [roomy, full, small]) await b.expectUsage(hold, 0, 0);
    },
  },

  "a granted reservation changes all its counters and tells their state": {
    async run(b) {
      const holds = [b.hold("a"), b.hold("b", { fixed: 5, perUnit: 3 }), b.hold("c", { fixed: 1, perUnit: 0 })];
      const result = await b.take("r", holds);
      assert.equal(result.granted, 100);
      assert.equal(result.replayed, false);
      assert.ok(Number.isSafeInteger(result.now));
      assert.deepEqual(
        result.after.map(({ counter, bucket, used, held, limit, until }) => [
          counter,
          bucket,
          used,
          held,
          limit,
          until,
        ]),
        [
          ["a", b.today, 0, 100, 1000, b.today + DAY],
          ["b", b.today, 0, 305, 1000, b.today + DAY],
          ["c", b.today, 0, 1, 1000, b.today + DAY],
        ],
      );
      await b.expectUsage(holds[0]!, 0, 100);
      await b.expectUsage(holds[1]!, 0, 305);
      await b.expectUsage(holds[2]!, 0, 1);
    },
  },

  "held is the sum of the live reservations, whatever happened to the others": {
    async run(b) {
      const hold = b.hold("cap", { limit: null });
      const live = new Map<string, number>();
      const pick = random(5);
      for (let i = 0; i < 80; i++) {
        const ids = [...live.keys()];
        const id = ids[pick(ids.length || 1)];
        const action = pick(4);
        if (action < 2 || id === undefined) {
          live.set(`r${i}`, (await b.take(`r${i}`, [hold], { want: pick(100), min: 0 })).granted);
        } else {
          if (action === 2) await b.settle(id, { cap: pick(150) }, [hold]);
          else await b.store.release(id);
          live.delete(id);
        }
        const held = [...live.values()].reduce((sum, amount) => sum + amount, 0);
        assert.equal((await b.usage(hold)).held, held);
      }
    },
  },

  "the same id and fingerprint get the same grant and hold once, also in parallel": {
    async run(b) {
      const hold = b.hold("cap", { limit: 150 });
      const results = await Promise.all(range(10).map(() => b.take("r", [hold], { want: 100, min: 1 })));
      assert.deepEqual(new Set(results.map((result) => result.granted)), new Set([100]));
      assert.equal(results.filter((result) => !result.replayed).length, 1);
      await b.expectUsage(hold, 0, 100);
      await b.settle("r", { cap: 10 }, [hold]);
      const again = await b.take("r", [hold], { want: 100, min: 1 });
      assert.deepEqual([again.granted, again.replayed], [100, true]);
      await b.expectUsage(hold, 10, 0);
    },
  },

  "the same id with another fingerprint is a conflict and changes nothing": {
    async run(b) {
      const hold = b.hold("cap");
      await b.take("r", [hold]);
      await rejects(() => b.reserve("r", [hold], { fingerprint: "g" }), "ReservationConflict", "must conflict");
      await b.expectUsage(hold, 0, 100);
    },
  },

  "a denied id can be tried again": {
    async run(b) {
      const hold = b.hold("cap", { limit: 150 });
      await b.take("first", [hold]);
      assert.equal((await b.reserve("second", [hold])).ok, false);
      await b.store.release("first");
      assert.equal((await b.take("second", [hold])).replayed, false);
    },
  },

  "of many parallel settles of one id exactly one counts": {
    async run(b) {
      const hold = b.hold("cap");
      await b.take("r", [hold]);
      const answers = await Promise.all(range(12).map(() => b.settle("r", { cap: 40 }, [hold])));
      const outcomes = answers.map((answer) => answer.outcome).sort();
      assert.deepEqual(outcomes, [...Array(11).fill("duplicate"), "settled"]);
      await b.expectUsage(hold, 40, 0);
    },
  },

  "settle, release and expiry in any order: one wins, and the truth is charged once": {
    async run(b) {
      const orders = ["sre", "ser", "rse", "res", "esr", "ers"];
      for (const onExpire of ["release", "charge"] as const) {
        for (const order of orders) {
          const hold = b.hold(`${onExpire} ${order}`);
          const seen: unknown[] = [];
          await b.take(hold.counter, [hold], { ttlMs: SHORT_MS, onExpire });
          for (const step of order) {
            if (step === "e") await b.outlive();
            if (step === "r") seen.push((await b.store.release(hold.counter)).released);
            if (step === "s") seen.push((await b.settle(hold.counter, { [hold.counter]: 30 }, [hold])).outcome);
          }
          const expected = {
            sre: ["settled", false],
            ser: ["settled", false],
            rse: [true, "late-released"],
            res: [true, "late-released"],
            esr: ["late-expired", false],
            ers: [false, "late-expired"],
          }[order];
          assert.deepEqual(seen, expected, `${onExpire}, order ${order}`);
          await b.expectUsage(hold, 30, 0);
        }
      }
    },
  },

  "settle and release in parallel: one of them wins": {
    async run(b) {
      for (let i = 0; i < 20; i++) {
        const hold = b.hold(`cap ${i}`);
        await b.take(`r${i}`, [hold]);
        const [settled, released] = await Promise.all([
          b.settle(`r${i}`, { [hold.counter]: 30 }, [hold]),
          b.store.release(`r${i}`),
        ]);
        assert.equal(settled.outcome, released.released ? "late-released" : "settled");
        await b.expectUsage(hold, 30, 0);
      }
    },
  },

  "a late settle charges exactly once: after expiry, after release, and of an unknown id": {
    async run(b) {
      const hold = b.hold("cap");
      await b.take("expired", [hold], { ttlMs: SHORT_MS });
      await b.take("released", [hold]);
      await b.store.release("released");
      await b.outlive();
      for (const id of ["expired", "released", "unknown"]) {
        assert.equal((await b.settle(id, { cap: 7 }, [hold])).outcome, `late-${id}`);
        assert.equal((await b.settle(id, { cap: 7 }, [hold])).outcome, "duplicate");
      }
      await b.expectUsage(hold, 21, 0);
    },
  },

  "a late settle after a charged expiry replaces the charge by the truth": {
    async run(b) {
      const hold = b.hold("cap");
      await b.take("less", [hold], { ttlMs: SHORT_MS, onExpire: "charge" });
      await b.take("more", [hold], { ttlMs: SHORT_MS, onExpire: "charge" });
      await b.outlive();
      await b.expectUsage(hold, 200, 0);
      await b.settle("less", { cap: 30 }, [hold]);
      await b.expectUsage(hold, 130, 0);
      await b.settle("more", { cap: 170 }, [hold]);
      await b.expectUsage(hold, 200, 0);
    },
  },

  "release of an unknown or ended id gives nothing back": {
    async run(b) {
      const hold = b.hold("cap");
      assert.deepEqual(await b.store.release("nobody"), { released: false });
      await b.take("r", [hold]);
      assert.deepEqual(await b.store.release("r"), { released: true });
      assert.deepEqual(await b.store.release("r"), { released: false });
      await b.take("s", [hold]);
      await b.settle("s", { cap: 5 }, [hold]);
      assert.deepEqual(await b.store.release("s"), { released: false });
      await b.expectUsage(hold, 5, 0);
    },
  },

  "a counter that settle does not name is charged 0, one that no hold names is refused": {
    async run(b) {
      const holds = [b.hold("a"), b.hold("b")];
      await b.take("r", holds);
      await rejects(() => b.settle("r", { a: 1, z: 1 }, holds), "InvalidUnits", "z has no bucket to charge");
      await b.expectUsage(holds[0]!, 0, 100);
      assert.equal((await b.settle("r", { a: 40 }, holds)).outcome, "settled");
      await b.expectUsage(holds[0]!, 40, 0);
      await b.expectUsage(holds[1]!, 0, 0);
    },
  },

  "the grant lies between min and want and is the largest that fits all counters": {
    async run(b) {
      const pick = random(10);
      for (let i = 0; i < 60; i++) {
        const min = pick(20);
        const want = min + pick(200);
        const holds = range(1 + pick(3)).map((n) =>
          b.hold(`${i}/${n}`, { fixed: pick(50), perUnit: pick(4), limit: pick(5) === 0 ? null : pick(400) }),
        );
        const fits = (units: number) =>
          holds.every((hold) => hold.limit === null || hold.fixed + units * hold.perUnit <= hold.limit);
        let best = want;
        while (best >= min && !fits(best)) best--;
        const result = await b.reserve(`r${i}`, holds, { want, min });
        assert.equal(result.ok, best >= min);
        if (result.ok) assert.equal(result.granted, best);
        else assert.deepEqual(new Set(result.denied.map((state) => state.counter)), without(holds, min));
      }
    },
  },

  "an abandoned hold blocks until its time is over, then is given back": {
    async run(b) {
      const hold = b.hold("cap", { limit: 100 });
      await b.take("lost", [hold], { ttlMs: SHORT_MS });
      assert.equal((await b.reserve("early", [hold])).ok, false);
      await b.outlive();
      assert.equal((await b.take("later", [hold], { want: 100, min: 1 })).granted, 100);
      await b.expectUsage(hold, 0, 100);
    },
  },

  "an abandoned hold with onExpire charge becomes used": {
    async run(b) {
      const hold = b.hold("cap", { limit: 100 });
      await b.take("lost", [hold], { ttlMs: SHORT_MS, onExpire: "charge" });
      await b.outlive();
      assert.equal((await b.reserve("later", [hold])).ok, false);
      await b.expectUsage(hold, 100, 0);
    },
  },

  "an expired hold does not shrink a grant that has room without it": {
    async run(b) {
      const hold = b.hold("cap", { limit: 150 });
      await b.take("lost", [hold], { ttlMs: SHORT_MS });
      await b.wait(SHORT_MS + (b.options.virtualClock ? 0 : 40) + (b.options.sweepDelayMs ?? 0));
      assert.equal((await b.take("later", [hold], { want: 120, min: 1 })).granted, 120);
    },
  },

  "counters in any order do not deadlock": {
    async run(b) {
      const names = range(6).map((n) => `c${n}`);
      await Promise.all(
        range(16).map(async (worker) => {
          const pick = random(1000 + worker);
          for (let i = 0; i < 12; i++) {
            const shuffled = [...names].sort(() => pick(3) - 1);
            const holds = shuffled.map((name) => b.hold(name, { limit: null }));
            await b.take(`${worker}:${i}`, holds, { want: 3, min: 3 });
            await b.settle(`${worker}:${i}`, Object.fromEntries(shuffled.map((name) => [name, 1])), holds);
          }
        }),
      );
      for (const name of names) await b.expectUsage(b.hold(name), 16 * 12, 0);
    },
  },

  "a hold taken before the window changes settles into the old window; the new one starts at 0": {
    async run(b) {
      const old = b.hold("cap", { limit: 100, bucket: b.today - DAY, from: b.today - DAY, until: b.today });
      const fresh = b.hold("cap", { limit: 100 });
      await b.take("r", [old]);
      assert.equal((await b.take("s", [fresh])).granted, 100);
      // The settle's holds are those of the moment; the charge belongs where the hold was.
      await b.settle("r", { cap: 90 }, [fresh]);
      await b.expectUsage(old, 90, 0);
      await b.expectUsage(fresh, 0, 100);
    },
  },

  "a rolling window counts all its buckets, and only those": {
    async run(b) {
      const step = 1000;
      const at = (bucket: number) =>
        b.hold("roll", { bucket, from: bucket - 5 * step, step, until: bucket + 6 * step, limit: 600 });
      const first = Math.floor(b.now() / step) * step;
      for (let i = 0; i < 6; i++) {
        await b.take(`r${i}`, [at(first + i * step)]);
        if (i % 2) await b.settle(`r${i}`, { roll: 100 }, [at(first + i * step)]);
      }
      await b.expectUsage(at(first + 5 * step), 300, 300);
      assert.equal((await b.reserve("full", [at(first + 5 * step)])).ok, false);
      assert.equal((await b.take("next", [at(first + 6 * step)])).granted, 100);
      await b.expectUsage(at(first + 6 * step), 300, 300);
      await b.expectUsage(at(first - step), 0, 0);
    },
  },

  "every interval of a rolling window's length stays within the limit, for random traffic": {
    async run(b) {
      const [step, buckets, limit] = [100, 10, 500];
      const start = Math.floor(b.now() / step) * step;
      const pick = random(15);
      const charges: { at: number; amount: number }[] = [];
      for (let i = 0, at = start; i < 150; i++, at += pick(120)) {
        const bucket = Math.floor(at / step) * step;
        const hold = b.hold("roll", {
          bucket,
          from: bucket - buckets * step,
          step,
          until: bucket + (buckets + 1) * step,
          limit,
        });
        const result = await b.reserve(`r${i}`, [hold], { want: 1 + pick(100), min: 1 });
        if (!result.ok) continue;
        await b.settle(`r${i}`, { roll: result.granted }, [hold]);
        charges.push({ at, amount: result.granted });
        const within = charges.filter((charge) => charge.at > at - buckets * step);
        const sum = within.reduce((total, charge) => total + charge.amount, 0);
        assert.ok(sum <= limit, `${sum} within ${buckets * step} ms`);
      }
      assert.ok(charges.length > 20);
    },
  },

  "a rolling window stays within the limit in whatever order its calls arrive": {
    async run(b) {
      const [step, buckets, limit] = [1000, 5, 300];
      const pick = random(16);
      const first = Math.floor(b.now() / step) * step;
      const at = (bucket: number) =>
        b.hold("roll", { bucket, from: bucket - buckets * step, step, until: bucket + (buckets + 1) * step, limit });
      const windows = range(20 + buckets).map((i) => at(first + i * step));
      await b.take("last", [windows[9]!]);
      await b.settle("last", { roll: 100 }, [windows[9]!]);
      assert.equal((await b.take("late", [windows[5]!], { want: 300, min: 1 })).granted, 200);
      assert.equal((await b.reserve("later still", [windows[7]!], { want: 1, min: 1 })).ok, false);
      assert.equal((await b.take("before", [windows[3]!], { want: 300, min: 1 })).granted, 100);
      for (let i = 0; i < 60; i++) {
        const result = await b.reserve(`r${i}`, [windows[pick(20)]!], { want: 1 + pick(100), min: 1 });
        if (result.ok && pick(2)) await b.store.release(`r${i}`);
        for (const window of windows) {
          const { used, held } = await b.usage(window);
          assert.ok(used + held <= limit, `${used} used and ${held} held in one window`);
        }
      }
    },
  },

  "a clock that steps by an hour reopens no window and loses nothing": {
    needs: ["virtualClock"],
    async run(b) {
      const hold = b.hold("cap", { limit: 100 });
      const old = b.hold("old", { limit: 100, bucket: b.today - DAY, from: b.today - DAY, until: b.today });
      await b.take("r", [hold, old], { want: 60, min: 60 });
      await b.settle("r", { cap: 60, old: 60 }, [hold, old]);
      await b.take("live", [hold, old], { want: 10, min: 10, ttlMs: 3 * 3_600_000 });
      for (const hours of [1, -2, 1, -1, 2, -1]) {
        b.step(hours * 3_600_000);
        await b.expectUsage(hold, 60, 10);
        await b.expectUsage(old, 60, 10);
        assert.equal((await b.reserve(`more ${hours}`, [hold], { want: 31, min: 31 })).ok, false);
        assert.equal((await b.settle("r", { cap: 60, old: 60 }, [hold, old])).outcome, "duplicate");
      }
      assert.equal((await b.settle("live", { cap: 10, old: 10 }, [hold, old])).outcome, "settled");
      await b.expectUsage(hold, 70, 0);
    },
  },

  "only the limit that comes with the call counts": {
    async run(b) {
      await b.take("r1", [b.hold("cap", { limit: 100 })]);
      assert.equal((await b.reserve("r2", [b.hold("cap", { limit: 150 })])).ok, false);
      await b.take("r3", [b.hold("cap", { limit: 200 })]);
      assert.equal((await b.reserve("r4", [b.hold("cap", { limit: 50 })])).ok, false);
      await b.take("r5", [b.hold("cap", { limit: null })]);
      await b.expectUsage(b.hold("cap"), 0, 300);
    },
  },

  "limit null counts and never denies; limit 0 denies everything that costs": {
    async run(b) {
      for (let i = 0; i < 5; i++) await b.take(`r${i}`, [b.hold("open", { limit: null })]);
      await b.expectUsage(b.hold("open"), 0, 500);
      const closed = b.hold("closed", { limit: 0, fixed: 1, perUnit: 0 });
      assert.equal((await b.reserve("c1", [closed])).ok, false);
      assert.equal((await b.reserve("c2", [b.hold("closed", { limit: 0 })], { want: 5, min: 1 })).ok, false);
      assert.equal((await b.take("c3", [b.hold("closed", { limit: 0, perUnit: 0 })])).granted, 100);
    },
  },

  "grants and sums are exact up to 2^53 - 1": {
    async run(b) {
      const hold = b.hold("big", { limit: MAX });
      assert.equal((await b.take("r1", [hold], { want: MAX, min: 1 })).granted, MAX);
      assert.equal((await b.reserve("r2", [hold], { want: 1, min: 1 })).ok, false);
      assert.equal((await b.settle("r1", { big: MAX - 2 }, [hold])).outcome, "settled");
      await b.expectUsage(hold, MAX - 2, 0);
      assert.equal((await b.take("r3", [hold], { want: 5, min: 1 })).granted, 2);
      await b.settle("r3", { big: 1 }, [hold]);
      await b.expectUsage(hold, MAX - 1, 0);
      const price = b.hold("price", { limit: MAX, fixed: 1, perUnit: 3 });
      assert.equal((await b.take("r4", [price], { want: MAX, min: 1 })).granted, Math.floor((MAX - 1) / 3));
    },
  },

  "an amount that is not a whole number from 0 to 2^53 - 1 is refused before any write": {
    async run(b) {
      const good = b.hold("good", { limit: null });
      for (const wrong of [Number.NaN, -1, 1.5, 2 ** 53, Number.POSITIVE_INFINITY]) {
        const say = String(wrong);
        const reserve = (more: Partial<Hold>, request: Partial<ReserveRequest> = {}) =>
          rejects(() => b.reserve(`r ${say}`, [good, b.hold("bad", more)], request), "InvalidUnits", say);
        await reserve({ fixed: wrong });
        await reserve({ perUnit: wrong });
        await reserve({ limit: wrong });
        await reserve({}, { want: wrong });
        await reserve({}, { min: wrong });
        await rejects(() => b.settle("u", { good: wrong }, [good]), "InvalidUnits", `settle ${say}`);
      }
      await rejects(() => b.reserve("min > want", [good], { want: 1, min: 2 }), "InvalidUnits", "min > want");
      await rejects(
        () =>
          b.reserve(
            "33 holds",
            range(33).map((n) => b.hold(`n${n}`)),
          ),
        "InvalidUnits",
        "33 holds",
      );
      await rejects(() => b.reserve("long", [b.hold("é".repeat(129))]), "InvalidUnits", "258 bytes");
      await rejects(() => b.reserve("nul", [b.hold("a\0b")]), "InvalidUnits", "NUL in a name");
      await b.expectUsage(good, 0, 0);
      await b.take(
        "32 holds",
        range(32).map((n) => b.hold(`n${n}`)),
      );
    },
  },

  "any well-formed name is a counter of its own": {
    async run(b) {
      const names = [
        "a:b",
        "a|b",
        "{a}b",
        "a'b",
        'a"b',
        "a\\b",
        "a b",
        "a b ",
        "A:b",
        "a%b",
        "a_b",
        "a*b",
        "é",
        "e\u0301",
        "日本語",
        "🙂",
        "\u{1F642}\u200d",
        "\n",
        "--",
        "$(a)",
        "__proto__",
        "constructor",
        "ß",
        "ss",
        "x".repeat(256),
        `${"x".repeat(255)}y`,
        "é".repeat(128),
        "a:1",
        "a",
        "1",
      ];
      for (const [i, name] of names.entries()) await b.take(`r${i}`, [b.hold(name)], { want: i + 1, min: i + 1 });
      for (const [i, name] of names.entries()) await b.expectUsage(b.hold(name), 0, i + 1);
      for (const [i, name] of names.entries()) await b.settle(`r${i}`, { [name]: i }, [b.hold(name)]);
      for (const [i, name] of names.entries()) await b.expectUsage(b.hold(name), i, 0);
    },
  },

  "a retry after a lost answer is replayed; if nobody comes back, the hold ends by itself": {
    async run(b) {
      const hold = b.hold("cap", { limit: 100 });
      await b.take("r", [hold], { ttlMs: SHORT_MS });
      assert.equal((await b.take("r", [hold], { ttlMs: SHORT_MS })).replayed, true);
      await b.outlive();
      await b.expectUsage(hold, 0, 0);
    },
  },

  "renew lengthens the life of a hold": {
    async run(b) {
      const hold = b.hold("cap", { limit: 100 });
      await b.take("r", [hold], { ttlMs: SHORT_MS });
      await b.store.renew({ id: "r", ttlMs: LONG_MS });
      await b.outlive();
      await b.expectUsage(hold, 0, 100);
      assert.equal((await b.settle("r", { cap: 50 }, [hold])).outcome, "settled");
      await b.expectUsage(hold, 50, 0);
    },
  },

  "renew with charge moves part of the hold to used; settle and release then concern the rest": {
    async run(b) {
      const hold = b.hold("cap");
      await b.take("r", [hold]);
      await b.store.renew({ id: "r", ttlMs: LONG_MS, charge: new Map([["cap", 30]]) });
      await b.expectUsage(hold, 30, 70);
      await b.store.renew({ id: "r", ttlMs: LONG_MS, charge: new Map([["cap", 90]]) });
      await b.expectUsage(hold, 120, 0);
      await b.settle("r", { cap: 5 }, [hold]);
      await b.expectUsage(hold, 125, 0);
      await b.take("s", [hold]);
      await b.store.renew({ id: "s", ttlMs: LONG_MS, charge: new Map([["cap", 30]]) });
      await b.store.release("s");
      await b.expectUsage(hold, 155, 0);
    },
  },

  "renew of a hold that is gone throws ReservationLost": {
    async run(b) {
      const hold = b.hold("cap");
      await b.take("expired", [hold], { ttlMs: SHORT_MS });
      await b.take("released", [hold]);
      await b.store.release("released");
      await b.take("settled", [hold]);
      await b.settle("settled", { cap: 1 }, [hold]);
      await b.outlive();
      for (const id of ["expired", "released", "settled", "unknown"]) {
        await rejects(() => b.store.renew({ id, ttlMs: LONG_MS }), "ReservationLost", id);
      }
      await b.expectUsage(hold, 1, 0);
    },
  },

  "a restart in the middle loses nothing and charges nothing twice": {
    needs: ["reopen"],
    async run(b) {
      const hold = b.hold("cap");
      await b.take("settled", [hold]);
      await b.settle("settled", { cap: 40 }, [hold]);
      await b.take("live", [hold]);
      await b.store.close?.();
      b.store = await b.options.reopen!({ now: b.now });
      await b.expectUsage(hold, 40, 100);
      assert.equal((await b.settle("settled", { cap: 40 }, [hold])).outcome, "duplicate");
      assert.equal((await b.take("live", [hold])).replayed, true);
      assert.equal((await b.settle("live", { cap: 60 }, [hold])).outcome, "settled");
      await b.expectUsage(hold, 100, 0);
    },
  },

  "usage says what a denial says, and used never falls": {
    async run(b) {
      const hold = b.hold("cap", { limit: 500 });
      let before = 0;
      for (let i = 0; i < 8; i++) {
        const result = await b.reserve(`r${i}`, [hold]);
        const state = await b.usage(hold);
        assert.ok(state.used >= before);
        before = state.used;
        assert.deepEqual([state.counter, state.bucket, state.limit, state.until], ["cap", b.today, null, 0]);
        const told = result.ok ? result.after[0]! : result.denied[0]!;
        assert.deepEqual([state.used, state.held], [told.used, told.held]);
        if (result.ok && i % 2) await b.settle(`r${i}`, { cap: 70 }, [hold]);
      }
      const several = await b.store.usage([b.hold("nobody"), hold]);
      assert.deepEqual(
        several.map((state) => [state.counter, state.used + state.held > 0]),
        [
          ["nobody", false],
          ["cap", true],
        ],
      );
    },
  },

  "a bucket is kept until two windows and a day after the latest end that any hold named": {
    needs: ["virtualClock"],
    async run(b) {
      const early = b.hold("cap", { until: b.today + 3_600_000 });
      await b.take("r1", [early]);
      await b.take("r2", [b.hold("cap", { until: b.today + 40 * DAY })]);
      await b.settle("r1", { cap: 1 }, [early]);
      await b.settle("r2", { cap: 1 }, [early]);
      b.step(39 * DAY);
      // Collection is spread over the calls.
      for (let i = 0; i < 100; i++) await b.store.release("nobody");
      await b.expectUsage(early, 2, 0);
    },
  },

  "old buckets and ended reservations are forgotten": {
    needs: ["virtualClock", "size"],
    async run(b) {
      const sizes: number[] = [];
      for (let day = 0; day < 20; day++) {
        for (let i = 0; i < 100; i++) {
          const bucket = Math.floor(b.now() / 3_600_000) * 3_600_000;
          const hold = b.hold("hourly", { bucket, from: bucket, until: bucket + 3_600_000, limit: null });
          await b.take(`${day}:${i}`, [hold], { want: 1, min: 1 });
          if (i % 3) await b.settle(`${day}:${i}`, { hourly: 1 }, [hold]);
          b.step(DAY / 100);
        }
        sizes.push(await b.options.size!(b.store));
      }
      const early = Math.max(...sizes.slice(2, 6));
      const late = Math.max(...sizes.slice(-4));
      assert.ok(late <= early * 1.2, `grows from day to day: ${sizes.join(", ")}`);
    },
  },
};

/** The counters among `holds` that have no room for `units`. */
function without(holds: readonly Hold[], units: number): Set<string> {
  const full = holds.filter((hold) => hold.limit !== null && hold.fixed + units * hold.perUnit > hold.limit);
  return new Set(full.map((hold) => hold.counter));
}
