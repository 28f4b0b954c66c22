import { GatewayError } from "../../core/errors.ts";
import type { Target } from "../../core/provider.ts";
import { Circuit, isOwnLimit } from "./circuit.ts";
import type { HealthOptions } from "./options.ts";

/** A rest that somebody else names is believed up to this. */
const MAX_NAMED_REST_MS = 32 * 24 * 3_600_000;

const RENEWED =
  /(?:regain access|resets?|available again)\s+(?:on|at)\s+(\d{4}-\d\d-\d\d)(?:[T ]|\s+at\s+)?(\d\d:\d\d)?/i;

export interface Rest {
  /** Epoch ms; `undefined`: until the probe that runs has ended. */
  until: number | undefined;
  reason: string;
}

type NamedRest = Rest & { until: number };

/** What the health of all targets has in common. */
export interface HealthContext {
  options: HealthOptions;
  now: () => number;
  /** Rests of whole providers, by name. */
  providers: Map<string, NamedRest>;
}

/**
 * When a target should not be asked for a while: its last calls failed (a circuit breaker per provider and model, with
 * a probe after each rest), it said when to come again (429) or refuses our key, or its credit is gone (then
 * the whole provider rests).
 */
export class Health {
  readonly #target: Target;
  readonly #context: HealthContext;
  readonly #circuit: Circuit;
  #rest: NamedRest | undefined;

  constructor(target: Target, context: HealthContext) {
    this.#target = target;
    this.#context = context;
    this.#circuit = new Circuit(context.options);
  }

  /** Why it should not be asked now. */
  resting(): Rest | undefined {
    const { providers, now } = this.#context;
    const whole = providers.size > 0 ? providers.get(this.#target.providerName) : undefined;
    if (whole && whole.until > now()) return whole;
    if (this.#rest && this.#rest.until > now()) return this.#rest;
    if (this.#circuit.closed) return undefined;
    if (this.#circuit.probing) return { until: undefined, reason: "a probe is under way" };
    const until = this.#circuit.restsUntil;
    return until === undefined ? undefined : { until, reason: "its last calls failed" };
  }

  /** Its last calls went well, or well enough. */
  get sound(): boolean {
    return this.#circuit.closed;
  }

  /** Asks a target that is not sound. @param forced nobody else is left: it is asked although it rests */
  async probe<T>(forced: boolean, call: () => Promise<T>): Promise<T> {
    if (forced && this.resting()) return call();
    if (this.#circuit.probing) throw this.#restingError();
    try {
      return await this.#circuit.probe(call);
    } catch (error) {
      // The breaker opened between the decision and the attempt.
      throw (error as { isBrokenCircuitError?: boolean }).isBrokenCircuitError ? this.#restingError(error) : error;
    }
  }

  /** An answer has begun. @param wasSound as it was before; a probe is counted by itself */
  answered(wasSound: boolean): void {
    if (wasSound) this.#circuit.succeeded();
    this.#rest = undefined;
    if (this.#context.providers.size > 0) this.#context.providers.delete(this.#target.providerName);
  }

  /** An attempt has failed, or its answer broke after it had begun. */
  failed(error: GatewayError): void {
    this.#circuit.failed(error);
  }

  /** What an upstream that refuses says of when to come again. */
  refused(error: GatewayError): void {
    const rest = this.#restAfter(error);
    if (!rest) return;
    const until = this.#context.now() + Math.min(rest.ms, MAX_NAMED_REST_MS);
    const named = { until, reason: `${rest.reason} until ${new Date(until).toISOString()}` };
    if (rest.whole) this.#context.providers.set(this.#target.providerName, named);
    else this.#rest = named;
  }

  #restAfter(error: GatewayError): { ms: number; reason: string; whole: boolean } | undefined {
    const { authRestMs, quotaRestMs } = this.#context.options;
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
    const ms = day === undefined ? Number.NaN : Date.parse(`${day}T${time}:00Z`) - this.#context.now();
    return ms > 0 ? ms : undefined;
  }

  #restingError(cause?: unknown): GatewayError {
    return new GatewayError("upstream_overloaded", `${this.#target.name} rests after failures`, {
      provider: this.#target.providerName,
      ladder: "next",
      cause,
    });
  }
}
