import { LRUCache } from "lru-cache";
import { z } from "zod";
import { demandsOf } from "../budget/demand.ts";
import { boundInput } from "../budget/estimate.ts";
import { type CompiledLimit, compileLimit, limitOptions, type Unit } from "../budget/limits.ts";
import { type BudgetUsage, rateLimitHeaders, refusal, shown } from "../budget/report.ts";
import {
  type BudgetStore,
  type CounterState,
  type Hold,
  ReservationLost,
  type ReserveResult,
} from "../core/budget-store.ts";
import { GatewayError } from "../core/errors.ts";
import type { Exchange, Identity, Outcome } from "../core/exchange.ts";
import { defineMiddleware, type GatewayPlan, type Middleware, type Next } from "../core/middleware.ts";
import { type Target, targetName } from "../core/provider.ts";
import type { Usage } from "../core/usage.ts";
import type { MaybePromise } from "../core/util.ts";
import { priceOf } from "../prices/index.ts";

export const budgetFileOptions = z.strictObject({
  limits: z.array(limitOptions),
  estimate: z
    .enum(["typical", "bound"])
    .default("typical")
    .describe("How input is counted before the call: near the truth, or never below it (text only)."),
  defaultMaxTokens: z.int().positive().default(4_096).describe("Bound on the output where caller and model name none."),
  minGrant: z
    .int()
    .positive()
    .default(1_024)
    .describe("Fewest output tokens worth asking for; less is a spent budget."),
  maxShare: z
    .number()
    .gt(0)
    .max(1)
    .default(0.25)
    .describe("Largest part of what remains that one request may reserve, so that others can run beside it."),
  storeTimeoutMs: z.int().positive().default(250),
  holdTtlMs: z.int().positive().default(60_000).describe("After this a crashed process's reservations come back."),
});

const budgetOptions = budgetFileOptions.extend({
  store: z.custom<BudgetStore>(
    (store) => typeof (store as BudgetStore | undefined)?.reserve === "function",
    'a BudgetStore, for example sqliteStore("turnpike.db")',
  ),
  estimate: z.union([
    budgetFileOptions.shape.estimate,
    z.custom<(exchange: Exchange) => number>((f) => typeof f === "function"),
  ]),
});

export type BudgetOptions = z.input<typeof budgetOptions>;

/** Any request may reserve this much output even where it is more than its share of what remains. */
const SHARE_FLOOR = 8_192;
const MAX_OUTBOX = 10_000;

interface Live {
  id: string;
  exchange: Exchange;
  renewedAt: number;
}

export type BudgetMiddleware = Middleware & {
  /** What an identity has used and what remains, for every limit that can be told without a target. */
  usage(identity: Identity): Promise<BudgetUsage[]>;
};

/**
 * Hard caps: reserves what an attempt may cost, in one atomic call to the store, before the upstream sees it, and
 * settles what it did cost. Where less is left than was asked for, the output is bounded to what is left and that
 * bound is sent upstream; where too little is left, the attempt is refused and the router tries the next target.
 */
