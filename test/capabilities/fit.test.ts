import type { ChatRequest, Message, Provider } from "turnpike";
import { anthropic, mistral, openai, openaiCompatible } from "turnpike/providers";
import { describe, expect, test } from "vitest";
import { fit as fitTo } from "../../src/capabilities/fit/index.ts";

const PROVIDERS = {
  mistral: mistral({ apiKey: "k" }),
  openai: openai({ apiKey: "k" }),
  anthropic: anthropic({ apiKey: "k" }),
  compatible: openaiCompatible({ baseURL: "http://127.0.0.1:1/v1" }),
} satisfies Record<string, Provider>;
type Name = keyof typeof PROVIDERS;

const plain: ChatRequest = {
  model: "asked",
  system: [],
  messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }],
  tools: [],
  stream: false,
  maxTokens: 64_000,
};

/** Fitted and written down, with what was said about it. */
function write(name: Name, model: string, request: Partial<ChatRequest>) {
  const provider = PROVIDERS[name];
  const asked = structuredClone({ ...plain, ...request });
  const before = structuredClone(asked);
  const fitted = fitTo(asked, {
    capabilities: provider.capabilities(model),
    dialect: provider.dialect.id,
    provider: provider.type,
  });
  expect(asked).toEqual(before);
  const body = JSON.parse(JSON.stringify(provider.dialect.encodeRequest(fitted.request, model))) as Record<
    string,
    never
  >;
  return { ...fitted, body, changed: fitted.changes.map(({ field }) => field) };
}

type Intent = "off" | "auto" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max";
const intent = (name: Intent): NonNullable<ChatRequest["reasoning"]> =>
  name === "off" || name === "auto" ? { mode: name } : { mode: "on", effort: name };

