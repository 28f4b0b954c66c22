import { describe, expect, test } from "vitest";
import type { Capabilities, NumberRange, ParameterName } from "../../src/core/provider.ts";
import { type ChatRequest, EFFORTS, type Part, type Reasoning } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import type { ProviderFactory } from "../../src/providers/define.ts";
import * as exported from "../../src/providers/index.ts";
import { type Case, MAX_TOKENS, PATHS, PLAIN, reasoningIn, type Sent, send, TOOL, valueAt } from "./support.ts";

/** Every row of every provider: what it rejects is never sent, and the change is told. */

/** Models of which every row of the built-in providers matches one. */
const MODELS: Record<string, readonly string[]> = {
  anthropic: [
    ...["claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5", "claude-fable-5-1", "claude-fable-5"],
    ...["claude-opus-5", "claude-sonnet-5", "claude-opus-4-8", "claude-opus-4-7", "claude-sonnet-4-6"],
    ...["claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1", "claude-3-5-haiku-20241022"],
  ],
  gemini: [
    ...["gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-pro-preview", "gemini-3-flash-preview"],
    ...["gemini-4-hydrogen", "gemini-3-pro-image", "gemini-flash-latest"],
  ],
  mistral: [
    ...["mistral-medium-3-5", "mistral-large-4", "mistral-large-latest", "zai-glm-5", "zai-glm-5-2"],
    ...["labs-leanstral", "codestral-latest", "devstral-2512", "ministral-8b-latest"],
  ],
  openai: [
    ...["gpt-4.1", "gpt-5", "gpt-5-mini", "gpt-5.1", "gpt-5.5", "gpt-5.6", "gpt-6-sol", "gpt-6-astra", "o3"],
    ...["gpt-4o-search-preview", "gpt-4o-audio-preview"],
  ],
  "openai-compatible": ["devstral-small"],
  simulated: ["demo"],
};

const user = (...content: Part[]): Partial<ChatRequest> => ({ messages: [{ role: "user", content }] });
const fields = ({ changes }: Sent) => changes.map(({ field }) => field);

const ASKED: Record<ParameterName, unknown> = {
  temperature: 0.3,
  topP: 0.4,
  topK: 5,
  seed: 6,
  stop: ["END"],
  presencePenalty: 0.7,
  frequencyPenalty: 0.8,
  logitBias: { "50256": -100 },
  n: 2,
  logprobs: true,
  parallelToolCalls: false,
  serviceTier: "odd-tier",
  userId: "user-1",
  sessionId: "session-1",
  metadata: { a: "b" },
};

const WIRE_NAME: Record<ParameterName, string> = {
  temperature: "temperature",
  topP: "top_p",
  topK: "top_k",
  seed: "seed",
  stop: "stop",
  presencePenalty: "presence_penalty",
  frequencyPenalty: "frequency_penalty",
  logitBias: "logit_bias",
  n: "n",
  logprobs: "logprobs",
  parallelToolCalls: "parallel_tool_calls",
  serviceTier: "service_tier",
  userId: "user",
  sessionId: "prompt_cache_key",
  metadata: "metadata",
};

function parameter(name: ParameterName, rule: boolean | NumberRange | readonly string[], target: Case): void {
  // Some take sampling parameters with thinking turned off only.
  const quiet: Partial<ChatRequest> = target.capabilities.sampling ? { reasoning: { mode: "off" } } : {};
  const ask = (value: unknown) => send(target, { tools: [TOOL], ...quiet, [name]: value });
  if (name === "n" && rule !== true) {
    const most = rule === false ? 1 : ((rule as NumberRange).max ?? 128);
    expect(() => ask(most + 1)).toThrow(expect.objectContaining({ code: "unsupported", param: "n" }));
  } else if (rule === false || Array.isArray(rule)) {
    const sent = ask(ASKED[name]);
    expect(valueAt(sent.body, PATHS[name]), sent.json).toBeUndefined();
    expect(fields(sent)).toContain(WIRE_NAME[name]);
  } else if (typeof rule === "object") {
    const { min, max } = rule as NumberRange;
    for (const [beyond, bound] of [
      [max === undefined ? undefined : max + 0.5, max],
      [min === undefined ? undefined : min - 0.5, min],
    ]) {
      if (beyond === undefined) continue;
      const sent = ask(beyond);
      expect(valueAt(sent.body, PATHS[name])).toBe(bound);
      expect(sent.changes).toContainEqual({ field: WIRE_NAME[name], kind: "adjusted", from: beyond, to: bound });
    }
  }
}

