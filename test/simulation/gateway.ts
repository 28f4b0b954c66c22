/** One simulated gateway process: the real `Ledger` over a store, callers with random wishes, and an upstream. */
import type { BudgetStore, Hold, ReserveRequest, ReserveResult, SettleOutcome } from "../../src/core/budget-store.ts";
import type { Exchange } from "../../src/core/exchange.ts";
import { Ledger, StoreUnavailable } from "../../src/middleware/budget/ledger.ts";
import { insist, type Truth } from "./audit.ts";
import type { Plan } from "./plan.ts";
import type { SimProcess, World } from "./world.ts";

export const WINDOW_MS = 8_000;
export const ROLL_STEP_MS = 1_000;
export const ROLL_STEPS = 5;

export class SimGateway implements SimProcess {
  readonly name: string;
  isAlive = true;
  isPaused = false;
  clockOffset = 0;
  /** Callers that still want something, or wait for it. */
  active = 0;
  isClosed = false;
  /** Thrown where nobody catches. */
  failure: unknown;
  /** What its own store holds for requests, as far as the outside can tell. */
  readonly running = new Map<string, { holds: readonly Hold[]; held: ReadonlyMap<string, number>; until: number }>();
  #ledger: Ledger | undefined;
  readonly #world: World;
  readonly #truth: Truth;
  readonly #plan: Plan;
  readonly #onGrant: (process: SimGateway, holds: readonly Hold[]) => void;
  #requests = 0;

  constructor(
    name: string,
    world: World,
    truth: Truth,
    plan: Plan,
    onGrant: (process: SimGateway, holds: readonly Hold[]) => void,
  ) {
    this.#onGrant = onGrant;
    this.name = name;
    this.#world = world;
    this.#truth = truth;
    this.#plan = plan;
  }

  now = () => this.#world.now + this.clockOffset;

  start(connect: (process: SimGateway) => BudgetStore): void {
    this.#world.spawn(this, () => {
      const { holdTtlMs } = this.#plan;
      const store = this.#observed(connect(this));
      this.#ledger = new Ledger(store, { timeoutMs: 250, ttlMs: holdTtlMs, now: this.now });
      for (let caller = 0; caller < this.#plan.callers; caller++) {
        this.active++;
        this.#call()
          .catch((error) => {
            this.failure ??= error;
          })
          .finally(() => {
            this.active--;
          });
      }
    });
  }

  close(): void {
    this.#world.spawn(this, () => {
      this.#ledger!.close()
        .catch((error) => {
          this.failure ??= error;
        })
        .finally(() => {
          this.isClosed = true;
        });
    });
  }

  async #call(): Promise<void> {
    for (let i = 0; i < this.#plan.requestsPerCaller; i++) {
      await sleep(this.#world.random.below(400));
      await this.#request(`${this.name}:${++this.#requests}`);
    }
  }

  async #request(id: string): Promise<void> {
    const { random } = this.#world;
    const ledger = this.#ledger!;
    const holds = this.#holds();
    const want = 1 + random.below(this.#plan.largest);
    const min = 1 + random.below(Math.min(want, 20));
    const request = { id, fingerprint: `f${want}`, holds, want, min, onExpire: this.#plan.requestsExpireBy };
    const reserve = async () => ledger.reserve(request);
    const result = await reserve().catch((error: unknown) => {
      if (error instanceof StoreUnavailable) return undefined;
      throw error;
    });
    if (!result?.ok) return;
    insist(min <= result.granted && result.granted <= want, () => `[10] ${id} got ${result.granted} of ${min}-${want}`);

    // An answer that streams: some end at once, some must be renewed, some are broken off.
    let stop = () => {};
    const isStopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    ledger.keepAlive(id, { abort: stop } as unknown as Exchange);
    const longest = random.chance(0.2) ? 2 * this.#plan.holdTtlMs : 300;
    await Promise.race([sleep(random.below(longest)), isStopped]);
    if (random.chance(0.1)) return ledger.release(id);

    const output = random.below(result.granted + 1);
    const most = this.#plan.overruns ? 2 * output : output;
    const amounts = (units: number) => new Map(holds.map((hold) => [hold.counter, hold.fixed + units * hold.perUnit]));
    const actual = amounts(most);
    const { name: owner } = this;
    this.#truth.deliver({ id, owner, holds, actual, held: amounts(result.granted), isLate: false });
    ledger.settle({ id, actual, holds });
  }

  /** A cap per window, often a rolling one beside it, sometimes one that only counts; in any order. */
  #holds(): Hold[] {
    const { random } = this.#world;
    const { cap, rollingCap } = this.#plan;
    const bucket = Math.floor(this.now() / WINDOW_MS) * WINDOW_MS;
    const fixed = random.below(10);
    const cost = { fixed, perUnit: 1 };
    const window = { bucket, from: bucket, step: 0, until: bucket + WINDOW_MS };
    const holds: Hold[] = [{ counter: "cap", ...window, ...cost, limit: cap }];
    if (rollingCap !== undefined && random.chance(0.6)) {
      const roll = Math.floor(this.now() / ROLL_STEP_MS) * ROLL_STEP_MS;
      const from = roll - ROLL_STEPS * ROLL_STEP_MS;
      const span = { bucket: roll, from, step: ROLL_STEP_MS, until: roll + (ROLL_STEPS + 1) * ROLL_STEP_MS };
      holds.splice(random.below(2), 0, { counter: "rolling", ...span, ...cost, limit: rollingCap });
    }
    if (random.chance(0.3) && this.#plan.counting) {
      const count = { counter: "count", ...window, fixed: 1, perUnit: 0, limit: null };
      holds.splice(random.below(holds.length + 1), 0, count);
    }
    return holds;
  }

  /** Notes what the process's own store granted, and which deliveries it settled too late. */
  #observed(store: BudgetStore): BudgetStore {
    // Given up by the ledger, perhaps before there was an answer.
    const released = new Set<string>();
    const granted = <T extends ReserveResult>(request: ReserveRequest, result: T): T => {
      if (!result.ok || released.has(request.id)) return result;
      const units = (hold: Hold) => hold.fixed + result.granted * hold.perUnit;
      const held = new Map(request.holds.map((hold) => [hold.counter, units(hold)]));
      this.running.set(request.id, { holds: request.holds, held, until: this.now() + request.ttlMs });
      this.#onGrant(this, request.holds);
      return result;
    };
    const settled = <T extends { outcome: SettleOutcome }>(id: string, answer: T): T => {
      const delivery = this.#truth.deliveries.get(id);
      if (delivery && answer.outcome.startsWith("late-")) delivery.isLate = true;
      return answer;
    };
    return {
      traits: store.traits,
      reserve: (request) => after(store.reserve(request), (result) => granted(request, result)),
      settle: (request) => {
        this.running.delete(request.id);
        return after(store.settle(request), (answer) => settled(request.id, answer));
      },
      release: (id) => {
        this.running.delete(id);
        released.add(id);
        return store.release(id);
      },
      renew: (request) => {
        const running = this.running.get(request.id);
        if (running) running.until = this.now() + request.ttlMs;
        return store.renew(request);
      },
      usage: (refs) => store.usage(refs),
      close: () => store.close?.(),
    };
  }
}

function after<T, U>(value: T | Promise<T>, then: (value: T) => U): U | Promise<U> {
  return value instanceof Promise ? value.then(then) : then(value);
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
