import {
  type CircuitBreakerPolicy,
  CircuitState,
  CountBreaker,
  circuitBreaker,
  handleWhen,
  type IBackoff,
} from "cockatiel";
import { LRUCache } from "lru-cache";
import { type ErrorCode, GatewayError, isGatewayError } from "../../core/errors.ts";
import type { Target } from "../../core/provider.ts";
import type { HealthOptions } from "./options.ts";

const MAX_ENTRIES = 1_000;
/** A rest that somebody else names is believed up to this. */
const MAX_NAMED_REST_MS = 32 * 24 * 3_600_000;

/** Errors that speak of the target and not of the request. */
const FAULTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "upstream_error",
  "upstream_unreachable",
  "upstream_invalid",
  "upstream_overloaded",
  "upstream_timeout",
  "rate_limited",
]);

const RENEWED =
  /(?:regain access|resets?|available again)\s+(?:on|at)\s+(\d{4}-\d\d-\d\d)(?:[T ]|\s+at\s+)?(\d\d:\d\d)?/i;

export interface Rest {
  /** Epoch ms; `undefined`: until the probe that runs has ended. */
  until: number | undefined;
  reason: string;
}

interface Circuit {
  policy: CircuitBreakerPolicy;
  /** Times it has opened without a success in between. */
  opened: number;
  /** Epoch ms of the system's clock, which the breaker reads. */
  until: number;
}

/**
 * Which targets rest. Three reasons: too many of its last calls failed (a circuit breaker per provider and model, with
 * a probe after each rest), it said when to come again (429) or refuses our key, or its credit is gone (then
 * the whole provider rests).
 */
export class Health {
  readonly #options: HealthOptions;
  readonly #now: () => number;
  readonly #circuits = new LRUCache<string, Circuit>({ max: MAX_ENTRIES });
  readonly #rests = new LRUCache<string, { until: number; reason: string }>({ max: MAX_ENTRIES });

  constructor(options: HealthOptions, now: () => number) {
    this.#options = options;
    this.#now = now;
  }

  /** Why it should not be asked now. */
  resting(target: Target): Rest | undefined {
    for (const key of [target.providerName, target.name]) {
      const rest = this.#rests.get(key);
      if (rest && rest.until > this.#now()) return rest;
    }
    const circuit = this.#circuits.get(target.name);
    if (circuit?.policy.state === CircuitState.HalfOpen) return { until: undefined, reason: "a probe is under way" };
    if (circuit?.policy.state !== CircuitState.Open || Date.now() >= circuit.until) return undefined;
    return { until: circuit.until, reason: "its last calls failed" };
  }

  /** Runs an attempt and learns from it. @param forced nobody else is left: it is asked although it rests */
  async watch<T>(target: Target, forced: boolean, call: () => Promise<T>): Promise<T> {
    const { policy } = this.#circuit(target);
    const direct = forced && policy.state !== CircuitState.Closed && this.resting(target) !== undefined;
    if (!direct && policy.state === CircuitState.HalfOpen) throw resting(target);
    try {
      const result = await (direct ? call() : policy.execute(call));
      this.#rests.delete(target.name);
      this.#rests.delete(target.providerName);
      return result;
    } catch (error) {
      if (!isGatewayError(error)) throw asResting(error, target);
      this.#learn(target, error);
      throw error;
    }
  }

  /** An answer broke after it had begun. */
  broke(target: Target, error: GatewayError): void {
    const { policy } = this.#circuit(target);
    if (policy.state === CircuitState.Closed) policy.execute(() => Promise.reject(error)).catch(() => {});
  }

  #learn(target: Target, error: GatewayError): void {
    const rest = this.#restAfter(error);
    if (!rest) return;
    const key = rest.whole ? target.providerName : target.name;
    const until = this.#now() + Math.min(rest.ms, MAX_NAMED_REST_MS);
    this.#rests.set(key, { until, reason: `${rest.reason} until ${new Date(until).toISOString()}` });
  }

  #restAfter(error: GatewayError): { ms: number; reason: string; whole: boolean } | undefined {
    const { authRestMs, quotaRestMs } = this.#options;
    const named = error.retryAfterSeconds === undefined ? undefined : error.retryAfterSeconds * 1_000;
    // A key may be good for another model.
    if (error.code === "upstream_auth") return { ms: authRestMs, reason: "it refuses our key", whole: false };
    if (error.code === "upstream_error" && error.status === 402) {
      const ms = named ?? this.#renewedIn(error.message) ?? quotaRestMs;
      return { ms, reason: "it is out of credit", whole: true };
    }
    if (error.code === "rate_limited" && named !== undefined && !isOwnLimit(error)) {
      return { ms: named, reason: "it is limited", whole: false };
    }
    return undefined;
  }

  /** `… You will regain access on 2026-12-01 at 00:00 UTC.` */
  #renewedIn(message: string): number | undefined {
    const [, day, time = "00:00"] = RENEWED.exec(message) ?? [];
    const ms = day === undefined ? Number.NaN : Date.parse(`${day}T${time}:00Z`) - this.#now();
    return ms > 0 ? ms : undefined;
  }

  #circuit(target: Target): Circuit {
    const name = target.name;
    const known = this.#circuits.get(name);
    if (known) return known;
    const { window, minCalls, failureShare, restMs, maxRestMs } = this.#options;
    const restAfter = (openings: number) => Math.min(maxRestMs, restMs * 2 ** Math.min(20, openings - 1));
    const backoff = (openings: number): IBackoff<unknown> => ({
      duration: restAfter(openings),
      next: () => backoff(openings + 1),
    });
    const policy = circuitBreaker(
      handleWhen((error) => isGatewayError(error) && FAULTS.has(error.code) && !isOwnLimit(error)),
      {
        breaker: new CountBreaker({
          size: Math.max(window, minCalls),
          minimumNumberOfCalls: minCalls,
          threshold: failureShare,
        }),
        halfOpenAfter: { next: () => backoff(1) },
      },
    );
    const circuit: Circuit = { policy, opened: 0, until: 0 };
    policy.onBreak(() => {
      circuit.opened++;
      circuit.until = Date.now() + restAfter(circuit.opened);
    });
    policy.onReset(() => {
      circuit.opened = 0;
    });
    this.#circuits.set(name, circuit);
    return circuit;
  }
}

/** A limit of the gateway's own says nothing of the target. */
const isOwnLimit = ({ details }: GatewayError) => details?.limit !== undefined;

const resting = (target: Target, cause?: unknown) =>
  new GatewayError("upstream_overloaded", `${target.name} rests after failures`, {
    provider: target.providerName,
    ladder: "next",
    cause,
  });

/** The breaker opened between the decision and the attempt. */
function asResting(error: unknown, target: Target): unknown {
  return (error as { isBrokenCircuitError?: boolean }).isBrokenCircuitError ? resting(target, error) : error;
}
