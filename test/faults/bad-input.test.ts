import { createServer } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { auth, budget, createGateway, hashKey, logger, router, toNodeHandler, translator } from "turnpike";
import { mistral, openai } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeMistral, fakeOpenAI } from "turnpike/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { listen, logBook, shut, until } from "../support/gateway.ts";
import { CALLERS, type Caller, httpText, noUncaughtErrors, raw, sleep } from "./support.ts";

/** Bytes that no polite client sends. Raw sockets, because a polite client would repair them. */

noUncaughtErrors();

const KEY = "tp-canary-virtual-key-42";
const LIMIT = 2 * 1024 * 1024;
const upstreams: Fake[] = [];
const log = logBook();
let gateway: ReturnType<typeof createGateway>;
let url: string;
let stop: () => Promise<void>;

beforeAll(async () => {
  upstreams.push(await fakeMistral(), await fakeOpenAI());
  gateway = createGateway({
    providers: {
      mistral: mistral({ apiKey: "k", baseURL: upstreams[0]!.baseURL }),
      openai: openai({ apiKey: "k", baseURL: upstreams[1]!.baseURL }),
    },
    use: [
      logger({ to: log.sink }),
      auth({ keys: [{ id: "one", hash: hashKey(KEY), user: "u" }] }),
      router({
        rules: [
          { match: { model: "test" }, to: "mistral/mistral-medium-3-5" },
          { match: { model: "passed" }, to: "openai/gpt-4.1" },
        ],
        retries: 0,
      }),
      budget({ store: memoryStore(), limits: [{ name: "all", tokens: 10_000_000, requests: 1_000_000, per: "day" }] }),
      translator(),
    ],
  });
  const server = createServer(toNodeHandler(gateway, { maxBodyBytes: LIMIT }));
  url = await listen(server);
  stop = () => shut(server);
});
afterAll(async () => {
  await stop();
  await gateway.close();
  for (const fake of upstreams) await fake.close();
});
beforeEach(() => {
  log.records.length = 0;
  for (const fake of upstreams) fake.reset();
});

const sent = () => upstreams.flatMap(({ requests }) => requests);

/** Nothing is held, nothing was charged since `before`, nothing went upstream. */
async function untouched(before: number): Promise<void> {
  await until(() => gateway.inFlight === 0, "nothing is running");
  const usage = await gateway.usage();
  expect(usage.map(({ held }) => held)).toEqual([0, 0]);
  expect(usage[0]!.used).toBe(before);
  expect(sent()).toHaveLength(0);
}

async function post(caller: Caller, body: string | Uint8Array, headers: Record<string, string> = {}) {
  const answer = await raw(url, httpText(caller.path, body, { authorization: `Bearer ${KEY}`, ...headers }));
  return { ...answer, json: answer.body === "" ? undefined : JSON.parse(answer.body) };
}

/** The error in the caller's own form. */
function expectError(caller: Caller, answer: { status: number; head: string; json?: unknown }, status: number): void {
  expect(answer.status, answer.head).toBe(status);
  expect(answer.head.toLowerCase()).toContain("content-type: application/json");
  const error = { type: expect.any(String), message: expect.any(String) };
  if (caller.name === "anthropic")
    expect(answer.json).toMatchObject({ type: "error", error, request_id: expect.any(String) });
  else
    expect(answer.json).toMatchObject({
      error: {
        ...error,
        param: answer.json && expect.toSatisfy((value) => value === null || typeof value === "string"),
      },
    });
}

const text = (caller: Caller, more: object) => JSON.stringify({ ...caller.body, ...more });
const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const withField = (caller: Caller, field: string) => `${JSON.stringify(caller.body).slice(0, -1)},${field}}`;
const bound = (caller: Caller) => (caller.name === "anthropic" ? "max_tokens" : "max_completion_tokens");
const withBound = (caller: Caller, value: string) =>
  JSON.stringify(caller.body).replace(/("max_(completion_)?tokens":)500/, `$1${value}`);

