import { describe, expect, it } from "vitest";
import { isGatewayError } from "../../src/core/errors.ts";
import type { ChatRequest } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";

const ID = "anthropic-messages";
const { decodeRequest, encodeRequest } = anthropicMessages;

const hello = { model: "claude", max_tokens: 100, messages: [{ role: "user", content: "hello" }] };
const decode = (fields: JsonObject) => decodeRequest({ ...hello, ...fields });
const content = (...blocks: unknown[]) =>
  decode({ messages: [{ role: "user", content: blocks }] }).messages[0]!.content;
const canonical = (fields: Partial<ChatRequest>): ChatRequest => ({
  model: "claude",
  system: [],
  messages: [{ role: "user", content: [{ type: "text", text: "hello" }] }],
  tools: [],
  stream: false,
  ...fields,
});
const encode = (fields: Partial<ChatRequest>) => encodeRequest(canonical(fields), "upstream-model");
const envelope = (value: JsonObject) => `tp1.${Buffer.from(JSON.stringify(value)).toString("base64url")}`;

function refusal(run: () => unknown) {
  try {
    run();
  } catch (error) {
    if (isGatewayError(error)) return { code: error.code, status: error.status, param: error.param };
    throw error;
  }
  return undefined;
}

/** As Claude Code 2.1 sends it to a gateway in the middle of a tool loop. */
const claudeCode = {
  model: "mistral-large-latest",
  max_tokens: 32000,
  stream: true,
  system: [
    { type: "text", text: "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli;" },
    { type: "text", text: "You are Claude Code.", cache_control: { type: "ephemeral", scope: "global" } },
    { type: "text", text: "Be brief.", cache_control: { type: "ephemeral", ttl: "1h" } },
  ],
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "<system-reminder>x</system-reminder>" },
        { type: "text", text: "read both" },
      ],
    },
    {
      role: "assistant",
      content: [
        { type: "thinking", thinking: "", signature: "EpAECkYICx" },
        { type: "text", text: "Reading." },
        { type: "tool_use", id: "toolu_1", name: "Read", input: { file: "a.png" }, caller: { type: "direct" } },
        { type: "tool_use", id: "abcDEF123", name: "ToolSearch", input: {} },
      ],
    },
    {
      role: "user",
      content: [
        { type: "tool_result", tool_use_id: "abcDEF123", content: [{ type: "tool_reference", tool_name: "Edit" }] },
        {
          type: "tool_result",
          tool_use_id: "toolu_1",
          is_error: false,
          content: [
            { type: "text", text: "a picture" },
            { type: "image", source: { type: "base64", media_type: "image/png", data: "iVBO" } },
          ],
        },
      ],
    },
    {
      role: "system",
      content: [{ type: "text", text: "Environment: /work", cache_control: { type: "ephemeral" } }],
      output_config: { effort: "medium" },
    },
  ],
  tools: [
    {
      name: "Read",
      description: "Reads",
      input_schema: { $schema: "x", type: "object", properties: {} },
      cache_control: { type: "ephemeral" },
    },
    { name: "DeferredToolPlaceholder", input_schema: { type: "object" }, defer_loading: true },
    { type: "web_search_20250305", name: "web_search", max_uses: 8 },
  ],
  thinking: { type: "adaptive", display: "omitted" },
  output_config: { effort: "high", task_budget: { type: "tokens", total: 9 } },
  context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
  metadata: { user_id: '{"device_id":"d","account_uuid":"","session_id":"s-1"}' },
};

