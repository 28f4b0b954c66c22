import { describe, expect, it } from "vitest";
import { GatewayError } from "../../src/core/errors.ts";
import type { ChatRequest, Message } from "../../src/core/request.ts";
import { encodeSignature } from "../../src/core/thinking-envelope.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { openaiResponses } from "../../src/dialects/openai-responses/index.ts";

const ID = "openai-responses";
const read = (body: JsonObject) => openaiResponses.decodeRequest({ model: "m", input: "hi", ...body });
const items = (...input: JsonObject[]) => read({ input }).messages;
const write = (request: Partial<ChatRequest>) =>
  openaiResponses.encodeRequest({ model: "m", system: [], messages: [], tools: [], stream: false, ...request }, "up");
const written = (...messages: Message[]) => write({ messages }).input as JsonObject[];
/** What a request becomes that has to be written anew for an upstream of the same dialect. */
const rewrite = (body: JsonObject) => openaiResponses.encodeRequest(read(body), "up");

function refusal(body: JsonObject): GatewayError {
  try {
    read(body);
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
  throw new Error("was not refused");
}

const user = (...content: Message["content"]): Message => ({ role: "user", content });
const assistant = (...content: Message["content"]): Message => ({ role: "assistant", content });
const text = (value: string) => ({ type: "text" as const, text: value });

describe("a caller's request", () => {
  it("may be one string", () => {
    expect(read({})).toEqual({ model: "m", system: [], messages: [user(text("hi"))], tools: [], stream: false });
  });

  it("tells the system in its instructions and in leading messages, and later ones where they stand", () => {
    const request = read({
      instructions: "a",
      input: [
        { role: "developer", content: "b" },
        { role: "system", content: [{ type: "input_text", text: "c" }] },
        { role: "user", content: "hi" },
        { type: "message", role: "developer", content: "d" },
      ],
    });
    expect(request.system).toEqual([text("a"), text("b"), text("c")]);
    expect(request.messages).toEqual([user(text("hi")), { role: "system", content: [text("d")] }]);
  });

  it("becomes one assistant message per turn of the model, and one user message per round of results", () => {
    expect(
      items(
        { role: "user", content: "hi" },
        { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "hm" }], encrypted_content: "gA" },
        { type: "message", id: "msg_1", role: "assistant", content: [{ type: "output_text", text: "let me see" }] },
        { type: "function_call", id: "fc_1", call_id: "c1", name: "look", arguments: "{}" },
        { type: "custom_tool_call", call_id: "c2", name: "run", input: "ls" },
        { type: "custom_tool_call_output", call_id: "c2", output: "a.txt" },
        {
          type: "function_call_output",
          call_id: "c1",
          output: [{ type: "input_image", image_url: "https://a/b.png" }],
        },
        { role: "user", content: "go on" },
      ),
    ).toEqual([
      user(text("hi")),
      assistant(
        { type: "thinking", text: "hm", signature: { origin: ID, kind: "rs_1", data: "gA" } },
        text("let me see"),
        { type: "tool-call", id: "c1", name: "look", arguments: "{}" },
        { type: "tool-call", id: "c2", name: "run", arguments: "ls", custom: true },
      ),
      user(
        { type: "tool-result", id: "c2", content: [text("a.txt")] },
        {
          type: "tool-result",
          id: "c1",
          content: [{ type: "image", source: { kind: "url", url: "https://a/b.png" } }],
        },
      ),
      user(text("go on")),
    ]);
  });

  it("keeps items that only this dialect knows where they stand, and results before them", () => {
    const search = { type: "web_search_call", id: "ws_1", status: "completed" };
    const shell = { type: "shell_call_output", call_id: "s1", output: [] };
    const input = [
      search,
      { type: "function_call", call_id: "c1", name: "f", arguments: "{}" },
      { type: "function_call_output", call_id: "c1", output: "1" },
      shell,
      { type: "function_call_output", call_id: "c2", output: "2" },
    ];
    expect(items(...input).map(({ role, content }) => [role, ...content.map(({ type }) => type)])).toEqual([
      ["assistant", "opaque", "tool-call"],
      ["user", "tool-result", "tool-result", "opaque"],
    ]);
    expect(rewrite({ input }).input).toEqual([input[0], input[1], input[2], input[4], input[3]]);
  });

  it("holds images and files in every form", () => {
    const parts = [
      { type: "input_text", text: "see" },
      { type: "input_image", image_url: "data:image/png;base64,AA==", detail: "original" },
      { type: "input_image", file_id: "file-1" },
      { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,BB==" },
      { type: "input_file", file_data: "CC==" },
      { type: "input_file", file_url: "https://a/b.pdf" },
      { type: "input_audio", input_audio: { data: "DD==", format: "wav" } },
      { type: "input_hologram", hologram: 1 },
    ];
    expect(items({ role: "user", content: parts })[0]!.content).toEqual([
      text("see"),
      { type: "image", source: { kind: "base64", mediaType: "image/png", data: "AA==" }, detail: "high" },
      { type: "image", source: { kind: "file", dialect: ID, id: "file-1" } },
      {
        type: "document",
        source: { kind: "base64", mediaType: "application/pdf", data: "BB==" },
        filename: "a.pdf",
      },
      { type: "document", source: { kind: "base64", mediaType: "application/pdf", data: "CC==" } },
      { type: "document", source: { kind: "url", url: "https://a/b.pdf" } },
      { type: "audio", data: "DD==", format: "wav" },
      { type: "opaque", dialect: ID, kind: "input_hologram", value: parts[7] },
    ]);
  });

  it("asks for reasoning by effort, and to read it by a summary", () => {
    expect(read({ reasoning: { effort: "none" } }).reasoning).toEqual({ mode: "off" });
    expect(read({ reasoning: { effort: "xhigh" } }).reasoning).toEqual({ mode: "on", effort: "xhigh" });
    expect(read({ reasoning: { effort: "low", summary: "auto" } }).reasoning).toEqual({
      mode: "on",
      effort: "low",
      show: true,
    });
    expect(read({ reasoning: { summary: "detailed" } }).reasoning).toEqual({ mode: "default", show: true });
    expect(read({ reasoning: null }).reasoning).toBeUndefined();
  });

  it("reads back another wire's thinking from Turnpike's envelope", () => {
    const reasoning = (encrypted_content: string, summary = "") => ({
      type: "reasoning",
      id: "rs_x1_0",
      summary: summary === "" ? [] : [{ type: "summary_text", text: summary }],
      encrypted_content,
    });
    const thought = (item: JsonObject) => items(item)[0]!.content[0];
    const foreign = { origin: "anthropic-messages", data: "EqQB" };
    expect(thought(reasoning(encodeSignature(foreign, "", ID), "hm"))).toEqual({
      type: "thinking",
      text: "hm",
      signature: foreign,
    });
    expect(thought(reasoning(encodeSignature(foreign, "hidden", ID)))).toEqual({
      type: "thinking",
      text: "hidden",
      signature: foreign,
    });
    const own = { origin: ID, kind: "rs_upstream", data: "gA" };
    expect(thought(reasoning(encodeSignature(own)))).toEqual({ type: "thinking", text: "", signature: own });
  });

  it("defines tools of every kind", () => {
    const search = {
      type: "web_search_preview",
      filters: { allowed_domains: ["a.example"] },
      user_location: { type: "approximate", city: "Paris" },
      search_context_size: "low",
    };
    const files = { type: "file_search", vector_store_ids: ["v"] };
    const tools = [
      { type: "function", name: "f", parameters: { type: "object" }, strict: true, defer_loading: true },
      { type: "function", name: "g", parameters: null, strict: null, description: "G" },
      { type: "custom", name: "c", format: { type: "grammar", syntax: "regex", definition: "a" } },
      search,
      files,
    ];
    expect(read({ tools }).tools).toEqual([
      {
        type: "function",
        name: "f",
        parameters: { type: "object" },
        strict: true,
        extensions: { dialect: ID, value: { defer_loading: true } },
      },
      { type: "function", name: "g", parameters: { type: "object", properties: {} }, description: "G" },
      { type: "custom", name: "c", format: { type: "grammar", syntax: "regex", definition: "a" } },
      {
        type: "web-search",
        name: "web_search_preview",
        allowedDomains: ["a.example"],
        userLocation: { type: "approximate", city: "Paris" },
        native: { dialect: ID, value: search },
      },
      { type: "opaque", dialect: ID, kind: "file_search", value: files },
    ]);
    expect(rewrite({ tools }).tools).toEqual([
      tools[0],
      { type: "function", name: "g", description: "G", parameters: { type: "object", properties: {} }, strict: false },
      ...tools.slice(2),
    ]);
  });

  it.each([
    ["required", { type: "required" }],
    [
      { type: "function", name: "f" },
      { type: "tool", name: "f" },
    ],
    [
      { type: "custom", name: "c" },
      { type: "tool", name: "c" },
    ],
    [{ type: "web_search" }, { type: "tool", name: "web_search" }],
    [{ type: "file_search" }, { type: "required" }],
    [{ type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "f" }] }, { type: "auto" }],
  ])("chooses a tool by %j, and the same one when written anew", (tool_choice, choice) => {
    const tools = [
      { type: "function", name: "f", parameters: {} },
      { type: "custom", name: "c" },
      { type: "web_search" },
      { type: "file_search" },
    ];
    const request = read({ tools, tool_choice });
    expect(request.toolChoice).toEqual(choice);
    expect(openaiResponses.encodeRequest(request, "up").tool_choice).toEqual(tool_choice);
    const fitted = { ...request, toolChoice: { type: "none" as const } };
    expect(openaiResponses.encodeRequest(fitted, "up").tool_choice).toBe("none");
  });

  it("names its user and its conversation", () => {
    expect(read({ user: "u", safety_identifier: "s", prompt_cache_key: "k" })).toMatchObject({
      userId: "s",
      sessionId: "k",
    });
    expect(read({ user: "u" })).toMatchObject({ userId: "u" });
  });

  it("keeps what only this dialect knows, and gives it back", () => {
    const body = {
      store: true,
      truncation: "auto",
      max_tool_calls: 3,
      include: ["reasoning.encrypted_content", "message.output_text.logprobs", "file_search_call.results"],
      top_logprobs: 2,
      text: { format: { type: "json_object" }, verbosity: "low" },
      reasoning: { effort: "low", summary: "concise", context: "all_turns" },
      some_new_field: { a: 1 },
      stream: true,
      stream_options: { include_obfuscation: false },
    };
    const request = read(body);
    expect(request).toMatchObject({ logprobs: true, topLogprobs: 2, outputFormat: { type: "json" } });
    const again = openaiResponses.encodeRequest(request, "up");
    expect({ ...again, include: new Set(again.include as string[]) }).toEqual({
      ...body,
      model: "up",
      input: [{ role: "user", content: "hi" }],
      include: new Set(body.include),
    });
  });

  it("keeps the phase of a text and the namespace of a call", () => {
    const input = [
      { role: "user", content: "hi" },
      { role: "assistant", content: "working", phase: "commentary" },
      { type: "function_call", namespace: "crm", call_id: "c1", name: "f", arguments: "{}" },
      { role: "assistant", content: "done", phase: "final_answer" },
    ];
    expect(rewrite({ input }).input).toEqual(input);
  });

  it.each([
    [
      { previous_response_id: "resp_1" },
      "previous_response_id",
      "`previous_response_id` is not supported by this route",
    ],
    [{ conversation: "conv_1" }, "conversation", "`conversation` is not supported by this route"],
    [{ background: true }, "background", "`background` is not supported by this route"],
    [{ prompt: { id: "p" } }, "prompt", "`prompt` is not supported by this route"],
    [
      { input: [{ type: "item_reference", id: "msg_1" }] },
      "input.0",
      "`item_reference` is not supported by this route",
    ],
    [{ input: [{ id: "msg_1" }] }, "input.0", "`item_reference` is not supported by this route"],
    [{ input: undefined }, "input", "`input` must be a string or a non-empty array of items"],
    [{ input: [] }, "input", "`input` must be a string or a non-empty array of items"],
    [
      { input: [{ role: "robot", content: "" }] },
      "input.0.role",
      "`input.0.role` must be one of user, assistant, system, developer",
    ],
    [{ input: [{ role: "user", content: [{ type: "video" }] }] }, "input.0.content.0.type", undefined],
    [
      { input: [{ role: "assistant", content: [{ type: "input_image", image_url: "x" }] }] },
      "input.0.content.0.type",
      undefined,
    ],
    [
      { input: [{ role: "system", content: [{ type: "input_image", image_url: "x" }] }] },
      "input.0.content.0.type",
      undefined,
    ],
    [{ input: [{ type: "function_call", name: "f", arguments: "" }] }, "input.0.call_id", undefined],
    [{ input: [{ type: "function_call_output", call_id: "c", output: 1 }] }, "input.0.output", undefined],
    [{ input: [{ type: "reasoning", summary: [1] }] }, "input.0.summary.0", undefined],
    [{ model: "" }, "model", undefined],
    [{ max_output_tokens: 0 }, "max_output_tokens", "`max_output_tokens` must be an integer of at least 1"],
    [{ reasoning: { effort: "extreme" } }, "reasoning.effort", undefined],
    [{ tools: [{ type: "function" }] }, "tools.0.name", undefined],
    [{ tool_choice: "maybe" }, "tool_choice", "`tool_choice` must be one of auto, none, required"],
    [{ text: { format: { type: "json_schema" } } }, "text.format.schema", undefined],
    [{ stream: "yes" }, "stream", "`stream` must be a boolean"],
  ])("is refused with the path of what is wrong: %j", (body, param, message) => {
    const error = refusal(body as JsonObject);
    expect(error).toMatchObject({ code: "invalid_request", status: 400, param });
    if (message !== undefined) expect(error.message).toBe(message);
  });

  it("takes null for absent", () => {
    const nulls = ["previous_response_id", "conversation", "prompt", "background", "tools", "text", "metadata", "user"];
    expect(read(Object.fromEntries(nulls.map((field) => [field, null])))).toEqual(read({}));
  });
});