const BODIES: readonly { name: string; body: (caller: Caller) => string | Uint8Array; status?: number }[] = [
  { name: "nothing", body: () => "" },
  { name: "white space", body: () => " \n\t " },
  { name: "null", body: () => "null" },
  { name: "an array", body: () => "[]" },
  { name: "a string", body: () => '"x"' },
  { name: "a number", body: () => "42" },
  { name: "two objects", body: (caller) => `${JSON.stringify(caller.body)}{}` },
  { name: "half an object", body: (caller) => JSON.stringify(caller.body).slice(0, -9) },
  { name: "a trailing comma", body: (caller) => `${JSON.stringify(caller.body).slice(0, -1)},}` },
  { name: "single quotes", body: () => "{'model':'test'}" },
  { name: "a comment", body: (caller) => `/* hi */${JSON.stringify(caller.body)}` },
  { name: "a bare word as value", body: (caller) => withField(caller, '"stream":yes') },
  { name: "NaN", body: (caller) => withField(caller, '"temperature":NaN') },
  { name: "a raw line break in a string", body: (caller) => withField(caller, '"user":"a\nb"') },
  { name: "a bad escape", body: (caller) => withField(caller, '"user":"\\x"') },
  { name: "a nested trailing comma", body: (caller) => withField(caller, '"stop":["a",]') },
  {
    name: "invalid UTF-8",
    body: (caller) =>
      Buffer.concat([
        Buffer.from('{"model":"te'),
        Buffer.from([0xff, 0xfe]),
        Buffer.from(`","x":${JSON.stringify(caller.body)}}`),
      ]),
  },
  { name: "a byte order mark", body: (caller) => `\ufeff${JSON.stringify(caller.body)}` },
  { name: "UTF-16", body: (caller) => Buffer.from(JSON.stringify(caller.body), "utf16le") },
  { name: "a depth of 100,000", body: (caller) => withField(caller, `"metadata":${deep(100_000)}`) },
  { name: "100,000 opening brackets", body: () => "[".repeat(100_000) },
  { name: "100,000 opening objects", body: () => '{"a":'.repeat(100_000) },
  { name: "model twice", body: (caller) => withField(caller, '"model":"passed"') },
  { name: "model twice, once escaped", body: (caller) => withField(caller, '"m\\u006fdel":"passed"') },
  { name: "the bound twice", body: (caller) => withField(caller, `"${bound(caller)}":99999`) },
  { name: "stream twice", body: (caller) => withField(caller, '"stream":true,"stream":false') },
  { name: "no model", body: (caller) => text(caller, { model: undefined }) },
  { name: "an empty model", body: (caller) => text(caller, { model: "" }) },
  { name: "a number as model", body: (caller) => text(caller, { model: 7 }) },
  { name: "an object as model", body: (caller) => text(caller, { model: { toString: "x" } }) },
  { name: "no messages", body: (caller) => text(caller, { messages: undefined }) },
  { name: "empty messages", body: (caller) => text(caller, { messages: [] }) },
  { name: "text as messages", body: (caller) => text(caller, { messages: "hello" }) },
  { name: "null in messages", body: (caller) => text(caller, { messages: [null] }) },
  { name: "an unknown role", body: (caller) => text(caller, { messages: [{ role: "emperor", content: "x" }] }) },
  { name: "a number as content", body: (caller) => text(caller, { messages: [{ role: "user", content: 5 }] }) },
  {
    name: "a block without type",
    body: (caller) => text(caller, { messages: [{ role: "user", content: [{ text: "x" }] }] }),
  },
  { name: "text as stream", body: (caller) => text(caller, { stream: "yes" }) },
  { name: "an object as tools", body: (caller) => text(caller, { tools: {} }) },
  {
    name: "a nameless tool",
    body: (caller) =>
      text(caller, {
        tools: [caller.name === "anthropic" ? { input_schema: {} } : { type: "function", function: {} }],
      }),
  },
  ...["-1", "1.5", "1e999", '"100"', "9007199254740992", "true", "[]", "{}"].map((value) => ({
    name: `a bound of ${value}`,
    body: (caller: Caller) => withBound(caller, value),
  })),
  { name: "temperature as text", body: (caller) => text(caller, { temperature: "hot" }) },
  { name: "an unknown model", body: (caller) => text(caller, { model: "nobody-knows-me" }), status: 404 },
  { name: "an unknown provider", body: (caller) => text(caller, { model: "nobody/x" }), status: 404 },
];

