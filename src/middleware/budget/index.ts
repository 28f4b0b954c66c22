import { LRUCache } from "lru-cache";
import { z } from "zod";
import { grant } from "../../budget/arithmetic.ts";
import { type Demand, demandsOf } from "../../budget/demand.ts";
import { boundInput } from "../../budget/estimate.ts";
import { type CompiledLimit, compileLimit, type Unit } from "../../budget/limits.ts";
import { type BudgetUsage, rateLimitHeaders, refusal, shown } from "../../budget/report.ts";
import type { CounterState, Hold, ReserveResult, SettleRequest } from "../../core/budget-store.ts";
import { GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange, Identity, Outcome } from "../../core/exchange.ts";
import {
  defineMiddleware,
  type Foresight,
  type GatewayPlan,
  type Middleware,
  type Next,
} from "../../core/middleware.ts";
import type { Target } from "../../core/provider.ts";
import type { Reply } from "../../core/reply.ts";
import type { Usage } from "../../core/usage.ts";
import { priceOf } from "../../prices/index.ts";
import { memoryStore } from "../../stores/memory.ts";
import { Ledger, StoreUnavailable } from "./ledger.ts";
import { type BudgetOptions, budgetOptions } from "./options.ts";
import { grantable, outputOf } from "./output.ts";
import { usageReader } from "./usage.ts";
import { warner } from "./warnings.ts";

export { type BudgetOptions, type BudgetWarning, budgetFileOptions } from "./options.ts";

export interface TopUp {
  /** Name of a `lifetime` limit. */
  limit: string;
  /** In the limit's unit; US dollars for `usd`. */
  amount: number;
  /** Which counter, for limits with `by`. */
  identity?: Identity;
  /** The same id counts once: the payment's number. */
  id: string;
}

export type BudgetMiddleware = {
  /** What an identity has used and what remains, for every limit in force on it. */
  usage(identity: Identity): Promise<BudgetUsage[]>;
  /** Adds to a prepaid limit, at once and for good. */
  topUp(payment: TopUp): Promise<void>;
} & Middleware;

/**
 * Hard caps: reserves what an attempt may cost, in one atomic call to the store, before the upstream sees it, and
 * settles what it did cost. Where less is left than was asked for, the output is bounded to what is left and that
 * bound is sent upstream; where too little is left, the attempt is refused and the router tries the next target.
 */
