import { budget, createGateway, logger, type Provider, type RouterOptions, router, translator } from "turnpike";
import { anthropic, mistral, openai, openaiCompatible } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeAnthropic, fakeLlama, fakeMistral, fakeOpenAI, type Script } from "turnpike/testing";
import { describe, expect, test } from "vitest";
import { logBook, serve, until } from "../support/gateway.ts";
import {
  ask,
  CALLERS,
  type Caller,
  httpText,
  noUncaughtErrors,
  openSocket,
  requestBody,
  sleep,
  understand,
  upstream,
} from "./support.ts";

/** What upstreams do to us, and what the caller, the budget and the log then see. */

noUncaughtErrors();

const KEY = "sk-canary-upstream-key-0123456789";
const WORDS = Array.from({ length: 40 }, (_, i) => `primary${i}`).join(" ");
const TIMEOUTS = { connectMs: 1_000, firstByteMs: 150, idleMs: 150 };

/** `translated`: the caller's dialect is not the provider's wire. `passed`: bytes go through. */
type Way = "translated" | "passed";
const MODELS: Record<string, string> = {
  mistral: "mistral-medium-3-5",
  anthropic: "claude-sonnet-4-5",
  openai: "gpt-4.1",
};
const FACTORIES: Record<
  string,
  (options: { apiKey: string; baseURL: string; timeouts?: object; pool?: object }) => Provider
> = {
  mistral,
  anthropic,
  openai,
};
const kindOf = (caller: Caller, way: Way) => (way === "translated" ? "mistral" : caller.name);

const FAKES: Record<string, (options: { apiKey: string }) => Promise<Fake>> = {
  mistral: fakeMistral,
  anthropic: fakeAnthropic,
  openai: fakeOpenAI,
};

interface Given {
  baseURL?: string;
  withFallback?: boolean;
  timeouts?: object;
  pool?: object;
  routing?: RouterOptions;
}

/** A gateway with a budget over a fake of this kind and, where wanted, a llama-server to fall back to. */
async function start(kind: string, given: Given = {}) {
  const fake = await FAKES[kind]!({ apiKey: KEY });
  const fallback = await fakeLlama({ behaviour: { text: "FALLBACK says hello" } });
  const log = logBook();
  const primary = FACTORIES[kind]!({
    apiKey: KEY,
    baseURL: given.baseURL ?? fake.baseURL,
    timeouts: given.timeouts ?? TIMEOUTS,
    ...(given.pool && { pool: given.pool }),
  });
  const gateway = createGateway({
    providers: { primary, fallback: openaiCompatible({ baseURL: fallback.baseURL, price: "free" }) },
    use: [
      logger({ to: log.sink }),
      router({
        rules: [
          {
            match: { model: "test" },
            to: [`primary/${MODELS[kind]}`, ...(given.withFallback ? ["fallback/local"] : [])],
          },
        ],
        retries: 0,
        ...given.routing,
      }),
      budget({
        store: memoryStore(),
        limits: [
          { name: "primary", match: { provider: "primary" }, tokens: 1_000_000, per: "lifetime" },
          { name: "fallback", match: { provider: "fallback" }, tokens: 1_000_000, per: "lifetime" },
        ],
      }),
      translator(),
    ],
  });
  const server = await serve(gateway);
  return {
    log,
    gateway,
    fake,
    fallback,
    url: server.url,
    /** Nothing is held any more; what each provider was charged. */
    async settled() {
      await until(() => gateway.inFlight === 0, "the exchange ends");
      const usage = await gateway.usage();
      expect(usage.map(({ held }) => held)).toEqual(usage.map(() => 0));
      return Object.fromEntries(usage.map(({ limit, used }) => [limit, used]));
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      await gateway.close({ drainMs: 0 });
      await fake.close();
      await fallback.close();
    },
  };
}

interface Row {
  name: string;
  script?: Script;
  baseURL?: string;
  /** When it strikes a streamed answer. A whole answer has not begun before it is there. */
  strikes: "before-content" | "mid-stream";
  /** As the attempt's record says it. */
  code: string;
  /** The caller's status, where nobody else can answer. */
  status: number | { anthropic: number; openai: number };
  /** What the broken attempt is charged, when no content was seen. */
  charged: "nothing" | "input";
  retryAfter?: string | null;
}

