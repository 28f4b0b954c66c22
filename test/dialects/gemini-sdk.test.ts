import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ApiError, type Content, type GenerateContentResponse, GoogleGenAI, Type } from "@google/genai";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import type { CallerContext, Operation, PathFacts } from "../../src/core/dialect.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { replay } from "../../src/core/events.ts";
import type { ChatRequest, ChatResponse, Part } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { gemini } from "../../src/dialects/gemini/index.ts";
import { formatFrames } from "../../src/dialects/sse.ts";

/** A server that is nothing but the codec: what was asked is decoded, what is to be answered encoded. */
let server: Server;
let ai: GoogleGenAI;
let asked: ChatRequest[] = [];
let answer: ChatResponse;
let failure: GatewayError | undefined;

const usage = { inputTokens: 3, cacheReadTokens: 1, cacheWriteTokens: 0, outputTokens: 7, reasoningTokens: 2 };
const say = (...content: Part[]): ChatResponse => ({ choices: [{ content, finishReason: "stop" }], usage });
const text = (words: string): Part => ({ type: "text", text: words });

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = chunks.length > 0 ? (JSON.parse(Buffer.concat(chunks).toString()) as JsonObject) : {};
    try {
      await serve(`${request.method} ${request.url}`, body, response);
    } catch (error) {
      const { status, body: told } = gemini.encodeError(error as GatewayError, "r");
      send(response, told, status);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  ai = new GoogleGenAI({ apiKey: "test-key", httpOptions: { baseUrl } });
});
afterAll(() => server.close());
beforeEach(() => {
  asked = [];
  failure = undefined;
});

function match(line: string): { operation: Operation | "hello"; path: PathFacts } {
  const [, method, pathname = ""] = /^(\S+) ([^?]+)/.exec(line) ?? [];
  for (const route of gemini.routes) {
    const pattern = new RegExp(`^${route.path.replace("{model}", "(?<model>[^/:]+)")}$`);
    const found = route.method === method ? pattern.exec(pathname) : null;
    if (found) return { operation: route.operation, path: { model: found.groups?.model, stream: route.stream } };
  }
  throw new GatewayError("not_found", `No route for ${line}`);
}

async function serve(line: string, body: JsonObject, response: ServerResponse): Promise<void> {
  const { operation, path } = match(line);
  const models = [{ id: "gemini-x", displayName: "X" }];
  if (operation === "models") return send(response, gemini.encodeModels(models, path.model !== undefined));
  if (operation === "count-tokens") {
    asked.push(gemini.countTokens!.decodeRequest(body, path));
    return send(response, gemini.countTokens!.encodeResponse(42));
  }
  if (operation === "embeddings") {
    const request = gemini.embeddings!.decodeRequest(body, path);
    const vectors = request.inputs.map((input) => [input.length, request.dimensions ?? 0]);
    return send(response, gemini.embeddings!.encodeResponse({ vectors }, request, request.model));
  }
  const request = gemini.decodeRequest(body, path);
  asked.push(request);
  const context: CallerContext = {
    model: request.model,
    id: `r${asked.length}`,
    created: 0,
    inputTokens: 1,
    includeUsage: true,
    showThinking: request.reasoning?.show ?? true,
    request: { member: (name) => body[name] },
  };
  if (!request.stream) {
    if (failure) throw failure;
    return send(response, gemini.encodeResponse(answer, context));
  }
  response.setHeader("content-type", "text/event-stream");
  const encoder = gemini.streamEncoder(context);
  for (const event of replay(answer)) response.write(gemini.ping + formatFrames(encoder.encode(event)));
  response.end(formatFrames(failure ? encoder.error(failure) : encoder.end()));
}

