import { describe, expect, it } from "vitest";
import type { ChatRequest } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { gemini } from "../../src/dialects/gemini/index.ts";

const PNG = "iVBORw0KGgo=";
const path = { model: "gemini-2.5-flash", stream: false };
const ask = { contents: [{ role: "user", parts: [{ text: "hi" }] }] };
const decode = (body: JsonObject): ChatRequest => gemini.decodeRequest({ ...ask, ...body }, path);
const parts = (...list: JsonObject[]) => decode({ contents: [{ role: "user", parts: list }] }).messages[0]!.content;

function refused(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("was accepted");
}

describe("a request", () => {
  it("takes its model and whether it streams from the path", () => {
    expect(gemini.decodeRequest(ask, { model: "models/gemini-x", stream: true })).toEqual({
      model: "gemini-x",
      system: [],
      messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }],
      tools: [],
      stream: true,
    });
  });

  it("may be spelled in snake case all the way down", () => {
    const request = decode({
      system_instruction: { parts: [{ text: "be brief" }] },
      contents: [
        { parts: [{ inline_data: { mime_type: "image/png", data: PNG } }] },
        { role: "model", parts: [{ function_call: { name: "f", args: { a_b: 1 } }, thought_signature: "c2ln" }] },
        { parts: [{ function_response: { name: "f", response: { some_key: 1 } } }] },
      ],
      tools: [{ function_declarations: [{ name: "f", parameters_json_schema: { type: "object" } }] }],
      tool_config: { function_calling_config: { mode: "ANY", allowed_function_names: ["f"] } },
      generation_config: {
        max_output_tokens: 9,
        thinking_config: { include_thoughts: true, thinking_budget: 7 },
        response_mime_type: "application/json",
        response_json_schema: { type: "object" },
      },
      safety_settings: [{ category: "HARM" }],
    });
    expect(request).toMatchObject({
      system: [{ text: "be brief" }],
      messages: [
        { role: "user", content: [{ type: "image" }] },
        { role: "assistant", content: [{ type: "thinking" }, { type: "tool-call", arguments: '{"a_b":1}' }] },
        { role: "user", content: [{ type: "tool-result", content: [{ text: '{"some_key":1}' }] }] },
      ],
      tools: [{ type: "function", name: "f" }],
      toolChoice: { type: "tool", name: "f" },
      maxTokens: 9,
      reasoning: { mode: "on", budget: 7, show: true },
      outputFormat: { type: "json-schema", schema: { type: "object" } },
      extensions: { dialect: "gemini", value: { safetySettings: [{ category: "HARM" }] } },
    });
  });

  it("tells all sampling parameters of its configuration", () => {
    const generationConfig = {
      maxOutputTokens: 1,
      candidateCount: 2,
      temperature: 0.3,
      topP: 0.4,
      topK: 5,
      seed: -6,
      stopSequences: ["x"],
      presencePenalty: 0.7,
      frequencyPenalty: 0.8,
      responseLogprobs: true,
      logprobs: 9,
    };
    expect(decode({ generationConfig, serviceTier: "flex" })).toMatchObject({
      maxTokens: 1,
      n: 2,
      temperature: 0.3,
      topP: 0.4,
      topK: 5,
      seed: -6,
      stop: ["x"],
      presencePenalty: 0.7,
      frequencyPenalty: 0.8,
      logprobs: true,
      topLogprobs: 9,
      serviceTier: "flex",
    });
  });

  it("keeps what only this dialect knows", () => {
    const request = decode({
      cachedContent: "cachedContents/1",
      labels: { a: "b" },
      generationConfig: { responseModalities: ["TEXT"], speechConfig: { languageCode: "fr" } },
      toolConfig: { retrievalConfig: { languageCode: "fr" } },
    });
    expect(request.extensions?.value).toEqual({
      cachedContent: "cachedContents/1",
      labels: { a: "b" },
      generationConfig: { responseModalities: ["TEXT"], speechConfig: { languageCode: "fr" } },
      toolConfig: { retrievalConfig: { languageCode: "fr" } },
    });
  });

  it.each([
    [{ thinkingBudget: 0 }, { mode: "off", show: false }],
    [
      { thinkingBudget: -1, includeThoughts: true },
      { mode: "auto", show: true },
    ],
    [{ thinkingBudget: 512 }, { mode: "on", budget: 512, show: false }],
    [{ thinkingLevel: "MINIMAL" }, { mode: "on", effort: "minimal", show: false }],
    [
      { thinkingLevel: "high", includeThoughts: true },
      { mode: "on", effort: "high", show: true },
    ],
    [{ includeThoughts: true }, { mode: "default", show: true }],
  ])("reads thinkingConfig %j", (thinkingConfig, reasoning) => {
    expect(decode({ generationConfig: { thinkingConfig } }).reasoning).toEqual(reasoning);
  });

  it.each([
    [{ responseMimeType: "application/json" }, { type: "json" }],
    [
      {
        responseMimeType: "application/json",
        responseSchema: { type: "OBJECT", properties: { a: { type: "STRING" } } },
      },
      { type: "json-schema", schema: { type: "object", properties: { a: { type: "string" } } } },
    ],
    [{ responseMimeType: "text/plain" }, undefined],
  ])("reads the output format of %j", (generationConfig, format) => {
    expect(decode({ generationConfig }).outputFormat).toEqual(format);
  });

  it.each([
    ["AUTO", undefined, { type: "auto" }],
    ["NONE", undefined, { type: "none" }],
    ["ANY", undefined, { type: "required" }],
    ["ANY", ["f"], { type: "tool", name: "f" }],
    ["ANY", ["f", "g"], { type: "required" }],
    ["VALIDATED", undefined, { type: "auto" }],
  ])("reads the calling mode %s with the names %j", (mode, allowedFunctionNames, choice) => {
    expect(decode({ toolConfig: { functionCallingConfig: { mode, allowedFunctionNames } } }).toolChoice).toEqual(
      choice,
    );
  });
});

