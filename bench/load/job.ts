/** What the load is told, and what it tells. */

interface Ask {
  port: number;
  path: string;
  headers: Record<string, string>;
  body: string;
  connections: number;
}

/** Every connection asks again as soon as it has its answer, until `requests` were asked or `ms` are over. */
export interface LoopJob extends Ask {
  type: "loop";
  requests: number;
  ms?: number;
}

/** So many requests per second, however long the answers take. */
export interface RateJob extends Ask {
  type: "rate";
  perSecond: number;
  ms: number;
}

/** Opens one stream per connection and leaves it open, until told to `drop` them. */
export interface OpenJob extends Ask {
  type: "open";
}

/** Opens streams and leaves them at different moments, `requests` in all. */
export interface LeaveJob extends Ask {
  type: "leave";
  requests: number;
}

export type Job = LoopJob | RateJob | OpenJob | LeaveJob;

export interface Loaded {
  type: "done";
  requests: number;
  errors: number;
  /** The first answer that was not 200, for the message. */
  firstError?: string;
  elapsedMs: number;
  /** Times of the answers, ms. */
  p50: number;
  p95: number;
  p99: number;
  max: number;
}

export function bytesOf({ path, headers, body }: Ask): Buffer {
  const lines = Object.entries({ host: "bench", ...headers, "content-length": String(Buffer.byteLength(body)) });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return Buffer.from(`POST ${path} HTTP/1.1\r\n${head}\r\n${body}`);
}

/** Counts answers, and what went wrong with the first that did. */
export class Tally {
  answered = 0;
  errors = 0;
  #firstError: string | undefined;
  readonly #times: Float64Array;
  readonly #started = performance.now();

  constructor(most: number) {
    this.#times = new Float64Array(most);
  }
  add(ms: number, problem?: string): void {
    this.#times[this.answered++] = ms;
    if (problem === undefined) return;
    this.errors++;
    this.#firstError ??= problem;
  }
  /** `problem`: why it ended before everything was answered. */
  done(problem?: string): Loaded {
    const sorted = this.#times.subarray(0, this.answered).toSorted();
    const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
    const firstError = this.#firstError ?? problem;
    return {
      type: "done",
      requests: this.answered,
      errors: this.errors + (problem === undefined ? 0 : 1),
      ...(firstError !== undefined && { firstError }),
      elapsedMs: performance.now() - this.#started,
      p50: at(0.5),
      p95: at(0.95),
      p99: at(0.99),
      max: at(1),
    };
  }
}
