import { LRUCache } from "lru-cache";
import type { Exchange } from "../../core/exchange.ts";
import type { Target } from "../../core/provider.ts";

/** Weight of the newest measurement in the moving average. */
const NEWEST = 0.2;

interface Lane {
  running: number;
  /** Moving average, ms: of streams to their first content, of whole answers to their end. */
  stream: number | undefined;
  whole: number | undefined;
  /** Number of the decision by which it was measured last. */
  measured: number;
}

/** What runs where, and how fast it has been. Of the last thousand targets. */
export class Traffic {
  readonly #lanes = new LRUCache<string, Lane>({ max: 1_000 });
  #decisions = 0;

  #lane(target: Target): Lane {
    const name = target.name;
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = { running: 0, stream: undefined, whole: undefined, measured: 0 };
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

  /** Counts an attempt until it ends, and measures it. */
  watch(attempt: Exchange): void {
    const lane = this.#lane(attempt.target!);
    lane.running++;
    lane.measured = ++this.#decisions;
    attempt.onFinish((outcome) => {
      lane.running--;
      if (!outcome.ok || attempt.operation !== "chat") return;
      const kind = attempt.body.stream ? "stream" : "whole";
      const took = kind === "stream" ? (outcome.firstTokenMs ?? outcome.totalMs) : outcome.totalMs;
      lane[kind] = lane[kind] === undefined ? took : lane[kind] * (1 - NEWEST) + took * NEWEST;
    });
  }
}