const past = new Date(Date.now() - 3_600_000).toUTCString();
const soon = new Date(Date.now() + 3_600_000).toUTCString();
const limited = (value: string): Script => ({ status: 429, headers: { "retry-after": value } });
const REFUSED = { strikes: "before-content", charged: "nothing" } as const;

const ROWS: readonly Row[] = [
  {
    name: "refuses the connection",
    baseURL: "http://127.0.0.1:1/v1",
    ...REFUSED,
    code: "upstream_unreachable",
    status: 502,
  },
  {
    name: "has no address",
    baseURL: "http://nowhere.invalid/v1",
    ...REFUSED,
    code: "upstream_unreachable",
    status: 502,
  },
  {
    name: "resets before the head",
    script: { reset: "before-headers" },
    strikes: "before-content",
    code: "upstream_unreachable",
    status: 502,
    charged: "input",
  },
  {
    name: "resets in the middle",
    script: { reset: "mid-stream" },
    strikes: "mid-stream",
    code: "upstream_unreachable",
    status: 502,
    charged: "input",
  },
  {
    name: "hangs before the head",
    script: { hang: "before-headers" },
    strikes: "before-content",
    code: "upstream_timeout",
    status: 504,
    charged: "input",
  },
  {
    name: "hangs after the head",
    script: { hang: "after-headers" },
    strikes: "before-content",
    code: "upstream_timeout",
    status: 504,
    charged: "input",
  },
  {
    name: "hangs in the middle",
    script: { hang: "mid-stream" },
    strikes: "mid-stream",
    code: "upstream_timeout",
    status: 504,
    charged: "input",
  },
  {
    name: "is cut off in the middle",
    script: { cut: true },
    strikes: "mid-stream",
    code: "cut",
    status: 502,
    charged: "input",
  },
  {
    name: "answers 429 with seconds",
    script: limited("7"),
    ...REFUSED,
    code: "rate_limited",
    status: 429,
    retryAfter: "7",
  },
  {
    name: "answers 429 with a date",
    script: limited(soon),
    ...REFUSED,
    code: "rate_limited",
    status: 429,
    retryAfter: "3600",
  },
  {
    name: "answers 429 with a date in the past",
    script: limited(past),
    ...REFUSED,
    code: "rate_limited",
    status: 429,
    retryAfter: null,
  },
  {
    name: "answers 429 with nonsense",
    script: limited("soon, I promise"),
    ...REFUSED,
    code: "rate_limited",
    status: 429,
    retryAfter: null,
  },
  {
    name: "answers 429 with a whole day",
    script: limited("86400"),
    ...REFUSED,
    code: "rate_limited",
    status: 429,
    retryAfter: "86400",
  },
  { name: "answers 402", script: { status: 402 }, ...REFUSED, code: "upstream_error", status: 402 },
  {
    name: "answers 500",
    script: { status: 500 },
    strikes: "before-content",
    code: "upstream_error",
    status: 500,
    charged: "input",
  },
  {
    name: "answers 503",
    script: { status: 503 },
    ...REFUSED,
    code: "upstream_overloaded",
    status: { anthropic: 529, openai: 503 },
  },
  {
    name: "answers 529",
    script: { status: 529 },
    ...REFUSED,
    code: "upstream_overloaded",
    status: { anthropic: 529, openai: 503 },
  },
  { name: "answers 401", script: { status: 401 }, ...REFUSED, code: "upstream_auth", status: 502 },
  { name: "answers 403", script: { status: 403 }, ...REFUSED, code: "upstream_auth", status: 502 },
  {
    name: "answers a page of HTML with 200",
    script: { html: true },
    ...REFUSED,
    code: "upstream_invalid",
    status: 502,
  },
  {
    name: "sends an error event in a 200",
    script: { errorEvent: { type: "overloaded_error", message: "Overloaded, sorry" } },
    strikes: "mid-stream",
    code: "error-event",
    status: 0,
    charged: "input",
  },
];

