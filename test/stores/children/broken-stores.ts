/** Stores with one mistake each, on a SQLite file that processes share: a race must find it. */
import type { BudgetStore } from "../../../src/core/budget-store.ts";
import { memoryStore } from "../../../src/stores/memory.ts";
import { sqliteStore } from "../../../src/stores/sqlite.ts";

export interface File {
  readonly path: string;
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 2));

export function checksThenCharges({ path }: File): BudgetStore {
  const store = sqliteStore(path);
  return {
    ...store,
    async reserve(request) {
      const states = store.usage(request.holds);
      await pause();
      const isFull = request.holds.some(({ limit, fixed }, i) => {
        const { used, held } = states[i]!;
        return limit !== null && used + held + fixed + request.min > limit;
      });
      // A call that the real store denies, because the room is gone, is let pass.
      const holds = isFull ? request.holds : request.holds.map((hold) => ({ ...hold, limit: null }));
      return store.reserve({ ...request, holds });
    },
  };
}

export function chargesNothingNowAndThen({ path }: File): BudgetStore {
  const store = sqliteStore(path);
  let settles = 0;
  return {
    ...store,
    settle: (request) => store.settle(++settles % 10 > 0 ? request : { ...request, actual: new Map() }),
  };
}

export function settlesTwice({ path }: File): BudgetStore {
  const store = sqliteStore(path);
  return {
    ...store,
    settle(request) {
      const { outcome, overrun } = store.settle(request);
      if (outcome === "duplicate") store.settle({ ...request, id: `${request.id} again` });
      return { outcome, overrun };
    },
  };
}

export function holdsAgain({ path }: File): BudgetStore {
  const store = sqliteStore(path);
  const granted = new Set<string>();
  return {
    ...store,
    reserve(request) {
      const id = granted.has(request.id) ? `${request.id} again` : request.id;
      granted.add(request.id);
      return store.reserve({ ...request, id });
    },
  };
}

export function neverExpires({ path }: File): BudgetStore {
  const store = sqliteStore(path);
  return { ...store, reserve: (request) => store.reserve({ ...request, ttlMs: 3_600_000 }) };
}

export function expiresEarly({ path }: File): BudgetStore {
  const store = sqliteStore(path);
  return { ...store, reserve: (request) => store.reserve({ ...request, ttlMs: 1 }) };
}

export function keepsUnits({ path }: File): BudgetStore {
  const store = sqliteStore(path);
  const lower = (limit: number | null) => (limit === null ? null : Math.floor(limit * 0.9));
  return {
    ...store,
    reserve(request) {
      const holds = request.holds.map((hold) => ({ ...hold, limit: lower(hold.limit) }));
      return store.reserve({ ...request, holds });
    },
  };
}

export const isPrivate = (): BudgetStore => memoryStore();

export const isPrivateAndDeniesIt = (): BudgetStore => {
  const store = memoryStore();
  return { ...store, traits: { ...store.traits, shared: true } };
};
