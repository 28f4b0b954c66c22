import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Fake, fakeMistral, validateMistral } from "../../src/testing/fakes/index.ts";
import { eventsIn, type Json, post } from "./support.ts";

const PATH = "/v1/chat/completions";
const user = { role: "user", content: "hi" };
const base = { model: "mistral-small-latest", messages: [user] };
const call = (id: string, name = "get_weather") => ({ id, function: { name, arguments: "{}" } });
const calls = (...ids: string[]) => ({ role: "assistant", content: "", tool_calls: ids.map((id) => call(id)) });
const result = (tool_call_id: string, content: unknown = "sunny") => ({ role: "tool", tool_call_id, content });
const tool = { type: "function", function: { name: "get_weather", parameters: { type: "object", properties: {} } } };
const image = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };

let fake: Fake;
beforeAll(async () => {
  fake = await fakeMistral({ apiKey: "test-key" });
});
beforeEach(() => fake.reset());
afterAll(() => fake.close());

const send = (body: unknown) => post(fake, PATH, body);

describe("the key", () => {
  it.each([{}, { authorization: "Bearer wrong" }, { authorization: "test-key" }])("refuses %o", async (headers) => {
    const response = await fetch(fake.url + PATH, { method: "POST", headers, body: JSON.stringify(base) });
    expect([response.status, await response.json()]).toEqual([401, { message: "Unauthorized" }]);
  });

  it("takes any key when none is configured", async () => {
    await using open = await fakeMistral();
    expect((await post(open, PATH, base)).status).toBe(200);
  });
});

describe("the schema (422)", () => {
  it("refuses an unknown field in the recorded form", async () => {
    const response = await send({ ...base, max_completion_tokens: 32000 });
    expect(response.status).toBe(422);
    expect(await response.json()).toEqual({
      object: "error",
      message: {
        detail: [
          {
            type: "extra_forbidden",
            loc: ["body", "max_completion_tokens"],
            msg: "Extra inputs are not permitted",
            input: 32000,
          },
        ],
      },
      type: "invalid_request_error",
      param: null,
      code: null,
    });
  });

  const text = { type: "text", text: "a" };
  const bad: [what: string, body: object, type: string, loc: (string | number)[]][] = [
    ["stream_options", { stream_options: { include_usage: true } }, "extra_forbidden", ["stream_options"]],
    [
      "a name on a user message",
      { messages: [{ ...user, name: "x" }] },
      "extra_forbidden",
      ["messages", 0, "user", "name"],
    ],
    [
      "reasoning_content",
      { messages: [user, { role: "assistant", content: "a", reasoning_content: "b" }, user] },
      "extra_forbidden",
      ["messages", 1, "assistant", "reasoning_content"],
    ],
    [
      "cache_control on a chunk",
      { messages: [{ role: "user", content: [{ ...text, cache_control: {} }] }] },
      "extra_forbidden",
      ["messages", 0, "user", "content", 0, "cache_control"],
    ],
    [
      "an unknown tool field",
      { tools: [{ ...tool, cache_control: {} }] },
      "extra_forbidden",
      ["tools", 0, "cache_control"],
    ],
    [
      "a tool without parameters",
      { tools: [{ type: "function", function: { name: "a" } }] },
      "missing",
      ["tools", 0, "function", "parameters"],
    ],
    ["role developer", { messages: [{ role: "developer", content: "a" }] }, "enum", ["messages", 0, "role"]],
    ["no content", { messages: [{ role: "user" }] }, "missing", ["messages", 0, "user", "content"]],
    ["temperature above 1.5", { temperature: 1.6 }, "less_than_equal", ["temperature"]],
    ["temperature below 0", { temperature: -0.1 }, "greater_than_equal", ["temperature"]],
    ["top_p 0", { top_p: 0 }, "greater_than", ["top_p"]],
    ["a negative random_seed", { random_seed: -1 }, "greater_than_equal", ["random_seed"]],
    ["a fractional max_tokens", { max_tokens: 1.5 }, "int_type", ["max_tokens"]],
    ["a negative max_tokens", { max_tokens: -1 }, "greater_than_equal", ["max_tokens"]],
    ["a textual stream", { stream: "yes" }, "bool_type", ["stream"]],
    ["parallel_tool_calls null", { parallel_tool_calls: null }, "bool_type", ["parallel_tool_calls"]],
    ["an unknown tool_choice", { tool_choice: "must" }, "enum", ["tool_choice"]],
    ["Anthropic's tool_choice", { tool_choice: { type: "any" } }, "literal_error", ["tool_choice", "type"]],
    ["reasoning_effort outside the enum", { reasoning_effort: "ultra" }, "enum", ["reasoning_effort"]],
    ["prompt_mode outside the enum", { prompt_mode: "fast" }, "literal_error", ["prompt_mode"]],
    ["stop [null]", { stop: [null] }, "string_type", ["stop", 0]],
  ];
  it.each(bad)("refuses %s", (_what, change, type, loc) => {
    const refusal: Json = validateMistral({ ...base, ...change });
    expect(refusal?.status).toBe(422);
    expect(refusal.body.message.detail[0]).toMatchObject({ type, loc: ["body", ...loc] });
  });

  it("names every unknown field at once", () => {
    const refusal: Json = validateMistral({ ...base, seed: 1, user: "u", store: true });
    expect(refusal.body.message.detail.map((d: Json) => d.loc[1])).toEqual(["seed", "user", "store"]);
  });

  it("refuses a body that is not JSON", async () => {
    expect((await send("{")).status).toBe(422);
  });

  it("takes everything the schema names", () => {
    const full = {
      ...base,
      temperature: 1.5,
      top_p: 1,
      max_tokens: 0,
      stream: false,
      stop: ["a"],
      random_seed: 0,
      metadata: { a: 1 },
      response_format: { type: "json_schema", json_schema: { name: "a", schema: {}, strict: true, description: "d" } },
      tools: [tool, { type: "web_search" }, { function: { name: "untyped", parameters: {} } }],
      tool_choice: { type: "function", function: { name: "get_weather" } },
      presence_penalty: 2,
      frequency_penalty: -2,
      n: 1,
      prediction: { type: "content", content: "x" },
      parallel_tool_calls: false,
      reasoning_effort: "high",
      prompt_mode: null,
      guardrails: null,
      prompt_cache_key: "k",
      service_tier: "auto",
      safe_prompt: false,
    };
    expect(validateMistral(full)).toBeUndefined();
    for (const tool_choice of ["auto", "none", "any", "required"])
      expect(validateMistral({ ...full, tool_choice })).toBeUndefined();
  });
});