const MATRIX = CALLERS.flatMap((caller) =>
  (["translated", "passed"] as const).flatMap((way) =>
    [false, true].flatMap((stream) => [false, true].map((withFallback) => ({ caller, way, stream, withFallback }))),
  ),
);

describe.concurrent.each(ROWS)("an upstream that $name", (row) => {
  test.each(MATRIX)(
    "$caller.name caller, $way, stream: $stream, fallback: $withFallback",
    async ({ caller, way, stream, withFallback }) => {
      const kind = kindOf(caller, way);
      await using house = await start(kind, { withFallback, ...(row.baseURL && { baseURL: row.baseURL }) });
      house.fake.always({ text: WORDS, ...row.script });

      const answer = await understand(await ask(house.url, caller, stream), caller);
      const used = await house.settled();
      const broken = stream && row.strikes === "mid-stream";
      const [first, second] = house.log.attempts();
      const [request] = house.log.requests();
      expect(house.log.requests()).toHaveLength(1);

      // Never two models in one answer, never the key, one attempt at the primary.
      expect(answer.text.includes("primary") && answer.text.includes("FALLBACK")).toBe(false);
      expect(answer.models.size).toBeLessThanOrEqual(1);
      expect(answer.raw + JSON.stringify(house.log.records)).not.toContain(KEY);
      expect(house.fake.requests.length).toBe(row.baseURL ? 0 : 1);
      expect(answer.status).not.toBe(401);

      expect(first).toMatchObject({
        attempt: 1,
        provider: "primary",
        outcome: "failed",
        target: `primary/${MODELS[kind]}`,
      });
      if (row.code === "cut") expect(["upstream_unreachable", "upstream_invalid"]).toContain(first!.code);
      else if (row.code === "error-event") expect(String(first!.code)).toMatch(/^upstream_/);
      else expect(first!.code).toBe(row.code);
      expect(String(first!.reason).length).toBeGreaterThan(5);

      if (broken) {
        // The caller has seen half of it: one error of its dialect, and no end that looks like one.
        expect(answer.status).toBe(200);
        expect(answer.text).toContain("primary0");
        expect(answer.text).not.toContain("primary39");
        expect(answer.errors).toHaveLength(1);
        expect(answer.complete).toBe(false);
        expect(house.fallback.requests).toHaveLength(0);
        expect(house.log.attempts()).toHaveLength(1);
        expect(first).toMatchObject({ estimated: true });
        expect(first!.outputTokens).toBeGreaterThan(20);
        expect(first!.outputTokens).toBeLessThan(120);
        expect(first!.inputTokens).toBeGreaterThan(5);
        expect(used).toEqual({ primary: Number(first!.inputTokens) + Number(first!.outputTokens), fallback: 0 });
        expect(request).toMatchObject({ outcome: "failed", attempts: 1 });
        return;
      }

      if (row.charged === "nothing") expect(used.primary).toBe(0);
      else {
        expect(used.primary).toBeGreaterThan(5);
        expect(used.primary).toBeLessThan(400);
      }
      if (withFallback) {
        expect(answer).toMatchObject({ status: 200, text: "FALLBACK says hello", errors: [], complete: true });
        expect(answer.headers.get("x-turnpike-target")).toBe("fallback/local");
        expect(answer.headers.get("x-turnpike-attempts")).toBe("2");
        expect(second).toMatchObject({ attempt: 2, provider: "fallback", outcome: "served" });
        expect(used.fallback).toBe(Number(second!.inputTokens) + Number(second!.outputTokens));
        expect(request).toMatchObject({ outcome: "served", attempts: 2, target: "fallback/local" });
        return;
      }
      expect(answer.errors).toHaveLength(1);
      expect(answer.text).toBe("");
      const status = typeof row.status === "number" ? row.status : row.status[caller.name];
      // A caller of the upstream's own dialect is given its status as it came.
      if (row.code === "error-event") expect(answer.status).toBeGreaterThanOrEqual(500);
      else if (row.code === "upstream_overloaded" && way === "passed") expect([503, 529]).toContain(answer.status);
      else expect(answer.status).toBe(status);
      if (row.retryAfter !== undefined) {
        const told = answer.headers.get("retry-after");
        if (row.retryAfter === "3600") expect(Math.abs(Number(told) - 3600)).toBeLessThan(120);
        else expect(told).toBe(row.retryAfter);
      }
      expect(request).toMatchObject({ outcome: "failed", attempts: 1, code: first!.code });
    },
  );
});

