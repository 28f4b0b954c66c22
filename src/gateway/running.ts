import { GatewayError } from "../core/errors.ts";
import type { Exchange, Outcome } from "../core/exchange.ts";

/** Requests under way. One timer ends those that take too long; it is armed for the earliest deadline. */
export class Running {
  /** By `performance.now()`. */
  readonly #deadlines = new Map<Exchange, number>();
  #timer: NodeJS.Timeout | undefined;
  #armedFor = Number.POSITIVE_INFINITY;
  #drained: (() => void) | undefined;

  get size(): number {
    return this.#deadlines.size;
  }

  /** Until it ends. */
  add(exchange: Exchange, timeoutMs: number): void {
    const deadline = exchange.startedAt + timeoutMs;
    this.#deadlines.set(exchange, deadline);
    exchange.onFinish(this.#ended);
    if (deadline < this.#armedFor) this.#arm(deadline);
  }

  /** Resolves when nothing runs; after `patienceMs` what still runs is ended, and waited for another second. */
  async drain(patienceMs: number): Promise<void> {
    if (this.size > 0) {
      const patience = setTimeout(() => {
        for (const exchange of this.#deadlines.keys()) {
          exchange.abort(new GatewayError("shutting_down", "The gateway is shutting down"));
        }
        setTimeout(() => this.#drained?.(), 1_000).unref();
      }, patienceMs);
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      clearTimeout(patience);
    }
    clearTimeout(this.#timer);
  }

  readonly #ended = (_outcome: Outcome, exchange: Exchange): void => {
    this.#deadlines.delete(exchange);
    if (this.#deadlines.size === 0) this.#drained?.();
  };

  #arm(deadline: number): void {
    clearTimeout(this.#timer);
    this.#armedFor = deadline;
    this.#timer = setTimeout(() => this.#sweep(), Math.max(1, deadline - performance.now())).unref();
  }

  #sweep(): void {
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [exchange, deadline] of this.#deadlines) {
      if (deadline <= now)
        exchange.abort(new GatewayError("timeout", "The request took longer than the gateway allows"));
      else if (deadline < next) next = deadline;
    }
    this.#armedFor = Number.POSITIVE_INFINITY;
    if (next !== Number.POSITIVE_INFINITY) this.#arm(next);
  }
}