describe("a request for an upstream", () => {
  it("asks for no store, and for the encrypted reasoning only where there is reasoning", () => {
    expect(write({})).toEqual({ model: "up", input: [], store: false });
    expect(write({ reasoning: { mode: "on", effort: "high", show: true } })).toMatchObject({
      store: false,
      reasoning: { effort: "high", summary: "auto" },
      include: ["reasoning.encrypted_content"],
    });
    const off = write({ reasoning: { mode: "off" } });
    expect(off).toMatchObject({ reasoning: { effort: "none" } });
    expect(off.include).toBeUndefined();
  });

  it("tells the system as instructions, without what is meant for others", () => {
    const system = [text("a"), { ...text("billing"), onlyFor: "anthropic-messages" }, text("b")];
    expect(write({ system }).instructions).toBe("a\n\nb");
  });

  it("leaves out what the API does not have", () => {
    const request = write({
      stop: ["x"],
      n: 2,
      seed: 1,
      topK: 3,
      presencePenalty: 1,
      frequencyPenalty: 1,
      logitBias: { a: 1 },
      messages: [user(text("a"), { type: "audio", data: "AA==", format: "wav" })],
    });
    expect(request).toEqual({ model: "up", store: false, input: [{ role: "user", content: "a" }] });
  });

  it("shortens ids that are longer than the API takes, the same ones to the same", () => {
    const { safety_identifier, prompt_cache_key } = write({ userId: "u".repeat(65), sessionId: "s".repeat(64) });
    expect(safety_identifier).toMatch(/^[0-9a-f]{64}$/);
    expect(safety_identifier).toBe(write({ userId: "u".repeat(65) }).safety_identifier);
    expect(prompt_cache_key).toBe("s".repeat(64));
  });

  it("replays reasoning of its own before the item that it led to, and leaves out any other", () => {
    const own = { origin: ID, kind: "rs_1", data: "gA" };
    const thought = { type: "thinking" as const, text: "hm", signature: own };
    expect(
      written(
        assistant(thought, text("a"), { type: "thinking", text: "unsigned" }, thought),
        assistant({ type: "thinking", text: "x", signature: { origin: "anthropic-messages", data: "E" } }, text("b")),
        assistant({ type: "thinking", text: "", redacted: "R" }, { ...thought, text: "" }, text("c")),
        assistant({ ...thought, signature: { ...own, data: "" } }, text("d")),
      ),
    ).toEqual([
      { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "hm" }], encrypted_content: "gA" },
      { role: "assistant", content: "a" },
      { role: "assistant", content: "b" },
      { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gA" },
      { role: "assistant", content: "c" },
      { role: "assistant", content: "d" },
    ]);
  });

  it("answers calls by their kind, marks failures, and keeps images in outputs", () => {
    const image = { type: "image" as const, source: { kind: "base64" as const, mediaType: "image/png", data: "AA==" } };
    expect(
      written(
        assistant(
          { type: "tool-call", id: "a", name: "f", arguments: "" },
          { type: "tool-call", id: "b", name: "g", arguments: "", custom: true },
        ),
        user(
          { type: "tool-result", id: "a", content: [text("boom")], isError: true },
          { type: "tool-result", id: "b", content: [] },
          text("and?"),
        ),
        user(
          { type: "tool-result", id: "a", content: [image], isError: true },
          { type: "tool-result", id: "a", content: [text("Error: x"), image], isError: true },
          { type: "tool-result", id: "a", content: [], isError: true },
        ),
      ),
    ).toEqual([
      { type: "function_call", call_id: "a", name: "f", arguments: "{}" },
      { type: "custom_tool_call", call_id: "b", name: "g", input: "" },
      { type: "function_call_output", call_id: "a", output: "Error: boom" },
      { type: "custom_tool_call_output", call_id: "b", output: "" },
      { role: "user", content: "and?" },
      {
        type: "function_call_output",
        call_id: "a",
        output: [
          { type: "input_text", text: "Error:" },
          { type: "input_image", image_url: "data:image/png;base64,AA==", detail: "auto" },
        ],
      },
      {
        type: "function_call_output",
        call_id: "a",
        output: [
          { type: "input_text", text: "Error: x" },
          { type: "input_image", image_url: "data:image/png;base64,AA==", detail: "auto" },
        ],
      },
      { type: "function_call_output", call_id: "a", output: "Error:" },
    ]);
  });

  it("writes documents as files, and those of text as text", () => {
    const pdf = { kind: "base64" as const, mediaType: "application/pdf", data: "AA==" };
    const [message] = written(
      user(
        { type: "document", source: pdf, title: "T" },
        { type: "document", source: pdf },
        { type: "document", source: { kind: "url", url: "https://a/b.pdf" }, filename: "b.pdf" },
        { type: "document", source: { kind: "text", mediaType: "text/plain", text: "words" }, title: 'a "b"' },
      ),
    );
    expect(message!.content).toEqual([
      { type: "input_file", filename: "T", file_data: "data:application/pdf;base64,AA==" },
      { type: "input_file", filename: "document.pdf", file_data: "data:application/pdf;base64,AA==" },
      { type: "input_file", file_url: "https://a/b.pdf" },
      { type: "input_text", text: '<document title="a &quot;b&quot;">\nwords\n</document>' },
    ]);
  });

  it("refuses a file of another provider's store", () => {
    const source = { kind: "file" as const, dialect: "anthropic-messages", id: "file_1" };
    expect(() => written(user({ type: "image", source }))).toThrow(/another provider's store/);
  });

  it("writes tools of other dialects in its own form, and no choice among none", () => {
    const request = write({
      tools: [
        {
          type: "web-search",
          name: "web_search",
          allowedDomains: ["a.example"],
          native: { dialect: "anthropic-messages", value: { type: "web_search_20250305", name: "web_search" } },
        },
        {
          type: "custom",
          name: "c",
          format: { type: "grammar", grammar: { syntax: "lark", definition: "start: A" } },
        },
        { type: "opaque", dialect: "gemini", kind: "urlContext", value: {} },
      ],
      toolChoice: { type: "tool", name: "web_search" },
    });
    expect(request.tools).toEqual([
      { type: "web_search", filters: { allowed_domains: ["a.example"] } },
      { type: "custom", name: "c", format: { type: "grammar", syntax: "lark", definition: "start: A" } },
    ]);
    expect(request.tool_choice).toEqual({ type: "web_search" });
    const none = write({ toolChoice: { type: "required" }, parallelToolCalls: false });
    expect(none).toEqual({ model: "up", input: [], store: false });
  });

  it("asks for a format of the answer by name", () => {
    const schema = { type: "object" };
    expect(write({ outputFormat: { type: "json-schema", schema } }).text).toEqual({
      format: { type: "json_schema", name: "output", schema },
    });
    expect(write({ outputFormat: { type: "json" } }).text).toEqual({ format: { type: "json_object" } });
  });
});

describe("counting tokens", () => {
  const count = openaiResponses.countTokens!;

  it("asks with the fields that a count may have", () => {
    const request = read({ instructions: "a", max_output_tokens: 99, truncation: "auto", metadata: { a: "b" } });
    expect(count.path!("up")).toBe("/responses/input_tokens");
    expect(count.encodeRequest!(request, "up")).toEqual({
      model: "up",
      instructions: "a",
      input: [{ role: "user", content: "hi" }],
      truncation: "auto",
    });
  });

  it("answers in the API's words, and reads them", () => {
    expect(count.encodeResponse(12)).toEqual({ object: "response.input_tokens", input_tokens: 12 });
    expect(count.decodeResponse!({ object: "response.input_tokens", input_tokens: 12 })).toBe(12);
    expect(count.decodeResponse!({ error: {} })).toBeUndefined();
    expect(count.decodeRequest({ model: "m", input: "hi" })).toEqual(read({}));
  });
});
