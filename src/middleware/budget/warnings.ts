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

  async function check(exchange: Exchange, demand: Demand, share: number): Promise<void> {
    const { account, hold, opensAt } = demand;
    const key = `${hold.counter}@${hold.bucket}>${share}`;
    if (told.has(key) || !hold.limit) return;
    const { counter, from, bucket, step } = hold;
    const [state] = await store.usage([{ counter, from, bucket, step }]);
    if (!state || state.used < share * hold.limit || told.has(key)) return;
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
      used: inUnit(unit, state.used),
      amount: inUnit(unit, hold.limit),
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
      for (const share of warnAt) check(exchange, demand, share).catch(() => {});
    }
  };
}
