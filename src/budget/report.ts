import type { CounterState, ReserveResult } from "../core/budget-store.ts";
import { GatewayError } from "../core/errors.ts";
import { type Target, targetName } from "../core/provider.ts";
import { NANO } from "../prices/index.ts";
import type { Demand } from "./demand.ts";
import type { CompiledLimit, Unit } from "./limits.ts";

/** One counter of a limit, as users see it. */
export interface BudgetUsage {
  limit: string;
  unit: Unit;
  /** In the unit; US dollars for `usd`. */
  amount: number;
  used: number;
  /** Reserved by running requests. */
  held: number;
  remaining: number;
  /** ISO time at which the window ends; `null` for a lifetime limit. */
  resetsAt: string | null;
}

const WORDS: Record<Unit, string> = {
  tokens: "tokens",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  requests: "requests",
  usd: "US dollars",
};

const inUnit = (unit: Unit, amount: number) => (unit === "usd" ? amount / NANO : amount);
const figure = (unit: Unit, amount: number) =>
  unit === "usd" ? `$${(amount / NANO).toFixed(4)}` : amount.toLocaleString("en-US");

export function shown(
  limit: CompiledLimit,
  unit: Unit,
  amount: number,
  state: CounterState,
  until: number,
): BudgetUsage {
  return {
    limit: limit.name,
    unit,
    amount: inUnit(unit, amount),
    used: inUnit(unit, state.used),
    held: inUnit(unit, state.held),
    remaining: inUnit(unit, Math.max(0, amount - state.used - state.held)),
    resetsAt: limit.per === "lifetime" ? null : new Date(until).toISOString(),
  };
}

/** The error of a spent budget, in words a user can act on. Of several, the one that opens last decides when. */
export function refusal(
  demands: readonly Demand[],
  denied: Extract<ReserveResult, { ok: false }>["denied"],
  target: Target,
  now: number,
): GatewayError {
  const state = denied.reduce((latest, each) => (each.until > latest.until ? each : latest));
  const { limit, unit, hold } = demands.find((each) => each.hold.counter === state.counter)!;
  const usage = shown(limit, unit, hold.limit ?? 0, state, hold.until);
  const lines = [
    `Budget "${limit.name}" is spent for ${targetName(target)}:`,
    `${figure(unit, state.used)} of ${figure(unit, hold.limit ?? 0)} ${WORDS[unit]} used,`,
    ...(state.held > 0 ? [`${figure(unit, state.held)} held by running requests,`] : []),
    `${figure(unit, state.needed)} needed.`,
    ...(usage.resetsAt ? [`It opens again at ${usage.resetsAt}.`] : []),
  ];
  return new GatewayError("budget_exceeded", lines.join(" "), {
    provider: target.providerName,
    retryable: false,
    retryAfterSeconds: usage.resetsAt ? Math.max(1, Math.ceil((hold.until - now) / 1_000)) : undefined,
    details: { ...usage, needed: inUnit(unit, state.needed) },
    ladder: denied.some((each) => stops(demands, each.counter)) ? "stop" : "next",
  });
}

function stops(demands: readonly Demand[], counter: string): boolean {
  return demands.find(({ hold }) => hold.counter === counter)?.limit.onExceeded === "deny";
}

/** `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers) of the counter that is nearest to its end. */
export function rateLimitHeaders(
  demands: readonly Demand[],
  states: readonly CounterState[],
  now: number,
): Record<string, string> {
  let tightest: { demand: Demand; left: number } | undefined;
  for (const [index, demand] of demands.entries()) {
    const { limit } = demand.hold;
    const state = states[index];
    if (!limit || !state) continue;
    const left = Math.max(0, limit - state.used - state.held);
    if (!tightest || left / limit < tightest.left / tightest.demand.hold.limit!) tightest = { demand, left };
  }
  if (!tightest) return {};
  const { limit, unit, hold } = tightest.demand;
  const name = `"${limit.name.replace(/[^\x20-\x7e]|["\\]/g, "_")}"`;
  const reset = limit.per === "lifetime" ? "" : `;t=${Math.max(0, Math.ceil((hold.until - now) / 1_000))}`;
  return {
    "ratelimit-policy": `${name};q=${inUnit(unit, hold.limit!)};qu="${unit}"`,
    ratelimit: `${name};r=${inUnit(unit, tightest.left)}${reset}`,
  };
}