describe("legal oddities are no faults", () => {
  const ODD: readonly { name: string; script: Script; streams: readonly boolean[] }[] = [
    { name: "JSON though a stream was asked for", script: { jsonForStream: true }, streams: [true] },
    { name: "a stream though JSON was asked for", script: { streamForJson: true }, streams: [false] },
    { name: "CRLF in the stream", script: { sse: { eol: "\r\n" } }, streams: [true] },
    { name: "CR in the stream", script: { sse: { eol: "\r" } }, streams: [true] },
    { name: "three bytes at a time", script: { sse: { splitBytes: 3 } }, streams: [true] },
    { name: "comments between the events", script: { sse: { comments: true } }, streams: [true] },
    {
      name: "CRLF, comments and one byte at a time",
      script: { sse: { eol: "\r\n", comments: true, splitBytes: 1 } },
      streams: [true],
    },
  ];
  const CASES = ODD.flatMap(({ name, script, streams }) =>
    CALLERS.flatMap((caller) =>
      (["translated", "passed"] as const).flatMap((way) =>
        streams.map((stream) => ({ name, script, caller, way, stream })),
      ),
    ),
  );
  test.each(CASES)("$name, $caller.name caller, $way", async ({ script, caller, way, stream }) => {
    const kind = kindOf(caller, way);
    await using house = await start(kind, { timeouts: { idleMs: 2_000 } });
    const text = "Zürich, 東京 and 🦊: three words.";
    house.fake.always({ text, usage: { prompt: 30, completion: 9 }, ...script });
    const response = await ask(house.url, caller, stream);
    expect(response.headers.get("content-type")).toContain(stream ? "text/event-stream" : "application/json");
    const answer = await understand(response, caller);
    expect(answer).toMatchObject({ status: 200, text, errors: [], complete: true });
    const { primary } = await house.settled();
    const [attempt] = house.log.attempts();
    expect(attempt).toMatchObject({ outcome: "served" });
    expect(primary).toBe(Number(attempt!.inputTokens) + Number(attempt!.outputTokens));
    // OpenAI streams no usage to those who did not ask for it.
    if (kind === "openai" && script.streamForJson) expect(attempt).toMatchObject({ estimated: true });
    else expect(attempt).toMatchObject({ inputTokens: 30, outputTokens: 9 });
  });
});

describe("a redirect", () => {
  test.each(CALLERS.flatMap((caller) => (["translated", "passed"] as const).map((way) => ({ caller, way }))))(
    "is an error and the key stays here: $caller.name caller, $way",
    async ({ caller, way }) => {
      const kind = kindOf(caller, way);
      const elsewhere = await upstream((_, response) => response.end("{}"));
      await using house = await start(kind, { withFallback: true });
      for (const status of [301, 302, 303, 307, 308]) {
        house.fake.next({ redirect: `${elsewhere.baseURL}/chat/completions`, status });
        const answer = await understand(await ask(house.url, caller, true), caller);
        expect(answer).toMatchObject({ status: 200, text: "FALLBACK says hello", complete: true });
      }
      expect(elsewhere.requests).toHaveLength(0);
      const failed = house.log.attempts().filter(({ provider }) => provider === "primary");
      expect(failed.map(({ code }) => code)).toEqual(Array(5).fill("upstream_invalid"));
      expect(await house.settled()).toMatchObject({ primary: 0 });
      await elsewhere.close();
    },
  );
});

