import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { type ErrorCode, GatewayError } from "../../core/errors.ts";
import type { Exchange, RouteTrace } from "../../core/exchange.ts";
import type { GatewayPlan } from "../../core/middleware.ts";
import type { Target } from "../../core/provider.ts";
import type { MaybePromise } from "../../core/util.ts";
import { priceOf } from "../../prices/index.ts";
import type { LimitReader } from "./match.ts";
import { lacking } from "./needs.ts";
import type { Timers } from "./options.ts";
import type { Rewritten } from "./rewrite.ts";
import { compileSteps, type Rule, type Step } from "./rules.ts";
import { sessionOf } from "./sticky.ts";
import type { Member } from "./strategies.ts";
import { ownName, successorOf } from "./targets.ts";
import type { Traffic } from "./traffic.ts";

/** Models are named by callers, so the number of those that are remembered has a bound. */
const MAX_MODELS = 1_000;

/** A target that may be asked, and the step that brought it up. */
export interface Candidate extends Member {
  step: Step;
  /** Who is asked in its place: it is retired. */
  successor: Target | undefined;
  /** It rests, but nobody else is left. */
  forced: boolean;
}

export interface Excluded {
  target: Target;
  code: ErrorCode;
  reason: string;
}

export interface Decision {
  rule: Rule | undefined;
  /** After aliases. */
  model: string;
  /** In the order in which they are asked. */
  candidates: readonly Candidate[];
  excluded: readonly Excluded[];
  rewritten: Rewritten | undefined;
  timeouts: Timers;
  /** For the log. */
  trace: RouteTrace;
}

/** The members of each step; no target stands in two of them. */
type Groups = readonly (readonly Candidate[])[];

/** A way that requests for one model can go, with everything that no single request changes. */
interface Route {
  /** Absent: asked for as `provider/model`. */
  rule: Rule | undefined;
  model: string;
  groups: Groups;
  /** The decision, as long as everybody may be asked; absent where a request has a say in it. */
  usual: Decision | undefined;
}

export interface DeciderOptions {
  rules: readonly Rule[];
  aliases: ReadonlyMap<string, string>;
  plan: GatewayPlan;
  traffic: Traffic;
  /** Without a rule. */
  timeouts: Timers;
  expectedOutputTokens: number;
  limitsOf: LimitReader;
}

/** Chooses, for one request at a time. Nothing is sent here. */
export class Decider {
  readonly #options: DeciderOptions;
  /** By the model that is asked for, in the order of the rules. */
  readonly #routes = new LRUCache<string, readonly Route[]>({ max: MAX_MODELS });
  /** Per rule: requests without a session, of which a canary takes its part. */
  readonly #shares = new Map<string, number>();

  constructor(options: DeciderOptions) {
    this.#options = options;
  }

  /** @param peek a rehearsal: no counter moves @throws GatewayError `model_not_found`, `invalid_request` */
  decide(exchange: Exchange, peek = false): MaybePromise<Decision> {
    const asked = exchange.model;
    // A call of the gateway's own (an embedding for the cache) says where it goes.
    if (exchange.target) return this.#along(this.#direct(exchange.target, asked), exchange, peek);
    let routes = this.#routes.get(asked);
    if (!routes) {
      routes = this.#routesOf(this.#options.aliases.get(asked) ?? asked);
      this.#routes.set(asked, routes);
    }
    return this.#first(routes, 0, exchange, peek);
  }

  /** Along the first route that takes the request, from a place on. Only a rule that reads a store makes it wait. */
  #first(routes: readonly Route[], place: number, exchange: Exchange, peek: boolean): MaybePromise<Decision> {
    for (let at = place; at < routes.length; at++) {
      const route = routes[at]!;
      const matches = route.rule?.matches?.(exchange, this.#options.limitsOf) ?? true;
      if (matches === true) return this.#along(route, exchange, peek);
      if (matches === false) continue;
      return matches.then((takes) =>
        takes ? this.#along(route, exchange, peek) : this.#first(routes, at + 1, exchange, peek),
      );
    }
    throw new GatewayError("model_not_found", `model: ${this.#options.aliases.get(exchange.model) ?? exchange.model}`, {
      param: "model",
      details: { hint: "no rule matches, and it is not of the form provider/model" },
    });
  }