describe("tools", () => {
  it("turn the API's own schemas into JSON Schema", () => {
    const parameters = {
      type: "OBJECT",
      propertyOrdering: ["b", "a"],
      properties: {
        a: { type: "ARRAY", items: { type: "INTEGER", nullable: true }, minItems: "2" },
        b: { anyOf: [{ type: "STRING", enum: ["x"] }, { type: "NUMBER" }], nullable: true, example: "x" },
        c: { type: "STRING", enum: ["y"], nullable: true },
      },
      required: ["a"],
    };
    const [tool] = decode({ tools: [{ functionDeclarations: [{ name: "f", description: "d", parameters }] }] }).tools;
    expect(tool).toEqual({
      type: "function",
      name: "f",
      description: "d",
      parameters: {
        type: "object",
        properties: {
          b: { anyOf: [{ type: "string", enum: ["x"] }, { type: "number" }, { type: "null" }], examples: ["x"] },
          a: { type: "array", items: { type: ["integer", "null"] }, minItems: 2 },
          c: { type: ["string", "null"], enum: ["y", null] },
        },
        required: ["a"],
      },
    });
    expect(Object.keys((tool as { parameters: JsonObject }).parameters.properties as object)).toEqual(["b", "a", "c"]);
  });

  it("may stand several in one group; a search is a search, others are kept as they came", () => {
    const tools = [{ functionDeclarations: [{ name: "f" }], googleSearch: {} }, { codeExecution: {} }];
    expect(decode({ tools }).tools).toEqual([
      { type: "function", name: "f", parameters: { type: "object", properties: {} } },
      { type: "web-search", name: "googleSearch", native: { dialect: "gemini", value: { googleSearch: {} } } },
      { type: "opaque", dialect: "gemini", kind: "codeExecution", value: { codeExecution: {} } },
    ]);
  });
});

