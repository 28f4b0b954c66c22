/** The official SDKs as judges of what we write: each is given our bytes by a `fetch` of our own. */
import { AsyncLocalStorage } from "node:async_hooks";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";
import { isObject, type JsonObject } from "../../src/core/util.ts";
import type { Facts } from "./facts.ts";
import { wireOf } from "./wires/index.ts";

export interface SdkFailure {
  /** Class of the error. */
  name: string;
  status: number | undefined;
  message: string;
}

export interface Sdk {
  whole(body: JsonObject): Promise<Facts>;
  stream(text: string): Promise<Facts>;
  /** What the SDK raises at an error answer. */
  failure(status: number, body: JsonObject): Promise<SdkFailure>;
  /** Reads embeddings, where it can. */
  embeddings?(body: JsonObject): Promise<number[][]>;
}

/** The answer to the call at hand, also where several run at once. */
const answers = new AsyncLocalStorage<() => Response>();
const fetch = async (): Promise<Response> => answers.getStore()!();

const json =
  (body: JsonObject, status = 200) =>
  () =>
    new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
const sse = (text: string) => () => new Response(text, { headers: { "content-type": "text/event-stream" } });

const settings = { apiKey: "test", maxRetries: 0, fetch };
const anthropic = new Anthropic({ ...settings, baseURL: "http://127.0.0.1:9" });
const openai = new OpenAI({ ...settings, baseURL: "http://127.0.0.1:9/v1" });
const gemini = new GoogleGenAI({ apiKey: "test", httpOptions: { baseUrl: "http://127.0.0.1:9", fetch } });

const user = { role: "user", content: "hello" } as const;
const message = { model: "m", max_tokens: 1000, messages: [user] };
const chat = { model: "m", messages: [user] };
const response = { model: "m", input: "hello" };
const content = { model: "m", contents: "hello" };

/** The SDK's own objects hold getters and helpers; what they say is their JSON. */
const plain = (value: unknown): JsonObject => JSON.parse(JSON.stringify(value));
const read = (dialect: string, value: unknown): Facts => wireOf(dialect).whole(plain(value));

const ask = async <T>(given: () => Response, call: () => PromiseLike<T>): Promise<T> => answers.run(given, call);

async function failureOf(call: () => PromiseLike<unknown>): Promise<SdkFailure> {
  try {
    await call();
  } catch (error) {
    const { status, message } = error as { status?: number; message: string };
    return { name: (error as Error).constructor.name, status, message };
  }
  return { name: "none", status: undefined, message: "" };
}

const create = {
  "anthropic-messages": () => anthropic.messages.create(message),
  "openai-chat": () => openai.chat.completions.create(chat),
  "openai-responses": () => openai.responses.create(response),
  gemini: () => gemini.models.generateContent(content),
};

async function geminiStream(): Promise<Facts> {
  const events = [];
  for await (const chunk of await gemini.models.generateContentStream(content))
    events.push({ data: JSON.stringify(chunk) });
  return wireOf("gemini").stream(events);
}

const streams: Record<keyof typeof create, () => PromiseLike<Facts>> = {
  "anthropic-messages": async () => read("anthropic-messages", await anthropic.messages.stream(message).finalMessage()),
  "openai-chat": async () => read("openai-chat", await openai.chat.completions.stream(chat).finalChatCompletion()),
  "openai-responses": async () => read("openai-responses", await openai.responses.stream(response).finalResponse()),
  gemini: geminiStream,
};

async function embed(): Promise<number[][]> {
  const { data } = await openai.embeddings.create({ model: "m", input: "hello", encoding_format: "float" });
  return data.map(({ embedding }) => embedding);
}

async function embedGemini(): Promise<number[][]> {
  const { embeddings } = await gemini.models.embedContent({ model: "m", contents: "hello" });
  return (embeddings ?? []).filter(isObject).map(({ values }) => (values ?? []) as number[]);
}

/** @param dialect id of the caller's dialect */
export function sdkOf(dialect: string): Sdk {
  const name = dialect as keyof typeof create;
  return {
    whole: async (body) => read(dialect, await ask<unknown>(json(body), create[name])),
    stream: (text) => ask(sse(text), streams[name]),
    failure: (status, body) => ask(json(body, status), () => failureOf(create[name])),
    ...(dialect === "openai-chat" && { embeddings: (body: JsonObject) => ask(json(body), embed) }),
    ...(dialect === "gemini" && { embeddings: (body: JsonObject) => ask(json(body), embedGemini) }),
  };
}
