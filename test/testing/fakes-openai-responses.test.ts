import fc from "fast-check";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Fake, fakeOpenAI, validateOpenAIResponses } from "../../src/testing/fakes/index.ts";
import { eventsIn, type Json, post } from "./support.ts";

const PATH = "/v1/responses";
const user = { role: "user", content: "hi" };
const base = { model: "gpt-5", input: [user] };
const schema = (change: object = {}) => ({
  type: "object",
  properties: { a: { type: "string" } },
  required: ["a"],
  additionalProperties: false,
  ...change,
});
const tool = (change: object = {}) => ({ type: "function", name: "f", strict: true, parameters: schema(), ...change });
const call = (call_id: string, change: object = {}) => ({
  type: "function_call",
  call_id,
  name: "f",
  arguments: "{}",
  ...change,
});
const output = (call_id: string, value: unknown = "ok") => ({ type: "function_call_output", call_id, output: value });
const reasoning = (change: object = {}) => ({ type: "reasoning", id: "rs_1", summary: [], ...change });
const parts = (...content: object[]) => ({ input: [{ role: "user", content }] });
const file = (file_data: string) => ({ type: "input_file", filename: "a", file_data });
const PNG = "data:image/png;base64,AAAA";

type JsonResponse = Omit<Response, "json"> & { json(): Promise<Json> };

let fake: Fake;
let client: OpenAI;
beforeAll(async () => {
  fake = await fakeOpenAI({ apiKey: "test-key" });
  client = new OpenAI({ baseURL: fake.baseURL, apiKey: "test-key", maxRetries: 0 });
});
beforeEach(() => fake.reset());
afterAll(() => fake.close());

const send = (body: unknown, path = PATH) => post(fake, path, body) as Promise<JsonResponse>;
const refused = (change: object, foreign = false) =>
  validateOpenAIResponses({ ...base, ...change }, { foreign }) as Json;

