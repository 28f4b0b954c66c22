import { type ChatRequest, GatewayError, type Provider, type Tool } from "turnpike";
import { anthropic, mistral, openai, openaiCompatible } from "turnpike/providers";
import { validateAnthropic, validateMistral, validateOpenAI } from "turnpike/testing";
import { describe, expect, test } from "vitest";
import { type FitTarget, fit as fitTo } from "../../src/capabilities/fit/index.ts";
import type { CapabilityRow } from "../../src/core/provider.ts";
import type { FunctionTool } from "../../src/core/request.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";

// biome-ignore lint/suspicious/noExplicitAny: the tests read vendors' JSON.
type Json = any;

const apiKey = "k";
const TARGETS = {
  mistral: [mistral({ apiKey }), "mistral-medium-3-5", validateMistral],
  openai: [openai({ apiKey }), "gpt-5.5", validateOpenAI],
  "old openai": [openai({ apiKey }), "gpt-4.1", validateOpenAI],
  anthropic: [anthropic({ apiKey }), "claude-haiku-5-5", validateAnthropic],
  "old anthropic": [anthropic({ apiKey }), "claude-sonnet-4-20250514", validateAnthropic],
  compatible: [openaiCompatible({ baseURL: "http://127.0.0.1:1/v1" }), "local", () => undefined],
} satisfies Record<string, [Provider, string, (body: unknown) => unknown]>;
type Name = keyof typeof TARGETS;

const plain: ChatRequest = {
  model: "asked",
  system: [],
  messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }],
  tools: [],
  stream: false,
  maxTokens: 1_000,
};

function targetOf(name: Name, rows: readonly CapabilityRow[] = []): FitTarget {
  const [provider, model] = TARGETS[name];
  const { dialect, type } = provider;
  const capabilities = Object.assign({}, provider.capabilities(model), ...rows);
  return { capabilities, dialect: dialect.id, provider: type, model };
}

/** Fitted, written down and accepted by the target. */
function write(name: Name, request: Partial<ChatRequest>, rows?: readonly CapabilityRow[]) {
  const [provider, model, validate] = TARGETS[name];
  const asked = structuredClone({ ...plain, ...request });
  const before = structuredClone(asked);
  const fitted = fitTo(asked, targetOf(name, rows));
  expect(asked, "the caller's request is not touched").toEqual(before);
  const body: Json = JSON.parse(JSON.stringify(provider.dialect.encodeRequest(fitted.request, model)));
  expect(validate(body), JSON.stringify(body)).toBeUndefined();
  return { ...fitted, body };
}

function refusal(work: () => unknown) {
  try {
    work();
  } catch (error) {
    if (error instanceof GatewayError)
      return {
        code: error.code,
        status: error.status,
        param: error.param,
        ladder: error.ladder,
        message: error.message,
      };
  }
  return undefined;
}

const fromChat = (body: object) =>
  openaiChat.decodeRequest({ model: "m", messages: [{ role: "user", content: "hi" }], ...body });
const fromAnthropic = (body: object) =>
  anthropicMessages.decodeRequest({
    model: "m",
    max_tokens: 500,
    messages: [{ role: "user", content: "hi" }],
    ...body,
  });

