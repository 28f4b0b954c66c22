import type { Exchange } from "../../core/exchange.ts";
import { anyGlob } from "../../core/glob.ts";
import type { LimitState } from "../../core/middleware.ts";
import type { MaybePromise } from "../../core/util.ts";
import { needs } from "./needs.ts";
import type { RuleOptions } from "./options.ts";
import { timeMatcher } from "./time.ts";

type Match = RuleOptions["match"];

/** The caller's limits; asked for by rules about budgets only. */
export type LimitReader = (exchange: Exchange) => Promise<readonly LimitState[]>;

/** Whether a rule is for a request whose model it is for. */
export type Matcher = (exchange: Exchange, limitsOf: LimitReader) => MaybePromise<boolean>;

type Check = (exchange: Exchange) => boolean;

/** Whether a rule is for a model, after aliases. */
export function compileModelMatch({ model }: Match): (model: string) => boolean {
  return anyGlob(model ?? "*");
}

/**
 * Everything that a rule asks of a request beside its model; `undefined` where that is nothing.
 * @throws TypeError for an unknown time zone
 */
export function compileMatch(match: Match): Matcher | undefined {
  const checks = [...nameChecks(match), ...requestChecks(match)];
  const { budget } = match;
  const plain = (exchange: Exchange) => checks.every((check) => check(exchange));
  if (!budget) return checks.length > 0 ? plain : undefined;
  // A store is read last, and only for requests that would match.
  return (exchange, limitsOf) =>
    plain(exchange) && limitsOf(exchange).then((states) => shareOf(states, budget.limit) > budget.above);
}

function nameChecks({ key, user, team, tag, dialect, operation, headers = {} }: Match): Check[] {
  const checks: Check[] = [];
  const add = (patterns: string | readonly string[] | undefined, read: (exchange: Exchange) => string | undefined) => {
    if (patterns === undefined) return;
    const matches = anyGlob(patterns);
    checks.push((exchange) => {
      const name = read(exchange);
      return name !== undefined && matches(name);
    });
  };
  add(key, ({ identity }) => identity.key);
  add(user, ({ identity }) => identity.user);
  add(team, ({ identity }) => identity.team);
  if (tag !== undefined) {
    const matches = anyGlob(tag);
    checks.push(({ identity }) => identity.tags?.some(matches) ?? false);
  }
  add(dialect, ({ dialect }) => dialect.id);
  add(operation, ({ operation }) => operation);
  for (const [name, patterns] of Object.entries(headers)) add(patterns, ({ headers }) => headers[name]);
  return checks;
}

function requestChecks({ inputTokens, needs: wanted = [], time, when }: Match): Check[] {
  const checks: Check[] = [];
  if (time) {
    const within = timeMatcher(time);
    checks.push(({ services }) => within(services.now()));
  }
  if (inputTokens) {
    const { above = -1, below = Number.POSITIVE_INFINITY } = inputTokens;
    checks.push((exchange) => {
      const tokens = exchange.services.estimateInput(exchange);
      return tokens > above && tokens < below;
    });
  }
  for (const need of wanted) {
    checks.push((exchange) => exchange.operation !== "embeddings" && needs(exchange.request, need));
  }
  if (when) checks.push(when);
  return checks;
}

/** The fullest counter of a limit: what is used and held of it, as a share. */
function shareOf(limits: readonly LimitState[], name: string): number {
  return Math.max(
    0,
    ...limits
      .filter(({ limit }) => limit === name)
      .map(({ used, held, amount }) => (amount > 0 ? (used + held) / amount : 1)),
  );
}
