import { auth, createGateway, hashKey, logger, router, translator } from "turnpike";
import { anthropic, mistral, openai } from "turnpike/providers";
import { type Fake, fakeAnthropic, fakeMistral, fakeOpenAI } from "turnpike/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { upstream } from "../faults/support.ts";
import { logBook, serve, until } from "../support/gateway.ts";

const CANARY = {
  prompt: "canaryprompt7f3a",
  answer: "canaryanswer91bc",
  system: "canarysystem44",
  tool: "canarytool55",
  virtual: "tp-canary-virtual-0001",
  upstream: "sk-canary-upstream-0002",
};
let fakes: { mistral: Fake; anthropic: Fake; openai: Fake };
beforeAll(async () => {
  fakes = { mistral: await fakeMistral(), anthropic: await fakeAnthropic(), openai: await fakeOpenAI() };
});
afterAll(async () => {
  for (const fake of Object.values(fakes)) await fake.close();
});
beforeEach(() => {
  for (const fake of Object.values(fakes)) {
    fake.reset();
    fake.always({ text: CANARY.answer, thinking: CANARY.answer });
  }
});

function start(capture = false, baseURL?: string) {
  const log = logBook();
  const options = (fake: Fake) => ({ apiKey: CANARY.upstream, baseURL: baseURL ?? fake.baseURL, capture });
  const gateway = createGateway({
    providers: {
      mistral: mistral(options(fakes.mistral)),
      anthropic: anthropic(options(fakes.anthropic)),
      openai: openai(options(fakes.openai)),
    },
    use: [
      logger({ to: log.sink }),
      auth({ keys: [{ id: "one", hash: hashKey(CANARY.virtual), user: 'u\n{"level":"error"}\u001b[31m', team: "t" }] }),
      router({
        rules: [{ match: { model: "both" }, to: ["mistral/mistral-small-latest", "openai/gpt-4.1"] }],
        retries: 0,
      }),
      translator(),
    ],
  });
  return { gateway, log };
}

const body = (model: string, stream: boolean) =>
  JSON.stringify({
    model,
    stream,
    max_tokens: 50,
    messages: [
      { role: "user", content: CANARY.prompt },
      { role: "assistant", content: CANARY.system },
      { role: "user", content: CANARY.tool },
    ],
  });
const send = (url: string, path: string, text: string) =>
  fetch(url + path, {
    method: "POST",
    body: text,
    headers: { authorization: `Bearer ${CANARY.virtual}`, "anthropic-version": "2023-06-01" },
  });

describe("without capture no record holds a prompt, an answer or a key", () => {
  const targets = ["mistral/mistral-small-latest", "openai/gpt-4.1", "anthropic/claude-sonnet-4-5"];
  const faults = [
    {},
    { status: 500, body: { error: { message: `cannot: Bearer ${CANARY.upstream} and ${CANARY.virtual}` } } },
    { status: 401, body: { error: { message: `bad key ${CANARY.upstream}` } } },
    { cut: true },
    { html: true },
    { reset: "before-headers" as const },
    { errorEvent: { message: `with ${CANARY.upstream}` } },
  ];
  test.each(targets.flatMap((model) => [true, false].map((stream) => [model, stream] as const)))(
    "%s, stream: %s",
    async (model, stream) => {
      const { gateway, log } = start();
      const server = await serve(gateway);
      for (const path of ["/openai/v1/chat/completions", "/anthropic/v1/messages"]) {
        for (const fault of faults) {
          for (const fake of Object.values(fakes)) fake.next({ text: CANARY.answer, ...fault });
          await (await send(server.url, path, body(model, stream))).text();
          for (const fake of Object.values(fakes)) fake.reset();
        }
        await (await send(server.url, path, `{"model":"${model}","messages":"${CANARY.prompt}"}`)).text();
        await (
          await send(server.url, path, `{"model":"${CANARY.prompt.slice(0, 0)}x","broken ${CANARY.prompt}`)
        ).text();
      }
      await until(() => gateway.inFlight === 0, "all ended");
      const text = JSON.stringify(log.records);
      for (const [what, canary] of Object.entries(CANARY)) expect(text, what).not.toContain(canary);
      expect(log.requests().length).toBe(2 * (faults.length + 2));
      await server.close();
    },
  );
});

