/** Wrong stores, each wrong in one way that a gateway has been seen to be wrong. The simulator must catch all of them. */
import type { BudgetStore, Hold, ReserveRequest, SettleRequest, Units } from "../../src/core/budget-store.ts";
import { memoryStore } from "../../src/stores/memory.ts";

type Now = () => number;

/** Looks whether there is room, lets the request pass, and charges it afterwards. */
export function checkThenCharge(now: Now): BudgetStore {
  const store = memoryStore({ now });
  let looks = 0;
  return {
    ...store,
    reserve(request) {
      const look = `look ${++looks}`;
      const result = store.reserve({ ...request, id: look });
      if (result.ok) store.release(look);
      return result;
    },
  };
}

/** Charges a call that was sent again as if it were another. */
export function settlesTwice(now: Now): BudgetStore {
  const store = memoryStore({ now });
  const known = new Set<string>();
  let settles = 0;
  return {
    ...store,
    settle(request) {
      if (!known.has(request.id)) {
        known.add(request.id);
        return store.settle(request);
      }
      store.settle({ ...request, id: `again ${++settles}` });
      return { outcome: "settled", overrun: 0 };
    },
  };
}

/** Charges no more than was held, so that the books always look right. */
export function clampsToTheHold(now: Now): BudgetStore {
  const store = memoryStore({ now });
  const held = new Map<string, Map<string, Units>>();
  return {
    ...store,
    reserve(request) {
      const result = store.reserve(request);
      const amountOf = (hold: Hold) => hold.fixed + (result.ok ? result.granted : 0) * hold.perUnit;
      if (result.ok) held.set(request.id, new Map(request.holds.map((hold) => [hold.counter, amountOf(hold)])));
      return result;
    },
    settle(request) {
      const most = held.get(request.id);
      const clamped = [...request.actual].map(
        ([name, units]) => [name, Math.min(units, most?.get(name) ?? 0)] as const,
      );
      return store.settle({ ...request, actual: new Map(clamped) });
    },
  };
}

/** Holds one counter after the other, and keeps those it got when a later one has no room. */
export function notAllOrNothing(now: Now): BudgetStore {
  const store = memoryStore({ now });
  return {
    ...store,
    reserve(request) {
      const result = store.reserve(request);
      const roomy = result.ok
        ? []
        : request.holds.filter(({ counter }) => !result.denied.some((one) => one.counter === counter));
      if (roomy.length > 0) store.reserve({ ...request, holds: roomy, id: `${request.id} in part` });
      return result;
    },
  };
}

/** Forgets what happened to a settle whose answer did not come. */
export function givesUpSettling(remote: BudgetStore): BudgetStore {
  return {
    ...remote,
    async settle(request) {
      try {
        return await remote.settle(request);
      } catch {
        return { outcome: "settled", overrun: 0 };
      }
    },
  };
}

/**
 * The smallest lease there can be: one slice after the other, requests admitted inside it, everything posted when it is
 * closed. `order` is the difference between right and 265 lost tokens (budgets.md §3.10): a slice must have left the
 * pool before what was spent in it is added up, or requests go on spending in it while it is being settled.
 */
export function tinyLease(
  remote: BudgetStore,
  name: string,
  order: "remove, then post" | "post, then remove",
): BudgetStore {
  interface Slice {
    readonly id: string;
    readonly hold: Hold;
    rest: Units;
    spent: Units;
    running: number;
    isClosing: boolean;
  }
  let current: Slice | undefined;
  let slices = 0;
  let queue: Promise<unknown> = Promise.resolve();
  const requests = new Map<string, { slice: Slice; held: Units }>();
  /** Given up by their callers before they were admitted. */
  const released = new Set<string>();

  async function open(hold: Hold, least: Units): Promise<boolean> {
    const id = `tiny:${name}:${++slices}`;
    const holds = [{ ...hold, fixed: 0, perUnit: 1 }];
    const result = await remote.reserve({
      id,
      fingerprint: "f",
      holds,
      want: 6 * least,
      min: least,
      ttlMs: 1e6,
      onExpire: "charge",
    });
    if (!result.ok) return false;
    current = { id, hold, rest: result.granted, spent: 0, running: 0, isClosing: false };
    return true;
  }

  async function close(slice: Slice): Promise<void> {
    if (slice.isClosing) return;
    slice.isClosing = true;
    if (order === "remove, then post" && current === slice) current = undefined;
    if (order === "remove, then post" && slice.running > 0) return;
    await remote.settle({ id: slice.id, actual: new Map([[slice.hold.counter, slice.spent]]), holds: [slice.hold] });
    if (current === slice) current = undefined;
  }

  async function end(id: string, actual: Units): Promise<void> {
    const request = requests.get(id);
    if (!request) return;
    requests.delete(id);
    const { slice, held } = request;
    slice.spent += actual;
    slice.rest += held - actual;
    slice.running--;
    if (slice !== current && slice.running === 0) {
      slice.isClosing = false;
      await close(slice);
    }
  }

  async function admit(request: ReserveRequest) {
    const denied = { ok: false as const, now: 0, denied: [] };
    if (released.has(request.id)) return denied;
    const hold = request.holds[0]!;
    const need = hold.fixed + request.want;
    if (current && (current.rest < need || current.hold.bucket !== hold.bucket)) await close(current);
    const isOpen = current !== undefined && current.rest >= need && current.hold.bucket === hold.bucket;
    if (!isOpen && !(await open(hold, need))) return denied;
    if (released.has(request.id)) return denied;
    const slice = current!;
    slice.rest -= need;
    slice.running++;
    requests.set(request.id, { slice, held: need });
    return { ok: true as const, granted: request.want, replayed: false, now: 0, after: [] };
  }

  return {
    traits: remote.traits,
    reserve(request) {
      // Who fits in the slice does not wait for those who ask for a new one.
      const hold = request.holds[0]!;
      if (current && current.hold.bucket === hold.bucket && current.rest >= hold.fixed + request.want)
        return admit(request);
      const answer = queue.then(() => admit(request));
      queue = answer;
      return answer;
    },
    async settle({ id, actual }: SettleRequest) {
      await end(id, [...actual.values()][0]!);
      return { outcome: "settled", overrun: 0 };
    },
    async release(id) {
      released.add(id);
      await end(id, 0);
      return { released: true };
    },
    renew() {},
    usage: (refs) => remote.usage(refs),
    async close() {
      if (current) await close(current);
    },
  };
}
