import pRetry from "p-retry";
import { z } from "zod";
import type { ModelInfo } from "../../core/dialect.ts";
import { type ErrorCode, GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { anyGlob } from "../../core/glob.ts";
import { defineMiddleware, type GatewayPlan, type Middleware, type Next, type Route } from "../../core/middleware.ts";
import { type ProviderOperation, type Target, targetName } from "../../core/provider.ts";
import type { Reply } from "../../core/reply.ts";
import { EFFORTS, type Effort, type Reasoning } from "../../core/request.ts";

const names = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

export const routerOptions = z.strictObject({
  rules: z
    .array(
      z.strictObject({
        name: z.string().optional(),
        match: z
          .strictObject({ model: names, key: names, user: names, team: names, tag: names })
          .partial()
          .describe("All given fields must match; `*` in a name stands for anything."),
        to: z
          .union([z.string(), z.array(z.string()).min(1)])
          .describe("`provider/model`, or an ordered list of them; `provider/*` keeps the model's name."),
        reasoning: z
          .enum(["caller", "off", ...EFFORTS])
          .default("caller")
          .describe("How much the models think: as the caller asks, not at all, or always at one level."),
      }),
    )
    .default([])
    .describe("Matched from top to bottom. A model asked for as `provider/model` needs no rule."),
  retries: z
    .int()
    .min(0)
    .max(10)
    .default(2)
    .describe("Further tries at the last target of a list, after errors that may pass by themselves."),
  maxRetryAfterMs: z
    .int()
    .min(0)
    .default(2_000)
    .describe("A longer `Retry-After` of an upstream is left to the caller."),
  retired: z
    .enum(["successor", "refuse"])
    .default("successor")
    .describe("A model that its provider has retired is answered by its successor, loudly, or refused."),
});

export type RouterOptions = z.input<typeof routerOptions>;

interface Rule {
  matches(exchange: Exchange): boolean;
  to: readonly { provider: string; model: string }[];
  reasoning?: Reasoning;
}

/** A request the caller must change; another target would refuse it too. */
const CALLERS_FAULT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "invalid_request",
  "unsupported",
  "request_too_large",
  "unauthenticated",
  "forbidden",
  "client_closed",
  "timeout",
  "internal",
]);

/**
 * Decides where a request goes: an ordered list of targets, tried until one begins to answer. A budget that is spent,
 * an upstream that fails or a target that cannot do the operation all mean the same: the next one.
 */