export function budget(given: BudgetOptions): BudgetMiddleware {
  const parsed = budgetOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`budget: ${z.prettifyError(parsed.error)}`);
  const { store, ...options } = parsed.data;
  const limits = options.limits.map(compileLimit);
  const twice = limits.find((limit, index) => limits.findIndex((other) => other.name === limit.name) !== index);
  if (twice) throw new TypeError(`budget: two limits are named "${twice.name}"`);

  // Configured: options, limits. Per gateway: the plan. Per request: everything in `live`.
  let plan: GatewayPlan | undefined;
  const live = new Map<string, Live>();
  const outbox: (() => MaybePromise<unknown>)[] = [];
  const remaining = new LRUCache<string, number>({ max: 10_000 });
  const bias = new LRUCache<string, number>({ max: 1_000 });
  let keeper: NodeJS.Timeout | undefined;
  let storeOffset = 0;

  const now = () => (plan ? plan.now() : Date.now()) + storeOffset;

  function estimate(exchange: Exchange, target: Target): number {
    if (typeof options.estimate === "function") return checkedCount(options.estimate(exchange));
    if (options.estimate === "bound") return boundInput(exchange);
    return Math.ceil(exchange.services.estimateInput(exchange) * 1.2 * (bias.get(targetName(target)) ?? 1));
  }

  /** Learns where a model's tokenizer makes more of our text than we guess: up at once, down slowly. */
  function learn(target: Target, estimated: number, usage: Usage): void {
    if (usage.estimated || estimated <= 0) return;
    const key = targetName(target);
    const before = bias.get(key) ?? 1;
    const ratio = Math.min(16, (usage.inputTokens / estimated) * before);
    bias.set(key, Math.max(1, ratio > before ? ratio : before * 0.95 + ratio * 0.05));
  }

  async function attempt(exchange: Exchange, next: Next) {
    if (exchange.operation !== "chat") return next(exchange);
    const target = exchange.target!;
    const covering = limits.filter((limit) => limit.covers(exchange.identity, target));
    if (covering.length === 0) return next(exchange);

    const inputTokens = estimate(exchange, target);
    const time = now();
    const demands = demandsOf(covering, exchange.identity, target, inputTokens, time);
    if (demands.length === 0) return next(exchange);
    const holds = demands.map(({ hold }) => hold);

    const { asked, choices } = outputOf(exchange, target, options.defaultMaxTokens);
    const want = wanted(asked * choices, choices, holds);
    const id = `${exchange.id}:${exchange.attempt}`;
    let result: ReserveResult | undefined;
    try {
      result = await withDeadline(
        store.reserve({
          id,
          fingerprint: `${target.providerName}/${target.model}/${want}`,
          holds,
          want,
          min: Math.min(want, options.minGrant * choices),
          ttlMs: options.holdTtlMs,
          onExpire: "release",
        }),
      );
    } catch (error) {
      // Whether it was written is unknown: give back what may have been taken.
      later(() => store.release(id));
      const strict = covering.find((limit) => limit.onStoreError === "deny");
      if (strict) {
        throw new GatewayError(
          "budget_unavailable",
          `The budget store cannot be reached, and limit "${strict.name}" refuses then`,
          {
            provider: target.providerName,
            cause: error,
          },
        );
      }
      return next(exchange);
    }
    if (plan && store.traits.clock === "store") storeOffset = result.now - plan.now();
    if (!result.ok) throw refusal(demands, result.denied, target, time);

    remember(result.after);
    if (holds.some((hold) => hold.perUnit > 0 && hold.limit !== null)) {
      exchange.grantedTokens = Math.floor(result.granted / choices);
    }
    Object.assign(exchange.responseHeaders, rateLimitHeaders(demands, result.after, time));
    live.set(id, { id, exchange, renewedAt: time });
    keeper ??= setInterval(keep, Math.max(250, options.holdTtlMs / 4)).unref();
    exchange.onFinish((outcome) => {
      live.delete(id);
      if (outcome.usage) learn(target, inputTokens, outcome.usage);
      const charged = chargeOf(outcome, inputTokens);
      if (!charged) return later(() => store.release(id));
      const cost = priceOf(target, charged, outcome.model);
      const actual = new Map<string, number>();
      for (const { unit, hold } of demands) actual.set(hold.counter, amountOf(unit, charged, cost));
      later(() => store.settle({ id, actual, holds }));
    });
    return next(exchange);
  }

  /** The share of what remains that this request may reserve; only the store's answer is exact. */
  function wanted(asked: number, choices: number, holds: readonly Hold[]): number {
    let want = asked;
    for (const hold of holds) {
      if (hold.perUnit === 0 || hold.limit === null) continue;
      const room = (remaining.get(`${hold.counter}@${hold.bucket}`) ?? hold.limit) / hold.perUnit;
      want = Math.min(want, Math.max(SHARE_FLOOR * choices, Math.floor(room * options.maxShare)));
    }
    return want;
  }

  function remember(states: readonly CounterState[]): void {
    for (const state of states) {
      if (state.limit !== null) {
        remaining.set(`${state.counter}@${state.bucket}`, Math.max(0, state.limit - state.used - state.held));
      }
    }
  }

  async function withDeadline<T>(answer: MaybePromise<T>): Promise<T> {
    if (!(answer instanceof Promise)) return answer;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`no answer within ${options.storeTimeoutMs} ms`)),
        options.storeTimeoutMs,
      );
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Runs a settle or release; what fails is kept and tried again with the same id, so nothing is lost or doubled. */
  function later(run: () => MaybePromise<unknown>): void {
    const keepForRetry = () => {
      if (outbox.length < MAX_OUTBOX) outbox.push(run);
      keeper ??= setInterval(keep, Math.max(250, options.holdTtlMs / 4)).unref();
    };
    try {
      const answer = run();
      if (answer instanceof Promise) answer.catch(keepForRetry);
    } catch {
      keepForRetry();
    }
  }

  /** Renews what runs long, and retries what failed. One timer for all. */
  function keep(): void {
    const time = now();
    for (const entry of live.values()) {
      if (time - entry.renewedAt < options.holdTtlMs / 2) continue;
      entry.renewedAt = time;
      const lost = (error: unknown) => {
        if (error instanceof ReservationLost || (error as { code?: string }).code === "reservation_lost") {
          entry.exchange.abort(
            new GatewayError("budget_unavailable", "The budget reservation was lost while the answer ran"),
          );
        }
      };
      try {
        const answer = store.renew({ id: entry.id, ttlMs: options.holdTtlMs });
        if (answer instanceof Promise) answer.catch(lost);
      } catch (error) {
        lost(error);
      }
    }
    for (const run of outbox.splice(0)) later(run);
    if (live.size === 0 && outbox.length === 0) {
      clearInterval(keeper);
      keeper = undefined;
    }
  }

  async function usage(identity: Identity): Promise<BudgetUsage[]> {
    const time = now();
    const out: BudgetUsage[] = [];
    for (const limit of limits) {
      for (const target of targetsOf(limit, plan)) {
        if (!limit.covers(identity, target)) continue;
        const span = limit.span(time);
        for (const { unit, amount } of limit.amounts) {
          const counters = limit.counters(unit, identity, target);
          const states = await store.usage(
            counters.map((counter) => ({ counter, from: span.from, bucket: span.bucket, step: span.step })),
          );
          for (const state of states) out.push(shown(limit, unit, amount, state, span.until));
        }
      }
    }
    return out.filter(
      (entry, index) => out.findIndex((other) => JSON.stringify(other) === JSON.stringify(entry)) === index,
    );
  }

  const middleware = defineMiddleware(
    {
      id: "budget",
      needs: ["target"],
      setup(given) {
        plan = given;
        for (const limit of limits) checkProviders(limit, given);
      },
      async close() {
        clearInterval(keeper);
        keeper = undefined;
        for (const run of outbox.splice(0)) {
          try {
            await run();
          } catch {
            // The store is gone; its reservations end by themselves.
          }
        }
        await store.close?.();
      },
    },
    attempt,
  );
  return Object.assign(middleware, { usage });
}

