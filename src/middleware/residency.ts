import { z } from "zod";
import { GatewayError } from "../core/errors.ts";
import type { Exchange, Identity } from "../core/exchange.ts";
import { anyGlob } from "../core/glob.ts";
import {
  defineMiddleware,
  type Foresight,
  type GatewayPlan,
  type Middleware,
  type Next,
  type Route,
} from "../core/middleware.ts";
import type { Provider, Target } from "../core/provider.ts";
import type { Reply } from "../core/reply.ts";

const places = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

const policyOptions = z.strictObject({
  jurisdiction: places.optional().describe("Law the provider's company must be under: EU. `*`: any that is declared."),
  region: places.optional().describe("Where it must compute: EU, eu-*."),
});
const policy = policyOptions.refine(({ jurisdiction, region }) => jurisdiction ?? region, {
  error: "a policy needs `jurisdiction`, `region` or both",
});

export const residencyOptions = policyOptions
  .extend({
    keys: z.record(z.string().min(1), policy).optional().describe("Further policies, by id of the virtual key."),
    teams: z.record(z.string().min(1), policy).optional().describe("Further policies, by team."),
  })
  .refine(({ jurisdiction, region, keys, teams }) => jurisdiction ?? region ?? keys ?? teams, {
    error: "a policy needs `jurisdiction`, `region`, `keys` or `teams`",
  })
  .describe("Where requests may be answered. All policies that cover a caller must be met; `*` in a name is a glob.");

export type ResidencyOptions = z.input<typeof residencyOptions>;

interface Policy {
  /** `jurisdiction EU`, `team web: region eu-*` */
  name: string;
  /** Whose requests it is for; absent: everybody's. */
  scope?: { field: "key" | "team"; pattern: string };
  covers(identity: Identity): boolean;
  met(target: Target): boolean;
}

/**
 * Lets a request reach only targets whose declared jurisdiction and region meet every policy that covers its caller.
 * Stands after `router()`, so that it is asked before every attempt: first tries, retries, fallbacks, hedges, counting,
 * embeddings, shadows. It fails closed: what is not declared does not comply, and without a target that complies the
 * caller gets `no_compliant_target`. It relies on what is declared on the providers; it cannot see a server's place.
 *
 * @throws TypeError when built with a rule none of whose targets can comply; the message names the rule
 * @example residency({ jurisdiction: ["EU"], keys: { "hr-*": { region: ["eu-*"] } } })
 */
export function residency(given: ResidencyOptions): Middleware {
  const parsed = residencyOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`residency: ${z.prettifyError(parsed.error)}`);
  const { keys = {}, teams = {}, ...everybody } = parsed.data;
  const policies: Policy[] = [
    ...compile(everybody),
    ...Object.entries(keys).flatMap(([pattern, rules]) => compile(rules, { field: "key", pattern })),
    ...Object.entries(teams).flatMap(([pattern, rules]) => compile(rules, { field: "team", pattern })),
  ];

  // What a provider declares does not change, so neither does what it cannot meet.
  const unmetBy = new WeakMap<Provider, readonly Policy[]>();

  function unmet(target: Target): readonly Policy[] {
    let found = unmetBy.get(target.provider);
    if (!found) {
      found = policies.filter((policy) => !policy.met(target));
      unmetBy.set(target.provider, found);
    }
    return found;
  }

  function veto(identity: Identity, target: Target): GatewayError | undefined {
    const broken = unmet(target).find((policy) => policy.covers(identity));
    if (!broken) return undefined;
    return new GatewayError("no_compliant_target", `${described(target)} does not meet the policy "${broken.name}"`, {
      provider: target.providerName,
      ladder: "next",
      details: { policy: broken.name },
    });
  }

  const foresee = ({ identity, target }: Exchange): Foresight => {
    const refused = veto(identity, target!);
    return refused ? { refused } : {};
  };

  function run(exchange: Exchange, next: Next): Promise<Reply> {
    const { identity, target } = exchange;
    const refused = veto(identity, target!);
    if (refused) return Promise.reject(refused);
    for (const policy of policies) if (policy.covers(identity)) exchange.policies.push(policy.name);
    return next(exchange);
  }

  return defineMiddleware(
    { id: "residency", needs: ["target"], veto, foresee, setup: (plan) => prove(policies, plan) },
    run,
  );
}

function compile({ jurisdiction, region }: z.output<typeof policyOptions>, scope?: Policy["scope"]): Policy[] {
  if (jurisdiction === undefined && region === undefined) return [];
  const facts = Object.entries({ jurisdiction, region }).flatMap(([fact, wanted]) =>
    wanted ? [{ fact, wanted }] : [],
  );
  const words = facts.map(({ fact, wanted }) => `${fact} ${[wanted].flat().join(" or ")}`).join(", ");
  const covered = scope && anyGlob(scope.pattern);
  const checks = facts.map(({ fact, wanted }) => {
    const allowed = anyGlob(wanted);
    return ({ provider }: Target) => {
      const declared = provider[fact as "jurisdiction" | "region"];
      return declared !== undefined && allowed(declared);
    };
  });
  return [
    {
      name: scope ? `${scope.field} ${scope.pattern}: ${words}` : words,
      ...(scope && { scope }),
      covers: (identity) => !covered || (identity[scope!.field] !== undefined && covered(identity[scope!.field]!)),
      met: (target) => checks.every((check) => check(target)),
    },
  ];
}

const described = (target: Target) => {
  const { jurisdiction, region } = target.provider;
  return `${target.name} (jurisdiction ${jurisdiction ?? "not declared"}, region ${region ?? "not declared"})`;
};

/** Every rule must have a target that meets all policies of those whom it is for. */
function prove(policies: readonly Policy[], plan: GatewayPlan): void {
  for (const route of plan.routes()) {
    const binding = policies.filter((policy) => binds(policy, route));
    if (route.targets.some((target) => binding.every((policy) => policy.met(target)))) continue;
    const names = binding.map(({ name }) => `"${name}"`).join(" and ");
    throw new TypeError(
      `residency: no target of router.${route.name} can meet ${names}: ${route.targets.map(described).join("; ")}`,
    );
  }
  const providers = [...plan.providers.keys()].map((name) => plan.target(name, "*"));
  for (const policy of policies) {
    if (providers.some((target) => policy.met(target))) continue;
    throw new TypeError(`residency: no provider can meet "${policy.name}": ${providers.map(described).join("; ")}`);
  }
}

/** Whether everybody whom the rule is for is covered by the policy. */
function binds({ scope }: Policy, { callers }: Route): boolean {
  if (!scope) return true;
  const wanted = callers[scope.field];
  return wanted?.every(anyGlob(scope.pattern)) ?? false;
}
