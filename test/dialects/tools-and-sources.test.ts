import { describe, expect, test } from "vitest";
import type { CallerContext } from "../../src/core/dialect.ts";
import { replay } from "../../src/core/events.ts";
import type { ChatResponse, Citations, Part } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";
import { decodeWebSearchOptions } from "../../src/dialects/openai-chat/tools.ts";

/** Custom tools and pages that an answer rests on, in both dialects, whole and streamed. */

// biome-ignore lint/suspicious/noExplicitAny: the tests read vendors' JSON.
type Json = any;

const context: CallerContext = {
  model: "asked",
  id: "X",
  created: 9,
  inputTokens: 1,
  includeUsage: false,
  showThinking: true,
};
const answer = (...content: Part[]): ChatResponse => ({ choices: [{ content, finishReason: "stop" }] });
const chatMessage = (message: object) =>
  openaiChat.decodeResponse({ choices: [{ index: 0, message, finish_reason: "stop" }] }).choices[0]!.content;
const toChat = (...content: Part[]): Json =>
  (openaiChat.encodeResponse(answer(...content), context) as Json).choices[0].message;
const toAnthropic = (...content: Part[]): Json => anthropicMessages.encodeResponse(answer(...content), context).content;
const chatDeltas = (...content: Part[]): Json[] => {
  const encoder = openaiChat.streamEncoder(context);
  return [...replay(answer(...content))]
    .flatMap((event) => encoder.encode(event))
    .map(({ data }: Json) => data.choices[0].delta);
};
const anthropicEvents = (...content: Part[]): Json[] => {
  const encoder = anthropicMessages.streamEncoder(context);
  return [...[...replay(answer(...content))].flatMap((event) => encoder.encode(event)), ...encoder.end()].map(
    ({ data }) => data,
  );
};
const cited = (text: string, citations: Citations): Part => ({ type: "text", text, citations });

describe("calls of custom tools", () => {
  const wire = { id: "call_1", type: "custom", custom: { name: "sql", input: 'SELECT "a"\n' } };
  const call: Part = { type: "tool-call", id: "call_1", name: "sql", arguments: 'SELECT "a"\n', custom: true };

  test("are read and written whole", () => {
    expect(chatMessage({ content: null, tool_calls: [wire] })).toEqual([call]);
    expect(toChat(call)).toMatchObject({ content: null, tool_calls: [wire] });
  });

  test("are written in pieces that the SDK puts together, with nothing added where there is no text", () => {
    expect(chatDeltas(call).filter((delta) => delta.tool_calls)).toEqual([
      { tool_calls: [{ index: 0, id: "call_1", type: "custom", custom: { name: "sql", input: 'SELECT "a"\n' } }] },
    ]);
    expect(chatDeltas({ ...call, arguments: "" }).filter((delta) => delta.tool_calls)).toHaveLength(1);
  });

  test("of a conversation are read and written as they came", () => {
    const body = {
      model: "m",
      messages: [
        { role: "user", content: "hi" },
        { role: "assistant", content: null, tool_calls: [wire] },
        { role: "tool", tool_call_id: "call_1", content: "1" },
      ],
      tools: [{ type: "custom", custom: { name: "sql" } }],
      tool_choice: { type: "custom", custom: { name: "sql" } },
    };
    const request = openaiChat.decodeRequest(body);
    expect(request.messages[1]!.content).toEqual([call]);
    expect(openaiChat.encodeRequest(request, "m")).toMatchObject(body);
    const broken = { ...wire, custom: { input: "x" } };
    expect(() =>
      openaiChat.decodeRequest({ ...body, messages: [{ role: "assistant", tool_calls: [broken] }] }),
    ).toThrow("messages.0.tool_calls.0.custom.name");
  });
});

