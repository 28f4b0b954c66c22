import type { Exchange } from "./exchange.ts";
import type { Reply } from "./reply.ts";

/** Hands the exchange down. May be called again: the router calls it once per attempt. */
export type Next = (exchange: Exchange) => Promise<Reply>;

/** What `createGateway` shows to a middleware when it is built. */
export interface GatewayPlan {
  readonly providers: ReadonlyMap<string, import("./provider.ts").Provider>;
  readonly now: () => number;
}

/**
 * A plain function. `needs` and `provides` let the gateway refuse an order that cannot work when it is built; `setup`
 * may check its options against the providers (throw to refuse); `close` releases what it holds.
 */
export interface Middleware {
  (exchange: Exchange, next: Next): Promise<Reply>;
  readonly id?: string;
  /** What must stand before it: `target` comes from the router. */
  readonly needs?: readonly "target"[];
  readonly provides?: readonly "target"[];
  readonly setup?: (plan: GatewayPlan) => void;
  readonly close?: () => void | Promise<void>;
}

/** Attaches facts to a middleware function. */
export function defineMiddleware(
  facts: Pick<Middleware, "id" | "needs" | "provides" | "setup" | "close">,
  run: (exchange: Exchange, next: Next) => Promise<Reply>,
): Middleware {
  // `name` and `length` of a function are its own; only our keys are added.
  return Object.assign(run as Middleware, facts);
}

/** Composes from the outside in. Each layer's `next` is made once, not per request. */
export function compose(stack: readonly Middleware[], last: Next): Next {
  return stack.reduceRight<Next>((next, middleware) => (exchange) => middleware(exchange, next), last);
}
