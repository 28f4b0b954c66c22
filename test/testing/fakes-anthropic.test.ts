import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Fake, fakeAnthropic, validateAnthropic } from "../../src/testing/fakes/index.ts";
import { eventsIn, type Json, post } from "./support.ts";

const PATH = "/v1/messages";
const user = { role: "user", content: "hi" };
const base = { model: "claude-sonnet-4-5", max_tokens: 4096, messages: [user] };
const use = (id: string) => ({ type: "tool_use", id, name: "f", input: {} });
const uses = (...ids: string[]) => ({ role: "assistant", content: ids.map(use) });
const result = (tool_use_id: string) => ({ type: "tool_result", tool_use_id, content: "ok" });
const results = (...ids: string[]) => ({ role: "user", content: ids.map(result) });
const text = (words: string) => ({ type: "text", text: words });
const tools = [{ name: "f", input_schema: { type: "object" } }];
const version = { "anthropic-version": "2023-06-01" };

let fake: Fake;
beforeAll(async () => {
  fake = await fakeAnthropic({ apiKey: "test-key" });
});
beforeEach(() => fake.reset());
afterAll(() => fake.close());

const send = (body: unknown, headers = {}) => post(fake, PATH, body, { ...version, ...headers });
const refused = (change: object, headers = {}) => validateAnthropic({ ...base, ...change }, headers) as Json;
const said = (change: object, headers = {}) => refused(change, headers)?.body.error.message;

describe("headers", () => {
  it("wants a key, by either header", async () => {
    const ask = (headers: Record<string, string>) =>
      fetch(fake.url + PATH, { method: "POST", headers: { ...version, ...headers }, body: JSON.stringify(base) });
    const wrong: Record<string, string>[] = [{}, { "x-api-key": "wrong" }, { authorization: "Bearer wrong" }];
    for (const headers of wrong) {
      const response = await ask(headers);
      expect([response.status, await response.json()]).toMatchObject([
        401,
        { error: { type: "authentication_error" } },
      ]);
    }
    expect((await ask({ "x-api-key": "test-key" })).status).toBe(200);
    expect((await ask({ authorization: "Bearer test-key" })).status).toBe(200);
  });

  it("wants a version it knows", async () => {
    const without = await post(fake, PATH, base);
    expect([without.status, await without.json()]).toMatchObject([
      400,
      { error: { message: "anthropic-version: header is required" } },
    ]);
    expect((await post(fake, PATH, base, { "anthropic-version": "2030-01-01" })).status).toBe(400);
  });

  it("puts the request id into the header and every error", async () => {
    const response = await send({ ...base, max_tokens: undefined });
    expect(await response.json()).toEqual({
      type: "error",
      error: { type: "invalid_request_error", message: "max_tokens: Field required" },
      request_id: response.headers.get("request-id"),
    });
    expect(response.headers.get("request-id")).toMatch(/^req_011/);
  });
});

