import { LRUCache } from "lru-cache";
import type { Demand } from "../../budget/demand.ts";
import { inUnit } from "../../budget/report.ts";
import type { BudgetStore } from "../../core/budget-store.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { BudgetWarning } from "./options.ts";

export interface WarnerOptions {
  store: BudgetStore;
  now: () => number;
  ttlMs: number;
  onWarning: ((warning: BudgetWarning) => void) | undefined;
}

/** Tells once per counter, window and share that it was passed; the store decides which process is the one to tell. */
export function warner({ store, now, ttlMs, onWarning }: WarnerOptions) {
  const told = new LRUCache<string, true>({ max: 10_000 });

  async function check(exchange: Exchange, demand: Demand, warnAt: readonly number[]): Promise<void> {
    const { limit, counter, from, bucket, step } = demand.hold;
    if (!limit) return;
    const untold = warnAt.filter((share) => !told.has(keyOf(demand, share)));
    if (untold.length === 0) return;
    const [state] = await store.usage([{ counter, from, bucket, step }]);
    if (!state) return;
    for (const share of untold) {
      if (state.used >= share * limit) tell(exchange, demand, share, state.used).catch(() => {});
    }
  }

  async function tell(exchange: Exchange, demand: Demand, share: number, used: number): Promise<void> {
    const { account, hold, opensAt } = demand;
    const key = keyOf(demand, share);
    if (told.has(key)) return;
    told.set(key, true);
    // An id is reserved once: who is told `replayed` comes second.
    const claim = { ...hold, fixed: 0, perUnit: 0, limit: null };
    const first = await store.reserve({
      id: `warned:${key}`,
      fingerprint: "warning",
      holds: [claim],
      want: 0,
      min: 0,
      ttlMs,
      onExpire: "release",
    });
    if (!first.ok || first.replayed) return;
    await store.release(`warned:${key}`);
    const { limit, unit } = account;
    const warning: BudgetWarning = {
      limit: limit.name,
      share,
      unit,
      used: inUnit(unit, used),
      amount: inUnit(unit, hold.limit!),
      resetsAt: opensAt === undefined ? null : new Date(opensAt).toISOString(),
    };
    exchange.note({ event: "budget-warning", at: new Date(now()).toISOString(), ...warning });
    onWarning?.(warning);
  }

  return (exchange: Exchange, demands: readonly Demand[]): void => {
    for (const demand of demands) {
      const { warnAt } = demand.account.limit;
      if (warnAt === undefined) continue;
      // A warning must never break an answer.
      check(exchange, demand, warnAt).catch(() => {});
    }
  };
}

function keyOf({ hold: { counter, bucket } }: Demand, share: number): string {
  return `${counter}@${bucket}>${share}`;
}
