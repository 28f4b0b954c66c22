import { GatewayError, toGatewayError } from "../../core/errors.ts";
import { Exchange, type Outcome } from "../../core/exchange.ts";
import type { Next } from "../../core/middleware.ts";
import type { Reply, StreamSink } from "../../core/reply.ts";
import { childFor } from "./attempt.ts";
import type { Decider, Decision } from "./decide.ts";
import type { ParsedOptions } from "./options.ts";

/** Copies under way at the same time; more are not made. */
const MAX_RUNNING = 32;
const PATIENCE_MS = 600_000;

const NOBODY: StreamSink = { bytes() {}, frames() {}, end() {}, fail() {} };

/**
 * Sends copies of requests to a target whose answers nobody gets. A copy is paid by an identity of its own, but the
 * policies on its caller hold for it too. What came of both is noted in the log.
 */
export class Shadows {
  readonly #running = new Set<Exchange>();

  start(exchange: Exchange, decision: Decision, decider: Decider, next: Next, retired: ParsedOptions["retired"]): void {
    const { rule, model, rewritten, timeouts } = decision;
    const shadow = rule?.shadow;
    if (!rule || !shadow || exchange.operation === "count-tokens" || this.#running.size >= MAX_RUNNING) return;
    if (!decider.takes(shadow.percent, exchange, `shadow ${rule.name}`, false)) return;
    const [candidate] = decider.screen(shadow.to, exchange, model, true);
    if (!candidate || candidate.forced) return;

    const { id, operation, dialect, headers, services, trusted } = exchange;
    const body = rewritten?.body ?? exchange.body;
    const identity = rule.options.shadow!.as;
    const copy = new Exchange({ id: `${id}-shadow`, operation, dialect, headers, services, trusted, body, identity });
    const both = Promise.all([ended(exchange), ended(copy)]);
    both.then(([served, shadowed]) => exchange.note(comparison(exchange, copy, served, shadowed))).catch(() => {});
    this.#running.add(copy);
    const timer = setTimeout(() => copy.abort(new GatewayError("timeout", "The shadow took too long")), PATIENCE_MS);
    timer.unref();
    copy.onFinish(() => {
      clearTimeout(timer);
      this.#running.delete(copy);
    });
    this.#send(copy, () => {
      const child = childFor(copy, candidate, { rule, rewritten: undefined, timeouts }, retired);
      return { child, reply: next(child) };
    });
  }

  /** Ends those that run. */
  close(): void {
    for (const copy of this.#running) copy.abort(new GatewayError("shutting_down", "The gateway is shutting down"));
  }

  async #send(copy: Exchange, begin: () => { child: Exchange; reply: Promise<Reply> }): Promise<void> {
    let child: Exchange | undefined;
    try {
      const begun = begin();
      child = begun.child;
      const reply = await begun.reply;
      copy.adopt(child, reply);
      if (reply.body.type === "stream") reply.body.source.start(NOBODY);
    } catch (error) {
      const known = toGatewayError(error);
      child?.fail(known);
      copy.fail(known);
    }
  }
}

const ended = (exchange: Exchange) => new Promise<Outcome>((resolve) => exchange.onFinish(resolve));

function comparison(exchange: Exchange, copy: Exchange, served: Outcome, shadowed: Outcome) {
  const record = copy.attempts[0];
  const winner = exchange.winner?.target;
  return {
    event: "shadow",
    ...(record && { target: record.target, jurisdiction: record.jurisdiction, policies: record.policies }),
    ...figures(shadowed),
    served: { ...(winner && { target: winner.name }), ...figures(served) },
  };
}

function figures({ ok, status, error, usage, costNanoUsd, firstTokenMs, totalMs }: Outcome) {
  return {
    ok,
    status,
    ...(error && { code: error.code }),
    ...(usage && { inputTokens: usage.inputTokens, outputTokens: usage.outputTokens }),
    ...(typeof costNanoUsd === "number" && { costUsd: costNanoUsd / 1e9 }),
    ...(firstTokenMs !== undefined && { firstTokenMs: Math.round(firstTokenMs) }),
    totalMs: Math.round(totalMs),
  };
}