describe("custom tools", () => {
  const request = fromChat({
    tools: [
      {
        type: "custom",
        custom: {
          name: "sql",
          description: "Runs SQL.",
          format: { type: "grammar", grammar: { syntax: "lark", definition: 'start: "x"' } },
        },
      },
    ],
    tool_choice: { type: "custom", custom: { name: "sql" } },
    messages: [
      { role: "user", content: "hi" },
      {
        role: "assistant",
        tool_calls: [{ id: "call_1", type: "custom", custom: { name: "sql", input: 'SELECT "a"' } }],
      },
      { role: "tool", tool_call_id: "call_1", content: "1" },
    ],
  });

  test("are functions of one text where the target has none, in tools, choice and earlier calls", () => {
    const { body, changes, customTools } = write("anthropic", request);
    expect(body.tools).toMatchObject([
      {
        name: "sql",
        description: 'Runs SQL.\n\nThe input must be valid in this grammar (lark):\nstart: "x"',
        input_schema: { properties: { input: { type: "string" } }, required: ["input"] },
      },
    ]);
    expect(body.tool_choice).toEqual({ type: "tool", name: "sql" });
    expect(body.messages[1].content).toMatchObject([{ type: "tool_use", input: { input: 'SELECT "a"' } }]);
    expect(changes).toMatchObject([
      { field: "tools", kind: "moved", from: "sql", to: "function" },
      { field: "tools.format", kind: "adjusted" },
    ]);
    expect(customTools).toEqual(new Set(["sql"]));
  });

  test.each<Name>(["mistral", "old openai", "compatible"])("are functions for %s too", (name) => {
    const { body } = write(name, request);
    expect(body.tools).toMatchObject([{ type: "function", function: { name: "sql" } }]);
    expect(body.messages[1].tool_calls).toMatchObject([
      { type: "function", function: { name: "sql", arguments: '{"input":"SELECT \\"a\\""}' } },
    ]);
  });

  test("go as they came where the target has them", () => {
    const { body, changes, customTools } = write("openai", request);
    expect(body.tools).toEqual([
      {
        type: "custom",
        custom: {
          name: "sql",
          description: "Runs SQL.",
          format: { type: "grammar", grammar: { syntax: "lark", definition: 'start: "x"' } },
        },
      },
    ]);
    expect(body.tool_choice).toEqual({ type: "custom", custom: { name: "sql" } });
    expect(body.messages[1].tool_calls).toEqual([
      { id: "call_1", type: "custom", custom: { name: "sql", input: 'SELECT "a"' } },
    ]);
    expect([changes, customTools.size]).toEqual([[], 0]);
  });

  test("with a grammar that another dialect does not nest are nested here", () => {
    const format = { type: "grammar", syntax: "regex", definition: "a+" };
    const { body } = write("openai", { tools: [{ type: "custom", name: "x", format }] });
    expect(body.tools[0].custom.format).toEqual({ type: "grammar", grammar: { syntax: "regex", definition: "a+" } });
    expect(
      write("mistral", { tools: [{ type: "custom", name: "x", format }] }).body.tools[0].function.description,
    ).toContain("(regex):\na+");
  });

  test("keep their name's way back, and their own, where the name is changed", () => {
    const { body, toolNames, customTools } = write("mistral", { tools: [{ type: "custom", name: "my tool" }] });
    const [tool] = body.tools;
    expect(toolNames.get(tool.function.name)).toBe("my tool");
    expect(customTools).toEqual(new Set(["my tool"]));
  });
});

describe("typed client tools", () => {
  const editor = { type: "text_editor_20250728", name: "str_replace_based_edit_tool", max_characters: 10_000 };
  const tools = [
    { type: "bash_20250124", name: "bash", cache_control: { type: "ephemeral" } },
    editor,
    { type: "memory_20250818", name: "memory" },
  ];

  test("go back to Anthropic exactly as they came", () => {
    const { body, changes } = write("anthropic", fromAnthropic({ tools }));
    expect(body.tools).toEqual(tools);
    expect(changes).toEqual([]);
  });

  test.each<Name>(["mistral", "openai", "compatible"])(
    "are functions with their documented parameters for %s",
    (name) => {
      const { body, changes } = write(name, fromAnthropic({ tools, tool_choice: { type: "tool", name: "bash" } }));
      const [bash, edit, memory] = body.tools.map((tool: Json) => tool.function);
      expect(Object.keys(bash.parameters.properties)).toEqual(["command", "restart"]);
      expect(edit.parameters.properties.command.enum).toEqual(["view", "create", "str_replace", "insert"]);
      expect(edit.parameters.required).toEqual(["command", "path"]);
      expect(memory.parameters.properties.command.enum).toContain("rename");
      expect(changes.filter(({ kind }) => kind === "moved")).toEqual(
        tools.map(({ type }) => ({ field: "tools", kind: "moved", from: type, to: "function" })),
      );
    },
  );

  test("of the first editions can undo an edit, and have the newest name for nothing else", () => {
    const { tools } = fromAnthropic({ tools: [{ type: "text_editor_20250124", name: "str_replace_editor" }] });
    expect((tools[0] as Json).parameters.properties.command.enum).toContain("undo_edit");
  });

  test.each(["computer_20250124", "computer_toolset_20260801", "browser_toolset_20260801"])(
    "without a portable form (%s) are refused, not dropped: the caller waits for their calls",
    (type) => {
      const request = fromAnthropic({ tools: [tools[0], { type, name: "computer" }] });
      expect(write("anthropic", request).body.tools[1].type).toBe(type);
      expect(refusal(() => fitTo(request, targetOf("mistral")))).toEqual({
        code: "unsupported",
        status: 400,
        param: "tools.1",
        ladder: "next",
        message: `mistral/mistral-medium-3-5 cannot be given a tool of type ${type}`,
      });
    },
  );

  test("of the provider's side are dropped and named", () => {
    const request = fromAnthropic({ tools: [{ type: "code_execution_20250825", name: "code_execution" }, tools[0]] });
    const { body, changes } = write("openai", request);
    expect(body.tools).toHaveLength(1);
    expect(changes).toContainEqual({
      field: "tools",
      kind: "dropped",
      from: "code_execution_20250825",
      reason: "the target has no such tool",
    });
  });
});

