import { describe, expect, it } from "vitest";
import type { ChatRequest, Message, Part } from "../../src/core/request.ts";
import { gemini, geminiWith } from "../../src/dialects/gemini/index.ts";

const PNG = "iVBORw0KGgo=";
const newest = geminiWith({ signedCalls: () => true, mediaInResults: () => true });

const asked: Message = { role: "user", content: [{ type: "text", text: "go" }] };
const request = (more: Partial<ChatRequest> = {}): ChatRequest => ({
  model: "m",
  system: [],
  messages: [asked],
  tools: [],
  stream: false,
  ...more,
});
const contents = (messages: Message[], dialect = gemini) =>
  dialect.encodeRequest(request({ messages }), "gemini-x").contents as { role: string; parts: unknown[] }[];
const assistant = (...content: Part[]): Message => ({ role: "assistant", content });
const call = (id: string, name = "f"): Part => ({ type: "tool-call", id, name, arguments: '{"n":1}' });
const result = (id: string, text: string): Part => ({ type: "tool-result", id, content: [{ type: "text", text }] });
const signed = (data: string, kind = "call", origin = "gemini"): Part => ({
  type: "thinking",
  text: "secret",
  signature: { origin, kind, data },
});

describe("paths", () => {
  it("hold the model", () => {
    expect(gemini.chatPath("gemini-x", false)).toBe("/models/gemini-x:generateContent");
    expect(gemini.chatPath("gemini-x", true)).toBe("/models/gemini-x:streamGenerateContent?alt=sse");
    expect(gemini.chatPath("models/gemini-x", false)).toBe("/models/gemini-x:generateContent");
    expect(gemini.chatPath("tunedModels/mine", false)).toBe("/tunedModels/mine:generateContent");
  });

  it("cannot be left by a model's name", () => {
    expect(gemini.chatPath("../files?x=#", false)).toBe("/models/..%2Ffiles%3Fx%3D%23:generateContent");
    expect(gemini.chatPath("tunedModels/../x", false)).toBe("/models/tunedModels%2F..%2Fx:generateContent");
  });
});

describe("contents", () => {
  it("join turns of one side", () => {
    expect(
      contents([asked, asked, assistant({ type: "text", text: "a" }), assistant({ type: "text", text: "b" })]),
    ).toEqual([
      { role: "user", parts: [{ text: "go" }, { text: "go" }] },
      { role: "model", parts: [{ text: "a" }, { text: "b" }] },
    ]);
  });

  it("put results first, in the order of the calls, with the names of the calls", () => {
    const turns = contents([
      asked,
      assistant(call("1", "f"), call("2", "g")),
      { role: "user", content: [{ type: "text", text: "next" }, result("2", "two"), result("1", '{"one":1}')] },
    ]);
    expect(turns[2]).toEqual({
      role: "user",
      parts: [
        { functionResponse: { id: "1", name: "f", response: { one: 1 } } },
        { functionResponse: { id: "2", name: "g", response: { output: "two" } } },
        { text: "next" },
      ],
    });
  });

  it.each([
    ["", { output: "(no output)" }],
    ["[1]", { output: "[1]" }],
    ['{"a":', { output: '{"a":' }],
    ['{"error":"x"}', { output: '{"error":"x"}' }],
    ['{"$ref":"#/a"}', { output: '{"$ref":"#/a"}' }],
    ['{"a":{"b":1}}', { a: { b: 1 } }],
  ])("write the result %j so that it is read as it was", (text, response) => {
    const turns = contents([asked, assistant(call("1")), { role: "user", content: [result("1", text)] }]);
    expect(turns[2]!.parts).toEqual([{ functionResponse: { id: "1", name: "f", response } }]);
  });

  it("tell failed calls as errors", () => {
    const failed: Part = { type: "tool-result", id: "1", content: [{ type: "text", text: "no" }], isError: true };
    const turns = contents([asked, assistant(call("1")), { role: "user", content: [failed] }]);
    expect(turns[2]!.parts).toEqual([{ functionResponse: { id: "1", name: "f", response: { error: "no" } } }]);
  });

  it("keep broken arguments visible", () => {
    const broken: Part = { type: "tool-call", id: "1", name: "f", arguments: '{"a"' };
    expect(contents([asked, assistant(broken)])[1]!.parts).toEqual([
      { functionCall: { id: "1", name: "f", args: { __invalid_json: '{"a"' } } },
    ]);
  });

  it("put a result's images into the response where the model takes them there, else behind it", () => {
    const image: Part = { type: "image", source: { kind: "base64", mediaType: "image/png", data: PNG } };
    const turn: Message = {
      role: "user",
      content: [{ type: "tool-result", id: "1", content: [{ type: "text", text: "see" }, image] }],
    };
    const inlineData = { mimeType: "image/png", data: PNG };
    expect(contents([asked, assistant(call("1")), turn], newest)[2]!.parts).toEqual([
      { functionResponse: { id: "1", name: "f", response: { output: "see" }, parts: [{ inlineData }] } },
    ]);
    expect(contents([asked, assistant(call("1")), turn])[2]!.parts).toEqual([
      { functionResponse: { id: "1", name: "f", response: { output: "see\n\n[attachment 1 of 1 follows]" } } },
      { inlineData },
    ]);
  });

  it("put instructions into the user's text for models that take none", () => {
    const system = [{ type: "text" as const, text: "be brief" }];
    expect(gemini.encodeRequest(request({ system }), "m")).toMatchObject({
      systemInstruction: { parts: [{ text: "be brief" }] },
    });
    const body = geminiWith({ systemAsUser: () => true }).encodeRequest(request({ system }), "m");
    expect(body).toEqual({ contents: [{ role: "user", parts: [{ text: "be brief" }, { text: "go" }] }] });
  });
});