describe("models (400)", () => {
  it.each(["devstral-2512", "gpt-4o", "mistral-huge"])("does not know %s", (model) => {
    expect(validateMistral({ ...base, model })).toMatchObject({
      status: 400,
      body: { type: "invalid_model", code: "1500" },
    });
  });

  const efforts: [model: string, accepted: string[]][] = [
    ["mistral-small-latest", ["none", "high"]],
    ["mistral-medium-3-5", ["none", "high"]],
    ["magistral-medium-latest", ["none", "high"]],
    ["zai-glm-5-2", ["none", "high"]],
    ["mistral-large-4", ["low", "medium", "high"]],
    ["zai-glm-5-3", ["low", "high", "max"]],
    ["mistral-large-latest", []],
    ["codestral-latest", []],
    ["ministral-8b-latest", []],
    ["devstral-small-latest", []],
  ];
  it.each(efforts)("%s takes reasoning_effort %o", (model, accepted) => {
    for (const reasoning_effort of ["none", "minimal", "low", "medium", "high", "xhigh", "max"]) {
      const refusal: Json = validateMistral({ ...base, model, reasoning_effort });
      expect(refusal?.status).toBe(accepted.includes(reasoning_effort) ? undefined : 400);
      for (const value of refusal ? accepted : []) expect(refusal.body.message).toContain(`'${value}'`);
    }
    expect(validateMistral({ ...base, model })).toBeUndefined();
  });

  it("takes prompt_mode only on the old magistral models", () => {
    const prompt_mode = "reasoning";
    expect(validateMistral({ ...base, prompt_mode })).toMatchObject({ status: 400, body: { code: "3051" } });
    expect(validateMistral({ ...base, prompt_mode, model: "magistral-medium-2509" })).toBeUndefined();
  });

  it("takes images only on models with vision", () => {
    const messages = [{ role: "user", content: [image] }];
    for (const model of ["mistral-small-latest", "mistral-medium-latest", "mistral-large-latest"])
      expect(validateMistral({ model, messages })).toBeUndefined();
    for (const model of ["codestral-latest", "devstral-small-latest", "ministral-8b-latest"])
      expect(validateMistral({ model, messages })).toMatchObject({ status: 400 });
  });
});

