import type { ModelInfo } from "./dialect.ts";
import type { ErrorCode, GatewayError } from "./errors.ts";
import type { Exchange, Identity } from "./exchange.ts";
import type { Lesson, Provider, Target } from "./provider.ts";
import type { Reply } from "./reply.ts";
import type { Change } from "./request.ts";
import type { MaybePromise } from "./util.ts";

/** Hands the exchange down. May be called again: the router calls it once per attempt. */
export type Next = (exchange: Exchange) => Promise<Reply>;

/** Where one rule can send to, and whom it is for where it says so. */
export interface Route {
  /** As an error or a log names it: `rules[0] (claude)`. */
  readonly name: string;
  /** Names or globs that the rule asks of the caller; absent: anybody. */
  readonly callers: { readonly key?: readonly string[]; readonly team?: readonly string[] };
  readonly targets: readonly Target[];
}

/** One counter of a caller's limit. */
export interface LimitState {
  limit: string;
  unit: string;
  /** In the unit; US dollars for `usd`. */
  amount: number;
  used: number;
  /** Reserved by running requests. */
  held: number;
  remaining: number;
  /** ISO time; `null` when no time brings more. */
  resetsAt: string | null;
}

/** What a middleware would do with an attempt. */
export interface Foresight {
  /** It would refuse it. */
  refused?: GatewayError;
  limits?: readonly LimitState[];
  changes?: readonly Change[];
}

/** A target that a request could go to. */
export interface ExplainedTarget {
  /** `provider/model` */
  target: string;
  jurisdiction?: string | undefined;
  region?: string | undefined;
  /** Why it would not be asked, or would refuse; absent: it would be sent the request, if those before it fail. */
  excluded?: { code: ErrorCode; reason: string };
  /** For an answer of the usual length, at most of what the caller allows; `null`: the price is unknown. */
  estimatedUsd?: number | null;
  limits?: readonly LimitState[];
  changes?: readonly Change[];
}

/** Where a request would go, and why. */
export interface Explanation {
  /** The rule that matched; absent: `provider/model`, without a rule. */
  rule?: string;
  /** After aliases. */
  model: string;
  inputTokens: number;
  /** What the answer is taken to be long. */
  outputTokens: number;
  /** In the order in which they would be asked; then those that are left out. */
  candidates: readonly ExplainedTarget[];
}

/** What `createGateway` shows to a middleware when it is built. */
export interface GatewayPlan {
  readonly providers: ReadonlyMap<string, Provider>;
  /** A target of one of the providers: the same object each time, as long as it is in use. */
  readonly target: (providerName: string, model: string) => Target;
  readonly now: () => number;
  /** Targets that are named by the router's rules; complete once every middleware is set up. */
  readonly targets: () => readonly Target[];
  /** The rules they belong to. */
  readonly routes: () => readonly Route[];
  /**
   * Why a policy forbids this identity this target; `undefined` where it does not. Whoever sends something anywhere
   * but down the pipeline (a cache's embeddings, a judge) has to ask.
   */
  readonly veto: (identity: Identity, target: Target) => GatewayError | undefined;
  /** The caller's limits as they stand. */
  readonly usage: (identity: Identity) => Promise<readonly LimitState[]>;
  /** Names of all limits. */
  readonly limitNames: () => readonly string[];
  /** What stands after the router would do with an attempt; nothing is sent or reserved. */
  readonly foresee: (attempt: Exchange) => Promise<Foresight>;
  /** Tells those who count requests of one that is answered without a target. @throws GatewayError of whoever refuses it */
  readonly onCacheHit: (exchange: Exchange) => MaybePromise<void>;
  /** Model names that clients of the served dialects are known to ask for. */
  readonly clientModels: readonly string[];
}

/**
 * A plain function. `needs` and `provides` let the gateway refuse an order that cannot work when it is built; `setup`
 * may check its options against the providers (throw to refuse); `close` releases what it holds.
 */
export interface Middleware {
  (exchange: Exchange, next: Next): Promise<Reply>;
  readonly id?: string;
  /** It counts in this process alone, where processes that share a port would have to count together. */
  readonly countsAlone?: boolean;
  /** What must stand before it: `target` comes from the router. */
  readonly needs?: readonly "target"[];
  readonly provides?: readonly "target"[];
  readonly setup?: (plan: GatewayPlan) => void;
  readonly close?: () => void | Promise<void>;
  /** Tells who presents these headers, for routes that send nothing upstream. @throws GatewayError `unauthenticated` */
  readonly identify?: (headers: Exchange["headers"]) => Promise<Identity>;
  /** Rejects while it cannot do its work: its store is away. For readiness probes. */
  readonly ready?: () => Promise<void>;
  /** What refusals taught of a target, in one dialect. */
  readonly learned?: (target: Target, dialect: string) => readonly Lesson[];
  /** Counts a request that is answered without a target. @throws GatewayError to refuse it */
  readonly onCacheHit?: (exchange: Exchange) => MaybePromise<void>;
  /** Targets it may send to. */
  readonly targets?: () => readonly Target[];
  /** The rules by which it does. */
  readonly routes?: () => readonly Route[];
  /** Whether its policy forbids this identity this target, whatever is asked. */
  readonly veto?: (identity: Identity, target: Target) => GatewayError | undefined;
  /** What it would do with an attempt, without doing it. */
  readonly foresee?: (attempt: Exchange) => Promise<Foresight> | Foresight;
  /** Of a router: the whole decision on a request that is not sent. */
  readonly explain?: (exchange: Exchange) => Promise<Explanation>;
  readonly usage?: (identity: Identity) => Promise<readonly LimitState[]>;
  readonly limitNames?: readonly string[];
  /** Models that callers may ask for because of it. */
  readonly models?: () => readonly ModelInfo[];
}

/** Everything that a middleware says of itself beside what it does. */
type Facts = { readonly [Name in keyof Middleware]: Middleware[Name] };

/** Attaches facts to a middleware function. */
export function defineMiddleware(facts: Facts, run: (exchange: Exchange, next: Next) => Promise<Reply>): Middleware {
  // `name` and `length` of a function are its own; only our keys are added.
  return Object.assign(run as Middleware, facts);
}

/** Composes from the outside in. Each layer's `next` is made once, not per request. */
export function compose(stack: readonly Middleware[], last: Next): Next {
  return stack.reduceRight<Next>((next, middleware) => (exchange) => middleware(exchange, next), last);
}
