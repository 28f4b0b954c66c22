import { GatewayError } from "../core/errors.ts";
import type { ByteSource, Transport, UpstreamCall, UpstreamResponse } from "../core/provider.ts";
import { retryAfter } from "../core/retry-after.ts";

/** One of several keys of an upstream. */
export interface WeightedKey {
  key: string;
  /** Its part of the calls, against the others'. @default 1 */
  weight?: number | undefined;
  /** Most calls at a time. @default unlimited */
  concurrency?: number | undefined;
}

/** How long a key rests that was refused, or has no credit left: somebody has to change something first. */
const DEAD_MS = 600_000;
/** … and one that is limited and does not say until when. */
const LIMITED_MS = 2_000;
/** Calls that wait for a key; more are refused. */
const MAX_WAITING = 100;

interface Key {
  key: string;
  weight: number;
  concurrency: number;
  credit: number;
  running: number;
  /** Epoch ms. */
  restsUntil: number;
}

/**
 * Sends each call with one of several keys, by weight. A key that is refused (401, 403) or out of credit (402) is left
 * out for ten minutes, one that is limited (429) as long as the upstream says, and the call goes on with another. The
 * last key is always tried. Where all keys are busy, calls wait in line, up to a hundred.
 */
export function keyRing(
  given: readonly WeightedKey[],
  headersOf: (key: string) => Record<string, string>,
  send: Transport,
  now: () => number = Date.now,
): Transport {
  const keys: Key[] = given.map(({ key, weight = 1, concurrency = Number.POSITIVE_INFINITY }) => ({
    key,
    weight,
    concurrency,
    credit: 0,
    running: 0,
    restsUntil: 0,
  }));
  const line: (() => void)[] = [];

  /** Smooth weighted round-robin over those that may be used; `undefined`: all of them are busy. */
  function pick(tried: ReadonlySet<Key>): Key | undefined {
    const fresh = keys.filter((key) => !tried.has(key));
    const awake = fresh.filter(({ restsUntil }) => restsUntil <= now());
    // When all of them rest, the one that wakes first is asked all the same.
    const usable = awake.length > 0 ? awake : fresh.toSorted((a, b) => a.restsUntil - b.restsUntil).slice(0, 1);
    const free = usable.filter(({ running, concurrency }) => running < concurrency);
    if (free.length === 0) return undefined;
    for (const key of free) key.credit += key.weight;
    const best = free.reduce((a, b) => (b.credit > a.credit ? b : a));
    best.credit -= free.reduce((sum, { weight }) => sum + weight, 0);
    return best;
  }

  async function take(tried: ReadonlySet<Key>, call: UpstreamCall): Promise<Key> {
    for (;;) {
      const key = pick(tried);
      if (key) {
        key.running++;
        return key;
      }
      if (line.length >= MAX_WAITING) {
        throw new GatewayError("rate_limited", "All keys of this provider are busy, and too many calls wait", {
          retryAfterSeconds: 1,
        });
      }
      await new Promise<void>((resolve, reject) => {
        line.push(resolve);
        call.onAbort?.((reason) => {
          const place = line.indexOf(resolve);
          if (place !== -1) line.splice(place, 1);
          reject(reason);
        });
      });
    }
  }

  function release(key: Key): void {
    key.running--;
    line.shift()?.();
  }

  /** Whether another key may do better; this one rests then. */
  function rest(key: Key, { status, headers }: UpstreamResponse): boolean {
    const ms =
      status === 401 || status === 402 || status === 403
        ? DEAD_MS
        : status === 429
          ? (retryAfter(headers, now()) ?? LIMITED_MS / 1_000) * 1_000
          : 0;
    if (ms > 0) key.restsUntil = now() + ms;
    return ms > 0;
  }

  return async (call) => {
    const tried = new Set<Key>();
    for (;;) {
      const key = await take(tried, call);
      tried.add(key);
      let response: UpstreamResponse;
      try {
        response = await send({ ...call, headers: { ...headersOf(key.key), ...call.headers } });
      } catch (error) {
        release(key);
        throw error;
      }
      const done = once(() => release(key));
      const another = keys.some((each) => !tried.has(each) && each.restsUntil <= now());
      if (rest(key, response) && another) {
        response.body.cancel();
        done();
        continue;
      }
      if (response.status < 400) key.restsUntil = 0;
      return { ...response, body: watched(response.body, done) };
    }
  };
}

/** Tells when a body has come to its end, or nobody wants it any more. */
function watched(body: ByteSource, done: () => void): ByteSource {
  return {
    start: (sink) =>
      body.start({
        data: (chunk) => sink.data(chunk),
        end() {
          done();
          sink.end();
        },
        error(error) {
          done();
          sink.error(error);
        },
      }),
    pause: () => body.pause(),
    resume: () => body.resume(),
    cancel() {
      done();
      body.cancel();
    },
  };
}

function once(run: () => void): () => void {
  let ran = false;
  return () => {
    if (!ran) run();
    ran = true;
  };
}