describe("parts", () => {
  it("carry images, audio and documents", () => {
    const inline = (mimeType: string, data: string) => ({ inlineData: { mimeType, data } });
    expect(
      parts(
        inline("image/png", PNG),
        inline("audio/x-wav", "AAA="),
        inline("application/pdf", "JVBERi0="),
        inline("text/markdown", Buffer.from("# é").toString("base64")),
        { fileData: { fileUri: "https://example.com/a.png" } },
        { fileData: { fileUri: "https://example.com/a", mimeType: "application/pdf" } },
        { fileData: { fileUri: "https://generativelanguage.googleapis.com/v1beta/files/a", mimeType: "image/png" } },
      ),
    ).toEqual([
      { type: "image", source: { kind: "base64", mediaType: "image/png", data: PNG } },
      { type: "audio", data: "AAA=", format: "wav" },
      { type: "document", source: { kind: "base64", mediaType: "application/pdf", data: "JVBERi0=" } },
      { type: "document", source: { kind: "text", mediaType: "text/markdown", text: "# é" } },
      { type: "image", source: { kind: "url", url: "https://example.com/a.png" } },
      { type: "document", source: { kind: "url", url: "https://example.com/a" } },
      {
        type: "image",
        source: { kind: "file", dialect: "gemini", id: "https://generativelanguage.googleapis.com/v1beta/files/a" },
      },
    ]);
  });

  it("take both alphabets of base64", () => {
    expect(parts({ inlineData: { mimeType: "image/png", data: "_-8=" } })).toMatchObject([
      { source: { data: "/+8=" } },
    ]);
  });

  it("that nobody else has are kept as they came", () => {
    const video = { fileData: { fileUri: "https://youtu.be/x", mimeType: "video/mp4" }, videoMetadata: { fps: 1 } };
    const code = { executableCode: { language: "PYTHON", code: "1" } };
    expect(parts(video, code)).toEqual([
      { type: "opaque", dialect: "gemini", kind: "fileData", value: video },
      { type: "opaque", dialect: "gemini", kind: "executableCode", value: code },
    ]);
  });

  it("of several calls and results find each other by id, or else by name and order", () => {
    const { messages } = decode({
      contents: [
        {
          role: "model",
          parts: [
            { functionCall: { name: "f", args: { n: 1 } } },
            { functionCall: { name: "f", args: { n: 2 } } },
            { functionCall: { id: "g1", name: "g" } },
          ],
        },
        {
          role: "user",
          parts: [
            { text: "and then" },
            { functionResponse: { id: "g1", name: "g", response: { output: "three" } } },
            { functionResponse: { name: "f", response: { output: "one" } } },
            { functionResponse: { name: "f", response: { error: "two" } } },
          ],
        },
      ],
    });
    const ids = messages[0]!.content.map((part) => (part as { id: string }).id);
    expect(ids).toEqual([expect.stringMatching(/^toolu_tp_\w{12}$/), expect.stringMatching(/^toolu_tp_\w{12}$/), "g1"]);
    expect(new Set(ids).size).toBe(3);
    expect(messages[1]!.content).toEqual([
      { type: "tool-result", id: "g1", content: [{ type: "text", text: "three" }] },
      { type: "tool-result", id: ids[0], content: [{ type: "text", text: "one" }] },
      { type: "tool-result", id: ids[1], content: [{ type: "text", text: "two" }], isError: true },
      { type: "text", text: "and then" },
    ]);
  });

  it("of several calls of one name are told apart by their ids, in whatever order they are answered", () => {
    const { messages } = decode({
      contents: [
        { role: "model", parts: ["1", "2"].map((id) => ({ functionCall: { id, name: "f" } })) },
        {
          role: "user",
          parts: ["2", "1"].map((id) => ({ functionResponse: { id, name: "f", response: { output: id } } })),
        },
      ],
    });
    expect(messages[1]!.content).toMatchObject([
      { id: "2", content: [{ text: "2" }] },
      { id: "1", content: [{ text: "1" }] },
    ]);
  });

  it("get the same synthetic id each time", () => {
    const call = { contents: [{ role: "model", parts: [{ functionCall: { name: "f", args: {} } }] }] };
    expect(decode(call)).toEqual(decode(call));
  });

  it("of a function's response may hold images", () => {
    const response = {
      name: "f",
      id: "1",
      response: {},
      parts: [{ inlineData: { mimeType: "image/png", data: PNG } }],
    };
    expect(parts({ functionResponse: response })).toEqual([
      {
        type: "tool-result",
        id: "1",
        content: [{ type: "image", source: { kind: "base64", mediaType: "image/png", data: PNG } }],
      },
    ]);
  });

  it("with thoughts and signatures become thinking", () => {
    const { messages } = decode({
      contents: [
        {
          role: "model",
          parts: [
            { text: "hm", thought: true },
            { functionCall: { id: "1", name: "f" }, thoughtSignature: "AAA=" },
            { text: "so", thoughtSignature: "BBB=" },
            { text: "", thoughtSignature: "CCC=" },
          ],
        },
      ],
    });
    const signed = (text: string, kind: string, data: string) => ({
      type: "thinking",
      text,
      signature: { origin: "gemini", kind, data },
    });
    expect(messages[0]!.content).toEqual([
      signed("hm", "call", "AAA="),
      { type: "tool-call", id: "1", name: "f", arguments: "{}" },
      signed("", "answer", "BBB="),
      { type: "text", text: "so" },
      signed("", "answer", "CCC="),
    ]);
  });
});

