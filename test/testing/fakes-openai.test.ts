import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Fake, fakeOpenAI, validateOpenAI } from "../../src/testing/fakes/index.ts";
import { eventsIn, type Json, post } from "./support.ts";

const PATH = "/v1/chat/completions";
const user = { role: "user", content: "hi" };
const base = { model: "gpt-4.1", messages: [user] };
const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }];
const call = (id: string) => ({ id, type: "function", function: { name: "f", arguments: "{}" } });
const calls = (...ids: string[]) => ({ role: "assistant", content: null, tool_calls: ids.map(call) });
const result = (tool_call_id: string, content: unknown = "ok") => ({ role: "tool", tool_call_id, content });
const image = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };

let fake: Fake;
beforeAll(async () => {
  fake = await fakeOpenAI({ apiKey: "test-key" });
});
beforeEach(() => fake.reset());
afterAll(() => fake.close());

const send = (body: unknown) => post(fake, PATH, body);

describe("refusals", () => {
  it("refuses a wrong key and a missing one", async () => {
    const wrong = await post(fake, PATH, base, { authorization: "Bearer sk-wrong" });
    expect([wrong.status, await wrong.json()]).toMatchObject([401, { error: { code: "invalid_api_key" } }]);
    const none = await fetch(fake.url + PATH, { method: "POST", body: JSON.stringify(base) });
    expect(none.status).toBe(401);
  });

  it("words an unknown argument like the API", async () => {
    const response = await send({ ...base, top_k: 5 });
    expect([response.status, await response.json()]).toEqual([
      400,
      {
        error: {
          message: "Unrecognized request argument supplied: top_k",
          type: "invalid_request_error",
          param: null,
          code: null,
        },
      },
    ]);
  });

  it("does not know models of others", async () => {
    const response = await send({ ...base, model: "claude-opus-5" });
    expect([response.status, await response.json()]).toMatchObject([404, { error: { code: "model_not_found" } }]);
  });

  const refused = (change: object) => validateOpenAI({ ...base, ...change }) as Json;
  const bad: [what: string, change: object, param: string | null, code: string | null][] = [
    ["max_tokens on gpt-5", { model: "gpt-5", max_tokens: 5 }, "max_tokens", "unsupported_parameter"],
    ["max_tokens on o3", { model: "o3", max_tokens: 5 }, "max_tokens", "unsupported_parameter"],
    ["temperature on gpt-5", { model: "gpt-5", temperature: 0.2 }, "temperature", "unsupported_value"],
    ["top_p on gpt-6-astra", { model: "gpt-6-astra", top_p: 0.2 }, "top_p", "unsupported_parameter"],
    [
      "temperature beside effort on gpt-5.1",
      { model: "gpt-5.1", temperature: 0, reasoning_effort: "low" },
      "temperature",
      "unsupported_value",
    ],
    ["stop on o4-mini", { model: "o4-mini", stop: "x" }, "stop", "unsupported_parameter"],
    [
      "tools with reasoning on gpt-5.6",
      { model: "gpt-5.6", tools, reasoning_effort: "low" },
      "reasoning_effort",
      "unsupported_value",
    ],
    ["five stop sequences", { stop: ["a", "b", "c", "d", "e"] }, "stop", "array_above_max_length"],
    ["temperature above 2", { temperature: 2.1 }, "temperature", "decimal_above_max_value"],
    ["no tools in the list", { tools: [] }, "tools", "empty_array"],
    ["tool_choice without tools", { tool_choice: "auto" }, "tool_choice", null],
    ["parallel_tool_calls without tools", { parallel_tool_calls: false }, "parallel_tool_calls", null],
    ["stream_options without stream", { stream_options: { include_usage: true } }, "stream_options", null],
    ["tool_choice any", { tools, tool_choice: "any" }, "tool_choice", "invalid_value"],
    ["no messages", { messages: undefined }, "messages", "missing_required_parameter"],
    ["a textual max_tokens", { max_tokens: "5" }, "max_tokens", "invalid_type"],
    [
      "reasoning_content in a message",
      { messages: [user, { role: "assistant", content: "a", reasoning_content: "b" }, user] },
      "messages[1].reasoning_content",
      "unknown_parameter",
    ],
    [
      "an image in a tool message",
      { messages: [user, calls("a"), result("a", [image])] },
      "messages[2]",
      "invalid_value",
    ],
    [
      "audio without an audio model",
      { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "AA", format: "mp3" } }] }] },
      "messages[0]",
      "invalid_value",
    ],
    ["an unanswered call", { messages: [user, calls("a", "b"), result("a"), user] }, "messages.[3].role", null],
    ["an unanswered call at the end", { messages: [user, calls("a")] }, "messages.[2].role", null],
    ["a tool message without a call", { messages: [user, result("a")] }, "messages.[1].role", null],
    [
      "a tool message with an unknown id",
      { messages: [user, calls("a"), result("b")] },
      "messages.[2].tool_call_id",
      null,
    ],
  ];
  it.each(bad)("refuses %s", (_what, change, param, code) => {
    expect(refused(change)).toMatchObject({
      status: 400,
      body: { error: { type: "invalid_request_error", param, code, message: expect.any(String) } },
    });
  });

  it("names the calls that were not answered", () => {
    const { message } = refused({ messages: [user, calls("a", "b"), user] }).body.error;
    expect(message).toMatch(/^An assistant message with 'tool_calls' must be followed by tool messages .*: a, b$/);
  });

  const efforts: [model: string, accepted: string[]][] = [
    ["gpt-4.1", []],
    ["o3", ["low", "medium", "high"]],
    ["gpt-5-mini", ["minimal", "low", "medium", "high"]],
    ["gpt-5.1", ["none", "low", "medium", "high"]],
    ["gpt-5.4", ["none", "low", "medium", "high", "xhigh"]],
    ["gpt-5.6", ["none", "low", "medium", "high", "xhigh", "max"]],
    ["gpt-6-sol", ["none", "low", "medium", "high", "xhigh", "max"]],
    ["gpt-6.1-sol", ["low", "medium", "high", "xhigh", "max"]],
  ];
  it.each(efforts)("%s takes reasoning_effort %o", (model, accepted) => {
    const values = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
    expect(values.filter((reasoning_effort) => !refused({ model, reasoning_effort }))).toEqual(accepted);
  });

  const good: [what: string, change: object][] = [
    ["max_tokens on gpt-4.1", { max_tokens: 5 }],
    ["max_completion_tokens on gpt-5", { model: "gpt-5", max_completion_tokens: 5 }],
    ["temperature without effort on gpt-5.1", { model: "gpt-5.1", temperature: 0 }],
    ["temperature 1 on gpt-5", { model: "gpt-5", temperature: 1 }],
    ["four stop sequences", { stop: ["a", "b", "c", "d"] }],
    ["results in any order", { messages: [user, calls("a", "b"), result("b"), result("a"), user] }],
    ["a developer message", { messages: [{ role: "developer", content: "a" }, user] }],
    ["images from the user", { messages: [{ role: "user", content: [{ type: "text", text: "a" }, image] }] }],
    ["forced tools", { tools, tool_choice: { type: "function", function: { name: "f" } }, parallel_tool_calls: false }],
    [
      "a schema for the output",
      { response_format: { type: "json_schema", json_schema: { name: "a", strict: true, schema: {} } } },
    ],
  ];
  it.each(good)("takes %s", (_what, change) => {
    expect(refused(change)).toBeUndefined();
  });
});

