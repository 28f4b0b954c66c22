import { GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Next } from "../../core/middleware.ts";
import type { Target } from "../../core/provider.ts";
import type { Reply } from "../../core/reply.ts";
import type { Candidate, Decision } from "./decide.ts";
import type { Health } from "./health.ts";
import type { ParsedOptions, Timers } from "./options.ts";
import { checkOperation, successor } from "./targets.ts";
import type { Traffic } from "./traffic.ts";

export interface Attempt {
  child: Exchange;
  /** Resolves when the answer has begun. @throws GatewayError; the attempt has ended then */
  reply: Promise<Reply>;
}

export interface AttemptTools {
  next: Next;
  health: Health | undefined;
  traffic: Traffic;
  retired: ParsedOptions["retired"];
  timeouts: Timers;
}

/** Asks one target, once. @throws GatewayError where it is retired and may not be replaced */
export function attempt(exchange: Exchange, candidate: Candidate, decision: Decision, tools: AttemptTools): Attempt {
  const child = childFor(exchange, candidate.target, decision, tools);
  return { child, reply: run(child, candidate, tools) };
}

/** The exchange of one attempt, with everything that its rule prescribes. */
export function childFor(
  exchange: Exchange,
  asked: Target,
  { rule, rewritten }: Pick<Decision, "rule" | "rewritten">,
  tools: Pick<AttemptTools, "retired" | "timeouts">,
): Exchange {
  const target = successor(asked, tools.retired);
  const child = exchange.fork(target, rewritten?.body);
  child.reasoning = rule?.reasoning;
  child.timeouts = tools.timeouts;
  if (rewritten) child.changes.push(...rewritten.changes);
  if (target !== asked) {
    child.changes.push({ field: "model", kind: "adjusted", from: asked.model, to: target.model, reason: "retired" });
  }
  return child;
}

async function run(
  child: Exchange,
  candidate: Candidate,
  { next, health, traffic, timeouts }: AttemptTools,
): Promise<Reply> {
  const target = child.target!;
  const timers = startTimers(child, timeouts);
  let begun = false;
  traffic.watch(child);
  child.onFinish(({ error }) => {
    if (begun && error) health?.broke(target, error);
  });
  try {
    checkOperation(child, target);
    const reply = await (health ? health.watch(target, candidate.forced ?? false, () => next(child)) : next(child));
    begun = true;
    return reply;
  } catch (error) {
    const failure = toGatewayError(error);
    child.fail(failure);
    throw failure;
  } finally {
    timers.begun();
  }
}

/** Ends an attempt that takes too long: until its first content, or in all. */
function startTimers(child: Exchange, { firstTokenMs, totalMs }: Timers): { begun(): void } {
  const start = (ms: number | undefined, what: string) => {
    if (ms === undefined) return undefined;
    const timer = setTimeout(() => child.abort(new GatewayError("upstream_timeout", what)), ms);
    return timer.unref();
  };
  const streams = child.operation === "chat" && child.body.stream;
  const first = start(streams ? firstTokenMs : undefined, `No content came within ${firstTokenMs} ms`);
  const total = start(totalMs, `The answer took longer than ${totalMs} ms`);
  child.onFinish(() => {
    clearTimeout(first);
    clearTimeout(total);
  });
  return { begun: () => clearTimeout(first) };
}
