import { GoogleGenAI } from "@google/genai";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Fake, fakeGemini, validateGemini } from "../../src/testing/fakes/index.ts";
import { eventsIn, type Json } from "./support.ts";

const GEMINI_3 = "gemini-3-pro-preview";
const GEMINI_25 = "gemini-2.5-flash";
const says = (text: string, role = "user") => ({ role, parts: [{ text }] });
const base = { contents: [says("hi")] };
const declared = (change: object = {}) => ({ tools: [{ functionDeclarations: [{ name: "f", ...change }] }] });
const called = (name = "f", thoughtSignature?: string) => ({
  functionCall: { name, args: {} },
  ...(thoughtSignature && { thoughtSignature }),
});
const answered = (name = "f", response: unknown = { output: 1 }) => ({ functionResponse: { name, response } });
const turns = (...contents: object[][]) => ({
  contents: contents.map((parts, i) => ({ role: i % 2 ? "model" : "user", parts })),
});
const json = (change: object = {}) => ({ generationConfig: { responseMimeType: "application/json", ...change } });

type JsonResponse = Omit<Response, "json"> & { json(): Promise<Json> };

let fake: Fake;
let client: GoogleGenAI;
beforeAll(async () => {
  fake = await fakeGemini({ apiKey: "test-key" });
  client = new GoogleGenAI({ apiKey: "test-key", httpOptions: { baseUrl: fake.url } });
});
beforeEach(() => fake.reset());
afterAll(() => fake.close());

function send(
  method: string,
  body: unknown,
  query = "",
  headers: Record<string, string> = { "x-goog-api-key": "test-key" },
) {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  };
  return fetch(`${fake.baseURL}/models/${method}${query}`, init) as Promise<JsonResponse>;
}
const refused = (change: object, model = GEMINI_3) => validateGemini(model, { ...base, ...change }) as Json;
const messageOf = (change: object, model = GEMINI_3): string | undefined => refused(change, model)?.body.error.message;

describe("the way in", () => {
  it("wants a key, in the header or the query", async () => {
    const statusOf = async (query: string, headers: Record<string, string>) => {
      const response = await send(`${GEMINI_3}:generateContent`, base, query, headers);
      return [response.status, (await response.json()).error?.status];
    };
    expect(await statusOf("", {})).toEqual([403, "PERMISSION_DENIED"]);
    expect(await statusOf("", { authorization: "Bearer test-key" })).toEqual([403, "PERMISSION_DENIED"]);
    expect(await statusOf("", { "x-goog-api-key": "wrong" })).toEqual([400, "INVALID_ARGUMENT"]);
    expect(await statusOf("?key=test-key", {})).toEqual([200, undefined]);
  });

  it("does not know models of others", async () => {
    const response = await send("gemini-3.6-flahs:generateContent", base);
    // As recorded [FX-P test_model_name_suggestion].
    expect([response.status, await response.json()]).toEqual([
      404,
      {
        error: {
          code: 404,
          message:
            "models/gemini-3.6-flahs is not found for API version v1beta, or is not supported for generateContent. Call ModelService.ListModels to see the list of available models and their supported methods.",
          status: "NOT_FOUND",
        },
      },
    ]);
  });
});

