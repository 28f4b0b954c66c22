import { calcPrice, findProvider } from "@pydantic/genai-prices";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Target } from "../../src/core/provider.ts";
import type { Usage } from "../../src/core/usage.ts";
import { priceOf } from "../../src/prices/index.ts";

type Vendor = NonNullable<ReturnType<typeof findProvider>>;

// Those of the built-in providers, one with prices per request, and one with prices by the time of day.
const vendors = ["anthropic", "google", "mistral", "openai", "perplexity", "deepseek"].map(
  (providerId) => findProvider({ providerId })!,
);

const usages: Usage[] = [
  { inputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens: 0 },
  { inputTokens: 317, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens: 101 },
  { inputTokens: 1_234_567, cacheReadTokens: 0, cacheWriteTokens: 0, outputTokens: 65_433 },
  { inputTokens: 8_191, cacheReadTokens: 4_097, cacheWriteTokens: 1_013, outputTokens: 7 },
  { inputTokens: 300_001, cacheReadTokens: 250_003, cacheWriteTokens: 17, outputTokens: 911 },
  // Both sides of the tiers.
  { inputTokens: 128_000, cacheReadTokens: 1, cacheWriteTokens: 0, outputTokens: 1 },
  { inputTokens: 200_000, cacheReadTokens: 1, cacheWriteTokens: 0, outputTokens: 1 },
  { inputTokens: 200_001, cacheReadTokens: 1, cacheWriteTokens: 0, outputTokens: 1 },
  { inputTokens: 272_001, cacheReadTokens: 0, cacheWriteTokens: 3, outputTokens: 1 },
  // More of the cache than of the input.
  { inputTokens: 100, cacheReadTokens: 150, cacheWriteTokens: 20, outputTokens: 1 },
  { inputTokens: 100, cacheReadTokens: 60, cacheWriteTokens: 70, outputTokens: 1 },
];

function targetOf(vendor: Vendor, model: string): Target {
  return { providerName: "p", provider: { priceId: vendor.id }, model, name: `p/${model}` } as Target;
}

/** What the price library itself makes of it. */
function asked(vendor: Vendor, model: string, usage: Usage): number | null {
  const read = Math.min(usage.cacheReadTokens, usage.inputTokens);
  const counts = {
    input_tokens: usage.inputTokens,
    cache_read_tokens: read,
    cache_write_tokens: Math.min(usage.cacheWriteTokens, usage.inputTokens - read),
    output_tokens: usage.outputTokens,
  };
  try {
    const found = calcPrice(counts, model, { provider: vendor });
    return found && Math.ceil(found.total_price * 1e9 - 1e-3);
  } catch {
    return null;
  }
}

function modelWith(constraint: string): { vendor: Vendor; model: string; at: number } {
  for (const vendor of vendors) {
    for (const { id, prices } of vendor.models) {
      if (!Array.isArray(prices)) continue;
      const found = prices.find((price) => price.constraint?.type === constraint)?.constraint;
      if (found?.type === "start_date") return { vendor, model: id, at: Date.parse(found.start_date) };
      if (found) return { vendor, model: id, at: Date.parse(`2026-11-02T${found.start_time}`) };
    }
  }
  throw new Error(`the price data has no ${constraint}`);
}

afterEach(() => {
  vi.useRealTimers();
});

describe("listed prices", () => {
  test.each(vendors)("$id: every model costs what the price library says", (vendor) => {
    for (const { id } of vendor.models) {
      const target = targetOf(vendor, id);
      const ours = usages.map((usage) => priceOf(target, usage));
      const theirs = usages.map((usage) => asked(vendor, id, usage));
      expect(ours, id).toEqual(theirs);
    }
  });

  test.each(["start_date", "time_of_date"])("a price with a %s is the one of the moment", async (constraint) => {
    const { vendor, model, at } = modelWith(constraint);
    const target = targetOf(vendor, model);
    const seen = new Set<number | null>();
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.resetModules();
    const { priceOf } = await import("../../src/prices/index.ts");
    for (const minutes of [-24 * 60, -1, 0, 1, 24 * 60]) {
      vi.setSystemTime(at + minutes * 60_000);
      // Large: some prices changed for such inputs alone.
      const price = priceOf(target, usages[4]!);
      expect(price).toBe(asked(vendor, model, usages[4]!));
      seen.add(price);
    }
    expect(seen.size).toBe(2);
  });

  test("counts that are no counts have no price", () => {
    const target = targetOf(vendors[0]!, "claude-sonnet-4-5");
    for (const inputTokens of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(priceOf(target, { ...usages[0]!, inputTokens })).toBe(null);
    }
  });

  test("a model the data does not know has no price, nor has a vendor", () => {
    expect(priceOf(targetOf(vendors[0]!, "no-such-model"), usages[1]!)).toBe(null);
    expect(priceOf(targetOf({ id: "no-such-vendor" } as Vendor, "m"), usages[1]!)).toBe(null);
  });

  test("the name that the provider returned comes before the one that was asked for", () => {
    const target = targetOf(vendors[0]!, "claude-sonnet-4-5");
    expect(priceOf(target, usages[1]!, "claude-haiku-4-5")).toBe(asked(vendors[0]!, "claude-haiku-4-5", usages[1]!));
    expect(priceOf(target, usages[1]!, "no-such-model")).toBe(priceOf(target, usages[1]!));
  });
});
