import { HttpResponse, http } from "msw";
import { setupServer } from "msw/node";
import { createGateway, type GatewayError, router, translator } from "turnpike";
import { anthropic, mistral, openai, openaiCompatible } from "turnpike/providers";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

/** Providers over an injected `fetch`, at their real addresses; a request nobody expects fails the test. */
describe("a provider with a `fetch` of its own", () => {
  const upstream = setupServer();
  beforeAll(() => upstream.listen({ onUnhandledFrame: "error" }));
  afterEach(() => upstream.resetHandlers());
  afterAll(() => upstream.close());

  const gatewayOf = (provider: ReturnType<typeof mistral>) =>
    createGateway({
      providers: { p: provider },
      use: [router({ rules: [{ match: { model: "*" }, to: "p/the-model" }], retries: 0 }), translator()],
    });
  const ask = { model: "any", max_tokens: 50, messages: [{ role: "user", content: "hi" }] };
  const chatAnswer = {
    id: "1",
    object: "chat.completion",
    created: 1,
    model: "the-model",
    choices: [{ index: 0, message: { role: "assistant", content: "hello" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 },
  };

  test.each([
    [
      "mistral",
      mistral,
      "https://api.mistral.ai/v1/chat/completions",
      "authorization",
      "Bearer secret-key",
      "max_tokens",
    ],
    [
      "openai",
      openai,
      "https://api.openai.com/v1/chat/completions",
      "authorization",
      "Bearer secret-key",
      "max_completion_tokens",
    ],
  ] as const)(
    "%s goes to its usual address with its own key and its own field for the bound",
    async (_, make, url, header, value, field) => {
      let sent: { headers: Headers; body: Record<string, unknown> } | undefined;
      upstream.use(
        http.post(url, async ({ request }) => {
          sent = { headers: request.headers, body: (await request.json()) as Record<string, unknown> };
          return HttpResponse.json(chatAnswer);
        }),
      );
      const gateway = gatewayOf(make({ apiKey: "secret-key", fetch: globalThis.fetch }));
      const answer = await gateway.messages(ask);
      expect(answer.content).toEqual([{ type: "text", text: "hello" }]);
      expect(sent!.headers.get(header)).toBe(value);
      expect(sent!.body).toMatchObject({ model: "the-model", [field]: 50 });
      await gateway.close();
    },
  );

  test("anthropic gets x-api-key and a version", async () => {
    let headers: Headers | undefined;
    upstream.use(
      http.post("https://api.anthropic.com/v1/messages", ({ request }) => {
        headers = request.headers;
        return HttpResponse.json({
          id: "msg_1",
          type: "message",
          role: "assistant",
          model: "the-model",
          content: [{ type: "text", text: "hello" }],
          stop_reason: "end_turn",
          stop_sequence: null,
          usage: { input_tokens: 3, output_tokens: 1 },
        });
      }),
    );
    const gateway = gatewayOf(anthropic({ apiKey: "secret-key", fetch: globalThis.fetch }));
    expect((await gateway.completion(ask)).choices[0]?.message.content).toBe("hello");
    expect(headers!.get("x-api-key")).toBe("secret-key");
    expect(headers!.get("anthropic-version")).toBe("2023-06-01");
    await gateway.close();
  });

  test("streams arrive chunk by chunk, whatever the chunks are cut at", async () => {
    const frames = ["Grüß", " dich", " 🌍"].map(
      (content) =>
        `data: ${JSON.stringify({ ...chatAnswer, choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`,
    );
    const text = `${frames.join("")}data: ${JSON.stringify({ ...chatAnswer, choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`;
    const bytes = new TextEncoder().encode(text);
    upstream.use(
      http.post("http://local.test/v1/chat/completions", () => {
        const body = new ReadableStream({
          start(controller) {
            for (let i = 0; i < bytes.length; i += 7) controller.enqueue(bytes.slice(i, i + 7));
            controller.close();
          },
        });
        return new HttpResponse(body, { headers: { "content-type": "text/event-stream" } });
      }),
    );
    const gateway = gatewayOf(openaiCompatible({ baseURL: "http://local.test/v1", fetch: globalThis.fetch }));
    let said = "";
    for await (const event of await gateway.messages({ ...ask, stream: true })) said += event.delta?.text ?? "";
    expect(said).toBe("Grüß dich 🌍");
    await gateway.close();
  });

  test("a redirect is an error, and the key goes nowhere else", async () => {
    upstream.use(
      http.post(
        "https://api.mistral.ai/v1/chat/completions",
        () => new HttpResponse(null, { status: 307, headers: { location: "https://evil.test/" } }),
      ),
    );
    const gateway = gatewayOf(mistral({ apiKey: "secret-key", fetch: globalThis.fetch }));
    const error = await gateway.completion(ask).catch((caught: GatewayError) => caught);
    expect(error).toMatchObject({ code: "upstream_invalid", provider: "p" });
    await gateway.close();
  });

  test("a network failure is told as what it is", async () => {
    upstream.use(http.post("https://api.mistral.ai/v1/chat/completions", () => HttpResponse.error()));
    const gateway = gatewayOf(mistral({ apiKey: "secret-key", fetch: globalThis.fetch }));
    expect(await gateway.completion(ask).catch((caught: GatewayError) => caught)).toMatchObject({
      code: "upstream_unreachable",
    });
    await gateway.close();
  });
});

test("a provider without a key says which variable it reads, and names an unknown option", () => {
  const before = process.env.MISTRAL_API_KEY;
  delete process.env.MISTRAL_API_KEY;
  expect(() => mistral()).toThrow(/MISTRAL_API_KEY/);
  expect(() => mistral({ apiKey: "k", baseUrl: "x" } as never)).toThrow(/baseUrl/);
  expect(() => openaiCompatible()).toThrow(/baseURL is required/);
  if (before !== undefined) process.env.MISTRAL_API_KEY = before;
});
