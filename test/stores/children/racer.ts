/**
 * Races on a budget file: reserves as much as it gets until nothing is left, and settles at most that.
 * Arguments: file, cap, seed. Says "ready" and starts at the first input, so that all start together. Writes what it
 * intends to settle, then that it did, so that a killed racer can be judged.
 */
import { once } from "node:events";
import { writeSync } from "node:fs";
import { sqliteStore } from "../../../src/stores/sqlite.ts";

const [path, cap, seed] = [process.argv[2]!, Number(process.argv[3]), process.argv[4]!];
const store = sqliteStore(path);
let state = Number(seed) * 7919 + 1;
const pick = (below: number) => {
  state = (state * 48271) % 2147483647;
  return state % below;
};

const hold = { counter: "cap", bucket: 0, from: 0, step: 0, until: 4e15, fixed: 3, perUnit: 1, limit: cap };
const other = { ...hold, counter: `own ${seed}`, limit: null };
let denied = 0;
writeSync(1, "ready\n");
await once(process.stdin, "data");
process.stdin.destroy();
for (let i = 0; denied < 20; i++) {
  const id = `${seed}:${i}`;
  const holds = i % 2 ? [hold, other] : [other, hold];
  const want = 1 + pick(300);
  const result = store.reserve({
    id,
    fingerprint: "f",
    holds,
    want,
    min: 1,
    ttlMs: 600_000,
    onExpire: "release",
  });
  for (const state of result.ok ? result.after : result.denied) {
    if (state.counter === "cap" && state.used + state.held > cap)
      throw new Error(`cap passed: ${JSON.stringify(state)}`);
  }
  if (!result.ok) {
    denied++;
    await new Promise((resolve) => setTimeout(resolve, 2));
    continue;
  }
  if (pick(3) === 0) await new Promise((resolve) => setImmediate(resolve));
  if (pick(8) === 0) {
    store.release(id);
    continue;
  }
  const actual = pick(3 + result.granted) + 1;
  writeSync(1, `intend ${actual}\n`);
  const actuals = new Map([
    ["cap", actual],
    [other.counter, actual],
  ]);
  store.settle({ id, actual: actuals, holds });
  if (store.settle({ id, actual: actuals, holds }).outcome !== "duplicate") throw new Error("settled twice");
  writeSync(1, `done ${actual}\n`);
}
store.close();