describe("usage that is", () => {
  const chat = (usage: unknown, stream: boolean) => {
    const base = { id: "x", created: 1, model: "m", object: stream ? "chat.completion.chunk" : "chat.completion" };
    const text = "abcdefg".repeat(50);
    if (!stream)
      return JSON.stringify({
        ...base,
        choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
        ...(usage !== undefined && { usage }),
      });
    const chunks = [
      { ...base, choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] },
      ...Array.from({ length: 50 }, () => ({
        ...base,
        choices: [{ index: 0, delta: { content: "abcdefg" }, finish_reason: null }],
      })),
      { ...base, choices: [{ index: 0, delta: {}, finish_reason: "stop" }] },
      ...(usage === undefined ? [] : [{ ...base, choices: [], usage }]),
    ];
    return `${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("")}data: [DONE]\n\n`;
  };
  const messages = (usage: unknown, stream: boolean) => {
    const text = "abcdefg".repeat(50);
    const told = usage === undefined ? {} : { usage };
    const message = {
      id: "msg_x",
      type: "message",
      role: "assistant",
      model: "m",
      content: [] as unknown[],
      stop_reason: null as string | null,
      stop_sequence: null,
      ...told,
    };
    if (!stream) return JSON.stringify({ ...message, content: [{ type: "text", text }], stop_reason: "end_turn" });
    const events = [
      { type: "message_start", message },
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
      ...Array.from({ length: 50 }, () => ({
        type: "content_block_delta",
        index: 0,
        delta: { type: "text_delta", text: "abcdefg" },
      })),
      { type: "content_block_stop", index: 0 },
      { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, ...told },
      { type: "message_stop" },
    ];
    return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
  };
  const tokens = (kind: string, input: unknown, output: unknown) =>
    kind === "anthropic"
      ? { input_tokens: input, output_tokens: output }
      : { prompt_tokens: input, completion_tokens: output };

  const CASES = [
    { name: "missing", usage: () => undefined, counted: true },
    { name: "zero", usage: (kind: string) => tokens(kind, 0, 0), counted: false },
    { name: "negative", usage: (kind: string) => tokens(kind, -5, -7), counted: true },
    { name: "text", usage: (kind: string) => tokens(kind, "many", "more"), counted: true },
    { name: "beyond 2^53", usage: (kind: string) => tokens(kind, 2 ** 60, 2 ** 60), counted: true },
    { name: "an array", usage: () => [1, 2], counted: true },
    { name: "null", usage: () => null, counted: true },
  ];
  test.each(
    CASES.flatMap((row) =>
      CALLERS.flatMap((caller) =>
        (["translated", "passed"] as const).flatMap((way) =>
          [false, true].map((stream) => ({ ...row, caller, way, stream })),
        ),
      ),
    ),
  )("$name: $caller.name caller, $way, stream: $stream", async ({ usage, counted, caller, way, stream }) => {
    const kind = kindOf(caller, way);
    const strange = await upstream((_, response) => {
      response.setHeader("content-type", stream ? "text/event-stream" : "application/json");
      response.end(kind === "anthropic" ? messages(usage(kind), stream) : chat(usage(kind), stream));
    });
    await using house = await start(kind, { baseURL: strange.baseURL });
    const answer = await understand(await ask(house.url, caller, stream), caller);
    expect(answer).toMatchObject({ status: 200, errors: [], complete: true });
    expect(answer.text).toHaveLength(350);
    expect(answer.raw).not.toContain("NaN");
    const { primary } = await house.settled();
    const [attempt] = house.log.attempts();
    if (!counted) {
      expect(primary).toBe(0);
      expect(attempt).toMatchObject({ inputTokens: 0, outputTokens: 0 });
      expect(attempt).not.toHaveProperty("estimated");
    } else {
      // 350 characters: about a hundred tokens, and the input.
      expect(attempt).toMatchObject({ estimated: true, outputTokens: 100 });
      expect(attempt!.inputTokens).toBeGreaterThan(5);
      expect(primary).toBe(Number(attempt!.inputTokens) + 100);
    }
    await strange.close();
  });
});

