import { GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { GatewayPlan } from "../../core/middleware.ts";
import type { ProviderOperation, Target } from "../../core/provider.ts";
import { type Destination, rungsOf, type Strategy } from "./options.ts";

/** A target as a rule names it; the model `*` stands for the one asked for. */
export interface Named {
  provider: string;
  model: string;
  weight: number;
}

/** One step of a ladder: a single target, or several with a strategy. */
export interface Rung {
  strategy: Strategy;
  members: readonly Named[];
  /** How long a session stays; absent: it does not. */
  stickyMs: number | undefined;
}

/** @param path where it stands in the options, for the error @throws TypeError */
export function compileDestination(to: Destination, path: string, aliases: ReadonlyMap<string, string>): Rung[] {
  const many = Array.isArray(to);
  return rungsOf(to).map((rung, place) => {
    const at = many ? `${path}[${place}]` : typeof to === "string" ? `${path}[0]` : path;
    if (typeof rung === "string") {
      return { strategy: "order", members: [named(rung, 1, at, aliases)], stickyMs: undefined };
    }
    return {
      strategy: rung.strategy,
      members: rung.targets.map((member, index) => {
        const { target, weight } = typeof member === "string" ? { target: member, weight: 1 } : member;
        return named(target, weight, `${at}.targets[${index}]`, aliases);
      }),
      stickyMs: rung.sticky === false || rung.strategy === "order" ? undefined : rung.sticky.ttlMs,
    };
  });
}

function named(text: string, weight: number, path: string, aliases: ReadonlyMap<string, string>): Named {
  const full = aliases.get(text) ?? text;
  const slash = full.indexOf("/");
  if (slash < 1 || slash === full.length - 1) {
    throw new TypeError(`router.${path}: "${text}" is not of the form provider/model`);
  }
  return { provider: full.slice(0, slash), model: full.slice(slash + 1), weight };
}

/** @throws TypeError for a provider that does not exist */
export function checkRungs(rungs: readonly Rung[], path: string, plan: GatewayPlan): void {
  for (const [place, rung] of rungs.entries()) {
    for (const { provider } of rung.members) {
      if (plan.providers.has(provider)) continue;
      const known = [...plan.providers.keys()].join(", ");
      throw new TypeError(`router.${path}[${place}]: unknown provider "${provider}"; known: ${known}`);
    }
  }
}

/**
 * What each alias stands for in the end.
 * @throws TypeError for aliases that lead to themselves
 */
export function resolveAliases(aliases: Readonly<Record<string, string>>): Map<string, string> {
  const resolved = new Map<string, string>();
  for (const alias of Object.keys(aliases)) {
    const chain = [alias];
    let name = aliases[alias]!;
    while (Object.hasOwn(aliases, name)) {
      if (chain.includes(name)) throw new TypeError(`router.aliases: ${[...chain, name].join(" → ")} leads to itself`);
      chain.push(name);
      name = aliases[name]!;
    }
    resolved.set(alias, name);
  }
  return resolved;
}

export function targetOf({ provider, model }: Pick<Named, "provider" | "model">, plan: GatewayPlan): Target {
  return plan.target(provider, model);
}

/** `x/*` keeps the model's name, also where it was asked for as `x/name`. */
export function ownName(model: string, provider: string): string {
  return model.startsWith(`${provider}/`) ? model.slice(provider.length + 1) : model;
}

/** Who answers for a retired model; `undefined` for one that is not. A chain is followed; data cannot make it endless. */
export function successorOf({ providerName, provider, model }: Target, plan: GatewayPlan): Target | undefined {
  let last = model;
  for (let hop = 0; hop < 5; hop++) {
    const { successor } = provider.capabilities(last);
    if (!successor) break;
    last = successor;
  }
  return last === model ? undefined : plan.target(providerName, last);
}

export function retiredError({ name, providerName, provider, model }: Target): GatewayError {
  const { successor, retired } = provider.capabilities(model);
  const since = retired ? ` on ${retired}` : "";
  return new GatewayError("model_not_found", `${name} was retired${since}; its successor is ${successor}`, {
    param: "model",
    provider: providerName,
    ladder: "next",
  });
}

/** @throws GatewayError `no_target` where the provider may not be asked this */
export function checkOperation(exchange: Exchange, { provider, providerName }: Target): void {
  // Counting has an answer of our own where the provider has none.
  if (exchange.operation === "count-tokens") return;
  const operation = operationOf(exchange);
  if (provider.operations.has(operation)) return;
  throw new GatewayError("no_target", `Provider "${providerName}" is not allowed to be asked for ${operation}`, {
    provider: providerName,
  });
}

function operationOf({ operation, body }: Exchange): ProviderOperation {
  if (operation === "embeddings") return operation;
  return body.stream ? "chat.stream" : "chat";
}
