import Anthropic from "@anthropic-ai/sdk";
import { createGateway, router, translator } from "turnpike";
import { anthropic } from "turnpike/providers";
import { fakeAnthropic } from "turnpike/testing";
import { expect, test } from "vitest";
import { serve } from "../support/gateway.ts";
import { CLAUDE } from "./support.ts";

test("translator({ promptCache: 'auto' }) marks prefixes for targets that take marks, unless the caller did", async () => {
  await using fake = await fakeAnthropic();
  const gateway = createGateway({
    providers: { anthropic: anthropic({ apiKey: "k", baseURL: fake.baseURL }) },
    use: [router(), translator({ promptCache: "auto" })],
  });
  const server = await serve(gateway);
  const client = new Anthropic({ baseURL: server.url, apiKey: "x", maxRetries: 0 });
  const system = [{ type: "text" as const, text: "Be kind." }];
  const request = { model: CLAUDE, max_tokens: 50, messages: [{ role: "user" as const, content: "Hi" }] };
  await client.messages.create({ ...request, system });
  await gateway.completion({ ...request, messages: [{ role: "system", content: "Be kind." }, ...request.messages] });
  const own = [{ ...system[0]!, cache_control: { type: "ephemeral" as const, ttl: "1h" as const } }, system[0]!];
  await client.messages.create({ ...request, system: own });
  const sent = fake.requests.map(({ body }) => (body as { system: unknown }).system);
  const marked = [{ ...system[0], cache_control: { type: "ephemeral" } }];
  expect(sent).toEqual([marked, marked, own]);
  await server.close();
  await gateway.close();
});
