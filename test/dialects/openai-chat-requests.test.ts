import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isGatewayError } from "../../src/core/errors.ts";
import type { ChatRequest, Message, Part } from "../../src/core/request.ts";
import { type ChatStyle, openaiChat, openaiChatWith } from "../../src/dialects/openai-chat/index.ts";
import { decodeSignature, encodeSignature } from "../../src/dialects/openai-chat/signature.ts";

const PNG = "data:image/png;base64,iVBORw0KGgo=";
const user = (content: unknown) => ({ role: "user", content });
const decode = (body: object) => openaiChat.decodeRequest({ model: "m", messages: [user("Hi")], ...body });
const decodeMessages = (...messages: unknown[]) => openaiChat.decodeRequest({ model: "m", messages });

function encode(request: Partial<ChatRequest>, style: ChatStyle = {}) {
  return openaiChatWith(style).encodeRequest(
    { model: "asked", system: [], messages: [], tools: [], stream: false, ...request },
    "upstream-model",
  );
}

function encodeMessages(messages: Message[], style: ChatStyle = {}) {
  return encode({ messages }, style).messages as Record<string, unknown>[];
}

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
      { type: "custom", custom: { name: "c" } },
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
      { type: "opaque", dialect: "openai-chat", kind: "custom", name: "c", value: tools[1] },
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
    expect(encode(request)).toMatchObject({
      verbosity: "low",
      store: false,
      stream_options: { include_obfuscation: false, include_usage: true },
    });
    const closed = encode(request, { restoreExtensions: false });
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

