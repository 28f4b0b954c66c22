import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import type { Response, ResponseInputItem } from "openai/resources/responses/responses";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { until } from "../support/gateway.ts";
import { seenBy } from "./seen.ts";
import {
  closedAfter,
  errorOf,
  expectLogged,
  isGemini,
  type Json,
  MODELS,
  ownName,
  PDF,
  PNG,
  SCRIPTED,
  sentTo,
  UPSTREAMS,
  type UpstreamName,
  useHouse,
} from "./support.ts";

/** The Responses API of the official OpenAI SDK, over real sockets, through Turnpike to each kind of upstream. */
describe("the official OpenAI SDK, Responses", () => {
  const home = useHouse();
  let client: OpenAI;
  beforeAll(() => {
    client = sdk(home.house.url);
  });

  const sdk = (url: string, options: object = {}) =>
    new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-anything-at-all", maxRetries: 0, ...options });
  const hello = (name: UpstreamName, more: object = {}) => ({
    model: MODELS[name] as string,
    max_output_tokens: 5_000,
    input: "hello" as string | ResponseInputItem[],
    ...more,
  });
  const weather = {
    type: "function" as const,
    name: "get_weather",
    description: "Weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    strict: false,
  };
  const clock = { ...weather, name: "get_time", parameters: { type: "object", properties: {} } };
  const COUNTED = {
    input_tokens: 100,
    input_tokens_details: { cached_tokens: 40 },
    output_tokens: 50,
    total_tokens: 150,
  };
  const url = `data:image/png;base64,${PNG}`;
  const pdf = { type: "input_file" as const, filename: "a.pdf", file_data: `data:application/pdf;base64,${PDF}` };
  /** To be asked to think, and to get the thinking in a form that can be sent back. */
  const THINKS = {
    store: false,
    include: ["reasoning.encrypted_content" as const],
    reasoning: { effort: "low" as const, summary: "auto" as const },
  };
  const thinks = (name: UpstreamName) => (name === "llama" ? { store: false, include: THINKS.include } : THINKS);
  const callsOf = (response: Response) => response.output.filter((item) => item.type === "function_call");

  describe.each(UPSTREAMS)("to %s", (name) => {
    test("responses.create returns text, status and usage", async () => {
      home.upstreams[name].next({ text: "Hello, Zoë 👋", usage: SCRIPTED });
      const response = await client.responses.create(hello(name));
      expect(response).toMatchObject({ object: "response", status: "completed", error: null });
      expect(response.id).toMatch(/^resp_[0-9A-Za-z]+$/);
      expect(response.output_text).toBe("Hello, Zoë 👋");
      expect(response.usage).toMatchObject(COUNTED);
      if (!["mistral", "llama"].includes(name))
        expect(response.usage?.output_tokens_details).toMatchObject({ reasoning_tokens: 20 });
      expect(response.model).toBe(name === "openai" ? ownName(name) : MODELS[name]);
      const wires = { openai: "responses", anthropic: "messages", mistral: "chat", llama: "chat" } as Json;
      expect(seenBy(home.upstreams[name])).toMatchObject({
        wire: wires[name] ?? "gemini",
        model: ownName(name),
        texts: ["hello"],
      });
      await expectLogged(home.house, name);
    });

    test("responses.stream gives the text as it comes and the whole response at the end", async () => {
      home.upstreams[name].next({ text: "One two three, Zoë 👋.", usage: SCRIPTED, sse: { splitBytes: 7 } });
      const stream = client.responses.stream(hello(name));
      const deltas: string[] = [];
      stream.on("response.output_text.delta", ({ delta }) => deltas.push(delta));
      const response = await stream.finalResponse();
      expect(deltas.join("")).toBe("One two three, Zoë 👋.");
      expect(deltas.length).toBeGreaterThan(2);
      expect(response.output_text).toBe("One two three, Zoë 👋.");
      expect(response.status).toBe("completed");
      expect(response.usage).toMatchObject(COUNTED);
      await expectLogged(home.house, name);
    });

    test("stream events stand in the order of the Responses grammar", async () => {
      home.upstreams[name].next({
        thinking: "Let me look.",
        text: "I will call.",
        toolCalls: [
          { name: "get_weather", arguments: { city: "Paris" } },
          { name: "get_time", arguments: {} },
        ],
      });
      const stream = await client.responses.create({
        ...hello(name, { tools: [weather, clock], ...thinks(name) }),
        stream: true,
      });
      const events: Json[] = [];
      for await (const event of stream) events.push(event);
      expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
      expect(events.slice(0, 2).map(({ type }) => type)).toEqual(["response.created", "response.in_progress"]);
      const last = events.at(-1);
      expect(last.type).toBe("response.completed");
      let open: number | undefined;
      const done: Json[] = [];
      for (const event of events.slice(2, -1)) {
        if (event.type === "response.output_item.added") {
          expect([open, event.output_index]).toEqual([undefined, done.length]);
          open = event.output_index;
        } else {
          expect(event.output_index).toBe(open);
          if (event.type !== "response.output_item.done") continue;
          done.push(event.item);
          open = undefined;
        }
      }
      expect(done).toEqual(last.response.output);
      const kinds = done.map(({ type }) => type).filter((type, i) => type !== "reasoning" || i === 0);
      expect(kinds).toEqual(["reasoning", "message", "function_call", "function_call"]);
      expect(done[0].summary).toMatchObject([{ type: "summary_text", text: "Let me look." }]);
      expect(new Set(done.map(({ id }) => id)).size).toBe(done.length);
    });

    test.each(["whole", "streamed"])("a tool loop (%s): calls, results in any order, the answer", async (way) => {
      home.upstreams[name].next(
        {
          thinking: "Paris, I think.",
          toolCalls: [
            { name: "get_weather", arguments: { city: "Paris", days: [1, 2] } },
            { name: "get_time", arguments: {} },
          ],
        },
        { text: "Sunny." },
      );
      const input: Json[] = [{ role: "user", content: "Weather in Paris?" }];
      const ask = () => {
        const body = hello(name, { tools: [weather, clock], instructions: "Be brief.", input, ...thinks(name) });
        return way === "whole" ? client.responses.create(body) : client.responses.stream(body).finalResponse();
      };
      const first = await ask();
      const [call, time] = callsOf(first) as Json[];
      expect(JSON.parse(call.arguments)).toEqual({ city: "Paris", days: [1, 2] });
      expect(JSON.parse(time.arguments)).toEqual({});
      expect(first.output[0]).toMatchObject({ type: "reasoning", summary: [{ text: "Paris, I think." }] });
      // What stands between the thinking and what came of it must go back too.
      input.push(
        // The stream helper's own addition, which the API does not take back.
        ...first.output.map(({ parsed_arguments: _, ...item }: Json) => item),
        { type: "function_call_output", call_id: time.call_id, output: "noon" },
        { type: "function_call_output", call_id: call.call_id, output: "18 degrees" },
      );
      const second = await ask();
      expect(second.output_text).toBe("Sunny.");
      const seen = seenBy(home.upstreams[name]);
      expect(seen).toMatchObject({
        system: "Be brief.",
        tools: ["get_weather", "get_time"],
        calls: [
          { name: "get_weather", input: { city: "Paris", days: [1, 2] } },
          { name: "get_time", input: {} },
        ],
      });
      expect(seen.results.toSorted()).toEqual(["18 degrees", "noon"]);
      if (name === "mistral") expect(seen.thinking).toMatchObject([{ thinking: [{ text: "Paris, I think." }] }]);
      if (name === "anthropic")
        expect(seen.thinking).toMatchObject([{ thinking: "Paris, I think.", signature: expect.stringMatching(/^E/) }]);
      if (name === "openai") expect(seen.thinking).toMatchObject([{ encrypted_content: expect.any(String) }]);
      if (isGemini(name)) expect(seen.thinking).toEqual([expect.stringMatching(/^E/)]);
    });

    test("thinking that the caller does not read still goes back", async () => {
      home.upstreams[name].next(
        { thinking: "Hm.", toolCalls: [{ name: "get_weather", arguments: { city: "Rome" } }] },
        { text: "Sunny." },
      );
      const { summary: _, ...quiet } = THINKS.reasoning;
      const input: Json[] = [{ role: "user", content: "Weather?" }];
      const ask = () =>
        client.responses.create(
          hello(name, { tools: [weather], input, ...thinks(name), ...(name !== "llama" && { reasoning: quiet }) }),
        );
      const first = await ask();
      const [call] = callsOf(first);
      input.push(...first.output, { type: "function_call_output", call_id: call?.call_id, output: "20" });
      expect((await ask()).output_text).toBe("Sunny.");
      if (name !== "llama") expect(seenBy(home.upstreams[name]).thinking).toHaveLength(1);
    });

    test("an image and a file arrive", async () => {
      const content = [
        { type: "input_text", text: "What is this?" },
        { type: "input_image", image_url: url, detail: "auto" },
        ...(name === "llama" ? [] : [pdf]),
      ];
      await client.responses.create(hello(name, { input: [{ role: "user", content }] }));
      expect(seenBy(home.upstreams[name])).toMatchObject({
        texts: ["What is this?"],
        images: [PNG],
        documents: name === "llama" ? [] : [PDF],
      });
    });

    test("an image and a file in the output of a tool arrive", async () => {
      const input = [
        { role: "user", content: "Look." },
        { type: "function_call", call_id: "call_1", name: "get_weather", arguments: '{"city":"Paris"}' },
        {
          type: "function_call_output",
          call_id: "call_1",
          output: [
            { type: "input_text", text: "A map:" },
            { type: "input_image", image_url: url, detail: "auto" },
            ...(name === "llama" ? [] : [pdf]),
          ],
        },
      ];
      const response = await client.responses.create(hello(name, { tools: [weather], input }));
      expect(response.status).toBe("completed");
      const seen = seenBy(home.upstreams[name]);
      expect(seen.results[0]).toContain("A map:");
      expect(seen.images).toEqual([PNG]);
      expect(seen.documents).toEqual(name === "llama" ? [] : [PDF]);
    });

    test("responses.parse reads an answer by its zod schema", async () => {
      home.upstreams[name].always({ text: '{"city":"Paris","degrees":18}' });
      const Weather = z.object({ city: z.string(), degrees: z.number().nullable() });
      const body = { ...hello(name), text: { format: zodTextFormat(Weather, "weather") } };
      expect((await client.responses.parse(body)).output_parsed).toEqual({ city: "Paris", degrees: 18 });
      const streamed = await client.responses.stream(body).finalResponse();
      expect(streamed.output_parsed).toEqual({ city: "Paris", degrees: 18 });
      expect(Object.keys(seenBy(home.upstreams[name]).schema.properties)).toEqual(["city", "degrees"]);
    });

    test("a strict function of the zod helper is called with parsed arguments", async () => {
      home.upstreams[name].next({ toolCalls: [{ name: "book", arguments: { seats: 2, note: null } }] });
      const tool = zodResponsesFunction({
        name: "book",
        parameters: z.object({ seats: z.number().min(1), note: z.string().nullable() }),
      });
      const response = await client.responses.parse({ ...hello(name), tools: [tool] });
      expect(response.output.find((item) => item.type === "function_call")).toMatchObject({
        name: "book",
        parsed_arguments: { seats: 2, note: null },
      });
    });

    test.each([
      ["auto", "auto"],
      ["required", "required"],
      ["none", "none"],
      [{ type: "function", name: "get_weather" }, { tool: "get_weather" }],
    ] as const)("tool_choice %j arrives", async (choice, expected) => {
      await client.responses.create(hello(name, { tools: [weather], tool_choice: choice }));
      expect(seenBy(home.upstreams[name]).choice).toEqual(expected);
    });

    test("parallel_tool_calls: false arrives, or is reported", async () => {
      const body = { ...hello(name, { tools: [weather], parallel_tool_calls: false }), stream: false as const };
      const { response } = await client.responses.create(body).withResponse();
      const knows = name !== "llama" && !isGemini(name);
      expect(seenBy(home.upstreams[name]).parallel).toBe(knows ? false : undefined);
      const changes = response.headers.get("x-turnpike-changes") ?? "";
      expect(changes.includes("parallel_tool_calls")).toBe(!knows);
    });

    test.each(["none", "low", "high", "xhigh"] as const)("reasoning.effort %s", async (effort) => {
      home.upstreams[name].next({ thinking: "Let me see.", text: "Seen." });
      const body = { ...hello(name, { max_output_tokens: 60_000, reasoning: { effort, summary: "auto" } }) };
      const { data, response } = await client.responses.create({ ...body, stream: false }).withResponse();
      expect(data.output_text).toBe("Seen.");
      const sent = {
        mistral: effort === "none" ? "none" : "high",
        openai: effort,
        llama: undefined,
        anthropic: effort,
        gemini: { none: "low", low: "low", high: "high", xhigh: "high" }[effort],
        gemini25: { none: 0, low: 4_096, high: 16_384, xhigh: 24_576 }[effort],
      };
      expect(seenBy(home.upstreams[name]).effort).toBe(sent[name]);
      const changes = response.headers.get("x-turnpike-changes") ?? "";
      const isOff = effort === "none" && name !== "gemini";
      const isChanged = sent[name] !== effort && !isOff;
      expect(changes.split(", ").filter((change) => change.startsWith("reasoning"))).toHaveLength(isChanged ? 1 : 0);
      if (name === "llama") return;
      const summaries = data.output.flatMap((item) => (item.type === "reasoning" ? item.summary : []));
      expect(summaries).toMatchObject(isOff ? [] : [{ text: "Let me see." }]);
    });

    test("max_output_tokens makes the response incomplete", async () => {
      home.upstreams[name].always({ text: "far too long an answer ".repeat(20) });
      const body = hello(name, { max_output_tokens: 17 });
      for (const response of [
        await client.responses.create(body),
        await client.responses.stream(body).finalResponse(),
      ]) {
        expect(response.status).toBe("incomplete");
        expect(response.incomplete_details).toEqual({ reason: "max_output_tokens" });
        expect(response.usage?.output_tokens).toBe(17);
      }
      expect(seenBy(home.upstreams[name]).maxTokens).toBe(17);
    });

    test("instructions stand first, developer messages wherever they can", async () => {
      const input = [
        { role: "developer", content: "You are brief." },
        { role: "user", content: "hello" },
        { type: "message", role: "assistant", content: [{ type: "output_text", text: "Hi.", annotations: [] }] },
        { role: "user", content: [{ type: "input_text", text: "again" }] },
      ];
      await client.responses.create(hello(name, { instructions: "You are kind.", input }));
      const { system, texts } = seenBy(home.upstreams[name]);
      expect(system).toMatch(/^You are kind\./);
      expect([system, ...texts].join("\n\n")).toBe("You are kind.\n\nYou are brief.\n\nhello\n\nHi.\n\nagain");
    });

    test("responses.inputTokens.count counts without a paid call", async () => {
      const counted = await client.responses.inputTokens.count({
        model: MODELS[name],
        instructions: "You are brief.",
        tools: [weather],
        input: [{ role: "user", content: "How many tokens are these?" }],
      });
      expect(counted).toMatchObject({ object: "response.input_tokens", input_tokens: expect.any(Number) });
      expect(counted.input_tokens).toBeGreaterThan(10);
      const counters = {
        ...{ mistral: [], llama: [], openai: ["/v1/responses/input_tokens"], anthropic: ["/v1/messages/count_tokens"] },
        gemini: ["/v1beta/models/gemini-flash-latest:countTokens"],
        gemini25: ["/v1beta/models/gemini-2.5-flash:countTokens"],
      };
      expect(home.upstreams[name].requests.map(({ path }) => path)).toEqual(counters[name]);
    });

    test("a 400 of the upstream is a BadRequestError", async () => {
      home.upstreams[name].next({
        status: 400,
        errorEvent: { type: "invalid_request_error", message: "That will not do." },
      });
      const error = await errorOf(client.responses.create(hello(name)));
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error.message).toContain("That will not do.");
    });

    test("a 429 of the upstream is a RateLimitError with its retry-after", async () => {
      home.upstreams[name].next({ status: 429, headers: { "retry-after": "17" } });
      const error = await errorOf(client.responses.create(hello(name)));
      expect(error).toBeInstanceOf(RateLimitError);
      expect(error.headers.get("retry-after")).toBe(isGemini(name) ? "35" : "17");
      expect(error.headers.get("x-should-retry")).toBe("true");
    });

    test.each([401, 403])("an upstream's %s about our key is a 502, never the caller's", async (status) => {
      home.upstreams[name].next({ status });
      const error = await errorOf(client.responses.create(hello(name)));
      expect(error).toBeInstanceOf(InternalServerError);
      expect(error).toMatchObject({ status: 502, code: "upstream_auth" });
    });

    test("an overloaded upstream is an InternalServerError", async () => {
      home.upstreams[name].next({ status: name === "anthropic" ? 529 : 503 });
      const error = await errorOf(client.responses.create(hello(name)));
      expect(error).toBeInstanceOf(InternalServerError);
      expect(error.status).toBe(503);
      expect(error.requestID).toMatch(/./);
    });

    test.each([
      ["is cut off", { cut: true }],
      ["breaks", { reset: "mid-stream" as const }],
      ["brings an error event", { errorEvent: { message: "The GPU caught fire" } }],
    ])("a stream that %s raises after what came through", async (_, fault) => {
      home.upstreams[name].next({ text: "One two three four.", ...fault });
      const stream = await client.responses.create({ ...hello(name), stream: true });
      let text = "";
      const error = await errorOf(
        (async () => {
          for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
        })(),
      );
      expect(error).toBeInstanceOf(APIError);
      expect("One two three four.".startsWith(text) && text !== "").toBe(true);
      if ("errorEvent" in fault) expect(error.message).toContain("The GPU caught fire");
    });

    test("leaving the loop closes the upstream within 100 ms", { retry: 2 }, async () => {
      home.upstreams[name].next({ text: "word ".repeat(400), chunkDelayMs: 5 });
      const stream = await client.responses.create({ ...hello(name), stream: true });
      let leftAt = 0;
      for await (const event of stream) {
        if (event.type !== "response.output_text.delta") continue;
        leftAt = Date.now();
        break;
      }
      expect(leftAt).toBeGreaterThan(0);
      expect(await closedAfter(home.upstreams[name], leftAt)).toBeLessThan(100);
    });

    test("aborting before the upstream answers closes it too", { retry: 2 }, async () => {
      home.upstreams[name].next({ hang: "before-headers" });
      const controller = new AbortController();
      const failed = errorOf(client.responses.create(hello(name), { signal: controller.signal }));
      await until(() => home.upstreams[name].requests.length === 1, "the upstream was asked");
      const abortedAt = Date.now();
      controller.abort();
      expect(await failed).toBeInstanceOf(OpenAI.APIUserAbortError);
      expect(await closedAfter(home.upstreams[name], abortedAt)).toBeLessThan(100);
    });
  });

  test("a conversation with calls and thinking, begun at one upstream, goes on at every other and comes back", async () => {
    const input: Json[] = [{ role: "user", content: "Weather?" }];
    const order = ["mistral", "openai", "gemini", "anthropic", "openai", "llama", "gemini", "mistral"] as const;
    for (const name of order)
      home.upstreams[name].always((request) =>
        JSON.stringify(request.body).includes(`asked of ${name}`)
          ? { thinking: `Hm, ${name}.`, text: `Sun, says ${name}.` }
          : { thinking: `Hm, ${name}.`, toolCalls: [{ name: "get_weather", arguments: { city: name } }] },
      );
    for (const [turn, name] of order.entries()) {
      const ask = () => client.responses.create(hello(name, { input, tools: [weather], ...thinks(name) }));
      if (!order.slice(0, turn).includes(name)) {
        const first = await ask();
        const [call] = callsOf(first);
        expect(JSON.parse(call?.arguments ?? "")).toEqual({ city: name });
        const output = `asked of ${name}`;
        input.push(...first.output, { type: "function_call_output", call_id: call?.call_id, output });
      }
      const answer = await ask();
      expect(answer.output_text).toBe(`Sun, says ${name}.`);
      input.push(...answer.output, { role: "user", content: "And then?" });
    }
    // Each gets back what it thought itself.
    expect(seenBy(home.upstreams.openai).thinking.length).toBeGreaterThanOrEqual(2);
    expect(seenBy(home.upstreams.mistral).thinking.length).toBeGreaterThanOrEqual(2);
    expect(seenBy(home.upstreams.gemini).thinking.length).toBeGreaterThanOrEqual(2);
  });

  const elsewhere = UPSTREAMS.filter((name) => name !== "openai");

  test.each(elsewhere)("what OpenAI stores is not to be had of %s", async (name) => {
    const error = await errorOf(client.responses.create(hello(name, { previous_response_id: "resp_1" })));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error.param).toBe("previous_response_id");
    expect(home.upstreams[name].requests).toHaveLength(0);
  });

  test("what OpenAI stores is asked for at OpenAI", async () => {
    const first = await client.responses.create(hello("openai", { store: true }));
    home.upstreams.openai.next({ text: "Again." });
    const second = await client.responses.create(hello("openai", { previous_response_id: first.id, input: "again" }));
    expect(second.output_text).toBe("Again.");
    expect(sentTo(home.upstreams.openai)).toMatchObject({ previous_response_id: first.id, input: "again" });
  });

  test.each(["mistral", "anthropic", "gemini"] as const)("a custom tool is called and answered at %s", async (name) => {
    const sql = 'UPDATE t SET a = "é\n😀" -- done';
    home.upstreams[name].next(
      { toolCalls: [{ name: "sql", arguments: { input: sql } }] },
      { toolCalls: [{ name: "sql", arguments: { input: sql } }] },
      { text: "Three." },
    );
    const tools = [{ type: "custom" as const, name: "sql", description: "Runs SQL." }];
    const input: Json[] = [{ role: "user", content: "Count." }];
    const whole = await client.responses.create(hello(name, { tools, input }));
    const streamed = await client.responses.stream(hello(name, { tools, input })).finalResponse();
    for (const { output } of [whole, streamed])
      expect(output.find((item) => item.type === "custom_tool_call")).toMatchObject({ name: "sql", input: sql });
    const call = whole.output.find((item) => item.type === "custom_tool_call");
    input.push(...whole.output, { type: "custom_tool_call_output", call_id: call?.call_id, output: "3" });
    const answer = await client.responses.create(hello(name, { tools, input }));
    expect(answer.output_text).toBe("Three.");
    expect(seenBy(home.upstreams[name])).toMatchObject({
      calls: [{ name: "sql", input: { input: sql } }],
      results: ["3"],
    });
  });

  test.each(["mistral", "anthropic", "gemini"] as const)(
    "a malformed request is a BadRequestError that names the field, before it reaches %s",
    async (name) => {
      const input = [{ role: "user", content: [{ type: "input_text" }] }];
      const error = await errorOf(client.responses.create(hello(name, { input })));
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error).toMatchObject({ type: "invalid_request_error", param: "input.0.content.0.text" });
      expect(home.upstreams[name].requests).toHaveLength(0);
    },
  );

  test("an unknown model is a NotFoundError", async () => {
    const error = await errorOf(client.responses.create(hello("mistral", { model: "gpt-nobody" })));
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error).toMatchObject({ code: "model_not_found", param: "model" });
  });

  test("a wrong key for the gateway is an AuthenticationError", async () => {
    const guarded = await home.another({ auth: { keys: [{ id: "web", key: "tp-right-key-1" }] } });
    const error = await errorOf(sdk(guarded.url).responses.create(hello("gemini")));
    expect(error).toBeInstanceOf(AuthenticationError);
    await sdk(guarded.url, { apiKey: "tp-right-key-1" }).responses.create(hello("gemini"));
    expect(home.upstreams.gemini.requests).toHaveLength(1);
    expect(JSON.stringify(home.upstreams.gemini.requests[0]?.headers)).not.toContain("tp-right-key-1");
  });

  test("a spent budget is a 402 that the SDK does not retry", async () => {
    const capped = await home.another({ limits: [{ name: "tiny", requests: 1, per: "day" }] });
    const patient = sdk(capped.url, { maxRetries: 3 });
    await patient.responses.create(hello("openai"));
    const error = await errorOf(patient.responses.create(hello("openai")));
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ status: 402, code: "budget_exceeded" });
    expect(capped.log.requests()).toHaveLength(2);
    expect(home.upstreams.openai.requests).toHaveLength(1);
  });

  test("a budget's bound is put into a pass-through", async () => {
    const capped = await home.another({ limits: [{ name: "small", tokens: 3_000, per: "day" }] });
    home.upstreams.openai.next({ text: "word ".repeat(20_000) });
    const response = await sdk(capped.url).responses.create(hello("openai", { max_output_tokens: undefined }));
    expect(response.status).toBe("incomplete");
    expect(sentTo(home.upstreams.openai).max_output_tokens).toBeLessThan(3_000);
  });
});
