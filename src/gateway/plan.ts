import { LRUCache } from "lru-cache";
import type { Dialect, ModelInfo } from "../core/dialect.ts";
import type { Exchange } from "../core/exchange.ts";
import type { Foresight, GatewayPlan, Middleware } from "../core/middleware.ts";
import { newTarget, type Provider, type Target } from "../core/provider.ts";

/** Models are named by callers, so their number has a bound. */
const MAX_TARGETS = 1_000;

/** What the middleware of a gateway may ask of each other. */
export function planOf(
  stack: readonly Middleware[],
  providers: ReadonlyMap<string, Provider>,
  dialects: readonly Dialect[],
  now: () => number,
): GatewayPlan {
  const counting = stack.filter((middleware) => middleware.onCacheHit);
  return {
    providers,
    target: rememberedTargets(providers),
    now,
    clientModels: dialects.flatMap((dialect) => dialect.clientModels ?? []),
    targets: () => stack.flatMap((middleware) => middleware.targets?.() ?? []),
    async onCacheHit(exchange) {
      for (const middleware of counting) await middleware.onCacheHit!(exchange);
    },
    routes: () => stack.flatMap((middleware) => middleware.routes?.() ?? []),
    veto(identity, target) {
      for (const middleware of stack) {
        const reason = middleware.veto?.(identity, target);
        if (reason) return reason;
      }
      return undefined;
    },
    usage: async (identity) =>
      (await Promise.all(stack.map((middleware) => middleware.usage?.(identity) ?? []))).flat(),
    limitNames: () => stack.flatMap((middleware) => middleware.limitNames ?? []),
    foresee: (attempt) => foresee(stack, attempt),
  };
}

function rememberedTargets(providers: ReadonlyMap<string, Provider>): GatewayPlan["target"] {
  const known = new LRUCache<string, Target>({ max: MAX_TARGETS });
  return (providerName, model) => {
    const name = `${providerName}/${model}`;
    let target = known.get(name);
    if (!target) {
      target = newTarget(providerName, providers.get(providerName)!, model);
      known.set(name, target);
    }
    return target;
  };
}

/** What each middleware would do with an attempt, together; the first that would refuse decides. */
async function foresee(stack: readonly Middleware[], attempt: Exchange): Promise<Foresight> {
  const all: Foresight = {};
  for (const middleware of stack) {
    const { refused, limits, changes } = (await middleware.foresee?.(attempt)) ?? {};
    if (refused) all.refused ??= refused;
    if (limits) all.limits = [...(all.limits ?? []), ...limits];
    if (changes) all.changes = [...(all.changes ?? []), ...changes];
  }
  return all;
}

/** Refuses an order in which a middleware would not find what it needs. @throws TypeError */
export function checkOrder(stack: readonly Middleware[]): void {
  const provided = new Set<string>();
  for (const [index, middleware] of stack.entries()) {
    for (const need of middleware.needs ?? []) {
      if (!provided.has(need)) {
        throw new TypeError(
          `createGateway: use[${index}] (${middleware.id ?? middleware.name}) needs a ${need}, so it must stand after router()`,
        );
      }
    }
    for (const fact of middleware.provides ?? []) provided.add(fact);
  }
  if (stack.at(-1)?.id !== "translator") {
    throw new TypeError("createGateway: the last middleware in `use` must be translator()");
  }
}

/** Literal aliases of the rules, every target as `provider/model`, and known models that a pattern of a rule covers. */
export function listModels(providers: ReadonlyMap<string, Provider>, stack: readonly Middleware[]): ModelInfo[] {
  const models = new Map<string, ModelInfo>();
  const add = (id: string, ownedBy: string) => {
    if (!models.has(id)) models.set(id, { id, displayName: id, ownedBy });
  };
  for (const middleware of stack)
    for (const { id, ownedBy } of middleware.models?.() ?? []) add(id, ownedBy ?? "turnpike");
  for (const [name, provider] of providers) for (const model of provider.models) add(`${name}/${model}`, name);
  return [...models.values()];
}