describe("JSON that is no message", () => {
  it("names every unknown field, as the API does", async () => {
    const response = await send(`${GEMINI_3}:generateContent`, {
      ...base,
      foo: 1,
      generation_config: { max_tokens: 5 },
    });
    const [top, inner] = [
      'Invalid JSON payload received. Unknown name "foo": Cannot find field.',
      "Invalid JSON payload received. Unknown name \"max_tokens\" at 'generation_config': Cannot find field.",
    ];
    expect([response.status, await response.json()]).toEqual([
      400,
      {
        error: {
          code: 400,
          message: `${top}\n${inner}`,
          status: "INVALID_ARGUMENT",
          details: [
            {
              "@type": "type.googleapis.com/google.rpc.BadRequest",
              fieldViolations: [{ description: top }, { field: "generation_config", description: inner }],
            },
          ],
        },
      },
    ]);
  });

  const parameters = (schema: object) => declared({ parameters: { type: "OBJECT", properties: { a: schema } } });
  const at = "tools[0].function_declarations[0].parameters.properties[0].value";
  const V1BETA = "type.googleapis.com/google.ai.generativelanguage.v1beta";
  const bad: [what: string, change: object, message: string][] = [
    [
      "const in an OpenAPI schema",
      parameters({ const: 1 }),
      `Invalid JSON payload received. Unknown name "const" at '${at}': Cannot find field.`,
    ],
    [
      "additionalProperties in an OpenAPI schema",
      parameters({ type: "OBJECT", additionalProperties: false }),
      `Invalid JSON payload received. Unknown name "additionalProperties" at '${at}': Cannot find field.`,
    ],
    [
      "a list of types",
      parameters({ type: ["string", "null"] }),
      `Invalid JSON payload received. Unknown name "type" at '${at}': Proto field is not repeating, cannot start list.`,
    ],
    [
      "labels, which only Vertex has",
      { labels: { a: "b" } },
      'Invalid JSON payload received. Unknown name "labels": Cannot find field.',
    ],
    [
      "a text for a result",
      turns([{ text: "a" }], [called()], [answered("f", "text")]),
      `Invalid value at 'contents[2].parts[0].function_response.response' (type.googleapis.com/google.protobuf.Struct), "text"`,
    ],
    [
      "a text for the system",
      { systemInstruction: "be" },
      `Invalid value at 'system_instruction' (${V1BETA}.Content), "be"`,
    ],
    [
      "a mode it does not have",
      { toolConfig: { functionCallingConfig: { mode: "required" } } },
      `Invalid value at 'tool_config.function_calling_config.mode' (${V1BETA}.FunctionCallingConfig.Mode), "required"`,
    ],
    ["a text that is a number", turns([{ text: 5 }]), "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5"],
    [
      "half a token",
      { generationConfig: { maxOutputTokens: 1.5 } },
      "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), 1.5",
    ],
    [
      "data that is no Base64",
      turns([{ inlineData: { mimeType: "image/png", data: "data:…" } }]),
      `Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 decoding failed for "data:…"`,
    ],
    [
      "two things in one part",
      turns([{ text: "a", inlineData: { mimeType: "image/png", data: "AA==" } }]),
      "Invalid value at 'contents[0].parts[0]' (oneof), oneof field 'data' is already set. Cannot set 'inlineData'",
    ],
  ];
  it.each(bad)("refuses %s", (_what, change, message) => {
    expect(messageOf(change)).toBe(message);
    expect(refused(change).body.error.details[0].fieldViolations).toMatchObject([{ description: message }]);
  });

  it("takes either case, nulls, single elements and numbers as text", () => {
    const snake = {
      contents: { parts: { text: "hi" } },
      system_instruction: { parts: [{ text: "be" }] },
      generation_config: { max_output_tokens: "20", thinking_config: { thinking_level: "low" } },
      safety_settings: null,
    };
    expect(validateGemini(GEMINI_3, snake)).toBeUndefined();
  });
});