  /** Every route that a request for a model could take. */
  #routesOf(model: string): Route[] {
    const { rules, plan } = this.#options;
    const routes = rules.filter((rule) => rule.isFor(model)).map((rule) => this.#route(rule, rule.to, model));
    const slash = model.indexOf("/");
    const provider = model.slice(0, slash);
    if (slash > 0 && slash < model.length - 1 && plan.providers.has(provider)) {
      routes.push(this.#direct(plan.target(provider, model.slice(slash + 1)), model));
    }
    return routes;
  }

  /** `provider/model` without a rule: a step of one. */
  #direct(target: Target, model: string): Route {
    return this.#route(undefined, compileSteps(target.name, "", new Map()), model);
  }

  #route(rule: Rule | undefined, steps: readonly Step[], model: string): Route {
    const groups = this.#groupsOf(steps, model);
    const route: Route = { rule, model, groups, usual: undefined };
    if (groups.every(({ length }) => length < 2) && !rule?.canary && !rule?.rewrite) {
      const usual = this.#decision(route, groups.flat(), [], undefined);
      // Many exchanges have it.
      for (const shared of [usual.trace, usual.trace.candidates, usual.trace.excluded]) Object.freeze(shared);
      route.usual = usual;
    }
    return route;
  }

  #along(route: Route, exchange: Exchange, peek: boolean): Decision {
    const { rule, model, groups, usual } = route;
    if (usual && this.#areFree(usual.candidates, exchange)) return usual;
    const canary = rule?.canary;
    const part = canary && this.takes(canary.percent, exchange, `canary ${rule.name}`, peek);
    const rewritten = rule?.rewrite?.(exchange);
    const asked = part ? this.#groupsOf([...canary.to, ...rule.to], model) : groups;
    const { candidates, excluded } = this.#screen(asked, exchange, peek);
    return this.#decision(route, candidates, excluded, rewritten);
  }

  #decision(
    { rule, model }: Route,
    candidates: readonly Candidate[],
    excluded: readonly Excluded[],
    rewritten: Rewritten | undefined,
  ): Decision {
    const timeouts = rule?.timeouts ?? this.#options.timeouts;
    return { rule, model, candidates, excluded, rewritten, timeouts, trace: traceOf(rule, candidates, excluded) };
  }

  /** Nobody of them is forbidden, and nobody rests. */
  #areFree(candidates: readonly Candidate[], { identity }: Exchange): boolean {
    const { plan, traffic } = this.#options;
    for (const { target } of candidates) {
      if (plan.veto(identity, target) || traffic.resting(target)) return false;
    }
    return true;
  }

  /** The candidates of some steps: what a policy forbids, what cannot do it and what rests is left out. */
  screen(steps: readonly Step[], exchange: Exchange, model: string, peek = false): readonly Candidate[] {
    return this.#screen(this.#groupsOf(steps, model), exchange, peek).candidates;
  }

  #screen(groups: Groups, exchange: Exchange, peek: boolean): Pick<Decision, "candidates" | "excluded"> {
    const candidates: Candidate[] = [];
    const excluded: Excluded[] = [];
    const resting: { candidate: Candidate; until: number }[] = [];
    for (const members of groups) {
      const awake: Candidate[] = [];
      for (const member of this.#fit(members, exchange, excluded)) {
        const rest = this.#options.traffic.resting(member.target);
        if (!rest) awake.push(member);
        else {
          excluded.push({ target: member.target, code: "upstream_overloaded", reason: `rests: ${rest.reason}` });
          resting.push({ candidate: member, until: rest.until ?? Number.POSITIVE_INFINITY });
        }
      }
      if (awake.length > 0) candidates.push(...this.#ordered(awake[0]!.step, awake, exchange, peek));
    }
    if (candidates.length > 0 || resting.length === 0) return { candidates, excluded };
    const { candidate } = resting.toSorted((a, b) => a.until - b.until)[0]!;
    return {
      candidates: [{ ...candidate, forced: true }],
      excluded: excluded.filter(({ target }) => target !== candidate.target),
    };
  }

  #groupsOf(steps: readonly Step[], model: string): Groups {
    const { plan } = this.#options;
    const seen = new Set<string>();
    return steps.map((step) => {
      const members: Candidate[] = [];
      for (const [place, { provider, model: named, weight }] of step.members.entries()) {
        const target = plan.target(provider, named === "*" ? ownName(model, provider) : named);
        if (seen.has(target.name)) continue;
        members.push({ target, place, weight, step, successor: successorOf(target, plan), forced: false });
      }
      for (const { target } of members) seen.add(target.name);
      return members;
    });
  }

  /** Estimated price of a request at a target, of an answer of the usual length. */
  price(exchange: Exchange, target: Target): number | null {
    const inputTokens = exchange.services.estimateInput(exchange);
    return priceOf(target, {
      inputTokens,
      outputTokens: this.outputTokens(exchange),
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
    });
  }

  outputTokens(exchange: Exchange): number {
    if (exchange.operation !== "chat") return 0;
    const { maxTokens, choices } = exchange.bounds;
    return choices * Math.min(maxTokens ?? Number.POSITIVE_INFINITY, this.#options.expectedOutputTokens);
  }

  /** Whether this request belongs to a part of a rule's requests. Sessions are not torn apart. */
  takes(percent: number, exchange: Exchange, what: string, peek: boolean): boolean {
    const session = sessionOf(exchange);
    if (session !== undefined) {
      const hash = createHash("sha256").update(`${what} ${session}`).digest();
      return (hash.readUInt32BE(0) / 2 ** 32) * 100 < percent;
    }
    const sum = (this.#shares.get(what) ?? 0) + percent;
    if (!peek) this.#shares.set(what, sum >= 100 ? sum - 100 : sum);
    return sum >= 100;
  }

  /** What policies allow; in a group also what can do it, as long as anybody can. */
  #fit(members: readonly Candidate[], exchange: Exchange, excluded: Excluded[]): readonly Candidate[] {
    const allowed = members.filter(({ target }) => {
      const veto = this.#options.plan.veto(exchange.identity, target);
      if (veto) excluded.push({ target, code: veto.code, reason: veto.message });
      return !veto;
    });
    if (allowed.length < 2) return allowed;
    const lacks = allowed.map(({ target }) => lacking(exchange, target));
    const able = allowed.filter((_, index) => lacks[index] === undefined);
    if (able.length === 0 || able.length === allowed.length) return allowed;
    for (const [index, { target }] of allowed.entries()) {
      const reason = lacks[index];
      if (reason) excluded.push({ target, code: "unsupported", reason });
    }
    return able;
  }

  #ordered(step: Step, members: readonly Candidate[], exchange: Exchange, peek: boolean): readonly Candidate[] {
    if (members.length < 2) return members;
    const { traffic } = this.#options;
    const session = step.sessions && sessionOf(exchange);
    const place = session === undefined ? undefined : step.sessions!.placeOf(session);
    const pinned = place === undefined ? undefined : members.find((member) => member.place === place);
    // Who is pinned takes no turn: shares are shares of what is chosen.
    const ordered = step.order(members, {
      exchange,
      traffic,
      price: (target) => this.price(exchange, target),
      peek: peek || pinned !== undefined,
    });
    return pinned ? [pinned, ...ordered.filter((member) => member !== pinned)] : ordered;
  }
}

function traceOf(rule: Rule | undefined, candidates: readonly Candidate[], excluded: readonly Excluded[]): RouteTrace {
  return {
    ...(rule && { rule: rule.name }),
    candidates: candidates.map(({ target }) => target.name),
    excluded: excluded.map(({ target, reason }) => ({ target: target.name, reason })),
  };
}
