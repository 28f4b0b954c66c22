import Anthropic from "@anthropic-ai/sdk";
import { createGateway, logger, router, translator } from "turnpike";
import { anthropic, mistral } from "turnpike/providers";
import { fakeAnthropic, fakeMistral } from "turnpike/testing";
import { describe, expect, test } from "vitest";
import { logBook, serve } from "../support/gateway.ts";

describe("max_tokens: 0, which only warms a prompt cache", () => {
  test.each([false, true])("is answered without an upstream that has none (stream: %s)", async (stream) => {
    await using upstream = await fakeMistral();
    const log = logBook();
    const gateway = createGateway({
      providers: { mistral: mistral({ apiKey: "k", baseURL: upstream.baseURL }) },
      use: [logger({ to: log.sink }), router(), translator()],
    });
    const server = await serve(gateway);
    const client = new Anthropic({ baseURL: server.url, apiKey: "x", maxRetries: 0 });
    const body = {
      model: "mistral/mistral-medium-3-5",
      max_tokens: 0,
      messages: [{ role: "user" as const, content: "x" }],
    };
    const message = stream ? await client.messages.stream(body).finalMessage() : await client.messages.create(body);
    expect(message).toMatchObject({ content: [], stop_reason: "max_tokens", usage: { output_tokens: 0 } });
    expect(upstream.requests).toHaveLength(0);
    expect(log.attempts()[0]).toMatchObject({ outcome: "served", changes: ["max_tokens=0->ignored"] });
    await server.close();
    await gateway.close();
  });

  test("reaches an upstream that has one", async () => {
    await using upstream = await fakeAnthropic();
    const gateway = createGateway({
      providers: { anthropic: anthropic({ apiKey: "k", baseURL: upstream.baseURL }) },
    });
    const body = { model: "anthropic/claude-haiku-5-5", max_tokens: 0, messages: [{ role: "user", content: "x" }] };
    await gateway.messages(body);
    expect(upstream.requests).toHaveLength(1);
    await gateway.close();
  });
});
