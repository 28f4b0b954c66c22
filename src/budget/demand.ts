import type { Hold } from "../core/budget-store.ts";
import { GatewayError } from "../core/errors.ts";
import type { Identity } from "../core/exchange.ts";
import { type Target, targetName } from "../core/provider.ts";
import { priceOf } from "../prices/index.ts";
import { type CompiledLimit, costOf, type Prospect, type Unit } from "./limits.ts";

/** What one attempt asks of one counter, and which limit asks it. */
export interface Demand {
  limit: CompiledLimit;
  unit: Unit;
  hold: Hold;
}

/**
 * Everything an attempt at a target has to reserve.
 * @throws GatewayError `budget_exceeded` when a money limit covers a target without a known price
 */
export function demandsOf(
  limits: readonly CompiledLimit[],
  identity: Identity,
  target: Target,
  inputTokens: number,
  now: number,
): Demand[] {
  const prospect = prospectOf(target, inputTokens);
  const demands: Demand[] = [];
  for (const limit of limits) {
    const span = limit.span(now);
    for (const { unit, amount } of limit.amounts) {
      const cost = costOf(unit, prospect);
      if (!cost) {
        if (limit.unknownPrice === "allow") continue;
        throw new GatewayError(
          "budget_exceeded",
          `Limit "${limit.name}" is in US dollars and the price of ${targetName(target)} is unknown. Set \`price\` on the provider`,
          {
            provider: target.providerName,
            ladder: limit.onExceeded === "deny" ? "stop" : "next",
            details: { limit: limit.name, unit, reason: "unknown_price" },
          },
        );
      }
      for (const counter of new Set(limit.counters(unit, identity, target))) {
        demands.push({ limit, unit, hold: { counter, ...span, ...cost, limit: amount } });
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
