import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RequestBody } from "../../src/core/body.ts";
import { Exchange, type GatewayServices } from "../../src/core/exchange.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";
import { Running } from "../../src/gateway/running.ts";

const services: GatewayServices = { now: Date.now, estimateInput: () => 0, cost: () => null };
const exchange = () =>
  new Exchange({
    id: "test",
    operation: "chat",
    dialect: openaiChat,
    body: new RequestBody({ json: {} }),
    headers: {},
    services,
    trusted: true,
  });
const finished = { ok: true, status: 200, billable: false, totalMs: 1 };

describe("deadlines of running requests", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("each ends at its own, in whatever order they came", () => {
    const running = new Running();
    const ended: [number, number][] = [];
    const started = performance.now();
    for (const ms of [500, 100, 300, 100, 10_000]) {
      const each = exchange();
      each.onAbort(() => ended.push([ms, performance.now() - started]));
      running.add(each, ms);
    }
    vi.advanceTimersByTime(1_000);
    expect(ended.map(([ms]) => ms)).toEqual([100, 100, 300, 500]);
    for (const [ms, after] of ended) expect(after - ms).toBeLessThan(2);
  });

  test("a request that has ended is not aborted, and one that comes later still is", () => {
    const running = new Running();
    const [early, late] = [exchange(), exchange()];
    running.add(early, 100);
    early.finish(finished);
    vi.advanceTimersByTime(1_000);
    expect(early.aborted).toBeUndefined();
    const another = exchange();
    running.add(another, 100);
    running.add(late, 50);
    vi.advanceTimersByTime(60);
    expect([late.aborted?.code, another.aborted]).toEqual(["timeout", undefined]);
    vi.advanceTimersByTime(60);
    expect(another.aborted?.code).toBe("timeout");
  });

  test("there is one timer, however many run, and none when all have ended and its time has come", () => {
    const running = new Running();
    const all = Array.from({ length: 100 }, exchange);
    for (const each of all) running.add(each, 600_000);
    expect(vi.getTimerCount()).toBe(1);
    for (const each of all) each.finish(finished);
    vi.advanceTimersByTime(600_001);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test("a drain waits for what runs, and ends what takes too long", async () => {
  const running = new Running();
  const [quick, slow] = [exchange(), exchange()];
  running.add(quick, 10_000);
  running.add(slow, 10_000);
  slow.onAbort((error) => slow.fail(error));
  setTimeout(() => quick.finish(finished), 10);
  await running.drain(50);
  expect([running.size, quick.aborted, slow.aborted?.code]).toEqual([0, undefined, "shutting_down"]);
});