describe("reasoning is rendered as the target takes it (wire.md §8.1)", () => {
  const NONE_HIGH = {
    off: "none",
    auto: undefined,
    minimal: "none",
    low: "high",
    medium: "high",
    high: "high",
    xhigh: "high",
    max: "high",
  };
  const LOW_HIGH = {
    off: "low",
    auto: undefined,
    minimal: "low",
    low: "low",
    medium: "medium",
    high: "high",
    xhigh: "high",
    max: "high",
  };
  const GLM = {
    off: "low",
    auto: "high",
    minimal: "low",
    low: "low",
    medium: "high",
    high: "high",
    xhigh: "max",
    max: "max",
  };
  const NOTHING = {
    off: undefined,
    auto: undefined,
    minimal: undefined,
    low: undefined,
    medium: undefined,
    high: undefined,
    xhigh: undefined,
    max: undefined,
  };
  const CHAT: [Name, string, Record<Intent, string | undefined>][] = [
    ["mistral", "mistral-medium-3-5", NONE_HIGH],
    ["mistral", "mistral-small-latest", NONE_HIGH],
    ["mistral", "magistral-medium-latest", NONE_HIGH],
    ["mistral", "mistral-large-4", LOW_HIGH],
    ["mistral", "zai-glm-5", GLM],
    ["mistral", "mistral-large-latest", NOTHING],
    ["mistral", "devstral-small-latest", NOTHING],
    ["mistral", "codestral-latest", NOTHING],
    ["openai", "gpt-4.1", NOTHING],
    ["openai", "gpt-5", { ...LOW_HIGH, off: "minimal", minimal: "minimal" }],
    ["openai", "gpt-5.1", { ...LOW_HIGH, off: "none" }],
    ["openai", "gpt-5.5", { ...LOW_HIGH, off: "none", xhigh: "xhigh", max: "xhigh" }],
    ["compatible", "anything", NOTHING],
  ];
  test.each(
    CHAT.flatMap(([name, model, row]) =>
      (Object.keys(row) as Intent[]).map((asked) => [name, model, asked, row[asked]] as const),
    ),
  )("%s %s: %s → %s", (name, model, asked, expected) => {
    const { body, changes } = write(name, model, { reasoning: intent(asked) });
    expect(body.reasoning_effort).toBe(expected);
    const same = expected === asked || (asked === "off" && (expected === "none" || expected === undefined));
    if (same) expect(changes).toEqual([]);
    else if (asked !== "auto") expect(changes.some(({ field }) => field.startsWith("reasoning"))).toBe(true);
  });

  const CLAUDE: [string, Intent, object, string | undefined][] = [
    ["claude-opus-4-6", "off", { type: "disabled" }, undefined],
    ["claude-opus-4-6", "minimal", { type: "adaptive" }, "low"],
    ["claude-opus-4-6", "medium", { type: "adaptive" }, "medium"],
    ["claude-opus-4-6", "xhigh", { type: "adaptive" }, "high"],
    ["claude-opus-4-6", "max", { type: "adaptive" }, "max"],
    ["claude-opus-5-5", "xhigh", { type: "adaptive" }, "xhigh"],
    ["claude-sonnet-5-5", "low", { type: "adaptive" }, "low"],
  ];
  test.each(CLAUDE)("anthropic %s: %s", (model, asked, thinking, effort) => {
    const { body } = write("anthropic", model, { reasoning: intent(asked) });
    expect(body.thinking).toMatchObject(thinking);
    expect((body.output_config as { effort?: string } | undefined)?.effort).toBe(effort);
  });

  test("an always-on Claude that is asked not to think thinks as little as it can, and says so", () => {
    const { body, changes } = write("anthropic", "claude-opus-5-5", { reasoning: { mode: "off" } });
    expect(body.thinking ?? { type: "adaptive" }).not.toMatchObject({ type: "disabled" });
    expect(body.output_config).toMatchObject({ effort: "low" });
    expect(changes).toMatchObject([{ field: "reasoning", kind: "adjusted" }]);
  });

  test("older Claudes buy thinking by tokens, below max_tokens, and give up forced tools and sampling for it", () => {
    const tools = [{ type: "function" as const, name: "f", parameters: { type: "object" } }];
    const { body, changed } = write("anthropic", "claude-sonnet-4-5", {
      reasoning: intent("high"),
      tools,
      toolChoice: { type: "required" },
      temperature: 0.3,
      topK: 5,
    });
    expect(body.thinking).toMatchObject({ type: "enabled", budget_tokens: 16_384 });
    expect(body.output_config).toBeUndefined();
    expect((body.tool_choice as { type?: string } | undefined)?.type ?? "auto").toBe("auto");
    expect(body.temperature).toBeUndefined();
    expect(body.top_k).toBeUndefined();
    expect(changed).toEqual(expect.arrayContaining(["tool_choice", "temperature", "top_k"]));
    const tight = write("anthropic", "claude-sonnet-4-5", { reasoning: intent("high"), maxTokens: 3_000 });
    expect((tight.body.thinking as unknown as { budget_tokens: number }).budget_tokens).toBeLessThan(3_000);
    expect(
      (
        write("anthropic", "claude-sonnet-4-5", { reasoning: intent("high"), maxTokens: 500 }).body.thinking as
          | { type?: string }
          | undefined
      )?.type ?? "disabled",
    ).toBe("disabled");
  });

  test.each([
    [1_024, "none"],
    [4_096, "high"],
    [100_000, "high"],
  ])("a thinking budget of %i becomes an effort where efforts are taken: %s", (budget, effort) => {
    expect(write("mistral", "mistral-medium-3-5", { reasoning: { mode: "on", budget } }).body.reasoning_effort).toBe(
      effort,
    );
  });
});

const call = (id: string, name = "f") => ({ type: "tool-call" as const, id, name, arguments: "{}" });
const result = (id: string, text = "r") => ({
  type: "tool-result" as const,
  id,
  content: [{ type: "text" as const, text }],
});
const text = (said: string) => ({ type: "text" as const, text: said });
type Wire = {
  role: string;
  content: unknown;
  tool_calls?: { id: string; function: { name: string } }[];
  tool_call_id?: string;
}[];
const written = (messages: Message[], more: Partial<ChatRequest> = {}, model = "mistral-medium-3-5") => {
  const out = write("mistral", model, { ...more, messages });
  return { ...out, wire: out.body.messages as unknown as Wire };
};

