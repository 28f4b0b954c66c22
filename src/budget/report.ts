import type { CounterState, ReserveResult, Units } from "../core/budget-store.ts";
import { GatewayError } from "../core/errors.ts";
import type { Target } from "../core/provider.ts";
import { NANO } from "../prices/index.ts";
import type { HeaderTexts } from "./accounts.ts";
import type { Demand } from "./demand.ts";
import type { CompiledLimit, Unit } from "./limits.ts";

/** One counter of a limit, as users see it. Amounts are in the unit; US dollars for `usd`. */
export interface BudgetUsage {
  limit: string;
  unit: Unit;
  /** What may be used by now: the limit, for a paced one what is released so far, for a prepaid one with its top-ups. */
  amount: number;
  used: number;
  /** Reserved by running requests. */
  held: number;
  remaining: number;
  /** ISO time at which there is more again; `null` when no time brings it. */
  resetsAt: string | null;
  /** What of `used` went where in this window: `{ "mistral/mistral-medium-3-5": 1200 }`. */
  byModel?: Record<string, number>;
}

const WORDS: Record<Unit, string> = {
  tokens: "tokens",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  requests: "requests",
  usd: "US dollars",
  concurrent: "running requests",
};

export const inUnit = (unit: Unit, amount: number) => (unit === "usd" ? amount / NANO : amount);
const figure = (unit: Unit, amount: number) =>
  unit === "usd" ? `$${(amount / NANO).toFixed(4)}` : amount.toLocaleString("en-US");

export function shown(
  limit: CompiledLimit,
  unit: Unit,
  amount: number,
  state: Pick<CounterState, "used" | "held">,
  opensAt: number | undefined,
): BudgetUsage {
  return {
    limit: limit.name,
    unit,
    amount: inUnit(unit, amount),
    used: inUnit(unit, state.used),
    held: inUnit(unit, state.held),
    remaining: inUnit(unit, Math.max(0, amount - state.used - state.held)),
    resetsAt: opensAt === undefined ? null : new Date(opensAt).toISOString(),
  };
}

export interface RefusalOptions {
  now: number;
  /** HTTP status of a spent budget. */
  status: number;
}

/** The error of a spent budget, in words a user can act on. Of several, the one that opens last decides when. */
export function refusal(
  demands: readonly Demand[],
  denied: Extract<ReserveResult, { ok: false }>["denied"],
  target: Target,
  { now, status }: RefusalOptions,
): GatewayError {
  const refused = denied.map((state) => ({
    state,
    demand: demands.find(({ hold }) => hold.counter === state.counter)!,
  }));
  const ladder = refused.some(({ demand }) => demand.account.limit.onExceeded === "deny") ? "stop" : "next";
  const lasting = refused.filter(({ demand }) => demand.account.unit !== "concurrent");
  const opens = ({ demand }: (typeof refused)[number]) => demand.opensAt ?? Number.POSITIVE_INFINITY;
  const { state, demand } = (lasting.length > 0 ? lasting : refused).reduce((a, b) => (opens(b) > opens(a) ? b : a));
  const { account, hold, opensAt } = demand;
  const { limit, unit } = account;
  const usage = shown(limit, unit, hold.limit ?? 0, state, opensAt);
  const details = { ...usage, needed: inUnit(unit, state.needed) };
  const provider = target.providerName;
  if (unit === "concurrent") {
    return new GatewayError(
      "rate_limited",
      `Limit "${limit.name}": ${state.held} of ${hold.limit} requests are running already`,
      { provider, retryAfterSeconds: 1, details, ladder },
    );
  }
  const words = [
    // An answer from a cache has no target.
    `Budget "${limit.name}" is spent${provider ? ` for ${target.name}` : ""}:`,
    `${figure(unit, state.used)} of ${figure(unit, hold.limit ?? 0)} ${WORDS[unit]} used,`,
    ...(state.held > 0 ? [`${figure(unit, state.held)} held by running requests,`] : []),
    `${figure(unit, state.needed)} needed.`,
    ...(usage.resetsAt ? [`It opens again at ${usage.resetsAt}.`] : []),
  ];
  return new GatewayError("budget_exceeded", words.join(" "), {
    provider,
    status,
    retryable: false,
    retryAfterSeconds: opensAt === undefined ? undefined : Math.max(1, Math.ceil((opensAt - now) / 1_000)),
    details,
    ladder,
  });
}

