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
import { Ladder, type LadderTools } from "./ladder.ts";
import type { LimitReader } from "./match.ts";
import { type RouterOptions, routerOptions } from "./options.ts";
import { checkRule, compileRule, type Rule, routeOf, stepsOf } from "./rules.ts";
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
  // Per gateway.
  let plan: GatewayPlan;
  let decider: Decider;
  let tools: LadderTools;
  const shadows = new Shadows();

  function run(exchange: Exchange, next: Next): Promise<Reply> {
    try {
      const decision = decider.decide(exchange);
      return decision instanceof Promise
        ? decision.then((decided) => follow(decided, exchange, next))
        : follow(decision, exchange, next);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  function follow(decision: Decision, exchange: Exchange, next: Next): Promise<Reply> {
    exchange.route = decision.trace;
    exchange.reasoning = decision.rule?.reasoning;
    if (decision.rule?.shadow) shadows.start(exchange, decision, decider, next, options.retired);
    return new Ladder(exchange, decision, next, tools).climb();
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
        const { health, retryShare } = options;
        const context = health && { options: health, now: plan.now, providers: new Map() };
        const healthOf = context ? (target: Target) => new Health(target, context) : undefined;
        const traffic = new Traffic({ retryShare, healthOf });
        decider = new Decider({ ...options, rules, aliases, plan, traffic, limitsOf: limitReader(plan) });
        tools = { ...options, traffic, decider };
        for (const [index, rule] of rules.entries()) checkRule(rule, index, plan);
      },
    },
    run,
  );
}

/** Read at most once a second for one caller: a rule that is a second late is right. */
function limitReader(plan: GatewayPlan): LimitReader {
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