describe("refusals", () => {
  const bad: [what: string, change: object, param: string | null, code: string | null][] = [
    ["an unknown field", { top_k: 1 }, "top_k", "unknown_parameter"],
    ["an unknown field further in", { text: { foo: 1 } }, "text.foo", "unknown_parameter"],
    ["stop", { stop: ["a"] }, "stop", "unknown_parameter"],
    ["n", { n: 2 }, "n", "unknown_parameter"],
    ["seed", { seed: 2 }, "seed", "unknown_parameter"],
    ["penalties", { presence_penalty: 1 }, "presence_penalty", "unknown_parameter"],
    ["messages", { messages: [user] }, "messages", "unknown_parameter"],
    [
      "stream_options of Chat",
      { stream: true, stream_options: { include_usage: true } },
      "stream_options.include_usage",
      "unknown_parameter",
    ],
    ["stream_options without stream", { stream_options: {} }, "stream_options", null],
    ["no input", { input: undefined }, "input", "missing_required_parameter"],
    ["15 output tokens", { max_output_tokens: 15 }, "max_output_tokens", "integer_below_min_value"],
    [
      "a negative temperature, before it looks at the model",
      { temperature: -1 },
      "temperature",
      "decimal_below_min_value",
    ],
    ["temperature on gpt-5, be it the default", { temperature: 1 }, "temperature", null],
    ["temperature on gpt-5.5, which thinks by itself", { model: "gpt-5.5", temperature: 0.5 }, "temperature", null],
    ["top_p beside an effort", { model: "gpt-5.1", reasoning: { effort: "low" }, top_p: 0.5 }, "top_p", null],
    [
      "an effort on gpt-4.1",
      { model: "gpt-4.1", reasoning: { effort: "low" } },
      "reasoning.effort",
      "unsupported_parameter",
    ],
    ["effort xhigh on gpt-5", { reasoning: { effort: "xhigh" } }, "reasoning.effort", "unsupported_value"],
    ["encrypted reasoning of gpt-4o", { model: "gpt-4o", include: ["reasoning.encrypted_content"] }, "include", null],
    ["verbosity on gpt-4.1", { model: "gpt-4.1", text: { verbosity: "low" } }, "text.verbosity", "unsupported_value"],
    ["a model it does not know", { model: "gpt-5.2-proo" }, "model", "model_not_found"],
    [
      "the nested tools of Chat",
      { tools: [{ type: "function", function: { name: "f" } }] },
      "tools[0].name",
      "missing_required_parameter",
    ],
    [
      "the nested choice of Chat",
      { tools: [tool()], tool_choice: { type: "function", function: { name: "f" } } },
      "tool_choice.name",
      "missing_required_parameter",
    ],
    [
      "the choice of a tool that is not there",
      { tools: [tool()], tool_choice: { type: "function", name: "g" } },
      "tool_choice",
      null,
    ],
    [
      "allowed tools that are not there",
      {
        tools: [tool()],
        tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "g" }] },
      },
      "tool_choice",
      null,
    ],
    ["a forced call without tools", { tool_choice: "required" }, "tool_choice", null],
    ["the parts of Chat", parts({ type: "text", text: "a" }), "input[0].content[0].type", "invalid_value"],
    [
      "the images of Chat",
      parts({ type: "input_image", image_url: { url: PNG } }),
      "input[0].content[0].image_url",
      "invalid_type",
    ],
    [
      "an image of a type it does not read",
      parts({ type: "input_image", image_url: "data:image/bmp;base64,AA" }),
      "input[0].content[0].image_url",
      "invalid_value",
    ],
    ["an image without data", parts({ type: "input_image" }), "input[0].content[0]", "invalid_value"],
    ["sound as a file", parts(file("data:audio/mpeg;base64,AAAA")), "input[0].content[0].file_data", "invalid_value"],
    ["bare Base64 as a file", parts(file("AAAA")), "input[0].content[0].file_data", "invalid_value"],
    [
      "the address of a sound",
      parts({ type: "input_file", file_url: "https://a.example/b.mp3" }),
      "input",
      "unsupported_file",
    ],
    [
      "a file both by address and by data",
      parts({ ...file(PNG), file_url: "https://a.example/b" }),
      "input[0].content[0]",
      "invalid_value",
    ],
    [
      "what a user says from the assistant",
      { input: [{ role: "assistant", content: [{ type: "input_text", text: "a" }] }] },
      "input[0].content[0].type",
      "invalid_value",
    ],
    ["the role tool", { input: [{ role: "tool", content: "a" }] }, "input[0].role", "invalid_value"],
    ["arguments that are no text", { input: [call("c", { arguments: {} })] }, "input[0].arguments", "invalid_type"],
    ["a call id of 65 characters", { input: [call("c".repeat(65))] }, "input[0].call_id", "string_above_max_length"],
    [
      "the id of a call for an item",
      { input: [call("c", { id: "call_1" }), output("c")] },
      "input[0].id",
      "invalid_value",
    ],
    [
      "an id with odd characters",
      { input: [call("c", { id: "fc_1|2" }), output("c")] },
      "input[0].id",
      "invalid_value",
    ],
    [
      "the same id twice",
      { input: [call("c", { id: "fc_1" }), output("c"), call("d", { id: "fc_1" }), output("d")] },
      "input",
      null,
    ],
    ["a call without output", { input: [user, call("c"), user] }, "input", null],
    ["an output without call", { input: [user, output("c")] }, "input", null],
    ["an output before its call", { input: [output("c"), call("c")] }, "input", null],
    [
      "reasoning text back",
      { input: [reasoning({ content: [{ type: "reasoning_text", text: "a" }] }), call("c"), output("c")] },
      "input[0].content",
      "array_above_max_length",
    ],
    ["JSON without the word", { text: { format: { type: "json_object" } } }, "input", null],
    [
      "a response it does not have",
      { previous_response_id: "resp_1" },
      "previous_response_id",
      "previous_response_not_found",
    ],
  ];
  it.each(bad)("refuses %s", (_what, change, param, code) => {
    expect(refused(change)).toMatchObject({
      status: 400,
      body: { error: { type: "invalid_request_error", param, code, message: expect.any(String) } },
    });
  });

  const wrongSchemas: [what: string, change: object, message: string][] = [
    [
      "an optional property",
      { required: [] },
      "In context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing 'a'.",
    ],
    [
      "a required property that is not there",
      { required: ["a", "b"] },
      "In context=(), 'required' is required to be supplied and to be an array including every key in properties. Extra required key 'b' supplied.",
    ],
    [
      "an open object",
      { additionalProperties: undefined },
      "In context=(), 'additionalProperties' is required to be supplied and to be false.",
    ],
    [
      "an open object further in",
      { properties: { a: { type: "object", properties: {} } } },
      "In context=('properties', 'a'), 'additionalProperties' is required to be supplied and to be false.",
    ],
    [
      "allOf",
      { properties: { a: { allOf: [{ type: "string" }] } } },
      "In context=('properties', 'a'), 'allOf' is not permitted.",
    ],
    [
      "oneOf in a list",
      { properties: { a: { type: "array", items: { oneOf: [] } } } },
      "In context=('properties', 'a', 'items'), 'oneOf' is not permitted.",
    ],
    [
      "something beside $ref",
      { properties: { a: { $ref: "#/$defs/a", title: "b" } } },
      "In context=('properties', 'a'), $ref cannot have keywords {'title'}.",
    ],
    [
      "no type",
      { properties: { a: { description: "b" } } },
      "In context=('properties', 'a'), schema must have a 'type' key.",
    ],
    [
      "a list of anything",
      { properties: { a: { type: "array" } } },
      "In context=('properties', 'a'), array schema missing items.",
    ],
    ["no object", { type: "string" }, `schema must be a JSON Schema of 'type: "object"', got 'type: "string"'.`],
  ];
  it.each(wrongSchemas)("refuses a strict schema with %s, of tools and of the output", (_what, change, fault) => {
    const parameters = schema(change);
    expect(refused({ tools: [tool({ parameters })] }).body.error).toMatchObject({
      message: `Invalid schema for function 'f': ${fault}`,
      param: "tools[0].parameters",
      code: "invalid_function_parameters",
    });
    const format = { type: "json_schema", name: "n", strict: true, schema: parameters };
    expect(refused({ text: { format } }).body.error).toMatchObject({
      message: `Invalid schema for response_format 'n': ${fault}`,
      param: "text.format.schema",
      code: "invalid_json_schema",
    });
  });

  const good: [what: string, change: object][] = [
    ["a text", { input: "hi" }],
    ["temperature with effort none", { model: "gpt-5.6-sol", reasoning: { effort: "none" }, temperature: 0.5 }],
    ["temperature on gpt-4.1", { model: "gpt-4.1", temperature: 0.5 }],
    ["tools beside reasoning on gpt-5.6", { model: "gpt-5.6", reasoning: { effort: "max" }, tools: [tool()] }],
    [
      "an open schema that is not strict",
      { tools: [tool({ strict: false, parameters: { type: "object", properties: { a: {} } } })] },
    ],
    [
      "a default in a strict schema",
      { tools: [tool({ parameters: schema({ properties: { a: { type: "string", default: "b" } } }) })] },
    ],
    [
      "tools of its own",
      { tools: [{ type: "web_search", search_context_size: "low" }], tool_choice: { type: "web_search" } },
    ],
    ["a custom tool", { tools: [{ type: "custom", name: "c" }], tool_choice: { type: "custom", name: "c" } }],
    [
      "what a model said",
      {
        input: [
          { role: "assistant", content: "a" },
          { role: "assistant", content: [{ type: "output_text", text: "a" }] },
          user,
        ],
      },
    ],
    [
      "an image and a file",
      parts(
        { type: "input_text", text: "a" },
        { type: "input_image", image_url: PNG, detail: "low" },
        file("data:application/pdf;base64,AAAA"),
      ),
    ],
    ["an image in an output", { input: [call("c"), output("c", [{ type: "input_image", image_url: PNG }])] }],
    ["outputs in any order", { input: [call("a"), call("b"), output("b"), output("a")] }],
    [
      "nulls where nothing is meant",
      { previous_response_id: null, instructions: null, tools: null, reasoning: null, store: null },
    ],
  ];
  it.each(good)("takes %s", (_what, change) => {
    expect(refused(change)).toBeUndefined();
  });

  it("wants reasoning directly before what it led to, by its id where it stores", () => {
    const rs = reasoning({ encrypted_content: "gAAAA" });
    const following = (...items: object[]) => refused({ input: [user, rs, ...items] }, true)?.body.error.message;
    const alone = "Item 'rs_1' of type 'reasoning' was provided without its required following item.";
    expect(following(user)).toBe(alone);
    expect(following()).toBe(alone);
    expect(following({ role: "assistant", content: "a" }, user)).toBe(alone);
    expect(following(call("c", { id: "fc_1" }), output("c"))).toBeUndefined();
    const stateless = { store: false, input: [user, rs, { role: "assistant", content: "a" }, user] };
    expect(refused(stateless, true)).toBeUndefined();
  });
});

