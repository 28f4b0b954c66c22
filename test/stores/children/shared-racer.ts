/**
 * Races on a shared store: many requests in flight, each reserves as much as it gets and settles at most that, until
 * nothing is left and nobody holds anything. Arguments: kind, name (prefix or schema), cap, seed, in flight, most output
 * of a request, life of a hold in ms. Says "ready" and starts at the first input. Writes what it intends to settle, then that it did, so that a killed racer can
 * be judged.
 */
import { once } from "node:events";
import { writeSync } from "node:fs";
import { Redis } from "ioredis";
import pg from "pg";
import { createClient } from "redis";
import type { BudgetStore } from "../../../src/core/budget-store.ts";
import { leased } from "../../../src/stores/leased.ts";
import { postgresStore } from "../../../src/stores/postgres.ts";
import { redisStore } from "../../../src/stores/redis.ts";
import { POSTGRES_URL, REDIS_URL } from "./servers.ts";

const [kind, name, cap, seed, ...numbers] = process.argv.slice(2) as [string, string, string, string, ...string[]];
const [inFlight, largest, ttlMs] = numbers.map(Number) as [number, number, number];
const limit = Number(cap);
const [isLeased, engine] = [kind.startsWith("leased "), kind.replace("leased ", "")];
let closeClient = async () => {};

async function connect(): Promise<BudgetStore> {
  if (engine === "postgres") {
    const pool = new pg.Pool({ connectionString: POSTGRES_URL, application_name: name, max: 8 });
    pool.on("error", () => {});
    closeClient = () => pool.end();
    return postgresStore({ pool }, { schema: name });
  }
  if (Number(seed) % 2) {
    const client = new Redis(REDIS_URL, { connectionName: name });
    client.on("error", () => {});
    closeClient = async () => client.disconnect();
    return redisStore({ client }, { prefix: name });
  }
  const client = createClient({ url: REDIS_URL, name });
  client.on("error", () => {});
  await client.connect();
  closeClient = async () => client.destroy();
  return redisStore({ client }, { prefix: name });
}

const shared = await connect();
const store = isLeased ? leased(shared, { processes: 6, ttlMs: 1600, postEveryMs: 200 }) : shared;
let state = Number(seed) * 7919 + 1;
const pick = (below: number) => {
  state = (state * 48271) % 2147483647;
  return state % below;
};
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const hold = { counter: "cap", bucket: 0, from: 0, step: 0, until: 4e12, fixed: 3, perUnit: 1, limit };
const other = { ...hold, counter: `own ${seed}`, limit: null };
const deadline = performance.now() + 15_000;
let requests = 0;

async function worker(): Promise<void> {
  while (performance.now() < deadline) {
    const id = `${seed}:${++requests}`;
    const holds = requests % 2 ? [hold, other] : [other, hold];
    const want = 1 + pick(largest);
    const request = { id, fingerprint: "f", holds, want, min: 1, ttlMs, onExpire: "release" } as const;
    const result = await store.reserve(request);
    const cap = (result.ok ? result.after : result.denied).find((one) => one.counter === "cap")!;
    if (!isLeased && cap.used + cap.held > limit) throw new Error(`cap passed: ${JSON.stringify(cap)}`);
    if (!result.ok) {
      if (cap.held === 0) return;
      await sleep(5 + pick(30));
      continue;
    }
    await sleep(pick(6));
    if (pick(8) === 0) {
      await store.release(id);
      continue;
    }
    const actual = pick(3 + result.granted) + 1;
    const amounts = new Map([hold, other].map(({ counter }) => [counter, actual]));
    writeSync(1, `intend ${actual}\n`);
    const { outcome } = await store.settle({ id, actual: amounts, holds });
    if (outcome !== "settled") throw new Error(`settle answered ${outcome}`);
    writeSync(1, `done ${actual}\n`);
  }
}

writeSync(1, "ready\n");
await once(process.stdin, "data");
process.stdin.destroy();
await Promise.all(Array.from({ length: inFlight }, worker));
await store.close?.();
await closeClient();