describe("a caller who leaves", () => {
  const MOMENTS: readonly { name: string; script: Script; stream: boolean; content: boolean }[] = [
    { name: "before the head", script: { hang: "before-headers" }, stream: true, content: false },
    { name: "before the first content", script: { hang: "after-headers" }, stream: true, content: false },
    { name: "in the middle of the stream", script: { hang: "mid-stream" }, stream: true, content: true },
    { name: "before the head of a whole answer", script: { hang: "before-headers" }, stream: false, content: false },
    { name: "in the middle of a whole answer", script: { hang: "mid-stream" }, stream: false, content: false },
  ];
  test.each(
    MOMENTS.flatMap((row) =>
      CALLERS.flatMap((caller) => (["translated", "passed"] as const).map((way) => ({ ...row, caller, way }))),
    ),
  )(
    "$name closes the upstream within 100 ms: $caller.name caller, $way",
    async ({ script, stream, content, caller, way }) => {
      const kind = kindOf(caller, way);
      await using house = await start(kind, { timeouts: {}, withFallback: true, routing: { retries: 2 } });
      const { fake } = house;
      fake.always({ text: WORDS, ...script });
      const controller = new AbortController();
      const asked = ask(house.url, caller, stream, { signal: controller.signal });
      asked.catch(() => {});
      if (content) {
        const reader = (await asked).body!.getReader();
        let seen = "";
        while (!seen.includes("primary19")) seen += Buffer.from((await reader.read()).value!).toString();
        reader.read().catch(() => {});
      } else {
        await until(() => fake.requests.length === 1, "the upstream is asked");
        await sleep(30);
      }
      const left = Date.now();
      controller.abort();
      await until(() => fake.requests[0]!.closedEarly, "the upstream sees the connection close", 1_000);
      expect(fake.requests[0]!.closedAt! - left).toBeLessThan(100);
      const used = await house.settled();
      expect(fake.requests).toHaveLength(1);
      expect(house.fallback.requests).toHaveLength(0);
      const [attempt] = house.log.attempts();
      expect(attempt).toMatchObject({ outcome: "aborted", provider: "primary" });
      expect(house.log.requests()).toMatchObject([{ outcome: "aborted" }]);
      expect(used.fallback).toBe(0);
      expect(used.primary).toBeGreaterThan(5);
      if (content) {
        expect(attempt).toMatchObject({ estimated: true });
        expect(attempt!.outputTokens).toBeGreaterThan(20);
        expect(used.primary).toBe(Number(attempt!.inputTokens) + Number(attempt!.outputTokens));
      }
    },
  );

  test("while the request waits for a free connection is released at once and the upstream never hears of it", async () => {
    await using house = await start("mistral", { timeouts: {}, pool: { connections: 1 } });
    house.fake.always({ hang: "before-headers" });
    const [caller] = CALLERS as [Caller];
    const first = new AbortController();
    ask(house.url, caller, false, { signal: first.signal }).catch(() => {});
    await until(() => house.fake.requests.length === 1, "the first request is out");
    const second = new AbortController();
    ask(house.url, caller, false, { signal: second.signal }).catch(() => {});
    await until(() => house.gateway.inFlight === 2, "the second request is in");
    await sleep(30);
    second.abort();
    await until(() => house.gateway.inFlight === 1, "the second request ends", 1_000);
    const before = await house.gateway.usage();
    first.abort();
    const used = await house.settled();
    expect(house.fake.requests).toHaveLength(1);
    // Only the first one, whose request was sent, is charged.
    expect(before[0]!.used).toBe(0);
    expect(used.primary).toBeLessThan(100);
  });

  test("during a pause between two tries ends the request, and nothing is asked again", async () => {
    await using house = await start("mistral", { routing: { retries: 2 } });
    house.fake.always({ status: 429, headers: { "retry-after": "1" } });
    const [caller] = CALLERS as [Caller];
    const controller = new AbortController();
    ask(house.url, caller, false, { signal: controller.signal }).catch(() => {});
    await until(() => house.log.attempts().length === 1, "the first try fails");
    controller.abort();
    await until(() => house.gateway.inFlight === 0, "the request ends soon, not after the pause", 300);
    await sleep(2_000);
    expect(house.fake.requests).toHaveLength(1);
    expect(house.log.attempts()).toHaveLength(1);
    expect(house.log.requests()).toMatchObject([{ outcome: "aborted" }]);
    expect(await house.settled()).toMatchObject({ primary: 0 });
  });
});