export function router(given: RouterOptions = {}): Middleware {
  const parsed = routerOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`router: ${z.prettifyError(parsed.error)}`);
  const options = parsed.data;
  const rules = options.rules.map((rule, index) => compileRule(rule, index));
  let plan: GatewayPlan | undefined;

  function candidates(exchange: Exchange, rule: Rule | undefined): Target[] {
    const providers = plan!.providers;
    const model = exchange.model;
    let list = rule?.to;
    if (!list) {
      const slash = model.indexOf("/");
      if (slash > 0 && slash < model.length - 1 && providers.has(model.slice(0, slash))) {
        list = [{ provider: model.slice(0, slash), model: model.slice(slash + 1) }];
      }
    }
    if (!list) {
      throw new GatewayError("model_not_found", `model: ${model}`, {
        param: "model",
        details: { hint: "no rule matches, and it is not of the form provider/model" },
      });
    }
    return list.map(({ provider, model: named }) =>
      targetOf({ provider, model: named === "*" ? own(model, provider) : named }, plan!),
    );
  }

  async function run(exchange: Exchange, next: Next): Promise<Reply> {
    const rule = rules.find((each) => each.matches(exchange));
    const targets = candidates(exchange, rule);
    exchange.reasoning = rule?.reasoning;
    const failures: { target: Target; error: GatewayError }[] = [];
    for (const [index, target] of targets.entries()) {
      const last = index === targets.length - 1;
      try {
        return await tryTarget(exchange, target, next, last ? options.retries : 0);
      } catch (error) {
        const failure = toGatewayError(error);
        failures.push({ target, error: failure });
        if (exchange.aborted) throw exchange.aborted;
        if (isFinal(failure)) break;
      }
    }
    throw oneError(failures);
  }

  /** One target, and the same again where that can help and nobody else is left. */
  function tryTarget(exchange: Exchange, target: Target, next: Next, retries: number): Promise<Reply> {
    const once = () => attempt(exchange, target, next);
    if (retries === 0) return once();
    return once().catch((first: unknown) => retry(exchange, once, first, retries));
  }

  /** After a first failure: the same again, patiently. */
  function retry(exchange: Exchange, once: () => Promise<Reply>, first: unknown, retries: number): Promise<Reply> {
    let failed = false;
    const again = () => {
      if (failed) return once();
      failed = true;
      return Promise.reject(toGatewayError(first));
    };
    return pRetry(again, {
      retries,
      signal: exchange.signal,
      minTimeout: 400,
      maxTimeout: 8_000,
      randomize: true,
      shouldRetry: ({ error }) => {
        const failure = toGatewayError(error);
        const wait = (failure.retryAfterSeconds ?? 0) * 1_000;
        return (
          failure.retryable &&
          !exchange.aborted &&
          failure.code !== "budget_unavailable" &&
          wait <= options.maxRetryAfterMs
        );
      },
      onFailedAttempt: ({ error, retriesLeft }) => {
        const wait = toGatewayError(error).retryAfterSeconds ?? 0;
        return wait > 0 && retriesLeft > 0 && wait * 1_000 <= options.maxRetryAfterMs
          ? sleep(wait * 1_000, exchange)
          : undefined;
      },
    });
  }

  async function attempt(exchange: Exchange, asked: Target, next: Next): Promise<Reply> {
    const target = successor(asked, options.retired);
    const child = exchange.fork(target);
    if (target !== asked) {
      child.changes.push({ field: "model", kind: "adjusted", from: asked.model, to: target.model, reason: "retired" });
    }
    try {
      checkOperation(child, target);
      const reply = await next(child);
      exchange.adopt(child, reply);
      return reply;
    } catch (error) {
      const failure = toGatewayError(error);
      child.fail(failure);
      throw failure;
    }
  }

  return defineMiddleware(
    {
      id: "router",
      provides: ["target"],
      targets: () =>
        rules.flatMap((rule) => rule.to.filter(({ model }) => model !== "*").map((to) => targetOf(to, plan!))),
      routes: () =>
        rules.map((rule, index) => ({
          name: ruleName(options.rules[index]!, index),
          callers: callersOf(options.rules[index]!),
          targets: rule.to.map((to) => targetOf(to, plan!)),
        })),
      models: () => aliases(options.rules, plan),
      setup(given) {
        plan = given;
        for (const [index, rule] of rules.entries()) checkRule(rule, index, given);
      },
    },
    run,
  );
}

function compileRule(rule: z.output<typeof routerOptions>["rules"][number], index: number): Rule {
  const { model, key, user, team, tag } = rule.match;
  const checks: ((exchange: Exchange) => boolean)[] = [];
  const add = (
    patterns: string | string[] | undefined,
    value: (exchange: Exchange) => readonly (string | undefined)[],
  ) => {
    if (patterns === undefined) return;
    const matches = anyGlob(patterns);
    checks.push((exchange) => value(exchange).some((each) => each !== undefined && matches(each)));
  };
  add(model, (exchange) => [exchange.model]);
  add(key, (exchange) => [exchange.identity.key]);
  add(user, (exchange) => [exchange.identity.user]);
  add(team, (exchange) => [exchange.identity.team]);
  add(tag, (exchange) => exchange.identity.tags ?? []);
  return {
    matches: (exchange) => checks.every((check) => check(exchange)),
    ...(rule.reasoning !== "caller" && { reasoning: prescribed(rule.reasoning) }),
    to: [rule.to].flat().map((to, place) => {
      const slash = to.indexOf("/");
      if (slash < 1 || slash === to.length - 1) {
        throw new TypeError(`router.rules[${index}].to[${place}]: "${to}" is not of the form provider/model`);
      }
      return { provider: to.slice(0, slash), model: to.slice(slash + 1) };
    }),
  };
}

