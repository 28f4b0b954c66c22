import type { Demand } from "../../budget/demand.ts";
import type { Unit } from "../../budget/limits.ts";
import type { Hold, Units } from "../../core/budget-store.ts";
import type { Outcome } from "../../core/exchange.ts";
import type { Usage } from "../../core/usage.ts";

/** The demands' holds and, where it is told apart what each target uses, one more for each that only counts. */
export function holdsOf(demands: readonly Demand[], isBrokenDown: boolean): Hold[] {
  const holds: Hold[] = [];
  for (const { hold } of demands) holds.push(hold);
  if (!isBrokenDown) return holds;
  for (const { account, hold } of demands) {
    if (account.unit === "concurrent") continue;
    const { bucket, from, step, until } = hold;
    // It is the same as long as the window is.
    if (account.part.bucket !== bucket) account.part = { ...account.part, bucket, from, step, until };
    holds.push(account.part);
  }
  return holds;
}

/**
 * What an ended attempt is charged: its usage; nothing when nothing was sent or the upstream refused before it began;
 * the input when it broke in a way that the provider may have billed.
 */
export function chargeOf(outcome: Outcome, inputTokens: number): Usage | undefined {
  if (outcome.usage) return outcome.usage;
  if (!outcome.billable) return undefined;
  return { inputTokens, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, estimated: true };
}

/** What that is on each counter. `cost` is in nano-dollars. */
export function actualOf(
  demands: readonly Demand[],
  isBrokenDown: boolean,
  charged: Usage,
  cost: number | null,
): Map<string, Units> {
  const actual = new Map<string, Units>();
  for (const { account } of demands) {
    const { unit, counter, part } = account;
    const amount = amountOf(unit, charged, cost);
    actual.set(counter, amount);
    if (isBrokenDown && unit !== "concurrent") actual.set(part.counter, amount);
  }
  return actual;
}

function amountOf(unit: Unit, usage: Usage, cost: number | null): Units {
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
