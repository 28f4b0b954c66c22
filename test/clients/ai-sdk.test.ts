import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogle } from "@ai-sdk/google";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError,
  embedMany,
  generateObject,
  generateText,
  type LanguageModel,
  type ModelMessage,
  Output,
  stepCountIs,
  streamText,
  tool,
} from "ai";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { seenBy } from "./seen.ts";
import {
  closedAfter,
  errorOf,
  expectLogged,
  expectSettled,
  isGemini,
  MODELS,
  PDF,
  PNG,
  SCRIPTED,
  UPSTREAMS,
  type UpstreamName,
  useHouse,
} from "./support.ts";

/** Vercel's AI SDK with three of its providers, over real sockets, through Turnpike to each kind of upstream. */
describe("the Vercel AI SDK", () => {
  const home = useHouse();

  const CLIENTS: Record<string, { model(name: string, url?: string): LanguageModel; thinks: object }> = {
    "openai-compatible": {
      model: (name, url = home.house.url) =>
        createOpenAICompatible({
          name: "turnpike",
          baseURL: `${url}/v1`,
          apiKey: "k",
          includeUsage: true,
          supportsStructuredOutputs: true,
        })(name),
      thinks: { providerOptions: { turnpike: { reasoningEffort: "high" } } },
    },
    anthropic: {
      model: (name, url = home.house.url) => createAnthropic({ baseURL: `${url}/anthropic/v1`, apiKey: "k" })(name),
      thinks: { providerOptions: { anthropic: { thinking: { type: "adaptive", display: "summarized" } } } },
    },
    google: {
      // A name with a slash is a path to it.
      model: (name, url = home.house.url) =>
        createGoogle({ baseURL: `${url}/gemini/v1beta`, apiKey: "k" })(`models/${name}`),
      thinks: { providerOptions: { google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 2_048 } } } },
    },
  };
  const CLIENT_NAMES = Object.keys(CLIENTS);
  const weather = tool({
    description: "Weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: ({ city }) => (city === "Atlantis" ? Promise.reject(new Error("no such city")) : `Sunny in ${city}`),
  });

  describe.each(CLIENT_NAMES)("with its provider %s", (client) => {
    const { model, thinks } = CLIENTS[client]!;
    const hello = (name: UpstreamName) => ({
      model: model(MODELS[name]),
      // Byte for byte: OpenAI itself does not take the `max_tokens` of this provider.
      ...(!(name === "openai" && client === "openai-compatible") && { maxOutputTokens: 10_000 }),
      maxRetries: 0,
    });
    /** Chat has no word for wanting to read the thinking: it comes from who shows it unasked. */
    const reasons = (name: UpstreamName) =>
      client !== "openai-compatible" || (name !== "openai" && name !== "anthropic");

    describe.each(UPSTREAMS)("to %s", (name) => {
      test("generateText returns text, finish reason and usage", async () => {
        home.upstreams[name].next({ text: "Hello, Zoë 👋", usage: SCRIPTED });
        const answer = await generateText({ ...hello(name), system: "Be brief.", prompt: "hello" });
        expect(answer.text).toBe("Hello, Zoë 👋");
        expect(answer.finishReason).toBe("stop");
        expect(answer.usage).toMatchObject({
          inputTokens: 100,
          inputTokenDetails: { cacheReadTokens: 40 },
          outputTokens: 50,
          totalTokens: 150,
        });
        expect(seenBy(home.upstreams[name])).toMatchObject({ system: "Be brief.", texts: ["hello"] });
        await expectLogged(home.house, name);
      });

      test("streamText gives the text as it comes, and usage at the end", async () => {
        home.upstreams[name].next({ text: "One two three, Zoë 👋.", usage: SCRIPTED, sse: { splitBytes: 7 } });
        const answer = streamText({ ...hello(name), prompt: "hello" });
        const deltas: string[] = [];
        for await (const delta of answer.textStream) deltas.push(delta);
        expect(deltas.join("")).toBe("One two three, Zoë 👋.");
        expect(deltas.length).toBeGreaterThan(2);
        expect(await answer.finishReason).toBe("stop");
        expect(await answer.usage).toMatchObject({ inputTokens: 100, outputTokens: 50 });
        await expectLogged(home.house, name);
      });

      test.each(["generateText", "streamText"])(
        "%s runs a loop of tools, parallel and failing, with thinking replayed",
        async (way) => {
          home.upstreams[name].next(
            {
              thinking: "Paris and Rome.",
              text: "Looking.",
              toolCalls: [
                { name: "weather", arguments: { city: "Paris" } },
                { name: "weather", arguments: { city: "Rome" } },
              ],
            },
            { thinking: "One more.", toolCalls: [{ name: "weather", arguments: { city: "Atlantis" } }] },
            { text: "All but one sunny." },
          );
          const call = {
            ...hello(name),
            // The generic profile thinks as the server is configured.
            ...(name !== "llama" && thinks),
            tools: { weather },
            stopWhen: stepCountIs(5),
            prompt: "Weather?",
          };
          const run = way === "generateText" ? await generateText(call) : streamText(call);
          const steps = await run.steps;
          expect(await run.text).toBe("All but one sunny.");
          expect(steps.map((step) => step.finishReason)).toEqual(["tool-calls", "tool-calls", "stop"]);
          expect(steps[0]!.toolResults.map((result) => result.output)).toEqual(["Sunny in Paris", "Sunny in Rome"]);
          if (name !== "llama") expect(steps[0]!.reasoningText).toBe(reasons(name) ? "Paris and Rome." : undefined);
          const seen = seenBy(home.upstreams[name]);
          expect(seen.calls.map((each) => each.input.city)).toEqual(["Paris", "Rome", "Atlantis"]);
          expect(seen.results).toHaveLength(3);
          expect(seen.results[2]).toContain("no such city");
          // This SDK sends back what other Chat clients do not: text, but no signature.
          if (client !== "openai-compatible" && name !== "llama")
            expect(seen.thinking.length).toBeGreaterThanOrEqual(1);
        },
      );

      test("generateObject and Output.object read an answer by its schema", async () => {
        home.upstreams[name].always({ text: '{"city":"Paris","degrees":18}' });
        const schema = z.object({ city: z.string(), degrees: z.number() });
        // For models it does not know it would make up a tool.
        const providerOptions = { anthropic: { structuredOutputMode: "outputFormat" } };
        const { object } = await generateObject({ ...hello(name), providerOptions, schema, prompt: "Weather?" });
        expect(object).toEqual({ city: "Paris", degrees: 18 });
        const { output } = await generateText({
          ...hello(name),
          providerOptions,
          output: Output.object({ schema }),
          prompt: "Weather?",
        });
        expect(output).toEqual({ city: "Paris", degrees: 18 });
        expect(Object.keys(seenBy(home.upstreams[name]).schema.properties)).toEqual(["city", "degrees"]);
      });

      test("an image and a PDF arrive", async () => {
        const messages: ModelMessage[] = [
          {
            role: "user",
            content: [
              { type: "text", text: "What is this?" },
              { type: "file", mediaType: "image/png", data: Buffer.from(PNG, "base64") },
              ...(name === "llama"
                ? []
                : [{ type: "file" as const, mediaType: "application/pdf", data: Buffer.from(PDF, "base64") }]),
            ],
          },
        ];
        await generateText({ ...hello(name), messages });
        expect(seenBy(home.upstreams[name])).toMatchObject({
          texts: ["What is this?"],
          images: [PNG],
          documents: name === "llama" ? [] : [PDF],
        });
      });

      test("thinking is shown to who asks for it", async () => {
        home.upstreams[name].always({ thinking: "Let me see.", text: "Seen." });
        const whole = await generateText({ ...hello(name), ...thinks, prompt: "hello" });
        const streamed = streamText({ ...hello(name), ...thinks, prompt: "hello" });
        expect(whole.text).toBe("Seen.");
        expect(await streamed.text).toBe("Seen.");
        expect(whole.reasoningText).toBe(reasons(name) ? "Let me see." : undefined);
        expect(await streamed.reasoningText).toBe(reasons(name) ? "Let me see." : undefined);
      });

      test("errors of the upstream are APICallErrors with the status", async () => {
        home.upstreams[name].next({ status: 400, errorEvent: { message: "That will not do." } });
        const bad = await errorOf(generateText({ ...hello(name), prompt: "x" }));
        expect(APICallError.isInstance(bad)).toBe(true);
        expect(bad).toMatchObject({ statusCode: 400, isRetryable: false });
        expect(bad.message).toContain("That will not do.");
        home.upstreams[name].next({ status: 429 });
        const limited = await errorOf(generateText({ ...hello(name), prompt: "x" }));
        expect(limited).toMatchObject({ statusCode: 429, isRetryable: true });
        home.upstreams[name].next({ text: "One two three four.", errorEvent: { message: "The GPU caught fire" } });
        const errors: unknown[] = [];
        const stream = streamText({ ...hello(name), prompt: "x", onError: ({ error }) => void errors.push(error) });
        let text = "";
        await errorOf(
          (async () => {
            for await (const delta of stream.textStream) text += delta;
            await stream.finishReason;
            throw new Error("read");
          })(),
        );
        expect("One two three four.".startsWith(text) && text !== "").toBe(true);
        expect(JSON.stringify(errors.map((error) => (error instanceof Error ? error.message : error)))).toContain(
          "The GPU caught fire",
        );
      });

      test("aborting closes the upstream within 100 ms", { retry: 2 }, async () => {
        home.upstreams[name].next({ text: "word ".repeat(400), chunkDelayMs: 5 });
        const controller = new AbortController();
        const stream = streamText({ ...hello(name), prompt: "x", abortSignal: controller.signal });
        let abortedAt = 0;
        await errorOf(
          (async () => {
            for await (const _ of stream.textStream) {
              abortedAt ||= Date.now();
              controller.abort();
            }
            throw new Error("read");
          })(),
        );
        expect(await closedAfter(home.upstreams[name], abortedAt)).toBeLessThan(100);
        await expectSettled(home.house.gateway);
      });

      test("a conversation with a tool's image goes on", async () => {
        const image = { type: "file" as const, mediaType: "image/png", data: { type: "data" as const, data: PNG } };
        const messages: ModelMessage[] = [
          { role: "user", content: "Look." },
          {
            role: "assistant",
            content: [{ type: "tool-call", toolCallId: "call_1", toolName: "look", input: {} }],
          },
          {
            role: "tool",
            content: [
              {
                type: "tool-result",
                toolCallId: "call_1",
                toolName: "look",
                output: { type: "content", value: [{ type: "text", text: "A map:" }, image] },
              },
            ],
          },
        ];
        const look = tool({ description: "Looks", inputSchema: z.object({}) });
        const answer = await generateText({ ...hello(name), tools: { look }, messages });
        expect(answer.finishReason).toBe("stop");
        const seen = seenBy(home.upstreams[name]);
        expect(seen.results[0]).toContain("A map:");
        // In Chat, this SDK writes an image in a result as text.
        if (client === "anthropic") expect(seen.images).toEqual([PNG]);
        if (client === "google" && !isGemini(name)) expect(seen.images).toEqual([PNG]);
      });
    });

    test("a budget that is spent is a 402", async () => {
      const capped = await home.another({ limits: [{ name: "tiny", requests: 1, per: "day" }] });
      const ask = () => generateText({ model: model(MODELS.mistral, capped.url), prompt: "x", maxRetries: 0 });
      await ask();
      expect(await errorOf(ask())).toMatchObject({ statusCode: 402, isRetryable: false });
    });
  });

  test("embedMany reaches embeddings by OpenAI's and by Gemini's door", async () => {
    const compatible = createOpenAICompatible({ name: "turnpike", baseURL: `${home.house.url}/v1`, apiKey: "k" });
    const google = createGoogle({ baseURL: `${home.house.url}/gemini/v1beta`, apiKey: "k" });
    for (const id of ["openai/text-embedding-3-small", "gemini/gemini-embedding-001"]) {
      const options = { values: ["one", "two"], maxRetries: 0 };
      const one = await embedMany({ ...options, model: compatible.embeddingModel(id) });
      const two = await embedMany({ ...options, model: google.embeddingModel(id) });
      expect(one.embeddings).toHaveLength(2);
      expect(two.embeddings.map((vector) => vector.map(Math.fround))).toEqual(
        one.embeddings.map((vector) => vector.map(Math.fround)),
      );
    }
  });
});
