import { getHeapStatistics } from "node:v8";
import { do_not_optimize, measure } from "mitata";

export interface MicroResult {
  group: string;
  name: string;
  /** µs per call, per event or per chunk. */
  us: Times;
  /** Bytes of heap that it allocates. */
  allocated: number;
  /** Of the input, where the figure per KB is of interest. */
  bytes?: number;
}

interface Times {
  min: number;
  p50: number;
  p99: number;
  avg: number;
}

interface Of {
  bytes?: number;
  /** How many things one call does. */
  per?: number;
}

const WARM_MS = 1_000;
/** In groups of about a millisecond: many of them are quiet also where the machine is not. */
const MEASURE = { min_cpu_time: 300e6, batch_samples: 64 };
const ONCE = { min_cpu_time: 0, min_samples: 1, batch_samples: 4, gc: false };

export class Bench {
  readonly results: MicroResult[] = [];
  readonly #group: string;
  readonly #smoke: boolean;

  constructor(group: string, smoke: boolean) {
    this.#group = group;
    this.#smoke = smoke;
  }

  async add(name: string, call: () => unknown, of: Of = {}): Promise<void> {
    this.#keep(name, await this.#measure(call, of), of.bytes);
  }

  /** What a longer one of the same takes more, each of the `per` things. */
  async addDifference(name: string, long: () => unknown, short: () => unknown, per: number): Promise<void> {
    const more = await this.#measure(long, { per });
    const less = await this.#measure(short, { per });
    this.#keep(name, {
      min: more.min - less.min,
      p50: more.p50 - less.p50,
      p99: Number.NaN,
      avg: more.avg - less.avg,
      allocated: more.allocated - less.allocated,
    });
  }

  #keep(name: string, { allocated, ...us }: Times & { allocated: number }, bytes?: number): void {
    this.results.push({ group: this.#group, name, us, allocated, ...(bytes !== undefined && { bytes }) });
  }

  async #measure(call: () => unknown, { per = 1 }: Of): Promise<Times & { allocated: number }> {
    const kept = () => {
      const result = call();
      do_not_optimize(result);
      return result;
    };
    const warm = performance.now() + (this.#smoke ? 0 : WARM_MS);
    do await kept();
    while (performance.now() < warm);
    const heap = () => getHeapStatistics().used_heap_size;
    const stats = await measure(kept, { ...(this.#smoke ? ONCE : MEASURE), heap });
    const us = (ns: number) => ns / 1_000 / per;
    return {
      min: us(stats.min),
      p50: us(stats.p50),
      p99: us(stats.p99),
      avg: us(stats.avg),
      allocated: (stats.heap?.avg ?? Number.NaN) / per,
    };
  }
}
