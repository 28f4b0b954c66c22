import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/gateway.ts";
import {
  closedAfter,
  errorOf,
  expectSettled,
  type House,
  type HouseOptions,
  type Json,
  MODELS,
  openaiTool,
  openHouse,
  PNG,
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
  const SCRIPTED = { prompt: 100, cached: 40, completion: 50, reasoning: 20 };
  const COUNTED = {
    prompt_tokens: 100,
    completion_tokens: 50,
    total_tokens: 150,
    prompt_tokens_details: { cached_tokens: 40 },
  };
  const own = (name: UpstreamName) => MODELS[name].slice(MODELS[name].indexOf("/") + 1);
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
      if (name === "openai" || name === "anthropic")
        expect(answer.usage?.completion_tokens_details).toMatchObject({ reasoning_tokens: 20 });
      expect(answer.model).toBe(passes(name) ? own(name) : MODELS[name]);
      expect(sentTo(upstreams[name]).model).toBe(own(name));
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
    });

    test("a stream without include_usage has no usage at all", async () => {
      upstreams[name].next({ text: "One two." });
      const stream = await client.chat.completions.create({ ...hello(name), stream: true });
      const chunks: Json[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      expect(chunks.filter((chunk) => chunk.usage || chunk.choices.length === 0)).toEqual([]);
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
      const sent = JSON.stringify(sentTo(upstreams[name]));
      expect(sent).toContain("20 degrees");
      expect(sent).toContain("18 degrees");
      expect(sent).toContain("And?");
    });

    test.each([
      ["auto", "auto"],
      ["required", name === "mistral" ? "any" : "required"],
      ["none", "none"],
    ] as const)("tool_choice %s arrives", async (choice, expected) => {
      await client.chat.completions.create(hello(name, { tools: [openaiTool], tool_choice: choice }));
      const anthropic = { auto: "auto", required: "any", none: "none" };
      expect(sentTo(upstreams[name]).tool_choice).toEqual(
        name === "anthropic" ? { type: anthropic[choice] } : expected,
      );
    });

    test("a named tool and parallel_tool_calls: false arrive", async () => {
      const choice = { type: "function", function: { name: "get_weather" } };
      await client.chat.completions.create(
        hello(name, { tools: [openaiTool], tool_choice: choice, parallel_tool_calls: false }),
      );
      const sent = sentTo(upstreams[name]);
      if (name === "anthropic") {
        expect(sent.tool_choice).toEqual({ type: "tool", name: "get_weather", disable_parallel_tool_use: true });
      } else expect(sent).toMatchObject({ tool_choice: choice, parallel_tool_calls: false });
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
      const sent = sentTo(upstreams[name]);
      if (name === "anthropic") expect(sent.output_config.format).toEqual({ type: "json_schema", schema });
      else
        expect(sent.response_format).toMatchObject({ type: "json_schema", json_schema: { name: "weather", schema } });
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
      const [message] = sentTo(upstreams[name]).messages;
      expect(message.content[1]).toMatchObject(
        name === "anthropic"
          ? { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } }
          : { type: "image_url", image_url: { url } },
      );
    });

    test.each(["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const)(
      "reasoning_effort %s",
      async (effort) => {
        upstreams[name].next({ thinking: "Let me see.", text: "Seen." });
        const ask = client.chat.completions.create(hello(name, { reasoning_effort: effort })).withResponse();
        if (name === "openai" && (effort === "minimal" || effort === "max")) {
          // Byte for byte: the upstream itself says what it does not know.
          expect(await errorOf(ask)).toBeInstanceOf(BadRequestError);
          return;
        }
        const { data, response } = await ask;
        const message = data.choices[0]?.message as Json;
        expect(message.content).toBe("Seen.");
        const sent = sentTo(upstreams[name]);
        const changes = response.headers.get("x-turnpike-changes") ?? "";
        const off = effort === "none" || (effort === "minimal" && name === "mistral");
        if (name === "mistral") {
          expect(sent.reasoning_effort).toBe(off ? "none" : "high");
          expect(changes.includes("reasoning.effort")).toBe(effort !== "none" && effort !== "high");
        } else if (name === "anthropic") {
          if (effort === "none") expect(sent.thinking).toEqual({ type: "disabled" });
          else {
            expect(sent.thinking).toMatchObject({ type: "adaptive" });
            expect(sent.output_config).toEqual({ effort: effort === "minimal" ? "low" : effort });
          }
        } else expect(sent.reasoning_effort).toBe(effort);
        if (name === "mistral" || name === "llama") {
          if (off) expect(message.reasoning_content).toBeUndefined();
          else expect(message.reasoning_content).toBe("Let me see.");
        }
      },
    );

    test("an answer that was thought about, sent back whole, is accepted", async () => {
      upstreams[name].next(
        { thinking: "Hm.", toolCalls: [{ name: "get_weather", arguments: { city: "Paris" } }] },
        { text: "Sunny." },
      );
      const messages: Json[] = [{ role: "user", content: "Weather?" }];
      const effort = name === "llama" || name === "openai" ? {} : { reasoning_effort: "high" };
      const ask = () => client.chat.completions.create(hello(name, { tools: [openaiTool], messages, ...effort }));
      const message = (await ask()).choices[0]?.message as Json;
      messages.push(message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "18 degrees" });
      expect((await ask()).choices[0]?.message.content).toBe("Sunny.");
      const assistant = sentTo(upstreams[name]).messages.find((each: Json) => each.role === "assistant");
      if (name === "mistral")
        expect(assistant.content[0]).toMatchObject({ type: "thinking", thinking: [{ text: "Hm." }] });
      if (name === "anthropic")
        expect(assistant.content[0]).toMatchObject({ type: "thinking", signature: expect.stringMatching(/^Eq/) });
    });

    test("n, stop and seed arrive where the upstream knows them and are reported where it does not", async () => {
      upstreams[name].next({ text: "A red pixel. STOP And more." });
      const { data, response } = await client.chat.completions
        .create({ ...hello(name, { n: 2, stop: ["STOP"], seed: 7 }), stream: false })
        .withResponse();
      expect(data.choices[0]?.finish_reason).toBe("stop");
      expect(data.choices[0]?.message.content?.trim()).toBe("A red pixel.");
      const sent = sentTo(upstreams[name]);
      if (name === "anthropic") {
        expect(sent.stop_sequences).toEqual(["STOP"]);
        const changes = response.headers.get("x-turnpike-changes");
        expect(changes).toContain("seed");
        expect(changes).toMatch(/(^|, ?)n=/);
      } else {
        expect(sent).toMatchObject({ n: 2, stop: ["STOP"] });
        expect(name === "mistral" ? sent.random_seed : sent.seed).toBe(7);
      }
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
      expect(sentTo(upstreams[name])[passes(name) ? field : "max_tokens"]).toBe(5);
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
      const sent = sentTo(upstreams[name]);
      const all = JSON.stringify(sent);
      for (const words of ["You are brief.", "Now you are kind.", "hello", "again"]) expect(all).toContain(words);
      if (name === "anthropic") expect(sent.system).toBe("You are brief.");
      else
        expect(sent.messages[0]).toMatchObject({
          role: passes(name) ? "developer" : "system",
          content: "You are brief.",
        });
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
      expect(error.headers.get("retry-after")).toBe("17");
      expect(error.headers.get("x-should-retry")).toBe("true");
    });

    test("an overloaded upstream is an InternalServerError", async () => {
      upstreams[name].next({ status: name === "anthropic" ? 529 : 503 });
      const error = await errorOf(client.chat.completions.create(hello(name)));
      expect(error).toBeInstanceOf(InternalServerError);
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
    for (const name of UPSTREAMS) upstreams[name].always({ thinking: `Hm, ${name}.`, text: `Sun, says ${name}.` });
    const order = [
      "mistral",
      "openai",
      "anthropic",
      "openai",
      "llama",
      "openai",
      "anthropic",
      "mistral",
      "llama",
    ] as const;
    for (const name of order) {
      const effort = name === "mistral" || name === "anthropic" ? { reasoning_effort: "high" } : {};
      const { choices } = await client.chat.completions.create(hello(name, { messages, ...effort }));
      expect(choices[0]?.message.content).toBe(`Sun, says ${name}.`);
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