describe("what it remembers", () => {
  const include = ["reasoning.encrypted_content"];
  const thinking = { thinking: "Hm.", toolCalls: [{ name: "f", arguments: { a: "b" } }] };
  const ask = async (change: object): Promise<Json> => (await send({ ...base, tools: [tool()], ...change })).json();

  it("takes its own encrypted reasoning back, and no other", async () => {
    fake.next(thinking);
    const { output: items } = await ask({ store: false, include });
    const [rs, fc] = items;
    const again = async (item: object) =>
      (await ask({ store: false, input: [user, item, fc, output(fc.call_id)] })).error;
    expect(await again(rs)).toBeNull();
    expect(await again({ ...rs, id: "rs_2" })).toMatchObject({ code: "invalid_encrypted_content" });
    await assertTampered(rs.encrypted_content, async (encrypted_content) => {
      expect(await again({ ...rs, encrypted_content })).toMatchObject({
        code: "invalid_encrypted_content",
        message: expect.stringMatching(/^The encrypted content for item rs_\w+ could not be verified\./),
      });
    });
  });

  it("does not find reasoning that it neither stored nor got encrypted", async () => {
    fake.next(thinking);
    const { output: items } = await ask({ store: false });
    const response = await send({ ...base, store: false, input: [...items, output(items[1].call_id)] });
    expect([response.status, (await response.json()).error.message]).toEqual([
      404,
      expect.stringContaining("not found. Items are not persisted when `store` is set to false."),
    ]);
  });

  it("knows stored items by their id, and what belongs together", async () => {
    fake.next(thinking);
    const { output: items } = await ask({});
    const [rs, fc] = items;
    const reference = ({ id }: Json) => ({ type: "item_reference", id });
    const result = output(fc.call_id);
    const errorOf = async (...input: object[]) => (await ask({ input })).error?.message;
    expect(await errorOf(rs, fc, result)).toBeUndefined();
    expect(await errorOf(reference(rs), reference(fc), result)).toBeUndefined();
    expect(await errorOf(fc, result)).toBe(
      `Item '${fc.id}' of type 'function_call' was provided without its required 'reasoning' item: '${rs.id}'.`,
    );
    expect(await errorOf(rs, call("c", { id: "fc_2" }), output("c"))).toBe(
      `Item '${rs.id}' of type 'reasoning' was provided without its required following item.`,
    );
    expect(await errorOf({ type: "item_reference", id: "fc_1" }, result)).toBe("Item with id 'fc_1' not found.");
    fake.reset();
    expect(await errorOf(reference(rs), reference(fc), result)).toBe(`Item with id '${rs.id}' not found.`);
  });

  it("continues a stored response, calls included", async () => {
    fake.next(thinking);
    const { id, output: items } = await ask({});
    const next = (...input: object[]) => ask({ previous_response_id: id, input });
    expect((await next(user)).error.message).toBe(`No tool output found for function call ${items[1].call_id}.`);
    expect(await next(output(items[1].call_id))).toMatchObject({ status: "completed", previous_response_id: id });
  });
});