describe("signatures of thinking", () => {
  it("go onto the call they came with, and the thoughts stay here", () => {
    expect(contents([asked, assistant(signed("AAA="), call("1"), call("2"))])[1]!.parts).toEqual([
      { functionCall: { id: "1", name: "f", args: { n: 1 } }, thoughtSignature: "AAA=" },
      { functionCall: { id: "2", name: "f", args: { n: 1 } } },
    ]);
  });

  it("find their calls although the caller keeps thinking in front of everything", () => {
    const turn = assistant(signed("AAA="), signed("BBB="), { type: "text", text: "so" }, call("1"), call("2"));
    expect(contents([asked, turn])[1]!.parts).toEqual([
      { text: "so" },
      { functionCall: { id: "1", name: "f", args: { n: 1 } }, thoughtSignature: "AAA=" },
      { functionCall: { id: "2", name: "f", args: { n: 1 } }, thoughtSignature: "BBB=" },
    ]);
  });

  it("of an answer go onto the text, or behind it", () => {
    const text: Part = { type: "text", text: "so" };
    expect(contents([asked, assistant(signed("AAA=", "answer"), text, signed("BBB=", "answer"))])[1]!.parts).toEqual([
      { text: "so", thoughtSignature: "AAA=" },
      { text: "", thoughtSignature: "BBB=" },
    ]);
  });

  it("of somebody else are not told", () => {
    expect(contents([asked, assistant(signed("AAA=", "call", "anthropic-messages"), call("1"))])[1]!.parts).toEqual([
      { functionCall: { id: "1", name: "f", args: { n: 1 } } },
    ]);
  });

  it("are excused where the model asks for one in the turn under way and nobody has it", () => {
    const messages = [
      asked,
      assistant(call("old")),
      { role: "user", content: [result("old", "x")] } as Message,
      assistant({ type: "text", text: "done" }),
      asked,
      assistant(call("1"), call("2")),
      { role: "user", content: [result("1", "x"), result("2", "x")] } as Message,
      assistant(signed("AAA="), call("3")),
    ];
    const marks = (dialect: typeof gemini) =>
      contents(messages, dialect)
        .flatMap(({ parts }) => parts as { functionCall?: { id: string }; thoughtSignature?: string }[])
        .flatMap(({ functionCall, thoughtSignature }) => (functionCall ? [[functionCall.id, thoughtSignature]] : []));
    expect(marks(newest)).toEqual([
      ["old", undefined],
      ["1", "skip_thought_signature_validator"],
      ["2", undefined],
      ["3", "AAA="],
    ]);
    // Words beside results do not begin another turn.
    messages.splice(6, 1, { role: "user", content: [result("1", "x"), result("2", "x")] }, asked);
    expect(marks(newest)[1]).toEqual(["1", "skip_thought_signature_validator"]);
    expect(marks(gemini).map(([, mark]) => mark)).toEqual([undefined, undefined, undefined, "AAA="]);
  });
});