test("there is one record per attempt and one per request, in that order, and they belong together", async () => {
  const { gateway, log } = start();
  const server = await serve(gateway);
  fakes.mistral.next({ status: 503 });
  const response = await send(server.url, "/openai/v1/chat/completions", body("both", false));
  await response.text();
  expect(log.records.map(({ event, attempt, target, outcome }) => [event, attempt, target, outcome])).toEqual([
    ["attempt", 1, "mistral/mistral-small-latest", "failed"],
    ["attempt", 2, "openai/gpt-4.1", "served"],
    ["request", undefined, "openai/gpt-4.1", "served"],
  ]);
  expect(new Set(log.records.map(({ requestId }) => requestId))).toEqual(
    new Set([response.headers.get("x-request-id")]),
  );
  expect(log.requests()[0]).toMatchObject({
    requestedModel: "both",
    key: "one",
    team: "t",
    dialect: "openai-chat",
    attempts: 2,
    status: 200,
    totalMs: expect.any(Number),
  });
  expect(log.attempts()[0]).toMatchObject({
    code: "upstream_overloaded",
    jurisdiction: "EU",
    reason: expect.any(String),
  });
  await server.close();
});

test("the fields of a record stand in one order, and none that says nothing", async () => {
  const { gateway, log } = start();
  const server = await serve(gateway);
  await (await send(server.url, "/openai/v1/chat/completions", body("both", true))).text();
  fakes.mistral.next({ status: 500, body: { error: { message: "broken", code: "1234", type: "server_error" } } });
  await (await send(server.url, "/openai/v1/chat/completions", body("mistral/mistral-small-latest", false))).text();
  await until(() => gateway.inFlight === 0, "all ended");
  expect(log.records.map((record) => Object.keys(record).join(" "))).toEqual([
    "event requestId attempt target provider model jurisdiction region outcome status inputTokens outputTokens costUsd firstTokenMs totalMs",
    "event requestId operation dialect requestedModel key user team target route attempts outcome status inputTokens outputTokens costUsd firstTokenMs totalMs",
    "event requestId attempt target provider model jurisdiction region outcome status code reason upstreamCode totalMs",
    "event requestId operation dialect requestedModel key user team route attempts outcome status code reason upstreamCode totalMs",
  ]);
  expect(log.requests().map(({ route }) => route)).toEqual([
    { rule: "rules[0]", candidates: ["mistral/mistral-small-latest", "openai/gpt-4.1"] },
    { candidates: ["mistral/mistral-small-latest"] },
  ]);
  await server.close();
});

test("names are logged as they are, except for control characters and what is too long", async () => {
  const { gateway, log } = start();
  const ask = (model: string) =>
    gateway.completion({ model, messages: [{ role: "user", content: "x" }] } as never).catch(() => {});
  for (const model of ["no/où-日本", "no/tab\there", `no/${"x".repeat(240)}`]) await ask(model);
  expect(log.requests().map(({ requestedModel }) => requestedModel)).toEqual([
    "no/où-日本",
    "no/tab here",
    `no/${"x".repeat(240)}`,
  ]);
});

test("nothing a caller or an upstream sends can forge a line", async () => {
  const { gateway, log } = start();
  const server = await serve(gateway);
  const evil = 'x\n{"level":"error","msg":"forged"}\r\n\u001b[31m\u2028\u0000';
  fakes.openai.next({ status: 500, body: { error: { message: evil, code: evil, type: evil } } });
  for (const model of [evil, "openai/gpt-4.1", `openai/${evil}`])
    await (
      await send(server.url, "/v1/chat/completions", JSON.stringify({ ...JSON.parse(body("m", false)), model }))
    ).text();
  const control = (value: unknown): boolean =>
    typeof value === "string"
      ? /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(value)
      : typeof value === "object" && value !== null && Object.values(value).some(control);
  for (const record of log.records) expect(control(record), JSON.stringify(record)).toBe(false);
  await server.close();
});