const PNG = { kind: "base64" as const, mediaType: "image/png", data: "aWd=" };
const PDF = { kind: "base64" as const, mediaType: "application/pdf", data: "UERG" };
const CALL: Part = { type: "tool-call", id: "call_with_a_long_id|1", name: "look", arguments: "{}" };
const RESULT: Part = { type: "tool-result", id: "call_with_a_long_id|1", content: [{ type: "text", text: "seen" }] };

/** One media part: neither its data nor its address goes out. */
function media(part: Part, field: string, secret: string, target: Case): void {
  const sent = send(target, user({ type: "text", text: "See" }, part));
  expect(sent.json).not.toContain(secret);
  expect(fields(sent)).toContain(field);
}

type Probe<K extends keyof Capabilities> = (fact: NonNullable<Capabilities[K]>, target: Case) => void;
const nothing = () => {};

/** How each fact is put to the test. A fact without an entry does not compile. */
const PROBES: { [K in keyof Required<Capabilities>]: Probe<K> } = {
  parameters(rules, target) {
    for (const [name, rule] of Object.entries(rules)) parameter(name as ParameterName, rule, target);
  },
  sampling(rule, target) {
    if (rule === "always") return;
    const sent = send(target, { temperature: 0.3, reasoning: { mode: "on", effort: "high" }, maxTokens: 30_000 });
    expect(valueAt(sent.body, PATHS.temperature)).toBeUndefined();
    expect(fields(sent)).toContain("temperature");
  },
  otherParameters: nothing,
  reasoning(support, target) {
    const ask = (reasoning: Reasoning) => send(target, { reasoning, maxTokens: 60_000 });
    const told = (sent: Sent) => expect(fields(sent).some((field) => field.startsWith("reasoning"))).toBe(true);
    if (support === false) {
      const sent = ask({ mode: "on", effort: "high" });
      expect(reasoningIn(sent.body)).toBe("-");
      return told(sent);
    }
    for (const effort of EFFORTS) {
      if (!support.levels || support.levels.includes(effort)) continue;
      const sent = ask({ mode: "on", effort });
      expect(reasoningIn(sent.body).split(" ")).not.toContain(effort);
      told(sent);
    }
    if (support.budget) {
      const sent = ask({ mode: "on", budget: support.budget.max + 1 });
      expect(reasoningIn(sent.body)).toContain(`budget ${support.budget.max}`);
      told(sent);
    }
    if (support.off === "never") {
      const sent = ask({ mode: "off" });
      expect(reasoningIn(sent.body)).not.toMatch(/^(none|disabled|budget 0)/);
      told(sent);
    }
  },
  replayThinking(rule, target) {
    if (rule === "any") return;
    const thought: Part = { type: "thinking", text: "SECRET", signature: { origin: "nobody", data: "SECRET" } };
    const said: Part = { type: "text", text: "Yes" };
    const sent = send(target, {
      messages: [
        { role: "user", content: [{ type: "text", text: "Hello" }] },
        { role: "assistant", content: [thought, said] },
        { role: "user", content: [{ type: "text", text: "On" }] },
      ],
    });
    expect(sent.json).not.toContain("SECRET");
    expect(fields(sent)).toContain("messages.thinking");
  },
  images(rule, target) {
    if (!rule) media({ type: "image", source: PNG }, "messages.image", "aWd=", target);
  },
  fileIds(rule, target) {
    const source = { kind: "file" as const, dialect: target.dialect.id, id: "file_SECRET" };
    if (!rule) media({ type: "image", source }, "messages.image", "file_SECRET", target);
  },
  documents(rule, target) {
    if (!rule) media({ type: "document", source: PDF }, "messages.document", "UERG", target);
  },
  documentURLs(rule, target) {
    const source = { kind: "url" as const, url: "https://example.com/SECRET.pdf" };
    if (!rule) media({ type: "document", source }, "messages.document", "SECRET", target);
  },
  audio(rule, target) {
    if (!rule) media({ type: "audio", data: "UklGRg==", format: "wav" }, "messages.audio", "UklGRg", target);
  },
  forcedToolChoice(rule, target) {
    if (rule === true) return;
    const thinks: Partial<ChatRequest> = rule === false ? {} : { reasoning: { mode: "on", effort: "high" } };
    for (const toolChoice of [{ type: "required" as const }, { type: "tool" as const, name: "look" }]) {
      const sent = send(target, { tools: [TOOL], toolChoice, maxTokens: 30_000, ...thinks });
      expect(valueAt(sent.body, ["tool_choice.type", "tool_choice"])).toBe("auto");
      expect(fields(sent)).toContain("tool_choice");
    }
  },
  tools(rule, target) {
    if (rule) return;
    const sent = send(target, { tools: [TOOL] });
    expect(sent.body).not.toHaveProperty("tools");
    expect(fields(sent)).toContain("tools");
  },
  outputFormats(formats, target) {
    const asked = {
      json: { type: "json" },
      "json-schema": { type: "json-schema", schema: { type: "object" } },
    } as const;
    for (const [name, outputFormat] of Object.entries(asked)) {
      if (formats.includes(name as "json")) continue;
      const sent = send(target, { outputFormat });
      expect(sent.json).not.toMatch(/"(response_format|json_schema|json_object)"/);
      expect(sent.changes).toContainEqual(expect.objectContaining({ field: "response_format", to: "instruction" }));
    }
  },
  outputFormatWithTools(rule, target) {
    if (rule) return;
    const sent = send(target, { tools: [TOOL], outputFormat: { type: "json" } });
    expect(sent.json).not.toContain("application/json");
    expect(sent.changes).toContainEqual(expect.objectContaining({ field: "response_format", to: "instruction" }));
  },
  jsonByName(rule, target) {
    const sent = send(target, { outputFormat: { type: "json" } });
    expect(/\bJSON\b/.test(sent.json)).toBe(rule);
    expect(fields(sent).includes("response_format")).toBe(rule);
  },
  hostedWithFunctions(rule, target) {
    const native = { dialect: target.dialect.id, value: { googleSearch: {} } };
    const sent = send(target, { tools: [TOOL, { type: "web-search", name: "search", native }] });
    expect(sent.json.includes("googleSearch")).toBe(rule);
    expect(fields(sent).includes("tools")).toBe(!rule);
  },
  thinkingLast(rule, target) {
    const signature = { origin: target.dialect.id, data: "SECRET" };
    const said: Part[] = [
      { type: "text", text: "Hm" },
      { type: "thinking", text: "So", signature },
    ];
    const sent = send(target, {
      messages: [...PLAIN.messages, { role: "assistant", content: said }, ...PLAIN.messages],
    });
    expect(sent.json.includes("SECRET")).toBe(rule);
    expect(fields(sent).includes("messages.thinking")).toBe(!rule);
  },
  messageNames(rule, target) {
    const sent = send(target, { messages: [{ ...PLAIN.messages[0]!, name: "SECRET" }] });
    expect(sent.json.includes("SECRET")).toBe(rule);
    expect(fields(sent).includes("messages.name")).toBe(!rule);
  },
  documentNotes(notes, target) {
    if (target.capabilities.documents === false) return;
    const sent = send(
      target,
      user({ type: "document", source: PDF, title: "T", filename: "F.pdf", context: "SECRET" }),
    );
    expect(sent.json).not.toContain("SECRET");
    for (const note of ["title", "filename", "context"] as const)
      expect(fields(sent).includes(`messages.document.${note}`)).toBe(!notes.includes(note));
  },
  maxIdLength(most, target) {
    const sent = send(target, { userId: "u".repeat(most + 1), sessionId: "s".repeat(most) });
    expect(String(valueAt(sent.body, PATHS.userId))).toMatch(/^[0-9a-f]{64}$/);
    expect(valueAt(sent.body, PATHS.sessionId)).toBe("s".repeat(most));
    expect(fields(sent)).toContain("user");
  },
  // Of schemas there is a file of tests of their own, with properties.
  schemas: nothing,
  customTools(rule, target) {
    const sent = send(target, { tools: [{ type: "custom", name: "shell" }] });
    if (!rule) expect(sent.changes).toContainEqual({ field: "tools", kind: "moved", from: "shell", to: "function" });
    expect(sent.json.includes('"type":"custom"')).toBe(rule);
  },
  webSearch(support, target) {
    if (support === true) return;
    const native = { dialect: "nobody's", value: { secret: "SECRET" } };
    const search = { type: "web-search" as const, name: "search", allowedDomains: ["a.example"], maxUses: 3, native };
    const sent = send(target, { tools: [search] });
    expect(sent.json).not.toContain("SECRET");
    const takes = support === false ? [] : support.takes;
    if (support === false) expect(fields(sent)).toContain("tools");
    for (const wish of ["allowedDomains", "maxUses"] as const)
      if (support !== false && !takes.includes(wish)) expect(fields(sent)).toContain(`tools.web_search.${wish}`);
    if (!takes.includes("allowedDomains")) expect(sent.json).not.toContain("a.example");
  },
  toolCallId({ pattern }, target) {
    const sent = send(target, {
      tools: [TOOL],
      messages: [...PLAIN.messages, { role: "assistant", content: [CALL] }, { role: "user", content: [RESULT] }],
    });
    const ids = [...sent.json.matchAll(/"(?:id|tool_call_id|call_id)":"([^"]*)"/g)].map(([, id]) => id!);
    expect(ids).toHaveLength(2);
    expect(ids[0]).toBe(ids[1]);
    expect(ids[0]).toMatch(pattern);
  },
  toolName({ pattern }, target) {
    const sent = send(target, { tools: [{ ...TOOL, name: "9 odd/näme" }] });
    const told = sent.changes.find(({ field }) => field === "tools.name");
    expect(told?.to).toMatch(pattern);
    expect(sent.json).toContain(`"name":"${told?.to}"`);
    expect(sent.json).not.toContain("9 odd/näme");
  },
  systemMessages(rule, target) {
    if (rule === "anywhere") return;
    const sent = send(target, {
      messages: [...PLAIN.messages, { role: "system", content: [{ type: "text", text: "Mind" }] }, ...PLAIN.messages],
    });
    expect(sent.json).toContain("<system>\\nMind\\n</system>");
    expect(sent.json).not.toMatch(/"role":"(system|developer)"/);
    expect(fields(sent)).toContain("messages.system");
  },
  firstMessage(rule, target) {
    if (rule === "any") return;
    const said = { role: "assistant" as const, content: [{ type: "text" as const, text: "Hi" }] };
    const sent = send(target, { messages: [said, ...PLAIN.messages] });
    const [first] = (sent.body.messages ?? sent.body.contents) as JsonObject[];
    expect(first!.role).toBe("user");
    expect(fields(sent)).toContain("messages.user");
  },
  userAfterTool(rule, target) {
    if (rule === "native") return;
    const sent = send(target, {
      tools: [TOOL],
      messages: [
        ...PLAIN.messages,
        { role: "assistant", content: [CALL] },
        { role: "user", content: [RESULT, { type: "text", text: "And?" }] },
      ],
    });
    const roles = (sent.body.messages as JsonObject[]).map(({ role }) => role);
    expect(roles).toEqual(["user", "assistant", "tool", "assistant", "user"]);
    expect(fields(sent)).toContain("messages.assistant");
  },
  cacheMarks(rule, target) {
    if (rule) return;
    const sent = send(target, user({ type: "text", text: "Hello", cache: { type: "ephemeral" } }));
    expect(sent.json).not.toContain("ephemeral");
    expect(fields(sent)).toContain("cache_control");
  },
  prefill(rule, target) {
    if (rule !== false) return;
    const said = { role: "assistant" as const, content: [{ type: "text" as const, text: "The answer is" }] };
    const sent = send(target, { messages: [...PLAIN.messages, said] });
    expect(((sent.body.messages ?? sent.body.contents) as JsonObject[]).at(-1)!.role).toBe("user");
    expect(fields(sent)).toContain("messages.prefill");
  },
  maxStopSequences(most, target) {
    if (target.capabilities.parameters?.stop === false) return;
    const stop = Array.from({ length: most + 1 }, (_, i) => `END${i}`);
    const sent = send(target, { stop });
    expect(valueAt(sent.body, PATHS.stop)).toEqual(stop.slice(0, most));
    expect(fields(sent)).toContain("stop");
  },
  maxOutputTokens(most, target) {
    const sent = send(target, { maxTokens: most + 1 });
    expect(valueAt(sent.body, MAX_TOKENS)).toBe(most);
    expect(sent.changes).toContainEqual(expect.objectContaining({ field: "max_tokens", from: most + 1, to: most }));
  },
  minOutputTokens(least, target) {
    const sent = send(target, { maxTokens: least - 1 });
    expect(valueAt(sent.body, MAX_TOKENS)).toBe(least);
    expect(sent.changes).toContainEqual(expect.objectContaining({ field: "max_tokens", from: least - 1, to: least }));
  },
  defaultMaxTokens(bound, target) {
    const sent = send(target, {});
    expect(valueAt(sent.body, MAX_TOKENS)).toBe(Math.min(bound, target.capabilities.maxOutputTokens ?? bound));
    expect(sent.changes).toContainEqual(expect.objectContaining({ field: "max_tokens", kind: "added" }));
  },
  contextTokens: nothing,
  // The translator asks the successor, or refuses.
  successor: (name, { provider }) => expect(provider.capabilities(name).successor).toBeUndefined(),
  retired: (date) => expect(date).toMatch(/^\d{4}-\d\d-\d\d$/),
  source: (keys) => expect(keys.length).toBeGreaterThan(0),
};

