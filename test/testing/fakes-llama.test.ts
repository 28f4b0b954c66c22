import { afterEach, describe, expect, it } from "vitest";
import { type Fake, type FakeLlamaOptions, fakeLlama } from "../../src/testing/fakes/index.ts";
import { eventsIn, type Json, post } from "./support.ts";

const PATH = "/v1/chat/completions";
const user = { role: "user", content: "hi" };
const base = { model: "anything", messages: [user] };
const image = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };

const running: Fake[] = [];
afterEach(() => Promise.all(running.splice(0).map((fake) => fake.close())));
async function llama(options?: FakeLlamaOptions): Promise<Fake> {
  const fake = await fakeLlama(options);
  running.push(fake);
  return fake;
}

describe("what it takes and refuses", () => {
  it("takes unknown fields, unknown models and no key", async () => {
    const fake = await llama();
    const body = JSON.stringify({ ...base, min_p: 0.1, whatever: true, messages: [{ ...user, name: "x" }] });
    expect((await fetch(fake.url + PATH, { method: "POST", body })).status).toBe(200);
  });

  it("checks a key only when it has one", async () => {
    const fake = await llama({ apiKey: "secret" });
    const refused = await post(fake, PATH, base);
    expect([refused.status, await refused.json()]).toEqual([
      401,
      { error: { code: 401, message: "Invalid API Key", type: "authentication_error" } },
    ]);
    expect((await post(fake, PATH, base, { authorization: "Bearer secret" })).status).toBe(200);
    expect((await fetch(`${fake.url}/health`)).status).toBe(200);
  });

  const bad: [what: string, messages: unknown][] = [
    ["no messages", []],
    ["messages that are no list", "hi"],
    ["missing messages", undefined],
    ["an unknown role", [{ role: "function", content: "a" }]],
    ["a user without content", [{ role: "user" }]],
    ["a tool result that is no text", [user, { role: "tool", tool_call_id: "1", content: [image] }]],
    ["a tool result of null", [user, { role: "tool", tool_call_id: "1", content: null }]],
  ];
  it.each(bad)("refuses %s", async (_what, messages) => {
    const response = await post(await llama({ vision: true }), PATH, { ...base, messages });
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({
      error: { code: 400, message: expect.any(String), type: "invalid_request_error" },
    });
  });

  it.each(["system", "developer", "user", "assistant", "tool"])("takes role %s", async (role) => {
    const messages = [user, { role, content: [{ type: "text", text: "a" }] }];
    expect((await post(await llama(), PATH, { ...base, messages })).status).toBe(200);
  });

  it("takes images only with vision", async () => {
    const body = { ...base, messages: [{ role: "user", content: [image] }] };
    const refused = await post(await llama(), PATH, body);
    expect([refused.status, await refused.json()]).toMatchObject([
      500,
      { error: { code: 500, message: expect.stringContaining("image input is not supported") } },
    ]);
    expect((await post(await llama({ vision: true }), PATH, body)).status).toBe(200);
  });

  it("refuses a prompt beyond its context", async () => {
    const fake = await llama({ contextTokens: 100 });
    const response = await post(fake, PATH, { ...base, messages: [{ role: "user", content: "x".repeat(1000) }] });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { error: { type: "exceed_context_size_error", n_ctx: 100 } },
    ]);
    expect((await post(fake, PATH, base)).status).toBe(200);
  });

  it("answers an unknown path with its own 404", async () => {
    const response = await post(await llama(), "/v1/nothing", {});
    expect(await response.json()).toEqual({ error: { code: 404, message: "File Not Found", type: "not_found_error" } });
  });
});

describe("answers", () => {
  it("has reasoning_content, timings and usage", async () => {
    const fake = (await llama()).next({ thinking: "hm", text: "Hello!", usage: { prompt: 10, cached: 4 } });
    const body: Json = await (await post(fake, PATH, base)).json();
    expect(body).toMatchObject({
      object: "chat.completion",
      choices: [{ finish_reason: "stop", message: { role: "assistant", content: "Hello!", reasoning_content: "hm" } }],
      usage: { prompt_tokens: 10, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 4 } },
      timings: { cache_n: 4, prompt_n: 6, predicted_n: 2 },
    });
  });

  it.each([{ reasoning_effort: "none" }, { chat_template_kwargs: { enable_thinking: false } }])(
    "does not think with %o",
    async (off) => {
      const fake = (await llama()).next({ thinking: "hm", text: "Hello!" });
      const body: Json = await (await post(fake, PATH, { ...base, ...off })).json();
      expect(body.choices[0].message).not.toHaveProperty("reasoning_content");
    },
  );

  it("streams usage only when asked, in a chunk without choices", async () => {
    const fake = (await llama()).always({ thinking: "hm so", text: "Hello there" });
    const without = eventsIn(await (await post(fake, PATH, { ...base, stream: true })).text());
    expect(without.some(({ data }) => data.usage !== undefined)).toBe(false);
    expect(without.at(-2)?.data).toMatchObject({ choices: [{ finish_reason: "stop", delta: {} }], timings: {} });
    const body = { ...base, stream: true, stream_options: { include_usage: true } };
    const events = eventsIn(await (await post(fake, PATH, body)).text());
    expect(events.at(-2)?.data).toMatchObject({ choices: [], usage: { completion_tokens: 4 }, timings: {} });
    expect(events.slice(0, -2).map(({ data }) => data.choices[0].delta)).toEqual([
      { role: "assistant", content: null },
      { reasoning_content: "hm" },
      { reasoning_content: " so" },
      { content: "Hello" },
      { content: " there" },
      {},
    ]);
  });

  it("streams tool arguments in pieces, id and name on the first only", async () => {
    const fake = (await llama()).next({
      toolCalls: [
        { name: "a", arguments: { x: 1 } },
        { name: "b", arguments: {} },
      ],
    });
    const events = eventsIn(await (await post(fake, PATH, { ...base, stream: true })).text());
    const parts: Json[] = events.flatMap(({ data }) => data.choices?.[0]?.delta?.tool_calls ?? []);
    expect(parts.filter((part) => part.id !== undefined).map((part) => part.function.name)).toEqual(["a", "b"]);
    const joined = (index: number) =>
      parts
        .filter((part) => part.index === index)
        .map((part) => part.function.arguments)
        .join("");
    expect([joined(0), joined(1)]).toEqual(['{"x":1}', "{}"]);
    expect(events.at(-2)?.data.choices[0].finish_reason).toBe("tool_calls");
  });

  it("tells what it is", async () => {
    const fake = await llama({ model: "devstral", vision: true, contextTokens: 4096 });
    const get = async (path: string): Promise<Json> => (await fetch(fake.url + path)).json();
    expect(await get("/health")).toEqual({ status: "ok" });
    expect(await get("/v1/models")).toMatchObject({ data: [{ id: "devstral", owned_by: "llamacpp" }] });
    expect(await get("/props")).toMatchObject({
      modalities: { vision: true },
      default_generation_settings: { n_ctx: 4096 },
    });
  });
});