const ruleName = ({ name }: { name?: string | undefined }, index: number) =>
  name === undefined ? `rules[${index}]` : `rules[${index}] (${name})`;

const callersOf = ({ match: { key, team } }: z.output<typeof routerOptions>["rules"][number]): Route["callers"] => ({
  ...(key !== undefined && { key: [key].flat() }),
  ...(team !== undefined && { team: [team].flat() }),
});

const prescribed = (level: "off" | Effort): Reasoning =>
  level === "off" ? { mode: "off" } : { mode: "on", effort: level };

/** `x/*` keeps the model's name, also where it was asked for as `x/name`. */
function own(model: string, provider: string): string {
  return model.startsWith(`${provider}/`) ? model.slice(provider.length + 1) : model;
}

function targetOf({ provider, model }: { provider: string; model: string }, plan: GatewayPlan): Target {
  return { providerName: provider, provider: plan.providers.get(provider)!, model };
}

function checkRule(rule: Rule, index: number, plan: GatewayPlan): void {
  for (const [place, { provider }] of rule.to.entries()) {
    if (!plan.providers.has(provider)) {
      throw new TypeError(
        `router.rules[${index}].to[${place}]: unknown provider "${provider}"; known: ${[...plan.providers.keys()].join(", ")}`,
      );
    }
  }
}

/**
 * Retired models are answered by their successors. A chain is followed; data cannot make it endless.
 * @throws GatewayError `model_not_found` where retired models are to be refused
 */
function successor(target: Target, policy: "successor" | "refuse"): Target {
  let model = target.model;
  for (let hop = 0; hop < 5; hop++) {
    const { successor: next, retired } = target.provider.capabilities(model);
    if (!next) break;
    if (policy === "refuse") {
      const since = retired ? ` on ${retired}` : "";
      throw new GatewayError("model_not_found", `${targetName(target)} was retired${since}; its successor is ${next}`, {
        param: "model",
        provider: target.providerName,
        ladder: "next",
      });
    }
    model = next;
  }
  return model === target.model ? target : { ...target, model };
}

function checkOperation(exchange: Exchange, { provider, providerName }: Target): void {
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

/** What callers may ask for by these rules: literal names, and known models that a pattern covers. */
function aliases(rules: z.output<typeof routerOptions>["rules"], plan: GatewayPlan | undefined): ModelInfo[] {
  const known = new Set(plan?.clientModels);
  for (const provider of plan?.providers.values() ?? []) for (const model of provider.models) known.add(model);
  return rules.flatMap(({ match }) =>
    [match.model ?? []].flat().flatMap((pattern) => {
      if (!pattern.includes("*")) return [{ id: pattern }];
      const matches = anyGlob(pattern);
      return [...known].filter(matches).map((id) => ({ id }));
    }),
  );
}

/** Nothing another target could mend. */
function isFinal(error: GatewayError): boolean {
  if (error.ladder) return error.ladder === "stop";
  return CALLERS_FAULT.has(error.code);
}

/**
 * One error for the whole ladder: the status of the last target that was asked, which is what a client can act on, and
 * every reason. Who may not be asked at all is no news to the client.
 */
function oneError(failures: readonly { target: Target; error: GatewayError }[]): GatewayError {
  const last = (failures.findLast(({ error }) => error.code !== "no_compliant_target") ?? failures.at(-1)!).error;
  if (failures.length === 1) return last;
  const reasons = failures.map(({ target, error }) => `${targetName(target)}: ${error.message}`);
  return new GatewayError(last.code, `No target could answer. ${reasons.join(" | ")}`, {
    status: last.status,
    param: last.param,
    retryable: last.retryable,
    retryAfterSeconds: last.retryAfterSeconds,
    upstreamCode: last.upstreamCode,
    provider: last.provider,
    details: {
      ...last.details,
      attempts: failures.map(({ target, error }) => ({
        target: targetName(target),
        code: error.code,
        message: error.message,
      })),
    },
    cause: last,
  });
}

/** Ends early when the caller leaves. */
function sleep(ms: number, exchange: Exchange): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    exchange.onAbort(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
