import { GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Next } from "../../core/middleware.ts";
import type { Target } from "../../core/provider.ts";
import type { Reply } from "../../core/reply.ts";
import { type Attempt, type AttemptTools, attempt } from "./attempt.ts";
import type { Candidate, Decider, Decision } from "./decide.ts";
import { type Failure, isFinal, isRefusal, oneError } from "./errors.ts";
import type { ParsedOptions } from "./options.ts";
import { retry } from "./retry.ts";
import type { Step } from "./rules.ts";
import { sessionOf } from "./sticky.ts";

const NO_CANDIDATES: readonly Candidate[] = [];
const NO_STEPS: readonly Step[] = [];

export interface LadderTools extends AttemptTools, Pick<ParsedOptions, "retries" | "maxRetryAfterMs"> {
  decider: Decider;
}

/** Asks the candidates one after the other, until one begins to answer. */
export class Ladder {
  readonly #exchange: Exchange;
  readonly #decision: Decision;
  readonly #next: Next;
  readonly #tools: LadderTools;
  readonly #failures: Failure[] = [];
  #queue: readonly Candidate[];
  /** How many of the queue have been asked, and who was before it was redirected. */
  #asked = 0;
  #askedBefore = NO_CANDIDATES;
  /** Who is asked when the request is too long, or refused; each of them once. */
  #overflow: readonly Step[];
  #refusal: readonly Step[];

  constructor(exchange: Exchange, decision: Decision, next: Next, tools: LadderTools) {
    this.#exchange = exchange;
    this.#decision = decision;
    this.#next = next;
    this.#tools = tools;
    this.#queue = decision.candidates;
    this.#overflow = decision.rule?.onContextOverflow ?? NO_STEPS;
    this.#refusal = decision.rule?.onRefusal ?? NO_STEPS;
  }

  /** @throws GatewayError with the reason of every target */
  async climb(): Promise<Reply> {
    if (this.#queue.length === 0) throw nobody(this.#decision);
    const hedgeMs = this.#decision.rule?.options.hedge?.afterMs;
    for (;;) {
      const candidate = this.#queue[this.#asked++];
      if (!candidate) throw oneError(this.#failures);
      const last = this.#asked === this.#queue.length;
      let failure: unknown;
      try {
        if (hedgeMs !== undefined && !last) return await this.#hedged(candidate, hedgeMs);
        const { child, reply } = this.#begin(candidate);
        return this.#won(candidate, child, await reply);
      } catch (error) {
        failure = error;
      }
      try {
        if (last) return await this.#again(candidate, toGatewayError(failure));
      } catch (error) {
        failure = error;
      }
      this.#failed(candidate.target, failure);
    }
  }

  #failed(target: Target, error: unknown): void {
    const failure = toGatewayError(error);
    this.#failures.push({ target, error: failure });
    if (this.#exchange.aborted) throw this.#exchange.aborted;
    if (failure.code === "context_length_exceeded" && this.#overflow.length > 0) {
      this.#redirect(this.#overflow);
      this.#overflow = [];
    } else if (isRefusal(failure) && this.#refusal.length > 0) {
      this.#redirect(this.#refusal);
      this.#refusal = [];
    } else if (isFinal(failure)) throw oneError(this.#failures);
  }

  #redirect(steps: readonly Step[]): void {
    const asked = this.#askedBefore.concat(this.#queue.slice(0, this.#asked));
    const names = new Set(asked.map(({ target }) => target.name));
    const candidates = this.#tools.decider.screen(steps, this.#exchange, this.#decision.model);
    const fresh = candidates.filter(({ target }) => !names.has(target.name));
    if (fresh.length === 0) return;
    this.#queue = fresh;
    this.#asked = 0;
    this.#askedBefore = asked;
  }

  /** The same target once more, where that can help: nobody else is left. */
  #again(candidate: Candidate, failure: GatewayError): Promise<Reply> {
    const { traffic } = this.#tools;
    const { target, successor = target } = candidate;
    const once = async () => {
      const { child, reply } = this.#begin(candidate);
      return this.#won(candidate, child, await reply);
    };
    return retry(this.#exchange, failure, once, () => traffic.takeRetry(successor), this.#tools);
  }

  /** A second target is asked when the first stays silent; who begins first answers, the other one is stopped. */
  async #hedged(candidate: Candidate, afterMs: number): Promise<Reply> {
    const first = this.#begin(candidate);
    const silent = Symbol();
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<typeof silent>((resolve) => {
      timer = setTimeout(() => resolve(silent), afterMs);
    });
    const early = await Promise.race([first.reply, patience]).finally(() => clearTimeout(timer));
    if (early !== silent) return this.#won(candidate, first.child, early);

    const other = this.#queue[this.#asked++]!;
    const runners: { candidate: Candidate; started: Attempt }[] = [{ candidate, started: first }];
    try {
      runners.push({ candidate: other, started: this.#begin(other) });
    } catch (error) {
      this.#failed(other.target, error);
    }
    const answers = runners.map(async (runner) => ({ ...runner, reply: await runner.started.reply }));
    const winner = await Promise.any(answers).catch(() => undefined);
    if (!winner) {
      const errors = await Promise.allSettled(answers);
      if (runners.length > 1) this.#failed(other.target, (errors[1] as PromiseRejectedResult).reason);
      throw (errors[0] as PromiseRejectedResult).reason;
    }
    for (const { started } of runners) if (started !== winner.started) stop(started);
    return this.#won(winner.candidate, winner.started.child, winner.reply);
  }

  #begin(candidate: Candidate): Attempt {
    const started = attempt(this.#exchange, candidate, this.#decision, this.#next, this.#tools);
    started.child.refusalFails = this.#refusal.length > 0;
    return started;
  }

  #won({ step, place }: Candidate, child: Exchange, reply: Reply): Reply {
    const session = step.sessions && sessionOf(this.#exchange);
    if (session !== undefined) step.sessions!.stay(session, place);
    this.#exchange.adopt(child, reply);
    return reply;
  }
}

/** Ends the attempt that nobody waits for any more, and settles what it has cost. */
function stop({ child, reply }: Attempt): void {
  child.mayDrain = undefined;
  child.abort(new GatewayError("client_closed", "Another target answered first"));
  reply.then(
    ({ body }) => body.type === "stream" && body.source.cancel(),
    () => {},
  );
}

/** Everybody was left out before anybody was asked. */
function nobody({ excluded }: Decision): GatewayError {
  const reasons = excluded.map(({ target, reason }) => `${target.name}: ${reason}`);
  const forbidden = excluded.find(({ code }) => code === "no_compliant_target");
  const details = {
    attempts: excluded.map(({ target, code, reason }) => ({ target: target.name, code, message: reason })),
  };
  return new GatewayError(forbidden ? "no_compliant_target" : "no_target", reasons.join(" | ") || "No target is left", {
    details,
  });
}
