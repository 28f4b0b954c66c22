import { LRUCache } from "lru-cache";
import { GatewayError } from "../../core/errors.ts";
import type { MaybePromise } from "../../core/util.ts";
import type { Caller, Refused } from "./caller.ts";
import { bucket } from "./rate.ts";

/** A key that was unknown may just have been made. */
const UNKNOWN_MS = 1_000;
/** Keys that are remembered: their answers, and that they were good once. */
const MOST_KEYS = 10_000;

export interface LookupsOptions {
  cacheMs: number;
  timeoutMs: number;
  /** Look-ups of keys never seen before that come to nothing, per second in the long run. */
  maxWrongPerSecond: number;
}

interface Answer {
  readonly asked: Promise<Caller | Refused>;
  /** Once it is there. */
  found: Caller | Refused | undefined;
}

/**
 * Answers about keys from somewhere else: asked once for all who wait, kept for a while, bounded in number and time.
 * A flood of invented keys is stopped before the table; keys that were good once pass it.
 */
export function lookups({ cacheMs, timeoutMs, maxWrongPerSecond }: LookupsOptions) {
  const answers = new LRUCache<string, Answer>({ max: MOST_KEYS });
  const familiar = new LRUCache<string, true>({ max: MOST_KEYS });
  const strangers = bucket(maxWrongPerSecond);

  return {
    /** What is known of a key, or is being asked. */
    kept(hash: string): MaybePromise<Caller | Refused> | undefined {
      const answer = answers.get(hash);
      return answer?.found ?? answer?.asked;
    },

    /**
     * @param look runs one look-up
     * @throws GatewayError 503 when there is no answer, `rate_limited` when too many strangers came
     */
    ask(hash: string, look: () => Promise<Caller | Refused>): Promise<Caller | Refused> {
      const isStranger = familiar.get(hash) === undefined;
      if (isStranger && !strangers.take()) throw tooMany();
      const asked = bounded(look, timeoutMs).then(
        (found) => {
          answer.found = found;
          if ("refused" in found) {
            if (isStranger && answers.peek(hash) === answer)
              answers.set(hash, answer, { ttl: Math.min(cacheMs, UNKNOWN_MS) });
          } else {
            familiar.set(hash, true);
            if (isStranger) strangers.giveBack();
          }
          return found;
        },
        (error: unknown) => {
          if (answers.peek(hash) === answer) answers.delete(hash);
          if (isStranger) strangers.giveBack();
          throw unavailable(error);
        },
      );
      const answer: Answer = { asked, found: undefined };
      // From the beginning of the look-up: what is revoked after it is seen `cacheMs` later at the latest.
      if (cacheMs > 0) answers.set(hash, answer, { ttl: cacheMs });
      return asked;
    },
  };
}

export function tooMany(): GatewayError {
  return new GatewayError("rate_limited", "Too many wrong API keys; try again later", { retryAfterSeconds: 5 });
}

/** The cause, which may name hosts and files, is for the log. */
function unavailable(cause: unknown): GatewayError {
  if (cause instanceof GatewayError) return cause;
  return new GatewayError("internal", "API keys cannot be checked at the moment", {
    status: 503,
    retryable: true,
    retryAfterSeconds: 1,
    cause,
  });
}

async function bounded<T>(ask: () => Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer about a key within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([ask(), late]);
  } finally {
    clearTimeout(timer);
  }
}
