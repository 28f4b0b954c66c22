import { createHash } from "node:crypto";
import { type ErrorCode, GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { GatewayPlan, LimitState } from "../../core/middleware.ts";
import type { Target } from "../../core/provider.ts";
import { priceOf } from "../../prices/index.ts";
import type { Health } from "./health.ts";
import { lacking } from "./needs.ts";
import type { Rewritten } from "./rewrite.ts";
import type { Rule, Step } from "./rules.ts";
import { sessionOf } from "./sticky.ts";
import type { Member } from "./strategies.ts";
import { ownName, targetOf } from "./targets.ts";
import type { Traffic } from "./traffic.ts";

/** A target that may be asked, and the step that brought it up. */
export interface Candidate extends Member {
  step: Step;
  /** It rests, but nobody else is left. */
  forced?: boolean;
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
  candidates: Candidate[];
  excluded: Excluded[];
  rewritten: Rewritten | undefined;
}

export interface DeciderOptions {
  rules: readonly Rule[];
  aliases: ReadonlyMap<string, string>;
  plan: GatewayPlan;
  health: Health | undefined;
  traffic: Traffic;
  expectedOutputTokens: number;
  limitsOf(exchange: Exchange): Promise<readonly LimitState[]>;
  /** The step of a model that is asked for by its provider's name. */
  direct(target: Target): Step;
}

/** Chooses, for one request at a time. Nothing is sent here. */
export class Decider {
  readonly #options: DeciderOptions;
  /** Per rule: requests without a session, of which a canary takes its part. */
  readonly #shares = new Map<string, number>();

  constructor(options: DeciderOptions) {
    this.#options = options;
  }

  /** @param peek a rehearsal: no counter moves @throws GatewayError `model_not_found`, `invalid_request` */
  async decide(exchange: Exchange, peek = false): Promise<Decision> {
    const { rules, aliases, limitsOf } = this.#options;
    const model = aliases.get(exchange.model) ?? exchange.model;
    const asked = { exchange, model, limits: () => limitsOf(exchange) };
    // A call of the gateway's own (an embedding for the cache) says where it goes.
    if (exchange.target) {
      const step = this.#options.direct(exchange.target);
      return { rule: undefined, model, rewritten: undefined, ...this.screen([step], exchange, model, peek) };
    }
    let rule: Rule | undefined;
    for (const each of rules) {
      const matches = each.matches(asked);
      if (matches === false || !(await matches)) continue;
      rule = each;
      break;
    }
    const steps = rule ? this.#stepsOf(rule, exchange, peek) : [this.#directStep(model)];
    return { rule, model, rewritten: rule?.rewrite?.(exchange), ...this.screen(steps, exchange, model, peek) };
  }

  /** The candidates of some steps: what a policy forbids, what cannot do it and what rests is left out. */
  screen(
    steps: readonly Step[],
    exchange: Exchange,
    model: string,
    peek = false,
  ): Pick<Decision, "candidates" | "excluded"> {
    const candidates: Candidate[] = [];
    const excluded: Excluded[] = [];
    const resting: { candidate: Candidate; until: number }[] = [];
    const seen = new Set<string>();
    for (const step of steps) {
      const members = this.#membersOf(step, model).filter(({ target }) => !seen.has(target.name));
      for (const { target } of members) seen.add(target.name);
      const awake: Candidate[] = [];
      for (const member of this.#fit(members, exchange, excluded)) {
        const rest = this.#options.health?.resting(member.target);
        if (!rest) awake.push(member);
        else {
          excluded.push({ target: member.target, code: "upstream_overloaded", reason: `rests: ${rest.reason}` });
          resting.push({ candidate: member, until: rest.until ?? Number.POSITIVE_INFINITY });
        }
      }
      candidates.push(...this.#ordered(step, awake, exchange, peek));
    }
    const first = resting.toSorted((a, b) => a.until - b.until)[0];
    if (candidates.length === 0 && first) {
      candidates.push({ ...first.candidate, forced: true });
      excluded.splice(
        excluded.findIndex(({ target }) => target === first.candidate.target),
        1,
      );
    }
    return { candidates, excluded };
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

  #stepsOf(rule: Rule, exchange: Exchange, peek: boolean): readonly Step[] {
    const { canary, to } = rule;
    return canary && this.takes(canary.percent, exchange, `canary ${rule.name}`, peek) ? [...canary.to, ...to] : to;
  }

  #directStep(model: string): Step {
    const { plan, direct } = this.#options;
    const slash = model.indexOf("/");
    const provider = model.slice(0, slash);
    if (slash > 0 && slash < model.length - 1 && plan.providers.has(provider)) {
      return direct(targetOf({ provider, model: model.slice(slash + 1) }, plan));
    }
    throw new GatewayError("model_not_found", `model: ${model}`, {
      param: "model",
      details: { hint: "no rule matches, and it is not of the form provider/model" },
    });
  }

  #membersOf(step: Step, model: string): Candidate[] {
    return step.members.map(({ provider, model: named, weight }, place) => {
      const target = targetOf(
        { provider, model: named === "*" ? ownName(model, provider) : named },
        this.#options.plan,
      );
      return { target, place, weight, step };
    });
  }

  /** What policies allow; in a group also what can do it, as long as anybody can. */
  #fit(members: readonly Candidate[], exchange: Exchange, excluded: Excluded[]): readonly Candidate[] {
    const allowed = members.filter(({ target }) => {
      const veto = this.#options.plan.veto(exchange.identity, target);
      if (veto) excluded.push({ target, code: veto.code, reason: veto.message });
      return !veto;
    });
    if (allowed.length < 2) return allowed;
    const judged = allowed.map((member) => ({ member, lack: lacking(exchange, member.target) }));
    const able = judged.filter(({ lack }) => lack === undefined);
    if (able.length === 0 || able.length === judged.length) return allowed;
    for (const { member, lack } of judged) {
      if (lack) excluded.push({ target: member.target, code: "unsupported", reason: lack });
    }
    return able.map(({ member }) => member);
  }

  #ordered(step: Step, members: readonly Candidate[], exchange: Exchange, peek: boolean): Candidate[] {
    if (members.length < 2) return [...members];
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
