/** A great many requests, each with an id of its own, over days of the store's clock: what is kept must stay bounded. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { BudgetStore, Hold } from "../../src/core/budget-store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const STEPS = 10;

interface Rows {
  readonly counters: number;
  readonly reservations: number;
  readonly fileMB: number;
  readonly walMB: number;
}

export interface Sample {
  readonly requests: number;
  readonly rssMB: number;
  readonly heapMB: number;
  /** Since the start. */
  readonly seconds: number;
  /** Rows, where the store has any. */
  readonly rows?: Rows;
}

/** Half of the ten days' requests come in the first five: whatever grows, grows where it can be seen. */
export async function soakMemory(requests: number): Promise<Sample[]> {
  const clock = { now: Date.UTC(2026, 0, 1) };
  return soak(memoryStore({ now: () => clock.now }), clock, requests);
}

export async function soakSqlite(requests: number): Promise<Sample[]> {
  const clock = { now: Date.UTC(2026, 0, 1) };
  const folder = mkdtempSync(join(tmpdir(), "turnpike-soak-"));
  const path = join(folder, "soak.db");
  const store = sqliteStore({ path, now: () => clock.now });
  const db = new DatabaseSync(path, { readOnly: true });
  const count = (table: string) => Number((db.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n);
  const rows = () => {
    const sizeMB = (file: string) => statSync(file).size / 2 ** 20;
    const files = { fileMB: sizeMB(path), walMB: sizeMB(`${path}-wal`) };
    return { counters: count("tp_counter"), reservations: count("tp_reservation"), ...files };
  };
  try {
    return await soak(store, clock, requests, rows);
  } finally {
    db.close();
    store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function soak(store: BudgetStore, clock: { now: number }, requests: number, rows?: () => Rows) {
  const samples: Sample[] = [];
  const each = (STEPS * DAY) / requests;
  const start = clock.now;
  const started = performance.now();
  for (let i = 1; i <= requests; i++) {
    clock.now = start + Math.floor(i * each);
    const holds = holdsAt(clock.now, i);
    const id = `request ${i}`;
    await store.reserve({ id, fingerprint: "f", holds, want: 100, min: 1, ttlMs: MINUTE, onExpire: "release" });
    // One in a hundred never comes back, one in fifty is given back.
    if (i % 50 === 0) await store.release(id);
    else if (i % 100 !== 1)
      await store.settle({ id, actual: new Map(holds.map(({ counter }) => [counter, 50])), holds });
    if (i % Math.ceil(requests / STEPS) === 0 || i === requests)
      samples.push(sample(i, (performance.now() - started) / 1000, rows?.()));
  }
  return samples;
}

/** A day's limit, a minute's limit of one of a hundred users, and a rolling hour. */
function holdsAt(now: number, i: number): Hold[] {
  const cost = { fixed: 1, perUnit: 1, limit: 1e12 };
  const window = (ms: number) => {
    const bucket = Math.floor(now / ms) * ms;
    return { bucket, from: bucket, step: 0, until: bucket + ms, ...cost };
  };
  const roll = Math.floor(now / MINUTE) * MINUTE;
  const rolling = { bucket: roll, from: roll - 60 * MINUTE, step: MINUTE, until: roll + 61 * MINUTE, ...cost };
  return [
    { counter: "day", ...window(DAY) },
    { counter: `minute of user ${i % 100}`, ...window(MINUTE) },
    { counter: "rolling hour", ...rolling },
  ];
}

function sample(requests: number, seconds: number, rows: Rows | undefined): Sample {
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { requests, seconds, rssMB: rss / 2 ** 20, heapMB: heapUsed / 2 ** 20, ...(rows && { rows }) };
}
