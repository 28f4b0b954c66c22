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

export interface LedgerOptions {
  timeoutMs: number;
  ttlMs: number;
  now: () => number;
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
  readonly #running = new Map<string, { exchange: Exchange; renewedAt: number }>();
  #outbox: (() => MaybePromise<unknown>)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(store: BudgetStore, options: LedgerOptions) {
    this.store = store;
    this.#options = options;
  }

  /** @throws StoreUnavailable; what an unanswered call may have taken is given back */
  async reserve(request: Omit<ReserveRequest, "ttlMs">): Promise<ReserveResult> {
    try {
      return await this.inTime(this.store.reserve({ ...request, ttlMs: this.#options.ttlMs }));
    } catch (error) {
      if ((error as { code?: string }).code === "invalid_units") throw error;
      this.release(request.id);
      throw new StoreUnavailable("the budget store cannot be reached", { cause: error });
    }
  }

  settle(request: SettleRequest): void {
    this.#running.delete(request.id);
    this.#eventually(() => this.store.settle(request));
  }

  release(id: string): void {
    this.#running.delete(id);
    this.#eventually(() => this.store.release(id));
  }

  /** Keeps a reservation alive while its exchange runs; when it is lost all the same, the exchange is ended. */
  keepAlive(id: string, exchange: Exchange): void {
    this.#running.set(id, { exchange, renewedAt: this.#options.now() });
    this.#wake();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const call of this.#outbox.splice(0)) {
      try {
        await call();
      } catch {
        // The store is gone; what it holds for us ends by itself.
      }
    }
    await this.store.close?.();
  }

  /** An answer within the deadline. @throws Error without one */
  async inTime<T>(answer: MaybePromise<T>): Promise<T> {
    if (!(answer instanceof Promise)) return answer;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`no answer within ${this.#options.timeoutMs} ms`)),
        this.#options.timeoutMs,
      );
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #eventually(call: () => MaybePromise<unknown>): void {
    const again = () => {
      this.#outbox.push(call);
      if (this.#outbox.length > MAX_OUTBOX) this.#outbox.shift();
      this.#wake();
    };
    try {
      const answer = call();
      if (answer instanceof Promise) answer.catch(again);
    } catch {
      again();
    }
  }

  #wake(): void {
    this.#timer ??= setInterval(() => this.#tend(), Math.max(250, this.#options.ttlMs / 4)).unref();
  }

  #tend(): void {
    const now = this.#options.now();
    for (const [id, entry] of this.#running) {
      if (now - entry.renewedAt < this.#options.ttlMs / 2) continue;
      entry.renewedAt = now;
      this.#renew(id, entry.exchange);
    }
    const waiting = this.#outbox;
    this.#outbox = [];
    for (const call of waiting) this.#eventually(call);
    if (this.#running.size === 0 && this.#outbox.length === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #renew(id: string, exchange: Exchange): void {
    const lost = (error: unknown) => {
      const gone = error instanceof ReservationLost || (error as { code?: string }).code === "reservation_lost";
      if (gone)
        exchange.abort(new GatewayError("budget_unavailable", "The budget reservation was lost while the answer ran"));
    };
    try {
      const answer = this.store.renew({ id, ttlMs: this.#options.ttlMs });
      if (answer instanceof Promise) answer.catch(lost);
    } catch (error) {
      lost(error);
    }
  }
}
