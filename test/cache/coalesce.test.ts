import type { Middleware, StreamSource } from "turnpike";
import { GatewayError } from "turnpike";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { RequestBody } from "../../src/core/body.ts";
import { until } from "../support/gateway.ts";
import {
  ask,
  CLAUDE,
  type House,
  type HouseOptions,
  type Json,
  openHouse,
  post,
  said,
  startUpstreams,
  type Upstreams,
} from "./support.ts";

let upstreams: Upstreams;
let house: House | undefined;
beforeAll(async () => {
  upstreams = await startUpstreams();
});
afterEach(async () => {
  await house?.close();
  house = undefined;
  upstreams.reset();
});
afterAll(() => upstreams.close());

const open = async (options?: HouseOptions) => {
  house = await openHouse(upstreams, options);
  return house;
};
const asked = () => upstreams.openai.requests.length;
const WORDS = Array.from({ length: 40 }, (_, i) => `word${i}`).join(" ");
const claude = (content: string, more: Json = {}) => ({
  ...{ model: CLAUDE, temperature: 0, max_tokens: 400, messages: [{ role: "user", content }] },
  ...more,
});

describe("identical requests in flight", () => {
  test.each([
    ["whole", () => false],
    ["streamed", () => true],
    ["mixed", (i: number) => i % 2 === 0],
  ])("1,000 of them make one upstream call and get 1,000 right answers: %s", async (_, stream) => {
    const house = await open();
    upstreams.openai.always({ text: WORDS, delayMs: 300, chunkDelayMs: 5 });
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) => complete(house, ask("All at once", { stream: stream(i) }))),
    );
    expect(new Set(answers)).toEqual(new Set([WORDS]));
    expect(answers).toHaveLength(1_000);
    expect(asked()).toBe(1);
    await until(() => house.stats().stored === 1, "the answer was stored");
    expect(house.stats()).toMatchObject({ misses: 1, coalesced: 999 });
    expect(house.log.requests()).toHaveLength(1_000);
    expect(house.log.requests().every(({ outcome }) => outcome === "served")).toBe(true);
    expect(house.log.attempts()).toHaveLength(1);
    expect(house.gateway.inFlight).toBe(0);
  });

  test("each has its own id, headers and dialect", async () => {
    const house = await open();
    upstreams.anthropic.always({ text: WORDS, delayMs: 50, chunkDelayMs: 2 });
    const [first, chat, whole] = await Promise.all([
      said(house, claude("Many tongues", { stream: true }), {}, "/v1/messages"),
      later(20, () => said(house, { ...claude("Many tongues"), stream: true })),
      later(20, () => said(house, claude("Many tongues"))),
    ]);
    expect([first.how, chat.how, whole.how]).toEqual(["miss", "coalesced", "coalesced"]);
    expect([chat.text, whole.text]).toEqual([first.text, first.text]);
    expect(first.text).toBe(WORDS);
    expect(upstreams.anthropic.requests).toHaveLength(1);
    expect(new Set([first, chat, whole].map(({ headers }) => headers.get("x-request-id"))).size).toBe(3);
    expect(whole.headers.get("x-turnpike-cost-usd")).toBe("0");
  });

  test("who comes in the middle of a stream gets all of it", async () => {
    const house = await open();
    upstreams.openai.always({ text: WORDS, chunkDelayMs: 10 });
    const first = said(house, ask("Latecomer", { stream: true }));
    await later(150, async () => {});
    const late = await Promise.all([said(house, ask("Latecomer", { stream: true })), said(house, ask("Latecomer"))]);
    expect(late.map(({ how, text }) => [how, text])).toEqual([
      ["coalesced", WORDS],
      ["coalesced", WORDS],
    ]);
    expect((await first).text).toBe(WORDS);
    expect(asked()).toBe(1);
  });

  test.each([
    ["the first", 0],
    ["a later", 1],
  ])("%s caller that leaves stops nobody else", async (_, leaves) => {
    const house = await open();
    upstreams.openai.always({ text: WORDS, chunkDelayMs: 10 });
    const controllers = [new AbortController(), new AbortController()];
    const streams = [];
    for (const { signal } of controllers) {
      streams.push(await house.gateway.completion(ask("Do not go", { stream: true }), { signal }));
    }
    const reads = streams.map(async (stream) => {
      let text = "";
      for await (const chunk of stream as AsyncIterable<Json>) text += chunk.choices[0]?.delta.content ?? "";
      return text;
    });
    const gone = reads[leaves]!.catch((error) => error.code);
    const stays = reads[1 - leaves]!;
    await later(60, async () => controllers[leaves]!.abort());
    expect(await stays).toBe(WORDS);
    expect(upstreams.openai.requests[0]!.closedEarly).toBe(false);
    expect(await gone).toBe("client_closed");
    await until(() => house.gateway.inFlight === 0, "every exchange has ended");
    expect(
      house.log
        .requests()
        .map(({ outcome }) => outcome)
        .sort(),
    ).toEqual(["aborted", "served"]);
    expect((await said(house, ask("Do not go"))).how).toBe("hit");
  });

  test.each([
    ["before the answer began", { delayMs: 5_000 }],
    ["in the middle of it", { chunkDelayMs: 50 }],
  ])("when the last caller leaves %s, so does the gateway", async (_, timing) => {
    const house = await open();
    upstreams.openai.always({ text: WORDS, ...timing });
    const controllers = [new AbortController(), new AbortController()];
    const calls = controllers.map(({ signal }) =>
      fetch(`${house.url}/v1/chat/completions`, {
        method: "POST",
        signal,
        body: JSON.stringify(ask("Leave together", { stream: true })),
      })
        .then((response) => response.text())
        .catch(() => "left"),
    );
    await until(() => asked() === 1, "the upstream was asked");
    await later(150, async () => {});
    controllers[0]!.abort();
    await later(50, async () => {});
    expect(upstreams.openai.requests[0]!.closedEarly).toBe(false);
    controllers[1]!.abort();
    await until(() => upstreams.openai.requests[0]!.closedEarly, "the upstream's connection was closed");
    expect(await Promise.all(calls)).toEqual(["left", "left"]);
    await until(() => house.gateway.inFlight === 0, "every exchange has ended");
    expect(house.stats().stored).toBe(0);
    expect(house.log.requests().map(({ outcome }) => outcome)).toEqual(["aborted", "aborted"]);
    await until(async () => (await house.gateway.usage()).every(({ held }) => held === 0), "nothing is held");
  });

  test("an error before the answer reaches everybody, each as its own", async () => {
    const house = await open();
    upstreams.openai.always({ status: 503, delayMs: 100 });
    const errors = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        house.gateway.completion(ask("Broken", { stream: i % 2 === 0 }) as never).then(
          () => expect.fail("an error was expected"),
          (error: GatewayError) => error,
        ),
      ),
    );
    expect(asked()).toBe(1);
    expect(new Set(errors).size).toBe(20);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["upstream_overloaded"]));
  });

  test("an error in the middle reaches everybody in its own dialect", async () => {
    const house = await open();
    upstreams.anthropic.always({ text: WORDS, errorEvent: { message: "Overloaded" }, delayMs: 50, chunkDelayMs: 2 });
    const [first, chat, whole] = await Promise.all([
      post(house, claude("Breaks", { stream: true }), {}, "/v1/messages").then((r) => r.text()),
      later(20, () => post(house, claude("Breaks", { stream: true })).then((r) => r.text())),
      later(20, () => post(house, claude("Breaks"))),
    ]);
    expect(first).toContain("event: error");
    expect(chat).toContain('data: {"error":');
    expect(chat).not.toContain("[DONE]");
    expect(whole.status).toBeGreaterThanOrEqual(500);
    expect(upstreams.anthropic.requests).toHaveLength(1);
    expect(house.stats().stored).toBe(0);
    await until(() => house.gateway.inFlight === 0, "every exchange has ended");
  });

  test("a caller's own deadline is its own", async () => {
    const house = await open();
    upstreams.openai.always({ text: WORDS, chunkDelayMs: 10 });
    const patient = house.gateway.completion(ask("Hurry", { stream: true }));
    const hasty = house.gateway.completion<Json>(ask("Hurry") as never, { timeoutMs: 80 });
    await expect(hasty).rejects.toMatchObject({ code: "timeout" });
    let text = "";
    for await (const chunk of (await patient) as AsyncIterable<Json>) text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe(WORDS);
  });

  test("a spent budget of the first caller is not the others'", async () => {
    const house = await open({
      cache: { scope: "gateway" },
      limits: [{ name: "poor", match: { user: "poor" }, tokens: 0, per: "day" }],
      below: [async (exchange, next) => later(50, () => next(exchange))],
    });
    const call = (user: string): Promise<Json> => house.gateway.completion(ask("Rich or poor"), { as: { user } });
    const poor = call("poor");
    const others = [call("poor"), call("rich"), call("rich")];
    await expect(poor).rejects.toMatchObject({ code: "budget_exceeded" });
    await expect(others[0]).rejects.toMatchObject({ code: "budget_exceeded" });
    expect((await others[1])!.choices[0].message.content).toBe((await others[2])!.choices[0].message.content);
    expect(asked()).toBe(1);
  });

  test("requests that may not be kept are not shared either", async () => {
    const house = await open();
    upstreams.openai.always({ text: WORDS, delayMs: 50 });
    await Promise.all([1, 2, 3].map(() => said(house, ask("Dice", { temperature: 1 }))));
    expect(asked()).toBe(3);
  });

  test("coalescing can be turned off", async () => {
    const house = await open({ cache: { coalesce: false } });
    upstreams.openai.always({ text: WORDS, delayMs: 50 });
    await Promise.all([1, 2, 3].map(() => said(house, ask("Each for itself"))));
    expect(asked()).toBe(3);
    expect((await said(house, ask("Each for itself"))).how).toBe("hit");
  });
});