describe("configuration", () => {
  it.each([
    [{ mode: "off" }, { thinkingBudget: 0 }],
    [{ mode: "auto" }, { thinkingBudget: -1, includeThoughts: true }],
    [{ mode: "on", budget: 99, show: false }, { thinkingBudget: 99 }],
    [
      { mode: "on", effort: "low", show: true },
      { thinkingLevel: "LOW", includeThoughts: true },
    ],
    [
      { mode: "default", effort: "xhigh" },
      { thinkingLevel: "XHIGH", includeThoughts: true },
    ],
  ] as const)("writes reasoning %j", (reasoning, thinkingConfig) => {
    expect(gemini.encodeRequest(request({ reasoning }), "m").generationConfig).toEqual({ thinkingConfig });
  });

  it("writes output formats", () => {
    const format = (outputFormat: ChatRequest["outputFormat"]) =>
      gemini.encodeRequest(request({ outputFormat }), "m").generationConfig;
    expect(format({ type: "json" })).toEqual({ responseMimeType: "application/json" });
    expect(format({ type: "json-schema", schema: { type: "object" } })).toEqual({
      responseMimeType: "application/json",
      responseJsonSchema: { type: "object" },
    });
  });

  it("writes tools of every kind and drops those of other dialects", () => {
    const body = gemini.encodeRequest(
      request({
        tools: [
          { type: "function", name: "f", parameters: {} },
          { type: "web-search", name: "web_search", native: { dialect: "x", value: { type: "web" } } },
          { type: "opaque", dialect: "x", kind: "y", value: {} },
          { type: "opaque", dialect: "gemini", kind: "urlContext", value: { urlContext: {} } },
        ],
        toolChoice: { type: "tool", name: "f" },
      }),
      "m",
    );
    expect(body).toMatchObject({
      tools: [
        { functionDeclarations: [{ name: "f", parametersJsonSchema: { type: "object" } }] },
        { googleSearch: {} },
        { urlContext: {} },
      ],
      toolConfig: { functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["f"] } },
    });
  });

  it("says how functions are called only where there are some", () => {
    const search = { type: "web-search" as const, name: "s", native: { dialect: "x", value: {} } };
    const body = gemini.encodeRequest(request({ tools: [search], toolChoice: { type: "auto" } }), "m");
    expect(body.toolConfig).toBeUndefined();
  });

  it("restores what only this dialect knows", () => {
    const wire = {
      safetySettings: [{ category: "HARM" }],
      contents: [{ role: "user", parts: [{ text: "go" }] }],
      tools: [
        { functionDeclarations: [{ name: "f", behavior: "BLOCKING", parametersJsonSchema: { type: "object" } }] },
      ],
      toolConfig: {
        retrievalConfig: { languageCode: "fr" },
        functionCallingConfig: { mode: "VALIDATED", allowedFunctionNames: ["f", "g"] },
      },
      generationConfig: { mediaResolution: "LOW", thinkingConfig: { thinkingLevel: "ULTRA" }, topK: 3 },
    };
    expect(gemini.encodeRequest(gemini.decodeRequest(wire, { model: "m" }), "m")).toEqual(wire);
  });
});

