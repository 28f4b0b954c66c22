/** A shared store at the other end of a bad network: calls are delayed, overtake each other, get lost or come twice. */
import type { BudgetStore } from "../../src/core/budget-store.ts";
import { type Books, Violation } from "./audit.ts";
import type { SimProcess, World } from "./world.ts";

export interface Network {
  /** Probabilities per call. `dropped`: never arrives. `lost`: done, but the answer is an error. `twice`: done again later. */
  dropped: number;
  lost: number;
  twice: number;
}

export interface Remote {
  /** The store as a process sees it. */
  for(process: SimProcess): BudgetStore;
  /** What broke a rule while a call was done. */
  violation: Violation | undefined;
  /** What reached the store, in order. */
  readonly history: string[];
}

/** `store` must answer at once. */
export function fakeRemote(world: World, store: BudgetStore, books: Books, network: Network): Remote {
  const remote: Remote = { for: connect, violation: undefined, history: [] };

  function connect(process: SimProcess): BudgetStore {
    /** `isOnce`: sent again it would count again, so drivers and our stores see to it that it is not. */
    function call<T>(what: string, apply: () => T, isOnce = false): Promise<T> {
      const { random } = world;
      const isDropped = random.chance(network.dropped);
      const isLost = random.chance(network.lost);
      const isTwice = !isOnce && random.chance(network.twice);
      return new Promise<T>((resolve, reject) => {
        const answer = (action: () => void) => {
          if (process.isAlive) world.later(process, action);
        };
        const fail = (error: unknown) => answer(() => reject(error));
        world.later(undefined, () => {
          if (isDropped) return fail(new Error("the store is away"));
          const again = () => perform(process, what, apply);
          if (isTwice) world.later(undefined, () => void again());
          const result = again();
          if (isLost) fail(new Error("the answer was lost"));
          else if ("error" in result) fail(result.error);
          else answer(() => resolve(result.value));
        });
      });
    }

    return {
      traits: { shared: true, durable: true, clock: "store" },
      reserve: (request) =>
        call(`reserve ${request.id} ${request.min}-${request.want}`, () => {
          books.expire(world.now);
          const result = now(store.reserve(request));
          note(() => books.reserved(process.name, request, result, world.now));
          return result;
        }),
      settle(request) {
        books.telling(request.id);
        return call(`settle ${request.id} ${[...request.actual.values()]}`, () => {
          books.expire(world.now);
          const answer = now(store.settle(request));
          note(() => books.settled(process.name, request, answer));
          return answer;
        });
      },
      release: (id) =>
        call(`release ${id}`, () => {
          books.expire(world.now);
          const answer = now(store.release(id));
          note(() => books.released(id, answer));
          return answer;
        }),
      renew(request) {
        if (request.charge) books.telling(request.id);
        return call(
          `renew ${request.id} ${[...(request.charge?.values() ?? [])]}`,
          () => {
            books.expire(world.now);
            try {
              store.renew(request);
            } catch (error) {
              note(() => books.notHeld(request.id));
              throw error;
            }
            note(() => books.renewed(process.name, request, world.now));
          },
          true,
        );
      },
      usage: (refs) => call("usage", () => now(store.usage(refs))),
    };
  }

  function perform<T>(process: SimProcess, what: string, apply: () => T): { value: T } | { error: unknown } {
    remote.history.push(`${world.now} ${process.name} ${what.replace(/[0-9a-f-]{36}/, process.name)}`);
    try {
      return { value: apply() };
    } catch (error) {
      return { error };
    }
  }

  /** What the books find wrong is not an answer to the process. */
  function note(entry: () => void): void {
    try {
      entry();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      remote.violation ??= error;
    }
  }

  return remote;
}

function now<T>(value: T | Promise<T>): T {
  if (value instanceof Promise) throw new TypeError("the store behind the fake network must answer at once");
  return value;
}
