import type { Exchange } from "../../core/exchange.ts";
import { anyGlob } from "../../core/glob.ts";
import type { LimitState } from "../../core/middleware.ts";
import { needs } from "./needs.ts";
import type { RuleOptions } from "./options.ts";
import { timeMatcher } from "./time.ts";

type Match = RuleOptions["match"];

/** What a rule looks at. */
export interface Asked {
  exchange: Exchange;
  /** After aliases. */
  model: string;
  /** The caller's limits; asked for by rules about budgets only. */
  limits(): Promise<readonly LimitState[]>;
}

export type Matcher = (asked: Asked) => boolean | Promise<boolean>;

/** @throws TypeError for an unknown time zone */
export function compileMatch(match: Match): Matcher {
  const checks = [...nameChecks(match), ...requestChecks(match)];
  const { budget } = match;
  const plain = (asked: Asked) => checks.every((check) => check(asked));
  if (!budget) return plain;
  // A store is read last, and only for requests that would match.
  return async (asked) => plain(asked) && shareOf(await asked.limits(), budget.limit) > budget.above;
}

function nameChecks({ model, key, user, team, tag, dialect, operation, headers = {} }: Match) {
  const checks: ((asked: Asked) => boolean)[] = [];
  const add = (
    patterns: string | readonly string[] | undefined,
    read: (asked: Asked) => readonly (string | undefined)[],
  ) => {
    if (patterns === undefined) return;
    const matches = anyGlob(patterns);
    checks.push((asked) => read(asked).some((each) => each !== undefined && matches(each)));
  };
  add(model, ({ model }) => [model]);
  add(key, ({ exchange }) => [exchange.identity.key]);
  add(user, ({ exchange }) => [exchange.identity.user]);
  add(team, ({ exchange }) => [exchange.identity.team]);
  add(tag, ({ exchange }) => exchange.identity.tags ?? []);
  add(dialect, ({ exchange }) => [exchange.dialect.id]);
  add(operation, ({ exchange }) => [exchange.operation]);
  for (const [name, patterns] of Object.entries(headers)) add(patterns, ({ exchange }) => [exchange.headers[name]]);
  return checks;
}

function requestChecks({ inputTokens, needs: wanted = [], time, when }: Match) {
  const checks: ((asked: Asked) => boolean)[] = [];
  if (time) {
    const within = timeMatcher(time);
    checks.push(({ exchange }) => within(exchange.services.now()));
  }
  if (inputTokens) {
    const { above = -1, below = Number.POSITIVE_INFINITY } = inputTokens;
    checks.push(({ exchange }) => {
      const tokens = exchange.services.estimateInput(exchange);
      return tokens > above && tokens < below;
    });
  }
  for (const need of wanted) {
    checks.push(({ exchange }) => exchange.operation !== "embeddings" && needs(exchange.request, need));
  }
  if (when) checks.push(({ exchange }) => when(exchange));
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