describe("pages that an answer rests on", () => {
  const annotation = (start_index: number, end_index: number, more: object = {}) => ({
    type: "url_citation",
    url_citation: { url: "https://a.example/", title: "A", start_index, end_index, ...more },
  });
  const location = {
    type: "web_search_result_location",
    url: "https://a.example/",
    title: "A",
    cited_text: "world",
    encrypted_index: "Eo8BCioIAhgB",
  };

  test("are read from a Chat answer, positions in its text included", () => {
    const content = chatMessage({ content: "Hello world", annotations: [annotation(6, 11)] });
    expect(content).toEqual([
      cited("Hello world", {
        dialect: "openai-chat",
        value: [annotation(6, 11)],
        sources: [{ url: "https://a.example/", title: "A", start: 6, end: 11 }],
      }),
    ]);
    expect(toChat(...content).annotations).toEqual([annotation(6, 11)]);
  });

  test.each([
    [6, 99],
    [-1, 3],
    [5, 2],
    ["x", 3],
  ])("have no positions where those told are impossible: %s to %s", (start, end) => {
    const [part] = chatMessage({ content: "Hello world", annotations: [annotation(start as number, end as number)] });
    expect((part as Json).citations.sources).toEqual([{ url: "https://a.example/", title: "A" }]);
  });

  test("are those of the words before them, where a server tells them between the words", () => {
    const [part] = chatMessage({
      content: [
        { type: "text", text: "Hello " },
        { type: "text", text: "world" },
        { type: "tool_reference", tool: "web_search", url: "https://a.example/", title: "A" },
      ],
    });
    expect(part).toMatchObject({ text: "Hello world", citations: { value: [annotation(0, 11)] } });
  });

  test("are not lost where they come after the text was closed", () => {
    const decoder = openaiChat.streamDecoder();
    const chunk = (delta: object, finish_reason: string | null = null) =>
      decoder.feed({ data: JSON.stringify({ id: "c", choices: [{ index: 0, delta, finish_reason }] }) });
    chunk({ content: "Hello" });
    chunk({ tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "{}" } }] });
    const ends = [...chunk({ annotations: [annotation(0, 5)] }), ...chunk({}, "stop")].filter(
      ({ type }) => type === "text-end",
    );
    expect(ends).toMatchObject([{ citations: { sources: [{ url: "https://a.example/" }] } }]);
  });

  test("of Anthropic's search are annotations of the passage for Chat callers, whole and streamed", () => {
    const part = (text: string): Part => {
      const body = {
        type: "message",
        content: [{ type: "text", text, citations: [location] }],
        stop_reason: "end_turn",
      };
      return anthropicMessages.decodeResponse(body).choices[0]!.content[0]!;
    };
    const content = [{ type: "text", text: "Hello " } as Part, part("world")];
    expect((content[1] as Json).citations.sources).toEqual([{ url: "https://a.example/", title: "A", text: "world" }]);
    expect(toChat(...content).annotations).toEqual([annotation(6, 11)]);
    expect(chatDeltas(...content).filter((delta) => delta.annotations)).toEqual([{ annotations: [annotation(6, 11)] }]);
    const other = [{ type: "char_location", cited_text: "x", document_index: 0 }];
    expect(toChat(cited("x", { dialect: "anthropic-messages", value: other }))).not.toHaveProperty("annotations");
  });

  test("of other searches are citations for Anthropic callers, whole and streamed, and quote the text", () => {
    const part = cited("Hello world", {
      dialect: "openai-chat",
      value: [],
      sources: [{ url: "https://a.example/", title: "A", start: 6, end: 11 }, { url: "https://b.example/" }],
    });
    const citations = [
      { ...location, encrypted_index: "tp1." },
      { type: location.type, url: "https://b.example/", title: null, cited_text: "", encrypted_index: "tp1." },
    ];
    expect(toAnthropic(part)).toEqual([{ type: "text", text: "Hello world", citations }]);
    const deltas = anthropicEvents(part).filter(({ delta }) => delta?.type === "citations_delta");
    expect(deltas.map(({ delta }) => delta.citation)).toEqual(citations);
    expect(anthropicMessages.ownMarks.some((mark) => JSON.stringify(citations).includes(mark))).toBe(true);
  });

  test("that stand for another's search are not shown to Anthropic when they come back, its own are", () => {
    const back = (citations: object[]) => {
      const content = [{ type: "text", text: "world", citations }];
      const messages = [{ role: "assistant", content }];
      const request = anthropicMessages.decodeRequest({ model: "m", max_tokens: 9, messages });
      const sources = (request.messages[0]!.content[0] as Json).citations.sources;
      return [sources.length, (anthropicMessages.encodeRequest(request, "m") as Json).messages[0].content];
    };
    const foreign = { ...location, encrypted_index: "tp1." };
    expect(back([foreign])).toEqual([1, "world"]);
    expect(back([foreign, location])).toEqual([2, [{ type: "text", text: "world", citations: [location] }]]);
  });
});

describe("web search", () => {
  test("who asked for it reads that none was made", () => {
    const asking = (tools: JsonObject[]): Json =>
      anthropicMessages.encodeResponse(answer(), { ...context, request: { member: () => tools } }).usage;
    expect(asking([{ type: "web_search_20250305", name: "web_search" }]).server_tool_use).toEqual({
      web_search_requests: 0,
      web_fetch_requests: 0,
    });
    expect(asking([{ name: "f", input_schema: {} }])).not.toHaveProperty("server_tool_use");
  });

  test("options of a Chat request are a search with a place", () => {
    const options = {
      search_context_size: "low",
      user_location: { type: "approximate", approximate: { city: "Paris" } },
    };
    expect(decodeWebSearchOptions(options, "web_search_options")).toEqual([
      {
        type: "web-search",
        name: "web_search",
        userLocation: { type: "approximate", city: "Paris" },
        native: { dialect: "openai-chat", value: options },
      },
    ]);
    expect(() => decodeWebSearchOptions({ user_location: 1 }, "web_search_options")).toThrow(
      "web_search_options.user_location",
    );
  });
});
