import { budget, createGateway, type GatewayError, logger, type RouterOptions, router, translator } from "turnpike";
import { openai } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeOpenAI, type Script } from "turnpike/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { STRATEGIES } from "../../src/middleware/router/options.ts";
import { logBook, until } from "../support/gateway.ts";

/** Every fault × every strategy × streamed or not, over real sockets. */

const WORDS = Array.from({ length: 30 }, (_, i) => `word${i}`).join(" ");
const FAULTS: Record<string, Script> = {
  refuses: { status: 503 },
  "is broken": { status: 500 },
  "is overloaded": { status: 529 },
  "has no credit": { status: 402 },
  "does not know our key": { status: 401 },
  "is limited for seconds": { status: 429, headers: { "retry-after": "1" } },
  "is limited until a date": { status: 429, headers: { "retry-after": new Date(Date.now() + 60_000).toUTCString() } },
  "is limited until nonsense": { status: 429, headers: { "retry-after": "soon" } },
  "resets before its head": { reset: "before-headers" },
  "resets in the middle": { reset: "mid-stream" },
  "stalls before its head": { hang: "before-headers" },
  "stalls before its first token": { hang: "after-headers" },
  "stalls between chunks": { hang: "mid-stream" },
  "ends half-way": { cut: true },
  "tells an error in a 200": { errorEvent: { type: "server_error", message: "half of it" } },
  "sends a page": { html: true },
  redirects: { redirect: "http://127.0.0.1:1/" },
};
/** What strikes after the first content of a stream. */
const LATE = new Set(["resets in the middle", "stalls between chunks", "ends half-way", "tells an error in a 200"]);

let fakes: { bad: Fake; good: Fake };
beforeAll(async () => {
  fakes = { bad: await fakeOpenAI(), good: await fakeOpenAI() };
});
afterAll(async () => {
  await fakes.bad.close();
  await fakes.good.close();
});
beforeEach(() => {
  fakes.bad.reset();
  fakes.good.reset();
  fakes.bad.always({ text: `BAD ${WORDS}` });
  fakes.good.always({ text: `GOOD ${WORDS}` });
});

function start(strategy: string, more: object = {}, hedge = false) {
  const log = logBook();
  const timeouts = { firstByteMs: 60, idleMs: 60 };
  const options = (name: "bad" | "good") => ({
    apiKey: "k",
    baseURL: fakes[name].baseURL,
    timeouts,
    price: { input: 1, output: name === "bad" ? 1 : 2 },
  });
  const gateway = createGateway({
    providers: { bad: openai(options("bad")), good: openai(options("good")) },
    use: [
      logger({ to: log.sink }),
      router({
        retries: 0,
        // Before the provider's own timers, whose clock ticks every half a second.
        timeouts: { firstTokenMs: 250, totalMs: 350 },
        rules: [
          {
            match: {},
            to: { strategy, targets: ["bad/gpt-4.1", "good/gpt-4.1"] },
            ...(hedge && { hedge: { afterMs: 20 } }),
            ...more,
          },
        ],
      } as RouterOptions),
      budget({ store: memoryStore(), limits: [{ name: "all", by: "provider", tokens: 1_000_000, per: "lifetime" }] }),
      translator(),
    ],
  });
  return { gateway, log };
}

async function read(gateway: ReturnType<typeof start>["gateway"], stream: boolean) {
  let text = "";
  try {
    const request = { model: "m", stream, max_tokens: 200, messages: [{ role: "user", content: "go on" }] };
    const answer = (await gateway.completion(request as never)) as unknown;
    if (!stream)
      return { text: (answer as { choices: { message: { content: string } }[] }).choices[0]!.message.content };
    for await (const chunk of answer as AsyncIterable<{ choices: { delta: { content?: string } }[] }>) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    return { text };
  } catch (error) {
    return { text, error: error as GatewayError };
  }
}

describe.each([...STRATEGIES, "hedged"])("strategy %s", (strategy) => {
  describe.each([false, true])("streamed: %s", (stream) => {
    test.each(Object.keys(FAULTS))("an upstream that %s", async (name) => {
      fakes.bad.always({ text: `BAD ${WORDS}`, ...FAULTS[name] });
      const { gateway, log } = start(strategy === "hedged" ? "order" : strategy, {}, strategy === "hedged");
      const { text, error } = await read(gateway, stream);
      await until(() => gateway.inFlight === 0 && log.requests().length === 1, "the exchange ends");

      // One whole answer or one honest error, and never two models in one answer.
      expect(text.includes("BAD") && text.includes("GOOD")).toBe(false);
      if (error) {
        expect(stream && LATE.has(name)).toBe(true);
        expect(error.code).toMatch(/^upstream_/);
        expect(text).toMatch(/^(BAD|$)/);
      } else expect(text).toBe(`GOOD ${WORDS}`);

      // Nothing is held, and nobody is charged twice for one call.
      await until(async () => (await gateway.usage()).every(({ held }) => held === 0), "nothing is held");
      for (const fake of Object.values(fakes)) expect(fake.requests.length).toBeLessThanOrEqual(1);
      const used = (await gateway.usage()).reduce((sum, { used }) => sum + used, 0);
      const told = log
        .attempts()
        .reduce((sum, { inputTokens = 0, outputTokens = 0 }) => sum + Number(inputTokens) + Number(outputTokens), 0);
      // A call that broke may be charged its input, about 30 tokens; a second charge would be a hundred.
      expect(used).toBeGreaterThanOrEqual(told);
      expect(used - told).toBeLessThan(60);
      await gateway.close({ drainMs: 0 });
    });
  });
});

describe.each([...STRATEGIES])("a caller who leaves, strategy %s", (strategy) => {
  test.each(["before-headers", "after-headers", "mid-stream"] as const)("%s: the upstream is closed", async (hang) => {
    for (const fake of Object.values(fakes)) fake.always({ text: WORDS, hang });
    const log = logBook();
    const gateway = createGateway({
      providers: {
        bad: openai({ apiKey: "k", baseURL: fakes.bad.baseURL }),
        good: openai({ apiKey: "k", baseURL: fakes.good.baseURL }),
      },
      use: [
        logger({ to: log.sink }),
        router({ rules: [{ match: {}, to: { strategy, targets: ["bad/gpt-4.1", "good/gpt-4.1"] } }] }),
        translator(),
      ],
    });
    const leave = new AbortController();
    const request = { model: "m", stream: true, messages: [{ role: "user", content: "x" }] };
    const asked = (async () => {
      const answer = (await gateway.completion(request as never, {
        signal: leave.signal,
      })) as unknown as AsyncIterable<unknown>;
      for await (const _ of answer);
    })().catch(() => {});
    const requests = () => [...fakes.bad.requests, ...fakes.good.requests];
    await until(() => requests().length === 1, "it is asked");
    leave.abort();
    await until(() => requests()[0]!.closedEarly, "the upstream sees that the caller has left");
    await asked;
    expect(requests()).toHaveLength(1);
    await gateway.close({ drainMs: 0 });
  });
});