describe("a request of Claude Code", () => {
  const request = decodeRequest(claudeCode);

  it("keeps every system block, and marks the billing line as for Anthropic only", () => {
    expect(request.system).toEqual([
      {
        type: "text",
        text: "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli;",
        onlyFor: ID,
      },
      { type: "text", text: "You are Claude Code.", cache: { type: "ephemeral", scope: "global" } },
      { type: "text", text: "Be brief.", cache: { type: "ephemeral", ttl: "1h" } },
    ]);
  });

  it("keeps the system message at the end of the conversation, with its own effort", () => {
    expect(request.messages.at(-1)).toEqual({
      role: "system",
      content: [{ type: "text", text: "Environment: /work", cache: { type: "ephemeral" } }],
      extensions: { dialect: ID, value: { output_config: { effort: "medium" } } },
    });
  });

  it("reads thinking, effort, the end user and the session", () => {
    expect(request.reasoning).toEqual({ mode: "auto", effort: "high", show: false });
    expect(request.userId).toBe(claudeCode.metadata.user_id);
    expect(request.sessionId).toBe("s-1");
    expect(request.extensions).toEqual({
      dialect: ID,
      value: {
        context_management: claudeCode.context_management,
        output_config: { task_budget: { type: "tokens", total: 9 } },
      },
    });
  });

  it("reads parallel results in the order they came, with an image and a tool reference in them", () => {
    expect(request.messages[2]!.content).toEqual([
      {
        type: "tool-result",
        id: "abcDEF123",
        content: [
          {
            type: "opaque",
            dialect: ID,
            kind: "tool_reference",
            value: { type: "tool_reference", tool_name: "Edit" },
          },
        ],
      },
      {
        type: "tool-result",
        id: "toolu_1",
        isError: false,
        content: [
          { type: "text", text: "a picture" },
          { type: "image", source: { kind: "base64", mediaType: "image/png", data: "iVBO" } },
        ],
      },
    ]);
  });

  it("comes out as it went in when the target speaks the same dialect", () => {
    const expected = structuredClone(claudeCode) as unknown as { messages: { content: JsonObject[] }[] };
    // Every call says that nobody but the model made it.
    delete expected.messages[1]!.content[2]!.caller;
    expect(encodeRequest(request, claudeCode.model)).toEqual(expected);
  });
});