describe("web search", () => {
  const search = {
    type: "web_search_20260209",
    name: "web_search",
    max_uses: 3,
    allowed_domains: ["a.example"],
    user_location: { type: "approximate", city: "Paris" },
  };
  const claudeCode = fromAnthropic({ tools: [search], tool_choice: { type: "tool", name: "web_search" } });

  test("goes back to Anthropic as it came", () => {
    const { body, changes } = write("anthropic", claudeCode);
    expect([body.tools, body.tool_choice, changes]).toEqual([[search], { type: "tool", name: "web_search" }, []]);
  });

  test("is Mistral's own for Mistral; the wishes it does not take are named", () => {
    const { body, changes } = write("mistral", claudeCode);
    expect(body.tools).toEqual([{ type: "web_search" }]);
    expect(body.tool_choice).toBe("auto");
    expect(changes.map(({ field, kind }) => [field, kind])).toEqual([
      ["tools.web_search.allowedDomains", "dropped"],
      ["tools.web_search.userLocation", "dropped"],
      ["tools.web_search.maxUses", "dropped"],
      ["tool_choice", "adjusted"],
    ]);
  });

  test("of a Chat caller is Anthropic's for Anthropic, and a premium one stays one for Mistral", () => {
    const premium = fromChat({ tools: [{ type: "web_search_premium" }] });
    expect(write("mistral", premium).body.tools).toEqual([{ type: "web_search_premium" }]);
    expect(write("anthropic", premium).body.tools).toEqual([{ type: "web_search_20250305", name: "web_search" }]);
  });

  test("of another dialect has all its wishes at Anthropic, but either domains that are allowed or those that are not", () => {
    const tool: Tool = {
      type: "web-search",
      name: "web_search",
      allowedDomains: ["a"],
      blockedDomains: ["b"],
      userLocation: { type: "approximate", country: "FR" },
      maxUses: 2,
      native: { dialect: "openai-responses", value: { type: "web_search" } },
    };
    expect(write("anthropic", { tools: [tool] }).body.tools).toEqual([
      {
        type: "web_search_20250305",
        name: "web_search",
        max_uses: 2,
        allowed_domains: ["a"],
        user_location: { type: "approximate", country: "FR" },
      },
    ]);
    const { body } = write("openai", { tools: [tool] }, [{ match: /^/, webSearch: { takes: ["userLocation"] } }]);
    expect(body.web_search_options).toEqual({ user_location: { type: "approximate", approximate: { country: "FR" } } });
    expect(body.tools).toBeUndefined();
  });

  test("that nothing else can do is answered: the model is told to say so, nothing is refused", () => {
    for (const name of ["openai", "compatible"] as const) {
      const { body, changes } = write(name, claudeCode);
      expect(body).not.toHaveProperty("tools");
      expect(body).not.toHaveProperty("tool_choice");
      expect(body.messages[0].content).toContain("Web search is not available here");
      expect(changes).toContainEqual({
        field: "tools",
        kind: "dropped",
        from: "web_search",
        reason: "the target has no web search",
      });
    }
  });

  test("beside other tools is left out, and a choice of it becomes auto", () => {
    const request = fromAnthropic({
      tools: [search, { name: "f", input_schema: { type: "object" } }],
      tool_choice: { type: "tool", name: "web_search" },
    });
    const { body, changes } = write("openai", request);
    expect(body.tools).toHaveLength(1);
    expect(body.tool_choice).toBe("auto");
    expect(body.messages).toHaveLength(1);
    expect(changes.map(({ field }) => field)).toEqual(["tools", "tool_choice"]);
  });
});

describe("several answers", () => {
  test("are refused where only one is given, never cut to one in silence; one is no wish at all", () => {
    expect(refusal(() => fitTo({ ...plain, n: 2 }, targetOf("anthropic")))).toEqual({
      code: "unsupported",
      status: 400,
      param: "n",
      ladder: "next",
      message: "n must be 1 for anthropic/claude-haiku-5-5",
    });
    expect(write("anthropic", { n: 1 }).changes).toEqual([]);
    for (const name of ["openai", "mistral", "compatible"] as const) expect(write(name, { n: 2 }).body.n).toBe(2);
    const eight: CapabilityRow = { match: /^/, parameters: { n: { min: 1, max: 8 } } };
    expect(write("openai", { n: 8 }, [eight]).body.n).toBe(8);
    expect(refusal(() => fitTo({ ...plain, n: 9 }, targetOf("openai", [eight])))?.message).toBe(
      "n must be at most 8 for openai/gpt-5.5",
    );
  });
});

