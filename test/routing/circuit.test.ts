import { CircuitState, CountBreaker, circuitBreaker, handleWhen } from "cockatiel";
import fc from "fast-check";
import { GatewayError } from "turnpike";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Circuit } from "../../src/middleware/router/circuit.ts";

const fault = () => new GatewayError("upstream_error", "down");
const REST_MS = 1_000;
const options = { restMs: REST_MS, maxRestMs: 8 * REST_MS, quotaRestMs: 1, authRestMs: 1 };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: 0 });
});
afterEach(() => {
  vi.useRealTimers();
});

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Makes one call as an attempt does. */
async function call(circuit: Circuit, error: GatewayError | undefined) {
  if (!circuit.closed) return circuit.probe(() => (error ? Promise.reject(error) : Promise.resolve())).catch(() => {});
  if (error) circuit.failed(error);
  else circuit.succeeded();
}

describe("a circuit", () => {
  test("opens, is probed and closes as the breaker would that runs every call itself", async () => {
    const outcome = fc.constantFrom(
      undefined,
      undefined,
      fault(),
      fault(),
      new GatewayError("invalid_request", "the caller's fault"),
      new GatewayError("rate_limited", "the gateway's own", { details: { limit: "daily" } }),
    );
    const given = fc.record({
      window: fc.integer({ min: 1, max: 12 }),
      minCalls: fc.integer({ min: 1, max: 6 }),
      failureShare: fc.constantFrom(0.2, 0.5, 0.8),
      calls: fc.array(fc.record({ outcome, passes: fc.constantFrom(0, 0, 0, 600, 1_100, 5_000) }), { maxLength: 40 }),
    });
    let opened = 0;
    await fc.assert(
      fc.asyncProperty(given, async ({ window, minCalls, failureShare, calls }) => {
        const circuit = new Circuit({ ...options, window, minCalls, failureShare });
        let rest = 0;
        const backoff = (ms: number): { duration: number; next: () => never } =>
          ({ duration: ms, next: () => backoff(Math.min(options.maxRestMs, ms * 2)) }) as never;
        const breaker = circuitBreaker(
          handleWhen((error) => {
            const { code, details } = error as GatewayError;
            return code !== "invalid_request" && details?.limit === undefined;
          }),
          {
            breaker: new CountBreaker({
              size: Math.max(window, minCalls),
              minimumNumberOfCalls: minCalls,
              threshold: failureShare,
            }),
            halfOpenAfter: { next: () => backoff(REST_MS) },
          },
        );
        for (const { outcome, passes } of calls) {
          vi.setSystemTime(Date.now() + passes);
          await call(circuit, outcome);
          await breaker.execute(() => (outcome ? Promise.reject(outcome) : Promise.resolve())).catch(() => {});
          await settled();
          expect(circuit.closed).toBe(breaker.state === CircuitState.Closed);
          expect(circuit.probing).toBe(breaker.state === CircuitState.HalfOpen);
          if (!circuit.closed) rest++;
        }
        if (rest > 0) opened++;
      }),
      { numRuns: 300 },
    );
    expect(opened).toBeGreaterThan(50);
  });

  test("learns nothing more of calls that began before it opened", async () => {
    const circuit = new Circuit({ ...options, window: 4, minCalls: 2, failureShare: 0.5 });
    for (const _ of [1, 2]) circuit.failed(fault());
    await settled();
    expect(circuit.restsUntil).toBe(REST_MS);

    vi.setSystemTime(REST_MS);
    expect(circuit.restsUntil).toBeUndefined();
    let answer = () => {};
    const probe = circuit.probe(() => new Promise<void>((resolve) => (answer = resolve)));
    expect(circuit.probing).toBe(true);
    circuit.failed(fault());
    await settled();
    expect(circuit.probing).toBe(true);
    answer();
    await probe;
    expect(circuit.closed).toBe(true);
  });
});
