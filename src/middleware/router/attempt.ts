import { GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Next } from "../../core/middleware.ts";
import type { Reply } from "../../core/reply.ts";
import type { Candidate, Decision } from "./decide.ts";
import type { Health } from "./health.ts";
import type { ParsedOptions, Timers } from "./options.ts";
import { checkOperation, retiredError } from "./targets.ts";
import type { Traffic } from "./traffic.ts";

export interface Attempt {
  child: Exchange;
  /** Resolves when the answer has begun. @throws GatewayError; the attempt has ended then */
  reply: Promise<Reply>;
}

export interface AttemptTools extends Pick<ParsedOptions, "retired"> {
  traffic: Traffic;
}

/** Asks one target, once. @throws GatewayError where it is retired and may not be replaced */
export function attempt(
  exchange: Exchange,
  candidate: Candidate,
  decision: Decision,
  next: Next,
  { traffic, retired }: AttemptTools,
): Attempt {
  const child = childFor(exchange, candidate, decision, retired);
  const firstContent = startTimers(child, decision.timeouts);
  const { health } = traffic.watch(child);
  return { child, reply: run(child, health, candidate, next, firstContent) };
}

/** The exchange of one attempt, with everything that its rule prescribes. */
export function childFor(
  exchange: Exchange,
  { target: asked, successor }: Candidate,
  { rule, rewritten, timeouts }: Pick<Decision, "rule" | "rewritten" | "timeouts">,
  retired: ParsedOptions["retired"],
): Exchange {
  if (successor && retired === "refuse") throw retiredError(asked);
  const target = successor ?? asked;
  const child = exchange.fork(target, rewritten?.body);
  child.reasoning = rule?.reasoning;
  child.timeouts = timeouts;
  if (rewritten) child.changes.push(...rewritten.changes);
  if (successor) {
    child.changes.push({ field: "model", kind: "adjusted", from: asked.model, to: target.model, reason: "retired" });
  }
  return child;
}

async function run(
  child: Exchange,
  health: Health | undefined,
  { forced }: Candidate,
  next: Next,
  firstContent: NodeJS.Timeout | undefined,
): Promise<Reply> {
  const sound = health?.sound ?? true;
  try {
    checkOperation(child, child.target!);
    const reply = await (sound ? next(child) : health!.probe(forced, () => next(child)));
    health?.answered(sound);
    return reply;
  } catch (error) {
    const failure = toGatewayError(error);
    health?.refused(failure);
    child.fail(failure);
    throw failure;
  } finally {
    clearTimeout(firstContent);
  }
}

/** Ends an attempt that takes too long, until its first content or in all. @returns the timer of the first content */
function startTimers(child: Exchange, { firstTokenMs, totalMs }: Timers): NodeJS.Timeout | undefined {
  const streams = child.operation === "chat" && child.body.stream;
  const first =
    streams && firstTokenMs !== undefined
      ? abortAfter(firstTokenMs, child, `No content came within ${firstTokenMs} ms`)
      : undefined;
  const total =
    totalMs === undefined ? undefined : abortAfter(totalMs, child, `The answer took longer than ${totalMs} ms`);
  if (first || total) {
    child.onFinish(() => {
      clearTimeout(first);
      clearTimeout(total);
    });
  }
  return first;
}

function abortAfter(ms: number, child: Exchange, what: string): NodeJS.Timeout {
  return setTimeout(() => child.abort(new GatewayError("upstream_timeout", what)), ms).unref();
}
