import type { Hold } from "../core/budget-store.ts";
import { GatewayError } from "../core/errors.ts";
import type { Identity } from "../core/exchange.ts";
import type { Target } from "../core/provider.ts";
import { priceOf } from "../prices/index.ts";
import { type CompiledLimit, costOf, type Prospect, type Unit } from "./limits.ts";

/** What one attempt asks of one counter, and which limit asks it. */
export interface Demand {
  limit: CompiledLimit;
  unit: Unit;
  hold: Hold;
  /** Epoch ms at which there is more again; `undefined` when no time brings it. */
  opensAt: number | undefined;
}

/**
 * Everything an attempt at a target has to reserve. `credits` are top-ups of prepaid counters.
 * @throws GatewayError `budget_exceeded` when a money limit covers a target without a known price
 */
export function demandsOf(
  limits: readonly CompiledLimit[],
  identity: Identity,
  target: Target,
  inputTokens: number,
  now: number,
  credits: (counter: string) => number,
): Demand[] {
  // Prices are looked up only where money is what is limited.
  const priced = limits.some((limit) => limit.usd !== undefined);
  const prospect = priced
    ? prospectOf(target, inputTokens)
    : { inputTokens, inputNano: null, nanoPerOutputToken: null };
  const demands: Demand[] = [];
  for (const limit of limits) {
    for (const { unit, amount } of limit.amounts) {
      const span = limit.span(unit, now);
      const released = unit === "concurrent" ? { amount, until: span.until } : limit.released(amount, now);
      const opensAt = unit === "concurrent" || limit.per === "lifetime" ? undefined : released.until;
      const cost = costOf(unit, prospect);
      if (!cost) {
        if (limit.unknownPrice === "allow") continue;
        throw new GatewayError(
          "budget_exceeded",
          `Limit "${limit.name}" is in US dollars and the price of ${target.name} is unknown. Set \`price\` on the provider`,
          {
            provider: target.providerName,
            ladder: limit.onExceeded === "deny" ? "stop" : "next",
            details: { limit: limit.name, unit, reason: "unknown_price" },
          },
        );
      }
      for (const counter of new Set(limit.counters(unit, identity, target))) {
        const extra = limit.per === "lifetime" ? credits(counter) : 0;
        // What costs nothing is counted, but never stopped: a free model stays open when the money is spent.
        const free = cost.fixed === 0 && cost.perUnit === 0;
        const bound = free ? null : released.amount + extra;
        demands.push({ limit, unit, opensAt, hold: { counter, ...span, ...cost, limit: bound } });
      }
    }
  }
  return demands;
}

function prospectOf(target: Target, inputTokens: number): Prospect {
  const none = { cacheReadTokens: 0, cacheWriteTokens: 0 };
  const inputNano = priceOf(target, { inputTokens, outputTokens: 0, ...none });
  const withOutput = priceOf(target, { inputTokens, outputTokens: 1_000_000, ...none });
  return {
    inputTokens,
    inputNano,
    nanoPerOutputToken:
      inputNano === null || withOutput === null ? null : Math.ceil((withOutput - inputNano) / 1_000_000),
  };
}
