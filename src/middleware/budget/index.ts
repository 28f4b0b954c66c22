import { z } from "zod";
import { type Coverage, coverages, fingerprintOf } from "../../budget/accounts.ts";
import { grant, MAX_HOLDS } from "../../budget/arithmetic.ts";
import { type Demand, demandsOf } from "../../budget/demand.ts";
import { boundInput } from "../../budget/estimate.ts";
import { type CompiledLimit, compileLimit } from "../../budget/limits.ts";
import { addRateLimitHeaders, type BudgetUsage, refusal, shown } from "../../budget/report.ts";
import type { ReserveRequest, ReserveResult } from "../../core/budget-store.ts";
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
import type { MaybePromise } from "../../core/util.ts";
import { priceOf } from "../../prices/index.ts";
import { memoryStore } from "../../stores/memory.ts";
import { actualOf, chargeOf, holdsOf } from "./charge.ts";
import { Ledger, StoreUnavailable } from "./ledger.ts";
import { type BudgetOptions, budgetOptions } from "./options.ts";
import { askedOf, grantable } from "./output.ts";
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

/** What an attempt has to reserve. */
interface Claim {
  readonly target: Target;
  readonly coverage: Coverage;
  readonly demands: readonly Demand[];
  readonly inputTokens: number;
  readonly time: number;
  readonly choices: number;
  readonly want: number;
  readonly min: number;
  /** What it costs depends on how much it may put out. */
  readonly isElastic: boolean;
  /** It is told apart what its target uses. */
  readonly isBrokenDown: boolean;
}

/** What a reservation came to, and for which demands: where the store is away, only those that this process counts. */
interface Reserved {
  readonly result: ReserveResult | undefined;
  readonly demands: readonly Demand[];
  readonly isAway: boolean;
}