describe("a caller who does not read", () => {
  /** An endless stream that stops when the socket is full. */
  async function fountain(kind: string) {
    const state = { written: 0, closedAt: 0, events: Number.POSITIVE_INFINITY };
    const text = "0123456789".repeat(400);
    const event =
      kind === "anthropic"
        ? `event: content_block_delta\ndata: ${JSON.stringify({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })}\n\n`
        : `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: { content: text }, finish_reason: null }] })}\n\n`;
    const open =
      kind === "anthropic"
        ? [
            {
              type: "message_start",
              message: {
                id: "msg_x",
                type: "message",
                role: "assistant",
                model: "m",
                content: [],
                stop_reason: null,
                stop_sequence: null,
                usage: { input_tokens: 9, output_tokens: 1 },
              },
            },
            { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
          ]
            .map((each) => `event: ${each.type}\ndata: ${JSON.stringify(each)}\n\n`)
            .join("")
        : "";
    const close =
      kind === "anthropic"
        ? [
            { type: "content_block_stop", index: 0 },
            {
              type: "message_delta",
              delta: { stop_reason: "end_turn", stop_sequence: null },
              usage: { output_tokens: 77 },
            },
            { type: "message_stop" },
          ]
            .map((each) => `event: ${each.type}\ndata: ${JSON.stringify(each)}\n\n`)
            .join("")
        : `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":77}}\n\ndata: [DONE]\n\n`;
    const server = await upstream((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(open);
      response.on("close", () => {
        state.closedAt = Date.now();
      });
      const flow = () => {
        while (!response.destroyed) {
          if (state.events-- <= 0) return void response.end(close);
          state.written += event.length;
          if (!response.write(event)) return void response.once("drain", flow);
        }
      };
      flow();
    });
    return { ...server, state };
  }
  async function stalled(state: { written: number }) {
    for (let before = -1; before !== state.written; ) {
      before = state.written;
      await sleep(150);
    }
  }
  const WAYS = CALLERS.flatMap((caller) => (["translated", "passed"] as const).map((way) => ({ caller, way })));

  test.each(WAYS)(
    "stops the upstream, and closes it within 100 ms of leaving: $caller.name caller, $way",
    async ({ caller, way }) => {
      const kind = kindOf(caller, way);
      const source = await fountain(kind);
      // Its silence is ours: the idle timer must not strike while we are the ones who do not read.
      await using house = await start(kind, { baseURL: source.baseURL, timeouts: { idleMs: 300 } });
      const socket = openSocket(
        house.url,
        httpText(caller.path, JSON.stringify(requestBody(caller, true)), caller.headers).toString(),
      );
      socket.pause();
      await until(() => source.state.written > 0, "the stream flows");
      await stalled(source.state);
      expect(source.state.written).toBeLessThan(64 * 1024 * 1024);
      await sleep(500);
      expect(source.state.closedAt, "the upstream is still there").toBe(0);
      const left = Date.now();
      socket.destroy();
      await until(() => source.state.closedAt > 0, "the upstream is closed", 1_000);
      expect(source.state.closedAt - left).toBeLessThan(100);
      const used = await house.settled();
      expect(used.primary).toBeGreaterThan(1_000);
      expect(house.log.attempts()).toMatchObject([{ outcome: "aborted", estimated: true }]);
      await source.close();
    },
  );

  test.each(WAYS)("and then reads on gets every byte: $caller.name caller, $way", async ({ caller, way }) => {
    const kind = kindOf(caller, way);
    const source = await fountain(kind);
    source.state.events = 4_000;
    await using house = await start(kind, { baseURL: source.baseURL, timeouts: { idleMs: 300 } });
    const response = await ask(house.url, caller, true);
    await stalled(source.state);
    await sleep(400);
    const answer = await understand(response, caller);
    expect(answer).toMatchObject({ status: 200, errors: [], complete: true });
    expect(answer.text).toHaveLength(4_000 * 4_000);
    expect(await house.settled()).toMatchObject({ primary: 86 });
    await source.close();
  });
});

describe("trying again", () => {
  const [caller] = CALLERS as [Caller];

  test("a 429 with Retry-After: 1 is asked again after a second, with a reservation of its own", async () => {
    await using house = await start("mistral", { routing: { retries: 2 } });
    house.fake.next(limited("1"), { text: "at last", usage: { prompt: 20, completion: 2 } });
    const answer = await understand(await ask(house.url, caller, true), caller);
    expect(answer).toMatchObject({ status: 200, text: "at last", complete: true, errors: [] });
    const [one, two] = house.fake.requests;
    expect(two!.at - one!.at).toBeGreaterThanOrEqual(990);
    expect(answer.headers.get("x-turnpike-attempts")).toBe("2");
    expect(house.log.attempts()).toMatchObject([
      { attempt: 1, outcome: "failed", code: "rate_limited" },
      { attempt: 2, outcome: "served" },
    ]);
    expect(await house.settled()).toMatchObject({ primary: 22 });
  });

  test.each([true, false])("a reset, then an answer: the caller sees only the answer (stream: %s)", async (stream) => {
    await using house = await start("mistral", { routing: { retries: 2 } });
    house.fake.next({ reset: "before-headers" }, { text: "at last", usage: { prompt: 20, completion: 2 } });
    const answer = await understand(await ask(house.url, caller, stream), caller);
    expect(answer).toMatchObject({ status: 200, text: "at last", complete: true, errors: [] });
    const { primary } = await house.settled();
    // The reset one may have been billed for its input.
    expect(primary).toBeGreaterThan(22 + 5);
    expect(primary).toBeLessThan(200);
  });

  test("a stream that breaks before its first content is tried again, one that breaks later is not", async () => {
    await using house = await start("mistral", { routing: { retries: 1 } });
    house.fake.next({ hang: "after-headers" }, { text: WORDS, cut: true }, { text: "never" });
    const answer = await understand(await ask(house.url, caller, true), caller);
    expect(answer).toMatchObject({ status: 200, complete: false });
    expect(answer.errors).toHaveLength(1);
    expect(house.fake.requests).toHaveLength(2);
    await house.settled();
  });

  test("gives up after the retries it was given, with the last error", async () => {
    await using house = await start("mistral", { routing: { retries: 1 } });
    house.fake.always({ status: 503 });
    const answer = await understand(await ask(house.url, caller, false), caller);
    expect(answer.status).toBe(529);
    expect(house.fake.requests).toHaveLength(2);
    expect(house.log.attempts()).toHaveLength(2);
    expect(await house.settled()).toMatchObject({ primary: 0 });
  });

  test.each([400, 401, 402, 403, 404, 422])("what cannot pass by itself (%i) is asked once", async (status) => {
    await using house = await start("mistral", { routing: { retries: 2 } });
    house.fake.always({ status });
    await understand(await ask(house.url, caller, false), caller);
    expect(house.fake.requests).toHaveLength(1);
    expect(await house.settled()).toMatchObject({ primary: 0 });
  });

  test("a Retry-After of a day is left to the caller at once", async () => {
    await using house = await start("mistral", { routing: { retries: 2 } });
    house.fake.always(limited("86400"));
    const before = Date.now();
    const answer = await understand(await ask(house.url, caller, false), caller);
    expect(Date.now() - before).toBeLessThan(500);
    expect(answer.headers.get("retry-after")).toBe("86400");
    expect(house.fake.requests).toHaveLength(1);
  });

  test("x-should-retry: false of the upstream is obeyed and handed on", async () => {
    await using house = await start("anthropic", { routing: { retries: 2 } });
    house.fake.always({ status: 529, headers: { "x-should-retry": "false" } });
    const answer = await understand(await ask(house.url, caller, false), caller);
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(house.fake.requests).toHaveLength(1);
  });
});