describe("reading a request", () => {
  it.each([
    [{ model: undefined }, "model"],
    [{ model: 1 }, "model"],
    [{ messages: undefined }, "messages"],
    [{ messages: [] }, "messages"],
    [{ max_tokens: undefined }, "max_tokens"],
    [{ max_tokens: -1 }, "max_tokens"],
    [{ max_tokens: 1.5 }, "max_tokens"],
    [{ max_tokens: JSON.parse("1e999") }, "max_tokens"],
    [{ max_tokens: "10" }, "max_tokens"],
    [{ temperature: JSON.parse("1e999") }, "temperature"],
    [{ stop_sequences: ["a", 1] }, "stop_sequences"],
    [{ stream: "yes" }, "stream"],
    [{ system: 1 }, "system"],
    [{ system: [{ type: "image" }] }, "system.0.type"],
    [{ messages: ["hi"] }, "messages.0"],
    [{ messages: [{ role: "tool", content: "x" }] }, "messages.0.role"],
    [{ messages: [{ role: "user" }] }, "messages.0.content"],
    [{ messages: [{ role: "user", content: [{ type: "text", text: "a" }, {}] }] }, "messages.0.content.1.type"],
    [{ messages: [{ role: "user", content: [{ type: "text" }] }] }, "messages.0.content.0.text"],
    [
      { messages: [{ role: "user", content: [{ type: "image", source: { type: "url" } }] }] },
      "messages.0.content.0.source.url",
    ],
    [
      { messages: [{ role: "assistant", content: [{ type: "tool_use", id: "a", name: "b", input: "{}" }] }] },
      "messages.0.content.0.input",
    ],
    [
      { messages: [{ role: "user", content: [{ type: "tool_result", tool_use_id: "a", content: [{ text: "x" }] }] }] },
      "messages.0.content.0.content.0.type",
    ],
    [{ tools: [{ name: "a" }] }, "tools.0.input_schema"],
    [{ tools: {} }, "tools"],
    [{ tool_choice: { type: "some" } }, "tool_choice.type"],
    [{ tool_choice: { type: "tool" } }, "tool_choice.name"],
    [{ thinking: { type: "enabled" } }, "thinking.budget_tokens"],
    [{ output_config: { format: { type: "json_schema" } } }, "output_config.format.schema"],
    [{ metadata: { user_id: 1 } }, "metadata.user_id"],
  ])("refuses %j and names the field", (fields, param) => {
    expect(refusal(() => decode(fields))).toEqual({ code: "invalid_request", status: 400, param });
  });

  it("refuses a body that is no object", () => {
    expect(refusal(() => decodeRequest([]))?.code).toBe("invalid_request");
  });

  it("keeps fields, blocks and tools it does not know", () => {
    const request = decode({
      container: "c1",
      brand_new: { a: 1 },
      tools: [{ type: "code_execution_20250825", name: "code_execution" }],
      messages: [{ role: "user", content: [{ type: "container_upload", file_id: "f" }] }],
    });
    expect(request.extensions).toEqual({ dialect: ID, value: { container: "c1", brand_new: { a: 1 } } });
    expect(request.tools).toEqual([
      {
        type: "opaque",
        dialect: ID,
        kind: "code_execution_20250825",
        name: "code_execution",
        value: { type: "code_execution_20250825", name: "code_execution" },
      },
    ]);
    expect(request.messages[0]!.content).toEqual([
      { type: "opaque", dialect: ID, kind: "container_upload", value: { type: "container_upload", file_id: "f" } },
    ]);
    expect(encodeRequest(request, "m")).toMatchObject({ container: "c1", brand_new: { a: 1 } });
  });

  it("takes null as absent", () => {
    const request = decode({ temperature: null, system: null, tools: null, thinking: null, metadata: null });
    expect(request).toEqual({ ...canonical({}), maxTokens: 100 });
  });

  it.each([
    [{}, undefined],
    [{ output_config: { effort: "low" } }, { mode: "default", effort: "low" }],
    [{ thinking: { type: "disabled" } }, { mode: "off" }],
    [{ thinking: { type: "between_tools" } }, { mode: "off" }],
    [{ thinking: { type: "adaptive" } }, { mode: "auto", effort: "high" }],
    [
      { thinking: { type: "adaptive", display: "updates" }, output_config: { effort: "xhigh" } },
      { mode: "auto", effort: "xhigh", show: true },
    ],
    [{ thinking: { type: "adaptive", display: "summarized" } }, { mode: "auto", effort: "high", show: true }],
    [{ thinking: { type: "enabled", budget_tokens: 31999 } }, { mode: "on", budget: 31999 }],
    [
      { thinking: { type: "enabled", budget_tokens: 2048 }, output_config: { effort: "max" } },
      { mode: "on", budget: 2048, effort: "max" },
    ],
  ])("reads the reasoning of %j", (fields, reasoning) => {
    expect(decode(fields).reasoning).toEqual(reasoning);
  });

  it.each([
    [{ type: "between_tools" }],
    [{ type: "adaptive", display: "updates" }],
    [{ type: "adaptive", block_binding: { prefix_mismatch_behavior: "drop_block" } }],
    [{ type: "dreaming", depth: 3 }],
  ])("gives thinking %j back unchanged", (thinking) => {
    expect(encodeRequest(decode({ thinking }), "m").thinking).toEqual(thinking);
  });

  it("keeps an effort that nobody knows yet", () => {
    const request = decode({ output_config: { effort: "ultra" } });
    expect(request.reasoning).toBeUndefined();
    expect(encodeRequest(request, "m").output_config).toEqual({ effort: "ultra" });
  });

  it("reads tool choices", () => {
    const choose = (choice: JsonObject) => {
      const { toolChoice, parallelToolCalls } = decode({ tool_choice: choice });
      return [toolChoice, parallelToolCalls];
    };
    expect(choose({ type: "auto", disable_parallel_tool_use: true })).toEqual([{ type: "auto" }, false]);
    expect(choose({ type: "any" })).toEqual([{ type: "required" }, undefined]);
    expect(choose({ type: "tool", name: "f" })).toEqual([{ type: "tool", name: "f" }, undefined]);
    expect(choose({ type: "none" })).toEqual([{ type: "none" }, undefined]);
  });

  it("reads the output format where it stands now and where it stood before", () => {
    const schema = { type: "object" };
    const format = { type: "json_schema", schema };
    const held = { type: "json-schema", schema, strict: true };
    expect(decode({ output_config: { format } }).outputFormat).toEqual(held);
    expect(decode({ output_format: format }).outputFormat).toEqual(held);
  });

  it("reads images and documents from every source", () => {
    expect(
      content(
        { type: "image", source: { type: "url", url: "https://a/b.png" } },
        { type: "image", source: { type: "file", file_id: "f1" }, cache_control: { type: "ephemeral" } },
        { type: "document", source: { type: "base64", media_type: "application/pdf", data: "JVBE" }, title: "T" },
        {
          type: "document",
          source: { type: "text", media_type: "text/plain", data: "words" },
          context: "C",
          citations: { enabled: true },
        },
        {
          type: "document",
          source: {
            type: "content",
            content: [
              { type: "text", text: "a" },
              { type: "text", text: "b" },
            ],
          },
        },
        { type: "document", source: { type: "url", url: "https://a/b.pdf" }, title: null },
        { type: "search_result", source: "https://s", title: "S", content: [{ type: "text", text: "found" }] },
      ),
    ).toEqual([
      { type: "image", source: { kind: "url", url: "https://a/b.png" } },
      { type: "image", source: { kind: "file", dialect: ID, id: "f1" }, cache: { type: "ephemeral" } },
      { type: "document", source: { kind: "base64", mediaType: "application/pdf", data: "JVBE" }, title: "T" },
      {
        type: "document",
        source: { kind: "text", mediaType: "text/plain", text: "words" },
        context: "C",
        citations: true,
      },
      { type: "document", source: { kind: "text", mediaType: "text/plain", text: "a\n\nb" } },
      { type: "document", source: { kind: "url", url: "https://a/b.pdf" } },
      {
        type: "document",
        source: { kind: "text", mediaType: "text/plain", text: "found" },
        title: "S",
        context: "https://s",
      },
    ]);
  });

  it("reads a result without content as empty", () => {
    expect(content({ type: "tool_result", tool_use_id: "a" })).toEqual([{ type: "tool-result", id: "a", content: [] }]);
  });

  it("remembers which code called a tool, and tells it again", () => {
    const call = {
      type: "tool_use",
      id: "t1",
      name: "f",
      input: {},
      caller: { type: "code_execution_20250825", tool_id: "srv" },
    };
    const request = decode({ messages: [{ role: "assistant", content: [call] }] });
    expect(encodeRequest(request, "m").messages).toEqual([{ role: "assistant", content: [call] }]);
  });
});