describe("the schema", () => {
  const bad: [what: string, change: object, message: string][] = [
    ["an unknown field", { reasoning_effort: "high" }, "reasoning_effort: Extra inputs are not permitted"],
    [
      "an unknown field of a block",
      { messages: [{ role: "user", content: [{ ...text("a"), name: "b" }] }] },
      "messages.0.content.0.text.name: Extra inputs are not permitted",
    ],
    [
      "an unknown field of a tool",
      { tools: [{ ...tools[0], parameters: {} }] },
      "tools.0.custom.parameters: Extra inputs are not permitted",
    ],
    ["a tool without a schema", { tools: [{ name: "f" }] }, "tools.0.custom.input_schema: Field required"],
    [
      "a tool use without input",
      { messages: [user, { role: "assistant", content: [{ type: "tool_use", id: "a", name: "f" }] }] },
      "messages.1.content.0.tool_use.input: Field required",
    ],
    [
      "a tool id with a dot",
      { messages: [user, uses("a.b"), results("a.b")] },
      "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
    ],
    [
      "thinking without a signature",
      { messages: [user, { role: "assistant", content: [{ type: "thinking", thinking: "t" }] }, user] },
      "messages.1.content.0.thinking.signature: Field required",
    ],
    [
      "role tool",
      { messages: [{ role: "tool", content: "a" }] },
      "messages.0.role: Input should be 'user', 'assistant' or 'system'",
    ],
    ["temperature above 1", { temperature: 1.5 }, "temperature: Input should be less than or equal to 1"],
    [
      "a small budget",
      { thinking: { type: "enabled", budget_tokens: 1000 } },
      "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ],
    [
      "OpenAI's tool_choice",
      { tools, tool_choice: "auto" },
      "tool_choice: Input should be a valid dictionary or object to extract fields from",
    ],
  ];
  it.each(bad)("refuses %s", (_what, change, message) => {
    expect(refused(change)).toMatchObject({ status: 400, body: { error: { type: "invalid_request_error", message } } });
  });

  it("takes beta fields only with their beta", () => {
    const context_management = { edits: [{ type: "clear_thinking_20251015", keep: "all" }] };
    expect(said({ context_management })).toBe("context_management: Extra inputs are not permitted");
    expect(refused({ context_management }, { betas: ["context-management-2025-06-27"] })).toBeUndefined();
    expect(said({ safeguards: {} })).toBe("safeguards: Extra inputs are not permitted");
  });

  it("refuses sampling in version 2026-10-21", () => {
    for (const field of ["temperature", "top_p", "top_k"]) {
      expect(said({ [field]: 1 }, { version: "2026-10-21" })).toBe(`${field}: Extra inputs are not permitted`);
      expect(refused({ [field]: 1 })).toBeUndefined();
    }
  });

  it("takes the blocks that Claude Code sends", () => {
    const cache_control = { type: "ephemeral", ttl: "1h" };
    const png = { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } };
    const reference = { type: "tool_reference", tool_name: "Read" };
    const request = {
      model: "claude-opus-5-5",
      max_tokens: 128000,
      stream: true,
      system: [
        text("x-anthropic-billing-header: cc_version=2.1.330.abc;"),
        { ...text("You are Claude Code"), cache_control },
      ],
      tools: [...tools, { ...tools[0], name: "DeferredToolPlaceholder", defer_loading: true }],
      metadata: { user_id: "{}" },
      thinking: { type: "adaptive", display: "omitted" },
      output_config: { effort: "medium" },
      context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
      messages: [
        { role: "user", content: [text("<system-reminder>"), text("hello")] },
        { role: "assistant", content: [{ type: "thinking", thinking: "", signature: "Eqabc" }, use("a"), use("b")] },
        {
          role: "user",
          content: [{ ...result("b"), content: [png, reference] }, { ...result("a"), is_error: true }, text("x")],
        },
        { role: "system", content: [{ ...text("environment"), cache_control }], output_config: { effort: "medium" } },
      ],
    };
    const betas = ["context-management-2025-06-27", "per-turn-control-2026-07-01"];
    expect(validateAnthropic(request, { betas })).toBeUndefined();
    expect(validateAnthropic(request, { betas: betas.slice(0, 1) })).toMatchObject({
      body: { error: { message: "messages.3.output_config: Extra inputs are not permitted" } },
    });
  });
});

