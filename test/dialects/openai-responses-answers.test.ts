import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { GatewayError } from "../../src/core/errors.ts";
import type { ChatResponse, Choice, Part } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { openaiResponses } from "../../src/dialects/openai-responses/index.ts";

const ID = "openai-responses";
const asked: JsonObject = {
  model: "asked-for",
  instructions: "be kind",
  temperature: 0.5,
  tools: [{ type: "function", name: "f", parameters: {}, strict: false }],
  reasoning: { effort: "low" },
  store: true,
  user: "u1",
};
const context: CallerContext = {
  model: "asked-for",
  id: "x1",
  created: 7,
  inputTokens: 5,
  includeUsage: false,
  showThinking: true,
  request: { member: (name) => asked[name] },
};

const read = (output: JsonObject[], more: JsonObject = {}) =>
  openaiResponses.decodeResponse({
    id: "resp_1",
    object: "response",
    created_at: 3,
    model: "up",
    status: "completed",
    output,
    ...more,
  });
const content = (...output: JsonObject[]) => read(output).choices[0]!.content;
const message = (...parts: JsonObject[]) => ({
  type: "message",
  id: "msg_1",
  role: "assistant",
  status: "completed",
  content: parts,
});
const said = (text: string, more: JsonObject = {}) => ({ type: "output_text", text, annotations: [], ...more });

const write = (content: Part[], more: Partial<Choice & ChatResponse> = {}, options: Partial<CallerContext> = {}) => {
  const { usage, serviceTier, ...choice } = more;
  const response = {
    choices: [{ content, finishReason: "stop" as const, ...choice }],
    ...(usage && { usage }),
    ...(serviceTier !== undefined && { serviceTier }),
  };
  return openaiResponses.encodeResponse(response, { ...context, ...options });
};
const output = (...parts: Part[]) => write(parts).output;
const text = (value: string) => ({ type: "text" as const, text: value });