describe("writing a request", () => {
  const result = (id: string, content: Part[], isError?: boolean): Part => ({
    type: "tool-result",
    id,
    content: content as never,
    ...(isError && { isError }),
  });
  const text = (value: string): Part => ({ type: "text", text: value });
  const image: Part = { type: "image", source: { kind: "base64", mediaType: "image/png", data: "AA" } };
  const imageUrl = { type: "image_url", image_url: { url: "data:image/png;base64,AA" } };
  const call = (id: string, name = "f", args = "{}"): Part => ({ type: "tool-call", id, name, arguments: args });

  test("instructions are one leading message, in the role that the model takes", () => {
    const system = [
      { type: "text" as const, text: "One." },
      { type: "text" as const, text: "Two." },
    ];
    expect(encode({ system }).messages).toEqual([{ role: "system", content: "One.\n\nTwo." }]);
    const style: ChatStyle = { systemRole: (model) => (model.startsWith("up") ? "developer" : "system") };
    expect(encode({ system }, style).messages).toEqual([{ role: "developer", content: "One.\n\nTwo." }]);
  });

  test("one text is a plain string, several parts are parts", () => {
    expect(
      encodeMessages([
        { role: "user", content: [text("a")] },
        { role: "user", content: [text("a"), image] },
        { role: "assistant", content: [text("a"), text("b")] },
      ]),
    ).toEqual([user("a"), user([{ type: "text", text: "a" }, imageUrl]), { role: "assistant", content: "ab" }]);
  });

  test("tool results come first, images in them after all of them, with the rest", () => {
    const messages: Message[] = [
      { role: "assistant", content: [call("a"), call("b")] },
      { role: "user", content: [result("a", [text("see"), image]), result("b", [{ ...image }]), text("Well?")] },
    ];
    expect(encodeMessages(messages)).toEqual([
      {
        role: "assistant",
        content: null,
        tool_calls: ["a", "b"].map((id) => ({ id, type: "function", function: { name: "f", arguments: "{}" } })),
      },
      {
        role: "tool",
        tool_call_id: "a",
        content: [
          { type: "text", text: "see" },
          { type: "text", text: "[image 1 of 2 attached below]" },
        ],
      },
      { role: "tool", tool_call_id: "b", content: "[image 2 of 2 attached below]" },
      user([imageUrl, imageUrl, { type: "text", text: "Well?" }]),
    ]);
    expect(encodeMessages(messages, { toolContent: "chunks", toolName: true }).slice(1)).toEqual([
      { role: "tool", tool_call_id: "a", name: "f", content: [{ type: "text", text: "see" }, imageUrl] },
      { role: "tool", tool_call_id: "b", name: "f", content: [imageUrl] },
      user("Well?"),
    ]);
  });

  test("failed and empty tool results", () => {
    const messages: Message[] = [
      {
        role: "user",
        content: [
          result("a", [text("no such file")], true),
          result("b", [text("Error: no")], true),
          result("c", []),
          result("d", [], true),
        ],
      },
    ];
    const contents = (style: ChatStyle) => encodeMessages(messages, style).map((message) => message.content);
    expect(contents({})).toEqual(["Error: no such file", "Error: no", "", "Error: "]);
    expect(contents({ emptyToolResult: "(no output)" })[2]).toBe("(no output)");
  });

  test("earlier thinking, by style", () => {
    const thinking: Part = { type: "thinking", text: "hm", signature: { origin: "mine", data: "sig" } };
    const other: Part = { type: "thinking", text: "ha", signature: { origin: "theirs", data: "sig" } };
    const messages: Message[] = [{ role: "assistant", content: [thinking, other, text("a")] }];
    const chunk = (value: string) => ({ type: "thinking", thinking: [{ type: "text", text: value }] });
    expect(encodeMessages(messages)).toEqual([{ role: "assistant", content: "a" }]);
    expect(encodeMessages(messages, { thinking: "reasoning_content" })).toEqual([
      { role: "assistant", content: "a", reasoning_content: "hmha" },
    ]);
    expect(encodeMessages(messages, { thinking: "chunks", originType: "mine" })).toEqual([
      {
        role: "assistant",
        content: [
          { ...chunk("hm"), signature: "sig", closed: true },
          { ...chunk("ha"), closed: true },
          { type: "text", text: "a" },
        ],
      },
    ]);
  });

  test("refusals as a field or as text", () => {
    const messages: Message[] = [{ role: "assistant", content: [{ type: "refusal", text: "No." }] }];
    expect(encodeMessages(messages)).toEqual([{ role: "assistant", content: null, refusal: "No." }]);
    expect(encodeMessages(messages, { refusal: "text" })).toEqual([{ role: "assistant", content: "No." }]);
  });

  test("a trailing assistant message is marked as a prefix where the style says so", () => {
    const messages: Message[] = [
      { role: "user", content: [text("a")] },
      { role: "assistant", content: [text("b")] },
    ];
    expect(encodeMessages(messages, { prefix: true })).toEqual([
      user("a"),
      { role: "assistant", content: "b", prefix: true },
    ]);
  });

  test("documents and audio, by style", () => {
    const content: Part[] = [
      { type: "document", source: { kind: "base64", mediaType: "application/pdf", data: "AA" }, filename: "a.pdf" },
      { type: "document", source: { kind: "text", mediaType: "text/plain", text: "body" }, title: "T" },
      { type: "audio", data: "BB", format: "mp3" },
    ];
    const written = { type: "text", text: '<document title="T">\nbody\n</document>' };
    expect(encodeMessages([{ role: "user", content }])[0]?.content).toEqual([
      { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AA" } },
      written,
      { type: "input_audio", input_audio: { data: "BB", format: "mp3" } },
    ]);
    expect(
      encodeMessages([{ role: "user", content }], { documents: "document_url", audio: "base64" })[0]?.content,
    ).toEqual([
      { type: "document_url", document_url: "data:application/pdf;base64,AA", document_name: "a.pdf" },
      written,
      { type: "input_audio", input_audio: "BB" },
    ]);
  });

  test("what cannot be written is refused, never left out in silence", () => {
    const content: Part[] = [{ type: "image", source: { kind: "file", dialect: "x", id: "1" } }];
    expect(() => encodeMessages([{ role: "user", content }])).toThrow("cannot take an image by file id");
  });

  test("tools, and nothing about them without any", () => {
    const tools: ChatRequest["tools"] = [
      { type: "function", name: "f", parameters: { type: "object", properties: {} }, strict: false },
      {
        type: "opaque",
        dialect: "openai-chat",
        kind: "custom",
        name: "c",
        value: { type: "custom", custom: { name: "c" } },
      },
      { type: "opaque", dialect: "anthropic-messages", kind: "bash_20250124", value: {} },
    ];
    expect(encode({ tools, toolChoice: { type: "required" }, parallelToolCalls: false })).toMatchObject({
      tools: [
        { type: "function", function: { name: "f", strict: false } },
        { type: "custom", custom: { name: "c" } },
      ],
      tool_choice: "required",
      parallel_tool_calls: false,
    });
    const strict: ChatStyle = { requiredChoice: "any", strictTools: "when-true", parametersRequired: true };
    expect(encode({ tools: tools.slice(0, 1), toolChoice: { type: "required" } }, strict)).toMatchObject({
      tools: [{ type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } }],
      tool_choice: "any",
    });
    expect(encode({ tools, toolChoice: { type: "tool", name: "c" } }).tool_choice).toEqual({
      type: "custom",
      custom: { name: "c" },
    });
    expect(Object.keys(encode({ toolChoice: { type: "auto" }, parallelToolCalls: true }))).toEqual([
      "model",
      "messages",
    ]);
  });

  test("allowed tools come back as they were, unless the choice was changed on the way", () => {
    const tool_choice = { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [{ type: "function" }] } };
    const request = decode({ tools: [{ type: "function", function: { name: "f" } }], tool_choice });
    expect(encode(request).tool_choice).toEqual(tool_choice);
    expect(encode({ ...request, toolChoice: { type: "none" } }).tool_choice).toBe("none");
    expect(encode(request, { restoreExtensions: false }).tool_choice).toBe("auto");
  });

  test("the names of fields follow the style", () => {
    const request: Partial<ChatRequest> = { maxTokens: 5, seed: 1, userId: "u", sessionId: "s", stream: true, n: 2 };
    expect(encode(request)).toEqual({
      model: "upstream-model",
      messages: [],
      max_completion_tokens: 5,
      n: 2,
      seed: 1,
      user: "u",
      prompt_cache_key: "s",
      stream: true,
      stream_options: { include_usage: true },
    });
    const style: ChatStyle = {
      maxTokens: "max_tokens",
      seedField: "random_seed",
      userField: false,
      sessionField: false,
      includeUsage: false,
      extraBody: (_, model) => ({ safe_prompt: model === "upstream-model" }),
    };
    expect(encode(request, style)).toEqual({
      model: "upstream-model",
      messages: [],
      max_tokens: 5,
      n: 2,
      random_seed: 1,
      stream: true,
      safe_prompt: true,
    });
    expect(openaiChat.maxTokensFields).toEqual(["max_completion_tokens", "max_tokens"]);
    expect(openaiChatWith(style).maxTokensFields).toEqual(["max_tokens", "max_completion_tokens"]);
  });

  test("reasoning, by default and by style", () => {
    expect(encode({ reasoning: { mode: "off" } }).reasoning_effort).toBe("none");
    expect(encode({ reasoning: { mode: "on", effort: "low" } }).reasoning_effort).toBe("low");
    expect(encode({ reasoning: { mode: "auto" } })).not.toHaveProperty("reasoning_effort");
    const reasoning: ChatStyle["reasoning"] = (wish) => ({
      thinking: { type: wish?.mode === "off" ? "disabled" : "enabled" },
    });
    expect(encode({ reasoning: { mode: "off" } }, { reasoning })).toMatchObject({ thinking: { type: "disabled" } });
  });
});