describe("back-pressure", () => {
  test.each([
    ["first", 0],
    ["later", 1],
  ])("a slow %s caller stops nobody, and still gets every word", async (_, index) => {
    const { house, source } = await withSource();
    const readers = [reader(), reader()];
    for (const each of readers) await each.open(house.gateway);
    const slow = readers[index]!;
    const fast = readers[1 - index]!;
    slow.source!.pause();
    for (let i = 0; i < 5_000; i++) source.say(`w${i} `);
    expect(fast.text()).toContain(" w4999 ");
    expect(slow.text()).toBe("");
    expect(source.paused).toBe(false);
    source.end();
    expect([slow.ended, fast.ended]).toEqual([false, true]);
    slow.source!.resume();
    expect(slow.text()).toBe(fast.text());
    expect(slow.ended).toBe(true);
    // From the record, which is one text; only the first caller's frames wait as they came.
    if (index === 1) expect(slow.frames).toBeLessThan(10);
  });

  test("who waits for the whole answer does not wait for who reads slowly", async () => {
    const { house, source } = await withSource();
    const slow = reader();
    await slow.open(house.gateway);
    const whole = house.gateway.completion(ask("Back-pressure")) as Promise<Json>;
    await later(10, async () => slow.source!.pause());
    expect(source.paused).toBe(false);
    source.say("hello");
    source.end();
    expect((await whole).choices[0].message.content).toBe("hello");
    slow.source!.resume();
    expect(slow.text()).toBe("hello");
  });

  test("when every caller is full, the upstream waits", async () => {
    const { house, source } = await withSource();
    const readers = [reader(), reader(), reader()];
    for (const each of readers) await each.open(house.gateway);
    readers[0]!.source!.pause();
    readers[1]!.source!.pause();
    expect(source.paused).toBe(false);
    readers[2]!.source!.pause();
    expect(source.paused).toBe(true);
    readers[1]!.source!.resume();
    expect(source.paused).toBe(false);
    source.say("hello");
    source.end();
    for (const each of readers) each.source!.resume();
    expect(readers.map((each) => each.text())).toEqual(["hello", "hello", "hello"]);
  });
});