describe("an upstream's answer", () => {
  it("becomes parts in the order of its items", () => {
    const search = { type: "web_search_call", id: "ws_1", status: "completed" };
    expect(
      read(
        [
          {
            type: "reasoning",
            id: "rs_1",
            summary: [
              { type: "summary_text", text: "a" },
              { type: "summary_text", text: "b" },
            ],
            content: [{ type: "reasoning_text", text: "c" }],
            encrypted_content: "gA",
          },
          search,
          message(said("hello"), { type: "refusal", refusal: "no" }),
          { type: "function_call", id: "fc_1", call_id: "c1", name: "f", arguments: '{"a":1}', status: "completed" },
          { type: "custom_tool_call", id: "ctc_1", call_id: "c2", name: "g", input: "ls" },
        ],
        { service_tier: "flex" },
      ),
    ).toEqual({
      id: "resp_1",
      model: "up",
      created: 3,
      serviceTier: "flex",
      choices: [
        {
          content: [
            { type: "thinking", text: "a\n\nb\n\nc", signature: { origin: ID, kind: "rs_1", data: "gA" } },
            { type: "opaque", dialect: ID, kind: "web_search_call", value: search },
            text("hello"),
            { type: "refusal", text: "no" },
            { type: "tool-call", id: "c1", name: "f", arguments: '{"a":1}' },
            { type: "tool-call", id: "c2", name: "g", arguments: "ls", custom: true },
          ],
          finishReason: "tool-calls",
        },
      ],
    });
  });

  it("keeps a call whole that says more than a name, since only its own dialect knows where it belongs", () => {
    const call = { type: "function_call", call_id: "c1", name: "f", arguments: "{}", namespace: "crm" };
    const program = { ...call, namespace: null, caller: { type: "program", caller_id: "p" } };
    const direct = { ...call, namespace: null, caller: { type: "direct" } };
    expect(content(call, program, direct).map(({ type }) => type)).toEqual(["opaque", "opaque", "tool-call"]);
    expect(read([call]).choices[0]!.finishReason).toBe("tool-calls");
  });

  it("tells the pages that it cites", () => {
    const page = { type: "url_citation", url: "https://a.example", title: "A", start_index: 0, end_index: 5 };
    const file = { type: "file_citation", file_id: "file_1", index: 3, filename: "a.txt" };
    const [part] = content(message(said("hello", { annotations: [page, file] })));
    expect(part).toEqual({
      ...text("hello"),
      citations: {
        dialect: ID,
        value: [page, file],
        sources: [{ url: "https://a.example", title: "A", start: 0, end: 5 }],
      },
    });
  });

  it.each([
    [{ status: "completed" }, [message(said("a"))], "stop"],
    [{ status: "completed" }, [message({ type: "refusal", refusal: "no" })], "refusal"],
    [{ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }, [], "length"],
    [{ status: "incomplete", incomplete_details: { reason: "content_filter" } }, [], "refusal"],
    [{ status: "incomplete", incomplete_details: { reason: "steered" } }, [], "pause"],
  ])("ends as its status says: %j", (more, items, reason) => {
    expect(read(items, more).choices[0]!.finishReason).toBe(reason);
  });

  it("counts cached and written input, and reasoning, as parts", () => {
    const usage = {
      input_tokens: 100,
      input_tokens_details: { cached_tokens: 60, cache_write_tokens: 30 },
      output_tokens: 20,
      output_tokens_details: { reasoning_tokens: 8 },
      total_tokens: 120,
    };
    const counted = {
      inputTokens: 100,
      cacheReadTokens: 60,
      cacheWriteTokens: 30,
      outputTokens: 20,
      reasoningTokens: 8,
    };
    expect(read([], { usage }).usage).toEqual(counted);
    expect(openaiResponses.usageOf({ model: "up", usage })).toEqual({ model: "up", usage: counted });
    expect(read([], { usage: { input_tokens: 1 } }).usage).toBeUndefined();
    expect(
      read([], {
        usage: { input_tokens: 5, output_tokens: 2, input_tokens_details: { cached_tokens: 3, cache_write_tokens: 9 } },
      }).usage,
    ).toEqual({
      inputTokens: 5,
      cacheReadTokens: 3,
      cacheWriteTokens: 2,
      outputTokens: 2,
    });
  });

  it("has its log probabilities in one list, and gives them back", () => {
    const logprobs = [{ token: "a", bytes: [97], logprob: -0.1, top_logprobs: [] }];
    const { choices } = read([message(said("a", { logprobs }))]);
    expect(choices[0]!.logprobs).toEqual({ content: logprobs });
    expect(openaiResponses.encodeResponse({ choices }, context).output).toMatchObject([
      { content: [{ text: "a", logprobs }] },
    ]);
  });

  it.each([
    [{ code: "server_error", message: "boom" }, "upstream_error", 500],
    [{ code: "rate_limit_exceeded", message: "slow down" }, "rate_limited", 429],
    [{ code: "insufficient_quota", message: "spent" }, "upstream_error", 402],
    [{ code: "invalid_image_url", message: "bad" }, "invalid_request", 400],
    [
      {
        code: "invalid_prompt",
        message: "Your input exceeds the model's context window: maximum context length is 10 tokens",
      },
      "context_length_exceeded",
      400,
    ],
  ])("that failed is an error: %j", (error, code, status) => {
    expect(() => read([], { status: "failed", error })).toThrow(
      expect.objectContaining({ code, status, message: error.message }),
    );
  });

  it("that is none is an error", () => {
    expect(() => openaiResponses.decodeResponse("<html>")).toThrow(
      expect.objectContaining({ code: "upstream_invalid" }),
    );
    expect(() => openaiResponses.decodeResponse({ id: "x" })).toThrow(
      expect.objectContaining({ code: "upstream_invalid" }),
    );
  });
});