describe("thinking in a request", () => {
  const thinking = (block: JsonObject) =>
    decode({ messages: [{ role: "assistant", content: [{ type: "thinking", ...block }] }] }).messages[0]!.content[0];

  it("knows a native signature from Turnpike's envelope and from a damaged one", () => {
    expect(thinking({ thinking: "a", signature: "Er4B" })).toEqual({
      type: "thinking",
      text: "a",
      signature: { origin: ID, data: "Er4B" },
    });
    const signature = envelope({ p: "gemini", m: "gemini-3", k: "thought", d: "xyz" });
    expect(thinking({ thinking: "a", signature })).toEqual({
      type: "thinking",
      text: "a",
      signature: { origin: "gemini", model: "gemini-3", kind: "thought", data: "xyz" },
    });
    expect(thinking({ thinking: "a", signature: "tp1.%%%" })).toMatchObject({ signature: { origin: "unknown" } });
    expect(thinking({ thinking: "a" })).toEqual({ type: "thinking", text: "a" });
  });

  it("finds the hidden text again in the envelope", () => {
    expect(thinking({ thinking: "", signature: envelope({ p: "mistral", k: "text", d: "hm" }) })).toEqual({
      type: "thinking",
      text: "hm",
      signature: { origin: "mistral", kind: "text", data: "" },
    });
    expect(thinking({ thinking: "", signature: envelope({ p: "", k: "text", d: "hm" }) })).toEqual({
      type: "thinking",
      text: "hm",
    });
    expect(thinking({ thinking: "", signature: envelope({ p: "x", d: "own", t: "hm" }) })).toEqual({
      type: "thinking",
      text: "hm",
      signature: { origin: "x", data: "own" },
    });
  });
});

