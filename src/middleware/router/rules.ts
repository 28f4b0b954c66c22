import type { GatewayPlan, Route } from "../../core/middleware.ts";
import type { Effort, Reasoning } from "../../core/request.ts";
import { compileMatch, compileModelMatch, type Matcher } from "./match.ts";
import type { ParsedOptions, RuleOptions, Timers } from "./options.ts";
import { compileRewrite, type Rewrite } from "./rewrite.ts";
import { Sessions } from "./sticky.ts";
import { type Order, orderBy } from "./strategies.ts";
import { checkRungs, compileDestination, type Rung, targetOf } from "./targets.ts";

/** A rung with the state of its strategy, which lives as long as the gateway. */
export interface Step extends Rung {
  order: Order;
  sessions: Sessions | undefined;
}

export interface Rule {
  /** `rules[0] (claude)` */
  name: string;
  options: RuleOptions;
  isFor: (model: string) => boolean;
  /** What it asks of a request beside its model. */
  matches: Matcher | undefined;
  to: readonly Step[];
  onContextOverflow: readonly Step[];
  onRefusal: readonly Step[];
  canary: { to: readonly Step[]; percent: number } | undefined;
  shadow: { to: readonly Step[]; percent: number } | undefined;
  rewrite: Rewrite | undefined;
  reasoning: Reasoning | undefined;
  timeouts: Timers;
}

/** @throws TypeError that names the path of what is wrong */
export function compileRule(
  options: RuleOptions,
  index: number,
  aliases: ReadonlyMap<string, string>,
  defaults: ParsedOptions["timeouts"],
): Rule {
  const path = `rules[${index}]`;
  const steps = (field: "to" | "onContextOverflow" | "onRefusal"): Step[] => {
    const to = options[field];
    return to === undefined ? [] : compileSteps(to, `${path}.${field}`, aliases);
  };
  const { canary, shadow, reasoning, name, match } = options;
  return {
    name: name === undefined ? path : `${path} (${name})`,
    options,
    isFor: compileModelMatch(match),
    matches: at(`${path}.match`, () => compileMatch(match)),
    to: steps("to"),
    onContextOverflow: steps("onContextOverflow"),
    onRefusal: steps("onRefusal"),
    canary: canary && { to: compileSteps(canary.to, `${path}.canary.to`, aliases), percent: canary.percent },
    shadow: shadow && { to: compileSteps(shadow.to, `${path}.shadow.to`, aliases), percent: shadow.percent },
    rewrite: compileRewrite(options),
    reasoning: reasoning === "caller" ? undefined : prescribed(reasoning),
    timeouts: { ...defaults, ...options.timeouts },
  };
}

export function compileSteps(to: RuleOptions["to"], path: string, aliases: ReadonlyMap<string, string>): Step[] {
  return compileDestination(to, path, aliases).map((rung) => ({
    ...rung,
    order: orderBy(rung.strategy),
    sessions: rung.stickyMs === undefined ? undefined : new Sessions(rung.stickyMs),
  }));
}

const prescribed = (level: "off" | Effort): Reasoning =>
  level === "off" ? { mode: "off" } : { mode: "on", effort: level };

/** Everything a rule can send to, shadows included. */
export function stepsOf({ to, canary, onContextOverflow, onRefusal, shadow }: Rule): readonly Step[] {
  return [...to, ...(canary?.to ?? []), ...onContextOverflow, ...onRefusal, ...(shadow?.to ?? [])];
}

/** @throws TypeError for a provider or a limit that does not exist */
export function checkRule(rule: Rule, index: number, plan: GatewayPlan): void {
  const path = `rules[${index}]`;
  checkRungs(rule.to, `${path}.to`, plan);
  checkRungs(rule.onContextOverflow, `${path}.onContextOverflow`, plan);
  checkRungs(rule.onRefusal, `${path}.onRefusal`, plan);
  if (rule.canary) checkRungs(rule.canary.to, `${path}.canary.to`, plan);
  if (rule.shadow) checkRungs(rule.shadow.to, `${path}.shadow.to`, plan);
  const { budget } = rule.options.match;
  const limits = plan.limitNames();
  if (budget && !limits.includes(budget.limit)) {
    throw new TypeError(
      `router.${path}.match.budget.limit: no limit is named "${budget.limit}"; known: ${limits.join(", ") || "none"}`,
    );
  }
}

/** For those who prove something of a rule: what it can answer from. */
export function routeOf(rule: Rule, plan: GatewayPlan): Route {
  const { key, team } = rule.options.match;
  return {
    name: rule.name,
    callers: { ...(key !== undefined && { key: [key].flat() }), ...(team !== undefined && { team: [team].flat() }) },
    targets: rule.to.flatMap(({ members }) => members.map((member) => targetOf(member, plan))),
  };
}

function at<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new TypeError(`router.${path}: ${(error as Error).message}`, { cause: error });
  }
}
