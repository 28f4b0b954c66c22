import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Exchange } from "../../src/core/exchange.ts";
import { Ledger } from "../../src/middleware/budget/ledger.ts";
import { memoryStore } from "../../src/stores/memory.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function start() {
  const store = memoryStore();
  const renew = vi.spyOn(store, "renew");
  const ledger = new Ledger(store, { timeoutMs: 250, ttlMs: 2_000, now: Date.now });
  const request = { id: "r", fingerprint: "f", holds: [], want: 1, min: 1, onExpire: "release" } as const;
  const abort = vi.fn();
  return { ledger, renew, request, abort, exchange: { abort } as unknown as Exchange };
}

test("a reservation is renewed while its exchange runs, and no longer", () => {
  const { ledger, renew, request, abort, exchange } = start();
  expect(ledger.reserve(request)).toMatchObject({ ok: true, granted: 1 });
  ledger.keepAlive("r", exchange);
  vi.advanceTimersByTime(10_000);
  const renewals = renew.mock.calls.length;
  expect(renewals).toBeGreaterThanOrEqual(5);
  ledger.settle({ id: "r", actual: new Map(), holds: [] });
  vi.advanceTimersByTime(10_000);
  expect(renew.mock.calls.length).toBe(renewals);
  expect(abort).not.toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(0);
});

test("an attempt that is handed down twice is kept alive once, and ends once", () => {
  const { ledger, renew, request, exchange } = start();
  for (let i = 0; i < 2; i++) {
    ledger.reserve(request);
    ledger.keepAlive("r", exchange);
  }
  ledger.settle({ id: "r", actual: new Map(), holds: [] });
  vi.advanceTimersByTime(10_000);
  expect(renew).not.toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(0);
});

test("a store that answers at once is waited for by nobody, and its fault is thrown at once", () => {
  const store = memoryStore();
  const ledger = new Ledger(store, { timeoutMs: 250, ttlMs: 2_000, now: Date.now });
  vi.spyOn(store, "reserve").mockImplementation(() => {
    throw new Error("disk full");
  });
  const release = vi.spyOn(store, "release");
  const request = { id: "r", fingerprint: "f", holds: [], want: 1, min: 1, onExpire: "release" } as const;
  expect(() => ledger.reserve(request)).toThrow("the budget store cannot be reached");
  expect(release).toHaveBeenCalledWith("r");
});
