/** Reserve and settle, as fast as it goes. */
import type { Hold, ReserveRequest } from "../../src/core/budget-store.ts";
import type { Engine } from "./engines.ts";

export interface Speed {
  readonly perSecond: number;
  /** Of the reserve, µs. */
  readonly p50: number;
  readonly p99: number;
  /** Time of a reserve and a settle, against two calls of the raw driver. */
  readonly ratio: number | undefined;
}

const DAY = 24 * 3_600_000;
const today = Math.floor(Date.now() / DAY) * DAY;
const cost = { fixed: 10, perUnit: 1, limit: 1e15 };
let runs = 0;

export async function measure(engine: Engine, limits: number, ms: number): Promise<Speed> {
  const run = `${process.pid}:${++runs}`;
  const holds: Hold[] = Array.from({ length: limits }, (_, i) => {
    return { counter: `limit ${i}`, bucket: today, from: today, step: 0, until: today + DAY, ...cost };
  });
  await loop(engine, pair(engine, holds, `${run} warm`, []), ms / 4);
  const times: number[] = [];
  const perSecond = await loop(engine, pair(engine, holds, run, times), ms);
  const { raw } = engine;
  const twice =
    raw &&
    (async () => {
      await raw();
      await raw();
    });
  const rawPerSecond = twice && (await loop(engine, twice, ms / 2));
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * (times.length - 1))]!;
  return { perSecond, p50: at(0.5), p99: at(0.99), ratio: rawPerSecond && rawPerSecond / perSecond };
}

function pair({ store }: Engine, holds: readonly Hold[], run: string, times: number[]) {
  let ids = 0;
  const actual = new Map(holds.map(({ counter }) => [counter, 60]));
  return async () => {
    const id = `${run}:${++ids}`;
    const request: ReserveRequest = {
      id,
      fingerprint: "f",
      holds,
      want: 100,
      min: 1,
      ttlMs: 60_000,
      onExpire: "release",
    };
    const started = performance.now();
    const result = store.reserve(request);
    // A promise that is not needed would cost more than the memory store.
    if (result instanceof Promise) await result;
    times.push(1_000 * (performance.now() - started));
    const settled = store.settle({ id, actual, holds });
    if (settled instanceof Promise) await settled;
  };
}

/** Rounds per second. */
async function loop({ inFlight }: Engine, action: () => Promise<void>, ms: number): Promise<number> {
  const started = performance.now();
  let rounds = 0;
  const worker = async () => {
    for (; performance.now() - started < ms; rounds++) {
      await action();
      // Timers of the stores must get their turn.
      if (rounds % 256 === 255) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (1_000 * rounds) / (performance.now() - started);
}
