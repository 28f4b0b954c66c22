import { calcPrice, findProvider, type PriceCalculation } from "@pydantic/genai-prices";
import { LRUCache } from "lru-cache";
import type { PriceOverride, Target } from "../core/provider.ts";
import type { Usage } from "../core/usage.ts";

/** Money is whole nano-dollars: 1 USD = 1e9. */
export const NANO = 1_000_000_000;

/**
 * What a usage costs at a target, in nano-dollars, rounded up once. Overrides of the provider come first, then the
 * price data under the name the provider returned. `null` = unknown, which is not zero.
 */
export function priceOf(target: Target, usage: Usage, responseModel?: string): number | null {
  const override = overrideFor(target);
  if (override === "free") return 0;
  if (override) return overridden(override, usage);
  const vendorId = target.provider.priceId;
  if (!vendorId) return null;
  return (
    listed(vendorId, responseModel ?? target.model, usage) ??
    (responseModel ? listed(vendorId, target.model, usage) : null)
  );
}

function overrideFor(target: Target): PriceOverride | undefined {
  const price = target.provider.price;
  if (price === undefined || price === "free") return price;
  if (typeof (price as { input?: unknown }).input === "number") return price as PriceOverride;
  const byModel = price as Readonly<Record<string, PriceOverride>>;
  return Object.hasOwn(byModel, target.model) ? byModel[target.model] : byModel["*"];
}

function overridden(price: Exclude<PriceOverride, "free">, usage: Usage): number {
  const { input, output, cacheRead = input, cacheWrite = input } = price;
  const { inputTokens, cacheReadTokens, cacheWriteTokens, outputTokens } = usage;
  const plain = Math.max(0, inputTokens - cacheReadTokens - cacheWriteTokens);
  return toNano(plain * input + cacheReadTokens * cacheRead + cacheWriteTokens * cacheWrite + outputTokens * output);
}

/** USD per million tokens is nano-dollars per thousandth token: × 1,000. */
function toNano(price: number): number {
  return Math.ceil(1_000 * price - 1e-3);
}

// ---- Listed prices ----

type Vendor = PriceCalculation["provider"];
type Model = PriceCalculation["model"];
type ListPrice = PriceCalculation["model_price"];

/** A vendor, and those of its models that were asked for: callers name them, so their number has a bound. */
interface PriceList {
  readonly vendor: Vendor;
  readonly models: LRUCache<string, Listing>;
}

interface Listing {
  /** `null`: the data has none. */
  readonly price: ListPrice | null;
  /** Epoch ms from which on another one may hold. */
  readonly until: number;
}

/** By the vendor's id; there are as many as built-in providers. `null`: the data does not know the vendor. */
const lists = new Map<string, PriceList | null>();

function listed(vendorId: string, model: string, usage: Usage): number | null {
  const list = listOf(vendorId);
  if (!list) return null;
  let listing = list.models.get(model);
  if (!listing || (listing.until !== Number.POSITIVE_INFINITY && listing.until <= Date.now())) {
    listing = lookUp(list.vendor, model);
    list.models.set(model, listing);
  }
  return listing.price && calculated(listing.price, usage);
}

function listOf(vendorId: string): PriceList | null {
  let list = lists.get(vendorId);
  if (list === undefined) {
    const vendor = findProvider({ providerId: vendorId });
    list = vendor ? { vendor, models: new LRUCache({ max: 1_000 }) } : null;
    lists.set(vendorId, list);
  }
  return list;
}

/** The price of a model by now. The library searches through all models of a vendor for it. */
function lookUp(vendor: Vendor, model: string): Listing {
  const timestamp = new Date();
  const sample = { input_tokens: 3, cache_read_tokens: 1, cache_write_tokens: 1, output_tokens: 1 };
  try {
    const found = calcPrice(sample, model, { provider: vendor, timestamp });
    if (found) return { price: found.model_price, until: nextChange(found.model, timestamp.getTime()) };
  } catch {
    // The library refuses prices that contradict each other: then it has none.
  }
  return { price: null, until: Number.POSITIVE_INFINITY };
}

/** The next date from which another price holds. What depends on the time of day is asked for each time. */
function nextChange({ prices }: Model, now: number): number {
  let next = Number.POSITIVE_INFINITY;
  if (!Array.isArray(prices)) return next;
  for (const { constraint } of prices) {
    if (constraint?.type === "time_of_date") return 0;
    const start = constraint ? Date.parse(constraint.start_date) : 0;
    if (start > now) next = Math.min(next, start);
  }
  return next;
}

/** As the library calculates: tokens without a price of their own cost what the whole input costs. */
function calculated(price: ListPrice, usage: Usage): number | null {
  const { inputTokens, outputTokens } = usage;
  const cacheReadTokens = Math.min(usage.cacheReadTokens, inputTokens);
  const cacheWriteTokens = Math.min(usage.cacheWriteTokens, inputTokens - cacheReadTokens);
  // Counts that contradict each other have no price.
  if (!(inputTokens >= 0 && outputTokens >= 0 && cacheReadTokens >= 0 && cacheWriteTokens >= 0)) return null;
  const plain = inputTokens - cacheReadTokens - cacheWriteTokens;
  const input = rate(price.input_mtok, inputTokens) ?? 0;
  const cacheRead = rate(price.cache_read_mtok, inputTokens) ?? input;
  const cacheWrite = rate(price.cache_write_mtok, inputTokens) ?? input;
  const output = rate(price.output_mtok, inputTokens) ?? 0;
  // USD per thousand requests.
  const perRequest = (rate(price.requests_kcount, inputTokens) ?? 0) * 1_000;
  const total =
    plain * input + cacheReadTokens * cacheRead + cacheWriteTokens * cacheWrite + outputTokens * output + perRequest;
  return Number.isFinite(total) ? toNano(total) : null;
}

/** Some prices rise with the size of the input; the higher one then holds for all of it. */
function rate(price: ListPrice[string], inputTokens: number): number | undefined {
  if (typeof price !== "object") return price;
  let found = price.base;
  for (const { start, price: higher } of price.tiers) if (inputTokens > start) found = higher;
  return found;
}
