import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Hold, Units } from "../core/budget-store.ts";
import type { Identity } from "../core/exchange.ts";
import type { Target } from "../core/provider.ts";
import type { CompiledLimit, IdentityScope, Unit } from "./limits.ts";

/** One counter that an identity's attempts at a target are held against: all of a demand but its amounts and its time. */
export interface Account {
  readonly limit: CompiledLimit;
  readonly unit: Unit;
  /** The limit, in whole units of the store. */
  readonly amount: Units;
  readonly counter: string;
  /** What counts how much of it goes to this target, in the window that was asked for last. */
  part: Hold;
  readonly standing: Standing;
  /** What headers said of it last. */
  texts: HeaderTexts | undefined;
}

/** What headers say of a counter, beside what is left of it. */
export interface HeaderTexts {
  readonly limit: Units;
  /** Until there is more again. */
  readonly seconds: number | undefined;
  readonly name: string;
  readonly amount: string;
  readonly policy: string;
  readonly reset: string;
  readonly end: string;
}

/** What was left of a counter when the store told last, in one of its buckets. */
export interface Standing {
  bucket: number;
  left: Units;
}

/** All that limits an identity's attempts at a target. */
export interface Coverage {
  readonly limits: readonly CompiledLimit[];
  readonly accounts: readonly Account[];
  /** Some limit is in US dollars. */
  readonly isPriced: boolean;
  readonly isPrepaid: boolean;
  readonly target: Target;
  readonly defaultMaxTokens: number | undefined;
  readonly maxOutputTokens: number | undefined;
  readonly tokenizer: Tokenizer;
  /** Of the last reservation: most want the same. */
  fingerprint: { readonly want: Units; readonly text: string };
}

/** What was learned of how a target counts tokens. */
export interface Tokenizer {
  /** How many it makes of text that we take for one. */
  bias: number;
}

const MOST_COVERAGES = 10_000;
const MOST_COUNTERS = 10_000;
const MOST_TARGETS = 1_000;

/** A hold that only counts, of no window yet. */
const NO_WINDOW = {
  bucket: Number.NaN,
  from: Number.NaN,
  step: 0,
  until: Number.NaN,
  fixed: 0,
  perUnit: 0,
  limit: null,
};

/**
 * Finds coverages, once each: names alone decide them. So an identity may be a new object each time, and one that
 * changed is another one.
 */
export function coverages(limits: readonly CompiledLimit[]): (identity: Identity, target: Target) => Coverage {
  const scopes = [...new Set(limits.flatMap((limit) => limit.identityScopes))];
  const known = new LRUCache<string, Coverage>({ max: MOST_COVERAGES });
  const standings = new LRUCache<string, Standing>({ max: MOST_COUNTERS });
  const tokenizers = new LRUCache<string, Tokenizer>({ max: MOST_TARGETS });

  return (identity, target) => {
    const key = keyOf(scopes, identity, target);
    let coverage = known.get(key);
    // Two gateways may give one name to different providers.
    if (coverage?.target.provider !== target.provider) {
      coverage = find(identity, target);
      known.set(key, coverage);
    }
    return coverage;
  };

  function find(identity: Identity, target: Target): Coverage {
    const covering = limits.filter((limit) => limit.covers(identity, target));
    const { defaultMaxTokens, maxOutputTokens } = target.provider.capabilities(target.model);
    return {
      limits: covering,
      accounts: covering.flatMap((limit) => accountsOf(limit, identity, target)),
      isPriced: covering.some(({ usd }) => usd !== undefined),
      isPrepaid: covering.some(({ per }) => per === "lifetime"),
      target,
      defaultMaxTokens,
      maxOutputTokens,
      tokenizer: tokenizerOf(target),
      fingerprint: { want: 0, text: `${target.name}/0` },
    };
  }

  function accountsOf(limit: CompiledLimit, identity: Identity, target: Target): Account[] {
    return limit.amounts.flatMap(({ unit, amount }) =>
      [...new Set(limit.counters(unit, identity, target))].map((counter) => ({
        limit,
        unit,
        amount,
        counter,
        part: { ...NO_WINDOW, counter: partOf(counter, target) },
        standing: standingOf(counter),
        texts: undefined,
      })),
    );
  }

  function standingOf(counter: string): Standing {
    let standing = standings.get(counter);
    if (!standing) {
      standing = { bucket: Number.NaN, left: 0 };
      standings.set(counter, standing);
    }
    return standing;
  }

  function tokenizerOf({ name }: Target): Tokenizer {
    let tokenizer = tokenizers.get(name);
    if (!tokenizer) {
      tokenizer = { bias: 1 };
      tokenizers.set(name, tokenizer);
    }
    return tokenizer;
  }
}

/** Tells what a reservation is for from what another one under the same id would be for. */
export function fingerprintOf(coverage: Coverage, want: Units): string {
  if (coverage.fingerprint.want !== want) coverage.fingerprint = { want, text: `${coverage.target.name}/${want}` };
  return coverage.fingerprint.text;
}

/** Every name comes after its length, so that different names never make one key. */
function keyOf(scopes: readonly IdentityScope[], identity: Identity, target: Target): string {
  let key = "";
  for (const scope of scopes) {
    if (scope === "tag") {
      const tags = identity.tags ?? [];
      key += `${tags.length}#`;
      for (const tag of tags) key += `${tag.length}:${tag}`;
    } else {
      const name = identity[scope];
      key += typeof name === "string" ? `${name.length}:${name}` : `-${typeof name};`;
    }
  }
  return key + target.name;
}

/** The counter of what of another one went to a target. Names can be long, counters cannot. */
export function partOf(counter: string, target: Target): string {
  return derived(counter, `|m${digest(target.name).slice(0, 12)}`);
}

/** Where top-ups of a prepaid counter are kept: they only grow, so that a stale reading is only stricter. */
export function creditCounter(counter: string): string {
  return derived(counter, "|+");
}

/** A counter is at most 256 bytes; a long one is told by its hash. */
function derived(counter: string, suffix: string): string {
  return `${counter.length + suffix.length <= 250 ? counter : digest(counter)}${suffix}`;
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}
