/** Random commands against a model that is too simple to be wrong: memory and SQLite must answer as it does. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Hold, SettleOutcome, SettleRequest } from "../../src/core/budget-store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import type { SyncBudgetStore } from "../../src/stores/sync-store.ts";

const STEP = 1000;
const START = 1_700_000_000_000;

interface Entry {
  state: "held" | "settled" | "released" | "expired";
  fingerprint: string;
  granted: number;
  onExpire: "release" | "charge";
  expiresAt: number;
  amounts: Map<string, { bucket: number; amount: number }>;
}

/** No tables of sums: everything is added up from the beginning, each time. */
function modelStore(now: () => number): Omit<SyncBudgetStore, "close" | "traits"> {
  const entries = new Map<string, Entry>();
  const charges: { counter: string; bucket: number; amount: number }[] = [];

  const charge = (counter: string, bucket: number, amount: number) => charges.push({ counter, bucket, amount });

  const expire = () => {
    for (const entry of entries.values()) {
      if (entry.state !== "held" || entry.expiresAt > now()) continue;
      entry.state = "expired";
      if (entry.onExpire === "charge") for (const [c, { bucket, amount }] of entry.amounts) charge(c, bucket, amount);
    }
  };

  const sums = (counter: string, from: number, to: number) => {
    const isIn = (bucket: number) => bucket >= from && bucket <= to;
    let [used, held] = [0, 0];
    for (const c of charges) if (c.counter === counter && isIn(c.bucket)) used += c.amount;
    for (const entry of entries.values()) {
      const part = entry.state === "held" ? entry.amounts.get(counter) : undefined;
      if (part && isIn(part.bucket)) held += part.amount;
    }
    return { used, held };
  };

  const stateOf = (hold: Hold, last = hold.bucket) => {
    const { counter, bucket, limit, until } = hold;
    return { counter, bucket, ...sums(counter, hold.from, last), limit, until };
  };

  /** A reservation also counts the later buckets whose windows have its own in them. */
  const reached = (hold: Hold) => stateOf(hold, hold.step === 0 ? hold.bucket : hold.bucket + hold.bucket - hold.from);

  return {
    reserve({ id, fingerprint, holds, want, min, ttlMs, onExpire }) {
      expire();
      const known = entries.get(id);
      if (known) {
        if (known.fingerprint !== fingerprint) throw new Error("ReservationConflict");
        return {
          ok: true,
          granted: known.granted,
          replayed: true,
          now: now(),
          after: holds.map((hold) => stateOf(hold)),
        };
      }
      const fits = (hold: Hold, units: number) => {
        const { used, held } = reached(hold);
        return hold.limit === null || used + held + hold.fixed + units * hold.perUnit <= hold.limit;
      };
      const denied = holds.filter((hold) => !fits(hold, min));
      if (denied.length > 0) {
        const told = denied.map((hold) => ({ ...reached(hold), needed: hold.fixed + min * hold.perUnit }));
        return { ok: false, now: now(), denied: told };
      }
      let granted = want;
      while (!holds.every((hold) => fits(hold, granted))) granted--;
      const amounts = new Map(
        holds.map((h) => [h.counter, { bucket: h.bucket, amount: h.fixed + granted * h.perUnit }]),
      );
      entries.set(id, { state: "held", fingerprint, granted, onExpire, expiresAt: now() + ttlMs, amounts });
      return { ok: true, granted, replayed: false, now: now(), after: holds.map(reached) };
    },

    settle({ id, actual, holds }: SettleRequest) {
      expire();
      const entry = entries.get(id);
      if (entry?.state === "settled") return { outcome: "duplicate", overrun: 0 };
      let overrun = 0;
      const covered = (counter: string) => {
        const kept = entry?.state === "held" || (entry?.state === "expired" && entry.onExpire === "charge");
        return kept ? (entry.amounts.get(counter)?.amount ?? 0) : 0;
      };
      for (const [counter, amount] of actual) {
        const bucket = entry?.amounts.get(counter)?.bucket ?? holds.find((hold) => hold.counter === counter)!.bucket;
        charge(counter, bucket, amount);
        overrun += Math.max(0, amount - covered(counter));
      }
      if (entry?.state === "expired" && entry.onExpire === "charge") {
        for (const [counter, { bucket, amount }] of entry.amounts) charge(counter, bucket, -amount);
      }
      const outcome: SettleOutcome = !entry
        ? "late-unknown"
        : entry.state === "held"
          ? "settled"
          : (`late-${entry.state}` as SettleOutcome);
      if (entry) entry.state = "settled";
      else {
        const nothing = { granted: 0, onExpire: "release", expiresAt: 0, amounts: new Map() } as const;
        entries.set(id, { state: "settled", fingerprint: "", ...nothing });
      }
      return { outcome, overrun };
    },

    release(id) {
      expire();
      const entry = entries.get(id);
      if (entry?.state !== "held") return { released: false };
      entry.state = "released";
      return { released: true };
    },

    renew({ id, ttlMs, charge: charged }) {
      expire();
      const entry = entries.get(id);
      if (entry?.state !== "held") throw new Error("ReservationLost");
      for (const [counter, amount] of charged ?? []) {
        const part = entry.amounts.get(counter);
        if (!part) throw new Error("InvalidUnits");
        charge(counter, part.bucket, amount);
        part.amount = Math.max(0, part.amount - amount);
      }
      entry.expiresAt = Math.max(entry.expiresAt, now() + ttlMs);
    },

    usage(refs) {
      expire();
      return refs.map(({ counter, bucket, from }) => ({
        counter,
        bucket,
        ...sums(counter, from, bucket),
        limit: null,
        until: 0,
      }));
    },
  };
}