test("a log that throws does not break the answer", async () => {
  const gateway = createGateway({
    providers: { openai: openai({ apiKey: "k", baseURL: fakes.openai.baseURL }) },
    use: [
      logger({
        to: {
          info: () => {
            throw new Error("disk full");
          },
          warn: () => {
            throw new Error("disk full");
          },
        },
      }),
      router(),
      translator(),
    ],
  });
  await expect(
    gateway.completion({ model: "openai/gpt-4.1", messages: [{ role: "user", content: "x" }] } as never),
  ).resolves.toBeDefined();
});

test("the built-in logger writes one JSON line per record where nobody looks at a terminal", async () => {
  let text = "";
  const write = vi.spyOn(process.stderr, "write").mockImplementation((piece) => {
    text += piece;
    return true;
  });
  try {
    const gateway = createGateway({
      providers: { openai: openai({ apiKey: "k", baseURL: fakes.openai.baseURL }) },
      use: [logger({ format: "json" }), router(), translator()],
    });
    await gateway.completion({
      model: "openai/gpt-4.1",
      messages: [{ role: "user", content: CANARY.prompt }],
    } as never);
    await new Promise(setImmediate);
  } finally {
    write.mockRestore();
  }
  const lines = text.split("\n");
  expect(lines.pop(), "every line is whole").toBe("");
  const records = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  expect(records).toMatchObject([
    { level: "info", event: "attempt" },
    { level: "info", event: "request" },
  ]);
  expect(text).not.toContain(CANARY.prompt);
});

describe("with capture: true the attempt's record holds the raw request and answer, with redacted headers", () => {
  test.each([
    ["mistral/mistral-small-latest", true],
    ["openai/gpt-4.1", true],
    ["openai/gpt-4.1", false],
    ["anthropic/claude-sonnet-4-5", true],
  ])("%s, stream: %s", async (model, stream) => {
    const { gateway, log } = start(true);
    const server = await serve(gateway);
    await (
      await send(
        server.url,
        model.startsWith("anthropic") ? "/anthropic/v1/messages" : "/openai/v1/chat/completions",
        body(model, stream),
      )
    ).text();
    await until(() => gateway.inFlight === 0, "ended");
    const fake = fakes[model.split("/")[0] as keyof typeof fakes];
    const { capture } = log.attempts()[0] as {
      capture: {
        request: { url: string; headers: Record<string, string>; body: string };
        response: { status: number; body: string };
      };
    };
    expect(capture.request.body).toBe(fake.requests[0]!.raw);
    expect(capture.request.url).toContain(fake.baseURL);
    expect(capture.response).toMatchObject({ status: 200 });
    expect(capture.response.body).toContain(CANARY.answer);
    if (stream) expect(capture.response.body).toContain("data:");
    expect(JSON.stringify(log.records)).not.toContain(CANARY.upstream);
    expect(JSON.stringify(log.records)).not.toContain(CANARY.virtual);
    expect(JSON.stringify(log.requests())).not.toContain(CANARY.prompt);
    await server.close();
  });

  test("also of an error, with cookies and keys in the answer's headers redacted", async () => {
    const odd = await upstream((_, response) => {
      response.writeHead(500, {
        "content-type": "application/json",
        "set-cookie": "session=canarycookie",
        "x-plain": "kept",
      });
      response.end('{"error":{"message":"broken in a special way"}}');
    });
    const { gateway, log } = start(true, odd.baseURL);
    await expect(
      gateway.completion({ model: "openai/gpt-4.1", messages: [{ role: "user", content: "x" }] } as never),
    ).rejects.toBeDefined();
    const { capture } = log.attempts()[0] as {
      capture: { response: { status: number; headers: Record<string, string>; body: string } };
    };
    expect(capture.response).toMatchObject({
      status: 500,
      body: '{"error":{"message":"broken in a special way"}}',
      headers: { "x-plain": "kept" },
    });
    expect(JSON.stringify(log.records)).not.toContain("canarycookie");
    await odd.close();
  });
});
