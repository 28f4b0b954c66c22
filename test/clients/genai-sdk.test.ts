import {
  ApiError,
  createPartFromBase64,
  createPartFromFunctionResponse,
  FinishReason,
  FunctionCallingConfigMode,
  type GenerateContentParameters,
  type GenerateContentResponse,
  GoogleGenAI,
  ThinkingLevel,
  Type,
} from "@google/genai";
import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/gateway.ts";
import { seenBy } from "./seen.ts";
import {
  closedAfter,
  errorOf,
  expectLogged,
  expectSettled,
  isGemini,
  type Json,
  MODELS,
  ownName,
  PDF,
  PNG,
  providerOf,
  SCRIPTED,
  sentTo,
  UPSTREAMS,
  type UpstreamName,
  useHouse,
} from "./support.ts";

/** Google's official SDK, over real sockets, through Turnpike to each kind of upstream. */
describe("the official Google SDK", () => {
  const home = useHouse();
  let ai: GoogleGenAI;
  beforeAll(() => {
    ai = sdk(home.house.url);
  });

  const sdk = (url: string, options: object = {}) =>
    new GoogleGenAI({ apiKey: "anything-at-all", httpOptions: { baseUrl: `${url}/gemini`, ...options } });
  const hello = (name: UpstreamName, more: Partial<GenerateContentParameters> = {}): GenerateContentParameters => ({
    model: MODELS[name],
    contents: "hello",
    ...more,
    config: { maxOutputTokens: 1_000, ...more.config },
  });
  const weather = {
    name: "get_weather",
    description: "Weather of a city",
    parameters: { type: Type.OBJECT, properties: { city: { type: Type.STRING } }, required: ["city"] },
  };
  const clock = { name: "get_time", parametersJsonSchema: { type: "object", properties: {} } };
  const tools = [{ functionDeclarations: [weather, clock] }];
  const passes = (name: UpstreamName) => isGemini(name);
  const COUNTED = {
    promptTokenCount: 100,
    cachedContentTokenCount: 40,
    totalTokenCount: 150,
  };

  async function all(stream: AsyncIterable<GenerateContentResponse>): Promise<GenerateContentResponse[]> {
    const chunks: GenerateContentResponse[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
  }
  const textOf = (chunks: GenerateContentResponse[]) => chunks.map((chunk) => chunk.text ?? "").join("");
  const changesOf = (response: GenerateContentResponse) =>
    response.sdkHttpResponse?.headers?.["x-turnpike-changes"] ?? "";

  describe.each(UPSTREAMS)("to %s", (name) => {
    test("generateContent returns text, finish reason and usage", async () => {
      home.upstreams[name].next({ text: "Hello, Zoë 👋", usage: SCRIPTED });
      const response = await ai.models.generateContent(hello(name));
      expect(response.text).toBe("Hello, Zoë 👋");
      expect(response.candidates).toMatchObject([{ finishReason: FinishReason.STOP, content: { role: "model" } }]);
      expect(response.usageMetadata).toMatchObject(COUNTED);
      const { candidatesTokenCount = 0, thoughtsTokenCount = 0 } = response.usageMetadata!;
      expect(candidatesTokenCount + thoughtsTokenCount).toBe(50);
      if (!["mistral", "llama"].includes(name)) expect(thoughtsTokenCount).toBe(20);
      expect(response.responseId).toMatch(/./);
      expect(response.modelVersion).toBe(passes(name) ? ownName(name) : MODELS[name]);
      expect(seenBy(home.upstreams[name])).toMatchObject({ model: ownName(name), texts: ["hello"], maxTokens: 1_000 });
      await expectLogged(home.house, name);
    });

    test("generateContentStream gives the text as it comes, and the usage at the end", async () => {
      home.upstreams[name].next({ text: "One two three, Zoë 👋.", usage: SCRIPTED, sse: { splitBytes: 7 } });
      const chunks = await all(await ai.models.generateContentStream(hello(name)));
      expect(textOf(chunks)).toBe("One two three, Zoë 👋.");
      expect(chunks.length).toBeGreaterThan(2);
      expect(chunks.at(-1)?.candidates?.[0]?.finishReason).toBe(FinishReason.STOP);
      expect(chunks.at(-1)?.usageMetadata).toMatchObject(COUNTED);
      expect(chunks.filter((chunk) => chunk.candidates?.[0]?.finishReason)).toHaveLength(1);
      await expectLogged(home.house, name);
    });

    test("a system instruction, sampling, a bound and stop sequences arrive", async () => {
      home.upstreams[name].next({ text: "A red pixel. STOP And more." });
      const config = {
        systemInstruction: "You are brief.",
        maxOutputTokens: 300,
        stopSequences: ["STOP", "HALT"],
        temperature: 1,
        seed: 7,
      };
      const response = await ai.models.generateContent(hello(name, { contents: "What is this?", config }));
      expect(response.text?.trim()).toBe("A red pixel.");
      const seen = seenBy(home.upstreams[name]);
      expect(seen).toMatchObject({
        system: "You are brief.",
        texts: ["What is this?"],
        maxTokens: 300,
        stop: ["STOP", "HALT"],
      });
      expect(changesOf(response).includes("seed")).toBe(name === "anthropic");
    });

    test("an image and a PDF arrive", async () => {
      const contents = [
        { text: "What is this?" },
        createPartFromBase64(PNG, "image/png"),
        ...(name === "llama" ? [] : [createPartFromBase64(PDF, "application/pdf")]),
      ];
      await ai.models.generateContent(hello(name, { contents }));
      expect(seenBy(home.upstreams[name])).toMatchObject({
        texts: ["What is this?"],
        images: [PNG],
        documents: name === "llama" ? [] : [PDF],
      });
    });

    test.each(["sendMessage", "sendMessageStream"] as const)(
      "a chat (%s) calls functions in parallel and thinks on when it has their results",
      async (way) => {
        home.upstreams[name].next(
          {
            thinking: "Paris, I think.",
            toolCalls: [
              { name: "get_weather", arguments: { city: "Paris" } },
              { name: "get_weather", arguments: { city: "Rome" } },
              { name: "get_time", arguments: {} },
            ],
          },
          { text: "Both sunny." },
          { text: "You are welcome." },
        );
        const level = ownName(name) === "gemini-2.5-flash" ? {} : { thinkingLevel: ThinkingLevel.LOW };
        const thinkingConfig = { includeThoughts: true, ...level };
        const chat = ai.chats.create({
          model: MODELS[name],
          config: { maxOutputTokens: 5_000, tools, ...(name !== "llama" && { thinkingConfig }) },
        });
        const ask = async (message: Json): Promise<GenerateContentResponse[]> =>
          way === "sendMessage"
            ? [await chat.sendMessage({ message })]
            : all(await chat.sendMessageStream({ message }));

        const first = await ask("Weather?");
        const thoughts = first
          .flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? [])
          .filter((part) => part.thought)
          .map((part) => part.text);
        // Who did not ask for thoughts is shown none.
        expect(thoughts.join("")).toBe(name === "llama" ? "" : "Paris, I think.");
        const calls = first.flatMap((chunk) => chunk.functionCalls ?? []);
        expect(calls.map((call) => [call.name, call.args])).toEqual([
          ["get_weather", { city: "Paris" }],
          ["get_weather", { city: "Rome" }],
          ["get_time", {}],
        ]);
        const outputs = ["18 degrees", "20 degrees", "noon"];
        const results = calls.map((call, i) =>
          createPartFromFunctionResponse(call.id ?? "", call.name!, { output: outputs[i] }),
        );
        // An upstream without ids gives none.
        if (!calls[0]!.id) for (const part of results) delete part.functionResponse!.id;
        expect(textOf(await ask(results))).toBe("Both sunny.");

        const seen = seenBy(home.upstreams[name]);
        expect(seen.tools).toEqual(["get_weather", "get_time"]);
        expect(seen.calls.map((call) => call.input)).toEqual([{ city: "Paris" }, { city: "Rome" }, {}]);
        expect(seen.results).toEqual(outputs);
        // The chat drops the thoughts and keeps their signatures: enough for each to get its own thinking back.
        if (name === "mistral") expect(seen.thinking).toMatchObject([{ thinking: [{ text: "Paris, I think." }] }]);
        if (name === "anthropic")
          expect(seen.thinking).toMatchObject([{ thinking: "Paris, I think.", signature: expect.any(String) }]);
        if (name === "openai") expect(seen.thinking).toMatchObject([{ type: "reasoning" }]);
        if (isGemini(name)) expect(seen.thinking).toEqual([expect.stringMatching(/^E/)]);

        expect(textOf(await ask("Thanks!"))).toBe("You are welcome.");
        expect(seenBy(home.upstreams[name]).texts).toContain("Thanks!");
      },
    );

    test("the result of a function may be an error or hold an image", async () => {
      const call = (id: string) => ({
        functionCall: { id, name: "get_weather", args: { city: id } },
        thoughtSignature: "skip_thought_signature_validator",
      });
      const contents = [
        { role: "user", parts: [{ text: "Weather?" }] },
        { role: "model", parts: [call("a"), call("b")] },
        {
          role: "user",
          parts: [
            { functionResponse: { id: "a", name: "get_weather", response: { error: "station is down" } } },
            {
              functionResponse: {
                id: "b",
                name: "get_weather",
                response: { output: "A map:" },
                ...(name !== "gemini25" && { parts: [{ inlineData: { mimeType: "image/png", data: PNG } }] }),
              },
            },
          ],
        },
      ];
      await ai.models.generateContent(hello(name, { contents, config: { tools } }));
      const seen = seenBy(home.upstreams[name]);
      expect(seen.results.join()).toContain("station is down");
      expect(seen.results.join()).toContain("A map:");
      expect(seen.images).toEqual(name === "gemini25" ? [] : [PNG]);
    });

    test.each([
      [FunctionCallingConfigMode.AUTO, undefined, "auto"],
      [FunctionCallingConfigMode.ANY, undefined, "required"],
      [FunctionCallingConfigMode.ANY, ["get_time"], { tool: "get_time" }],
      [FunctionCallingConfigMode.NONE, undefined, "none"],
    ] as const)("function calling mode %s (%s) arrives", async (mode, names, expected) => {
      const functionCallingConfig = { mode, ...(names && { allowedFunctionNames: [...names] }) };
      await ai.models.generateContent(hello(name, { config: { tools, toolConfig: { functionCallingConfig } } }));
      expect(seenBy(home.upstreams[name]).choice).toEqual(expected);
    });

    test("a JSON schema of the answer arrives", async () => {
      home.upstreams[name].always({ text: '{"city":"Paris","degrees":18}' });
      const schema = {
        type: "object",
        properties: { city: { type: "string" }, degrees: { type: "number" } },
        required: ["city", "degrees"],
        additionalProperties: false,
      };
      const config = { responseMimeType: "application/json", responseJsonSchema: schema };
      const response = await ai.models.generateContent(hello(name, { config }));
      expect(JSON.parse(response.text ?? "")).toEqual({ city: "Paris", degrees: 18 });
      expect(seenBy(home.upstreams[name]).schema).toEqual(schema);
      // The SDK's own form of a schema.
      const own = { type: Type.OBJECT, properties: { city: { type: Type.STRING, nullable: true } } };
      await ai.models.generateContent(
        hello(name, { config: { responseMimeType: "application/json", responseSchema: own } }),
      );
      expect(Object.keys(seenBy(home.upstreams[name]).schema.properties)).toEqual(["city"]);
    });

    test("thinking is asked for, and shown only to who asks for it", async () => {
      home.upstreams[name].always({ thinking: "Let me see.", text: "Seen." });
      const budget = name === "gemini25" || !isGemini(name) ? { thinkingBudget: 4_096 } : {};
      const level = name === "gemini" ? { thinkingLevel: ThinkingLevel.HIGH } : {};
      for (const includeThoughts of [true, false]) {
        const thinkingConfig = { includeThoughts, ...budget, ...level };
        const response = await ai.models.generateContent(
          hello(name, { config: { maxOutputTokens: 20_000, thinkingConfig } }),
        );
        expect(response.text).toBe("Seen.");
        const thoughts = response.candidates![0]!.content!.parts!.filter((part) => part.thought && part.text);
        expect(thoughts.map((part) => part.text)).toEqual(includeThoughts ? ["Let me see."] : []);
      }
      const sent = {
        mistral: "high",
        openai: "low",
        llama: undefined,
        anthropic: "low",
        gemini: "high",
        gemini25: 4_096,
      };
      expect(seenBy(home.upstreams[name]).effort).toBe(sent[name]);
    });

    test("maxOutputTokens ends the answer with MAX_TOKENS", async () => {
      home.upstreams[name].next({ text: "far too long an answer ".repeat(20) });
      const response = await ai.models.generateContent(hello(name, { config: { maxOutputTokens: 17 } }));
      expect(response.candidates?.[0]?.finishReason).toBe(FinishReason.MAX_TOKENS);
      const { candidatesTokenCount = 0, thoughtsTokenCount = 0 } = response.usageMetadata!;
      expect(candidatesTokenCount + thoughtsTokenCount).toBe(17);
    });

    test("countTokens counts without a paid call", async () => {
      const counted = await ai.models.countTokens({ model: MODELS[name], contents: "How many tokens are these?" });
      expect(counted.totalTokens).toBeGreaterThan(5);
      const counters = {
        ...{ mistral: [], llama: [], openai: ["/v1/responses/input_tokens"], anthropic: ["/v1/messages/count_tokens"] },
        gemini: ["/v1beta/models/gemini-flash-latest:countTokens"],
        gemini25: ["/v1beta/models/gemini-2.5-flash:countTokens"],
      };
      expect(home.upstreams[name].requests.map(({ path }) => path)).toEqual(counters[name]);
    });

    test.each([
      ["a 400", { status: 400, errorEvent: { message: "That will not do." } }, 400, "That will not do."],
      ["a 429", { status: 429, headers: { "retry-after": "17" } }, 429, "RESOURCE_EXHAUSTED"],
      ["overload", { status: name === "anthropic" ? 529 : 503 }, 503, "UNAVAILABLE"],
      ["a 401 about our key", { status: 401 }, 502, providerOf(name)],
      ["a 403 about our key", { status: 403 }, 502, providerOf(name)],
      ["a broken connection", { reset: "before-headers" as const }, 502, ""],
    ])("%s is an ApiError, streamed or not", async (_, fault, status, words) => {
      home.upstreams[name].next(fault, fault);
      for (const ask of [
        () => ai.models.generateContent(hello(name)),
        async () => all(await ai.models.generateContentStream(hello(name))),
      ]) {
        const error = await errorOf(ask());
        expect(error).toBeInstanceOf(ApiError);
        expect(error.status).toBe(status);
        expect(error.message).toContain(words);
        expect(JSON.parse(error.message).error).toMatchObject({ code: status, message: expect.any(String) });
      }
    });

    test.each([
      ["is cut off", { cut: true }],
      ["breaks", { reset: "mid-stream" as const }],
      ["brings an error event", { errorEvent: { message: "The GPU caught fire" } }],
    ])("a stream that %s raises after what came through", async (_, fault) => {
      home.upstreams[name].next({ text: "One two three four.", ...fault });
      const stream = await ai.models.generateContentStream(hello(name));
      let text = "";
      const error = await errorOf(
        (async () => {
          for await (const chunk of stream) text += chunk.text ?? "";
        })(),
      );
      expect(error).toBeInstanceOf(Error);
      expect("One two three four.".startsWith(text) && text !== "").toBe(true);
      if ("errorEvent" in fault) expect(error.message).toContain("The GPU caught fire");
    });

    test("aborting a stream closes the upstream within 100 ms", { retry: 2 }, async () => {
      home.upstreams[name].next({ text: "word ".repeat(400), chunkDelayMs: 5 });
      const controller = new AbortController();
      const stream = await ai.models.generateContentStream(hello(name, { config: { abortSignal: controller.signal } }));
      let abortedAt = 0;
      await errorOf(
        (async () => {
          for await (const chunk of stream) {
            if (abortedAt || !chunk.text) continue;
            abortedAt = Date.now();
            controller.abort();
          }
        })(),
      );
      expect(abortedAt).toBeGreaterThan(0);
      expect(await closedAfter(home.upstreams[name], abortedAt)).toBeLessThan(100);
    });

    test("aborting before the upstream answers closes it too", { retry: 2 }, async () => {
      home.upstreams[name].next({ hang: "before-headers" });
      const controller = new AbortController();
      const failed = errorOf(ai.models.generateContent(hello(name, { config: { abortSignal: controller.signal } })));
      await until(() => home.upstreams[name].requests.length === 1, "the upstream was asked");
      const abortedAt = Date.now();
      controller.abort();
      expect(await failed).toBeInstanceOf(Error);
      expect(await closedAfter(home.upstreams[name], abortedAt)).toBeLessThan(100);
      await expectSettled(home.house.gateway);
      expect(home.house.log.requests().at(-1)).toMatchObject({ outcome: "aborted" });
    });
  });

  test.each([
    ["/gemini", undefined],
    ["/gemini", "v1beta"],
    ["", "v1"],
    ["", "v1beta"],
  ])("it is served under %j, API version %s", async (prefix, apiVersion) => {
    const client = new GoogleGenAI({
      apiKey: "k",
      httpOptions: { baseUrl: home.house.url + prefix, ...(apiVersion && { apiVersion }) },
    });
    expect((await client.models.generateContent(hello("mistral"))).text).toContain("fake mistral");
    expect(textOf(await all(await client.models.generateContentStream(hello("mistral"))))).toContain("fake mistral");
    expect((await client.models.countTokens({ model: MODELS.gemini, contents: "x" })).totalTokens).toBeGreaterThan(0);
  });

  test("a model may be named with `models/` before it, or by an alias", async () => {
    const named = await home.another({
      router: { rules: [{ match: { model: "gemini-pro-latest" }, to: MODELS.anthropic }], retries: 0 },
    });
    for (const model of ["gemini-pro-latest", "models/gemini-pro-latest", `models/${MODELS.anthropic}`]) {
      const response = await sdk(named.url).models.generateContent({ model, contents: "hello" });
      expect(response.text).toContain("fake anthropic");
    }
    expect(home.upstreams.anthropic.requests).toHaveLength(3);
  });

  test("a request to Gemini goes out as it came, byte for byte", async () => {
    const body = `{ "contents": [ {"parts":[{"text":"hello"}]} ], "generationConfig": {"maxOutputTokens": 9} }`;
    const response = await fetch(`${home.house.url}/v1beta/models/gemini/gemini-flash-latest:generateContent`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-goog-api-key": "k" },
      body,
    });
    expect(response.status).toBe(200);
    expect(home.upstreams.gemini.requests[0]).toMatchObject({
      raw: body,
      path: "/v1beta/models/gemini-flash-latest:generateContent",
    });
  });

  describe.each(["gemini/gemini-embedding-001", "openai/text-embedding-3-small"])("embeddings of %s", (model) => {
    test("of one text and of several", async () => {
      const one = await ai.models.embedContent({ model, contents: "one", config: { outputDimensionality: 8 } });
      const many = await ai.models.embedContent({
        model,
        contents: ["one", "two"],
        config: { outputDimensionality: 8 },
      });
      expect(one.embeddings?.map(({ values }) => values?.length)).toEqual([8]);
      expect(many.embeddings?.map(({ values }) => values?.length)).toEqual([8, 8]);
      expect(many.embeddings?.[0]?.values).toEqual(one.embeddings?.[0]?.values);
      await expectSettled(home.house.gateway);
      expect(home.house.log.requests().at(-1)).toMatchObject({
        operation: "embeddings",
        outcome: "served",
        target: model,
      });
    });

    test("a task that only Gemini knows is reported elsewhere", async () => {
      const config = { taskType: "RETRIEVAL_QUERY" };
      const response = await ai.models.embedContent({ model, contents: "one", config });
      expect(response.embeddings).toHaveLength(1);
      await expectSettled(home.house.gateway);
      const { changes } = home.house.log.attempts().at(-1) as Json;
      expect(changes).toEqual(model.startsWith("gemini") ? undefined : ["task_type=RETRIEVAL_QUERY->dropped"]);
    });
  });

  test("models are listed and retrieved in Gemini's shape", async () => {
    const named = await home.another({
      router: { rules: [{ match: { model: "house" }, to: MODELS.llama }], retries: 0 },
    });
    const { models } = sdk(named.url);
    const names: (string | undefined)[] = [];
    for await (const model of await models.list()) names.push(model.name);
    expect(names).toContain("models/house");
    expect(names).toContain("models/mistral/mistral-medium-3-5");
    expect(await models.get({ model: "house" })).toMatchObject({ name: "models/house" });
    expect(await models.get({ model: MODELS.mistral })).toMatchObject({ name: `models/${MODELS.mistral}` });
    expect(await errorOf(models.get({ model: "nobody" }))).toMatchObject({ status: 404 });
  });

  test("an unknown model is a 404, a wrong key a 401, a spent budget a 402", async () => {
    const unknown = await errorOf(ai.models.generateContent({ model: "gemini-nobody", contents: "x" }));
    expect(unknown).toMatchObject({ name: "ApiError", status: 404 });
    expect(unknown.message).toContain("gemini-nobody");

    const guarded = await home.another({
      auth: { keys: [{ id: "web", key: "tp-right-key-1" }] },
      limits: [{ name: "tiny", requests: 1, per: "day" }],
    });
    expect(await errorOf(sdk(guarded.url).models.generateContent(hello("mistral")))).toMatchObject({ status: 401 });
    const right = new GoogleGenAI({ apiKey: "tp-right-key-1", httpOptions: { baseUrl: guarded.url } });
    await right.models.generateContent(hello("mistral"));
    const spent = await errorOf(right.models.generateContent(hello("mistral")));
    expect(spent).toMatchObject({ name: "ApiError", status: 402 });
    expect(spent.message).toContain("tiny");
    expect(home.upstreams.mistral.requests).toHaveLength(1);
    expect(JSON.stringify(home.upstreams.mistral.requests[0]?.headers)).not.toContain("tp-right-key-1");
  });

  test("a malformed request names the field, before anybody is asked", async () => {
    const contents = [{ role: "user", parts: [{ inlineData: { data: PNG } }] }];
    const error = await errorOf(ai.models.generateContent(hello("mistral", { contents })));
    expect(error).toMatchObject({ name: "ApiError", status: 400 });
    expect(error.message).toMatch(/contents\S*parts\S*inlineData\S*mimeType/);
    expect(home.upstreams.mistral.requests).toHaveLength(0);
  });

  test("a budget's bound is put into a pass-through", async () => {
    const capped = await home.another({ limits: [{ name: "small", tokens: 3_000, per: "day" }] });
    home.upstreams.gemini.next({ text: "word ".repeat(20_000) });
    const response = await sdk(capped.url).models.generateContent({ model: MODELS.gemini, contents: "x" });
    expect(response.candidates?.[0]?.finishReason).toBe(FinishReason.MAX_TOKENS);
    expect(sentTo(home.upstreams.gemini).generationConfig.maxOutputTokens).toBeLessThan(3_000);
  });

  test("a blocked prompt and a refusal are told in Gemini's words", async () => {
    home.upstreams.gemini.next({ finishReason: "content_filter", text: "" });
    const blocked = await ai.models.generateContent(hello("gemini"));
    expect(blocked.promptFeedback?.blockReason).toBe("SAFETY");
    home.upstreams.mistral.next({ finishReason: "content_filter", text: "I" });
    const refused = await ai.models.generateContent(hello("mistral"));
    expect(refused.candidates?.[0]?.finishReason).toBe(FinishReason.SAFETY);
  });
});