describe("models", () => {
  it("does not know others", () => {
    expect(refused({ model: "claude-does-not-exist" })).toMatchObject({
      status: 404,
      body: { error: { type: "not_found_error", message: "model: claude-does-not-exist" } },
    });
  });

  const all = ["adaptive", "enabled", "disabled", "between_tools"];
  const matrix: [
    model: string,
    thinking: string[],
    efforts: string[],
    sampling: boolean,
    forced: boolean,
    prefill: boolean,
  ][] = [
    [
      "claude-sonnet-5-5",
      ["adaptive", "between_tools"],
      ["low", "medium", "high", "xhigh", "max"],
      false,
      false,
      false,
    ],
    ["claude-opus-5-5", ["adaptive"], ["low", "medium", "high", "xhigh", "max"], false, false, false],
    ["claude-fable-5-1", ["adaptive"], ["low", "medium", "high", "xhigh", "max"], false, false, false],
    ["claude-haiku-5-5", ["adaptive", "disabled"], ["low", "medium", "high", "xhigh", "max"], false, true, false],
    ["claude-fable-5", ["adaptive"], ["low", "medium", "high", "xhigh", "max"], false, true, false],
    ["claude-opus-5", ["adaptive", "disabled"], ["low", "medium", "high", "xhigh", "max"], false, true, false],
    ["claude-sonnet-5", ["adaptive", "disabled"], ["low", "medium", "high", "xhigh", "max"], false, true, false],
    ["claude-opus-4-7", ["adaptive", "disabled"], ["low", "medium", "high", "xhigh", "max"], false, true, false],
    ["claude-sonnet-4-6", ["adaptive", "enabled", "disabled"], ["low", "medium", "high", "max"], true, true, false],
    ["claude-opus-4-5-20251101", ["enabled", "disabled"], ["low", "medium", "high"], true, true, true],
    ["claude-haiku-4-5", ["enabled", "disabled"], [], true, true, true],
    ["claude-sonnet-4-0", ["enabled", "disabled"], [], true, true, true],
  ];
  it.each(matrix)("%s follows the matrix", (model, thinking, efforts, sampling, forced, prefill) => {
    const takes = (change: object) => refused({ model, ...change }) === undefined;
    const config = (type: string) => ({ type, ...(type === "enabled" && { budget_tokens: 2000 }) });
    expect(all.filter((type) => takes({ thinking: config(type) }))).toEqual(thinking);
    const levels = ["low", "medium", "high", "xhigh", "max"];
    expect(levels.filter((effort) => takes({ output_config: { effort } }))).toEqual(efforts);
    expect(takes({ temperature: 0.5 })).toBe(sampling);
    expect(takes({ top_k: 5 })).toBe(sampling);
    expect(takes({ temperature: 1, top_p: 0.99 })).toBe(true);
    expect(takes({ tools, tool_choice: { type: "any" } })).toBe(forced);
    expect(takes({ tools, tool_choice: { type: "auto" } })).toBe(true);
    expect(takes({ messages: [user, { role: "assistant", content: "{" }] })).toBe(prefill);
  });

  const worded: [change: object, message: string][] = [
    [
      { model: "claude-opus-4-7", thinking: { type: "enabled", budget_tokens: 2000 } },
      '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.',
    ],
    [{ thinking: { type: "adaptive" } }, "adaptive thinking is not supported on this model"],
    [{ output_config: { effort: "high" } }, "This model does not support the effort parameter."],
    [
      { model: "claude-opus-4-6", output_config: { effort: "xhigh" } },
      "This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium.",
    ],
    [
      { model: "claude-opus-5", thinking: { type: "disabled" }, output_config: { effort: "max" } },
      "\"thinking.type.disabled\" is not supported with effort level 'max' on this model.",
    ],
    [
      { max_tokens: 2000, thinking: { type: "enabled", budget_tokens: 2000 } },
      "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ],
    [
      { temperature: 0.5, thinking: { type: "enabled", budget_tokens: 2000 } },
      "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.",
    ],
    [
      { tools, tool_choice: { type: "any" }, thinking: { type: "enabled", budget_tokens: 2000 } },
      "Thinking may not be enabled when tool_choice forces tool use.",
    ],
    [
      { model: "claude-sonnet-4-6", messages: [user, { role: "assistant", content: "{" }] },
      "This model does not support assistant message prefill. The conversation must end with a user message.",
    ],
  ];
  it.each(worded)("words %o like the API", (change, message) => {
    expect(said(change)).toBe(message);
  });
});

describe("messages", () => {
  const model = "claude-opus-4-8";
  const system = { role: "system", content: "be brief" };
  const assistant = { role: "assistant", content: "a" };
  const bad: [what: string, change: object, message: string | RegExp][] = [
    ["no messages", { messages: [] }, "messages: at least one message is required"],
    ["an assistant first", { messages: [assistant, user] }, 'messages: first message must use the "user" role'],
    [
      "an empty text block",
      { messages: [{ role: "user", content: [text("")] }] },
      "messages: text content blocks must be non-empty",
    ],
    ["an empty system block", { system: [text("")] }, "system: text content blocks must be non-empty"],
    [
      "an empty message",
      { messages: [{ role: "user", content: "" }] },
      /^messages.0: all messages must have non-empty content/,
    ],
    [
      "an unanswered call",
      { messages: [user, uses("a", "b"), results("a")] },
      /^messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: b\. /,
    ],
    [
      "text before the results",
      { messages: [user, uses("a"), { role: "user", content: [text("x"), result("a")] }] },
      /^messages.1: `tool_use` ids were found without/,
    ],
    ["a call at the end", { messages: [user, uses("a")] }, /^messages.1: `tool_use` ids were found without/],
    [
      "a result without a call",
      { messages: [results("a")] },
      /^messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: a\. /,
    ],
    [
      "the same tool id twice",
      { messages: [user, uses("a"), results("a"), uses("a"), results("a")] },
      "messages: `tool_use` ids must be unique",
    ],
    [
      "a call by the user",
      { messages: [{ role: "user", content: [use("a")] }] },
      "messages.0: `tool_use` blocks can only be in `assistant` messages",
    ],
    [
      "Turnpike's own signature",
      {
        messages: [
          user,
          { role: "assistant", content: [{ type: "thinking", thinking: "", signature: "tp1.abc" }] },
          user,
        ],
      },
      "messages.1.content.0: Invalid `signature` in `thinking` block",
    ],
    ["a system message on an older model", { messages: [user, system] }, /^messages: Unexpected role "system"/],
    ["a system message first", { model, messages: [system, user] }, /first message must use the "user" role/],
    [
      "a system message after an assistant",
      { model, messages: [user, assistant, system] },
      "messages.2: `system` messages must follow a `user` message",
    ],
    [
      "a system message before a user",
      { model, messages: [user, system, user] },
      "messages.1: `system` messages must be last or followed by an `assistant` message",
    ],
    [
      "trailing white space in a prefill",
      { messages: [user, { role: "assistant", content: "a " }] },
      "messages: final assistant content cannot end with trailing whitespace",
    ],
    [
      "a tool loop without its manual thinking",
      { thinking: { type: "enabled", budget_tokens: 2000 }, messages: [user, uses("a"), results("a")] },
      /^messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`/,
    ],
    [
      "tool_choice without tools",
      { tool_choice: { type: "auto" } },
      "tool_choice may only be specified while providing tools.",
    ],
    [
      "a choice of an unknown tool",
      { tools, tool_choice: { type: "tool", name: "g" } },
      "Tool 'g' not found in provided tools",
    ],
    ["two tools of one name", { tools: [tools[0], tools[0]] }, "tools: Tool names must be unique."],
    [
      "a blank stop sequence",
      { stop_sequences: [" "] },
      "stop_sequences: each stop sequence must contain non-whitespace",
    ],
    [
      "five cache marks",
      { messages: [{ role: "user", content: Array(5).fill({ ...text("a"), cache_control: { type: "ephemeral" } }) }] },
      "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ],
  ];
  it.each(bad)("refuses %s", (_what, change, message) => {
    const refusal = refused(change);
    expect(refusal?.status).toBe(400);
    if (typeof message === "string") expect(refusal.body.error.message).toBe(message);
    else expect(refusal.body.error.message).toMatch(message);
  });

  const good: [what: string, change: object][] = [
    [
      "results first and text after them",
      { messages: [user, uses("a", "b"), { role: "user", content: [result("b"), result("a"), text("x")] }] },
    ],
    ["results spread over two user messages", { messages: [user, uses("a", "b"), results("a"), results("b")] }],
    ["a system message at the end", { model, messages: [user, system] }],
    ["a system message before the assistant", { model, messages: [user, system, assistant, user] }],
    ["a system message after results", { model, messages: [user, uses("a"), results("a"), system] }],
    [
      "a foreign signature",
      {
        messages: [
          user,
          { role: "assistant", content: [{ type: "thinking", thinking: "t", signature: "abc" }, text("a")] },
          user,
        ],
      },
    ],
    ["a server tool", { tools: [{ type: "web_search_20250305", name: "web_search" }] }],
  ];
  it.each(good)("takes %s", (_what, change) => {
    expect(refused(change)).toBeUndefined();
  });
});

describe("answers", () => {
  it("has the recorded shape", async () => {
    fake.next({ text: "Hello!", usage: { prompt: 12, cached: 10, completion: 5 } });
    expect(await (await send(base)).json()).toEqual({
      model: "claude-sonnet-4-5",
      id: expect.stringMatching(/^msg_01[a-zA-Z0-9]{22}$/),
      type: "message",
      role: "assistant",
      content: [{ type: "text", text: "Hello!" }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: {
        input_tokens: 2,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 10,
        cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
        output_tokens: 5,
        output_tokens_details: { thinking_tokens: 0 },
        service_tier: "standard",
        inference_geo: "not_available",
      },
    });
  });

  it("says why it stopped", async () => {
    const reason = async (script: object, change = {}) => {
      fake.next(script);
      const body: Json = await (await send({ ...base, ...change })).json();
      return [body.stop_reason, body.stop_sequence, body.stop_details?.type];
    };
    expect(await reason({ text: "x".repeat(50) }, { max_tokens: 2 })).toEqual(["max_tokens", null, undefined]);
    expect(await reason({ text: "one END two" }, { stop_sequences: ["END"] })).toEqual([
      "stop_sequence",
      "END",
      undefined,
    ]);
    expect(await reason({ toolCalls: [{ name: "f", arguments: {} }] })).toEqual(["tool_use", null, undefined]);
    expect(await reason({ finishReason: "content_filter" })).toEqual(["refusal", null, "refusal"]);
    expect(await reason({ finishReason: "pause_turn" })).toEqual(["pause_turn", null, undefined]);
  });

  it("streams blocks one after the other in the documented grammar", async () => {
    fake.next({
      thinking: "let me",
      text: "Hello there",
      toolCalls: [
        { name: "f", arguments: { a: 1 } },
        { name: "g", arguments: {} },
      ],
    });
    const thinking = { type: "enabled", budget_tokens: 2000 };
    const events = eventsIn(await (await send({ ...base, stream: true, thinking })).text());
    for (const { event, data } of events) expect(event).toBe(data.type);
    const brief = events.map(({ data }) =>
      [data.type, data.index, data.delta?.type ?? data.content_block?.type].filter((x) => x !== undefined).join(" "),
    );
    expect(brief).toEqual([
      "message_start",
      "content_block_start 0 thinking",
      "ping",
      "content_block_delta 0 thinking_delta",
      "content_block_delta 0 thinking_delta",
      "content_block_delta 0 signature_delta",
      "content_block_stop 0",
      "content_block_start 1 text",
      "content_block_delta 1 text_delta",
      "content_block_delta 1 text_delta",
      "content_block_stop 1",
      "content_block_start 2 tool_use",
      "content_block_delta 2 input_json_delta",
      "content_block_delta 2 input_json_delta",
      "content_block_delta 2 input_json_delta",
      "content_block_stop 2",
      "content_block_start 3 tool_use",
      "content_block_delta 3 input_json_delta",
      "content_block_stop 3",
      "message_delta",
      "message_stop",
    ]);
    expect(events[0]?.data.message).toMatchObject({ content: [], stop_reason: null, usage: { output_tokens: 1 } });
    expect(events.at(-2)?.data).toMatchObject({
      delta: { stop_reason: "tool_use", stop_sequence: null },
      usage: { input_tokens: expect.any(Number), output_tokens: expect.any(Number) },
    });
  });

  it("sends only a signature where thinking is omitted, and takes it back", async () => {
    fake.next({ thinking: "let me", text: "Hi" }, { text: "again" });
    const model = "claude-opus-5-5";
    const body: Json = await (await send({ ...base, model })).json();
    expect(body.content).toMatchObject([
      { type: "thinking", thinking: "", signature: expect.stringMatching(/^Eq/) },
      text("Hi"),
    ]);
    const messages = [user, { role: "assistant", content: body.content }, user];
    expect((await send({ ...base, model, messages })).status).toBe(200);
    fake.next({ thinking: "let me" });
    const shown: Json = await (
      await send({ ...base, model, thinking: { type: "adaptive", display: "summarized" } })
    ).json();
    expect(shown.content[0].thinking).toBe("let me");
  });

  it("ends a broken stream with an error event and no message_stop", async () => {
    fake.next({ errorEvent: {}, text: "one two three" });
    const events = eventsIn(await (await send({ ...base, stream: true })).text());
    expect(events.at(-1)).toMatchObject({
      event: "error",
      data: { type: "error", error: { type: "overloaded_error" } },
    });
    expect(events.some(({ event }) => event === "message_delta")).toBe(false);
  });

  it("names each status in its envelope", async () => {
    fake.next({ status: 529 }, { status: 402 });
    for (const type of ["overloaded_error", "billing_error"])
      expect(await (await send(base)).json()).toMatchObject({ type: "error", error: { type } });
  });
});

describe("other routes", () => {
  const get = (path: string, method = "GET") =>
    fetch(fake.url + path, { method, headers: { ...version, "x-api-key": "test-key" } });

  it("counts tokens with the same rules, without max_tokens", async () => {
    const count = (body: unknown) => post(fake, "/v1/messages/count_tokens?beta=true", body, version);
    const { max_tokens, ...rest } = base;
    const counted: Json = await (await count(rest)).json();
    expect(counted).toEqual({ input_tokens: expect.any(Number) });
    fake.next({ text: "x" });
    const answer: Json = await (await send(base)).json();
    expect(answer.usage.input_tokens).toBe(counted.input_tokens);
    const refusal: Json = await (await count({ ...rest, max_tokens })).json();
    expect(refusal.error.message).toBe("max_tokens: Extra inputs are not permitted");
  });

  it("lists models and shows one with its capabilities", async () => {
    const list: Json = await (await get("/v1/models?limit=1000")).json();
    expect(list).toMatchObject({ has_more: false, first_id: list.data[0].id, last_id: list.data.at(-1).id });
    const one: Json = await (await get("/v1/models/claude-opus-4-5")).json();
    expect(one).toMatchObject({
      type: "model",
      capabilities: {
        thinking: { types: { adaptive: { supported: false }, enabled: { supported: true } } },
        effort: { supported: true, high: { supported: true }, max: { supported: false } },
      },
    });
    expect((await get("/v1/models/gpt-5")).status).toBe(404);
  });

  it("answers Claude Code's warm-up without a key", async () => {
    expect((await fetch(`${fake.url}/api/hello`, { method: "HEAD" })).status).toBe(200);
  });

  it("answers 404 elsewhere", async () => {
    expect(await (await get("/v1/nothing")).json()).toMatchObject({ error: { type: "not_found_error" } });
  });
});

describe("the official SDK", () => {
  const client = () => new Anthropic({ baseURL: fake.url, apiKey: "test-key", maxRetries: 0 });

  it("assembles the stream", async () => {
    fake.next({ thinking: "hm", text: "Let me look.", toolCalls: [{ name: "f", arguments: { city: "Paris" } }] });
    const message = await client()
      .messages.stream({
        model: "claude-opus-4-6",
        max_tokens: 1000,
        thinking: { type: "adaptive" },
        messages: [{ role: "user", content: "hi" }],
      })
      .finalMessage();
    expect(message.content).toMatchObject([
      { type: "thinking", thinking: "hm" },
      { type: "text", text: "Let me look." },
      { type: "tool_use", input: { city: "Paris" } },
    ]);
    expect(message.stop_reason).toBe("tool_use");
  });

  it("raises its own error classes", async () => {
    fake.next({ status: 529 });
    const ask = (model: string) =>
      client().messages.create({ model, max_tokens: 10, messages: [{ role: "user", content: "hi" }] });
    await expect(ask("claude-opus-4-6")).rejects.toMatchObject({ status: 529 });
    await expect(ask("nobody")).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  });
});