describe("answers", () => {
  it("has the recorded shape", async () => {
    fake.next({ text: "Hello!", usage: { prompt: 9, completion: 12, cached: 4, reasoning: 8 } });
    expect(await (await send(base)).json()).toEqual({
      id: expect.stringMatching(/^chatcmpl-/),
      object: "chat.completion",
      created: expect.any(Number),
      model: "gpt-4.1",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Hello!", refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: {
        prompt_tokens: 9,
        completion_tokens: 12,
        total_tokens: 21,
        prompt_tokens_details: { cached_tokens: 4, audio_tokens: 0 },
        completion_tokens_details: {
          reasoning_tokens: 8,
          audio_tokens: 0,
          accepted_prediction_tokens: 0,
          rejected_prediction_tokens: 0,
        },
      },
      service_tier: "default",
      system_fingerprint: "fp_0000000000",
    });
  });

  it("streams usage null on every chunk and the truth on one last chunk without choices", async () => {
    fake.always({ text: "Hello there" });
    const body = { ...base, stream: true, stream_options: { include_usage: true } };
    const events = eventsIn(await (await send(body)).text());
    expect(events.slice(0, -1).map(({ data }) => [data.choices[0]?.delta, data.usage === null])).toEqual([
      [{ role: "assistant", content: "", refusal: null }, true],
      [{ content: "Hello" }, true],
      [{ content: " there" }, true],
      [{}, true],
      [undefined, false],
    ]);
    expect(events.at(-2)?.data).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
    const plain = eventsIn(await (await send({ ...base, stream: true })).text());
    expect(plain.slice(0, -1).some(({ data }) => "usage" in data)).toBe(false);
  });

  it("says errors mid-stream in its envelope", async () => {
    fake.next({ errorEvent: { message: "boom" } });
    const events = eventsIn(await (await send({ ...base, stream: true })).text());
    expect(events.at(-1)?.data).toEqual({ error: { message: "boom", type: "server_error", param: null, code: null } });
  });
});

describe("the official SDK", () => {
  const client = () => new OpenAI({ baseURL: fake.baseURL, apiKey: "test-key", maxRetries: 0 });

  it("assembles the stream, calls included", async () => {
    fake.next({ text: "Let me look.", toolCalls: [{ name: "f", arguments: { city: "Paris" } }] });
    const body = { ...base, tools, stream: true } as OpenAI.ChatCompletionCreateParamsStreaming;
    const done = await client().chat.completions.stream(body).finalChatCompletion();
    expect(done.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { content: "Let me look.", tool_calls: [{ function: { name: "f", arguments: '{"city":"Paris"}' } }] },
    });
  });

  it("raises its own error classes", async () => {
    fake.next({ status: 429 });
    const ask = (model: string) =>
      client().chat.completions.create({ model, messages: [{ role: "user", content: "hi" }] });
    await expect(ask("gpt-4.1")).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    await expect(ask("nobody")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });
});
