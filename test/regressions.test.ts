import { budget, createGateway, type GatewayError, router, translator } from "turnpike";
import { mistral, openaiCompatible } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeLlama, fakeMistral } from "turnpike/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { BudgetStore } from "../src/core/budget-store.ts";
import { serve } from "./support/gateway.ts";

let upstream: { mistral: Fake; llama: Fake };
beforeEach(async () => {
  upstream = { mistral: await fakeMistral({ apiKey: "key" }), llama: await fakeLlama() };
});
afterEach(async () => {
  await upstream.mistral.close();
  await upstream.llama.close();
});

const providers = () => ({
  mistral: mistral({ apiKey: "key", baseURL: upstream.mistral.baseURL }),
  llama: openaiCompatible({ baseURL: upstream.llama.baseURL, price: "free", region: "basement" }),
});
const ladder = () =>
  router({ rules: [{ match: { model: "*" }, to: ["mistral/mistral-medium-3-5", "llama/local"] }], retries: 0 });
const hello = { model: "any", max_tokens: 50, messages: [{ role: "user", content: "hi" }] };

test("x-turnpike-region is that of the target that answered, not of one that began to and broke", async () => {
  const gateway = createGateway({ providers: providers(), use: [ladder(), translator()] });
  const server = await serve(gateway);
  upstream.mistral.next({ reset: "mid-stream" });
  const response = await fetch(`${server.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(hello) });
  await response.text();
  expect(response.headers.get("x-turnpike-target")).toBe("llama/local");
  expect(response.headers.get("x-turnpike-region")).toBe("basement");
  await server.close();
  await gateway.close();
});

test("an answer that was let through while the store was away is not ended when the store is back", async () => {
  const real = memoryStore();
  let away = true;
  const store: BudgetStore = {
    ...real,
    reserve: (request) => {
      if (away) throw new Error("connection lost");
      return real.reserve(request);
    },
  };
  const gateway = createGateway({
    providers: providers(),
    use: [
      router({ rules: [{ match: { model: "*" }, to: "llama/local" }], retries: 0 }),
      budget({ store, holdTtlMs: 400, limits: [{ name: "day", tokens: 1_000, per: "day", onStoreError: "allow" }] }),
      translator(),
    ],
  });
  upstream.llama.next({ text: "one two three four five six seven eight", chunkDelayMs: 120 });
  let said = "";
  for await (const chunk of await gateway.completion({ ...hello, stream: true })) {
    away = false;
    said += chunk.choices[0]?.delta.content ?? "";
  }
  expect(said).toBe("one two three four five six seven eight");
  await gateway.close();
});

test("reject refuses what would be lost, also where the budget bounded the output first", async () => {
  const gateway = createGateway({
    providers: providers(),
    use: [
      router({ rules: [{ match: { model: "*" }, to: "mistral/mistral-medium-3-5" }], retries: 0 }),
      budget({ store: memoryStore(), limits: [{ name: "day", tokens: 2_000, per: "day" }] }),
      translator({ onUnsupported: "reject" }),
    ],
  });
  const asked = { ...hello, max_tokens: 50_000, reasoning_effort: "medium" };
  const error = await gateway.completion(asked).catch((caught: GatewayError) => caught);
  expect(error).toMatchObject({ code: "unsupported", param: "reasoning.effort" });
  expect(upstream.mistral.requests.length).toBe(0);
  expect((await gateway.usage())[0]).toMatchObject({ used: 0, held: 0 });
  await gateway.close();
});
