import { GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Target } from "../../core/provider.ts";
import type { Reply } from "../../core/reply.ts";
import { type Attempt, type AttemptTools, attempt } from "./attempt.ts";
import type { Candidate, Decider, Decision } from "./decide.ts";
import { type Failure, isFinal, isRefusal, oneError } from "./errors.ts";
import { type RetryOptions, withRetries } from "./retry.ts";
import type { Step } from "./rules.ts";
import { sessionOf } from "./sticky.ts";

export interface LadderTools extends AttemptTools {
  decider: Decider;
  retry: RetryOptions;
}

/** Asks the candidates one after the other, until one begins to answer. */
export class Ladder {
  readonly #exchange: Exchange;
  readonly #decision: Decision;
  readonly #tools: LadderTools;
  readonly #failures: Failure[] = [];
  readonly #tried = new Set<string>();
  #queue: Candidate[];
  /** Who is asked when the request is too long, or refused; each of them once. */
  #overflow: readonly Step[];
  #refusal: readonly Step[];

  constructor(exchange: Exchange, decision: Decision, tools: LadderTools) {
    this.#exchange = exchange;
    this.#decision = decision;
    this.#tools = tools;
    this.#queue = [...decision.candidates];
    this.#overflow = decision.rule?.onContextOverflow ?? [];
    this.#refusal = decision.rule?.onRefusal ?? [];
  }

  /** @throws GatewayError with the reason of every target */
  async climb(): Promise<Reply> {
    if (this.#queue.length === 0) throw nobody(this.#decision);
    const hedgeMs = this.#decision.rule?.options.hedge?.afterMs;
    for (;;) {
      const candidate = this.#queue.shift();
      if (!candidate) throw oneError(this.#failures);
      try {
        return hedgeMs !== undefined && this.#queue.length > 0
          ? await this.#hedged(candidate, hedgeMs)
          : await this.#patient(candidate);
      } catch (error) {
        this.#failed(candidate.target, error);
      }
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
    const { candidates } = this.#tools.decider.screen(steps, this.#exchange, this.#decision.model);
    const fresh = candidates.filter(({ target }) => !this.#tried.has(target.name));
    if (fresh.length > 0) this.#queue = fresh;
  }

  /** One target, and the same again where that can help and nobody else is left. */
  async #patient(candidate: Candidate): Promise<Reply> {
    const { retry } = this.#tools;
    let last: Attempt | undefined;
    const once = async () => {
      last = this.#begin(candidate);
      return last.reply;
    };
    const retries = this.#queue.length === 0 ? retry.retries : 0;
    const reply = await withRetries(this.#exchange, candidate.target, once, { ...retry, retries });
    return this.#won(candidate, last!.child, reply);
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

    const other = this.#queue.shift()!;
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
    this.#tried.add(candidate.target.name);
    this.#tools.retry.budget.request(candidate.target);
    const started = attempt(this.#exchange, candidate, this.#decision, this.#tools);
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