type Request = Omit<ReserveRequest, "ttlMs">;

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

  // Configured: options and limits. Per gateway: the plan. Per identity and target: what covers them. Per request: what
  // the ledger keeps.
  let plan: GatewayPlan | undefined;
  const coverageOf = coverages(limits);
  const requestCoverageOf = coverages(requestLimits);
  let clockOffset = 0;
  const now = () => (plan ? plan.now() : Date.now()) + clockOffset;
  const ledger = new Ledger(store, { timeoutMs: options.storeTimeoutMs, ttlMs: options.holdTtlMs, now });
  const local = limits.some((limit) => limit.onStoreError === "local") ? memoryStore({ now }) : undefined;
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

  /** `undefined` where no limit covers the attempt. A promise only where a limit is prepaid. */
  function claimOf(exchange: Exchange): MaybePromise<Claim | undefined> {
    // Models are listed and tokens counted for nothing.
    if (exchange.operation !== "chat" && exchange.operation !== "embeddings") return undefined;
    const coverage = coverageOf(exchange.identity, exchange.target!);
    if (coverage.accounts.length === 0) return undefined;
    if (!coverage.isPrepaid) return newClaim(exchange, coverage, NO_CREDITS);
    return reader.credits(coverage.accounts).then((credits) => newClaim(exchange, coverage, credits));
  }

  function newClaim(exchange: Exchange, coverage: Coverage, credits: (counter: string) => number): Claim | undefined {
    const target = exchange.target!;
    const inputTokens = estimate(exchange, coverage);
    const time = now();
    const demands = demandsOf(coverage, target, inputTokens, time, credits);
    if (demands.length === 0) return undefined;

    const isChat = exchange.operation === "chat";
    const asked = isChat ? askedOf(exchange, coverage, options.defaultMaxTokens) : 0;
    const choices = isChat ? exchange.bounds.choices : 1;
    const want = grantable(asked, choices, demands, options.maxShare);
    const min = Math.min(want, options.minGrant * choices);
    const isElastic = demands.some(({ hold }) => hold.perUnit > 0);
    const isBrokenDown = options.breakdown && demands.length <= MAX_HOLDS / 2;
    return { target, coverage, demands, inputTokens, time, choices, want, min, isElastic, isBrokenDown };
  }

  /** What an attempt would find: how its limits stand, and whether they have room for it. */
  async function foresee(exchange: Exchange): Promise<Foresight> {
    try {
      const claim = await claimOf(exchange);
      if (!claim) return {};
      const { demands, target, time, choices, want, min, isElastic } = claim;
      const holds = demands.map(({ hold }) => hold);
      const states = await ledger.inTime(store.usage(holds));
      const seen = demands.map(({ account: { limit, unit }, hold, opensAt }, index) =>
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
      if (isElastic) exchange.grantedTokens = Math.floor(room.granted / choices);
      return { limits: seen };
    } catch (error) {
      return { refused: toGatewayError(error) };
    }
  }

  // Not async: with a store that answers at once, an attempt waits for nothing before its upstream.
  function attempt(exchange: Exchange, next: Next): Promise<Reply> {
    try {
      const claim = claimOf(exchange);
      if (claim instanceof Promise) return claim.then((found) => attemptFor(found, exchange, next));
      return attemptFor(claim, exchange, next);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  function attemptFor(claim: Claim | undefined, exchange: Exchange, next: Next): Promise<Reply> {
    if (!claim) return next(exchange);
    const { target, coverage, demands, want, min, isBrokenDown } = claim;
    if (isBrokenDown) reader.saw(target);
    const request: Request = {
      id: `${exchange.id}:${exchange.attempt}`,
      fingerprint: fingerprintOf(coverage, want),
      holds: holdsOf(demands, isBrokenDown),
      want,
      min,
      onExpire: options.onExpire,
    };
    const reserved = reserve(claim, request);
    if (reserved instanceof Promise) return reserved.then((found) => begin(exchange, claim, request, found, next));
    return begin(exchange, claim, request, reserved, next);
  }

  function begin(
    exchange: Exchange,
    claim: Claim,
    request: Request,
    { result, demands, isAway }: Reserved,
    next: Next,
  ): Promise<Reply> {
    const { target, time } = claim;
    if (result && !result.ok) throw refusal(demands, result.denied, target, { now: time, status: options.status });
    if (result) granted(exchange, claim, demands, result);
    // What the store does not hold cannot be renewed there, and is not lost when it comes back.
    if (!isAway) ledger.keepAlive(request.id, exchange, time);
    if (options.onDisconnect === "drain") exchange.mayDrain = () => startDrain(exchange);
    exchange.onFinish((outcome) => finish(exchange, claim, request, outcome));
    return next(exchange);
  }

  /** An answer that no target gave costs no tokens and no money; it is one request, for limits that name no target. */
  async function hit(exchange: Exchange): Promise<void> {
    const coverage = requestCoverageOf(exchange.identity, NOBODY);
    const { accounts, isPrepaid } = coverage;
    if (accounts.length === 0) return;
    const time = now();
    const credits = isPrepaid ? await reader.credits(accounts) : NO_CREDITS;
    const demands = demandsOf(coverage, NOBODY, 0, time, credits);
    const holds = demands.map(({ hold }) => hold);
    const request = { id: `${exchange.id}:0`, fingerprint: "hit", holds, want: 0, min: 0, onExpire: "charge" } as const;
    const reserved = await reserve({ target: NOBODY, coverage, demands }, request);
    const { result } = reserved;
    if (result && !result.ok) throw refusal(demands, result.denied, NOBODY, { now: time, status: options.status });
    if (result) addRateLimitHeaders(exchange.responseHeaders, reserved.demands, result.after, time);
    const actual = new Map(holds.map(({ counter }) => [counter, 1]));
    local?.settle({ id: request.id, actual, holds });
    ledger.settle({ id: request.id, actual, holds });
    warn(exchange, demands);
  }

  function granted(
    exchange: Exchange,
    { choices, time, isElastic }: Claim,
    demands: readonly Demand[],
    result: ReserveResult & { ok: true },
  ): void {
    if (plan && store.traits.clock === "store") clockOffset = result.now - plan.now();
    for (let i = 0; i < demands.length; i++) {
      const state = result.after[i];
      if (!state || state.limit === null) continue;
      const { standing } = demands[i]!.account;
      standing.bucket = state.bucket;
      standing.left = Math.max(0, state.limit - state.used - state.held);
    }
    if (isElastic) exchange.grantedTokens = Math.floor(result.granted / choices);
    addRateLimitHeaders(exchange.responseHeaders, demands, result.after, time);
  }

  /** Reserves in the store; at once where that answers at once. */
  function reserve(claim: Pick<Claim, "target" | "coverage" | "demands">, request: Request): MaybePromise<Reserved> {
    const { demands } = claim;
    const away = (error: unknown) => withoutStore(claim, request, error);
    try {
      const answer = ledger.reserve(request);
      if (answer instanceof Promise) return answer.then((result) => ({ result, demands, isAway: false }), away);
      return { result: answer, demands, isAway: false };
    } catch (error) {
      return away(error);
    }
  }

  /** The store is away: refuse, count locally, or let pass, as the strictest of the limits says. */
  function withoutStore(
    { coverage, demands, target }: Pick<Claim, "target" | "coverage" | "demands">,
    request: Request,
    error: unknown,
  ): Reserved {
    if (!(error instanceof StoreUnavailable)) throw error;
    const strict = coverage.limits.find((limit) => limit.onStoreError === "deny");
    if (strict) {
      throw new GatewayError("budget_unavailable", `Limit "${strict.name}" refuses, because ${error.message}`, {
        provider: target.providerName,
        cause: error.cause,
      });
    }
    const counted = demands.filter(({ account }) => account.limit.onStoreError === "local");
    if (counted.length === 0 || !local) return { result: undefined, demands: counted, isAway: true };
    const holds = counted.map(({ hold }) => ({ ...hold, limit: Math.floor((hold.limit ?? 0) / options.processes) }));
    const result = local.reserve({ ...request, holds, ttlMs: options.holdTtlMs });
    return { result, demands: counted, isAway: true };
  }

  function finish(exchange: Exchange, claim: Claim, { id, holds }: Request, outcome: Outcome): void {
    const { target, coverage, demands, inputTokens, isBrokenDown } = claim;
    if (outcome.usage) learn(coverage, inputTokens, outcome.usage);
    const charged = chargeOf(outcome, inputTokens);
    if (!charged) {
      local?.release(id);
      ledger.release(id);
      return;
    }
    const cost = outcome.usage ? (outcome.costNanoUsd ?? null) : priceOf(target, charged, outcome.model);
    const actual = actualOf(demands, isBrokenDown, charged, cost);
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

  function estimate(exchange: Exchange, { tokenizer }: Coverage): number {
    if (typeof options.estimate === "function") return checkedCount(options.estimate(exchange));
    if (options.estimate === "bound") return boundInput(exchange);
    return Math.ceil(exchange.services.estimateInput(exchange) * 1.2 * tokenizer.bias);
  }

  /** Learns where a model's tokenizer makes more of our text than we guess: up at once, down slowly. */
  function learn({ tokenizer }: Coverage, estimated: number, usage: Usage): void {
    if (usage.estimated || estimated <= 0 || options.estimate !== "typical") return;
    const before = tokenizer.bias;
    const ratio = Math.min(16, (usage.inputTokens / estimated) * before);
    tokenizer.bias = Math.max(1, ratio > before ? ratio : before * 0.95 + ratio * 0.05);
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
const NOBODY = { providerName: "", model: "", name: "", provider: { capabilities: () => ({}) } } as unknown as Target;

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