describe("an answer for a caller", () => {
  it("repeats the request, under the name that the caller used", () => {
    const usage = { inputTokens: 9, cacheReadTokens: 4, cacheWriteTokens: 1, outputTokens: 3, reasoningTokens: 2 };
    expect(write([text("hi")], { usage, serviceTier: "flex" })).toEqual({
      id: "resp_x1",
      object: "response",
      created_at: 7,
      status: "completed",
      background: false,
      error: null,
      incomplete_details: null,
      instructions: "be kind",
      max_output_tokens: null,
      max_tool_calls: null,
      metadata: {},
      model: "asked-for",
      output: [
        {
          type: "message",
          id: "msg_x1_0",
          status: "completed",
          role: "assistant",
          content: [{ type: "output_text", text: "hi", annotations: [], logprobs: [] }],
        },
      ],
      parallel_tool_calls: true,
      previous_response_id: null,
      prompt_cache_key: null,
      reasoning: { effort: "low", summary: null },
      safety_identifier: null,
      service_tier: "flex",
      store: false,
      temperature: 0.5,
      text: { format: { type: "text" } },
      tool_choice: "auto",
      tools: asked.tools,
      top_logprobs: 0,
      top_p: null,
      truncation: "disabled",
      usage: {
        input_tokens: 9,
        input_tokens_details: { cached_tokens: 4, cache_write_tokens: 1 },
        output_tokens: 3,
        output_tokens_details: { reasoning_tokens: 2 },
        total_tokens: 12,
      },
      user: "u1",
    });
  });

  it("puts texts and refusals in a row into one message, and numbers its items", () => {
    expect(
      output(
        text("a"),
        { type: "refusal", text: "no" },
        text(""),
        text("b"),
        { type: "tool-call", id: "", name: "f", arguments: "" },
        text("c"),
      ),
    ).toMatchObject([
      {
        type: "message",
        id: "msg_x1_0",
        content: [{ text: "a" }, { type: "refusal", refusal: "no" }, { text: "b" }],
      },
      { type: "function_call", id: "fc_x1_1", call_id: "call_x1_1", name: "f", arguments: "{}", status: "completed" },
      { type: "message", id: "msg_x1_2", content: [{ text: "c" }] },
    ]);
    expect(output({ type: "tool-call", id: "c", name: "g", arguments: "ls", custom: true })).toEqual([
      { type: "custom_tool_call", id: "ctc_x1_0", call_id: "c", name: "g", input: "ls", status: "completed" },
    ]);
  });

  it("cites pages whatever dialect told them", () => {
    const sources = [{ url: "https://a.example", title: "A", start: 1, end: 2 }, { url: "https://b.example" }];
    const [item] = output({ ...text("hello"), citations: { dialect: "gemini", value: {}, sources } }) as JsonObject[];
    expect((item!.content as JsonObject[])[0]!.annotations).toEqual([
      { type: "url_citation", url: "https://a.example", title: "A", start_index: 1, end_index: 2 },
      { type: "url_citation", url: "https://b.example", title: "", start_index: 0, end_index: 5 },
    ]);
  });

  it("shows thinking as a summary, or hides it where it can be read back", () => {
    const signature = { origin: "anthropic-messages", data: "EqQB" };
    const thought: Part = { type: "thinking", text: "hm", signature };
    const [shown] = write([thought]).output as JsonObject[];
    expect(shown).toMatchObject({ type: "reasoning", id: "rs_x1_0", summary: [{ type: "summary_text", text: "hm" }] });
    const [hidden] = write([thought], {}, { showThinking: false }).output as JsonObject[];
    expect(hidden!.summary).toEqual([]);
    for (const item of [shown!, hidden!]) {
      expect(item.encrypted_content).toMatch(/^tp1\./);
      const { messages } = openaiResponses.decodeRequest({ model: "m", input: [item] });
      expect(messages[0]!.content).toEqual([thought]);
    }
    expect(output({ type: "thinking", text: "hm" })).toEqual([
      { type: "reasoning", id: "rs_x1_0", summary: [{ type: "summary_text", text: "hm" }] },
    ]);
    expect(output({ type: "thinking", text: "" })).toEqual([]);
  });

  it("carries encrypted thinking of another wire there and back", () => {
    const redacted: Part = { type: "thinking", text: "", redacted: "EmwK" };
    const [item] = output(redacted) as JsonObject[];
    expect(openaiResponses.decodeRequest({ model: "m", input: [item] }).messages[0]!.content).toEqual([redacted]);
  });

  it("gives the upstream's own encrypted reasoning raw, under the id that it is bound to", () => {
    const signature = { origin: ID, kind: "rs_up", data: "gA" };
    expect(output({ type: "thinking", text: "hm", signature })).toMatchObject([
      { id: "rs_up", encrypted_content: "gA" },
    ]);
  });

  it("gives items of its own dialect as they came, and none of others", () => {
    const value = { type: "web_search_call", id: "ws_1" };
    expect(
      output(
        { type: "opaque", dialect: ID, kind: "web_search_call", value },
        { type: "opaque", dialect: "gemini", kind: "x", value },
      ),
    ).toEqual([value]);
  });

  it.each([
    ["length", [], "incomplete", { reason: "max_output_tokens" }],
    ["context-window", [], "incomplete", { reason: "max_output_tokens" }],
    ["refusal", [], "incomplete", { reason: "content_filter" }],
    ["refusal", [{ type: "refusal", text: "no" }], "completed", null],
    ["tool-calls", [], "completed", null],
    ["pause", [], "completed", null],
  ] as const)("ended by %s has the status of the table", (finishReason, parts, status, incomplete_details) => {
    expect(write([...parts], { finishReason })).toMatchObject({ status, incomplete_details });
  });

  it("marks a message that was cut", () => {
    expect(write([text("a")], { finishReason: "length" }).output).toMatchObject([{ status: "incomplete" }]);
  });

  it("tells the first of several choices, since there can be only one", () => {
    const choices = [text("a"), text("b")].map((part) => ({ content: [part], finishReason: "stop" as const }));
    expect(openaiResponses.encodeResponse({ choices }, context).output).toMatchObject([{ content: [{ text: "a" }] }]);
  });

  it("needs no request to repeat", () => {
    const { request: _, ...bare } = context;
    const answer = openaiResponses.encodeResponse({ choices: [{ content: [], finishReason: "stop" }] }, bare);
    expect(answer).toMatchObject({ tools: [], tool_choice: "auto", reasoning: { effort: null, summary: null } });
    expect(answer).not.toHaveProperty("user");
  });

  it("is understood by the official client", async () => {
    const body = JSON.stringify(write([text("hi "), text("there")]));
    const client = new OpenAI({
      apiKey: "k",
      fetch: async () => new Response(body, { headers: { "content-type": "application/json" } }),
    });
    expect((await client.responses.create({ model: "m", input: "x" })).output_text).toBe("hi there");
  });
});