/** Calls `check` with the value changed in one character. */
async function assertTampered(value: string, check: (tampered: string) => Promise<void>): Promise<void> {
  const at = fc.integer({ min: 0, max: value.length - 3 });
  await fc.assert(
    fc.asyncProperty(at, async (i) => {
      await check(value.slice(0, i) + (value[i] === "A" ? "B" : "A") + value.slice(i + 1));
    }),
    { numRuns: 20 },
  );
}

describe("answers", () => {
  it("has the recorded shape", async () => {
    fake.next({ thinking: "Hm.", text: "Hello!", usage: { prompt: 9, completion: 12, cached: 4, reasoning: 8 } });
    const whole = await (await send({ ...base, reasoning: { effort: "low", summary: "auto" } })).json();
    expect(whole).toMatchObject({
      id: expect.stringMatching(/^resp_[0-9a-f]{50}$/),
      object: "response",
      status: "completed",
      error: null,
      incomplete_details: null,
      reasoning: { effort: "low", summary: "auto" },
      store: true,
      output: [
        { id: expect.stringMatching(/^rs_/), type: "reasoning", summary: [{ type: "summary_text", text: "Hm." }] },
        {
          id: expect.stringMatching(/^msg_/),
          type: "message",
          role: "assistant",
          status: "completed",
          content: [{ type: "output_text", text: "Hello!", annotations: [], logprobs: [] }],
        },
      ],
      usage: {
        input_tokens: 9,
        input_tokens_details: { cached_tokens: 4 },
        output_tokens: 12,
        output_tokens_details: { reasoning_tokens: 8 },
        total_tokens: 21,
      },
    });
    expect("encrypted_content" in whole.output[0]).toBe(false);
  });

  it("thinks in secret without `summary`, and not at all where it cannot", async () => {
    fake.always({ thinking: "Hm.", text: "Hello!" });
    const typesOf = async (change: object) => (await (await send({ ...base, ...change })).json()).output;
    expect(await typesOf({})).toMatchObject([{ type: "reasoning", summary: [] }, { type: "message" }]);
    expect(await typesOf({ model: "gpt-4.1" })).toMatchObject([{ type: "message" }]);
    expect(await typesOf({ model: "gpt-5.1" })).toMatchObject([{ type: "message" }]);
    expect(await typesOf({ model: "gpt-5.1", reasoning: { effort: "low" } })).toMatchObject([
      { type: "reasoning" },
      {},
    ]);
  });

  const ends: [finishReason: string, expected: object][] = [
    ["length", { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }],
    ["content_filter", { status: "incomplete", incomplete_details: { reason: "content_filter" } }],
    ["error", { status: "failed", error: { code: "server_error" } }],
    ["refusal", { status: "completed", output: [{ content: [{ type: "refusal", refusal: "No." }] }] }],
  ];
  it.each(ends)("can end with %s", async (finishReason, expected) => {
    fake.always({ text: "No.", finishReason });
    expect(await (await send(base)).json()).toMatchObject(expected);
    const last = eventsIn(await (await send({ ...base, stream: true })).text()).at(-1);
    expect(last?.event).toBe(`response.${(expected as { status: string }).status}`);
    expect(last?.data.response).toMatchObject(expected);
  });

  it("streams the events of the grammar, numbered, and no [DONE]", async () => {
    fake.next({ thinking: "Hm.", text: "Hi there", toolCalls: [{ name: "f", arguments: { a: "b" } }] });
    const body = { ...base, tools: [tool()], stream: true, reasoning: { summary: "auto" } };
    const events = eventsIn(await (await send(body)).text());
    expect(events.map(({ event }) => event)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.reasoning_summary_part.added",
      "response.reasoning_summary_text.delta",
      "response.reasoning_summary_text.done",
      "response.reasoning_summary_part.done",
      "response.output_item.done",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.output_item.added",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect(events.map(({ event, data }) => [event, data.sequence_number])).toEqual(
      events.map(({ data }, i) => [data.type, i]),
    );
  });

  it("tells the encrypted reasoning only when the item is done", async () => {
    fake.next({ thinking: "Hm.", text: "Hi" });
    const body = { ...base, stream: true, include: ["reasoning.encrypted_content"] };
    const events = eventsIn(await (await send(body)).text()).filter(({ data }) => data.item?.type === "reasoning");
    const [added, done] = events.map(({ data }) => data.item.encrypted_content);
    expect(added).not.toBe(done);
    const input = (encrypted_content: string) => [
      reasoning({ id: events[0]?.data.item.id, encrypted_content }),
      { role: "assistant", content: "a" },
    ];
    const checked = (content: string) =>
      validateOpenAIResponses({ model: "gpt-5", store: false, input: input(content) });
    expect([checked(added)?.status, checked(done)]).toEqual([400, undefined]);
  });

  it("obfuscates deltas unless told not to", async () => {
    fake.always({ text: "Hi" });
    const isObfuscated = async (change: object) => {
      const events = eventsIn(await (await send({ ...base, stream: true, ...change })).text());
      return events.some(({ data }) => "obfuscation" in data);
    };
    expect(await isObfuscated({})).toBe(true);
    expect(await isObfuscated({ stream_options: { include_obfuscation: false } })).toBe(false);
  });

  it("says errors mid-stream nested, with the next number", async () => {
    fake.next({ text: "a b c d", errorEvent: { message: "boom", code: "server_error" } });
    const events = eventsIn(await (await send({ ...base, stream: true })).text());
    expect(events.at(-1)).toEqual({
      event: "error",
      data: {
        type: "error",
        sequence_number: events.length - 1,
        error: { type: "server_error", code: "server_error", message: "boom", param: null },
      },
    });
  });

  it("counts tokens of the input, instructions and tools", async () => {
    const count = async (change: object) =>
      (await client.responses.inputTokens.count({ model: "gpt-5", ...change })).input_tokens;
    const short = await count({ input: "hi" });
    expect(await count({ input: "hi", instructions: "be kind" })).toBeGreaterThan(short);
    const wrong = await send({ model: "gpt-5", input: "hi", max_output_tokens: 20 }, `${PATH}/input_tokens`);
    expect([wrong.status, (await wrong.json()).error.param]).toEqual([400, "max_output_tokens"]);
  });
});

