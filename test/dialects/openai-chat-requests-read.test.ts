import { describe, expect, test } from "vitest";
import { isGatewayError } from "../../src/core/errors.ts";
import { encodeSignature } from "../../src/core/thinking-envelope.ts";
import { openaiChat, openaiChatWith } from "../../src/dialects/openai-chat/index.ts";

const PNG = "data:image/png;base64,iVBORw0KGgo=";
const user = (content: unknown) => ({ role: "user", content });
const decode = (body: object) => openaiChat.decodeRequest({ model: "m", messages: [user("Hi")], ...body });
const decodeMessages = (...messages: unknown[]) => openaiChat.decodeRequest({ model: "m", messages });

function refusal(body: unknown): { param: string | undefined; message: string; status: number } {
  try {
    openaiChat.decodeRequest(body);
  } catch (error) {
    if (isGatewayError(error) && error.code === "invalid_request") return error;
    throw error;
  }
  throw new Error("accepted");
}

describe("reading a request", () => {
  test("a plain conversation", () => {
    expect(
      decodeMessages(
        { role: "system", content: "Be brief." },
        { role: "developer", content: [{ type: "text", text: "And kind." }] },
        user("Hi"),
        { role: "assistant", content: "Hello", name: "bot" },
        { role: "system", content: "Now in French." },
        user([{ type: "text", text: "And this?" }]),
      ),
    ).toEqual({
      model: "m",
      system: [
        { type: "text", text: "Be brief." },
        { type: "text", text: "And kind." },
      ],
      messages: [
        { role: "user", content: [{ type: "text", text: "Hi" }] },
        { role: "assistant", content: [{ type: "text", text: "Hello" }], name: "bot" },
        { role: "system", content: [{ type: "text", text: "Now in French." }] },
        { role: "user", content: [{ type: "text", text: "And this?" }] },
      ],
      tools: [],
      stream: false,
    });
  });

  test("images, audio and files", () => {
    const request = decodeMessages(
      user([
        { type: "image_url", image_url: { url: PNG, detail: "low" } },
        { type: "image_url", image_url: { url: "https://example.com/a.png" } },
        { type: "input_audio", input_audio: { data: "AAAA", format: "mp3" } },
        { type: "file", file: { file_data: "data:application/pdf;base64,JVBE", filename: "a.pdf" } },
        { type: "file", file: { file_id: "file-1" } },
        { type: "video_url", video_url: { url: "https://example.com/a.mp4" } },
      ]),
    );
    expect(request.messages[0]?.content).toEqual([
      { type: "image", source: { kind: "base64", mediaType: "image/png", data: "iVBORw0KGgo=" }, detail: "low" },
      { type: "image", source: { kind: "url", url: "https://example.com/a.png" } },
      { type: "audio", data: "AAAA", format: "mp3" },
      { type: "document", source: { kind: "base64", mediaType: "application/pdf", data: "JVBE" }, filename: "a.pdf" },
      { type: "document", source: { kind: "file", dialect: "openai-chat", id: "file-1" } },
      {
        type: "opaque",
        dialect: "openai-chat",
        kind: "video_url",
        value: { type: "video_url", video_url: { url: "https://example.com/a.mp4" } },
      },
    ]);
  });

  test("consecutive tool messages are one user message; text after them stays its own", () => {
    const call = (id: string) => ({ id, type: "function", function: { name: "f", arguments: '{"a": 1}' } });
    const request = decodeMessages(
      user("Go"),
      { role: "assistant", content: null, tool_calls: [call("a"), call("b")] },
      { role: "tool", tool_call_id: "a", content: "one" },
      { role: "tool", tool_call_id: "b", content: "" },
      user("And?"),
    );
    expect(request.messages.slice(1)).toEqual([
      {
        role: "assistant",
        content: [
          { type: "tool-call", id: "a", name: "f", arguments: '{"a": 1}' },
          { type: "tool-call", id: "b", name: "f", arguments: '{"a": 1}' },
        ],
      },
      {
        role: "user",
        content: [
          { type: "tool-result", id: "a", content: [{ type: "text", text: "one" }] },
          { type: "tool-result", id: "b", content: [] },
        ],
      },
      { role: "user", content: [{ type: "text", text: "And?" }] },
    ]);
  });

  test("thinking comes back from reasoning_content, from blocks with their signatures, and from chunks", () => {
    const foreign = { origin: "google", model: "g", kind: "thought", data: "xyz" };
    const request = decodeMessages(
      user("Hi"),
      { role: "assistant", content: "a", reasoning_content: "plain" },
      {
        role: "assistant",
        content: "b",
        reasoning_content: "mirror of the blocks",
        thinking_blocks: [
          { type: "thinking", thinking: "native", signature: "sig" },
          { type: "thinking", thinking: "carried", signature: encodeSignature(foreign) },
          { type: "redacted_thinking", data: "secret" },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: [{ type: "text", text: "chunk" }], signature: "s", closed: true },
          { type: "text", text: "c" },
        ],
      },
    );
    expect(request.messages.slice(1).map((message) => message.content.slice(0, -1))).toEqual([
      [{ type: "thinking", text: "plain" }],
      [
        { type: "thinking", text: "native", signature: { origin: "anthropic-messages", data: "sig" } },
        { type: "thinking", text: "carried", signature: foreign },
        { type: "thinking", text: "", redacted: "secret" },
      ],
      [{ type: "thinking", text: "chunk", signature: { origin: "openai-chat", data: "s" } }],
    ]);
  });

  test("the scalar fields", () => {
    const request = decode({
      max_completion_tokens: 10,
      max_tokens: 20,
      temperature: 0.5,
      top_p: 1,
      presence_penalty: 1,
      frequency_penalty: -1,
      logit_bias: { 1: 2 },
      n: 2,
      seed: 7,
      stop: "END",
      logprobs: true,
      top_logprobs: 3,
      stream: true,
      stream_options: { include_usage: true },
      service_tier: "flex",
      user: "u",
      prompt_cache_key: "s",
      metadata: { a: "b" },
      parallel_tool_calls: false,
      temperature_is_unknown: null,
    });
    expect(request).toEqual({
      model: "m",
      system: [],
      messages: [{ role: "user", content: [{ type: "text", text: "Hi" }] }],
      tools: [],
      maxTokens: 10,
      temperature: 0.5,
      topP: 1,
      presencePenalty: 1,
      frequencyPenalty: -1,
      logitBias: { 1: 2 },
      n: 2,
      seed: 7,
      stop: ["END"],
      logprobs: true,
      topLogprobs: 3,
      stream: true,
      includeUsage: true,
      serviceTier: "flex",
      userId: "u",
      sessionId: "s",
      metadata: { a: "b" },
      parallelToolCalls: false,
    });
    expect(decode({ safety_identifier: "safe", user: "u" }).userId).toBe("safe");
    expect(decode({ max_tokens: 20 }).maxTokens).toBe(20);
  });

  test.each([
    ["none", { mode: "off" }],
    ["minimal", { mode: "on", effort: "minimal" }],
    ["xhigh", { mode: "on", effort: "xhigh" }],
    [null, undefined],
  ])("reasoning_effort %s", (effort, expected) => {
    expect(decode({ reasoning_effort: effort }).reasoning).toEqual(expected);
  });

  test("prompt_mode reasoning is reasoning with high effort", () => {
    expect(decode({ prompt_mode: "reasoning" }).reasoning).toEqual({ mode: "on", effort: "high" });
  });

  test("tools and how they are chosen", () => {
    const tools = [
      { type: "function", function: { name: "f", description: "does", strict: true } },
      { type: "custom", custom: { name: "c", description: "free", format: { type: "text" } } },
    ];
    const of = (tool_choice: unknown) => decode({ tools, tool_choice }).toolChoice;
    expect(decode({ tools }).tools).toEqual([
      {
        type: "function",
        name: "f",
        description: "does",
        strict: true,
        parameters: { type: "object", properties: {} },
      },
      { type: "custom", name: "c", description: "free", format: { type: "text" } },
    ]);
    expect(of("required")).toEqual({ type: "required" });
    expect(of("any")).toEqual({ type: "required" });
    expect(of({ type: "function", function: { name: "f" } })).toEqual({ type: "tool", name: "f" });
    expect(of({ type: "custom", custom: { name: "c" } })).toEqual({ type: "tool", name: "c" });
    expect(of({ type: "allowed_tools", allowed_tools: { mode: "required", tools: [] } })).toEqual({ type: "required" });
  });

  test("deprecated functions are tools", () => {
    const request = decode({
      functions: [{ name: "f", parameters: { type: "object" } }],
      function_call: { name: "f" },
    });
    expect(request.tools).toEqual([{ type: "function", name: "f", parameters: { type: "object" } }]);
    expect(request.toolChoice).toEqual({ type: "tool", name: "f" });
  });

  test("output formats", () => {
    const of = (response_format: object) => decode({ response_format }).outputFormat;
    expect(of({ type: "text" })).toBeUndefined();
    expect(of({ type: "json_object" })).toEqual({ type: "json" });
    expect(of({ type: "json_schema", json_schema: { name: "n", schema: { type: "object" }, strict: true } })).toEqual({
      type: "json-schema",
      name: "n",
      schema: { type: "object" },
      strict: true,
    });
  });

  test("unknown fields are kept, and given back only to styles that take them", () => {
    const request = decode({
      verbosity: "low",
      store: false,
      stream: true,
      stream_options: { include_obfuscation: false },
    });
    const kept = { verbosity: "low", store: false, stream_options: { include_obfuscation: false } };
    expect(request.extensions).toEqual({ dialect: "openai-chat", value: kept });
    expect(openaiChat.encodeRequest(request, "m")).toMatchObject({
      verbosity: "low",
      store: false,
      stream_options: { include_obfuscation: false, include_usage: true },
    });
    const closedSchema = openaiChatWith({ restoreExtensions: false });
    const closed = closedSchema.encodeRequest(request, "m");
    expect(closed).not.toHaveProperty("verbosity");
    expect(closed.stream_options).toEqual({ include_usage: true });
  });

  test.each<[string, object]>([
    ["messages", { messages: [] }],
    ["messages", { messages: "Hi" }],
    ["model", { model: "" }],
    ["model", { model: undefined }],
    ["messages.0.content", { messages: [user(5)] }],
    ["messages.0.content", { messages: [{ role: "user" }] }],
    ["messages.0.role", { messages: [{ role: "robot", content: "Hi" }] }],
    ["messages.0.role", { messages: [{ role: "function", name: "f", content: "Hi" }] }],
    ["messages.0.content.0.type", { messages: [user([{ text: "Hi" }])] }],
    ["messages.0.content.1.text", { messages: [user([{ type: "text", text: "a" }, { type: "text" }])] }],
    ["messages.0.content.0.image_url.url", { messages: [user([{ type: "image_url", image_url: {} }])] }],
    ["messages.1.tool_call_id", { messages: [user("Hi"), { role: "tool", content: "x" }] }],
    ["messages.0.tool_calls.0.id", { messages: [{ role: "assistant", tool_calls: [{ function: { name: "f" } }] }] }],
    ["messages.0.function_call", { messages: [{ role: "assistant", content: null, function_call: { name: "f" } }] }],
    ...[0, -1, 1.5, "100", Number.POSITIVE_INFINITY].flatMap((wrong): [string, object][] => [
      ["max_tokens", { max_tokens: wrong }],
      ["max_completion_tokens", { max_completion_tokens: wrong }],
    ]),
    ["n", { n: 0 }],
    ["n", { n: 129 }],
    ["temperature", { temperature: "hot" }],
    ["stream", { stream: "yes" }],
    ["stop.1", { stop: ["a", 1] }],
    ["reasoning_effort", { reasoning_effort: "huge" }],
    ["tools.0.function.name", { tools: [{ type: "function", function: {} }] }],
    ["tool_choice", { tool_choice: "sometimes" }],
    ["response_format.type", { response_format: {} }],
    ["stream_options.include_usage", { stream_options: { include_usage: 1 } }],
  ])("%s is named when it is wrong: %j", (param, wrong) => {
    const error = refusal({ model: "m", messages: [user("Hi")], ...wrong });
    expect(error).toMatchObject({ param, status: 400 });
    expect(error.message).toContain(param);
  });

  test("anything that is not an object is refused", () => {
    for (const body of [null, [], "x", 1]) expect(refusal(body).status).toBe(400);
  });

  test("null is the same as absent", () => {
    const fields = [
      "max_tokens",
      "temperature",
      "stop",
      "tools",
      "tool_choice",
      "response_format",
      "stream",
      "n",
      "user",
    ];
    expect(decode(Object.fromEntries(fields.map((field) => [field, null])))).toEqual(decode({}));
  });
});
