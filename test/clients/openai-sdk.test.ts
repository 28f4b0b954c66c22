import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { until } from "../support/gateway.ts";
import { seenBy } from "./seen.ts";
import {
  closedAfter,
  errorOf,
  expectLogged,
  expectSettled,
  type House,
  type HouseOptions,
  isGemini,
  type Json,
  MODELS,
  openaiTool,
  openHouse,
  ownName,
  PDF,
  PNG,
  providerOf,
  SCRIPTED,
  sentTo,
  startUpstreams,
  UPSTREAMS,
  type UpstreamName,
} from "./support.ts";

/** The official OpenAI SDK, over real sockets, through Turnpike to each kind of upstream. */
describe("the official OpenAI SDK", () => {
  let upstreams: Awaited<ReturnType<typeof startUpstreams>>;
  let house: House;
  let client: OpenAI;
  const others: House[] = [];

  const sdk = (url: string, options: object = {}) =>
    new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-anything-at-all", maxRetries: 0, ...options });

  async function another(options: HouseOptions) {
    const opened = await openHouse(upstreams, options);
    others.push(opened);
    return opened;
  }

  beforeAll(async () => {
    upstreams = await startUpstreams();
    house = await openHouse(upstreams);
    client = sdk(house.url);
  });
  afterEach(async () => {
    await expectSettled(house.gateway);
    for (const opened of others.splice(0)) await opened.close();
    upstreams.reset();
  });
  afterAll(async () => {
    await house.close();
    await upstreams.closeAll();
  });

  const hello = (name: UpstreamName, more: object = {}) => ({
    model: MODELS[name] as string,
    max_completion_tokens: 1_000,
    messages: [{ role: "user" as const, content: "hello" }],
    ...more,
  });
  const COUNTED = {
    prompt_tokens: 100,
    completion_tokens: 50,
    total_tokens: 150,
    prompt_tokens_details: { cached_tokens: 40 },
  };
  const passes = (name: UpstreamName) => name === "openai" || name === "llama";

  describe.each(UPSTREAMS)("to %s", (name) => {
    test("chat.completions.create returns text, finish reason and usage", async () => {
      upstreams[name].next({ text: "Hello, Zoë 👋", usage: SCRIPTED });
      const answer = await client.chat.completions.create(hello(name));
      expect(answer).toMatchObject({ object: "chat.completion", id: expect.stringMatching(/^chatcmpl-/) });
      expect(answer.choices).toMatchObject([
        { index: 0, finish_reason: "stop", message: { role: "assistant", content: "Hello, Zoë 👋" } },
      ]);
      expect(answer.usage).toMatchObject(COUNTED);
      if (!["mistral", "llama"].includes(name))
        expect(answer.usage?.completion_tokens_details).toMatchObject({ reasoning_tokens: 20 });
      expect(answer.model).toBe(passes(name) ? ownName(name) : MODELS[name]);
      expect(seenBy(upstreams[name])).toMatchObject({
        model: ownName(name),
        ...(name === "openai" && { wire: "chat" }),
        texts: ["hello"],
      });
      await expectLogged(house, name);
    });

    test("a stream with include_usage ends with one chunk of usage and no choice", async () => {
      upstreams[name].next({ text: "One two three, Zoë 👋.", usage: SCRIPTED, sse: { splitBytes: 7 } });
      const stream = await client.chat.completions.create({
        ...hello(name),
        stream: true,
        stream_options: { include_usage: true },
      });
      const chunks: Json[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      expect(chunks[0].choices[0].delta.role).toBe("assistant");
      expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("One two three, Zoë 👋.");
      expect(
        chunks.filter((chunk) => chunk.choices[0]?.finish_reason).map((chunk) => chunk.choices[0].finish_reason),
      ).toEqual(["stop"]);
      expect(chunks.filter((chunk) => chunk.usage)).toHaveLength(1);
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: COUNTED });
      expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
      await expectLogged(house, name);
    });

    test("a stream without include_usage has no usage at all", async () => {
      upstreams[name].next({ text: "One two." });
      const stream = await client.chat.completions.create({ ...hello(name), stream: true });
      const chunks: Json[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      expect(chunks.filter((chunk) => "usage" in chunk || chunk.choices.length === 0)).toEqual([]);
      expect(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("")).toBe("One two.");
    });

    test("the stream helper puts the answer together again, parallel calls included", async () => {
      upstreams[name].next({
        text: "Looking.",
        toolCalls: [
          { name: "get_weather", arguments: { city: "Paris" } },
          { name: "get_weather", arguments: { city: "Rome" } },
          { name: "get_time", arguments: {} },
        ],
        usage: SCRIPTED,
      });
      const time = {
        type: "function" as const,
        function: { name: "get_time", parameters: { type: "object", properties: {} } },
      };
      const stream = client.chat.completions.stream({
        ...hello(name, { tools: [openaiTool, time] }),
        stream_options: { include_usage: true },
      });
      let text = "";
      stream.on("content", (delta) => {
        text += delta;
      });
      const answer = await stream.finalChatCompletion();
      expect(text).toBe("Looking.");
      const [choice] = answer.choices;
      expect(choice?.finish_reason).toBe("tool_calls");
      const calls = (choice?.message.tool_calls ?? []) as Json[];
      expect(calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)])).toEqual([
        ["get_weather", { city: "Paris" }],
        ["get_weather", { city: "Rome" }],
        ["get_time", {}],
      ]);
      expect(new Set(calls.map((call) => call.id)).size).toBe(3);
      expect(answer.usage).toMatchObject(COUNTED);
    });

    test("a tool loop with parallel calls: results in any order, then the answer", async () => {
      upstreams[name].next(
        {
          toolCalls: [
            { name: "get_weather", arguments: { city: "Paris" } },
            { name: "get_weather", arguments: { city: "Rome" } },
          ],
        },
        { text: "Both sunny." },
      );
      const messages: Json[] = [
        { role: "system", content: "You are brief." },
        { role: "user", content: "Weather?" },
      ];
      const ask = () =>
        client.chat.completions.create(hello(name, { tools: [openaiTool], messages, parallel_tool_calls: true }));
      const first = (await ask()).choices[0];
      expect(first?.finish_reason).toBe("tool_calls");
      const calls = (first?.message.tool_calls ?? []) as Json[];
      expect(calls).toMatchObject([
        { type: "function", function: { name: "get_weather" } },
        { type: "function", function: { name: "get_weather" } },
      ]);
      messages.push(
        first?.message,
        { role: "tool", tool_call_id: calls[1].id, content: "20 degrees" },
        { role: "tool", tool_call_id: calls[0].id, content: [{ type: "text", text: "18 degrees" }] },
        { role: "user", content: "And?" },
      );
      const second = await ask();
      expect(second.choices).toMatchObject([{ finish_reason: "stop", message: { content: "Both sunny." } }]);
      const seen = seenBy(upstreams[name]);
      expect(seen.system).toBe("You are brief.");
      expect(seen.results.toSorted()).toEqual(["18 degrees", "20 degrees"]);
      expect(seen.texts).toContain("And?");
    });

    test.each(["auto", "required", "none"] as const)("tool_choice %s arrives", async (choice) => {
      await client.chat.completions.create(hello(name, { tools: [openaiTool], tool_choice: choice }));
      expect(seenBy(upstreams[name]).choice).toBe(choice);
    });

    test("a named tool and parallel_tool_calls: false arrive", async () => {
      const choice = { type: "function", function: { name: "get_weather" } };
      const body = hello(name, { tools: [openaiTool], tool_choice: choice, parallel_tool_calls: false });
      const { response } = await client.chat.completions.create({ ...body, stream: false }).withResponse();
      const seen = seenBy(upstreams[name]);
      expect(seen.choice).toEqual({ tool: "get_weather" });
      expect(seen.parallel).toBe(isGemini(name) ? undefined : false);
      const changes = response.headers.get("x-turnpike-changes") ?? "";
      expect(changes.includes("parallel_tool_calls")).toBe(isGemini(name));
    });

    test("response_format json_schema arrives, and the helper parses the answer", async () => {
      upstreams[name].next({ text: '{"city":"Paris","degrees":18}' });
      const schema = {
        type: "object",
        properties: { city: { type: "string" }, degrees: { type: "number" } },
        required: ["city", "degrees"],
        additionalProperties: false,
      };
      const answer = await client.chat.completions.create(
        hello(name, {
          response_format: { type: "json_schema", json_schema: { name: "weather", schema, strict: true } },
        }),
      );
      expect(JSON.parse(answer.choices[0]?.message.content ?? "")).toEqual({ city: "Paris", degrees: 18 });
      expect(seenBy(upstreams[name]).schema).toEqual(schema);
    });

    test("chat.completions.parse reads an answer by its zod schema", async () => {
      upstreams[name].next({ text: '{"city":"Paris","degrees":18}' });
      const Weather = z.object({ city: z.string(), degrees: z.number().nullable() });
      const answer = await client.chat.completions.parse({
        ...hello(name),
        response_format: zodResponseFormat(Weather, "weather"),
      });
      expect(answer.choices[0]?.message.parsed).toEqual({ city: "Paris", degrees: 18 });
      expect(Object.keys(seenBy(upstreams[name]).schema.properties)).toEqual(["city", "degrees"]);
    });

    test("an image as a data URL arrives", async () => {
      const url = `data:image/png;base64,${PNG}`;
      await client.chat.completions.create(
        hello(name, {
          messages: [
            {
              role: "user",
              content: [
                { type: "text", text: "What is this?" },
                { type: "image_url", image_url: { url } },
              ],
            },
          ],
        }),
      );
      expect(seenBy(upstreams[name])).toMatchObject({ texts: ["What is this?"], images: [PNG] });
    });

    test("a PDF as file data arrives", async () => {
      // Byte for byte: this server itself says that it takes no files.
      if (name === "llama") return;
      const file = { filename: "a.pdf", file_data: `data:application/pdf;base64,${PDF}` };
      const content = [
        { type: "text", text: "Read." },
        { type: "file", file },
      ];
      await client.chat.completions.create(hello(name, { messages: [{ role: "user", content }] }));
      expect(seenBy(upstreams[name])).toMatchObject({ texts: ["Read."], documents: [PDF] });
    });

    test.each(["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const)(
      "reasoning_effort %s",
      async (effort) => {
        upstreams[name].next({ thinking: "Let me see.", text: "Seen." });
        const body = hello(name, { reasoning_effort: effort, max_completion_tokens: 60_000 });
        const ask = client.chat.completions.create(body).withResponse();
        if (name === "openai" && (effort === "minimal" || effort === "max")) {
          // Byte for byte: the upstream itself says what it does not know.
          expect(await errorOf(ask)).toBeInstanceOf(BadRequestError);
          return;
        }
        const { data, response } = await ask;
        const message = data.choices[0]?.message as Json;
        expect(message.content).toBe("Seen.");
        const changes = response.headers.get("x-turnpike-changes") ?? "";
        const isOff = effort === "none" || (effort === "minimal" && name === "mistral");
        const sent = {
          mistral: isOff ? "none" : "high",
          openai: effort,
          llama: effort,
          anthropic: effort === "minimal" ? "low" : effort,
          gemini: { none: "low", minimal: "low", xhigh: "high", max: "high" }[effort as string] ?? effort,
          gemini25: { none: 0, minimal: 1_024, low: 4_096, medium: 8_192, high: 16_384, xhigh: 24_576, max: 24_576 }[
            effort
          ],
        };
        expect(seenBy(upstreams[name]).effort).toBe(sent[name]);
        const isChanged = effort !== sent[name] && !(name === "gemini25" && isOff);
        expect(changes.includes("reasoning")).toBe(isChanged);
        if (["mistral", "llama", "gemini", "gemini25"].includes(name))
          expect(message.reasoning_content).toBe(isOff ? undefined : "Let me see.");
      },
    );

    test("an answer that was thought about, sent back whole, is accepted", async () => {
      upstreams[name].next(
        { thinking: "Hm.", toolCalls: [{ name: "get_weather", arguments: { city: "Paris" } }] },
        { text: "Sunny." },
      );
      const messages: Json[] = [{ role: "user", content: "Weather?" }];
      const effort = name === "llama" || name === "openai" ? {} : { reasoning_effort: "low" };
      const ask = () => client.chat.completions.create(hello(name, { tools: [openaiTool], messages, ...effort }));
      const message = (await ask()).choices[0]?.message as Json;
      messages.push(message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "18 degrees" });
      expect((await ask()).choices[0]?.message.content).toBe("Sunny.");
      const { thinking } = seenBy(upstreams[name]);
      if (name === "mistral") expect(thinking).toMatchObject([{ type: "thinking", thinking: [{ text: "Hm." }] }]);
      if (name === "anthropic") expect(thinking).toMatchObject([{ signature: expect.stringMatching(/^Eq/) }]);
      if (isGemini(name)) expect(thinking).toEqual([expect.stringMatching(/^E/)]);
    });

    test("stop and seed arrive where the upstream knows them and are reported where it does not", async () => {
      upstreams[name].next({ text: "A red pixel. STOP And more." });
      const { data, response } = await client.chat.completions
        .create({ ...hello(name, { stop: ["STOP"], seed: 7 }), stream: false })
        .withResponse();
      expect(data.choices[0]?.finish_reason).toBe("stop");
      expect(data.choices[0]?.message.content?.trim()).toBe("A red pixel.");
      expect(seenBy(upstreams[name]).stop).toEqual(["STOP"]);
      const sent = sentTo(upstreams[name]);
      const seed = sent.seed ?? sent.random_seed ?? sent.generationConfig?.seed;
      expect(seed).toBe(name === "anthropic" ? undefined : 7);
      const changes = response.headers.get("x-turnpike-changes") ?? "";
      expect(changes.includes("seed")).toBe(name === "anthropic");
    });

    test("n arrives where the upstream knows it, and is refused where it does not", async () => {
      const ask = client.chat.completions.create(hello(name, { n: 2 }));
      if (name === "anthropic" || isGemini(name)) {
        const error = await errorOf(ask);
        expect(error).toBeInstanceOf(BadRequestError);
        // Which of Gemini's models give several answers only they know.
        expect(error.message).toMatch(isGemini(name) ? /Multiple candidates is not enabled/ : /n must be 1/);
        expect(upstreams[name].requests).toHaveLength(isGemini(name) ? 1 : 0);
        return;
      }
      await ask;
      expect(sentTo(upstreams[name]).n).toBe(2);
    });

    test.each(["max_tokens", "max_completion_tokens"])("%s bounds the answer", async (field) => {
      upstreams[name].next({ text: "far too long an answer ".repeat(20) });
      const body = { model: MODELS[name], messages: [{ role: "user" as const, content: "hello" }], [field]: 5 };
      if (name === "openai" && field === "max_tokens") {
        // Byte for byte: this model wants the other field, and says so.
        expect((await errorOf(client.chat.completions.create(body))).code).toBe("unsupported_parameter");
        return;
      }
      const answer = await client.chat.completions.create(body);
      expect(answer.choices[0]?.finish_reason).toBe("length");
      expect(answer.usage?.completion_tokens).toBe(5);
      expect(seenBy(upstreams[name]).maxTokens).toBe(5);
    });

    test("developer and system messages are instructions, wherever they stand", async () => {
      await client.chat.completions.create(
        hello(name, {
          messages: [
            { role: "developer", content: "You are brief." },
            { role: "user", content: "hello" },
            { role: "system", content: "Now you are kind." },
            { role: "user", content: "again" },
          ],
        }),
      );
      const { system, texts } = seenBy(upstreams[name]);
      expect(system).toBe("You are brief.");
      for (const words of ["hello", "Now you are kind.", "again"]) expect(texts.join("\n")).toContain(words);
    });

    test("a 400 of the upstream is a BadRequestError", async () => {
      upstreams[name].next({
        status: 400,
        errorEvent: { type: "invalid_request_error", message: "That will not do." },
      });
      const error = await errorOf(client.chat.completions.create(hello(name)));
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error.type).toBe("invalid_request_error");
      expect(error.message).toContain("That will not do.");
    });

    test("a 429 of the upstream is a RateLimitError with its retry-after", async () => {
      upstreams[name].next({ status: 429, headers: { "retry-after": "17" } });
      const error = await errorOf(client.chat.completions.create(hello(name)));
      expect(error).toBeInstanceOf(RateLimitError);
      // Gemini says it in the body: 34.4s.
      expect(error.headers.get("retry-after")).toBe(isGemini(name) ? "35" : "17");
      expect(error.headers.get("x-should-retry")).toBe("true");
    });

    test("an overloaded upstream is an InternalServerError", async () => {
      upstreams[name].next({ status: name === "anthropic" ? 529 : 503 });
      const error = await errorOf(client.chat.completions.create(hello(name)));
      expect(error).toBeInstanceOf(InternalServerError);
      expect(error.status).toBe(503);
      expect(error.requestID).toMatch(/./);
    });

    test.each([401, 403])("an upstream's %s about our key is a 502, never the caller's", async (status) => {
      upstreams[name].next({ status });
      const error = await errorOf(client.chat.completions.create(hello(name)));
      expect(error).toBeInstanceOf(InternalServerError);
      expect(error).toMatchObject({ status: 502, code: "upstream_auth" });
    });

    test("leaving the loop closes the upstream within 100 ms", { retry: 2 }, async () => {
      upstreams[name].next({ text: "word ".repeat(400), chunkDelayMs: 5 });
      const stream = await client.chat.completions.create({ ...hello(name), stream: true });
      let leftAt = 0;
      for await (const chunk of stream) {
        if (!chunk.choices[0]?.delta.content) continue;
        leftAt = Date.now();
        break;
      }
      expect(leftAt).toBeGreaterThan(0);
      expect(await closedAfter(upstreams[name], leftAt)).toBeLessThan(100);
    });

    test("aborting before the upstream answers closes it too", { retry: 2 }, async () => {
      upstreams[name].next({ hang: "before-headers" });
      const controller = new AbortController();
      const failed = errorOf(client.chat.completions.create(hello(name), { signal: controller.signal }));
      await until(() => upstreams[name].requests.length === 1, "the upstream was asked");
      const abortedAt = Date.now();
      controller.abort();
      expect(await failed).toBeInstanceOf(OpenAI.APIUserAbortError);
      expect(await closedAfter(upstreams[name], abortedAt)).toBeLessThan(100);
    });

    test.each([
      ["is cut off", { cut: true }],
      ["breaks", { reset: "mid-stream" as const }],
      ["brings an error event", { errorEvent: { message: "The GPU caught fire" } }],
    ])("a stream that %s raises after what came through", async (_, fault) => {
      upstreams[name].next({ text: "One two three four.", ...fault });
      const stream = await client.chat.completions.create({ ...hello(name), stream: true });
      let text = "";
      const error = await errorOf(
        (async () => {
          for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
        })(),
      );
      expect(error).toBeInstanceOf(APIError);
      expect("One two three four.".startsWith(text) && text !== "").toBe(true);
      if ("errorEvent" in fault) expect(error.message).toContain("The GPU caught fire");
    });
  });

  test("a conversation whose answers, thinking included, came from one upstream goes on at any other", async () => {
    const messages: Json[] = [{ role: "user", content: "Weather?" }];
    for (const name of UPSTREAMS)
      upstreams[name].always({ thinking: `Hm, ${name}.`, text: `Sun, says ${providerOf(name)}.` });
    const order = [
      ...(["mistral", "openai", "gemini", "anthropic", "openai", "llama", "gemini25", "openai"] as const),
      ...(["gemini", "gemini25", "anthropic", "mistral", "llama"] as const),
    ];
    for (const name of order) {
      const effort = name === "mistral" || name === "anthropic" ? { reasoning_effort: "high" } : {};
      const { choices } = await client.chat.completions.create(hello(name, { messages, ...effort }));
      expect(choices[0]?.message.content).toBe(`Sun, says ${providerOf(name)}.`);
      messages.push(choices[0]?.message, { role: "user", content: "And then?" });
    }
  });

  test.each(UPSTREAMS)("a conversation that ends with words of the assistant is accepted by %s", async (name) => {
    upstreams[name].next({ text: "Paris." });
    const messages = [
      { role: "user", content: "The capital of France?" },
      { role: "assistant", content: "It is" },
    ];
    const answer = await client.chat.completions.create(hello(name, { messages }));
    expect(answer.choices[0]?.message.content).toBe("Paris.");
  });

  test.each(["mistral", "anthropic"] as const)(
    "a malformed request is a BadRequestError that names the field, before it reaches %s",
    async (name) => {
      const error = await errorOf(
        client.chat.completions.create(hello(name, { messages: [{ role: "user", content: [{ type: "text" }] }] })),
      );
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error).toMatchObject({ type: "invalid_request_error", param: "messages.0.content.0.text" });
      expect(upstreams[name].requests).toHaveLength(0);
    },
  );

  test("an unknown model is a NotFoundError", async () => {
    const error = await errorOf(client.chat.completions.create(hello("mistral", { model: "gpt-nobody" })));
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error).toMatchObject({ code: "model_not_found", param: "model" });
  });

  test("a wrong key for the gateway is an AuthenticationError", async () => {
    const guarded = await another({ auth: { keys: [{ id: "web", key: "tp-right-key-1" }] } });
    const error = await errorOf(sdk(guarded.url).chat.completions.create(hello("openai")));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error.code).toBe("invalid_api_key");
    await sdk(guarded.url, { apiKey: "tp-right-key-1" }).chat.completions.create(hello("openai"));
    expect(upstreams.openai.requests).toHaveLength(1);
    expect(JSON.stringify(upstreams.openai.requests[0]?.headers)).not.toContain("tp-right-key-1");
  });

  test("a spent budget is a 402 that the SDK does not retry", async () => {
    let asked = 0;
    const capped = await another({
      limits: [{ name: "tiny", requests: 1, per: "day" }],
      first: [
        (exchange, next) => {
          asked++;
          return next(exchange);
        },
      ],
    });
    const patient = sdk(capped.url, { maxRetries: 3 });
    await patient.chat.completions.create(hello("openai"));
    asked = 0;
    for (const stream of [false, true] as const) {
      const error = await errorOf(patient.chat.completions.create({ ...hello("openai"), stream } as Json));
      expect(error).toBeInstanceOf(APIError);
      expect(error).toMatchObject({ status: 402, type: "insufficient_quota", code: "budget_exceeded" });
      expect(error.headers.get("x-should-retry")).toBe("false");
    }
    expect(asked).toBe(2);
    expect(upstreams.openai.requests).toHaveLength(1);
  });

  test("models are listed and retrieved in OpenAI's shape, under /v1 and /openai/v1", async () => {
    const named = await another({ router: { rules: [{ match: { model: "house" }, to: MODELS.llama }], retries: 0 } });
    for (const path of ["/v1", "/openai/v1"]) {
      const models = sdk(named.url, { baseURL: named.url + path }).models;
      const ids: string[] = [];
      for await (const model of await models.list()) {
        expect(model).toMatchObject({ object: "model", owned_by: expect.any(String), created: expect.any(Number) });
        ids.push(model.id);
      }
      expect(ids).toContain("house");
      expect(ids).toContain("mistral/mistral-medium-3-5");
      expect(await models.retrieve("house")).toMatchObject({ object: "model", id: "house" });
      expect(await errorOf(models.retrieve("nobody"))).toBeInstanceOf(NotFoundError);
    }
  });
});