describe("what it refuses though the message can be read", () => {
  const config = (generationConfig: object) => ({ generationConfig });
  const head = "* GenerateContentRequest.";
  const bad: [what: string, change: object, message: string | RegExp][] = [
    ["no contents", { contents: [] }, `${head}contents: contents is not specified\n`],
    [
      "a content without parts",
      { contents: [{ role: "user" }] },
      `${head}contents[0].parts: contents.parts must not be empty.\n`,
    ],
    [
      "a part that says nothing",
      turns([{ thought: true }]),
      `${head}contents[0].parts[0].data: required oneof field 'data' must have one initialized field\n`,
    ],
    ["the role assistant", { contents: [says("a"), says("b", "assistant")] }, "Please use a valid role: user, model."],
    ["the role system", { contents: [says("a", "system")] }, "Please use a valid role: user, model."],
    ["temperature 2.1", config({ temperature: 2.1 }), /temperature must be in the range \[0, 2\]/],
    ["no candidates", config({ candidateCount: 0 }), /candidate_count must be in the range \[1, 8\]/],
    ["two candidates", config({ candidateCount: 2 }), /Multiple candidates is not enabled/],
    ["no tokens", config({ maxOutputTokens: 0 }), /max_output_tokens must be at least 1/],
    ["six stop sequences", config({ stopSequences: [..."abcdef"] }), /at most 5 stop sequences/],
    ["an empty stop sequence", config({ stopSequences: [""] }), /must not be empty/],
    ["log probabilities", config({ responseLogprobs: true }), /Logprobs is not enabled/],
    ["a schema without its MIME type", config({ responseJsonSchema: { type: "object" } }), /response_mime_type/],
    [
      "two schemas",
      json({ responseJsonSchema: { type: "object" }, responseSchema: { type: "STRING" } }),
      /mutually exclusive/,
    ],
    [
      "const in a JSON Schema",
      json({ responseJsonSchema: { type: "object", properties: { a: { const: 1 } } } }),
      /response_json_schema\.a\.const: keyword is not supported/,
    ],
    [
      "not in the parameters",
      declared({ parametersJsonSchema: { type: "object", properties: { a: { items: { not: {} } } } } }),
      /not: keyword is not supported/,
    ],
    [
      "something beside $ref",
      declared({ parametersJsonSchema: { type: "object", properties: { a: { $ref: "#", type: "string" } } } }),
      /\$ref cannot be set beside 'type'/,
    ],
    ["parameters that are no object", declared({ parametersJsonSchema: { type: "string" } }), /should be OBJECT/],
    [
      "both kinds of parameters",
      declared({ parameters: { type: "OBJECT" }, parametersJsonSchema: { type: "object" } }),
      /mutually exclusive/,
    ],
    [
      "an array of nothing",
      declared({ parameters: { type: "OBJECT", properties: { a: { type: "ARRAY" } } } }),
      /parameters\.properties\[a\]\.items: missing field\./,
    ],
    [
      "an enum of booleans",
      declared({ parameters: { type: "OBJECT", properties: { a: { type: "BOOLEAN", enum: ["a"] } } } }),
      /enum: only allowed for STRING type/,
    ],
    [
      "a format of JSON Schema",
      declared({ parameters: { type: "OBJECT", properties: { a: { type: "STRING", format: "uri" } } } }),
      /only 'enum' and 'date-time' are supported/,
    ],
    [
      "a required property that is not there",
      declared({ parameters: { type: "OBJECT", required: ["a"] } }),
      /required\[0\]: property is not defined/,
    ],
    ["a name that begins with a digit", declared({ name: "1f" }), /Invalid function name/],
    ["a name of 129 characters", declared({ name: "f".repeat(129) }), /Invalid function name/],
    [
      "the same function twice",
      { tools: [...declared().tools, ...declared().tools] },
      "Duplicate function declaration found: f",
    ],
    [
      "a function calling config without functions",
      { toolConfig: { functionCallingConfig: { mode: "AUTO" } } },
      "Function calling config is set without function_declarations.",
    ],
    [
      "allowed names with AUTO",
      { ...declared(), toolConfig: { functionCallingConfig: { mode: "AUTO", allowedFunctionNames: ["f"] } } },
      /only when function calling mode is ANY/,
    ],
    [
      "allowed names that are not declared",
      { ...declared(), toolConfig: { functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["g"] } } },
      /'g' is not among/,
    ],
    [
      "a search beside functions",
      { tools: [...declared().tools, { googleSearch: {} }] },
      /include_server_side_tool_invocations/,
    ],
    [
      "level and budget",
      config({ thinkingConfig: { thinkingLevel: "LOW", thinkingBudget: 5 } }),
      "You can only set only one of thinking budget and thinking level.",
    ],
  ];
  it.each(bad)("refuses %s", (_what, change, message) => {
    expect(messageOf(change)).toEqual(typeof message === "string" ? message : expect.stringMatching(message));
    expect(refused(change)).toMatchObject({ status: 400, body: { error: { code: 400, status: "INVALID_ARGUMENT" } } });
  });

  const good: [what: string, change: object][] = [
    ["an empty text", turns([{ text: "a" }], [{ text: "" }], [{ text: "b" }])],
    [
      "a schema with definitions and a default",
      declared({
        parametersJsonSchema: {
          type: "object",
          $defs: { t: { type: "string", default: "" } },
          properties: { a: { $ref: "#/$defs/t" } },
          additionalProperties: false,
        },
      }),
    ],
    ["a function without parameters", declared()],
    ["JSON beside functions", { ...declared(), ...json({ responseJsonSchema: { type: "object" } }) }],
    [
      "a search beside functions that shows itself",
      { tools: [...declared().tools, { googleSearch: {} }], toolConfig: { includeServerSideToolInvocations: true } },
    ],
    [
      "a forced function",
      { ...declared(), toolConfig: { functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["f"] } } },
    ],
    [
      "media in results",
      turns(
        [{ text: "a" }],
        [called("f", "skip_thought_signature_validator")],
        [
          {
            functionResponse: {
              name: "f",
              response: {},
              parts: [{ inlineData: { mimeType: "image/png", data: "AA==" } }],
            },
          },
        ],
      ),
    ],
    ["a name with a dot, a colon and a dash", declared({ name: "a.b:c-d" })],
  ];
  it.each(good)("takes %s", (_what, change) => {
    expect(refused(change)).toBeUndefined();
  });

  it("knows what only Gemini 3 can", () => {
    const only3: [change: object, message: string][] = [
      [{ ...declared(), ...json() }, "Function calling with a response mime type: 'application/json' is unsupported"],
      [
        { tools: [{ googleSearch: {} }], ...json() },
        "Tool use with a response mime type: 'application/json' is unsupported",
      ],
      [
        { tools: [...declared().tools, { googleSearch: {} }], toolConfig: { includeServerSideToolInvocations: true } },
        "Tool use with function calling is unsupported",
      ],
      [config({ presencePenalty: 1 }), `Penalty is not enabled for models/${GEMINI_25}`],
      [
        good.find(([what]) => what === "media in results")?.[1] ?? {},
        "Multimodal function responses are not supported for this model.",
      ],
    ];
    for (const [change, message] of only3)
      expect([messageOf(change), messageOf(change, GEMINI_25)]).toEqual([undefined, message]);
  });

  const levels = ["MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"];
  const thinking: [model: string, levels: string[], budgets: number[]][] = [
    ["gemini-2.0-flash", [], []],
    ["gemini-2.5-pro", [], [-1, 128, 24576, 32768]],
    ["gemini-2.5-flash", [], [-1, 0, 1, 127, 128, 24576]],
    ["gemini-2.5-flash-lite", [], [-1, 0, 24576]],
    ["gemini-3-pro-preview", ["LOW", "MEDIUM", "HIGH"], [-1, 1, 127, 128, 24576, 32768]],
    ["gemini-3-flash-preview", ["MINIMAL", "LOW", "MEDIUM", "HIGH"], [-1, 1, 127, 128, 24576, 32768]],
    ["gemini-3.7-flash", ["LOW", "MEDIUM", "HIGH"], [-1, 1, 127, 128, 24576, 32768]],
    ["gemini-4-hydrogen", ["LOW", "MEDIUM", "HIGH", "XHIGH"], [-1]],
  ];
  it.each(thinking)("%s takes levels %j and budgets %j", (model, accepted, budgets) => {
    const takes = (thinkingConfig: object) => !refused(config({ thinkingConfig }), model);
    expect(levels.filter((thinkingLevel) => takes({ thinkingLevel }))).toEqual(accepted);
    const all = [-1, 0, 1, 127, 128, 24576, 32768, 32769];
    expect(all.filter((thinkingBudget) => takes({ thinkingBudget }))).toEqual(budgets);
  });

  it("words the budgets it does not take", () => {
    const budget = (thinkingBudget: number, model: string, change: object = {}) =>
      messageOf(config({ thinkingConfig: { thinkingBudget, ...change } }), model);
    expect(budget(0, "gemini-2.5-pro")).toBe("Budget 0 is invalid. This model only works in thinking mode.");
    expect(budget(5, "gemini-2.5-pro")).toBe(
      "The thinking budget 5 is invalid. Please choose a value between 128 and 32768.",
    );
    expect(budget(0, GEMINI_25, { includeThoughts: true })).toMatch(
      /include_thoughts is only enabled when thinking is enabled/,
    );
  });
});

