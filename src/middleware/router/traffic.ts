import { LRUCache } from "lru-cache";
import type { Exchange, Outcome } from "../../core/exchange.ts";
import type { Target } from "../../core/provider.ts";
import type { Health, Rest } from "./health.ts";

/** Weight of the newest measurement in the moving average. */
const NEWEST = 0.2;

/** Retries that a target may have at once, before its share of the attempts counts. */
const RETRIES_AT_ONCE = 10;

/** What is known of one target. */
export interface Lane {
  running: number;
  /** Moving average, ms: of streams to their first content, of whole answers to their end. */
  stream: number | undefined;
  whole: number | undefined;
  /** Number of the attempt by which it was measured last. */
  measured: number;
  /** Retries that it may have: an attempt gives a part of one, a retry takes one, so they cannot amplify an outage. */
  retries: number;
  readonly health: Health | undefined;
}

export interface TrafficOptions {
  retryShare?: number;
  /** Absent: nobody rests. */
  healthOf?: ((target: Target) => Health) | undefined;
}

/** What runs where, how fast it has been and how it fared. Of the last thousand targets. */
export class Traffic {
  readonly #lanes = new LRUCache<string, Lane>({ max: 1_000 });
  readonly #options: TrafficOptions;
  #attempts = 0;

  constructor(options: TrafficOptions = {}) {
    this.#options = options;
  }

  #lane(target: Target): Lane {
    const name = target.name;
    let lane = this.#lanes.get(name);
    if (!lane) {
      const health = this.#options.healthOf?.(target);
      lane = { running: 0, stream: undefined, whole: undefined, measured: 0, retries: RETRIES_AT_ONCE, health };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  running(target: Target): number {
    return this.#lane(target).running;
  }

  speed(target: Target, stream: boolean): number | undefined {
    return this.#lane(target)[stream ? "stream" : "whole"];
  }

  /** The larger, the more recent. */
  measured(target: Target): number {
    return this.#lane(target).measured;
  }

  /** Why it should not be asked now; nothing is known of one that never was. */
  resting(target: Target): Rest | undefined {
    return this.#lanes.get(target.name)?.health?.resting();
  }

  /** Whether one more retry is allowed; it counts then. */
  takeRetry(target: Target): boolean {
    const lane = this.#lane(target);
    if (lane.retries < 1) return false;
    lane.retries--;
    return true;
  }

  /** Counts an attempt until it ends, and learns from how it ends. */
  watch(attempt: Exchange): Lane {
    const lane = this.#lane(attempt.target!);
    const { retryShare = 0 } = this.#options;
    lane.running++;
    lane.retries = Math.min(RETRIES_AT_ONCE, lane.retries + retryShare);
    lane.measured = ++this.#attempts;
    attempt.onFinish((outcome) => {
      lane.running--;
      if (outcome.error) lane.health?.failed(outcome.error);
      else if (outcome.ok && attempt.operation === "chat") measure(lane, attempt.body.stream, outcome);
    });
    return lane;
  }
}

function measure(lane: Lane, stream: boolean, { firstTokenMs, totalMs }: Outcome): void {
  if (stream) lane.stream = averaged(lane.stream, firstTokenMs ?? totalMs);
  else lane.whole = averaged(lane.whole, totalMs);
}

const averaged = (average: number | undefined, newest: number) =>
  average === undefined ? newest : average * (1 - NEWEST) + newest * NEWEST;