describe("embeddings", () => {
  const embeddings = gemini.embeddings!;
  const content = (text: string) => ({ parts: [{ text }] });

  it("are asked one by one or many at once", () => {
    const single = embeddings.decodeRequest(
      { content: content("a"), taskType: "RETRIEVAL_QUERY", outputDimensionality: 8, title: "t" },
      { model: "e" },
    );
    expect(single).toEqual({
      model: "e",
      inputs: ["a"],
      dimensions: 8,
      task: { dialect: "gemini", value: "RETRIEVAL_QUERY" },
      single: true,
      extensions: { dialect: "gemini", value: { title: "t" } },
    });
    expect(embeddings.path(single, "e")).toBe("/models/e:embedContent");
    expect(embeddings.encodeRequest(single, "e")).toEqual({
      model: "models/e",
      content: content("a"),
      taskType: "RETRIEVAL_QUERY",
      outputDimensionality: 8,
      title: "t",
    });
    const many = embeddings.decodeRequest(
      { requests: [{ model: "models/e", content: content("a") }, { content: content("b") }] },
      { model: "e" },
    );
    expect(many).toEqual({ model: "e", inputs: ["a", "b"], single: false });
    expect(embeddings.path(many, "e")).toBe("/models/e:batchEmbedContents");
    expect(embeddings.encodeRequest(many, "e")).toEqual({
      requests: [
        { model: "models/e", content: content("a") },
        { model: "models/e", content: content("b") },
      ],
    });
  });

  it("are answered in the form that was asked", () => {
    const answer = { vectors: [[1, 2]], inputTokens: 3 };
    const one = { model: "e", inputs: ["a"], single: true };
    expect(embeddings.encodeResponse(answer, one, "e")).toEqual({
      embedding: { values: [1, 2] },
      usageMetadata: { promptTokenCount: 3 },
    });
    expect(embeddings.encodeResponse({ vectors: [[1]] }, { ...one, single: false }, "e")).toEqual({
      embeddings: [{ values: [1] }],
    });
    expect(embeddings.decodeResponse({ embedding: { values: [1, 2] } })).toEqual({ vectors: [[1, 2]] });
    expect(embeddings.decodeResponse({ embeddings: [{ values: [1] }, { values: [2] }] })).toEqual({
      vectors: [[1], [2]],
    });
  });

  it.each([
    [{}, "content"],
    [{ requests: [] }, "requests"],
    [
      { requests: [{ content: content("a") }, { content: { parts: [{ inlineData: {} }] } }] },
      "requests.1.content.parts.0.text",
    ],
    [{ requests: [{ content: content("a") }, { content: content("b"), taskType: "X" }] }, "requests.1"],
  ])("that cannot be made are refused: %j", (body, param) => {
    expect(() => embeddings.decodeRequest(body, { model: "e" })).toThrow(expect.objectContaining({ param }));
  });

  it("of tokens and answers without vectors are refused", () => {
    expect(() => embeddings.encodeRequest({ model: "e", inputs: [[1, 2]] }, "e")).toThrow(
      expect.objectContaining({ code: "unsupported", param: "input" }),
    );
    for (const body of [{}, "x", { embeddings: [{ values: "x" }] }]) {
      expect(() => embeddings.decodeResponse(body)).toThrow(expect.objectContaining({ code: "upstream_invalid" }));
    }
  });
});

describe("lists of models", () => {
  it("name resources", () => {
    const list = gemini.encodeModels([{ id: "a" }, { id: "b", displayName: "B" }], false);
    expect(list).toMatchObject({ models: [{ name: "models/a" }, { name: "models/b", displayName: "B" }] });
    expect(gemini.encodeModels([{ id: "a" }], true)).toMatchObject({
      name: "models/a",
      supportedGenerationMethods: expect.arrayContaining(["generateContent"]),
    });
    expect(() => gemini.encodeModels([], true)).toThrow(expect.objectContaining({ code: "model_not_found" }));
  });
});

describe("what a caller says of tools that the API runs", () => {
  const written = (tools: object[]) => {
    const body = { contents: [{ role: "user", parts: [{ text: "go" }] }], tools };
    const toolConfig = { includeServerSideToolInvocations: true };
    return gemini.encodeRequest(gemini.decodeRequest({ ...body, toolConfig }, { model: "m" }), "m").toolConfig;
  };

  it("is kept, with functions beside them and without", () => {
    expect(written([{ googleSearch: {} }])).toEqual({ includeServerSideToolInvocations: true });
    expect(written([{ googleSearch: {} }, { functionDeclarations: [{ name: "f" }] }])).toEqual({
      includeServerSideToolInvocations: true,
    });
  });
});