export function budget(given: BudgetOptions): BudgetMiddleware {
  const parsed = budgetOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`budget: ${z.prettifyError(parsed.error)}`);
  const { store, ...options } = parsed.data;
  const limits = options.limits.map((limit, index) => {
    try {
      return compileLimit(limit);
    } catch (error) {
      throw new TypeError(`budget: limits[${index}].timeZone: ${(error as Error).message}`, { cause: error });
    }
  });
  const twice = limits.find((limit, index) => limits.findIndex((other) => other.name === limit.name) !== index);
  if (twice) throw new TypeError(`budget: two limits are named "${twice.name}"`);

  const requestLimits = limits.filter(namesNoTarget).flatMap(({ usd: _, ...limit }) => {
    const amounts = limit.amounts.filter(({ unit }) => unit === "requests");
    return amounts.length > 0 ? [{ ...limit, amounts }] : [];
  });

  // Configured: options and limits. Per gateway: the plan. Per request: what the ledger keeps.
  let plan: GatewayPlan | undefined;
  let clockOffset = 0;
  const now = () => (plan ? plan.now() : Date.now()) + clockOffset;
  const ledger = new Ledger(store, { timeoutMs: options.storeTimeoutMs, ttlMs: options.holdTtlMs, now });
  const local = limits.some((limit) => limit.onStoreError === "local") ? memoryStore({ now }) : undefined;
  const remaining = new LRUCache<string, number>({ max: 10_000 });
  const bias = new LRUCache<string, number>({ max: 1_000 });
  const reader = usageReader({
    store,
    limits,
    now,
    breakdown: options.breakdown,
    plan: () => plan,
    inTime: (answer) => ledger.inTime(answer),
  });
  const warn = warner({ store, now, onWarning: options.onWarning, ttlMs: options.holdTtlMs });
  let drains = 0;

  /** What an attempt has to reserve; `undefined` where no limit covers it. */
  async function claimOf(exchange: Exchange) {
    // Models are listed and tokens counted for nothing.
    if (exchange.operation !== "chat" && exchange.operation !== "embeddings") return undefined;
    const target = exchange.target!;
    const covering = limits.filter((limit) => limit.covers(exchange.identity, target));
    if (covering.length === 0) return undefined;

    const inputTokens = estimate(exchange, target);
    const time = now();
    const prepaid = covering.some(({ per }) => per === "lifetime");
    const credits = prepaid ? await reader.credits(covering, exchange.identity, target) : NO_CREDITS;
    const demands = demandsOf(covering, exchange.identity, target, inputTokens, time, credits);
    if (demands.length === 0) return undefined;

    const { asked, choices } = outputOf(exchange, target, options.defaultMaxTokens);
    const want = grantable(asked, choices, demands, remaining, options.maxShare);
    const min = Math.min(want, options.minGrant * choices);
    return { target, covering, demands, inputTokens, time, choices, want, min };
  }

  /** What an attempt would find: how its limits stand, and whether they have room for it. */
  async function foresee(exchange: Exchange): Promise<Foresight> {
    try {
      const claim = await claimOf(exchange);
      if (!claim) return {};
      const { demands, target, time, choices, want, min } = claim;
      const holds = demands.map(({ hold }) => hold);
      const states = await ledger.inTime(store.usage(holds));
      const seen = demands.map(({ limit, unit, hold, opensAt }, index) =>
        shown(limit, unit, hold.limit ?? 0, states[index]!, opensAt),
      );
      const room = grant(holds, states, want, min);
      if (!room.ok) {
        const denied = room.denied.map((index) => ({
          ...holds[index]!,
          ...states[index]!,
          limit: holds[index]!.limit,
          needed: holds[index]!.fixed + min * holds[index]!.perUnit,
        }));
        return { limits: seen, refused: refusal(demands, denied, target, { now: time, status: options.status }) };
      }
      if (holds.some(({ perUnit }) => perUnit > 0)) exchange.grantedTokens = Math.floor(room.granted / choices);
      return { limits: seen };
    } catch (error) {
      return { refused: toGatewayError(error) };
    }
  }

  async function attempt(exchange: Exchange, next: Next): Promise<Reply> {
    const claim = await claimOf(exchange);
    if (!claim) return next(exchange);
    const { target, covering, demands, inputTokens, time, choices, want, min } = claim;
    const breakdown = reader.breakdownHolds(demands, target);
    const request = {
      id: `${exchange.id}:${exchange.attempt}`,
      fingerprint: `${target.name}/${want}`,
      holds: [...demands.map(({ hold }) => hold), ...breakdown.filter((hold) => hold !== undefined)],
      want,
      min,
      onExpire: options.onExpire,
    } as const;
    let away = false;
    const result = await ledger.reserve(request).catch((error: unknown) => {
      if (!(error instanceof StoreUnavailable)) throw error;
      away = true;
      return withoutStore(covering, demands, request, error, target);
    });
    if (result && !result.ok) throw refusal(demands, result.denied, target, { now: time, status: options.status });
    if (result) granted(exchange, demands, result, choices, time);
    // What the store does not hold cannot be renewed there, and is not lost when it comes back.
    if (!away) ledger.keepAlive(request.id, exchange);
    if (options.onDisconnect === "drain") exchange.mayDrain = () => startDrain(exchange);
    exchange.onFinish((outcome) => finish(exchange, target, demands, breakdown, request, outcome, inputTokens));
    return next(exchange);
  }

  /** An answer that no target gave costs no tokens and no money; it is one request, for limits that name no target. */
  async function hit(exchange: Exchange): Promise<void> {
    const covering = requestLimits.filter((limit) => limit.covers(exchange.identity, NOBODY));
    if (covering.length === 0) return;
    const time = now();
    const prepaid = covering.some(({ per }) => per === "lifetime");
    const credits = prepaid ? await reader.credits(covering, exchange.identity, NOBODY) : NO_CREDITS;
    const demands = demandsOf(covering, exchange.identity, NOBODY, 0, time, credits);
    const holds = demands.map(({ hold }) => hold);
    const request = { id: `${exchange.id}:0`, fingerprint: "hit", holds, want: 0, min: 0, onExpire: "charge" } as const;
    const result = await ledger.reserve(request).catch((error: unknown) => {
      if (!(error instanceof StoreUnavailable)) throw error;
      return withoutStore(covering, demands, request, error, NOBODY);
    });
    if (result && !result.ok) throw refusal(demands, result.denied, NOBODY, { now: time, status: options.status });
    if (result) exchange.addResponseHeaders(rateLimitHeaders(demands, result.after, time));
    const actual = new Map(holds.map(({ counter }) => [counter, 1]));
    local?.settle({ id: request.id, actual, holds });
    ledger.settle({ id: request.id, actual, holds });
    warn(exchange, demands);
  }

  function granted(
    exchange: Exchange,
    demands: readonly Demand[],
    result: ReserveResult & { ok: true },
    choices: number,
    time: number,
  ) {
    if (plan && store.traits.clock === "store") clockOffset = result.now - plan.now();
    remember(result.after);
    if (demands.some(({ hold }) => hold.perUnit > 0)) exchange.grantedTokens = Math.floor(result.granted / choices);
    exchange.addResponseHeaders(rateLimitHeaders(demands, result.after, time));
  }

  /** The store is away: refuse, count locally, or let pass, as the strictest of the limits says. */
  function withoutStore(
    covering: readonly CompiledLimit[],
    demands: readonly Demand[],
    request: Parameters<Ledger["reserve"]>[0],
    error: StoreUnavailable,
    target: Target,
  ): ReserveResult | undefined {
    const strict = covering.find((limit) => limit.onStoreError === "deny");
    if (strict) {
      throw new GatewayError("budget_unavailable", `Limit "${strict.name}" refuses, because ${error.message}`, {
        provider: target.providerName,
        cause: error.cause,
      });
    }
    const counted = demands.filter(({ limit }) => limit.onStoreError === "local");
    if (counted.length === 0 || !local) return undefined;
    const holds = counted.map(({ hold }) => ({ ...hold, limit: Math.floor((hold.limit ?? 0) / options.processes) }));
    return local.reserve({ ...request, holds, ttlMs: options.holdTtlMs });
  }

  function finish(
    exchange: Exchange,
    target: Target,
    demands: readonly Demand[],
    breakdown: readonly (Hold | undefined)[],
    request: Pick<SettleRequest, "id" | "holds">,
    outcome: Outcome,
    inputTokens: number,
  ): void {
    const { id, holds } = request;
    if (outcome.usage) learn(target, inputTokens, outcome.usage);
    const charged = chargeOf(outcome, inputTokens);
    if (!charged) {
      local?.release(id);
      ledger.release(id);
      return;
    }
    const cost = outcome.usage ? (outcome.costNanoUsd ?? null) : priceOf(target, charged, outcome.model);
    const actual = new Map<string, number>();
    for (const [index, { unit, hold }] of demands.entries()) {
      const amount = amountOf(unit, charged, cost);
      actual.set(hold.counter, amount);
      const part = breakdown[index];
      if (part) actual.set(part.counter, amount);
    }
    local?.settle({ id, actual, holds });
    ledger.settle({ id, actual, holds });
    warn(exchange, demands);
  }

  function startDrain(exchange: Exchange): boolean {
    if (drains >= options.maxDrains) return false;
    drains++;
    exchange.onFinish(() => {
      drains--;
    });
    return true;
  }

  function estimate(exchange: Exchange, target: Target): number {
    if (typeof options.estimate === "function") return checkedCount(options.estimate(exchange));
    if (options.estimate === "bound") return boundInput(exchange);
    return Math.ceil(exchange.services.estimateInput(exchange) * 1.2 * (bias.get(target.name) ?? 1));
  }

  /** Learns where a model's tokenizer makes more of our text than we guess: up at once, down slowly. */
  function learn(target: Target, estimated: number, usage: Usage): void {
    if (usage.estimated || estimated <= 0 || options.estimate !== "typical") return;
    const before = bias.get(target.name) ?? 1;
    const ratio = Math.min(16, (usage.inputTokens / estimated) * before);
    bias.set(target.name, Math.max(1, ratio > before ? ratio : before * 0.95 + ratio * 0.05));
  }

  function remember(states: readonly CounterState[]): void {
    for (const { counter, bucket, limit, used, held } of states) {
      if (limit !== null) remaining.set(`${counter}@${bucket}`, Math.max(0, limit - used - held));
    }
  }

  async function topUp({ limit: name, amount, identity = {}, id }: TopUp): Promise<void> {
    const limit = limits.find((each) => each.name === name);
    if (limit?.per !== "lifetime") throw new TypeError(`budget.topUp: "${name}" is not a lifetime limit`);
    await reader.credit(limit, identity, amount, id);
  }

  const middleware = defineMiddleware(
    {
      id: "budget",
      countsAlone: !store.traits.shared,
      needs: ["target"],
      foresee,
      limitNames: limits.map(({ name }) => name),
      setup(given) {
        plan = given;
        for (const limit of limits) checkProviders(limit, given);
      },
      async ready() {
        await ledger.inTime(store.usage([]));
      },
      close: () => ledger.close(),
      onCacheHit: hit,
    },
    attempt,
  );
  return Object.assign(middleware, { usage: reader.usage, topUp });
}

