import { ById, type Identified } from "../../budget/by-id.ts";
import {
  type BudgetStore,
  ReservationLost,
  type ReserveRequest,
  type ReserveResult,
  type SettleRequest,
} from "../../core/budget-store.ts";
import { GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { MaybePromise } from "../../core/util.ts";

/** Settles and releases that wait for a store that is away; the oldest are given up beyond it. */
const MAX_OUTBOX = 10_000;
/** A gateway that closes waits longer for its store than a request does. */
const CLOSE_MS = 5_000;

export interface LedgerOptions {
  timeoutMs: number;
  ttlMs: number;
  now: () => number;
}

/** A reservation whose exchange runs. */
interface Running extends Identified<Running> {
  readonly exchange: Exchange;
  renewedAt: number;
}

/** The store did not answer, or answered with a fault of its own. */
export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
}

/**
 * Talks to a budget store so that nothing is lost: calls have a deadline, long requests are renewed, and what could
 * not be settled is tried again with the same id. One timer for all, and only while there is something to do.
 */
export class Ledger {
  readonly store: BudgetStore;
  readonly #options: LedgerOptions;
  readonly #running = new ById<Running>();
  #outbox: (() => MaybePromise<unknown>)[] = [];
  readonly #sent = new Set<Promise<unknown>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(store: BudgetStore, options: LedgerOptions) {
    this.store = store;
    this.#options = options;
  }

  /** @throws StoreUnavailable; what an unanswered call may have taken is given back */
  reserve(request: Omit<ReserveRequest, "ttlMs">): MaybePromise<ReserveResult> {
    const { id, fingerprint, holds, want, min, onExpire } = request;
    let answer: MaybePromise<ReserveResult>;
    try {
      answer = this.store.reserve({ id, fingerprint, holds, want, min, ttlMs: this.#options.ttlMs, onExpire });
    } catch (error) {
      throw this.#unreserved(id, error);
    }
    return answer instanceof Promise ? this.#reservedInTime(id, answer) : answer;
  }

  async #reservedInTime(id: string, answer: Promise<ReserveResult>): Promise<ReserveResult> {
    try {
      return await this.inTime(answer);
    } catch (error) {
      const failure = this.#unreserved(id, error);
      // A call that still waits for its connection may come after the release: give back what it takes then.
      if (failure instanceof StoreUnavailable) void answer.then(() => this.release(id)).catch(() => {});
      throw failure;
    }
  }

  #unreserved(id: string, error: unknown): unknown {
    if ((error as { code?: string }).code === "invalid_units") return error;
    this.release(id);
    return new StoreUnavailable("the budget store cannot be reached", { cause: error });
  }

  settle(request: SettleRequest): void {
    this.#ended(request.id);
    this.#eventually(() => this.store.settle(request));
  }

  release(id: string): void {
    this.#ended(id);
    this.#eventually(() => this.store.release(id));
  }

  /** Keeps a reservation alive while its exchange runs; when it is lost all the same, the exchange is ended. */
  keepAlive(id: string, exchange: Exchange, reservedAt = this.#options.now()): void {
    // An attempt that is handed down twice is one reservation.
    if (!this.#running.get(id)) {
      this.#running.add({ id, hash: 0, next: undefined, exchange, renewedAt: reservedAt });
    }
    this.#wake();
  }

  #ended(id: string): void {
    const running = this.#running.get(id);
    if (running) this.#running.delete(running);
  }

  async close(): Promise<void> {
    // What is under way may still fail, and is then tried once more with the rest.
    await this.inTime(Promise.all(this.#sent), CLOSE_MS).catch(() => {});
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const call of this.#outbox.splice(0)) {
      try {
        await this.inTime(call(), CLOSE_MS);
      } catch {
        // The store is gone; what it holds for us ends by itself.
      }
    }
    await this.store.close?.();
  }

  /** An answer within the deadline. @throws Error without one */
  async inTime<T>(answer: MaybePromise<T>, ms = this.#options.timeoutMs): Promise<T> {
    if (!(answer instanceof Promise)) return answer;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #eventually(call: () => MaybePromise<unknown>): void {
    try {
      const answer = call();
      if (!(answer instanceof Promise)) return;
      const sent: Promise<unknown> = answer.catch(() => this.#later(call)).finally(() => this.#sent.delete(sent));
      this.#sent.add(sent);
    } catch {
      this.#later(call);
    }
  }

  #later(call: () => MaybePromise<unknown>): void {
    this.#outbox.push(call);
    if (this.#outbox.length > MAX_OUTBOX) this.#outbox.shift();
    this.#wake();
  }

  #wake(): void {
    this.#timer ??= setInterval(() => this.#tend(), Math.max(250, this.#options.ttlMs / 4)).unref();
  }

  #tend(): void {
    const now = this.#options.now();
    for (const entry of this.#running.all()) {
      const age = now - entry.renewedAt;
      // A clock that is set back must not put renewals off.
      if (age >= 0 && age < this.#options.ttlMs / 2) continue;
      entry.renewedAt = now;
      this.#renew(entry);
    }
    const waiting = this.#outbox;
    this.#outbox = [];
    for (const call of waiting) this.#eventually(call);
    if (this.#running.size === 0 && this.#outbox.length === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #renew(entry: Running): void {
    const lost = (error: unknown) => {
      const gone = error instanceof ReservationLost || (error as { code?: string }).code === "reservation_lost";
      // A renewal that failed for another reason is tried again at once, not after the hold has ended.
      if (!gone) entry.renewedAt = Number.NEGATIVE_INFINITY;
      else {
        const lost = new GatewayError("budget_unavailable", "The budget reservation was lost while the answer ran");
        entry.exchange.abort(lost);
      }
    };
    try {
      const answer = this.store.renew({ id: entry.id, ttlMs: this.#options.ttlMs });
      if (answer instanceof Promise) answer.catch(lost);
    } catch (error) {
      lost(error);
    }
  }
}