describe("output formats", () => {
  const schema = {
    $schema: "http://json-schema.org/draft-07/schema#",
    type: "object",
    properties: { a: { type: "integer", minimum: 1 }, b: { type: "string" } },
    required: ["a"],
  };
  const format = (more: object = {}) => ({ outputFormat: { type: "json-schema" as const, schema, ...more } });

  test("are closed and relaxed for Anthropic, whether or not they were strict", () => {
    for (const strict of [true, false]) {
      const { body, changes } = write("anthropic", format({ strict, name: "x" }));
      expect(body.output_config.format).toEqual({
        type: "json_schema",
        schema: {
          type: "object",
          properties: { a: { type: "integer", description: "{minimum: 1}" }, b: { type: "string" } },
          required: ["a"],
          additionalProperties: false,
        },
      });
      expect(changes).toEqual([
        { field: "response_format", kind: "ignored", from: "$schema" },
        { field: "response_format", kind: "adjusted", from: "minimum", to: "description" },
        { field: "response_format", kind: "added", from: "additionalProperties", to: "false" },
      ]);
    }
  });

  test("are instructions where the schema cannot be held to, or no schema can", () => {
    const tree = { type: "object", properties: { child: { $ref: "#" } } };
    const recursive = write("anthropic", format({ schema: tree }));
    expect(recursive.body).not.toHaveProperty("output_config");
    expect(recursive.body.system).toContain(JSON.stringify(tree));
    expect(recursive.changes).toEqual([
      {
        field: "response_format",
        kind: "adjusted",
        from: "json_schema",
        to: "instruction",
        reason: "it refers to itself",
      },
    ]);
    const old = write("old anthropic", format());
    expect(old.body).not.toHaveProperty("output_config");
    expect(old.body.system).toContain('"minimum":1');
    const json = write("anthropic", { outputFormat: { type: "json" } });
    expect(json.body.system).toContain("JSON");
    expect(json.changes).toMatchObject([{ field: "response_format", kind: "adjusted", from: "json_object" }]);
  });

  test("are strict for OpenAI only if the caller's was, and if it can be", () => {
    const strict = write("openai", fromAnthropic({ output_config: { format: { type: "json_schema", schema } } }));
    expect(strict.body.response_format.json_schema).toMatchObject({
      name: "output",
      strict: true,
      schema: { required: ["a", "b"], additionalProperties: false, properties: { b: { type: ["string", "null"] } } },
    });
    const loose = write("openai", format());
    expect(loose.body.response_format.json_schema.schema).toEqual({ ...schema, $schema: undefined });
    expect(loose.changes).toEqual([{ field: "response_format", kind: "ignored", from: "$schema" }]);
    const map = { type: "object", additionalProperties: { type: "string" } };
    const open = write("openai", format({ schema: map, strict: true }));
    expect(open.body.response_format.json_schema).toMatchObject({ strict: false, schema: { ...map, properties: {} } });
    expect(open.changes).toMatchObject([{ field: "response_format.strict", kind: "adjusted", from: true, to: false }]);
  });

  test.each<Name>(["mistral", "compatible"])("are the caller's own for %s, with a name that is legal", (name) => {
    const { body, changes } = write(name, format({ name: "my schema!", strict: true }));
    const { $schema: _, ...rest } = schema;
    expect(body.response_format.json_schema).toMatchObject({ name: "my_schema_", strict: true, schema: rest });
    expect(changes).toContainEqual({
      field: "response_format.name",
      kind: "moved",
      from: "my schema!",
      to: "my_schema_",
    });
  });

  test("give way to tools where the target cannot have both", () => {
    const row: CapabilityRow = { match: /^/, outputFormatWithTools: false };
    const tools: Tool[] = [{ type: "function", name: "f", parameters: { type: "object", properties: {} } }];
    const both = write("compatible", { ...format(), tools }, [row]);
    expect(both.body).not.toHaveProperty("response_format");
    expect(both.body.messages[0].content).toContain('"minimum":1');
    expect(both.changes).toContainEqual({
      field: "response_format",
      kind: "adjusted",
      from: "json_schema",
      to: "instruction",
      reason: "not together with tools",
    });
    expect(write("compatible", format(), [row]).body).toHaveProperty("response_format");
    const none = write("compatible", { ...format(), tools }, [row, { match: /^/, tools: false }]);
    expect(none.body).toHaveProperty("response_format");
  });
});