describe("both ways", () => {
  const word = fc.string({ minLength: 1, maxLength: 12 });
  const some = <T>(value: fc.Arbitrary<T>) => fc.array(value, { minLength: 1, maxLength: 3 });
  const textPart = word.map((text): Part => ({ type: "text", text }));
  const media = fc.constantFrom<Part>(
    { type: "image", source: { kind: "url", url: "https://example.com/a.png" }, detail: "high" },
    { type: "image", source: { kind: "base64", mediaType: "image/png", data: "AAAA" } },
    { type: "audio", data: "AAAA", format: "wav" },
    { type: "document", source: { kind: "base64", mediaType: "application/pdf", data: "AA" }, filename: "a.pdf" },
    { type: "document", source: { kind: "file", dialect: "openai-chat", id: "file-1" } },
    { type: "opaque", dialect: "openai-chat", kind: "video_url", value: { type: "video_url" } },
  );
  const result = fc
    .record({ id: word, content: fc.array(textPart, { maxLength: 2 }) })
    .map(({ id, content }): Part => ({ type: "tool-result", id, content: content as never }));
  const call = fc
    .record({ id: word, name: word, value: fc.dictionary(word, fc.jsonValue()) })
    .map(({ id, name, value }): Part => ({ type: "tool-call", id, name, arguments: JSON.stringify(value) }));
  const assistant = fc
    .record({
      thinking: fc.option(word),
      text: fc.option(word),
      refusal: fc.option(word),
      calls: fc.array(call, { maxLength: 3 }),
    })
    .map(({ thinking, text, refusal, calls }): Message => {
      const content: Part[] = [];
      if (thinking !== null) content.push({ type: "thinking", text: thinking });
      if (text !== null) content.push({ type: "text", text });
      if (refusal !== null) content.push({ type: "refusal", text: refusal });
      return { role: "assistant", content: [...content, ...calls] };
    });
  const plainUser = some(fc.oneof(textPart, media)).map((content): Message => ({ role: "user", content }));
  const turn = fc.oneof(
    plainUser.map((message) => [message]),
    fc.tuple(assistant, some(result)).map(([said, content]): Message[] => [said, { role: "user", content }]),
    fc
      .tuple(plainUser, word)
      .map(([message, text]): Message[] => [message, { role: "system", content: [{ type: "text", text }] }]),
  );
  const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
  const request = fc.record({
    system: fc.array(word, { maxLength: 1 }).map((texts) => texts.map((text) => ({ type: "text" as const, text }))),
    messages: fc.tuple(plainUser, fc.array(turn, { maxLength: 4 })).map(([first, turns]) => [first, ...turns.flat()]),
    tools: fc.array(
      word.map((name) => ({ type: "function" as const, name, parameters: { type: "object", properties: { a: {} } } })),
      { maxLength: 2 },
    ),
    maxTokens: optional(fc.integer({ min: 1 })),
    temperature: optional(fc.double({ noNaN: true, noDefaultInfinity: true })),
    n: optional(fc.integer({ min: 1, max: 128 })),
    seed: optional(fc.maxSafeInteger()),
    stop: optional(some(word)),
    reasoning: optional(fc.constantFrom<ChatRequest["reasoning"]>({ mode: "off" }, { mode: "on", effort: "max" })),
    outputFormat: optional(
      fc.constantFrom<ChatRequest["outputFormat"]>(
        { type: "json" },
        { type: "json-schema", name: "n", schema: { type: "object" }, strict: true },
      ),
    ),
    userId: optional(word),
    sessionId: optional(word),
    metadata: optional(fc.dictionary(word, word)),
  });

  test("what the dialect can carry survives a round trip", () => {
    const dialect = openaiChatWith({ thinking: "reasoning_content" });
    fc.assert(
      fc.property(request, (fields) => {
        const before: ChatRequest = JSON.parse(JSON.stringify({ model: "m", stream: false, ...fields }));
        const wire = JSON.parse(JSON.stringify(dialect.encodeRequest(before, "m")));
        expect(dialect.decodeRequest(wire)).toEqual(before);
      }),
    );
  });

  test("any JSON is either read or refused with the field's name", () => {
    const fields = ["messages", "tools", "tool_choice", "stop", "response_format", "stream_options", "functions"];
    const junk = fc.dictionary(fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 4 }));
    fc.assert(
      fc.property(junk, (fields) => {
        try {
          openaiChat.decodeRequest({ model: "m", messages: [user("Hi")], ...fields });
        } catch (error) {
          expect(isGatewayError(error) && error.code === "invalid_request" && error.param !== undefined).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("signatures travel in an envelope, native ones as they are", () => {
    const signature = fc.record({ origin: word, model: word, kind: word, data: fc.string() });
    fc.assert(fc.property(signature, (value) => expect(decodeSignature(encodeSignature(value))).toEqual(value)));
    expect(encodeSignature({ origin: "anthropic-messages", data: "raw" })).toBe("raw");
    expect(decodeSignature("raw")).toEqual({ origin: "anthropic-messages", data: "raw" });
    expect(decodeSignature("tp1.!!!")).toBeUndefined();
  });
});