describe("messages (400)", () => {
  const A = "abcdefgh1";
  const B = "abcdefgh2";
  const order = "invalid_request_message_order";
  const bad: [what: string, messages: object[], message: string, type?: string][] = [
    ["no messages", [], "Conversation must have at least one message", order],
    [
      "an assistant first",
      [{ role: "assistant", content: "a" }, user],
      "Conversation must start with a user message or system message",
      order,
    ],
    [
      "an assistant last",
      [user, { role: "assistant", content: "a" }],
      "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
      order,
    ],
    [
      "a system message last",
      [user, { role: "system", content: "a" }],
      "Expected last role User or Tool (or Assistant with prefix True) for serving but got system",
      order,
    ],
    ["user after tool", [user, calls(A), result(A), user], "Unexpected role 'user' after role 'tool'", order],
    [
      "system after assistant",
      [user, { role: "assistant", content: "a" }, { role: "system", content: "a" }, user],
      "Unexpected role 'system' after role 'assistant'",
      order,
    ],
    ["tool after user", [user, result(A)], "Unexpected role 'tool' after role 'user'", order],
    ["too few results", [user, calls(A, B), result(A)], "Not the same number of function calls and responses", order],
    [
      "too few results before the next assistant",
      [user, calls(A, B), result(A), { role: "assistant", content: "a" }, user],
      "Not the same number of function calls and responses",
      order,
    ],
    [
      "too many results",
      [user, calls(A), result(A), result(B)],
      "Not the same number of function calls and responses",
      order,
    ],
    ["an unknown result id", [user, calls(A), result(B)], `Unexpected tool call id ${B} in tool results`, order],
    [
      "the same result twice",
      [user, calls(A, B), result(A), result(A)],
      `Unexpected tool call id ${A} in tool results`,
      order,
    ],
    [
      "the same call id twice",
      [user, calls(A, A), result(A), result(A)],
      "Duplicate tool call id in assistant message",
      order,
    ],
    [
      "an Anthropic call id",
      [user, calls("toolu_01VpEm654HvfMoRcrE3Hgdc6"), result(A)],
      "Tool call id was toolu_01VpEm654HvfMoRcrE3Hgdc6 but must be a-z, A-Z, 0-9, with a length of 9.",
      "invalid_function_call",
    ],
    [
      "an OpenAI id on a result",
      [user, calls(A), result("call_1")],
      "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
      "invalid_function_call",
    ],
    [
      "a function name with a dot",
      [user, { role: "assistant", tool_calls: [call(A, "a.b")] }, result(A)],
      "Function name was a.b but must be",
      "invalid_function_call",
    ],
    [
      "an empty assistant",
      [user, { role: "assistant", content: "" }, user],
      "Assistant message must have either content or tool_calls, but not none.",
    ],
    [
      "an assistant with nothing",
      [user, { role: "assistant" }, user],
      "Assistant message must have either content or tool_calls, but not none.",
    ],
    [
      "a prefix in the middle",
      [user, { role: "assistant", content: "a", prefix: true }, user],
      "Assistant message with prefix True must be last message",
    ],
  ];
  it.each(bad)("refuses %s", (_what, messages, message, type = "invalid_request_error") => {
    const refusal: Json = validateMistral({ ...base, messages });
    expect(refusal).toMatchObject({ status: 400, body: { object: "error", type, raw_status_code: 400 } });
    expect(refusal.body.message).toContain(message);
    if (type === order) expect(refusal.body.code).toBe("3230");
    if (type === "invalid_function_call") expect(refusal.body.code).toBe("3280");
  });

  const good: [what: string, messages: object[]][] = [
    [
      "system first and in the middle",
      [{ role: "system", content: "a" }, user, { role: "system", content: "b" }, user],
    ],
    ["a prefix at the end", [user, { role: "assistant", content: "Sure", prefix: true }]],
    ["results in any order", [user, calls(A, B), result(B), result(A)]],
    [
      "the recorded bridge between tool and user",
      [user, calls(A), result(A), { role: "assistant", content: "OK" }, user],
    ],
    ["content [] beside calls, as recorded", [user, { ...calls(A), content: [] }, result(A)]],
    ["text beside calls", [user, { ...calls(A), content: "Let me look." }, result(A)]],
    ["an image as a tool result", [user, calls(A), result(A, [image])]],
    [
      "replayed thinking",
      [
        user,
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: [{ type: "text", text: "t" }], closed: true },
            { type: "text", text: "a" },
          ],
        },
        user,
      ],
    ],
    ["the same id in two turns", [user, calls(A), result(A), calls(A), result(A)]],
  ];
  it.each(good)("takes %s", (_what, messages) => {
    expect(validateMistral({ ...base, messages })).toBeUndefined();
  });
});

