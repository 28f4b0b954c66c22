import { z } from "zod";
import { memoryCache } from "../../caches/memory.ts";
import { memoryVectors } from "../../caches/vectors-memory.ts";
import { isGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { defineMiddleware, type Middleware, type Next } from "../../core/middleware.ts";
import type { Reply } from "../../core/reply.ts";
import type { ChatRequest } from "../../core/request.ts";
import type { MaybePromise } from "../../core/util.ts";
import { type Entry, readEntry, replyFrom, writeEntry } from "./entry.ts";
import { ageOf, Flight } from "./flight.ts";
import { Guard } from "./guard.ts";
import { type Claim, idempotency } from "./idempotency.ts";
import { canonicalJson, exactKey, partitionKey, questionOf } from "./key.ts";
import { type CacheOptions, cacheOptions } from "./options.ts";
import { mayKeep, mayShare, namesTemperature, readCacheControl } from "./policy.ts";
import { type Question, semantic } from "./semantic.ts";

export { type CacheOptions, cacheFileOptions } from "./options.ts";

/** Since the gateway was made, in this process. */
export interface CacheStats {
  hits: number;
  /** Answers to a question that meant the same. */
  semantic: number;
  /** Answers shared with an identical request that was in flight. */
  coalesced: number;
  misses: number;
  /** Requests whose answers are nobody else's. */
  bypassed: number;
  /** Answers to a repeated `idempotency-key`. */
  replayed: number;
  stored: number;
  /** Calls of stores, indexes and embeddings that failed; each cost a miss at most. */
  failures: number;
  /** (hits + semantic + coalesced) ÷ these and the misses. */
  hitRate: number;
  savedTokens: number;
  savedUsd: number;
}

export type CacheMiddleware = Middleware & { stats(): CacheStats };

/** A request that may share its answer. */
interface Ask {
  key: string;
  question: Question | undefined;
  read: boolean;
  maxAgeMs: number;
}

type Admit = (exchange: Exchange) => MaybePromise<void>;

/**
 * Gives the same answer to the same request: from the store, or from an identical request that is in flight, or, with
 * `semantic`, to a question that means the same. Stands between `auth` and `router`. A request is the same for one
 * caller (see `scope`) and whatever dialect asks it, whole or as a stream. Kept are complete answers only, and by
 * default only those to `temperature: 0`. A store that fails costs a miss, never a request.
 *
 * `cache-control: no-cache | no-store | max-age=SECONDS` of the request is obeyed; the answer says
 * `x-turnpike-cache: hit | semantic | coalesced | miss | bypass`, and `age`. An `idempotency-key` makes a repeated
 * request return the first answer, or wait for it.
 * @throws TypeError when an option is unknown or wrong
 * @example cache({ ttlMs: 600_000, store: redisCache({ url: "redis://localhost:6379" }) })
 */
export function cache(given: CacheOptions = {}): CacheMiddleware {
  const parsed = cacheOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`cache: ${z.prettifyError(parsed.error)}`);
  const options = parsed.data;
  const { maxEntryBytes, ttlMs } = options;

  // Per gateway: the clock, what others count of hits, stores. Per request in flight: flights.
  let admit: Admit = () => {};
  let now: () => number = Date.now;
  const clock = () => now();
  const store = options.store ?? memoryCache({ maxBytes: options.maxBytes, now: clock });
  const guard = new Guard("answers", options.storeTimeoutMs);
  const index = options.semantic && (options.semantic.index ?? memoryVectors({ ...options.semantic, now: clock }));
  const nearby = options.semantic && semantic(options.semantic, index!, options.storeTimeoutMs);
  const repeats = options.idempotency && idempotency(store, guard, options.idempotency, maxEntryBytes);
  const flights = new Map<string, Flight>();
  const all = new Set<Flight>();
  const counts = { hits: 0, semantic: 0, coalesced: 0, misses: 0, bypassed: 0, replayed: 0, stored: 0 };
  const saved = { tokens: 0, nanoUsd: 0 };

  async function run(exchange: Exchange, next: Next): Promise<Reply> {
    if (exchange.operation !== "chat") return next(exchange);
    const control = readCacheControl(exchange.headers["cache-control"]);
    const repeatable = namesTemperature(exchange.body, options) || exchange.headers["idempotency-key"] !== undefined;
    const request = control.write && repeatable ? canonical(exchange) : undefined;
    const claimed = request && repeats ? await repeats.claim(exchange) : undefined;
    if (claimed && "entry" in claimed) return repeat(exchange, claimed.entry);
    const ask = request && mayShare(request, options) ? askOf(exchange, request, control) : undefined;
    if (ask) return answer(exchange, next, ask, claimed?.claim);
    mark(exchange, "bypass");
    counts.bypassed++;
    return claimed ? takeOff(exchange, next, undefined, claimed.claim).lead() : next(exchange);
  }

  function askOf(exchange: Exchange, request: ChatRequest, { read, maxAgeMs }: Pick<Ask, "read" | "maxAgeMs">): Ask {
    const text = nearby && questionOf(request);
    return {
      key: exactKey(exchange, request, options),
      question: text
        ? { text, partition: partitionKey(exchange, request, options.semantic!.embed, options) }
        : undefined,
      read,
      maxAgeMs,
    };
  }

  async function answer(exchange: Exchange, next: Next, ask: Ask, claim: Claim | undefined): Promise<Reply> {
    for (let alone = !options.coalesce || !ask.read || claim !== undefined; ; ) {
      const known = alone ? undefined : flights.get(ask.key);
      const entry = known || !ask.read ? undefined : await stored(exchange, ask.key, ask.maxAgeMs);
      if (entry) {
        claim?.follow(Promise.resolve(entry));
        return hit(exchange, entry);
      }
      if (exchange.aborted) {
        claim?.follow(Promise.resolve(undefined));
        throw exchange.aborted;
      }
      // Others may have taken off while the store was asked.
      const flight = known ?? (alone ? undefined : flights.get(ask.key));
      if (!flight?.open) return lead(exchange, next, ask, claim);
      const shared = await share(exchange, flight);
      if (shared === "again") continue;
      if (shared) return shared;
      alone = true;
    }
  }

  async function lead(exchange: Exchange, next: Next, ask: Ask, claim: Claim | undefined): Promise<Reply> {
    mark(exchange, "miss");
    const flight = takeOff(exchange, next, ask, claim);
    const reply = await flight.lead();
    if (flight.wasNear) await near(exchange, flight.wasNear.entry);
    else counts.misses++;
    return reply;
  }

  /** Undefined where the answer cannot be shared; `again` where its first caller met an error of its own. */
  async function share(exchange: Exchange, flight: Flight): Promise<Reply | "again" | undefined> {
    await admit(exchange);
    mark(exchange, "coalesced");
    try {
      const reply = await flight.join(exchange);
      // What it saved is known at its end.
      if (reply)
        flight.whole.then((entry) => entry && count(flight.wasNear ? "semantic" : "coalesced", entry)).catch(() => {});
      return reply;
    } catch (error) {
      if (!exchange.aborted && isPersonal(error) && !sameCaller(exchange, flight.leader)) return "again";
      throw error;
    }
  }

  function takeOff(exchange: Exchange, next: Next, ask: Ask | undefined, claim: Claim | undefined): Flight {
    let vector: Float32Array | undefined;
    const { question, key } = ask ?? {};
    const flight = new Flight(exchange, next, {
      maxChars: maxEntryBytes,
      near:
        question &&
        (async (side) => {
          vector = await nearby!.vectorOf(side, next, question.text);
          if (!vector || !ask!.read) return undefined;
          return nearby!.find(side, question, vector, (id) => stored(side, id, ask!.maxAgeMs));
        }),
    });
    all.add(flight);
    if (claim) {
      flight.keep();
      claim.follow(flight.whole);
    }
    if (key !== undefined) flights.set(key, flight);
    const land = async () => {
      const entry = await flight.whole.catch(() => undefined);
      if (entry && !flight.wasNear) {
        if (key !== undefined && !flight.fallback)
          await keep(flight.side, key, entry, question && vector && { question, vector });
      }
      all.delete(flight);
      if (key !== undefined && flights.get(key) === flight) flights.delete(key);
    };
    void land();
    return flight;
  }

  async function keep(
    side: Exchange,
    key: string,
    entry: Entry,
    meaning: { question: Question; vector: Float32Array } | undefined,
  ): Promise<void> {
    const text = mayKeep(entry.answer, options) ? writeEntry(entry) : "";
    if (text === "" || text.length > maxEntryBytes) return;
    const before = guard.failures;
    await guard.call(side, () => store.set(key, text, ttlMs), undefined);
    if (guard.failures > before) return;
    counts.stored++;
    if (meaning) await nearby!.add(side, meaning.question, meaning.vector, key, ttlMs);
  }

  async function stored(exchange: Exchange, key: string, maxAgeMs: number): Promise<Entry | undefined> {
    const entry = readEntry(await guard.call(exchange, () => store.get(key), undefined));
    return entry && now() - entry.at <= maxAgeMs ? entry : undefined;
  }

  async function hit(exchange: Exchange, entry: Entry): Promise<Reply> {
    await admit(exchange);
    count("hits", entry);
    mark(exchange, "hit");
    exchange.addResponseHeaders({ age: ageOf(entry, exchange) });
    return replyFrom(exchange, entry);
  }

  async function near(exchange: Exchange, entry: Entry): Promise<void> {
    await admit(exchange);
    count("semantic", entry);
  }

  /** The first answer as its first caller had it. */
  async function repeat(exchange: Exchange, entry: Entry): Promise<Reply> {
    await admit(exchange);
    counts.replayed++;
    exchange.addResponseHeaders({ "idempotent-replayed": "true" });
    return replyFrom(exchange, entry, entry.id);
  }

  function count(what: "hits" | "semantic" | "coalesced", { tokens, costNanoUsd }: Entry): void {
    counts[what]++;
    saved.tokens += tokens;
    saved.nanoUsd += costNanoUsd;
  }

  function stats(): CacheStats {
    const free = counts.hits + counts.semantic + counts.coalesced;
    return {
      ...counts,
      failures: guard.failures + (nearby?.failures ?? 0),
      hitRate: free === 0 ? 0 : free / (free + counts.misses),
      savedTokens: saved.tokens,
      savedUsd: saved.nanoUsd / 1e9,
    };
  }

  const middleware = defineMiddleware(
    {
      id: "cache",
      setup(plan) {
        now = plan.now;
        admit = plan.onCacheHit;
        nearby?.setup(plan);
      },
      async close() {
        for (const flight of all) flight.stop();
        await Promise.allSettled([...all].map(({ whole }) => whole));
        await index?.close?.();
        await store.close?.();
      },
    },
    run,
  );
  return Object.assign(middleware, { stats });
}

/** Undefined for what the dialect refuses: who passes it on may still have an answer. */
function canonical(exchange: Exchange): ChatRequest | undefined {
  try {
    return exchange.request;
  } catch {
    return undefined;
  }
}

function mark(exchange: Exchange, how: "hit" | "miss" | "coalesced" | "bypass"): void {
  exchange.addResponseHeaders({ "x-turnpike-cache": how });
}

/** Errors that depend on who asks: another caller may still be answered. */
const PERSONAL: ReadonlySet<string> = new Set([
  "budget_exceeded",
  "forbidden",
  "model_not_found",
  "no_compliant_target",
  "no_target",
]);

const isPersonal = (error: unknown) => isGatewayError(error) && PERSONAL.has(error.code);

const sameCaller = (one: Exchange, other: Exchange) => canonicalJson(one.identity) === canonicalJson(other.identity);
