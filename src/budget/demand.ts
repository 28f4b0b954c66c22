import type { Hold } from "../core/budget-store.ts";
import { GatewayError } from "../core/errors.ts";
import type { Target } from "../core/provider.ts";
import { priceOf } from "../prices/index.ts";
import type { Account, Coverage } from "./accounts.ts";
import { type CompiledLimit, costOf, type Prospect } from "./limits.ts";

/** What one attempt asks of one counter. */
export interface Demand {
  account: Account;
  hold: Hold;
  /** Epoch ms at which there is more again; `undefined` when no time brings it. */
  opensAt: number | undefined;
}

/**
 * Everything an attempt at a target has to reserve. `credits` are top-ups of prepaid counters.
 * @throws GatewayError `budget_exceeded` when a money limit covers a target without a known price
 */
export function demandsOf(
  { accounts, isPriced }: Coverage,
  target: Target,
  inputTokens: number,
  now: number,
  credits: (counter: string) => number,
): Demand[] {
  // Prices are looked up only where money is what is limited.
  const prospect = isPriced
    ? prospectOf(target, inputTokens)
    : { inputTokens, inputNano: null, nanoPerOutputToken: null };
  const demands: Demand[] = [];
  for (const account of accounts) {
    const { limit, unit, counter } = account;
    const cost = costOf(unit, prospect);
    if (!cost) {
      if (limit.unknownPrice === "allow") continue;
      throw unknownPrice(limit, target);
    }
    const { bucket, from, step, until } = limit.span(unit, now);
    const { fixed, perUnit } = cost;
    let bound = account.amount;
    let opensAt: number | undefined;
    if (unit !== "concurrent") {
      if (limit.pace !== undefined) ({ amount: bound, until: opensAt } = limit.released(bound, now));
      else if (limit.per === "lifetime") bound += credits(counter);
      else opensAt = until;
    }
    // What costs nothing is counted, but never stopped: a free model stays open when the money is spent.
    const isFree = fixed === 0 && perUnit === 0;
    const hold = { counter, bucket, from, step, until, fixed, perUnit, limit: isFree ? null : bound };
    demands.push({ account, hold, opensAt });
  }
  return demands;
}

function prospectOf(target: Target, inputTokens: number): Prospect {
  const usage = { inputTokens, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  const inputNano = priceOf(target, usage);
  usage.outputTokens = 1_000_000;
  const withOutput = priceOf(target, usage);
  return {
    inputTokens,
    inputNano,
    nanoPerOutputToken:
      inputNano === null || withOutput === null ? null : Math.ceil((withOutput - inputNano) / 1_000_000),
  };
}

function unknownPrice({ name, onExceeded }: CompiledLimit, { name: target, providerName }: Target): GatewayError {
  return new GatewayError(
    "budget_exceeded",
    `Limit "${name}" is in US dollars and the price of ${target} is unknown. Set \`price\` on the provider`,
    {
      provider: providerName,
      ladder: onExceeded === "deny" ? "stop" : "next",
      details: { limit: name, unit: "usd", reason: "unknown_price" },
    },
  );
}