describe("turns", () => {
  const [ask, skip] = [[{ text: "a" }], "skip_thought_signature_validator"];
  const ofCalls =
    "Please ensure that function call turn comes immediately after a user turn or after a function response turn.";
  const ofResults = "Please ensure that function response turn comes immediately after a function call turn.";
  const ofNumbers =
    "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.";
  const bad: [what: string, change: object, message: string | RegExp][] = [
    ["too few results", turns(ask, [called(), called()], [answered()]), ofNumbers],
    ["no results", turns(ask, [called()], ask), ofNumbers],
    ["calls at the end", turns(ask, [called()]), ofNumbers],
    [
      "results in two contents",
      { contents: [...turns(ask, [called(), called()], [answered()]).contents, { role: "user", parts: [answered()] }] },
      ofNumbers,
    ],
    ["results without calls", turns(ask, [{ text: "b" }], [answered()]), ofResults],
    ["results from the model", turns(ask, [answered()]), ofResults],
    ["calls from the user", turns([called()]), ofCalls],
    [
      "calls first",
      {
        contents: [
          { role: "model", parts: [called()] },
          { role: "user", parts: [answered()] },
        ],
      },
      ofCalls,
    ],
    ["results of other names", turns(ask, [called("f")], [answered("g")]), /names of the function calls/],
    ["a result without a name", turns(ask, [called()], [answered("")]), /Name cannot be empty/],
  ];
  it.each(bad)("refuses %s", (_what, change, message) => {
    expect(messageOf(change, GEMINI_25)).toEqual(
      typeof message === "string" ? message : expect.stringMatching(message),
    );
  });

  it("wants the signature of the first call of each step of this turn, from Gemini 3 on", () => {
    const unsigned = /^Function call is missing a thought_signature .* function call `default_api:f` , position 4\. /;
    const steps = (second: object[]) =>
      turns(
        ask,
        [called("f", skip), called()],
        [answered(), answered()],
        second,
        second.map(() => answered()),
      );
    expect(messageOf(steps([called("f", skip), called()]))).toBeUndefined();
    expect(messageOf(steps([called(), called("f", skip)]))).toMatch(unsigned);
    expect(messageOf(steps([called()]), GEMINI_25)).toBeUndefined();
    const past = { contents: [...steps([called()]).contents, says("done", "model"), says("more")] };
    expect(messageOf(past)).toBeUndefined();
  });

  it("takes its own signatures and the one that skips the check, and no others unless told", () => {
    const loop = (signature: string) => turns(ask, [called("f", signature)], [answered()]);
    expect(messageOf(loop(btoa(skip)))).toBeUndefined();
    for (const model of [GEMINI_3, GEMINI_25])
      expect(messageOf(loop("AAAA"), model)).toBe("Corrupted thought signature.");
    expect(validateGemini(GEMINI_3, loop("AAAA"), { foreign: true })).toBeUndefined();
  });
});

