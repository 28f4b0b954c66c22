import { Mistral } from "@mistralai/mistralai";
import type { ChatCompletionRequest } from "@mistralai/mistralai/models/components";
import { MistralError } from "@mistralai/mistralai/models/errors";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { until } from "../support/gateway.ts";
import { seenBy } from "./seen.ts";
import {
  closedAfter,
  errorOf,
  expectLogged,
  expectSettled,
  type Json,
  MODELS,
  ownName,
  PNG,
  SCRIPTED,
  sentTo,
  UPSTREAMS,
  type UpstreamName,
  useHouse,
} from "./support.ts";

/** Mistral's official SDK, which speaks Chat with fields of its own, through Turnpike to each kind of upstream. */
describe("the official Mistral SDK", () => {
  // Under its own name OpenAI's model would be asked byte for byte, and refuse what this SDK says in its own way.
  const home = useHouse({
    router: { rules: [{ match: { model: "house-gpt" }, to: MODELS.openai }], retries: 0 },
  });
  let client: Mistral;
  beforeAll(() => {
    client = sdk(home.house.url);
  });
  const sdk = (serverURL: string, apiKey = "anything-at-all") =>
    new Mistral({ apiKey, serverURL, retryConfig: { strategy: "none" } });

  const hello = (name: UpstreamName, more: Partial<ChatCompletionRequest> = {}): ChatCompletionRequest => ({
    model: name === "openai" ? "house-gpt" : MODELS[name],
    messages: [{ role: "user", content: "hello" }],
    maxTokens: 5_000,
    ...more,
  });
  const weather = {
    type: "function" as const,
    function: {
      name: "get_weather",
      description: "Weather of a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  };

  describe.each(UPSTREAMS)("to %s", (name) => {
    test("chat.complete returns text, finish reason and usage", async () => {
      home.upstreams[name].next({ text: "Hello, Zoë 👋", usage: SCRIPTED });
      const answer = await client.chat.complete(hello(name));
      expect(answer.choices).toMatchObject([
        { index: 0, finishReason: "stop", message: { role: "assistant", content: "Hello, Zoë 👋" } },
      ]);
      expect(answer.usage).toMatchObject({ promptTokens: 100, completionTokens: 50, totalTokens: 150 });
      expect(seenBy(home.upstreams[name])).toMatchObject({ model: ownName(name), texts: ["hello"] });
      await expectLogged(home.house, name);
    });

    test("chat.stream gives the text as it comes", async () => {
      home.upstreams[name].next({ text: "One two three, Zoë 👋.", usage: SCRIPTED, sse: { splitBytes: 7 } });
      let text = "";
      const reasons: Json[] = [];
      for await (const { data } of await client.chat.stream(hello(name))) {
        for (const { delta, finishReason } of data.choices) {
          text += delta.content ?? "";
          if (finishReason) reasons.push(finishReason);
        }
      }
      expect(text).toBe("One two three, Zoë 👋.");
      expect(reasons).toEqual(["stop"]);
      await expectLogged(home.house, name);
    });

    // In a stream this SDK only reads calls that come whole.
    const ways = ["openai", "llama", "anthropic"].includes(name) ? ["complete"] : ["complete", "stream"];
    test.each(ways)("a tool loop (%s) with parallel calls", async (way) => {
      home.upstreams[name].next(
        {
          toolCalls: [
            { name: "get_weather", arguments: { city: "Paris" } },
            { name: "get_weather", arguments: { city: "Rome" } },
          ],
        },
        { text: "Both sunny." },
      );
      const messages: Json[] = [
        { role: "system", content: "You are brief." },
        { role: "user", content: "Weather?" },
      ];
      const ask = async (): Promise<Json> => {
        const request = hello(name, { messages, tools: [weather], toolChoice: "auto", parallelToolCalls: true });
        if (way === "complete") return (await client.chat.complete(request)).choices[0]!.message;
        const message: Json = { role: "assistant", content: "", toolCalls: [] };
        for await (const { data } of await client.chat.stream(request)) {
          const { delta } = (data.choices[0] ?? { delta: {} }) as Json;
          message.content += delta.content ?? "";
          message.toolCalls.push(...(delta.toolCalls ?? []));
        }
        return message;
      };
      const message = await ask();
      const calls = message.toolCalls;
      expect(calls.map((call: Json) => JSON.parse(call.function.arguments))).toEqual([
        { city: "Paris" },
        { city: "Rome" },
      ]);
      messages.push(
        message,
        { role: "tool", toolCallId: calls[0].id, name: "get_weather", content: "18 degrees" },
        { role: "tool", toolCallId: calls[1].id, name: "get_weather", content: [{ type: "text", text: "20 degrees" }] },
      );
      expect((await ask()).content).toBe("Both sunny.");
      const seen = seenBy(home.upstreams[name]);
      expect(seen).toMatchObject({ system: "You are brief.", tools: ["get_weather"] });
      expect(seen.results).toEqual(["18 degrees", "20 degrees"]);
    });

    test("toolChoice any arrives", async () => {
      await client.chat.complete(hello(name, { tools: [weather], toolChoice: "any" }));
      expect(seenBy(home.upstreams[name]).choice).toBe("required");
    });

    test("chat.parse reads an answer by its zod schema", async () => {
      home.upstreams[name].next({ text: '{"city":"Paris","degrees":18}' });
      const responseFormat = z.object({ city: z.string(), degrees: z.number() });
      const { choices } = await client.chat.parse({ ...hello(name), responseFormat } as Json);
      expect(choices?.[0]?.message?.parsed).toEqual({ city: "Paris", degrees: 18 });
      expect(Object.keys(seenBy(home.upstreams[name]).schema.properties)).toEqual(["city", "degrees"]);
    });

    test("an image arrives in either form", async () => {
      const imageUrl = `data:image/png;base64,${PNG}`;
      for (const url of [imageUrl, { url: imageUrl }]) {
        const content = [
          { type: "text" as const, text: "What is this?" },
          { type: "image_url" as const, imageUrl: url },
        ];
        await client.chat.complete(hello(name, { messages: [{ role: "user", content }] }));
        expect(seenBy(home.upstreams[name])).toMatchObject({ texts: ["What is this?"], images: [PNG] });
      }
    });

    test("a 400, a 429 and an outage are MistralErrors with the status", async () => {
      home.upstreams[name].next({ status: 400, errorEvent: { message: "That will not do." } });
      const bad = await errorOf(client.chat.complete(hello(name)));
      expect(bad).toBeInstanceOf(MistralError);
      expect(bad.statusCode).toBe(400);
      expect(bad.body).toContain("That will not do.");
      home.upstreams[name].next({ status: 429, headers: { "retry-after": "35" } });
      const limited = await errorOf(client.chat.stream(hello(name)));
      expect(limited.statusCode).toBe(429);
      expect(limited.headers.get("retry-after")).toBe("35");
      home.upstreams[name].next({ status: 503 });
      expect(await errorOf(client.chat.complete(hello(name)))).toMatchObject({ statusCode: 503 });
    });

    test("aborting closes the upstream", { retry: 2 }, async () => {
      home.upstreams[name].next({ hang: "before-headers" });
      const controller = new AbortController();
      const failed = errorOf(client.chat.complete(hello(name), { fetchOptions: { signal: controller.signal } }));
      await until(() => home.upstreams[name].requests.length === 1, "the upstream was asked");
      const abortedAt = Date.now();
      controller.abort();
      expect(await failed).toBeInstanceOf(Error);
      expect(await closedAfter(home.upstreams[name], abortedAt)).toBeLessThan(100);
      await expectSettled(home.house.gateway);
    });
  });

  test.each(UPSTREAMS)(
    "thinking is asked for at %s, and Mistral's own thinking chunks may come back in",
    async (name) => {
      home.upstreams[name].next({ thinking: "Hm.", text: "Sun." });
      const thinks = name === "llama" ? {} : { reasoningEffort: "high" as const };
      const first = await client.chat.complete(hello(name, thinks));
      expect(first.choices[0]?.message?.content).toBe("Sun.");
      const effort = {
        mistral: "high",
        llama: undefined,
        openai: "high",
        anthropic: "high",
        gemini: "high",
        gemini25: 3_976,
      };
      expect(seenBy(home.upstreams[name]).effort).toBe(effort[name]);
      const said = [
        { type: "thinking" as const, thinking: [{ type: "text" as const, text: "Hm." }] },
        { type: "text" as const, text: "Sun." },
      ];
      // Byte for byte, a server of another kind does not know the chunk.
      if (name === "llama") return;
      const messages: ChatCompletionRequest["messages"] = [
        { role: "user", content: "Weather?" },
        { role: "assistant", content: said },
        { role: "user", content: "And tomorrow?" },
      ];
      await client.chat.complete(hello(name, { ...thinks, messages }));
      expect(seenBy(home.upstreams[name]).texts).toEqual(["Weather?", "Sun.", "And tomorrow?"]);
    },
  );

  test("what only Mistral has arrives there, and is reported elsewhere", async () => {
    const own = { randomSeed: 7, safePrompt: true, promptCacheKey: "k1", stop: ["X"], metadata: { a: "b" } };
    await client.chat.complete(hello("mistral", own));
    expect(sentTo(home.upstreams.mistral)).toMatchObject({ random_seed: 7, prompt_cache_key: "k1", stop: ["X"] });
    await client.chat.complete(hello("anthropic", own));
    expect(sentTo(home.upstreams.anthropic).stop_sequences).toEqual(["X"]);
    await expectSettled(home.house.gateway);
    const changes = String((home.house.log.attempts().at(-1) as Json).changes);
    for (const field of ["seed", "safe_prompt", "metadata"]) expect(changes).toContain(field);
  });

  test("a prefix is continued by Mistral", async () => {
    home.upstreams.mistral.next({ text: "Paris." });
    const messages: ChatCompletionRequest["messages"] = [
      { role: "user", content: "The capital of France?" },
      { role: "assistant", content: "It is", prefix: true },
    ];
    await client.chat.complete(hello("mistral", { messages }));
    expect(sentTo(home.upstreams.mistral).messages.at(-1)).toMatchObject({ role: "assistant", prefix: true });
  });

  test("a wrong key is a 401, a spent budget a 402, an unknown model a 404", async () => {
    const guarded = await home.another({
      auth: { keys: [{ id: "web", key: "tp-right-key-1" }] },
      limits: [{ name: "tiny", requests: 1, per: "day" }],
    });
    const right = sdk(guarded.url, "tp-right-key-1");
    expect(await errorOf(sdk(guarded.url).chat.complete(hello("gemini")))).toMatchObject({ statusCode: 401 });
    expect(await errorOf(right.chat.complete({ ...hello("gemini"), model: "no" }))).toMatchObject({ statusCode: 404 });
    await right.chat.complete(hello("gemini"));
    expect(await errorOf(right.chat.complete(hello("gemini")))).toMatchObject({ statusCode: 402 });
    expect(home.upstreams.gemini.requests).toHaveLength(1);
  });
});
