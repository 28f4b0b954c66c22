import Anthropic, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from "@anthropic-ai/sdk";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/gateway.ts";
import { seenBy } from "./seen.ts";
import {
  anthropicTool,
  closedAfter,
  errorOf,
  expectLogged,
  expectSettled,
  type House,
  type HouseOptions,
  isGemini,
  type Json,
  MODELS,
  openHouse,
  ownName,
  PDF,
  PNG,
  SCRIPTED,
  startUpstreams,
  UPSTREAMS,
  type UpstreamName,
} from "./support.ts";

/** The official Anthropic SDK, over real sockets, through Turnpike to each kind of upstream. */
describe("the official Anthropic SDK", () => {
  let upstreams: Awaited<ReturnType<typeof startUpstreams>>;
  let house: House;
  let client: Anthropic;
  const others: House[] = [];

  const sdk = (url: string, options: object = {}) =>
    new Anthropic({ baseURL: `${url}/anthropic`, apiKey: "sk-anything-at-all", maxRetries: 0, ...options });

  /** A gateway with options of its own, for one test. */
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
    max_tokens: 5_000,
    messages: [{ role: "user" as const, content: "hello" }],
    ...more,
  });
  /** What an answer says, without the blocks that only carry a signature. */
  const said = (message: Anthropic.Message) =>
    message.content.filter((block) => block.type !== "thinking" || block.thinking !== "");
  const translated = UPSTREAMS.filter((name) => name !== "anthropic");
  /** What `SCRIPTED` is to an Anthropic caller. */
  const COUNTED = { input_tokens: 60, cache_read_input_tokens: 40, cache_creation_input_tokens: 0, output_tokens: 50 };

  describe.each(UPSTREAMS)("to %s", (name) => {
    test("messages.create returns a message with text, stop reason and usage", async () => {
      upstreams[name].next({ text: "Hello, Zoë 👋", usage: SCRIPTED });
      const message = await client.messages.create(hello(name));
      expect(message).toMatchObject({
        type: "message",
        role: "assistant",
        stop_reason: "end_turn",
        stop_sequence: null,
      });
      expect(message.id).toMatch(/^msg_[0-9A-Za-z]+$/);
      expect(said(message)).toMatchObject([{ type: "text", text: "Hello, Zoë 👋" }]);
      expect(message.usage).toMatchObject(COUNTED);
      if (!["mistral", "llama"].includes(name))
        expect(message.usage.output_tokens_details).toMatchObject({ thinking_tokens: 20 });
      // The upstream's own name in a pass-through, the caller's where the answer was translated.
      expect(message.model).toBe(name === "anthropic" ? ownName(name) : MODELS[name]);
      expect(seenBy(upstreams[name]).model).toBe(ownName(name));
      await expectLogged(house, name);
    });

    test("system blocks, an image and stop sequences arrive", async () => {
      upstreams[name].next({ text: "A red pixel. STOP And more." });
      const message = await client.messages.create(
        hello(name, {
          system: [
            { type: "text", text: "You are brief.", cache_control: { type: "ephemeral" } },
            { type: "text", text: "You are kind." },
          ],
          stop_sequences: ["STOP", "HALT"],
          messages: [
            {
              role: "user",
              content: [
                { type: "text", text: "What is this?" },
                { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
              ],
            },
          ],
        }),
      );
      expect(said(message)).toMatchObject([{ type: "text", text: expect.stringMatching(/^A red pixel\. ?$/) }]);
      if (name === "anthropic") expect(message).toMatchObject({ stop_reason: "stop_sequence", stop_sequence: "STOP" });
      expect(seenBy(upstreams[name])).toMatchObject({
        // Where OpenAI has stop sequences.
        ...(name === "openai" && { wire: "chat" }),
        system: "You are brief.\n\nYou are kind.",
        texts: ["What is this?"],
        images: [PNG],
        stop: ["STOP", "HALT"],
      });
    });

    test("a PDF arrives, or is reported where it cannot", async () => {
      const document = { type: "document", source: { type: "base64", media_type: "application/pdf", data: PDF } };
      const { data, response } = await client.messages
        .create({
          ...hello(name, { messages: [{ role: "user", content: [document, { type: "text", text: "Read." }] }] }),
          stream: false,
        })
        .withResponse();
      expect(data.type).toBe("message");
      const seen = seenBy(upstreams[name]);
      expect(seen.texts).toContain("Read.");
      if (name !== "llama") expect(seen.documents).toEqual([PDF]);
      else expect(response.headers.get("x-turnpike-changes")).toMatch(/messages\S*=dropped/);
    });

    test("messages.stream gives the text as it comes and the whole message at the end", async () => {
      upstreams[name].next({ text: "One two three, Zoë 👋.", usage: SCRIPTED, sse: { splitBytes: 7 } });
      const stream = client.messages.stream(hello(name));
      const deltas: string[] = [];
      stream.on("text", (delta) => deltas.push(delta));
      const message = await stream.finalMessage();
      expect(deltas.join("")).toBe("One two three, Zoë 👋.");
      expect(deltas.length).toBeGreaterThan(2);
      expect(said(message)).toMatchObject([{ type: "text", text: "One two three, Zoë 👋." }]);
      expect(message.stop_reason).toBe("end_turn");
      expect(message.usage).toMatchObject(COUNTED);
      await expectLogged(house, name);
    });

    test("stream events stand in the order of the Messages grammar", async () => {
      upstreams[name].next({
        thinking: "Let me look.",
        text: "I will call.",
        toolCalls: [{ name: "get_weather", arguments: { city: "Paris" } }],
      });
      const stream = await client.messages.create({
        ...hello(name, { tools: [anthropicTool], thinking: { type: "adaptive", display: "summarized" } }),
        stream: true,
      });
      const events: Json[] = [];
      for await (const event of stream) events.push(event);
      expect(events[0].type).toBe("message_start");
      expect(events[0].message).toMatchObject({ role: "assistant", content: [], stop_reason: null });
      expect(events.at(-2)).toMatchObject({ type: "message_delta", delta: { stop_reason: "tool_use" } });
      expect(events.at(-1)).toEqual({ type: "message_stop" });
      const blocks = events.slice(1, -2);
      let open: number | undefined;
      let next = 0;
      for (const event of blocks) {
        if (event.type === "content_block_start") {
          expect([open, event.index]).toEqual([undefined, next]);
          open = next++;
        } else {
          expect(event.index).toBe(open);
          if (event.type === "content_block_stop") open = undefined;
        }
      }
      expect(open).toBeUndefined();
      const kinds = blocks
        .filter((event) => event.type === "content_block_start")
        .map((event) => event.content_block.type);
      // A signature of Gemini's stands on the call, and comes to the caller in a block of its own.
      const expected = ["thinking", "text", "tool_use"];
      if (isGemini(name)) expected.splice(2, 0, "thinking");
      expect(kinds).toEqual(expected);
    });

    test("a tool loop: the call, its result, the answer", async () => {
      upstreams[name].next(
        { text: "Looking.", toolCalls: [{ name: "get_weather", arguments: { city: "Paris", days: [1, 2] } }] },
        { text: "Sunny." },
      );
      const messages: Json[] = [{ role: "user", content: "Weather in Paris?" }];
      const ask = () => client.messages.create(hello(name, { tools: [anthropicTool], messages }));
      const first = await ask();
      expect(first.stop_reason).toBe("tool_use");
      const call = first.content.find((block) => block.type === "tool_use");
      expect(call).toMatchObject({ name: "get_weather", input: { city: "Paris", days: [1, 2] } });
      messages.push(
        { role: "assistant", content: first.content },
        { role: "user", content: [{ type: "tool_result", tool_use_id: call?.id, content: "18 degrees" }] },
      );
      const second = await ask();
      expect(second.stop_reason).toBe("end_turn");
      expect(said(second)).toMatchObject([{ type: "text", text: "Sunny." }]);
      expect(seenBy(upstreams[name])).toMatchObject({
        tools: ["get_weather"],
        calls: [{ name: "get_weather", input: { city: "Paris", days: [1, 2] } }],
        results: ["18 degrees"],
      });
    });

    test("parallel calls are answered in any order, one with an error and one with an image", async () => {
      upstreams[name].next(
        {
          toolCalls: [
            { name: "get_weather", arguments: { city: "Paris" } },
            { name: "get_weather", arguments: { city: "Rome" } },
            { name: "get_time", arguments: {} },
          ],
        },
        { text: "Both." },
      );
      const tools = [anthropicTool, { name: "get_time", input_schema: { type: "object", properties: {} } }];
      const messages: Json[] = [{ role: "user", content: "Weather?" }];
      const first = await client.messages.stream(hello(name, { tools, messages })).finalMessage();
      const calls = first.content.filter((block) => block.type === "tool_use");
      expect(calls.map((call) => call.input)).toEqual([{ city: "Paris" }, { city: "Rome" }, {}]);
      expect(new Set(calls.map((call) => call.id)).size).toBe(3);
      const image = { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } };
      const [paris, rome, time] = calls;
      messages.push(
        { role: "assistant", content: first.content },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: rome?.id, content: [{ type: "text", text: "A map:" }, image] },
            { type: "tool_result", tool_use_id: time?.id },
            { type: "tool_result", tool_use_id: paris?.id, content: "station is down", is_error: true },
            { type: "text", text: "Go on." },
          ],
        },
      );
      const second = await client.messages.create(hello(name, { tools, messages }));
      expect(said(second)).toMatchObject([{ type: "text", text: "Both." }]);
      const { results, images, texts } = seenBy(upstreams[name]);
      expect(results).toHaveLength(3);
      expect(results.join()).toContain("A map:");
      const says = name === "anthropic" || isGemini(name) ? "station is down" : "Error: station is down";
      expect(results).toContain(says);
      expect(images).toEqual([PNG]);
      expect(texts).toContain("Go on.");
    });

    test.each([
      ["auto", { type: "auto" }, "auto"],
      ["any", { type: "any" }, "required"],
      ["tool", { type: "tool", name: "get_weather" }, { tool: "get_weather" }],
      ["none", { type: "none" }, "none"],
    ])("tool_choice %s arrives", async (_, choice, expected) => {
      await client.messages.create(hello(name, { tools: [anthropicTool], tool_choice: choice }));
      expect(seenBy(upstreams[name]).choice).toEqual(expected);
    });

    test("disable_parallel_tool_use arrives where the upstream knows it, and is reported where it does not", async () => {
      const choice = { type: "auto", disable_parallel_tool_use: true };
      const { data, response } = await client.messages
        .create({ ...hello(name, { tools: [anthropicTool], tool_choice: choice }), stream: false })
        .withResponse();
      expect(data.type).toBe("message");
      const knows = name !== "llama" && !isGemini(name);
      expect(seenBy(upstreams[name]).parallel).toBe(knows ? false : undefined);
      const changes = response.headers.get("x-turnpike-changes") ?? "";
      expect(changes.includes("parallel_tool_calls")).toBe(!knows);
    });

    test.each(["low", "medium", "high", "xhigh", "max"] as const)(
      "adaptive thinking with effort %s is accepted",
      async (effort) => {
        upstreams[name].next({ thinking: "Let me see.", text: "Seen." });
        const message = await client.messages
          .stream(
            hello(name, {
              max_tokens: 60_000,
              thinking: { type: "adaptive", display: "summarized" },
              output_config: { effort },
            }),
          )
          .finalMessage();
        expect(message.content[0]).toMatchObject({
          type: "thinking",
          thinking: "Let me see.",
          signature: expect.stringMatching(/./),
        });
        expect(message.content[1]).toMatchObject({ type: "text", text: "Seen." });
        const sent = {
          mistral: "high",
          openai: effort === "max" ? "xhigh" : effort,
          llama: undefined,
          anthropic: effort,
          gemini: effort === "xhigh" || effort === "max" ? "high" : effort,
          gemini25: { low: 4_096, medium: 8_192, high: 16_384, xhigh: 24_576, max: 24_576 }[effort],
        };
        expect(seenBy(upstreams[name]).effort).toBe(sent[name]);
      },
    );

    test.each(["summarized", "omitted"] as const)(
      "thinking (%s) and its signature can be sent back in the next turn",
      async (display) => {
        upstreams[name].next(
          { thinking: "Paris, I think.", toolCalls: [{ name: "get_weather", arguments: { city: "Paris" } }] },
          { text: "Sunny." },
        );
        const messages: Json[] = [{ role: "user", content: "Weather?" }];
        const ask = () =>
          client.messages
            .stream(hello(name, { tools: [anthropicTool], messages, thinking: { type: "adaptive", display } }))
            .finalMessage();
        const first = await ask();
        const thinking = first.content.find((block) => block.type === "thinking");
        expect(thinking).toMatchObject({
          thinking: display === "omitted" ? "" : "Paris, I think.",
          signature: expect.stringMatching(/./),
        });
        const call = first.content.find((block) => block.type === "tool_use");
        messages.push(
          { role: "assistant", content: first.content },
          { role: "user", content: [{ type: "tool_result", tool_use_id: call?.id, content: "18 degrees" }] },
        );
        const second = await ask();
        expect(said(second)).toMatchObject([{ type: "text", text: "Sunny." }]);
        // Each gets back what it needs to think on, also where the caller could not read it.
        const { thinking: replayed } = seenBy(upstreams[name]);
        if (name === "llama") return;
        expect(replayed).toHaveLength(1);
        if (name === "mistral")
          expect(replayed[0]).toMatchObject({ thinking: [{ type: "text", text: "Paris, I think." }] });
        if (name === "openai")
          expect(replayed[0]).toMatchObject({ type: "reasoning", encrypted_content: expect.stringMatching(/./) });
      },
    );

    test("thinking disabled reaches the upstream, and no thinking comes back", async () => {
      upstreams[name].next({ thinking: "Never shown.", text: "Quick." });
      const message = await client.messages.create(hello(name, { thinking: { type: "disabled" } }));
      // The generic profile sends no reasoning field: such a server thinks as it is configured.
      if (name !== "llama") expect(message.content.at(-1)).toMatchObject({ type: "text", text: "Quick." });
      expect(JSON.stringify(message.content)).not.toContain(name === "llama" ? "nothing" : "Never shown.");
      // Gemini's third generation cannot but think: as little as it can.
      const off = { mistral: "none", openai: "none", llama: undefined, anthropic: "none", gemini: "low", gemini25: 0 };
      expect(seenBy(upstreams[name]).effort).toBe(off[name]);
    });

    test("max_tokens ends the answer with stop_reason max_tokens", async () => {
      upstreams[name].next({ text: "far too long an answer ".repeat(20) });
      const message = await client.messages.create(hello(name, { max_tokens: 17 }));
      expect(message.stop_reason).toBe("max_tokens");
      expect(message.usage.output_tokens).toBe(17);
      expect(seenBy(upstreams[name]).maxTokens).toBe(17);
    });

    test("thinking leaves room for the answer", async () => {
      await client.messages.create(
        hello(name, { max_tokens: 4_000, thinking: { type: "adaptive" }, output_config: { effort: "high" } }),
      );
      const { effort } = seenBy(upstreams[name]);
      if (typeof effort === "number") expect(effort).toBeLessThan(3_000);
    });

    test("messages.countTokens counts without a paid call", async () => {
      const counted = await client.messages.countTokens({
        model: MODELS[name],
        system: "You are brief.",
        tools: [anthropicTool],
        messages: [{ role: "user", content: "How many tokens are these?" }],
      });
      expect(counted.input_tokens).toBeGreaterThan(10);
      const counters = {
        ...{ mistral: [], llama: [], openai: ["/v1/responses/input_tokens"], anthropic: ["/v1/messages/count_tokens"] },
        gemini: ["/v1beta/models/gemini-flash-latest:countTokens"],
        gemini25: ["/v1beta/models/gemini-2.5-flash:countTokens"],
      };
      expect(upstreams[name].requests.map(({ path }) => path)).toEqual(counters[name]);
    });

    test("a 400 of the upstream is a BadRequestError", async () => {
      upstreams[name].next({
        status: 400,
        errorEvent: { type: "invalid_request_error", message: "That will not do." },
      });
      const error = await errorOf(client.messages.create(hello(name)));
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error.type).toBe("invalid_request_error");
      expect(error.message).toContain("That will not do.");
    });

    test("a 429 of the upstream is a RateLimitError with its retry-after", async () => {
      upstreams[name].next({ status: 429, headers: { "retry-after": "17" } });
      const error = await errorOf(client.messages.create(hello(name)));
      expect(error).toBeInstanceOf(RateLimitError);
      expect(error.type).toBe("rate_limit_error");
      // Gemini says it in the body: 34.4s.
      expect(error.headers.get("retry-after")).toBe(isGemini(name) ? "35" : "17");
      expect(error.headers.get("x-should-retry")).toBe("true");
    });

    test("an overloaded upstream is a 529 overloaded_error", async () => {
      upstreams[name].next({ status: name === "anthropic" ? 529 : 503 });
      const error = await errorOf(client.messages.create(hello(name)));
      expect(error).toBeInstanceOf(InternalServerError);
      expect(error).toMatchObject({ status: 529, type: "overloaded_error" });
      expect(error.requestID).toMatch(/./);
    });

    test("an upstream that breaks before it answers is an InternalServerError", async () => {
      upstreams[name].next({ reset: "before-headers" });
      const error = await errorOf(client.messages.create(hello(name)));
      expect(error).toBeInstanceOf(InternalServerError);
      expect(error).toMatchObject({ status: 502, type: "api_error", errorCode: "upstream_unreachable" });
    });

    test.each([401, 403])("an upstream's %s about our key is a 502, never the caller's", async (status) => {
      upstreams[name].next({ status });
      const error = await errorOf(client.messages.create(hello(name)));
      expect(error).toBeInstanceOf(InternalServerError);
      expect(error).not.toBeInstanceOf(AuthenticationError);
      expect(error).toMatchObject({ status: 502, errorCode: "upstream_auth" });
      expect(error.headers.get("x-turnpike-error")).toBe("upstream_auth");
    });

    test("aborting a stream closes the upstream within 100 ms", { retry: 2 }, async () => {
      upstreams[name].next({ text: "word ".repeat(400), chunkDelayMs: 5 });
      const stream = client.messages.stream(hello(name));
      let abortedAt = 0;
      stream.once("text", () => {
        abortedAt = Date.now();
        stream.abort();
      });
      await errorOf(stream.finalMessage());
      expect(abortedAt).toBeGreaterThan(0);
      expect(await closedAfter(upstreams[name], abortedAt)).toBeLessThan(100);
    });

    test("aborting before the upstream answers closes it too", { retry: 2 }, async () => {
      upstreams[name].next({ hang: "before-headers" });
      const controller = new AbortController();
      const answer = client.messages.create(hello(name), { signal: controller.signal });
      const failed = errorOf(answer);
      await until(() => upstreams[name].requests.length === 1, "the upstream was asked");
      const abortedAt = Date.now();
      controller.abort();
      expect(await failed).toBeInstanceOf(Anthropic.APIUserAbortError);
      expect(await closedAfter(upstreams[name], abortedAt)).toBeLessThan(100);
    });

    test.each([
      ["is cut off", { cut: true }],
      ["breaks", { reset: "mid-stream" as const }],
    ])("a stream that %s raises after what came through", async (_, fault) => {
      upstreams[name].next({ text: "One two three four.", ...fault });
      const stream = client.messages.stream(hello(name));
      let text = "";
      stream.on("text", (delta) => {
        text += delta;
      });
      const error = await errorOf(stream.finalMessage());
      expect(error).toBeInstanceOf(APIError);
      expect(error.type).toBe("api_error");
      expect("One two three four.".startsWith(text) && text !== "").toBe(true);
    });

    test("an error event in mid-stream raises with its type", async () => {
      upstreams[name].next({
        text: "One two three four.",
        errorEvent:
          name === "anthropic"
            ? { type: "overloaded_error", message: "Overloaded" }
            : { message: "The GPU caught fire" },
      });
      const error = await errorOf(client.messages.stream(hello(name)).finalMessage());
      expect(error).toBeInstanceOf(APIError);
      expect(error.type).toBe(name === "anthropic" ? "overloaded_error" : "api_error");
      expect(error.message).toContain(name === "anthropic" ? "Overloaded" : "The GPU caught fire");
    });
  });

  test.each(translated)(
    "a malformed request is a BadRequestError that names the field, before it reaches %s",
    async (name) => {
      const error = await errorOf(
        client.messages.create(hello(name, { messages: [{ role: "user", content: [{ type: "text" }] }] })),
      );
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error.type).toBe("invalid_request_error");
      expect(error.message).toContain("messages.0.content.0.text");
      expect(upstreams[name].requests).toHaveLength(0);
    },
  );

  test("an unknown model is a NotFoundError", async () => {
    const error = await errorOf(client.messages.create(hello("mistral", { model: "claude-nobody" })));
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error).toMatchObject({ type: "not_found_error", errorCode: "model_not_found" });
    expect(error.message).toContain("claude-nobody");
  });

  test("a wrong key for the gateway is an AuthenticationError, a right one is let in by either header", async () => {
    const guarded = await another({ auth: { keys: [{ id: "web", key: "tp-right-key-1" }] } });
    const wrong = await errorOf(sdk(guarded.url).messages.create(hello("mistral")));
    expect(wrong).toBeInstanceOf(AuthenticationError);
    expect(wrong).toMatchObject({ status: 401, type: "authentication_error" });
    await sdk(guarded.url, { apiKey: "tp-right-key-1" }).messages.create(hello("mistral"));
    await sdk(guarded.url, { apiKey: null, authToken: "tp-right-key-1" }).messages.create(hello("mistral"));
    expect(upstreams.mistral.requests).toHaveLength(2);
    expect(JSON.stringify(upstreams.mistral.requests.map((request) => request.headers))).not.toContain(
      "tp-right-key-1",
    );
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
    await patient.messages.create(hello("mistral"));
    asked = 0;
    for (const ask of [
      () => patient.messages.create(hello("mistral")),
      () => patient.messages.stream(hello("mistral")).finalMessage(),
    ]) {
      const error = await errorOf(ask());
      expect(error).toBeInstanceOf(APIError);
      expect(error).toMatchObject({ status: 402, type: "billing_error", errorCode: "budget_exceeded" });
      expect(error.message).toContain("tiny");
      expect(error.headers.get("x-should-retry")).toBe("false");
      expect(Number(error.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(asked).toBe(2);
    expect(upstreams.mistral.requests).toHaveLength(1);
  });

  test("the SDK's own retries work: after a 429 the second request is answered", async () => {
    upstreams.mistral.next({ status: 429, headers: { "retry-after": "1" } }, { text: "Now." });
    const strict = await another({ router: { retries: 0, maxRetryAfterMs: 0 } });
    const message = await sdk(strict.url, { maxRetries: 1 }).messages.create(hello("mistral"));
    expect(message.content).toMatchObject([{ text: "Now." }]);
    expect(upstreams.mistral.requests).toHaveLength(2);
  });

  test("a conversation that began at Mistral, thinking included, goes on at Anthropic and back", async () => {
    const messages: Json[] = [{ role: "user", content: "Weather?" }];
    const thinking = { type: "adaptive", display: "summarized" };
    const turn = async (name: UpstreamName) => {
      const message = await client.messages.create(hello(name, { messages, thinking }));
      messages.push({ role: "assistant", content: message.content }, { role: "user", content: "And then?" });
      return message;
    };
    upstreams.mistral.always({ thinking: "Hm, Mistral.", text: "Sun." });
    upstreams.anthropic.always({ thinking: "Hm, Claude.", text: "Rain." });
    expect((await turn("mistral")).content).toMatchObject([{ type: "thinking" }, { text: "Sun." }]);
    expect((await turn("anthropic")).content).toMatchObject([{ type: "thinking" }, { text: "Rain." }]);
    expect((await turn("mistral")).content).toMatchObject([{ type: "thinking" }, { text: "Sun." }]);
    upstreams.openai.always({ thinking: "Hm, GPT.", text: "Fog." });
    upstreams.gemini.always({ thinking: "Hm, Gemini.", text: "Snow." });
    expect((await turn("openai")).content).toMatchObject([{ type: "thinking" }, { text: "Fog." }]);
    expect((await turn("gemini")).content).toMatchObject([{ type: "thinking" }, { text: "Snow." }]);
    expect((await turn("llama")).content).toMatchObject([{ type: "text" }]);
    expect((await turn("gemini25")).content).toMatchObject([{ type: "thinking" }, { text: "Snow." }]);
    expect((await turn("openai")).content).toMatchObject([{ type: "thinking" }, { text: "Fog." }]);
    expect(seenBy(upstreams.openai).thinking).toHaveLength(1);
    expect((await turn("anthropic")).content).toMatchObject([{ type: "thinking" }, { text: "Rain." }]);
  });

  test("models are listed and retrieved in Anthropic's shape", async () => {
    const named = await another({
      router: {
        rules: [
          { match: { model: "claude-*" }, to: MODELS.mistral },
          { match: { model: "house" }, to: MODELS.llama },
        ],
        retries: 0,
      },
    });
    const models = sdk(named.url).models;
    const ids: string[] = [];
    for await (const model of models.list()) {
      expect(model).toMatchObject({ type: "model", display_name: expect.any(String), created_at: expect.any(String) });
      ids.push(model.id);
    }
    expect(ids).toContain("house");
    expect(ids).toContain("mistral/mistral-medium-3-5");
    expect(await models.retrieve("house")).toMatchObject({ type: "model", id: "house" });
    expect(await models.retrieve("mistral/mistral-medium-3-5")).toMatchObject({ id: "mistral/mistral-medium-3-5" });
    expect(await errorOf(models.retrieve("nobody"))).toBeInstanceOf(NotFoundError);
  });
});
