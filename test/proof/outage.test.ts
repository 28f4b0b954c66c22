import pg from "pg";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { POSTGRES_URL, randomName, terminateBackends, whyNoPostgres } from "../stores/children/servers.ts";
import { type OwnRedis, ownRedis, whyNoOwnRedis } from "./redis-server.ts";
import { type Result, type RunOptions, run } from "./run.ts";

/**
 * A store that goes away under gateways at work, with real processes and real servers. Calls are refused meanwhile or
 * wait; afterwards the gateways go on by themselves, the cap is used up, and what Mistral bills is what is booked.
 * `PROOF_FULL=1` is the large size and takes leases too, `PROOF_FIGURES=1` prints what came out.
 */
const CAP = 100_000;
const isFull = process.env.PROOF_FULL === "1";
const SIZE = isFull ? { processes: 8, inFlight: 64 } : { processes: 4, inFlight: 16 };
const SEED = Number(process.env.PROOF_SEED ?? Date.now() % 1e6);
const options = { timeout: 180_000 };

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function reach(used: () => Promise<number>, units: number): Promise<void> {
  while ((await used()) < units) await sleep(10);
}

async function prove(title: string, more: Pick<RunOptions, "kind" | "name"> & Partial<RunOptions>): Promise<Result> {
  const size = { cap: CAP, seed: SEED, kill: false, onExpire: "release", ...SIZE } as const;
  const result = await run({ ...size, ...more });
  if (isFull || process.env.PROOF_FIGURES) print(title, result);
  expect(result.errors, `seed ${SEED}`).toEqual([]);
  expect(result.held).toBe(0);
  expect(result.requestsBeyondCap).toBe(0);
  expect(result.used).toBeLessThanOrEqual(CAP);
  // Of an answer that was ended in the middle, Mistral counts all and the gateway what it saw.
  const whole = result.served - result.abandoned;
  expect(whole).toBeLessThanOrEqual(CAP);
  expect(result.used, "nothing that was spent is missing").toBeGreaterThanOrEqual(whole);
  return result;
}

function print(title: string, { served, used, unavailable, lost, answers, seconds }: Result): void {
  const share = (tokens: number) => `${((100 * tokens) / CAP).toFixed(2)} %`;
  console.log(
    `${title}: served ${share(served)}, booked ${share(used)}, ${answers.mistral} by Mistral, ${answers.llama} by llama, ${unavailable} refused and ${lost} ended for the store, ${seconds.toFixed(1)} s`,
  );
}

const whyRedis = whyNoOwnRedis();

describe.skipIf(whyRedis)(`Redis stops and comes back under ${SIZE.processes} gateways${whyRedis}`, () => {
  const KINDS = isFull ? (["redis", "leased redis"] as const) : (["redis"] as const);
  // The default: who asks meanwhile is refused, and does not wait.
  const usual = { name: "turnpike", storeTimeoutMs: 250 };
  let server: OwnRedis;
  beforeEach(async () => {
    server = await ownRedis();
  });
  afterEach(() => server.remove());

  async function restart(signal: "SIGTERM" | "SIGKILL", awayMs: number): Promise<void> {
    await server.stop(signal);
    await sleep(awayMs);
    await server.start();
  }

  test.each(KINDS)(
    "stopped, then killed: no unit is lost, none is spent twice, over a %s store",
    options,
    async (kind) => {
      const result = await prove(`${kind}, restarted twice`, {
        ...usual,
        kind,
        redisUrl: server.url,
        async breakStore(used) {
          await reach(used, CAP / 4);
          await restart("SIGTERM", 700);
          await reach(used, CAP / 2);
          await restart("SIGKILL", 700);
        },
      });
      if (kind !== "redis") return;
      expect(result.unavailable).toBeGreaterThan(0);
      expect(result.lost).toBe(0);
      expect(result.used).toBe(result.served);
      expect(result.served / CAP, "they went on after the last time").toBeGreaterThanOrEqual(0.98);
    },
  );

  const longer = isFull ? test : () => {};
  longer(
    "for longer than holds live: what is settled late has its place, if expired holds count as spent",
    options,
    async () => {
      await prove("redis, away for twice the life of a hold", {
        ...usual,
        kind: "redis",
        redisUrl: server.url,
        holdTtlMs: 2_000,
        onExpire: "charge",
        async breakStore(used) {
          await reach(used, CAP / 2);
          await restart("SIGKILL", 4_000);
        },
      });
    },
  );
});

const whyPostgres = await whyNoPostgres();

describe.skipIf(whyPostgres)(`PostgreSQL cuts connections under ${SIZE.processes} gateways${whyPostgres}`, () => {
  const KINDS = isFull ? (["postgres", "leased postgres"] as const) : (["postgres"] as const);
  const pool = new pg.Pool({ connectionString: POSTGRES_URL, max: 2 });
  const names: string[] = [];
  afterAll(async () => {
    for (const name of names) await pool.query(`DROP SCHEMA IF EXISTS "${name}" CASCADE`);
    await pool.end();
  });

  test.each(KINDS)("again and again: no unit is lost, none is spent twice, over a %s store", options, async (kind) => {
    const name = randomName();
    names.push(name);
    let cut = 0;
    const result = await prove(`${kind}, connections cut`, {
      kind,
      name,
      async breakStore(used) {
        for (let share = 0.1; share < 0.9; share += 0.1) {
          await reach(used, share * CAP);
          cut += await terminateBackends(pool, name);
        }
      },
    });
    expect(cut).toBeGreaterThan(0);
    if (kind !== "postgres") return;
    expect(result.lost).toBe(0);
    expect(result.used).toBe(result.served);
    expect(result.served / CAP, "they went on after the last time").toBeGreaterThanOrEqual(0.98);
  });
});
