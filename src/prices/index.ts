import { calcPrice, findProvider } from "@pydantic/genai-prices";
import { LRUCache } from "lru-cache";
import type { PriceOverride, Target } from "../core/provider.ts";
import type { Usage } from "../core/usage.ts";

/** Money is whole nano-dollars: 1 USD = 1e9. */
export const NANO = 1_000_000_000;

/** Targets without a known price, so that the price data is not searched again for each request. */
const unknown = new LRUCache<string, true>({ max: 1_000 });

/**
 * What a usage costs at a target, in nano-dollars, rounded up once. Overrides of the provider come first, then the
 * price data under the name the provider returned. `null` = unknown, which is not zero.
 */
export function priceOf(target: Target, usage: Usage, responseModel?: string): number | null {
  const override = overrideFor(target);
  if (override === "free") return 0;
  if (override) {
    const { input, output, cacheRead = input, cacheWrite = input } = override;
    const plain = Math.max(0, usage.inputTokens - usage.cacheReadTokens - usage.cacheWriteTokens);
    // USD per million tokens is nano-dollars per thousandth token: × 1,000.
    const nano =
      1_000 *
      (plain * input +
        usage.cacheReadTokens * cacheRead +
        usage.cacheWriteTokens * cacheWrite +
        usage.outputTokens * output);
    return Math.ceil(nano - 1e-3);
  }
  const providerId = target.provider.priceId;
  if (!providerId) return null;
  return (
    listed(providerId, responseModel ?? target.model, usage) ??
    (responseModel ? listed(providerId, target.model, usage) : null)
  );
}

function overrideFor(target: Target): PriceOverride | undefined {
  const price = target.provider.price;
  if (price === undefined || price === "free") return price;
  if (typeof (price as { input?: unknown }).input === "number") return price as PriceOverride;
  const byModel = price as Readonly<Record<string, PriceOverride>>;
  return Object.hasOwn(byModel, target.model) ? byModel[target.model] : byModel["*"];
}

function listed(providerId: string, model: string, usage: Usage): number | null {
  const vendor = vendorOf(providerId);
  if (!vendor) return null;
  const key = `${providerId}/${model}`;
  if (unknown.has(key)) return null;
  try {
    const found = calcPrice(
      {
        input_tokens: usage.inputTokens,
        cache_read_tokens: Math.min(usage.cacheReadTokens, usage.inputTokens),
        cache_write_tokens: Math.min(
          usage.cacheWriteTokens,
          usage.inputTokens - Math.min(usage.cacheReadTokens, usage.inputTokens),
        ),
        output_tokens: usage.outputTokens,
      },
      model,
      { provider: vendor },
    );
    if (found) return Math.ceil(found.total_price * NANO - 1e-3);
  } catch {
    // The price library refuses counts that contradict each other; then the price is unknown.
    return null;
  }
  unknown.set(key, true);
  return null;
}

const vendors = new Map<string, ReturnType<typeof findProvider>>();

/** Found once per vendor; there are as many as built-in providers. */
function vendorOf(providerId: string): ReturnType<typeof findProvider> {
  if (!vendors.has(providerId)) vendors.set(providerId, findProvider({ providerId }));
  return vendors.get(providerId);
}