describe("contents of one side in a row", () => {
  it("are one turn, and the pieces of a streamed answer one text", () => {
    const piece = (...list: JsonObject[]) => ({ role: "model", parts: list });
    const { messages } = decode({
      contents: [
        { parts: [{ text: "a" }] },
        { parts: [{ text: "b" }] },
        piece({ text: "th", thought: true }),
        piece({ text: "ink", thought: true }),
        piece({ text: "so", thoughtSignature: "AAA=" }),
        piece({ text: "" }),
        piece({ text: " far" }),
        piece({ functionCall: { id: "1", name: "f" } }),
        piece({ functionCall: { id: "2", name: "f" } }),
        { parts: [{ functionResponse: { id: "1", name: "f", response: { output: "x" } } }] },
        { parts: [{ functionResponse: { id: "2", name: "f", response: { output: "y" } } }] },
      ],
    });
    expect(messages).toEqual([
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "thinking", text: "think", signature: { origin: "gemini", kind: "answer", data: "AAA=" } },
          { type: "text", text: "so far" },
          { type: "tool-call", id: "1", name: "f", arguments: "{}" },
          { type: "tool-call", id: "2", name: "f", arguments: "{}" },
        ],
      },
      {
        role: "user",
        content: [
          { type: "tool-result", id: "1", content: [{ type: "text", text: "x" }] },
          { type: "tool-result", id: "2", content: [{ type: "text", text: "y" }] },
        ],
      },
    ]);
  });
});