describe("the official SDK", () => {
  const tools = [tool()] as OpenAI.Responses.FunctionTool[];

  it("assembles from the stream what comes whole, for any text and arguments", async () => {
    const script = fc.record({
      thinking: fc.string(),
      text: fc.string({ unit: "grapheme" }),
      toolCalls: fc.array(fc.record({ name: fc.constant("f"), arguments: fc.dictionary(fc.string(), fc.string()) })),
    });
    const body = { model: "gpt-5", input: "hi", tools, reasoning: { summary: "auto" as const } };
    await fc.assert(
      fc.asyncProperty(script, async (turn) => {
        fake.reset();
        fake.next(turn);
        const whole = await client.responses.create(body);
        fake.reset();
        fake.next(turn);
        const streamed = await client.responses.stream(body).finalResponse();
        const bare = streamed.output.map(({ parsed_arguments: _, ...item }: Json) => ({
          ...item,
          ...(item.type === "message" && { content: item.content.map(({ parsed: _p, ...part }: Json) => part) }),
        }));
        expect(bare).toEqual(whole.output);
      }),
      { numRuns: 30 },
    );
  });

  it("runs a tool loop with what it got", async () => {
    fake.next({ thinking: "Hm.", toolCalls: [{ name: "f", arguments: { a: "b" } }] }, { text: "Done." });
    const input: OpenAI.Responses.ResponseInput = [{ role: "user", content: "hi" }];
    const body = { model: "gpt-5", tools, store: false, include: ["reasoning.encrypted_content" as const] };
    const first = await client.responses.create({ ...body, input });
    for (const item of first.output) {
      input.push(item as OpenAI.Responses.ResponseInputItem);
      if (item.type === "function_call")
        input.push({ type: "function_call_output", call_id: item.call_id, output: item.arguments });
    }
    expect((await client.responses.create({ ...body, input })).output_text).toBe("Done.");
  });

  it("parses structured outputs", async () => {
    fake.next({ text: '{"city":"Paris"}' });
    const format = zodTextFormat(z.object({ city: z.string() }), "place");
    const { output_parsed } = await client.responses.parse({ model: "gpt-5", input: "where?", text: { format } });
    expect(output_parsed).toEqual({ city: "Paris" });
  });

  it("raises its own error classes, in the middle of a stream too", async () => {
    fake.next({ status: 429 }, { text: "a b", errorEvent: { message: "boom" } });
    const body = { model: "gpt-5", input: "hi" };
    await expect(client.responses.create(body)).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    const read = async () => {
      for await (const _ of await client.responses.create({ ...body, stream: true }));
    };
    await expect(read()).rejects.toThrow("boom");
    await expect(client.responses.create({ ...body, temperature: 0 })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
  });
});

describe("Chat beside it", () => {
  it("does not serve models that only Responses has", async () => {
    const response = await send({ model: "gpt-5-pro", messages: [user] }, "/v1/chat/completions");
    expect([response.status, (await response.json()).error.param]).toEqual([404, "model"]);
  });
});