function checkedCount(count: number): number {
  if (!Number.isFinite(count) || count < 0)
    throw new GatewayError("internal", "budget: `estimate` must return a count ≥ 0");
  return Math.ceil(count);
}

/** A limit on a provider that does not exist would never bite. */
function checkProviders(limit: CompiledLimit, plan: GatewayPlan): void {
  const named = limit.match?.provider;
  for (const name of named === undefined ? [] : [named].flat()) {
    if (!name.includes("*") && !plan.providers.has(name)) {
      throw new TypeError(
        `budget.limits "${limit.name}".match.provider: unknown provider "${name}"; known: ${[...plan.providers.keys()].join(", ")}`,
      );
    }
  }
}

/** What the caller asked for, per choice, and how many choices. */
function outputOf(exchange: Exchange, target: Target, fallback: number): { asked: number; choices: number } {
  const { body, dialect } = exchange;
  let asked: number | undefined;
  for (const field of dialect.maxTokensFields) {
    const value = body.member(field);
    if (value === undefined || value === null) continue;
    if (!Number.isSafeInteger(value) || (value as number) < 0) {
      throw new GatewayError("invalid_request", `\`${field}\` must be a whole number`, { param: field });
    }
    asked = Math.min(asked ?? Number.MAX_SAFE_INTEGER, value as number);
  }
  const capabilities = target.provider.capabilities(target.model);
  const bound = Math.min(
    asked ?? capabilities.defaultMaxTokens ?? fallback,
    capabilities.maxOutputTokens ?? Number.MAX_SAFE_INTEGER,
  );
  const n = body.member("n");
  if (n !== undefined && n !== null && (!Number.isSafeInteger(n) || (n as number) < 1 || (n as number) > 128)) {
    throw new GatewayError("invalid_request", "`n` must be a whole number from 1 to 128", { param: "n" });
  }
  return { asked: bound, choices: typeof n === "number" ? n : 1 };
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
  }
}

/** Targets a limit can speak of without a request: each provider it names, or any one where it names none. */
function targetsOf(limit: CompiledLimit, plan: GatewayPlan | undefined): Target[] {
  const needsModel = [limit.by ?? []].flat().includes("model") || limit.match?.model !== undefined;
  const targets: Target[] = [];
  for (const [providerName, provider] of plan?.providers ?? []) {
    for (const model of needsModel ? provider.models : ["*"]) targets.push({ providerName, provider, model });
  }
  return targets;
}
