import { LRUCache } from "lru-cache";
import { type Account, creditCounter, partOf } from "../../budget/accounts.ts";
import type { CompiledLimit, Unit } from "../../budget/limits.ts";
import { type BudgetUsage, inUnit, shown } from "../../budget/report.ts";
import { lifetimeWindow } from "../../budget/windows.ts";
import type { BudgetStore, Hold } from "../../core/budget-store.ts";
import type { Identity } from "../../core/exchange.ts";
import type { GatewayPlan } from "../../core/middleware.ts";
import { newTarget, type Target } from "../../core/provider.ts";
import type { MaybePromise } from "../../core/util.ts";
import { NANO } from "../../prices/index.ts";

export interface UsageReaderOptions {
  store: BudgetStore;
  limits: readonly CompiledLimit[];
  now: () => number;
  breakdown: boolean;
  plan: () => GatewayPlan | undefined;
  /** Gives up on a store that does not answer. */
  inTime<T>(answer: MaybePromise<T>): Promise<T>;
}

/** Reads counters: what is left for users, which model used what, and top-ups of prepaid limits. */
export function usageReader({ store, limits, now, breakdown, plan, inTime }: UsageReaderOptions) {
  const seen = new LRUCache<string, Target>({ max: 500 });
  let lastSeen: Target | undefined;
  const creditCache = new LRUCache<string, number>({ max: 10_000, ttl: 1_000 });

  function saw(target: Target): void {
    if (target === lastSeen) return;
    lastSeen = target;
    seen.set(target.name, target);
  }

  /** Targets a limit can speak of without a request: those seen, those of the rules, and one per provider. */
  function targets(): Target[] {
    const known = new Map<string, Target>();
    for (const target of [...seen.values(), ...(plan()?.targets() ?? [])]) known.set(target.name, target);
    for (const [providerName, provider] of plan()?.providers ?? []) {
      for (const model of [...provider.models, "*"]) {
        const target = newTarget(providerName, provider, model);
        if (!known.has(target.name)) known.set(target.name, target);
      }
    }
    return [...known.values()];
  }

  async function usage(identity: Identity): Promise<BudgetUsage[]> {
    const time = now();
    const all = targets();
    const out: BudgetUsage[] = [];
    for (const limit of limits) {
      const covered = all.filter((target) => limit.covers(identity, target));
      for (const { unit, amount } of limit.amounts) {
        const counters = new Set(covered.flatMap((target) => limit.counters(unit, identity, target)));
        for (const counter of counters) {
          const entry = await readOne(limit, unit, amount, counter, covered, time);
          // Of a limit per model only the models that were used are worth a line.
          if (counters.size === 1 || entry.used > 0 || entry.held > 0) out.push(entry);
        }
      }
    }
    return out;
  }

  async function readOne(
    limit: CompiledLimit,
    unit: Unit,
    amount: number,
    counter: string,
    covered: readonly Target[],
    time: number,
  ): Promise<BudgetUsage> {
    const { from, bucket, step } = limit.span(unit, time);
    const models = breakdown && unit !== "concurrent" ? covered.filter(({ model }) => model !== "*") : [];
    const refs = [counter, ...models.map((target) => partOf(counter, target))];
    const [state, ...parts] = await store.usage(refs.map((name) => ({ counter: name, from, bucket, step })));
    const released = unit === "concurrent" ? { amount, until: undefined } : limit.released(amount, time);
    const credit = limit.per === "lifetime" ? await readCredit(counter) : 0;
    const opensAt = limit.per === "lifetime" ? undefined : released.until;
    const byModel: Record<string, number> = {};
    for (const [index, part] of parts.entries()) {
      if (part.used > 0) byModel[models[index]!.name] = inUnit(unit, part.used);
    }
    return {
      ...shown(limit, unit, released.amount + credit, state!, opensAt),
      ...(Object.keys(byModel).length > 0 && { byModel }),
    };
  }

  async function readCredit(counter: string): Promise<number> {
    const { from, bucket, step } = lifetimeWindow();
    const [state] = await store.usage([{ counter: creditCounter(counter), from, bucket, step }]);
    return state?.used ?? 0;
  }

  /** Top-ups of all prepaid counters of an attempt; read again after a second. A store that is away adds nothing. */
  async function credits(accounts: readonly Account[]): Promise<(counter: string) => number> {
    for (const { limit, counter } of accounts) {
      if (limit.per !== "lifetime" || creditCache.has(counter)) continue;
      try {
        creditCache.set(counter, await inTime(readCredit(counter)));
      } catch {
        // The reservation that follows decides what a missing store means.
      }
    }
    return (counter) => creditCache.get(counter) ?? 0;
  }

  async function credit(limit: CompiledLimit, identity: Identity, amount: number, id: string): Promise<void> {
    const target = targets().find((each) => limit.covers(identity, each));
    if (!target) throw new TypeError(`budget.topUp: "${limit.name}" does not cover this identity`);
    const holds: Hold[] = [];
    const actual = new Map<string, number>();
    for (const { unit } of limit.amounts) {
      if (unit === "concurrent") continue;
      for (const counter of limit.counters(unit, identity, target)) {
        const name = creditCounter(counter);
        holds.push({ counter: name, ...lifetimeWindow(), fixed: 0, perUnit: 0, limit: null });
        actual.set(name, Math.round(unit === "usd" ? amount * NANO : amount));
        creditCache.delete(counter);
      }
    }
    // A settle of an unknown id charges exactly once.
    await store.settle({ id: `topup:${id}`, actual, holds });
  }

  return { usage, credits, credit, saw };
}
