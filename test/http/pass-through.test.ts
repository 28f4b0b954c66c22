import type { Gateway } from "turnpike";
import { type Fake, fakeAnthropic, fakeLlama, fakeOpenAI, type Script } from "turnpike/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildGateway, expectSettled, type HouseOptions, type Json, KEYS, startUpstreams } from "../clients/support.ts";
import { type logBook, serve, until } from "../support/gateway.ts";

/** Fakes with a fixed clock: two of a kind that are asked alike answer alike, byte for byte. */
const now = () => Date.parse("2026-11-22T12:00:00Z");

interface Case {
  upstream: "anthropic" | "openai" | "llama";
  model: string;
  path: string;
  /** Where the fake takes the same request. */
  own: string;
  twin(): Promise<Fake>;
  /** Legal, and as no serialiser would write it. */
  odd(model: string, more?: string): string;
}

const chatBody = (model: string, more = "") =>
  `\r\n{ "model"\t:  "${model}" ,\n\n"max_completion_tokens":1e3,"messages": [ {"role":"user","content":[{"type":"text","text":"\\u00e9\\ud83d\\ude00 \\/ é😀 \\u0022quoted\\u0022 {\\"model\\":\\"x\\"}"}] } ],` +
  `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","x-odd":{"a":[1.0,1e2,-0,12345678901234567890,{}],"model":"inner","max_tokens":7}}}}]${more}\n}  `;

const CASES: Case[] = [
  {
    upstream: "anthropic",
    model: "claude-haiku-5-5",
    path: "/anthropic/v1/messages?beta=true",
    own: "/v1/messages",
    twin: () => fakeAnthropic({ now }),
    odd: (model, more = "") =>
      `\r\n{ "model"\t:  "${model}" ,\n\n"max_tokens":1e3,"messages": [ {"role":"user","content":[{"type":"text","text":"\\u00e9\\ud83d\\ude00 \\/ é😀 \\u0022quoted\\u0022 {\\"model\\":\\"x\\"}","cache_control":{"type":"ephemeral"}}] } ],` +
      `"tools":[{"name":"f","input_schema":{"type":"object","x-odd":{"a":[1.0,1e2,-0,12345678901234567890,{}],"model":"inner","max_tokens":7}}}],"metadata":{"user_id":null}${more}\n}  `,
  },
  {
    upstream: "openai",
    model: "gpt-5.5",
    path: "/v1/chat/completions",
    own: "/v1/chat/completions",
    twin: () => fakeOpenAI({ now }),
    odd: chatBody,
  },
  {
    upstream: "llama",
    model: "devstral-small",
    path: "/v1/chat/completions",
    own: "/v1/chat/completions",
    twin: () => fakeLlama({ now }),
    odd: chatBody,
  },
];

