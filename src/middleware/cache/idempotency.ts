import { randomUUID } from "node:crypto";
import type { CacheStore } from "../../core/cache-store.ts";
import { type ErrorCode, GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { isObject } from "../../core/util.ts";
import { type Entry, readEntry, writeEntry } from "./entry.ts";
import { orAborted } from "./flight.ts";
import type { Guard } from "./guard.ts";
import { fingerprint, hash, tenantOf } from "./key.ts";
import type { IdempotencyOptions } from "./options.ts";

/** Errors that the same request meets again whenever it comes; only they are repeated instead of a new try. */
const LASTING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "invalid_request",
  "context_length_exceeded",
  "unsupported",
  "request_too_large",
]);

const MAX_KEY = 255;
/** Between two looks at a request that another process runs. */
const POLL_MS = { first: 50, most: 1_000 };

/** The first answer, or the right to make it. */
export type Claimed = { entry: Entry } | { claim: Claim };

/** Held by the one request that runs. */
export interface Claim {
  /** Keeps what comes of it for those who ask again, and lets them try where nothing lasting does. */
  follow(whole: Promise<Entry | undefined>): void;
}

/** What stands in the store: who runs it, or what came of it. */
interface Note {
  print: string;
  token?: string;
  entry?: string;
  error?: { code: ErrorCode; message: string; status: number; param?: string };
}

export interface Idempotency {
  /**
   * Undefined where the caller sent no `idempotency-key`.
   * @throws GatewayError `conflict` (422) when the key stands for another request, or the first one's error
   */
  claim(exchange: Exchange): Promise<Claimed | undefined>;
}

/** A retried request gets the first one's answer, or waits for it, in this process and in those that share the store. */
export function idempotency(
  store: CacheStore,
  guard: Guard,
  options: IdempotencyOptions,
  maxChars: number,
): Idempotency {
  /** Requests that run here, by key. */
  const running = new Map<string, { print: string; over: Promise<void> }>();

  async function claim(exchange: Exchange): Promise<Claimed | undefined> {
    const given = exchange.headers["idempotency-key"];
    if (given === undefined) return undefined;
    if (given === "" || given.length > MAX_KEY) {
      throw new GatewayError("invalid_request", `\`idempotency-key\` must have 1 to ${MAX_KEY} characters`, {
        param: "idempotency-key",
      });
    }
    const key = hash({ kind: "idempotency", tenant: tenantOf(exchange, "key"), key: given });
    const print = fingerprint(exchange);
    for (let wait = POLL_MS.first; ; wait = Math.min(wait * 2, POLL_MS.most)) {
      const here = running.get(key);
      if (here) {
        checkSame(here.print, print);
        await orAborted(here.over, exchange);
        continue;
      }
      const mine = JSON.stringify({ print, token: randomUUID() } satisfies Note);
      const over = announce(key, print);
      const found = await guard.call(exchange, () => store.add(key, mine, options.lockMs), undefined);
      // A store that repeats a call finds our own note.
      if (found === undefined || found === mine) return { claim: held(exchange, key, mine, print, over) };
      over();
      const note = readNote(found);
      if (!note) throw new GatewayError("internal", "The cache store holds something else under an idempotency key");
      checkSame(note.print, print);
      if (note.error) throw new GatewayError(note.error.code, note.error.message, note.error);
      const entry = readEntry(note.entry);
      if (entry) return { entry };
      await orAborted(new Promise((resolve) => setTimeout(resolve, wait)), exchange);
    }
  }

  function announce(key: string, print: string): () => void {
    let over!: () => void;
    const ended = new Promise<void>((resolve) => {
      over = resolve;
    });
    running.set(key, { print, over: ended });
    return () => {
      running.delete(key);
      over();
    };
  }

  function held(exchange: Exchange, key: string, mine: string, print: string, over: () => void): Claim {
    // Held while it runs; when this process dies, it lapses.
    const renewal = setInterval(
      () => void guard.call(exchange, () => store.swap(key, mine, mine, options.lockMs), false),
      options.lockMs / 3,
    ).unref();
    const settle = async (note: Omit<Note, "print"> | undefined) => {
      clearInterval(renewal);
      const text = note && JSON.stringify({ print, ...note } satisfies Note);
      const kept = text !== undefined && text.length <= maxChars ? text : undefined;
      try {
        await guard.call(exchange, () => store.swap(key, mine, kept, options.ttlMs), false);
      } finally {
        over();
      }
    };
    return {
      follow(whole) {
        whole.then(
          (entry) => settle(entry && { entry: writeEntry(entry) }),
          (error) => settle(lasting(toGatewayError(error))),
        );
      },
    };
  }

  return { claim };
}

function lasting({ code, message, status, param }: GatewayError): Pick<Note, "error"> | undefined {
  return LASTING.has(code) ? { error: { code, message, status, ...(param !== undefined && { param }) } } : undefined;
}

function checkSame(known: string, print: string): void {
  if (known === print) return;
  throw new GatewayError("conflict", "This `idempotency-key` was used for another request", {
    status: 422,
    retryable: false,
    param: "idempotency-key",
  });
}

function readNote(text: string): Note | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) && typeof value.print === "string" ? (value as unknown as Note) : undefined;
  } catch {
    return undefined;
  }
}