describe("a wrong request is refused with the path of the field", () => {
  it.each<[JsonObject, string]>([
    [{ contents: undefined }, "contents"],
    [{ contents: [] }, "contents"],
    [{ contents: [{ role: "system", parts: [] }] }, "contents.0.role"],
    [{ contents: [{ role: "user" }] }, "contents.0.parts"],
    [{ contents: [{ parts: [{}] }] }, "contents.0.parts.0"],
    [{ contents: [{ parts: [{ text: 1 }] }] }, "contents.0.parts.0.text"],
    [{ contents: [{ parts: [{ functionCall: {} }] }] }, "contents.0.parts.0.functionCall.name"],
    [{ contents: [{ parts: [{ functionCall: { name: "f", args: [] } }] }] }, "contents.0.parts.0.functionCall.args"],
    [
      { contents: [{ parts: [{ functionResponse: { name: "f", response: "x" } }] }] },
      "contents.0.parts.0.functionResponse.response",
    ],
    [{ contents: [{ parts: [{ inlineData: { data: "" } }] }] }, "contents.0.parts.0.inlineData.mimeType"],
    [{ systemInstruction: "x" }, "systemInstruction"],
    [{ systemInstruction: { parts: [{ inlineData: {} }] } }, "systemInstruction.parts.0.text"],
    [{ tools: {} }, "tools"],
    [{ tools: [{ functionDeclarations: [{}] }] }, "tools.0.functionDeclarations.0.name"],
    [{ toolConfig: { functionCallingConfig: { mode: "MUST" } } }, "toolConfig.functionCallingConfig.mode"],
    [{ generationConfig: { maxOutputTokens: "many" } }, "generationConfig.maxOutputTokens"],
    [
      { generationConfig: { thinkingConfig: { thinkingBudget: 0.5 } } },
      "generationConfig.thinkingConfig.thinkingBudget",
    ],
    [{ generation_config: { stop_sequences: "x" } }, "generationConfig.stopSequences"],
  ])("%j", (body, param) => {
    expect(refused(() => decode(body))).toMatchObject({ code: "invalid_request", status: 400, param });
  });
});

describe("the bound on the output", () => {
  const reader = (body: JsonObject) => ({ member: (name: string) => body[name] });

  it("is read from the configuration, in either spelling", () => {
    expect(gemini.bounds.read(reader({}))).toEqual({ choices: 1 });
    expect(gemini.bounds.read(reader({ generationConfig: { maxOutputTokens: 5, candidateCount: 3 } }))).toEqual({
      maxTokens: 5,
      choices: 3,
    });
    expect(gemini.bounds.read(reader({ generation_config: { max_output_tokens: 5 } }))).toEqual({
      maxTokens: 5,
      choices: 1,
    });
  });

  it("is written with everything else in the configuration kept", () => {
    const written = (body: JsonObject) =>
      Object.entries(gemini.bounds.write(reader(body), 7)).map(([name, json]) => [name, JSON.parse(json)]);
    expect(written({})).toEqual([["generationConfig", { maxOutputTokens: 7 }]]);
    expect(written({ generation_config: { max_output_tokens: 9, topK: 1, responseSchema: {} } })).toEqual([
      ["generation_config", { topK: 1, responseSchema: {}, maxOutputTokens: 7 }],
    ]);
  });

  it("is refused where it is no whole number", () => {
    expect(refused(() => gemini.bounds.read(reader({ generationConfig: { maxOutputTokens: 1.5 } })))).toMatchObject({
      param: "generationConfig.maxOutputTokens",
    });
    expect(refused(() => gemini.bounds.read(reader({ generationConfig: 1 })))).toMatchObject({
      param: "generationConfig",
    });
  });
});

describe("a count of tokens", () => {
  const count = gemini.countTokens!;

  it("may be asked of contents or of a whole request", () => {
    const whole = { model: "models/gemini-x", systemInstruction: { parts: [{ text: "s" }] }, ...ask };
    expect(count.decodeRequest(ask, { model: "gemini-x" }).messages).toHaveLength(1);
    expect(count.decodeRequest({ generateContentRequest: whole }, {})).toMatchObject({
      model: "gemini-x",
      system: [{ text: "s" }],
    });
  });

  it("goes upstream as a whole request and comes back as a number", () => {
    expect(count.path?.("gemini-x")).toBe("/models/gemini-x:countTokens");
    expect(count.encodeRequest?.(decode({}), "gemini-x")).toEqual({
      generateContentRequest: { model: "models/gemini-x", ...ask },
    });
    expect(count.decodeResponse?.({ totalTokens: 13, totalBillableCharacters: 47 })).toBe(13);
    expect(count.encodeResponse(13)).toEqual({ totalTokens: 13 });
  });
});