describe("answers", () => {
  it("has the recorded shape", async () => {
    fake.next({ text: "Hello!" });
    expect(await (await send(base)).json()).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      created: expect.any(Number),
      model: "mistral-small-latest",
      usage: { prompt_tokens: 8, total_tokens: 10, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 0 } },
      object: "chat.completion",
      choices: [
        { index: 0, finish_reason: "stop", message: { role: "assistant", tool_calls: null, content: "Hello!" } },
      ],
    });
  });

  it("gives tool calls ids of nine characters, unique over the conversation and repeatable", async () => {
    const script = {
      toolCalls: [
        { name: "a", arguments: { x: 1 } },
        { name: "b", arguments: {} },
      ],
    };
    const ids = async () => {
      fake.reset();
      fake.always(script);
      const bodies: Json[] = [await (await send(base)).json(), await (await send(base)).json()];
      expect(bodies[0].choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { content: "" } });
      expect(bodies[0].choices[0].message.tool_calls[0]).toMatchObject({
        function: { name: "a", arguments: '{"x":1}' },
        index: 0,
      });
      return bodies.flatMap((body) => body.choices[0].message.tool_calls.map((c: Json) => c.id));
    };
    const first = await ids();
    expect(new Set(first).size).toBe(4);
    for (const id of first) expect(id).toMatch(/^[a-zA-Z0-9]{9}$/);
    expect(await ids()).toEqual(first);
  });

  it("thinks only where the request or the model asks for it", async () => {
    const content = async (change: object) => {
      fake.next({ thinking: "2+2 is 4", text: "4" });
      const body: Json = await (await send({ ...base, ...change })).json();
      return body.choices[0].message.content;
    };
    const list = [
      { type: "thinking", thinking: [{ type: "text", text: "2+2 is 4" }], closed: true },
      { type: "text", text: "4" },
    ];
    expect(await content({})).toBe("4");
    expect(await content({ reasoning_effort: "none" })).toBe("4");
    expect(await content({ reasoning_effort: "high" })).toEqual(list);
    expect(await content({ model: "zai-glm-5-3" })).toEqual(list);
    expect(await content({ model: "mistral-large-latest" })).toBe("4");
  });

  it("streams role, text and a last chunk with finish and usage", async () => {
    fake.next({ text: "Hello there" });
    const events = eventsIn(await (await send({ ...base, stream: true })).text());
    expect(events.map(({ data }) => data.choices?.[0] ?? data)).toEqual([
      { index: 0, delta: { role: "assistant", content: "" }, finish_reason: null },
      { index: 0, delta: { content: "Hello" }, finish_reason: null },
      { index: 0, delta: { content: " there" }, finish_reason: null },
      { index: 0, delta: { content: "" }, finish_reason: "stop" },
      "[DONE]",
    ]);
    expect(events.map(({ data }) => data.usage !== undefined)).toEqual([false, false, false, true, false]);
    expect(new Set(events.slice(0, -1).map(({ data }) => data.id)).size).toBe(1);
  });

  it("streams thinking as lists, then one list with the last thinking and the first text, then strings", async () => {
    fake.next({ thinking: "Okay then", text: "Hello there" });
    const events = eventsIn(await (await send({ ...base, stream: true, reasoning_effort: "high" })).text());
    const thought = (text: string) => ({ type: "thinking", thinking: [{ type: "text", text }] });
    expect(events.map(({ data }) => data.choices?.[0].delta.content)).toEqual([
      "",
      [thought("Okay")],
      [thought(" then"), { type: "text", text: "Hello" }],
      " there",
      "",
      undefined,
    ]);
  });

  it("streams all tool calls complete in the chunk that has the finish reason", async () => {
    fake.next({ toolCalls: [{ id: "123456789", name: "a", arguments: { x: [1] } }] });
    const events = eventsIn(await (await send({ ...base, stream: true })).text());
    expect(events.at(-2)?.data.choices[0]).toEqual({
      index: 0,
      delta: {
        content: "",
        tool_calls: [{ id: "123456789", function: { name: "a", arguments: '{"x":[1]}' }, index: 0 }],
      },
      finish_reason: "tool_calls",
    });
  });

  it("lists models with their capabilities", async () => {
    const response = await fetch(`${fake.url}/v1/models`, { headers: { authorization: "Bearer test-key" } });
    const { data }: Json = await response.json();
    const card = (id: string) => data.find((model: Json) => model.id === id).capabilities;
    expect(card("mistral-medium-latest")).toMatchObject({ reasoning: true, vision: true, function_calling: true });
    expect(card("codestral-latest")).toMatchObject({ reasoning: false, vision: false });
    for (const { id } of data) expect(validateMistral({ ...base, model: id })).toBeUndefined();
  });
});