const isFactory = (value: unknown): value is ProviderFactory => typeof value === "function" && "spec" in value;
const ALL = Object.values(exported)
  .filter(isFactory)
  .map((factory) => ({ factory, provider: factory({ apiKey: "key", baseURL: "http://127.0.0.1:9/v1" }) }));

for (const { factory, provider } of ALL) {
  describe(provider.type, () => {
    for (const row of factory.spec.capabilities ?? []) {
      const dialects = provider.dialects.filter(({ id }) => row.dialect === undefined || row.dialect === id);
      const models = MODELS[provider.type]!.filter((model) => row.match.test(model));
      test(`the row ${row.match}${row.dialect ? ` in ${row.dialect}` : ""} is kept to, and told`, () => {
        expect(models, "no model of this row is known here").not.toEqual([]);
        for (const dialect of dialects) {
          for (const model of models) {
            const capabilities = provider.capabilities(model, dialect.id);
            for (const fact of Object.keys(row) as (keyof Capabilities)[]) {
              if (!(fact in PROBES)) continue;
              // As it stands once the later rows have spoken.
              const probe = PROBES[fact] as (fact: unknown, target: Case) => void;
              probe(capabilities[fact], { capabilities, provider, dialect, model });
            }
          }
        }
      });
    }
  });
}
