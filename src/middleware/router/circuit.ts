import {
  type CircuitBreakerPolicy,
  CircuitState,
  CountBreaker,
  circuitBreaker,
  handleWhen,
  type IBackoff,
} from "cockatiel";
import { type ErrorCode, type GatewayError, isGatewayError } from "../../core/errors.ts";
import type { HealthOptions } from "./options.ts";

/** Errors that speak of the target and not of the request. */
const FAULTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "upstream_error",
  "upstream_unreachable",
  "upstream_invalid",
  "upstream_overloaded",
  "upstream_timeout",
  "rate_limited",
]);

/** A limit of the gateway's own says nothing of the target. */
export const isOwnLimit = ({ details }: GatewayError) => details?.limit !== undefined;

const isFault = (error: unknown) => isGatewayError(error) && FAULTS.has(error.code) && !isOwnLimit(error);

/** The circuit breaker of one target. While it is closed it runs no calls, it only counts how they ended. */
export class Circuit {
  readonly #window: CountBreaker;
  readonly #policy: CircuitBreakerPolicy;
  /** Times it has opened without a success in between. */
  #opened = 0;
  /** Epoch ms of the system's clock, which the breaker reads. */
  #until = 0;

  constructor({ window, minCalls, failureShare, restMs, maxRestMs }: HealthOptions) {
    const restAfter = (openings: number) => Math.min(maxRestMs, restMs * 2 ** Math.min(20, openings - 1));
    const backoff = (openings: number): IBackoff<unknown> => ({
      duration: restAfter(openings),
      next: () => backoff(openings + 1),
    });
    this.#window = new CountBreaker({
      size: Math.max(window, minCalls),
      minimumNumberOfCalls: minCalls,
      threshold: failureShare,
    });
    this.#policy = circuitBreaker(handleWhen(isFault), {
      breaker: this.#window,
      halfOpenAfter: { next: () => backoff(1) },
    });
    this.#policy.onBreak(() => {
      this.#opened++;
      this.#until = Date.now() + restAfter(this.#opened);
    });
    this.#policy.onReset(() => {
      this.#opened = 0;
    });
  }

  get closed(): boolean {
    return this.#policy.state === CircuitState.Closed;
  }

  /** One call runs, and the circuit closes or opens with it. */
  get probing(): boolean {
    return this.#policy.state === CircuitState.HalfOpen;
  }

  /** Epoch ms; `undefined` where a call may be made now. */
  get restsUntil(): number | undefined {
    return this.#policy.state === CircuitState.Open && Date.now() < this.#until ? this.#until : undefined;
  }

  /** A call that began while it was closed. */
  succeeded(): void {
    this.#window.success(CircuitState.Closed);
  }

  /** A call that began while it was closed. Of those that began before it opened nothing more is learnt. */
  failed(error: GatewayError): void {
    if (this.closed) this.#policy.execute(() => Promise.reject(error)).catch(() => {});
  }

  /** Makes a call while it is not closed. */
  probe<T>(call: () => Promise<T>): Promise<T> {
    return this.#policy.execute(call);
  }
}