function send(response: ServerResponse, body: JsonObject, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

async function all(stream: AsyncIterable<GenerateContentResponse>): Promise<GenerateContentResponse[]> {
  const chunks: GenerateContentResponse[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const tools = [
  {
    functionDeclarations: [
      {
        name: "weather",
        parameters: { type: Type.OBJECT, properties: { city: { type: Type.STRING } }, required: ["city"] },
      },
    ],
  },
];

it("generateContent asks and reads", async () => {
  answer = say({ type: "thinking", text: "hm" }, text("Paris."));
  const response = await ai.models.generateContent({
    model: "gemini-x",
    contents: "capital of France?",
    config: {
      systemInstruction: "be brief",
      temperature: 0.5,
      maxOutputTokens: 100,
      stopSequences: ["x"],
      thinkingConfig: { includeThoughts: true, thinkingBudget: 512 },
      responseMimeType: "application/json",
      responseJsonSchema: { type: "object" },
      safetySettings: [],
      tools,
    },
  });
  expect(asked[0]).toEqual({
    model: "gemini-x",
    system: [text("be brief")],
    messages: [{ role: "user", content: [text("capital of France?")] }],
    tools: [
      {
        type: "function",
        name: "weather",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      },
    ],
    temperature: 0.5,
    maxTokens: 100,
    stop: ["x"],
    reasoning: { mode: "on", budget: 512, show: true },
    outputFormat: { type: "json-schema", schema: { type: "object" } },
    stream: false,
    extensions: { dialect: "gemini", value: { safetySettings: [] } },
  });
  expect(response.text).toBe("Paris.");
  expect(response.candidates?.[0]?.content?.parts?.[0]).toEqual({ text: "hm", thought: true });
  expect(response.candidates?.[0]?.finishReason).toBe("STOP");
  expect(response.modelVersion).toBe("gemini-x");
  expect(response.usageMetadata).toMatchObject({ promptTokenCount: 3, candidatesTokenCount: 5, thoughtsTokenCount: 2 });
});

it("generateContentStream reads text as it comes, between pings, and the usage at the end", async () => {
  answer = say(text("Par"), text("is."));
  const chunks = await all(await ai.models.generateContentStream({ model: "gemini-x", contents: "?" }));
  expect(asked[0]).toMatchObject({ model: "gemini-x", stream: true });
  expect(chunks.map((chunk) => chunk.text).join("")).toBe("Paris.");
  expect(chunks.filter((chunk) => chunk.text !== "").length).toBe(2);
  expect(chunks.at(-1)).toMatchObject({
    candidates: [{ finishReason: "STOP" }],
    usageMetadata: { totalTokenCount: 10 },
  });
});

it.each([false, true])("a chat calls functions and keeps the thinking of others, streamed: %s", async (streamed) => {
  const thinking: Part = {
    type: "thinking",
    text: "need the weather",
    signature: { origin: "anthropic-messages", data: "U0lH" },
  };
  const call: Part = { type: "tool-call", id: "toolu_1", name: "weather", arguments: '{"city":"Paris"}' };
  const chat = ai.chats.create({ model: "gemini-x", config: { tools } });
  const ask = async (message: string | Content["parts"]): Promise<GenerateContentResponse> => {
    if (!streamed) return chat.sendMessage({ message: message as string });
    const chunks = await all(await chat.sendMessageStream({ message: message as string }));
    return chunks.find((chunk) => chunk.functionCalls) ?? chunks.at(-1)!;
  };
  answer = say(thinking, call);
  const [wanted] = (await ask("weather in Paris?")).functionCalls ?? [];
  expect(wanted).toEqual({ id: "toolu_1", name: "weather", args: { city: "Paris" } });

  answer = say(text("Sunny."));
  await ask([{ functionResponse: { id: wanted!.id!, name: "weather", response: { output: "sun" } } }]);
  expect(asked[1]!.messages).toEqual([
    { role: "user", content: [text("weather in Paris?")] },
    { role: "assistant", content: [thinking, call] },
    { role: "user", content: [{ type: "tool-result", id: "toolu_1", content: [text("sun")] }] },
  ]);
});

it("countTokens and embedContent are answered", async () => {
  expect((await ai.models.countTokens({ model: "gemini-x", contents: "how many?" })).totalTokens).toBe(42);
  expect(asked[0]!.messages).toEqual([{ role: "user", content: [text("how many?")] }]);
  const { embeddings } = await ai.models.embedContent({
    model: "embed",
    contents: ["a", "bcd"],
    config: { outputDimensionality: 2 },
  });
  expect(embeddings?.map(({ values }) => values)).toEqual([
    [1, 2],
    [3, 2],
  ]);
});

it("models are listed and found", async () => {
  const names: (string | undefined)[] = [];
  for await (const model of await ai.models.list()) names.push(model.name);
  expect(names).toEqual(["models/gemini-x"]);
  expect(await ai.models.get({ model: "gemini-x" })).toMatchObject({ name: "models/gemini-x", displayName: "X" });
});

it("errors are the SDK's own class, before an answer and in the middle of one", async () => {
  answer = say(text("Par"));
  failure = new GatewayError("budget_exceeded", "The budget is spent");
  const refused = await ai.models.generateContent({ model: "gemini-x", contents: "?" }).catch((error) => error);
  expect(refused).toBeInstanceOf(ApiError);
  expect(refused).toMatchObject({ status: 402, message: expect.stringContaining("BUDGET_EXCEEDED") });

  failure = new GatewayError("upstream_overloaded", "busy");
  const seen: string[] = [];
  const reading = (async () => {
    for await (const chunk of await ai.models.generateContentStream({ model: "gemini-x", contents: "?" }))
      seen.push(chunk.text ?? "");
  })();
  await expect(reading).rejects.toThrow(ApiError);
  expect(seen.join("")).toBe("Par");
});
