import { LRUCache } from "lru-cache";
import { z } from "zod";
import type { ModelInfo } from "../../core/dialect.ts";
import type { Exchange } from "../../core/exchange.ts";
import { anyGlob } from "../../core/glob.ts";
import {
  defineMiddleware,
  type GatewayPlan,
  type LimitState,
  type Middleware,
  type Next,
} from "../../core/middleware.ts";
import type { Target } from "../../core/provider.ts";
import type { Reply } from "../../core/reply.ts";
import { Decider, type Decision } from "./decide.ts";
import { explain } from "./explain.ts";
import { Health } from "./health.ts";
import { Ladder } from "./ladder.ts";
import { type RouterOptions, routerOptions } from "./options.ts";
import { RetryBudget } from "./retry.ts";
import { checkRule, compileRule, compileSteps, type Rule, routeOf, type Step, stepsOf } from "./rules.ts";
import { Shadows } from "./shadow.ts";
import { resolveAliases, targetOf } from "./targets.ts";
import { Traffic } from "./traffic.ts";

export { namesOf, type RouterOptions, routerFileOptions } from "./options.ts";

/** How old a rule's knowledge of a budget may be. */
const LIMITS_TTL_MS = 1_000;

/**
 * Decides where a request goes: an ordered list of targets, tried until one begins to answer. A budget that is spent,
 * an upstream that fails or a target that cannot do the operation all mean the same: the next one.
 */
export function router(given: RouterOptions = {}): Middleware {
  const parsed = routerOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`router: ${z.prettifyError(parsed.error)}`);
  const options = parsed.data;
  const aliases = resolveAliases(options.aliases);
  const rules = options.rules.map((rule, index) => compileRule(rule, index, aliases, options.timeouts));
  let plan: GatewayPlan;
  let decider: Decider;
  let health: Health | undefined;
  const traffic = new Traffic();
  const shadows = new Shadows();
  const retry = { ...options, budget: new RetryBudget(options.retryShare) };

  async function run(exchange: Exchange, next: Next): Promise<Reply> {
    const decision = await decider.decide(exchange);
    exchange.route = traceOf(decision);
    exchange.reasoning = decision.rule?.reasoning;
    const timeouts = decision.rule?.timeouts ?? options.timeouts;
    shadows.start(exchange, decision, decider, next, { retired: options.retired, timeouts });
    return new Ladder(exchange, decision, {
      next,
      decider,
      health,
      traffic,
      retry,
      retired: options.retired,
      timeouts,
    }).climb();
  }

  return defineMiddleware(
    {
      id: "router",
      provides: ["target"],
      targets: () =>
        rules.flatMap((rule) =>
          stepsOf(rule)
            .flatMap(({ members }) => members)
            .filter(({ model }) => model !== "*")
            .map((member) => targetOf(member, plan)),
        ),
      explain: (exchange) => explain(exchange, plan, decider, options),
      close: () => shadows.close(),
      routes: () => rules.map((rule) => routeOf(rule, plan)),
      models: () => [...aliases.keys()].map((id) => ({ id })).concat(askable(rules, plan)),
      setup(given) {
        plan = given;
        health = options.health ? new Health(options.health, plan.now) : undefined;
        decider = new Decider({
          rules,
          aliases,
          plan,
          health,
          traffic,
          expectedOutputTokens: options.expectedOutputTokens,
          limitsOf: limitReader(plan),
          direct: directSteps(),
        });
        for (const [index, rule] of rules.entries()) checkRule(rule, index, plan);
      },
    },
    run,
  );
}

/** Read at most once a second for one caller: a rule that is a second late is right. */
function limitReader(plan: GatewayPlan): (exchange: Exchange) => Promise<readonly LimitState[]> {
  const known = new LRUCache<string, { at: number; states: Promise<readonly LimitState[]> }>({ max: 1_000 });
  return ({ identity }) => {
    const { key, user, team, tags = [] } = identity;
    const name = JSON.stringify([key, user, team, ...tags]);
    const at = plan.now();
    let read = known.get(name);
    if (!read || Math.abs(at - read.at) > LIMITS_TTL_MS) {
      // A store that is away is the budget's business; for a rule nothing is used then.
      read = { at, states: plan.usage(identity).catch(() => []) };
      known.set(name, read);
    }
    return read.states;
  };
}

/** `provider/model` without a rule: a step of one. */
function directSteps(): (target: Target) => Step {
  return (target) => compileSteps(target.name, "", new Map())[0]!;
}

function traceOf({ rule, candidates, excluded }: Decision): NonNullable<Exchange["route"]> {
  return {
    ...(rule && { rule: rule.name }),
    candidates: candidates.map(({ target }) => target.name),
    excluded: excluded.map(({ target, reason }) => ({ target: target.name, reason })),
  };
}

/** What callers may ask for by these rules: literal names, and known models that a pattern covers. */
function askable(rules: readonly Rule[], plan: GatewayPlan | undefined): ModelInfo[] {
  const known = new Set(plan?.clientModels);
  for (const provider of plan?.providers.values() ?? []) for (const model of provider.models) known.add(model);
  return rules.flatMap(({ options: { match } }) =>
    [match.model ?? []].flat().flatMap((pattern) => {
      if (!pattern.includes("*")) return [{ id: pattern }];
      const matches = anyGlob(pattern);
      return [...known].filter(matches).map((id) => ({ id }));
    }),
  );
}
