import type { Exchange } from "../../core/exchange.ts";
import type { MaybePromise } from "../../core/util.ts";

/**
 * Calls to a store that must not fail a request: late and failed ones are answered with `otherwise`, counted, and noted
 * in the log; then it may rest, so that not every request waits for it. Answers at once where the store does.
 */
export class Guard {
  readonly #name: string;
  readonly #timeoutMs: number;
  readonly #restMs: number;
  #restsUntil = Number.NEGATIVE_INFINITY;
  failures = 0;

  /** @param restMs how long it is left alone after a failure */
  constructor(name: string, timeoutMs: number, restMs = 1_000) {
    this.#name = name;
    this.#timeoutMs = timeoutMs;
    this.#restMs = restMs;
  }

  call<T>(exchange: Exchange, work: () => MaybePromise<T>, otherwise: T): MaybePromise<T> {
    if (performance.now() < this.#restsUntil) return otherwise;
    const failed = (error: unknown) => {
      this.#failed(exchange, error);
      return otherwise;
    };
    try {
      const answer = work();
      return answer instanceof Promise ? this.#inTime(answer).catch(failed) : answer;
    } catch (error) {
      return failed(error);
    }
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no answer within ${this.#timeoutMs} ms`));
      const timer = setTimeout(late, this.#timeoutMs);
      answer.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }

  #failed(exchange: Exchange, error: unknown): void {
    this.failures++;
    const rested = performance.now() >= this.#restsUntil;
    this.#restsUntil = performance.now() + this.#restMs;
    if (rested) {
      const reason = error instanceof Error ? error.message : String(error);
      exchange.note({ event: "cache_failed", store: this.#name, reason: reason.slice(0, 200) });
    }
  }
}