describe.each(CALLERS)("a body from an $name caller", (caller) => {
  test.each(BODIES)("that is or has $name gets a typed error", async ({ body, status = 400 }) => {
    const before = (await gateway.usage())[0]!.used;
    const answer = await post(caller, body(caller));
    expectError(caller, answer, status);
    expect(answer.body.length, "the error does not echo the request").toBeLessThan(2_000);
    await untouched(before);
  });

  test.each([
    "../../x",
    "http://evil.example/",
    "//x",
    "a\r\nx-injected: 1",
    "a\u0000b",
    "🦊",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "openai",
    "/",
    "openai/",
    "/x",
    " test",
    "test ",
    "*",
    "%2e%2e%2f",
    '\n{"level":"error","msg":"forged"}',
    "\u001b[31mred",
  ])("with the model %j is told that there is no such model", async (model) => {
    const before = (await gateway.usage())[0]!.used;
    const answer = await post(caller, text(caller, { model }));
    expectError(caller, answer, 404);
    expect(answer.head).not.toMatch(/x-injected/i);
    expect(log.requests()).toHaveLength(1);
    expect(JSON.stringify(log.records)).not.toMatch(/\\n|\\r|\\u0000|\\u001b/);
    await untouched(before);
  });

  test("with a model name of 1 MB is refused at once, and neither answer nor log carries it", async () => {
    const before = (await gateway.usage())[0]!.used;
    const answer = await post(caller, text(caller, { model: "x".repeat(1024 * 1024) }));
    expectError(caller, answer, 404);
    expect(answer.body.length).toBeLessThan(2_000);
    expect(JSON.stringify(log.records).length).toBeLessThan(4_000);
    await untouched(before);
  });

  test("with __proto__ and constructor in it changes no object of ours", async () => {
    const evil = '"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}';
    const body = withField(
      caller,
      `${evil},"metadata":{${evil},"user_id":"x"},"tools":[{"name":"t","type":"function","function":{"name":"t","parameters":{${evil}}},"input_schema":{"type":"object",${evil}}}]`,
    );
    const answer = await post(caller, body);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect([200, 400]).toContain(answer.status);
    if (answer.status === 400) expectError(caller, answer, 400);
    await until(() => gateway.inFlight === 0, "it ends");
    expect((await gateway.usage()).map(({ held }) => held)).toEqual([0, 0]);
  });

  test.each(["api_base", "base_url", "api_key", "extra_headers", "extra_body", "custom_llm_provider"])(
    "with %s in it cannot choose where it goes",
    async (field) => {
      const answer = await post(caller, text(caller, { [field]: "http://169.254.169.254/" }), {
        "x-forwarded-host": "evil.example",
      });
      expect([200, 400]).toContain(answer.status);
      for (const request of sent()) {
        expect(request.headers.host).toMatch(/^127\.0\.0\.1/);
        expect(request.headers.authorization).toBe("Bearer k");
        expect(request.headers).not.toHaveProperty("x-forwarded-host");
        expect(request.raw).not.toContain("169.254");
      }
    },
  );

  test("a null bound is no bound", async () => {
    const answer = await post(caller, withBound(caller, "null"));
    if (caller.name === "anthropic") expectError(caller, answer, 400);
    else expect(answer.status).toBe(200);
    await until(() => gateway.inFlight === 0, "it ends");
  });

  test("a bound of 0 never reaches a counter as anything else", async () => {
    const answer = await post(caller, withBound(caller, "0"));
    // Warming a prompt cache is a wish of one dialect only; the upstream here has none to warm.
    expect([200, 400]).toContain(answer.status);
    await until(() => gateway.inFlight === 0, "it ends");
    for (const { used, held } of await gateway.usage()) {
      expect(Number.isSafeInteger(used)).toBe(true);
      expect(held).toBe(0);
    }
  });

  test("larger than the limit is refused, told or not told beforehand", async () => {
    const before = (await gateway.usage())[0]!.used;
    const large = text(caller, { system: undefined, x: "x".repeat(LIMIT) });
    expectError(caller, await post(caller, large), 413);
    const [head, rest] = [
      httpText(caller.path, "")
        .toString()
        .replace("content-length: 0\r\n", `transfer-encoding: chunked\r\nauthorization: Bearer ${KEY}\r\n`),
      large,
    ];
    const chunked = await raw(url, [head, `${rest.length.toString(16)}\r\n${rest}\r\n0\r\n\r\n`]);
    expectError(caller, { ...chunked, json: JSON.parse(chunked.body) }, 413);
    await untouched(before);
  });

  test("that is exactly as large as the limit is read", async () => {
    const empty = text(caller, { model: "none", pad: "" });
    const answer = await post(caller, text(caller, { model: "none", pad: "x".repeat(LIMIT - empty.length) }));
    expectError(caller, answer, 404);
    const over = await post(caller, text(caller, { model: "none", pad: "x".repeat(LIMIT - empty.length + 1) }));
    expectError(caller, over, 413);
  });

  test("that is shorter than it says is waited for, and a caller who gives up leaves nothing behind", async () => {
    const before = (await gateway.usage())[0]!.used;
    const body = JSON.stringify(caller.body);
    const bytes = httpText(caller.path, body, {
      "content-length": String(body.length + 50),
      authorization: `Bearer ${KEY}`,
    });
    const answer = await raw(url, bytes, { destroyAfterMs: 60 });
    expect(answer.status).toBe(0);
    await sleep(20);
    await untouched(before);
  });

  test("that is longer than it says is cut where it says", async () => {
    const before = (await gateway.usage())[0]!.used;
    const bytes = httpText(caller.path, JSON.stringify(caller.body), {
      "content-length": "20",
      authorization: `Bearer ${KEY}`,
    });
    const answer = await raw(url, bytes);
    // Node may have found the rest to be no request before our answer was written.
    expect(answer.status).toBe(400);
    await untouched(before);
  });

  test.each(["gzip", "br", "deflate", "zstd", "gzip, gzip"])("that is compressed (%s) is a 415", async (encoding) => {
    const before = (await gateway.usage())[0]!.used;
    expectError(caller, await post(caller, Buffer.alloc(1_000, 1), { "content-encoding": encoding }), 415);
    await untouched(before);
  });

  test("whose sender dies in the middle of it, at any byte", async () => {
    const before = (await gateway.usage())[0]!.used;
    const bytes = httpText(caller.path, JSON.stringify(caller.body), { authorization: `Bearer ${KEY}` });
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        raw(url, bytes.subarray(0, Math.floor((bytes.length * (i + 1)) / 31)), { destroyAfterMs: 40 }),
      ),
    );
    await untouched(before);
  });

  test.each([
    ["CL and TE", "content-length: 4\r\ntransfer-encoding: chunked"],
    ["two lengths", "content-length: 4\r\ncontent-length: 5"],
    ["a signed length", "content-length: +4"],
    ["a hexadecimal length", "content-length: 0x4"],
    ["a negative length", "content-length: -1"],
    ["an unknown transfer encoding", "transfer-encoding: xchunked"],
    ["chunked in the middle", "transfer-encoding: chunked, identity"],
    ["a space before the colon", "transfer-encoding : chunked"],
    ["a NUL in a header", "x-a: b\u0000c\r\ncontent-length: 4"],
  ])("with %s in its head is refused by the parser", async (_, lines) => {
    const before = (await gateway.usage())[0]!.used;
    const answer = await raw(
      url,
      `POST ${caller.path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer ${KEY}\r\n${lines}\r\n\r\n{}  `,
    );
    expect(answer.status).toBe(400);
    await untouched(before);
  });

  test.each([
    ["Host", "host: other"],
    ["Authorization", "authorization: Bearer other-key-that-is-wrong"],
    ["x-api-key", `x-api-key: a\r\nx-api-key: ${KEY}`],
  ])("with two %s headers is refused, whichever is right", async (_, line) => {
    const before = (await gateway.usage())[0]!.used;
    const bytes = httpText(caller.path, JSON.stringify(caller.body), { authorization: `Bearer ${KEY}` }).toString();
    const first = await raw(url, bytes.replace("\r\n\r\n", `\r\n${line}\r\n\r\n`));
    expect([400, 401]).toContain(first.status);
    const other = await raw(url, bytes.replace("\r\n", `\r\n${line}\r\n`));
    expect([400, 401]).toContain(other.status);
    await untouched(before);
  });

  test("with a wrong key is a 401, a thousand times as a prefix of the right one", async () => {
    const before = (await gateway.usage())[0]!.used;
    for (const key of ["x".repeat(KEY.length), KEY.slice(0, -1), `${KEY}x`, KEY.toUpperCase(), "__proto__"]) {
      const answer = await post(caller, JSON.stringify(caller.body), { authorization: `Bearer ${key}` });
      expectError(caller, answer, 401);
      expect(answer.body).not.toContain(key);
    }
    expectError(caller, await post(caller, JSON.stringify(caller.body), { authorization: "" }), 401);
    expectError(caller, await post(caller, JSON.stringify(caller.body), { authorization: `Basic ${KEY}` }), 401);
    expect(JSON.stringify(log.records)).not.toContain(KEY);
    await untouched(before);
  });

  test.each([
    "http://169.254.169.254/v1/messages",
    "/v1/../../admin",
    "//x",
    "/v1/chat/completions/",
    "/V1/MESSAGES",
    "/openai/openai/v1/models",
    "*",
    "/%2e%2e/etc",
  ])("for the target %s is a 404 and nothing is fetched", async (target) => {
    const before = (await gateway.usage())[0]!.used;
    const bytes = httpText(target, JSON.stringify(caller.body), { authorization: `Bearer ${KEY}` });
    const answer = await raw(url, bytes);
    expect([400, 404]).toContain(answer.status);
    await untouched(before);
  });

  test.each([
    ["80,000 × a", "a".repeat(80_000)],
    ["400,000 × a", "a".repeat(400_000)],
    ["40,000 spaces", " ".repeat(40_000)],
    ["100,000 × U+FDFA", "\ufdfa".repeat(100_000)],
    ["Zalgo", "a\u0300\u0301\u0302\u0303".repeat(30_000)],
    ["1 MB of base64", Buffer.alloc(700_000, 7).toString("base64")],
    ["200,000 quotes and backslashes", '\\"'.repeat(100_000)],
  ])("with %s does not stop the event loop", async (_, content) => {
    const body = text(caller, { model: "none", messages: [{ role: "user", content }] });
    const good = text(caller, { messages: [{ role: "user", content }] });
    await post(caller, body);
    await post(caller, good);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const answer = await post(caller, good);
    delay.disable();
    expect(answer.status).toBe(200);
    // The loop never hangs: a BPE count of such a text alone would take many seconds.
    expect(delay.max / 1e6).toBeLessThan(2_000);
    await until(() => gateway.inFlight === 0, "it ends");
  });
});

describe("n", () => {
  const [, caller] = CALLERS as [Caller, Caller];
  test.each([0, -1, 1.5, "3", 1_000_000])("of %j is refused before anything is reserved", async (n) => {
    const before = (await gateway.usage())[0]!.used;
    expectError(caller, await post(caller, text(caller, { n })), 400);
    await untouched(before);
  });
});

test("the body's bytes that reach a pass-through target have been checked like any other", async () => {
  const [, caller] = CALLERS as [Caller, Caller];
  const before = (await gateway.usage())[0]!.used;
  for (const body of [
    withField({ ...caller, body: { ...caller.body, model: "passed" } }, '"temperature":NaN'),
    withField({ ...caller, body: { ...caller.body, model: "passed" } }, '"max_tokens":1e999'),
    withField({ ...caller, body: { ...caller.body, model: "passed" } }, '"stop":["a",]'),
    withField({ ...caller, body: { ...caller.body, model: "passed" } }, '"max_tokens":500,"max_tokens":9'),
  ]) {
    const answer = await post(caller, body);
    expectError(caller, answer, 400);
  }
  await until(() => gateway.inFlight === 0, "it ends");
  const usage = await gateway.usage();
  expect(usage[0]).toMatchObject({ held: 0, used: before });
});