// ---- Commands ----

type Command =
  | {
      kind: "reserve";
      id: number;
      fp: number;
      holds: HoldPlan[];
      min: number;
      more: number;
      ttl: number;
      charge: boolean;
      /** How many buckets of a rolling window it comes late. */
      late: number;
    }
  | { kind: "settle"; id: number; actual: number[]; holds: HoldPlan[] }
  | { kind: "release"; id: number }
  | { kind: "renew"; id: number; ttl: number; charge: number }
  | { kind: "usage" }
  | { kind: "wait"; ms: number }
  | { kind: "restart" };

interface HoldPlan {
  name: number;
  fixed: number;
  perUnit: number;
  limit: number | null;
}

const id = fc.nat(11);
const plan = fc.record({
  name: fc.nat(3),
  fixed: fc.nat(20),
  perUnit: fc.nat(3),
  limit: fc.option(fc.nat(900), { freq: 5 }),
});
const plans = fc.uniqueArray(plan, { minLength: 1, maxLength: 4, selector: (one) => one.name });
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("reserve" as const),
      id,
      fp: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
      holds: plans,
      min: fc.nat(10),
      more: fc.nat(80),
      ttl: fc.integer({ min: 1, max: 4000 }),
      charge: fc.boolean(),
      late: fc.constantFrom(0, 0, 0, 0, 1, 2, 3, 5),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("settle" as const),
      id,
      actual: fc.array(fc.nat(120), { minLength: 4, maxLength: 4 }),
      holds: plans,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("release" as const), id }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("renew" as const),
      id,
      ttl: fc.integer({ min: 1, max: 4000 }),
      charge: fc.nat(60),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("usage" as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(1500) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
);

/** Counters 0 and 1 have one window, 2 and 3 roll over four buckets. */
function toHold({ name, fixed, perUnit, limit }: HoldPlan, now: number): Hold {
  const counter = `counter ${name}`;
  if (name < 2) return { counter, bucket: START, from: START, step: 0, until: START + 1e9, fixed, perUnit, limit };
  const bucket = Math.floor(now / STEP) * STEP;
  return { counter, bucket, from: bucket - 3 * STEP, step: STEP, until: bucket + 4 * STEP, fixed, perUnit, limit };
}

function perform(store: Omit<SyncBudgetStore, "close" | "traits">, c: Command, now: number): unknown {
  try {
    switch (c.kind) {
      case "reserve":
        return store.reserve({
          id: `r${c.id}`,
          fingerprint: `f${c.fp}`,
          holds: c.holds.map((hold) => toHold(hold, now - c.late * STEP)),
          want: c.min + c.more,
          min: c.min,
          ttlMs: c.ttl,
          onExpire: c.charge ? "charge" : "release",
        });
      case "settle": {
        const holds = c.holds.map((hold) => toHold(hold, now));
        const actual = new Map(holds.map((hold, i) => [hold.counter, c.actual[i]!]));
        return store.settle({ id: `r${c.id}`, actual, holds });
      }
      case "release":
        return store.release(`r${c.id}`);
      case "renew":
        return store.renew({ id: `r${c.id}`, ttlMs: c.ttl, charge: new Map([["counter 0", c.charge]]) });
      case "usage":
        return store.usage([0, 1, 2, 3].map((name) => toHold({ name, fixed: 0, perUnit: 0, limit: null }, now)));
    }
  } catch (error) {
    const { name, message } = error as Error;
    return name === "Error" ? message : name;
  }
}

const folder = mkdtempSync(join(tmpdir(), "turnpike-model-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("memory and SQLite against the model", () => {
  test("answer the same to any sequence of commands", () => {
    let files = 0;
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(fc.array(command, { minLength: 30, maxLength: 80, size: "max" }), (commands) => {
        let time = START;
        const now = () => time;
        const path = join(folder, `${++files}.db`);
        const model = modelStore(now);
        const memory = memoryStore({ now });
        let sqlite = sqliteStore({ path, now });
        try {
          for (const c of [...commands, { kind: "usage" } as const]) {
            if (c.kind === "wait") time += c.ms;
            else if (c.kind === "restart") {
              sqlite.close();
              sqlite = sqliteStore({ path, now });
            } else {
              const expected = perform(model, c, time);
              expect(perform(memory, c, time), `memory: ${c.kind}`).toEqual(expected);
              expect(perform(sqlite, c, time), `sqlite: ${c.kind}`).toEqual(expected);
              const label = `${c.kind} ${summary(expected)}`;
              seen.set(label, (seen.get(label) ?? 0) + 1);
            }
          }
        } finally {
          sqlite.close();
        }
      }),
      { numRuns: Number(process.env.TURNPIKE_TEST_RUNS ?? 120) },
    );
    // The commands must reach every kind of answer, or the test says nothing.
    if (process.env.TURNPIKE_TEST_RUNS) console.log(seen);
    for (const label of EVERY_ANSWER) expect(seen.get(label), label).toBeGreaterThan(0);
  });
});

const EVERY_ANSWER = [
  "reserve granted",
  "reserve denied",
  "reserve replayed",
  "reserve ReservationConflict",
  "settle settled",
  "settle duplicate",
  "settle late-expired",
  "settle late-released",
  "settle late-unknown",
  "release true",
  "release false",
  "renew ok",
  "renew ReservationLost",
  "renew InvalidUnits",
];

function summary(answer: unknown): string {
  if (typeof answer === "string") return answer;
  const { ok, replayed, outcome, released } = (answer ?? {}) as Record<string, unknown>;
  if (ok !== undefined) return ok ? (replayed ? "replayed" : "granted") : "denied";
  return String(outcome ?? released ?? "ok");
}