/** How much is left of one counter. */
interface Left {
  readonly demand: Demand;
  readonly left: Units;
  /** Of the limit. */
  readonly share: number;
}

/**
 * Says what is left of the counter that is nearest to its end: `RateLimit` headers
 * (draft-ietf-httpapi-ratelimit-headers) and, for tokens and requests, the `x-ratelimit-*` ones that OpenAI's clients
 * know. `states` are those of the demands.
 */
export function addRateLimitHeaders(
  headers: Record<string, string>,
  demands: readonly Demand[],
  states: readonly CounterState[],
  now: number,
): void {
  let nearest: Left | undefined;
  let requests: Left | undefined;
  let tokens: Left | undefined;
  for (let i = 0; i < demands.length; i++) {
    const demand = demands[i]!;
    const { unit } = demand.account;
    const { limit } = demand.hold;
    const state = states[i];
    if (!limit || !state || unit === "concurrent") continue;
    const left = Math.max(0, limit - state.used - state.held);
    const found: Left = { demand, left, share: left / limit };
    if (isNearer(found, nearest)) nearest = found;
    if (unit === "requests") requests = isNearer(found, requests) ? found : requests;
    else if (unit !== "usd") tokens = isNearer(found, tokens) ? found : tokens;
  }
  if (!nearest) return;
  if (requests) {
    const { amount, reset } = headerTexts(requests.demand, now);
    headers["x-ratelimit-limit-requests"] = amount;
    headers["x-ratelimit-remaining-requests"] = String(requests.left);
    if (reset) headers["x-ratelimit-reset-requests"] = reset;
  }
  if (tokens) {
    const { amount, reset } = headerTexts(tokens.demand, now);
    headers["x-ratelimit-limit-tokens"] = amount;
    headers["x-ratelimit-remaining-tokens"] = String(tokens.left);
    if (reset) headers["x-ratelimit-reset-tokens"] = reset;
  }
  const { name, policy, end } = headerTexts(nearest.demand, now);
  headers["ratelimit-policy"] = policy;
  headers.ratelimit = `${name};r=${inUnit(nearest.demand.account.unit, nearest.left)}${end}`;
}

function isNearer(one: Left, other: Left | undefined): boolean {
  return other === undefined || one.share < other.share;
}

/** Written anew when the limit or the second is another one. */
function headerTexts({ account, hold, opensAt }: Demand, now: number): HeaderTexts {
  const limit = hold.limit!;
  const seconds = opensAt === undefined ? undefined : Math.max(0, Math.ceil((opensAt - now) / 1_000));
  const last = account.texts;
  if (last !== undefined && last.limit === limit && last.seconds === seconds) return last;
  const name = `"${account.limit.name.replace(/[^\x20-\x7e]|["\\]/g, "_")}"`;
  account.texts = {
    limit,
    seconds,
    name,
    amount: String(limit),
    policy: `${name};q=${inUnit(account.unit, limit)};qu="${account.unit}"`,
    reset: seconds === undefined ? "" : duration(seconds),
    end: seconds === undefined ? "" : `;t=${seconds}`,
  };
  return account.texts;
}

/** `6h5m4s`, as OpenAI writes it. */
function duration(seconds: number): string {
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60), seconds % 60];
  return `${h > 0 ? `${h}h` : ""}${h > 0 || m > 0 ? `${m}m` : ""}${s}s`;
}