describe("strict tools", () => {
  const strictTool = (name: string, parameters: object): FunctionTool => ({
    type: "function",
    name,
    parameters: parameters as Record<string, unknown>,
    strict: true,
  });
  const small = { type: "object", properties: { a: { type: "integer", minimum: 1 } }, required: ["a"] };

  test("are adapted; others are left alone", () => {
    const tools: Tool[] = [strictTool("f", small), { ...strictTool("g", small), strict: false }];
    const { body, changes } = write("anthropic", { tools });
    expect(body.tools[0].input_schema).toEqual({
      type: "object",
      properties: { a: { type: "integer", description: "{minimum: 1}" } },
      required: ["a"],
      additionalProperties: false,
    });
    expect(body.tools[1].input_schema).toEqual(small);
    expect(changes).toEqual([
      { field: "tools.parameters", kind: "adjusted", from: "minimum", to: "description" },
      { field: "tools.parameters", kind: "added", from: "additionalProperties", to: "false" },
    ]);
  });

  test("that cannot be held to are no longer strict, and keep their schema", () => {
    const map = { type: "object", additionalProperties: { type: "string" } };
    for (const name of ["anthropic", "openai"] as const) {
      const { body, changes } = write(name, { tools: [strictTool("f", map)] });
      const [tool] = body.tools;
      expect((tool.function ?? tool).strict).toBe(false);
      expect(tool.input_schema ?? tool.function.parameters).toMatchObject(map);
      expect(changes).toMatchObject([{ field: "tools.strict", kind: "adjusted", from: true, to: false }]);
    }
  });

  test("are twenty at most at Anthropic, with 24 optional properties and 16 unions among them", () => {
    const strictOf = (tools: Tool[]) =>
      write("anthropic", { tools }).body.tools.filter((tool: Json) => tool.strict).length;
    const many = (count: number, parameters: object) =>
      Array.from({ length: count }, (_, i) => strictTool(`f${i}`, parameters));
    expect(strictOf(many(22, small))).toBe(20);
    const optional = {
      type: "object",
      properties: Object.fromEntries([..."abcdefgh"].map((key) => [key, { type: "string" }])),
    };
    expect(strictOf(many(5, optional))).toBe(3);
    const union = { type: "object", properties: { a: { type: ["string", "null"] } }, required: ["a"] };
    expect(strictOf(many(18, union))).toBe(16);
    const { body, changes } = write("old anthropic", { tools: many(1, small) });
    expect(body.tools[0].strict).toBe(false);
    expect(changes).toMatchObject([{ field: "tools.strict", reason: "more than 0 strict tools" }]);
  });

  test("and loose ones say what goes without saying, where that is wanted", () => {
    const parameters = { type: "object", properties: { list: { type: "array" }, any: { type: "object" } } };
    const { body, changes } = write("openai", { tools: [{ type: "function", name: "f", parameters }] });
    expect(body.tools[0].function.parameters.properties).toEqual({
      list: { type: "array", items: {} },
      any: { type: "object", properties: {} },
    });
    expect(changes).toEqual([]);
  });

  test("rules for every schema move what is not taken into words, which is no loss for a tool that was not strict", () => {
    const row: CapabilityRow = { match: /^/, schemas: { of: "all", refused: ["minimum"] } };
    const { body, changes } = write("compatible", { tools: [{ ...strictTool("f", small), strict: false }] }, [row]);
    expect(body.tools[0].function.parameters.properties.a).toEqual({ type: "integer", description: "{minimum: 1}" });
    expect(changes).toEqual([{ field: "tools.parameters", kind: "moved", from: "minimum", to: "description" }]);
  });
});

test("a target without tools gets none, and no choice among them", () => {
  const tools: Tool[] = [
    { type: "function", name: "f", parameters: {} },
    { type: "custom", name: "c" },
  ];
  const { body, changes, customTools } = write(
    "compatible",
    { tools, toolChoice: { type: "required" }, parallelToolCalls: false },
    [{ match: /^/, tools: false }],
  );
  for (const field of ["tools", "tool_choice", "parallel_tool_calls"]) expect(body).not.toHaveProperty(field);
  expect(changes.filter(({ field }) => field === "tools")).toHaveLength(2);
  expect(customTools.size).toBe(0);
});
