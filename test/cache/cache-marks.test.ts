import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hasCacheMarks, withCacheMarks } from "../../src/capabilities/fit/cache-marks.ts";
import type { ChatRequest, Message, Part } from "../../src/core/request.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { validateAnthropic } from "../../src/testing/index.ts";

const text = (value: string): Part => ({ type: "text", text: value });
const user = (...content: Part[]): Message => ({ role: "user", content });
const assistant = (...content: Part[]): Message => ({ role: "assistant", content });
const tool = (name: string) => ({ type: "function" as const, name, parameters: { type: "object" } });
const request = (more: Partial<ChatRequest> = {}): ChatRequest => ({
  ...{ model: "m", system: [], messages: [user(text("Hi"))], tools: [], stream: false, maxTokens: 100 },
  ...more,
});

/** Where the marks stand. */
function marks({ system, tools, messages }: ChatRequest): string[] {
  const at = (place: string, item: object) => ("cache" in item && item.cache ? [place] : []);
  return [
    ...tools.flatMap((each, i) => at(`tools.${i}`, each)),
    ...system.flatMap((each, i) => at(`system.${i}`, each)),
    ...messages.flatMap(({ content }, i) => content.flatMap((part, j) => at(`messages.${i}.${j}`, part))),
  ];
}

describe("automatic prompt-cache marks", () => {
  const system = [
    { type: "text" as const, text: "Be kind." },
    { type: "text" as const, text: "Be brief." },
  ];
  const tools = [tool("a"), tool("b")];

  test("stand behind the tools and the system prompt", () => {
    expect(marks(withCacheMarks(request({ system, tools })))).toEqual(["tools.1", "system.1"]);
  });

  test("stand behind the last two user turns of a conversation", () => {
    const messages = [
      user(text("1")),
      assistant(text("a")),
      user(text("2"), text("more")),
      assistant(text("b")),
      user(text("3")),
    ];
    expect(marks(withCacheMarks(request({ system, tools, messages })))).toEqual([
      "tools.1",
      "system.1",
      "messages.2.1",
      "messages.4.0",
    ]);
  });

  test("keep the prefix of the last request, so that it is read again", () => {
    const before = [user(text("1")), assistant(text("a")), user(text("2"))];
    const after = [...before, assistant(text("b")), user({ type: "tool-result", id: "t", content: [] })];
    const written = marks(withCacheMarks(request({ messages: before }))).at(-1);
    expect(marks(withCacheMarks(request({ messages: after })))).toContain(written);
  });

  test("leave a caller's own marks alone", () => {
    const messages = [{ role: "user" as const, content: [{ ...text("Hi"), cache: { type: "ephemeral" } } as Part] }];
    const own = request({ system, tools, messages });
    expect(withCacheMarks(own)).toBe(own);
    expect(hasCacheMarks(request({ tools: [{ ...tool("a"), cache: { type: "ephemeral" } }] }))).toBe(true);
  });

  const part = fc.oneof(
    fc.string().map(text),
    fc.constant<Part>({ type: "tool-result", id: "toolu_1", content: [{ type: "text", text: "x" }] }),
    fc.constant<Part>({ type: "thinking", text: "hm" }),
  );
  test("are at most four, on anything, and change nothing else", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(part, { maxLength: 4 }), { maxLength: 8 }),
        fc.array(fc.string(), { maxLength: 3 }),
        fc.integer({ min: 0, max: 3 }),
        (turns, words, count) => {
          const given = request({
            system: words.map((word) => ({ type: "text", text: word })),
            tools: Array.from({ length: count }, (_, i) => tool(`t${i}`)),
            messages: turns.map((content, i) => (i % 2 === 0 ? user(...content) : assistant(...content))),
          });
          const before = JSON.stringify(given);
          const after = withCacheMarks(given);
          expect(marks(after).length).toBeLessThanOrEqual(4);
          expect(JSON.stringify(given)).toBe(before);
          expect(JSON.stringify(after, (key, value) => (key === "cache" ? undefined : value))).toBe(before);
        },
      ),
    );
  });

  test("are accepted by the strict upstream", () => {
    const messages = [user(text("1")), assistant(text("a")), user(text("2"))];
    const model = "claude-haiku-4-5";
    const body = anthropicMessages.encodeRequest(withCacheMarks(request({ model, system, tools, messages })), model);
    expect(JSON.stringify(body).match(/"cache_control":\{"type":"ephemeral"\}/g)).toHaveLength(4);
    expect(validateAnthropic(body)).toBeUndefined();
  });
});
