import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { type ChunkStream, createGateway, type Gateway, isGatewayError, logger, router, translator } from "turnpike";
import { mistral, simulated } from "turnpike/providers";
import { afterAll, afterEach, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { logBook, until } from "../support/gateway.ts";
import {
  buildGateway,
  closedAfter,
  errorOf,
  expectLogged,
  expectSettled,
  type HouseOptions,
  type Json,
  MODELS,
  providerOf,
  SCRIPTED,
  sentTo,
  startUpstreams,
  UPSTREAMS,
  type UpstreamName,
} from "./support.ts";

/** The gateway as a library: no server, no socket of our own. */
describe("a gateway in process", () => {
  let upstreams: Awaited<ReturnType<typeof startUpstreams>>;
  let gateway: Gateway;
  let log: ReturnType<typeof buildGateway>["log"];
  const opened: Gateway[] = [];

  function build(options?: HouseOptions) {
    const built = buildGateway(upstreams, options);
    opened.push(built.gateway);
    return built;
  }

  beforeAll(async () => {
    upstreams = await startUpstreams();
    ({ gateway, log } = buildGateway(upstreams));
  });
  afterEach(async () => {
    await expectSettled(gateway);
    for (const each of opened.splice(0)) await each.close();
    upstreams.reset();
  });
  afterAll(async () => {
    await gateway.close();
    await upstreams.closeAll();
  });

  const chat = (name: UpstreamName, more: object = {}) => ({
    model: MODELS[name],
    max_completion_tokens: 1_000,
    messages: [{ role: "user", content: "hello" }],
    ...more,
  });
  const turn = (name: UpstreamName, more: object = {}) => ({
    model: MODELS[name],
    max_tokens: 1_000,
    messages: [{ role: "user", content: "hello" }],
    ...more,
  });
  const item = (name: UpstreamName, more: object = {}) => ({
    model: MODELS[name],
    max_output_tokens: 1_000,
    input: "hello",
    ...more,
  });
  const LONG = { text: "word ".repeat(500), chunkDelayMs: 5 };

  async function all<T = Json>(stream: AsyncIterable<T>): Promise<T[]> {
    const chunks: T[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
  }

  describe.each(UPSTREAMS)("to %s", (name) => {
    test("completion() returns OpenAI's shape", async () => {
      upstreams[name].next({ text: "Hello.", usage: SCRIPTED });
      const answer = await gateway.completion<Json>(chat(name));
      expect(answer).toMatchObject({
        object: "chat.completion",
        choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "Hello." } }],
        usage: { prompt_tokens: 100, completion_tokens: 50 },
      });
    });

    test("completion() streams chunks", async () => {
      upstreams[name].next({ text: "One two three." });
      const stream = await gateway.completion<Json>(
        chat(name, { stream: true, stream_options: { include_usage: true } }) as Json & { stream: true },
      );
      expect(stream.requestId).toMatch(/^[0-9A-Za-z]+$/);
      const chunks = await all<Json>(stream);
      expect(chunks.every((chunk) => chunk.object === "chat.completion.chunk")).toBe(true);
      expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("One two three.");
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: expect.any(Number) } });
    });

    test("messages() returns Anthropic's shape", async () => {
      upstreams[name].next({ text: "Hello.", usage: SCRIPTED });
      const message = await gateway.messages<Json>(turn(name));
      expect(message.content.filter(({ type }: Json) => type === "text")).toMatchObject([{ text: "Hello." }]);
      expect(message).toMatchObject({
        type: "message",
        stop_reason: "end_turn",
        usage: { input_tokens: 60, cache_read_input_tokens: 40, output_tokens: 50 },
      });
    });

    test("messages() streams events", async () => {
      upstreams[name].next({ text: "One two three." });
      const events = await all<Json>(await gateway.messages({ ...turn(name), stream: true }));
      expect(events[0].type).toBe("message_start");
      expect(events.at(-1)).toEqual({ type: "message_stop" });
      expect(events.map((event) => event.delta?.text ?? "").join("")).toBe("One two three.");
    });

    test("responses() returns OpenAI's Responses shape", async () => {
      upstreams[name].next({ text: "Hello.", usage: SCRIPTED });
      const response = await gateway.responses<Json>(item(name));
      expect(response.output.filter(({ type }: Json) => type === "message")).toMatchObject([
        { role: "assistant", content: [{ type: "output_text", text: "Hello." }] },
      ]);
      expect(response).toMatchObject({
        object: "response",
        status: "completed",
        usage: { input_tokens: 100, input_tokens_details: { cached_tokens: 40 }, output_tokens: 50 },
      });
      await expectLogged({ gateway, log }, name);
      expect(log.requests().at(-1)).toMatchObject({ dialect: "openai-responses" });
    });

    test("responses() streams events", async () => {
      upstreams[name].next({ text: "One two three." });
      const events = await all<Json>(await gateway.responses({ ...item(name), stream: true }));
      expect(events[0].type).toBe("response.created");
      expect(events.at(-1)).toMatchObject({ type: "response.completed", response: { status: "completed" } });
      const deltas = events.filter(({ type }) => type === "response.output_text.delta");
      expect(deltas.map(({ delta }) => delta).join("")).toBe("One two three.");
    });

    test("a stream of responses() that breaks throws and hands out no error event", async () => {
      upstreams[name].next({ text: "One two three four.", errorEvent: { type: "api_error", message: "On fire" } });
      const events: Json[] = [];
      const error = await errorOf(
        (async () => {
          for await (const event of await gateway.responses<Json>({ ...item(name), stream: true })) events.push(event);
        })(),
      );
      expect(error).toMatchObject({ code: "upstream_error", provider: providerOf(name) });
      expect(events.length).toBeGreaterThan(1);
      expect(events.filter(({ type }) => type === "error" || type === "response.failed")).toEqual([]);
    });

    test("leaving the loop closes the upstream and settles", { retry: 2 }, async () => {
      upstreams[name].next(LONG);
      const before = (await gateway.usage())[0]?.used ?? 0;
      let leftAt = 0;
      for await (const chunk of await gateway.completion<Json>({ ...chat(name), stream: true })) {
        if (!chunk.choices[0]?.delta.content) continue;
        leftAt = Date.now();
        break;
      }
      expect(await closedAfter(upstreams[name], leftAt)).toBeLessThan(100);
      await expectSettled(gateway);
      expect(log.requests().at(-1)).toMatchObject({ outcome: "aborted", code: "client_closed" });
      // What was streamed until then is counted.
      expect((await gateway.usage())[0]?.used).toBeGreaterThan(before);
    });

    test("cancel() closes the upstream of a stream that nobody reads", { timeout: 2_000, retry: 2 }, async () => {
      upstreams[name].next(LONG);
      const stream = await gateway.messages({ ...turn(name), stream: true });
      const leftAt = Date.now();
      stream.cancel();
      expect(await closedAfter(upstreams[name], leftAt)).toBeLessThan(100);
      await expectSettled(gateway);
      expect(await all(stream)).toEqual(expect.any(Array));
    });

    test("a signal aborts a stream: the loop throws and the upstream is closed", { retry: 2 }, async () => {
      upstreams[name].next(LONG);
      const controller = new AbortController();
      const stream = await gateway.messages({ ...turn(name), stream: true }, { signal: controller.signal });
      let abortedAt = 0;
      const error = await errorOf(
        (async () => {
          for await (const _ of stream) {
            abortedAt ||= Date.now();
            controller.abort(new Error("enough"));
          }
        })(),
      );
      expect(isGatewayError(error) && error.code).toBe("client_closed");
      expect(await closedAfter(upstreams[name], abortedAt)).toBeLessThan(100);
      await expectSettled(gateway);
    });

    test("a signal aborts a call that waits for the upstream", { retry: 2 }, async () => {
      upstreams[name].next({ hang: "before-headers" });
      const controller = new AbortController();
      const failed = errorOf(gateway.completion(chat(name), { signal: controller.signal }));
      await until(() => upstreams[name].requests.length === 1, "the upstream was asked");
      const abortedAt = Date.now();
      controller.abort();
      expect(await failed).toMatchObject({ code: "client_closed" });
      expect(await closedAfter(upstreams[name], abortedAt)).toBeLessThan(100);
    });

    test("timeoutMs ends a call that takes too long", async () => {
      upstreams[name].next({ hang: "before-headers" });
      const error = await errorOf(gateway.completion(chat(name), { timeoutMs: 50 }));
      expect(error).toMatchObject({ code: "timeout", status: 504 });
      expect(log.requests().at(-1)).toMatchObject({ outcome: "failed", code: "timeout" });
      await until(() => upstreams[name].requests[0]?.closedEarly === true, "the upstream was closed");
    });

    test.each([
      ["cut", { cut: true }, "upstream_unreachable"],
      ["reset", { reset: "mid-stream" as const }, "upstream_unreachable"],
      ["error event", { errorEvent: { type: "api_error", message: "On fire" } }, "upstream_error"],
    ])("a stream that breaks (%s) throws a GatewayError after its last good chunk", async (_, fault, code) => {
      upstreams[name].next({ text: "One two three four.", ...fault });
      const events: Json[] = [];
      const error = await errorOf(
        (async () => {
          for await (const event of await gateway.messages<Json>({ ...turn(name), stream: true })) events.push(event);
        })(),
      );
      expect(isGatewayError(error)).toBe(true);
      expect(error).toMatchObject({ code, provider: providerOf(name) });
      expect(events.length).toBeGreaterThan(1);
      // The error is thrown, not also handed out as a chunk.
      expect(events.filter((event) => event.type === "error" || "error" in event)).toEqual([]);
    });
  });

  test.each(["openai/text-embedding-3-small", "gemini/gemini-embedding-001"])(
    "embeddings() of %s returns OpenAI's shape",
    async (model) => {
      const request = { model, input: ["one", "two"], dimensions: 8 };
      const list = await gateway.embeddings<OpenAI.CreateEmbeddingResponse>(request);
      expect(list).toMatchObject({ object: "list", data: [{ index: 0 }, { index: 1 }] });
      expect(list.data.map(({ embedding }) => embedding.length)).toEqual([8, 8]);
      const written = await gateway.embeddings<Json>({ ...request, encoding_format: "base64" });
      expect(Buffer.from(written.data[0].embedding, "base64").readFloatLE(0)).toBe(
        Math.fround(list.data[0]!.embedding[0]!),
      );
      await expectSettled(gateway);
      expect(log.requests().at(-1)).toMatchObject({ operation: "embeddings", outcome: "served", target: model });
      const none = await errorOf(gateway.embeddings({ model: MODELS.anthropic, input: "x" }));
      expect(none.message).toContain("embeddings");
    },
  );

  test("a pass-through stream that brings an error event throws it and hands out no error chunk", async () => {
    upstreams.openai.next({ text: "One two three four.", errorEvent: { message: "On fire" } });
    const chunks: Json[] = [];
    const error = await errorOf(
      (async () => {
        for await (const chunk of await gateway.completion<Json>({ ...chat("openai"), stream: true }))
          chunks.push(chunk);
      })(),
    );
    expect(error).toMatchObject({ code: "upstream_error", provider: "openai" });
    expect(chunks.filter((chunk) => "error" in chunk)).toEqual([]);
  });

  test("errors are GatewayErrors with a code, a status and the provider", async () => {
    upstreams.mistral.next({ status: 429, headers: { "retry-after": "9" } });
    expect(await errorOf(gateway.completion(chat("mistral")))).toMatchObject({
      name: "GatewayError",
      code: "rate_limited",
      status: 429,
      retryable: true,
      retryAfterSeconds: 9,
      provider: "mistral",
    });
    expect(await errorOf(gateway.messages(turn("mistral", { model: "nobody" })))).toMatchObject({
      code: "model_not_found",
      status: 404,
      param: "model",
    });
    expect(await errorOf(gateway.completion({} as Json))).toMatchObject({ code: "invalid_request", param: "model" });
    expect(await errorOf(gateway.messages({ model: MODELS.mistral, messages: [] } as Json))).toMatchObject({
      code: "invalid_request",
    });
    for (const wrong of [null, undefined, "text", 7, []]) {
      expect(await errorOf(gateway.completion(wrong as Json)), String(wrong)).toMatchObject({
        code: "invalid_request",
      });
    }
  });

  test("an upstream error streamed for is thrown before there is a stream", async () => {
    upstreams.anthropic.next({ status: 529 });
    const error = await errorOf(gateway.messages({ ...turn("anthropic"), stream: true }));
    expect(error).toMatchObject({ code: "upstream_overloaded", provider: "anthropic" });
  });

  test("the caller's request object is not changed", async () => {
    const request = turn("mistral", {
      system: "Be brief.",
      thinking: { type: "adaptive" },
      output_config: { effort: "low" },
    });
    const before = structuredClone(request);
    await gateway.messages(request);
    expect(request).toEqual(before);
  });

  test("`as` is the identity that rules, budgets and the log see", async () => {
    const { gateway, log } = build({
      router: {
        retries: 0,
        rules: [
          { match: { model: "any", team: "red" }, to: MODELS.mistral },
          { match: { model: "any", tag: "batch" }, to: MODELS.llama },
          { match: { model: "any", user: "u-*" }, to: MODELS.openai },
        ],
      },
      limits: [{ name: "each", by: "user", requests: 1, per: "day" }],
    });
    const ask = (as: object) => gateway.completion(chat("mistral", { model: "any" }), { as });
    await ask({ user: "u-1", team: "red" });
    await ask({ user: "u-2", tags: ["batch", "night"] });
    await ask({ user: "u-3" });
    expect(upstreams.mistral.requests).toHaveLength(1);
    expect(upstreams.llama.requests).toHaveLength(1);
    expect(upstreams.openai.requests).toHaveLength(1);
    expect(await errorOf(ask({ user: "u-1", team: "red" }))).toMatchObject({
      code: "budget_exceeded",
      status: 402,
      retryable: false,
    });
    expect(await gateway.usage({ user: "u-1" })).toMatchObject([{ limit: "each", used: 1, held: 0, remaining: 0 }]);
    expect(await gateway.usage({ user: "u-9" })).toMatchObject([{ limit: "each", used: 0, remaining: 1 }]);
    expect(await errorOf(ask({ team: "blue" }))).toMatchObject({ code: "model_not_found" });
    expect(log.requests()[0]).toMatchObject({ user: "u-1", team: "red", target: MODELS.mistral });
  });

  test("`key` authenticates as over HTTP; without one the caller in process is trusted", async () => {
    const { gateway, log } = build({ auth: { keys: [{ id: "web", key: "tp-right-key-1", user: "u1" }] } });
    await gateway.completion(chat("mistral"));
    await gateway.completion(chat("mistral"), { key: "tp-right-key-1" });
    expect(log.requests()).toMatchObject([{ outcome: "served" }, { outcome: "served", key: "web", user: "u1" }]);
    expect(log.requests()[0]).not.toHaveProperty("key");
    for (const key of ["tp-wrong-key-1", ""]) {
      expect(await errorOf(gateway.completion(chat("mistral"), { key })), key).toMatchObject({
        code: "unauthenticated",
        status: 401,
      });
    }
    expect(upstreams.mistral.requests).toHaveLength(2);
    expect(JSON.stringify(log.records)).not.toContain("tp-right-key-1");
  });

  test("`headers` carry what the dialect forwards", async () => {
    await gateway.messages(turn("anthropic", { context_management: { edits: [] } }), {
      headers: { "anthropic-beta": "context-management-2025-06-27" },
    });
    expect(upstreams.anthropic.requests[0]?.headers["anthropic-beta"]).toBe("context-management-2025-06-27");
  });

  test("timeoutMs in mid-stream throws `timeout`, which is not the caller's leaving", async () => {
    upstreams.mistral.next({ text: "One two three four.", hang: "mid-stream" });
    const stream = await gateway.completion<Json>({ ...chat("mistral"), stream: true }, { timeoutMs: 80 });
    expect(await errorOf(all(stream))).toMatchObject({ code: "timeout", status: 504 });
    expect(log.requests().at(-1)).toMatchObject({ outcome: "failed", code: "timeout" });
  });

  test("an already aborted signal sends nothing", async () => {
    expect(await errorOf(gateway.completion(chat("mistral"), { signal: AbortSignal.abort() }))).toMatchObject({
      code: "client_closed",
    });
    await expectSettled(gateway);
    expect(upstreams.mistral.requests).toHaveLength(0);
  });

  test("a slow reader gets every chunk, and the upstream is held back meanwhile", async () => {
    const text = "word ".repeat(2_000);
    upstreams.mistral.next({ text });
    let read = "";
    let chunks = 0;
    for await (const chunk of await gateway.completion<Json>({
      ...chat("mistral", { max_completion_tokens: 100_000 }),
      stream: true,
    })) {
      read += chunk.choices[0]?.delta.content ?? "";
      if (++chunks % 200 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(read).toBe(text);
  });

  describe("gateway.fetch(Request)", () => {
    const request = (path: string, body: object, init: RequestInit = {}) =>
      new Request(`http://gateway.local${path}`, { method: "POST", body: JSON.stringify(body), ...init });

    test("answers whole and streamed, in either dialect", async () => {
      upstreams.mistral.always({ text: "One two three." });
      const whole = await gateway.fetch(request("/v1/chat/completions", chat("mistral")));
      expect(whole.status).toBe(200);
      expect(whole.headers.get("content-type")).toBe("application/json");
      expect(whole.headers.get("x-turnpike-target")).toBe(MODELS.mistral);
      expect(await whole.json()).toMatchObject({ choices: [{ message: { content: "One two three." } }] });
      const streamed = await gateway.fetch(
        request("/anthropic/v1/messages?beta=true", turn("mistral", { stream: true })),
      );
      expect(streamed.headers.get("content-type")).toMatch(/^text\/event-stream/);
      const text = await streamed.text();
      expect(text).toMatch(/^event: message_start\n/);
      expect(text).toMatch(/data: {"type":"message_stop"}\n\n$/);
    });

    test("cancelling the body closes the upstream", { retry: 2 }, async () => {
      upstreams.mistral.next(LONG);
      const response = await gateway.fetch(request("/v1/messages", turn("mistral", { stream: true })));
      const reader = response.body?.getReader();
      await reader?.read();
      const leftAt = Date.now();
      await reader?.cancel();
      expect(await closedAfter(upstreams.mistral, leftAt)).toBeLessThan(100);
      await expectSettled(gateway);
    });

    test("aborting the request closes the upstream, before and after the answer began", { retry: 2 }, async () => {
      for (const script of [{ hang: "before-headers" as const }, LONG]) {
        upstreams.reset();
        upstreams.mistral.next(script);
        const controller = new AbortController();
        const answer = gateway.fetch(
          request("/v1/messages", turn("mistral", { stream: true }), { signal: controller.signal }),
        );
        await until(() => upstreams.mistral.requests.length === 1, "the upstream was asked");
        const reader = "hang" in script ? undefined : (await answer).body?.getReader();
        await reader?.read();
        const leftAt = Date.now();
        controller.abort();
        expect(await closedAfter(upstreams.mistral, leftAt)).toBeLessThan(100);
        await Promise.allSettled([answer]);
      }
      await expectSettled(gateway);
    });

    test("unread bodies do not make the upstream run ahead without end", async () => {
      upstreams.mistral.next({ text: "word ".repeat(20_000) });
      const response = await gateway.fetch(
        request("/v1/messages", turn("mistral", { stream: true, max_tokens: 100_000 })),
      );
      const text = await response.text();
      expect(text.match(/text_delta/g)?.length).toBeGreaterThan(1);
      expect(text).toContain("message_stop");
    });

    test("errors and unknown paths are answered in the caller's dialect", async () => {
      const unknown = await gateway.fetch(request("/v1/messages", turn("mistral", { model: "nobody" })));
      expect([unknown.status, ((await unknown.json()) as Json).error.type]).toEqual([404, "not_found_error"]);
      const broken = await gateway.fetch(
        new Request("http://gateway.local/v1/chat/completions", { method: "POST", body: "{" }),
      );
      expect([broken.status, ((await broken.json()) as Json).error.type]).toEqual([400, "invalid_request_error"]);
      expect((await gateway.fetch(new Request("http://gateway.local/elsewhere"))).status).toBe(404);
      expect((await gateway.fetch(new Request("http://gateway.local/v1/messages"))).status).toBe(405);
      expect((await gateway.fetch(new Request("http://gateway.local/api/hello", { method: "HEAD" }))).status).toBe(200);
    });

    test("a stream that breaks ends with an error event", async () => {
      upstreams.mistral.next({ text: "One two three four.", reset: "mid-stream" });
      const text = await (await gateway.fetch(request("/v1/messages", turn("mistral", { stream: true })))).text();
      expect(text).toMatch(/event: error\ndata: {"type":"error","error":{"type":"api_error".*\n\n$/);
    });
  });

  describe("close()", () => {
    test("lets running answers end, refuses new ones, and settles", async () => {
      const { gateway, log } = build();
      upstreams.mistral.next({ text: "One two three four.", chunkDelayMs: 20 });
      const stream = await gateway.completion<Json>({ ...chat("mistral"), stream: true });
      const reading = all<Json>(stream);
      const closing = gateway.close();
      expect(await errorOf(gateway.completion(chat("mistral")))).toMatchObject({ code: "shutting_down", status: 503 });
      const chunks = await reading;
      expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("One two three four.");
      await closing;
      expect(gateway.inFlight).toBe(0);
      expect(log.requests().map((record) => record.outcome)).toContain("served");
    });

    test("ends what is still running after drainMs", async () => {
      const { gateway } = build();
      upstreams.mistral.next({ text: "One two three four.", hang: "mid-stream" });
      const stream = await gateway.completion<Json>({ ...chat("mistral"), stream: true });
      const failed = errorOf(all(stream));
      await gateway.close({ drainMs: 30 });
      expect(await failed).toMatchObject({ code: "shutting_down" });
      await until(() => upstreams.mistral.requests[0]?.closedEarly === true, "the upstream was closed");
    });

    test("may be called twice, also at once", { timeout: 2_000 }, async () => {
      const { gateway } = build();
      upstreams.mistral.next({ text: "One two.", chunkDelayMs: 20 });
      const reading = gateway.completion(chat("mistral"));
      await until(() => gateway.inFlight === 1, "it runs");
      await Promise.all([gateway.close(), gateway.close(), reading]);
      await gateway.close();
    });
  });

  test("without `use` a gateway routes provider/model and translates", async () => {
    const plain = createGateway({ providers: { demo: simulated() } });
    expect(
      await plain.messages({ model: "demo/demo", max_tokens: 100, messages: [{ role: "user", content: "hi" }] }),
    ).toMatchObject({ type: "message" });
    await plain.close();
  });

  test("the log has one record per request and per attempt of each way in", async () => {
    const log = logBook();
    const logged = createGateway({
      providers: { mistral: mistral({ apiKey: "mistral-key-0001", baseURL: upstreams.mistral.baseURL }) },
      use: [logger({ to: log.sink }), router(), translator()],
    });
    await logged.completion(chat("mistral"));
    await all(await logged.messages({ ...turn("mistral"), stream: true }));
    await logged.fetch(new Request("http://g/v1/messages", { method: "POST", body: JSON.stringify(turn("mistral")) }));
    expect(log.records.map((record) => record.event)).toEqual([
      "attempt",
      "request",
      "attempt",
      "request",
      "attempt",
      "request",
    ]);
    await logged.close();
  });

  test("the types tell a stream from a whole answer", async () => {
    upstreams.mistral.always({ text: "Hello." });
    const whole = gateway.completion<OpenAI.ChatCompletion>({ model: MODELS.mistral, messages: [] });
    expectTypeOf(whole).resolves.toEqualTypeOf<OpenAI.ChatCompletion>();
    const streamed = gateway.completion<OpenAI.ChatCompletionChunk>({
      model: MODELS.mistral,
      messages: [],
      stream: true,
    });
    expectTypeOf(streamed).resolves.toEqualTypeOf<ChunkStream<OpenAI.ChatCompletionChunk>>();
    const message = gateway.messages<Anthropic.Message>({
      model: MODELS.mistral,
      max_tokens: 1,
      messages: [],
      stream: false,
    });
    expectTypeOf(message).resolves.toEqualTypeOf<Anthropic.Message>();
    const events = gateway.messages<Anthropic.RawMessageStreamEvent>({
      model: MODELS.mistral,
      max_tokens: 1,
      messages: [],
      stream: true,
    });
    expectTypeOf(events).resolves.toEqualTypeOf<ChunkStream<Anthropic.RawMessageStreamEvent>>();
    // The empty conversation is refused; here only the types matter.
    await Promise.allSettled([whole, streamed, message, events]);
  });

  test("requests typed by the official SDKs can be given as they are", async () => {
    const fromOpenAI: OpenAI.ChatCompletionCreateParamsNonStreaming = {
      model: MODELS.mistral,
      messages: [{ role: "user", content: "hello" }],
    };
    const fromAnthropic: Anthropic.MessageCreateParamsNonStreaming = {
      model: MODELS.mistral,
      max_tokens: 9,
      messages: [{ role: "user", content: "hello" }],
    };
    expect(await gateway.completion(fromOpenAI)).toMatchObject({ object: "chat.completion" });
    expect(await gateway.messages(fromAnthropic)).toMatchObject({ type: "message" });
    expect(sentTo(upstreams.mistral).messages).toEqual([{ role: "user", content: "hello" }]);
  });
});