describe("writing a request", () => {
  it("writes the least where the least was said", () => {
    expect(encode({})).toEqual({
      model: "upstream-model",
      max_tokens: 4096,
      messages: [{ role: "user", content: "hello" }],
    });
  });

  it("writes one unmarked system text as a string, and drops empty ones", () => {
    const system = [
      { type: "text" as const, text: "Be brief." },
      { type: "text" as const, text: " " },
    ];
    expect(encode({ system }).system).toBe("Be brief.");
  });

  it("merges turns of one role, tool results first, and leaves out what is empty", () => {
    expect(
      encode({
        messages: [
          { role: "user", content: [{ type: "text", text: "go" }] },
          {
            role: "assistant",
            content: [
              { type: "text", text: "" },
              { type: "tool-call", id: "a.1", name: "f", arguments: "" },
            ],
          },
          { role: "assistant", content: [{ type: "tool-call", id: "b", name: "f", arguments: '{"x":' }] },
          {
            role: "user",
            content: [
              { type: "tool-result", id: "a.1", content: [] },
              { type: "text", text: "and" },
            ],
          },
          {
            role: "user",
            content: [{ type: "tool-result", id: "b", content: [{ type: "text", text: "ok" }], isError: true }],
          },
          { role: "assistant", content: [{ type: "text", text: "\n" }] },
          { role: "system", content: [{ type: "text", text: "Note" }] },
        ],
      }).messages,
    ).toEqual([
      { role: "user", content: "go" },
      {
        role: "assistant",
        content: [
          { type: "tool_use", id: "a_1", name: "f", input: {} },
          { type: "tool_use", id: "b", name: "f", input: { __invalid_json: '{"x":' } },
        ],
      },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "a_1" },
          { type: "tool_result", tool_use_id: "b", content: "ok", is_error: true },
          { type: "text", text: "and" },
        ],
      },
      { role: "system", content: "Note" },
    ]);
  });

  it("replays its own thinking only", () => {
    expect(
      encode({
        messages: [
          {
            role: "assistant",
            content: [
              { type: "thinking", text: "a", signature: { origin: ID, data: "sig" } },
              { type: "thinking", text: "b", signature: { origin: "gemini", data: "x" } },
              { type: "thinking", text: "c" },
              { type: "thinking", text: "", redacted: "enc" },
              { type: "text", text: "t" },
            ],
          },
        ],
      }).messages,
    ).toEqual([
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "a", signature: "sig" },
          { type: "redacted_thinking", data: "enc" },
          { type: "text", text: "t" },
        ],
      },
    ]);
  });

  it.each([
    [{ mode: "off" }, { thinking: { type: "disabled" } }],
    [{ mode: "auto", show: true }, { thinking: { type: "adaptive", display: "summarized" } }],
    [
      { mode: "auto", effort: "low", show: false },
      { thinking: { type: "adaptive", display: "omitted" }, output_config: { effort: "low" } },
    ],
    [{ mode: "on", budget: 2000 }, { thinking: { type: "enabled", budget_tokens: 2000 } }],
    [
      { mode: "on", effort: "high" },
      { thinking: { type: "adaptive" }, output_config: { effort: "high" } },
    ],
    [{ mode: "default", effort: "high" }, { output_config: { effort: "high" } }],
  ] as const)("writes reasoning %j", (reasoning, wire) => {
    const { thinking, output_config } = encode({ reasoning });
    expect({
      ...(thinking !== undefined && { thinking }),
      ...(output_config !== undefined && { output_config }),
    }).toEqual(wire);
  });

  it("writes tools, a forced choice and one call at a time", () => {
    const tools = [
      { type: "function" as const, name: "f", parameters: {}, strict: true },
      { type: "opaque" as const, dialect: "openai-chat", kind: "custom", value: {} },
    ];
    expect(encode({ tools, toolChoice: { type: "required" }, parallelToolCalls: false })).toMatchObject({
      tools: [{ name: "f", input_schema: { type: "object" }, strict: true }],
      tool_choice: { type: "any", disable_parallel_tool_use: true },
    });
    expect(encode({ tools, parallelToolCalls: false }).tool_choice).toEqual({
      type: "auto",
      disable_parallel_tool_use: true,
    });
    expect(encode({ tools, toolChoice: { type: "none" }, parallelToolCalls: false }).tool_choice).toEqual({
      type: "none",
    });
    expect(encode({ toolChoice: { type: "required" } }).tool_choice).toBeUndefined();
  });

  it("leaves out what belongs to other dialects", () => {
    const body = encode({
      seed: 1,
      extensions: { dialect: "openai-chat", value: { verbosity: "low" } },
      outputFormat: { type: "json" },
      stop: [" ", "END"],
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "a", onlyFor: "openai-chat" },
            { type: "text", text: "b", citations: { dialect: "openai-chat", value: [] } },
            { type: "opaque", dialect: "openai-chat", kind: "x", value: { type: "x" } },
            { type: "image", source: { kind: "file", dialect: "openai-chat", id: "f" } },
            { type: "audio", data: "", format: "wav" },
          ],
        },
      ],
    });
    expect(body).toEqual({
      model: "upstream-model",
      max_tokens: 4096,
      messages: [{ role: "user", content: "b" }],
      stop_sequences: ["END"],
    });
  });

  it("writes a text file as a text document", () => {
    const data = Buffer.from("wörter").toString("base64");
    const source = { kind: "base64" as const, mediaType: "text/markdown", data };
    expect(
      encode({ messages: [{ role: "user", content: [{ type: "document", source, filename: "a.md" }] }] }).messages,
    ).toEqual([
      {
        role: "user",
        content: [
          { type: "document", source: { type: "text", media_type: "text/plain", data: "wörter" }, title: "a.md" },
        ],
      },
    ]);
  });
});

describe("counting tokens", () => {
  const { countTokens } = anthropicMessages;

  it("needs no bound and sends only what may be counted", () => {
    const body = {
      model: "claude",
      messages: [{ role: "user", content: "hi" }],
      tools: [{ name: "f", input_schema: { type: "object" } }],
      speed: "fast",
      service_tier: "auto",
      metadata: { user_id: "u" },
    };
    const request = countTokens!.decodeRequest(body);
    expect(request.maxTokens).toBeUndefined();
    expect(countTokens!.encodeRequest!(request, "up")).toEqual({
      model: "up",
      messages: [{ role: "user", content: "hi" }],
      tools: [{ name: "f", input_schema: { type: "object" } }],
      speed: "fast",
    });
    expect(countTokens!.path!("up")).toBe("/messages/count_tokens");
  });

  it("reads and writes the count", () => {
    expect(countTokens!.encodeResponse(12)).toEqual({ input_tokens: 12 });
    expect(countTokens!.decodeResponse!({ input_tokens: 12 })).toBe(12);
    expect(countTokens!.decodeResponse!({ input_tokens: "12" })).toBeUndefined();
  });
});