describe("an error", () => {
  it("has the API's envelope, whose statuses the official client knows", async () => {
    const { status, body } = openaiResponses.encodeError(new GatewayError("rate_limited", "slow down"), "req_1");
    const client = new OpenAI({ apiKey: "k", maxRetries: 0, fetch: async () => Response.json(body, { status }) });
    await expect(client.responses.create({ model: "m", input: "x" })).rejects.toThrow(OpenAI.RateLimitError);
  });

  it("of an upstream is read with the field that it names", () => {
    const message = "Item 'rs_1' of type 'reasoning' was provided without its required following item.";
    const error = { message, type: "invalid_request_error", param: "input", code: null };
    expect(openaiResponses.decodeError(400, { error })).toMatchObject({
      code: "invalid_request",
      param: "input",
      message,
    });
  });
});

describe("the last frame", () => {
  it.each([
    ["response.completed", true],
    ["response.incomplete", true],
    ["response.failed", false],
    ["response.output_text.delta", false],
    ["error", false],
  ])("of the type %s: %s", (type, last) => {
    for (const event of [type, undefined]) {
      const data = JSON.stringify({ delta: '"type":"response.completed"', response: { output: [] }, type });
      expect(openaiResponses.isLast!({ event, data })).toBe(last);
    }
  });
});