/** A gateway whose router and upstream are a source in the test's hand. */
async function withSource() {
  const source = handSource();
  const below: Middleware = async (exchange) => {
    exchange.winner = undefined;
    exchange.onAbort(() => source.fail());
    return { status: 200, headers: {}, body: { type: "stream", source } };
  };
  return { house: await open({ below: [below] }), source };
}

function handSource() {
  let sink: Parameters<StreamSource["start"]>[0] | undefined;
  const frame = (delta: Json, finish: string | null = null) => ({
    data: {
      id: "chatcmpl-1",
      object: "chat.completion.chunk",
      created: 1,
      model: "m",
      choices: [{ index: 0, delta, finish_reason: finish }],
    },
  });
  return {
    paused: false,
    started: undefined as true | undefined,
    start(given: typeof sink) {
      sink = given;
      this.started = true;
    },
    pause() {
      this.paused = true;
    },
    resume() {
      this.paused = false;
    },
    cancel() {},
    say: (content: string) => sink?.frames([frame({ content })]),
    end() {
      sink?.frames([frame({}, "stop"), { data: "[DONE]" }]);
      sink?.end();
    },
    fail: () => sink?.fail(new GatewayError("client_closed", "gone"), []),
  };
}

function request(gateway: House["gateway"]) {
  const [dialect] = gateway.dialects;
  return { dialect: dialect!, operation: "chat" as const, body: body(), headers: {}, trusted: true };
}

const body = () => new RequestBody({ json: ask("Back-pressure", { stream: true }) });

function reader() {
  const seen: Json[] = [];
  const state = {
    source: undefined as StreamSource | undefined,
    ended: false,
    get frames() {
      return seen.length;
    },
    async open(gateway: House["gateway"]) {
      const { body } = await gateway.handle(request(gateway)).reply;
      if (body.type !== "stream") return expect.fail("a stream was expected");
      state.source = body.source;
      body.source.start(state.sink);
    },
    text: () => seen.map(({ data }) => data.choices?.[0]?.delta.content ?? "").join(""),
    sink: {
      bytes: () => expect.fail("frames were expected"),
      frames: (frames: Json[]) => void seen.push(...frames),
      end() {
        state.ended = true;
      },
      fail: (error: Error) => expect.fail(String(error)),
    },
  };
  return state;
}

async function complete(house: House, body: Json): Promise<string> {
  const answer = await house.gateway.completion<Json>(body);
  if (!body.stream) return (answer as Json).choices[0].message.content;
  let text = "";
  for await (const chunk of answer as AsyncIterable<Json>) text += chunk.choices[0]?.delta.content ?? "";
  return text;
}

async function later<T>(ms: number, then: () => Promise<T>): Promise<T> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return then();
}