describe("answers", () => {
  const generate = async (body: object = base, model = GEMINI_3): Promise<Json> =>
    (await send(`${model}:generateContent`, body)).json();
  const stream = async (body: object = base, model = GEMINI_3) => {
    const response = await send(`${model}:streamGenerateContent`, body, "?alt=sse");
    return eventsIn(await response.text()).map(({ data }) => data);
  };
  const showing = { ...base, generationConfig: { thinkingConfig: { includeThoughts: true } } };

  it("has the recorded shape", async () => {
    fake.next({
      toolCalls: [{ name: "f", arguments: { a: 1 } }],
      usage: { prompt: 29, completion: 60, cached: 4, reasoning: 45 },
    });
    expect(await generate()).toEqual({
      candidates: [
        {
          content: {
            parts: [{ functionCall: { name: "f", args: { a: 1 } }, thoughtSignature: expect.any(String) }],
            role: "model",
          },
          finishReason: "STOP",
          index: 0,
          finishMessage: "Model generated function call(s).",
        },
      ],
      usageMetadata: {
        promptTokenCount: 29,
        cachedContentTokenCount: 4,
        candidatesTokenCount: 15,
        thoughtsTokenCount: 45,
        totalTokenCount: 89,
        promptTokensDetails: [{ modality: "TEXT", tokenCount: 29 }],
      },
      modelVersion: GEMINI_3,
      responseId: expect.any(String),
    });
  });

  it("shows thoughts only when asked, and signs only where it can think", async () => {
    fake.always({ thinking: "Hm.", text: "Hi." });
    const partsOf = async (body: object, model?: string) => (await generate(body, model)).candidates[0].content.parts;
    const signed = { text: "Hi.", thoughtSignature: expect.any(String) };
    expect(await partsOf(base)).toEqual([signed]);
    expect(await partsOf(showing)).toEqual([{ text: "Hm.", thought: true }, signed]);
    expect(await partsOf(base, "gemini-2.0-flash")).toEqual([{ text: "Hi." }]);
  });

  it("streams deltas, whole calls, usage on every chunk and the reason on the last", async () => {
    const toolCalls = [1, 2].map((a) => ({ name: "f", arguments: { a } }));
    fake.next({ thinking: "Hm.", text: "Hi there", toolCalls });
    const chunks = await stream(showing);
    const thoughtSignature = expect.any(String);
    expect(chunks.map(({ candidates: [{ content, finishReason }] }) => [...content.parts, finishReason])).toEqual([
      [{ text: "Hm.", thought: true }, undefined],
      [{ text: "Hi" }, undefined],
      [{ text: " there" }, undefined],
      [
        { functionCall: { name: "f", args: { a: 1 } }, thoughtSignature },
        { functionCall: { name: "f", args: { a: 2 } } },
        undefined,
      ],
      [{ text: "" }, "STOP"],
    ]);
    expect(chunks.every(({ usageMetadata }) => usageMetadata.totalTokenCount > 0)).toBe(true);
  });

  it("ends the stream of a mere text with its signature", async () => {
    fake.next({ text: "Hi" });
    const last = (await stream()).at(-1).candidates[0];
    expect(last).toMatchObject({
      content: { parts: [{ text: "", thoughtSignature: expect.any(String) }] },
      finishReason: "STOP",
    });
  });

  it("streams a JSON array without alt=sse", async () => {
    fake.always({ text: "Hi there you" });
    const response = await send(`${GEMINI_3}:streamGenerateContent`, base);
    expect(response.headers.get("content-type")).toBe("application/json; charset=UTF-8");
    const whole = await response.json();
    fake.reset();
    fake.always({ text: "Hi there you" });
    expect(whole).toEqual(await stream());
    const wrong = await send(`${GEMINI_3}:streamGenerateContent`, { contents: [] });
    expect(await wrong.json()).toMatchObject([{ error: { code: 400 } }]);
  });

  const ends: [finishReason: string, text: string, expected: object][] = [
    ["length", "a", { candidates: [{ finishReason: "MAX_TOKENS" }] }],
    ["content_filter", "a", { candidates: [{ finishReason: "SAFETY" }] }],
    ["MALFORMED_FUNCTION_CALL", "a", { candidates: [{ finishReason: "MALFORMED_FUNCTION_CALL" }] }],
    ["content_filter", "", { promptFeedback: { blockReason: "SAFETY" } }],
  ];
  it.each(ends)("can end with %s after %j", async (finishReason, text, expected) => {
    fake.always({ text, finishReason });
    const whole = await generate();
    expect(whole).toMatchObject(expected);
    expect("candidates" in whole).toBe("candidates" in expected);
    expect((await stream()).at(-1)).toMatchObject(expected);
  });

  it("says when to come again", async () => {
    fake.next({ status: 429 });
    expect(await generate()).toMatchObject({
      error: {
        code: 429,
        status: "RESOURCE_EXHAUSTED",
        details: [{}, { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34.4s" }],
      },
    });
  });

  it("says errors mid-stream in its envelope, in the array too", async () => {
    fake.always({ text: "a b c d", errorEvent: { message: "boom" } });
    const error = { code: 500, message: "boom", status: "INTERNAL" };
    expect((await stream()).at(-1)).toEqual({ error });
    const array = await (await send(`${GEMINI_3}:streamGenerateContent`, base)).json();
    expect(array.at(-1)).toEqual({ error });
  });

  it("counts tokens of contents or of a whole request, not of both", async () => {
    const count = async (body: object) => (await send(`${GEMINI_3}:countTokens`, body)).json();
    const { totalTokens } = await count(base);
    const whole = { model: `models/${GEMINI_3}`, ...base, systemInstruction: says("be kind") };
    expect((await count({ generateContentRequest: whole })).totalTokens).toBeGreaterThan(totalTokens);
    expect((await count({ ...base, generateContentRequest: whole })).error.message).toMatch(/mutually exclusive/);
    expect((await count({ systemInstruction: says("be") })).error.message).toMatch(/Unknown name "systemInstruction"/);
  });
});

describe("embeddings", () => {
  const model = "gemini-embedding-001";
  const content = { parts: [{ text: "a" }] };
  const one = { model: `models/${model}`, content };
  const ask = async (method: string, body: object) => (await send(`${model}:${method}`, body)).json();

  it("embeds one content or many, each by itself", async () => {
    const { embedding } = await ask("embedContent", { content });
    expect(embedding.values).toHaveLength(3072);
    const other = { ...one, content: { parts: [{ text: "b" }] } };
    const { embeddings } = await ask("batchEmbedContents", { requests: [one, other] });
    expect(embeddings).toEqual([embedding, { values: expect.any(Array) }]);
    expect(embeddings[1]).not.toEqual(embedding);
  });

  const bad: [what: string, method: string, body: object, message: RegExp][] = [
    ["no content", "embedContent", {}, /^\* EmbedContentRequest\.content: content is not specified/],
    ["an unknown field", "embedContent", { content, dimensions: 5 }, /Unknown name "dimensions"/],
    ["vectors that are too long", "embedContent", { content, outputDimensionality: 3073 }, /output_dimensionality/],
    [
      "a title for a query",
      "embedContent",
      { content, title: "a", taskType: "RETRIEVAL_QUERY" },
      /title: only applicable/,
    ],
    ["a task it does not know", "embedContent", { content, taskType: "SEARCH" }, /Invalid value at 'task_type'/],
    [
      "requests without the model",
      "batchEmbedContents",
      { requests: [{ content }] },
      /requests\[0\]\.model: model is not specified/,
    ],
    [
      "requests of another model",
      "batchEmbedContents",
      { requests: [{ ...one, model: "models/x" }] },
      /requests\[0\]\.model: model must match/,
    ],
    ["101 requests", "batchEmbedContents", { requests: Array(101).fill(one) }, /at most 100 requests/],
  ];
  it.each(bad)("refuses %s", async (_what, method, body, message) => {
    expect((await ask(method, body)).error.message).toMatch(message);
  });

  it("does not embed with other models, nor talk with these", async () => {
    const status = async (call: string, body: object) => (await send(call, body)).status;
    expect(await status(`${GEMINI_3}:embedContent`, { content })).toBe(404);
    expect(await status(`${model}:generateContent`, base)).toBe(404);
  });
});

describe("the official SDK", () => {
  const tools = [{ functionDeclarations: [{ name: "f", parametersJsonSchema: { type: "object", properties: {} } }] }];

  it("gets from the stream what comes whole, for any text", async () => {
    const ask = { model: GEMINI_3, contents: "hi", config: { thinkingConfig: { includeThoughts: true } } };
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme" }), fc.string(), async (text, thinking) => {
        fake.always({ text, thinking });
        const whole = await client.models.generateContent(ask);
        const told = { text: "", thinking: "" };
        for await (const chunk of await client.models.generateContentStream(ask))
          for (const part of chunk.candidates?.[0]?.content?.parts ?? [])
            told[part.thought ? "thinking" : "text"] += part.text ?? "";
        expect(told).toEqual({ text, thinking });
        expect(whole.text ?? "").toBe(text);
      }),
      { numRuns: 30 },
    );
  });

  it("runs a tool loop as a chat, streamed", async () => {
    const toolCalls = [1, 2].map((a) => ({ name: "f", arguments: { a } }));
    fake.next({ text: "Let me see.", toolCalls }, { text: "Done." });
    const chat = client.chats.create({ model: GEMINI_3, config: { tools } });
    const calls = [];
    for await (const chunk of await chat.sendMessageStream({ message: "hi" }))
      calls.push(...(chunk.functionCalls ?? []));
    expect(calls.map(({ args }) => args)).toEqual([{ a: 1 }, { a: 2 }]);
    // The chat repeats every chunk as a content of its own.
    const results = calls.map(({ name = "" }) => ({ functionResponse: { name, response: { output: 1 } } }));
    expect((await chat.sendMessage({ message: results })).text).toBe("Done.");
  });

  it("gets JSON, models, counts and vectors", async () => {
    fake.next({ text: '{"a":1}' });
    const config = {
      responseMimeType: "application/json",
      responseSchema: { type: "OBJECT" as never, properties: { a: { type: "NUMBER" as never } } },
    };
    const { text } = await client.models.generateContent({ model: GEMINI_3, contents: "hi", config });
    expect(JSON.parse(text ?? "")).toEqual({ a: 1 });
    expect(await client.models.get({ model: GEMINI_3 })).toMatchObject({ name: `models/${GEMINI_3}`, thinking: true });
    expect((await client.models.countTokens({ model: GEMINI_3, contents: "hi" })).totalTokens).toBeGreaterThan(0);
    const ask = { model: "gemini-embedding-001", contents: ["a", "b"], config: { outputDimensionality: 3 } };
    const { embeddings = [] } = await client.models.embedContent(ask);
    expect(embeddings.map(({ values }) => values?.length)).toEqual([3, 3]);
  });

  it("raises its own errors", async () => {
    const ask = (model: string) => client.models.generateContent({ model, contents: "hi" });
    await expect(ask("nobody")).rejects.toMatchObject({ name: "ApiError", status: 404 });
    fake.next({ status: 503 });
    await expect(ask(GEMINI_3)).rejects.toMatchObject({ name: "ApiError", status: 503 });
  });
});
