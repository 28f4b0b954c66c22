/** The same traffic against a 100,000-token cap: reserved first, or checked first and charged afterwards. */
import type { BudgetStore, Hold } from "../../src/core/budget-store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { checkThenCharge } from "../../test/simulation/mutants.ts";
import { random } from "../../test/simulation/random.ts";

const CAP = 100_000;
const hold: Hold = { counter: "cap", bucket: 0, from: 0, step: 0, until: 4e15, fixed: 0, perUnit: 1, limit: CAP };

/** What was spent, in % of the cap. */
export async function overspend(inFlight: number): Promise<{ reserved: number; checked: number }> {
  return { reserved: await spend(memoryStore(), inFlight), checked: await spend(checkThenCharge(Date.now), inFlight) };
}

async function spend(store: BudgetStore, inFlight: number): Promise<number> {
  const { below } = random(1);
  let spent = 0;
  let ids = 0;
  const worker = async () => {
    for (let refused = 0; refused < 20; ) {
      const id = `${++ids}`;
      const want = 50 + below(1_500);
      const result = await store.reserve({
        id,
        fingerprint: "f",
        holds: [hold],
        want,
        min: 1,
        ttlMs: 60_000,
        onExpire: "release",
      });
      // The answer takes its time; that is when the others are let in.
      await new Promise((resolve) => setTimeout(resolve, result.ok ? 5 + below(10) : 1));
      if (!result.ok) {
        refused++;
        continue;
      }
      const actual = Math.ceil((result.granted * (30 + below(70))) / 100);
      spent += actual;
      await store.settle({ id, actual: new Map([["cap", actual]]), holds: [hold] });
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (100 * spent) / CAP;
}