describe.each(CASES)("a caller of the dialect of $upstream", ({ upstream, model, path, own, twin, odd }) => {
  let upstreams: Awaited<ReturnType<typeof startUpstreams>>;
  let fake: Fake;
  let other: Fake;
  let gateway: Gateway;
  let url: string;
  let log: ReturnType<typeof logBook>;
  const closers: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    upstreams = await startUpstreams();
    fake = await twin();
    other = await twin();
    await open();
  });
  afterEach(async () => {
    await expectSettled(gateway);
    for (const close of closers.splice(0)) await close();
    await Promise.all([fake.close(), other.close(), upstreams.closeAll()]);
  });

  async function open(options?: HouseOptions) {
    const built = buildGateway({ ...upstreams, [upstream]: fake }, options);
    ({ gateway, log } = built);
    const server = await serve(gateway);
    url = server.url;
    closers.push(async () => {
      await server.close();
      await built.gateway.close();
    });
  }

  const named = `${upstream}/${model}`;
  const HEADERS = {
    "content-type": "application/json",
    authorization: "Bearer callers-own-key",
    "anthropic-version": "2023-06-01",
  };
  const ask = (body: string, headers: Record<string, string> = {}) =>
    fetch(url + path, { method: "POST", body, headers: { ...HEADERS, ...headers } });
  const direct = (body: string) => fetch(other.url + own, { method: "POST", body, headers: HEADERS });
  const bytes = async (response: Response) => Buffer.from(await response.arrayBuffer()).toString("latin1");
  const script = (more: Script = {}): Script => ({
    text: "One two é😀 three. ".repeat(5),
    usage: { prompt: 1234, cached: 1000, completion: 567 },
    ...more,
  });
  const withUsage = upstream === "anthropic" ? "" : ',"stream_options":{"include_usage":true}';
  const used = async () => (await gateway.usage())[0];

  test("the upstream receives the caller's bytes, only the model is put in", async () => {
    const response = await ask(odd(named));
    expect(response.status, await response.clone().text()).toBe(200);
    expect(fake.requests[0]?.raw).toBe(odd(model));
    expect(response.headers.get("x-turnpike-changes")).toBeNull();
  });

  test("a rule's alias is replaced the same way, also where the name is written with escapes", async () => {
    await open({ router: { retries: 0, rules: [{ match: { model: 'ali"as' }, to: named }] } });
    const response = await ask(odd("\\u0061li\\u0022as"));
    expect(response.status).toBe(200);
    expect(fake.requests[0]?.raw).toBe(odd(model));
  });

  test("where the budget granted less, max_tokens is put in too, and nothing else", async () => {
    await open({ limits: [{ name: "small", outputTokens: 1_500, per: "day" }] });
    upstreams.reset();
    const asked = odd(named).replace("1e3", "4000");
    const response = await ask(asked);
    expect(response.status).toBe(200);
    expect(fake.requests[0]?.raw).toBe(odd(model).replace("1e3", "1500"));
    expect(response.headers.get("x-turnpike-changes")).toContain("max_tokens=4000->1500");
  });

  test.runIf(upstream !== "anthropic")(
    "where the caller gave no bound and the budget grants one, it is added in front",
    async () => {
      await open({ limits: [{ name: "small", outputTokens: 1_500, per: "day" }] });
      const asked = (name: string) => `{ "model":"${name}", "messages":[{"role":"user","content":"hi"}] }`;
      expect((await ask(asked(named))).status).toBe(200);
      const field = upstream === "openai" ? "max_completion_tokens" : "max_tokens";
      expect(fake.requests[0]?.raw).toBe(asked(model).replace("{", `{"${field}":1500,`));
    },
  );

  test("a whole answer reaches the caller unchanged, and its usage is read on the way by", async () => {
    for (const each of [fake, other]) each.next(script());
    const response = await ask(odd(named));
    expect(await bytes(response)).toBe(await bytes(await direct(odd(model))));
    expect(await used()).toMatchObject({ used: 1_801, held: 0 });
    expect(log.attempts()[0]).toMatchObject({
      inputTokens: 1_234,
      cacheReadTokens: 1_000,
      outputTokens: 567,
      target: named,
    });
    expect(log.attempts()[0]).not.toHaveProperty("estimated");
  });

  test.each([
    ["as it is", {}],
    ["torn at every byte", { splitBytes: 1 }],
    ["torn at every third byte, with CRLF", { splitBytes: 3, eol: "\r\n" as const }],
    ["with CR and comments", { eol: "\r" as const, comments: true }],
    ["in large pieces with comments", { splitBytes: 997, comments: true }],
  ])("a stream %s reaches the caller unchanged, and its usage is read on the way by", async (_, sse) => {
    const calls = [{ name: "f", arguments: { a: "é😀", b: [1, 2] } }];
    for (const each of [fake, other]) each.next(script({ sse, thinking: "Hm, é😀.", toolCalls: calls }));
    const body = (name: string) => odd(name, `,"stream":true${withUsage}`);
    const response = await ask(body(named));
    expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
    const received = await bytes(response);
    // Nothing is read behind the last event, not even the rest of its own line end where that is torn.
    expect(received.trimEnd()).toBe((await bytes(await direct(body(model)))).trimEnd());
    expect(received).toMatch(/[\r\n]{2}$/);
    expect(received.length).toBeGreaterThan(1_000);
    await expectSettled(gateway);
    expect(await used()).toMatchObject({ used: 1_801, held: 0 });
    expect(log.attempts()[0]).toMatchObject({ outcome: "served", inputTokens: 1_234, outputTokens: 567 });
    expect(log.attempts()[0]).not.toHaveProperty("estimated");
  });

  test.runIf(upstream !== "anthropic")(
    "a stream whose caller did not ask for usage passes unchanged where no budget needs it",
    async () => {
      await open({ limits: [{ name: "calls", requests: 100, per: "day" }] });
      for (const each of [fake, other]) each.next(script());
      const body = (name: string) => odd(name, ',"stream":true');
      const response = await ask(body(named));
      expect(await bytes(response)).toBe(await bytes(await direct(body(model))));
      await expectSettled(gateway);
      expect(log.attempts()[0]).toMatchObject({ outcome: "served", estimated: true });
      expect(Number(log.attempts()[0]?.outputTokens)).toBeGreaterThan(20);
    },
  );

  test
    .runIf(upstream !== "anthropic")
    .each(["", ',"stream_options":null', ',"stream_options":{"include_usage":false}'])(
    "where a budget needs the count, the upstream is asked for it and a caller who did not (%j) does not see it",
    async (options) => {
      fake.next(script());
      const response = await ask(odd(named, `,"stream":true${options}`));
      const text = await response.text();
      expect(text).not.toMatch(/"usage":\s*\{/);
      expect(text).toMatch(/"finish_reason":"stop"/);
      expect(text.trimEnd()).toMatch(/data: \[DONE\]$/);
      await expectSettled(gateway);
      expect((fake.requests.at(-1) as Json).body.stream_options).toEqual({ include_usage: true });
      expect(await used()).toMatchObject({ used: 1_801, held: 0 });
      expect(log.attempts()[0]).not.toHaveProperty("estimated");
    },
  );

  test("an error event of the upstream's own in mid-stream passes unchanged", async () => {
    const fault = { errorEvent: { type: "overloaded_error", message: "Overloaded, é😀" } };
    for (const each of [fake, other]) each.next(script(fault));
    const body = (name: string) => odd(name, `,"stream":true${withUsage}`);
    const received = await bytes(await ask(body(named)));
    expect(received).toBe(await bytes(await direct(body(model))));
    await expectSettled(gateway);
    expect(log.attempts()[0]).toMatchObject({ outcome: "failed", code: "upstream_overloaded" });
    // What was streamed is settled.
    expect((await used())?.used).toBeGreaterThan(0);
  });

  test("a stream that is cut off gets all its bytes and one error event behind them", async () => {
    for (const each of [fake, other]) each.next(script({ cut: true }));
    const body = (name: string) => odd(name, `,"stream":true${withUsage}`);
    const received = await bytes(await ask(body(named)));
    const sent = await bytes(await direct(body(model)));
    expect(received.startsWith(sent)).toBe(true);
    const rest = received.slice(sent.length);
    expect(rest).toMatch(
      upstream === "anthropic" ? /^event: error\ndata: {"type":"error".*\n\n$/ : /^data: {"error":.*\n\n$/,
    );
  });

  test("the dialect's own headers go along, the caller's key and everything else does not", async () => {
    await ask(odd(named), {
      "anthropic-beta": "context-1m-2025-08-07,token-efficient-tools-2025-02-19",
      "anthropic-version": "2026-10-21",
      "openai-organization": "org-1",
      "x-api-key": "callers-own-key",
      cookie: "session=callers-own-key",
      "x-forwarded-for": "10.0.0.1",
      "x-secret": "callers-own-key",
      "x-claude-code-session-id": "s-1",
    });
    const { headers } = fake.requests[0] as { headers: Record<string, string> };
    expect(JSON.stringify(headers)).not.toContain("callers-own-key");
    expect(headers["x-forwarded-for"]).toBeUndefined();
    if (upstream === "anthropic") {
      expect(headers).toMatchObject({
        "x-api-key": KEYS.anthropic,
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "context-1m-2025-08-07,token-efficient-tools-2025-02-19",
        "x-claude-code-session-id": "s-1",
      });
      expect(headers.authorization).toBeUndefined();
    } else {
      expect(headers).toMatchObject({ authorization: `Bearer ${KEYS[upstream]}`, "openai-organization": "org-1" });
      expect(headers["x-api-key"]).toBeUndefined();
    }
  });

  test("rate-limit headers of the upstream reach the caller", async () => {
    const name = upstream === "anthropic" ? "anthropic-ratelimit-requests-remaining" : "x-ratelimit-remaining-requests";
    const headers = { [name]: "9" };
    fake.next({ headers }, { headers, status: 429 });
    for (const status of [200, 429]) {
      const response = await ask(odd(named));
      expect(response.status).toBe(status);
      await response.text();
      expect(Object.fromEntries(response.headers), String(status)).toMatchObject(headers);
    }
  });

  test.each([400, 404, 413, 429, 500, 503, 529])("an error answer with status %i passes unmodified", async (status) => {
    const type = status === 529 ? "overloaded_error" : "some_error";
    const body = `{ "type":"error","error" : {"type":"${type}", "message":"odd \\u00e9 \\/ é","nested":{"a":[1.0]}} ,"request_id":"req_1"}\n`;
    fake.next({ status, body, headers: { "content-type": "application/json" } });
    const response = await ask(odd(named));
    expect(response.status).toBe(status);
    expect(await response.text()).toBe(body);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-turnpike-target") ?? named).toBe(named);
  });

  test.each([401, 403])("an error answer with status %i is about our key: 502, in our own words", async (status) => {
    fake.next({ status, errorEvent: { type: "authentication_error", message: `invalid key ${KEYS[upstream]}` } });
    const response = await ask(odd(named));
    const text = await response.text();
    expect(response.status).toBe(502);
    expect(JSON.parse(text).error.message).toContain("refused the gateway's credentials");
    expect(text).not.toContain(KEYS[upstream]);
    expect(JSON.stringify(log.records)).not.toContain(KEYS[upstream]);
  });

  test("an error page that is not JSON becomes an error of the dialect", async () => {
    fake.next({ html: true, status: 502 });
    const response = await ask(odd(named));
    expect(response.status).toBe(502);
    expect(((await response.json()) as Json).error.message).toEqual(expect.any(String));
    expect(response.headers.get("content-type")).toBe("application/json");
  });

  test.each(["model", "mod\\u0065l", "max_tokens", "messages"])(
    "a top-level member %s that stands twice is a 400",
    async (name) => {
      const twice = `{"max_tokens":9,${odd(named).trim().slice(1, -1)},"${name}":"claude-opus-5-5"${name === "max_tokens" ? "" : ',"max_tokens":9'}}`;
      const response = await ask(twice);
      expect(response.status).toBe(400);
      expect(((await response.json()) as Json).error.message).toMatch(/twice/);
      expect(fake.requests).toHaveLength(0);
    },
  );

  test("what stands after a failed attempt elsewhere is the caller's own body", async () => {
    await open({
      router: { retries: 0, rules: [{ match: { model: "claude-*" }, to: ["mistral/mistral-medium-3-5", named] }] },
    });
    upstreams.mistral.next({ status: 503 });
    const response = await ask(odd("claude-x"));
    expect(response.status).toBe(200);
    await response.text();
    expect(fake.requests[0]?.raw).toBe(odd(model));
    expect(upstreams.mistral.requests).toHaveLength(1);
  });

  test("answers the other form than was asked for are still what the caller asked for", async () => {
    fake.next(script({ jsonForStream: true }));
    const streamed = await ask(odd(named, ',"stream":true'));
    expect(streamed.headers.get("content-type")).toMatch(/^text\/event-stream/);
    expect(await streamed.text()).toContain(upstream === "anthropic" ? "message_stop" : "[DONE]");
    fake.next(script({ streamForJson: true }));
    const whole = await ask(odd(named));
    expect(whole.headers.get("content-type")).toBe("application/json");
    expect(JSON.stringify(await whole.json())).toContain("One two é😀 three.");
  });

  test("a caller who leaves closes the upstream, and what was streamed is counted", { retry: 2 }, async () => {
    fake.next(script({ text: "word ".repeat(500), chunkDelayMs: 5 }));
    const controller = new AbortController();
    const response = await fetch(url + path, {
      method: "POST",
      body: odd(named, ',"stream":true'),
      headers: HEADERS,
      signal: controller.signal,
    });
    const reader = response.body?.getReader();
    await reader?.read();
    const leftAt = Date.now();
    controller.abort();
    await until(() => fake.requests[0]?.closedEarly === true, "the upstream was closed");
    expect((fake.requests[0]?.closedAt ?? 0) - leftAt).toBeLessThan(100);
    await expectSettled(gateway);
    expect((await used())?.used).toBeGreaterThan(50);
    expect(log.requests()[0]).toMatchObject({ outcome: "aborted", code: "client_closed", estimated: true });
  });

  test.runIf(upstream === "anthropic")("counting tokens passes the caller's bytes too", async () => {
    const body = (name: string) => `{ "model":"${name}" , "messages":[{"role":"user","content":"\\u00e9"}] }`;
    const response = await fetch(`${url}/v1/messages/count_tokens`, {
      method: "POST",
      body: body(named),
      headers: HEADERS,
    });
    expect(await response.json()).toEqual({ input_tokens: expect.any(Number) });
    expect(fake.requests[0]).toMatchObject({ path: "/v1/messages/count_tokens", raw: body(model) });
  });

  test.runIf(upstream === "anthropic")("Claude Code's [1m] mark does not reach the upstream", async () => {
    await ask(odd(`${named}[1m]`));
    expect(fake.requests[0]?.raw).toBe(odd(model));
  });
});