const NO_CREDITS = () => 0;

/** Where an answer comes from that no target gave. Limits that name no target do not look at it. */
const NOBODY = { providerName: "", model: "", name: "" } as Target;

function namesNoTarget({ match, by }: CompiledLimit): boolean {
  const named = [by ?? []].flat();
  return !match?.provider && !match?.model && !named.includes("provider") && !named.includes("model");
}

function checkedCount(count: number): number {
  if (!Number.isFinite(count) || count < 0) {
    throw new GatewayError("internal", "budget: `estimate` must return a count of at least 0");
  }
  return Math.ceil(count);
}

/** A limit on a provider that does not exist would never bite. */
function checkProviders(limit: CompiledLimit, plan: GatewayPlan): void {
  for (const name of [limit.match?.provider ?? []].flat()) {
    if (!name.includes("*") && !plan.providers.has(name)) {
      throw new TypeError(
        `budget.limits "${limit.name}".match.provider: unknown provider "${name}"; known: ${[...plan.providers.keys()].join(", ")}`,
      );
    }
  }
}

/**
 * What an ended attempt is charged: its usage; nothing when nothing was sent or the upstream refused before it began;
 * the input when it broke in a way that the provider may have billed.
 */
function chargeOf(outcome: Outcome, inputTokens: number): Usage | undefined {
  if (outcome.usage) return outcome.usage;
  if (!outcome.billable) return undefined;
  return { inputTokens, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, estimated: true };
}

function amountOf(unit: Unit, usage: Usage, cost: number | null): number {
  switch (unit) {
    case "tokens":
      return usage.inputTokens + usage.outputTokens;
    case "inputTokens":
      return usage.inputTokens;
    case "outputTokens":
      return usage.outputTokens;
    case "requests":
      return 1;
    case "usd":
      return cost ?? 0;
    case "concurrent":
      return 0;
  }
}