describe("conversations for Mistral", () => {
  test("tool-call ids become nine characters, the same for call and result, the same each time; legal ones stay", () => {
    const { wire } = written([
      { role: "user", content: [text("x")] },
      { role: "assistant", content: [call("toolu_01A"), call("abcdefghi"), call("toolu_01B")] },
      { role: "user", content: [result("toolu_01A"), result("abcdefghi"), result("toolu_01B")] },
    ]);
    const ids = wire[1]!.tool_calls!.map(({ id }) => id);
    expect(ids.every((id) => /^[a-zA-Z0-9]{9}$/.test(id))).toBe(true);
    expect(ids[1]).toBe("abcdefghi");
    expect(new Set(ids).size).toBe(3);
    expect(wire.slice(2).map(({ tool_call_id }) => tool_call_id)).toEqual(ids);
    const again = written([
      { role: "user", content: [text("other")] },
      { role: "assistant", content: [call("toolu_01B")] },
      { role: "user", content: [result("toolu_01B")] },
    ]);
    expect(again.wire[1]!.tool_calls![0]!.id).toBe(ids[2]);
  });

  test("illegal tool names are made legal everywhere and can be changed back", () => {
    const tools = ["ok", "a.b", "a b", "x".repeat(70), "x".repeat(71)].map((name) => ({
      type: "function" as const,
      name,
      parameters: {},
    }));
    const { body, wire, toolNames } = written(
      [
        { role: "user", content: [text("x")] },
        { role: "assistant", content: [call("abcdefghi", "a.b")] },
        { role: "user", content: [result("abcdefghi")] },
      ],
      { tools, toolChoice: { type: "tool", name: "a.b" } },
    );
    const names = (body.tools as unknown as { function: { name: string } }[]).map((tool) => tool.function.name);
    expect(names.every((name) => /^[a-zA-Z0-9_-]{1,64}$/.test(name))).toBe(true);
    expect(new Set(names).size).toBe(5);
    expect(names[0]).toBe("ok");
    expect(names.map((name) => toolNames.get(name) ?? name)).toEqual(tools.map(({ name }) => name));
    expect(wire[1]!.tool_calls![0]!.function.name).toBe(names[1]);
    expect(body.tool_choice).toMatchObject({ function: { name: names[1] } });
  });

  test("a user's words after a tool's result get a turn between them", () => {
    const { wire, changed } = written([
      { role: "user", content: [text("x")] },
      { role: "assistant", content: [call("abcdefghi")] },
      { role: "user", content: [result("abcdefghi"), text("and now?")] },
    ]);
    expect(wire.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant", "user"]);
    expect(changed).toContain("messages.assistant");
  });

  test("a call that was interrupted is answered, wherever it stands", () => {
    for (const after of [
      [{ role: "user" as const, content: [text("never mind")] }],
      [
        { role: "assistant" as const, content: [text("done")] },
        { role: "user" as const, content: [text("ok")] },
      ],
      [],
    ]) {
      const { wire, changed } = written([
        { role: "user", content: [text("x")] },
        { role: "assistant", content: [call("abcdefghi")] },
        ...after,
      ]);
      expect(wire[2]).toMatchObject({
        role: "tool",
        tool_call_id: "abcdefghi",
        content: expect.stringContaining("interrupted"),
      });
      expect(changed).toContain("messages.tool_result");
    }
  });

  test("a result nobody asked for becomes text", () => {
    const { wire, changed } = written([{ role: "user", content: [result("nobody", "the file says 7")] }]);
    expect(wire).toHaveLength(1);
    expect(wire[0]).toMatchObject({ role: "user" });
    expect(JSON.stringify(wire)).toContain("the file says 7");
    expect(changed).toContain("messages.tool_result");
  });

  test("a system message in the middle is folded into the user's text, every word of it", () => {
    const { wire, changed } = written([
      { role: "user", content: [text("x")] },
      { role: "system", content: [text("cwd: /tmp"), text("date: today")] },
    ]);
    expect(wire.map(({ role }) => role)).toEqual(["user"]);
    expect(JSON.stringify(wire)).toContain("cwd: /tmp");
    expect(JSON.stringify(wire)).toContain("date: today");
    expect(changed).toContain("messages.system");
  });

  test("an image for a model without vision is told, also inside a tool's result; a model with vision gets it", () => {
    const image = {
      type: "image" as const,
      source: { kind: "base64" as const, mediaType: "image/png", data: "iVBORw0KGgo=" },
    };
    const messages: Message[] = [
      { role: "user", content: [image, text("what is it?")] },
      { role: "assistant", content: [call("abcdefghi")] },
      { role: "user", content: [{ ...result("abcdefghi"), content: [image] }] },
    ];
    for (const model of ["codestral-latest", "zai-glm-5"]) {
      const blind = written(messages, {}, model);
      expect(JSON.stringify(blind.wire), model).not.toContain("iVBORw0KGgo");
      expect(JSON.stringify(blind.wire).match(/image omitted/g)).toHaveLength(2);
      expect(blind.changes.filter(({ kind }) => kind === "dropped")).toHaveLength(2);
    }
    const seeing = written(messages);
    expect(JSON.stringify(seeing.wire).match(/iVBORw0KGgo/g)).toHaveLength(2);
    expect(seeing.changes).toEqual([]);
  });

  test("what only another dialect knows is dropped and said; foreign thinking is ignored and said", () => {
    const { wire, changes } = written([
      { role: "user", content: [text("x")] },
      {
        role: "assistant",
        content: [
          { type: "thinking", text: "secret", signature: { origin: "anthropic-messages", data: "c2ln" } },
          { type: "thinking", text: "", redacted: "ZW5j" },
          { type: "opaque", dialect: "anthropic-messages", kind: "server_tool_use", value: { id: "srv" } },
          text("answer"),
        ],
      },
      { role: "user", content: [text("y")] },
    ]);
    expect(wire[1]).toEqual({ role: "assistant", content: "answer" });
    expect(changes).toMatchObject([
      { field: "messages.thinking", kind: "ignored" },
      { field: "messages", kind: "dropped", from: "server_tool_use" },
    ]);
  });

  test("its own thinking goes back with its signature", () => {
    const { wire, changes } = written([
      { role: "user", content: [text("x")] },
      {
        role: "assistant",
        content: [{ type: "thinking", text: "mine", signature: { origin: "mistral", data: "sig" } }, text("answer")],
      },
      { role: "user", content: [text("y")] },
    ]);
    expect(wire[1]!.content).toMatchObject([
      { type: "thinking", thinking: [{ text: "mine" }], signature: "sig" },
      { type: "text" },
    ]);
    expect(changes).toEqual([]);
  });

  test("parameters outside its range are clamped, those it has not are dropped, and each is said", () => {
    const { body, changed } = written(plain.messages, {
      temperature: 1.9,
      topP: 0,
      topK: 5,
      logitBias: { a: 1 },
      logprobs: true,
      topLogprobs: 2,
      seed: 7,
      userId: "u",
      sessionId: "s",
    });
    expect(body).toMatchObject({ temperature: 1.5, random_seed: 7, prompt_cache_key: "s" });
    expect(Number(body.top_p)).toBeGreaterThan(0);
    for (const field of ["top_k", "logit_bias", "logprobs", "top_logprobs", "user", "seed"])
      expect(body).not.toHaveProperty(field);
    expect(changed).toEqual(
      expect.arrayContaining(["temperature", "top_p", "top_k", "logit_bias", "logprobs", "user"]),
    );
  });
});

describe("what needs no change", () => {
  const { compatible } = PROVIDERS;
  const target = {
    capabilities: compatible.capabilities("m"),
    dialect: compatible.dialect.id,
    provider: compatible.type,
  };
  const tool = (name: string, more = {}) => ({
    type: "function" as const,
    name,
    parameters: { type: "object", properties: { path: { type: "string" } }, ...more },
  });
  const request: ChatRequest = {
    ...plain,
    system: [{ type: "text", text: "Be brief." }],
    messages: [
      ...plain.messages,
      { role: "assistant", content: [{ type: "tool-call", id: "c1", name: "look", arguments: "{}" }] },
      {
        role: "user",
        content: [
          { type: "tool-result", id: "c1", content: [{ type: "text", text: "seen" }] },
          { type: "text", text: "and?" },
        ],
      },
    ],
    tools: [tool("look"), tool("read", { $schema: "http://json-schema.org/draft-07/schema#" })],
  };

  test("is handed on as it is, and not as a copy", () => {
    const { request: fitted } = fitTo(request, target);
    expect(fitted.system).toBe(request.system);
    for (const [i, message] of request.messages.entries()) expect(fitted.messages[i]).toBe(message);
    expect(fitted.tools[0]).toBe(request.tools[0]);
    expect(fitted.tools[1]).toEqual(tool("read"));
  });

  test("is not looked up twice: what a model accepts is the same object each time, for each dialect its own", () => {
    const { capabilities } = PROVIDERS.anthropic;
    const facts = capabilities("claude-opus-5-5", "anthropic-messages");
    expect(capabilities("claude-opus-5-5")).toBe(facts);
    expect(capabilities("claude-opus-5-5", "openai-chat")).not.toBe(facts);
    expect(capabilities("claude-haiku-5-5")).not.toBe(facts);
  });
});
