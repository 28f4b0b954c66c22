import { afterEach, describe, expect, it, vi } from "vitest";
import { type Fake, type FakeOptions, fakeAnthropic, fakeLlama, fakeMistral } from "../../src/testing/fakes/index.ts";
import { eventsIn, type Json, post, textIn } from "./support.ts";

const PATH = "/v1/chat/completions";
const hello = { model: "mistral-small-latest", messages: [{ role: "user", content: "hello" }] };
const streamed = { ...hello, stream: true };

const running: Fake[] = [];
afterEach(() => Promise.all(running.splice(0).map((fake) => fake.close())));

async function mistral(options?: FakeOptions): Promise<Fake> {
  const fake = await fakeMistral(options);
  running.push(fake);
  return fake;
}

describe("programming a fake", () => {
  it("answers deterministically when nothing is programmed", async () => {
    const [a, b] = [await mistral({ now: () => 0 }), await mistral({ now: () => 0 })];
    const [first, second]: Json[] = [
      await (await post(a, PATH, hello)).json(),
      await (await post(b, PATH, hello)).json(),
    ];
    expect(first).toEqual(second);
    expect(first.choices[0].message.content).toContain("You said: hello");
  });

  it("uses each next() once, in order, and always() for the rest", async () => {
    const fake = (await mistral()).always({ text: "always" }).next({ text: "one" }, { status: 503 });
    const seen: unknown[] = [];
    for (let i = 0; i < 4; i++) {
      const response = await post(fake, PATH, hello);
      const body: Json = await response.json();
      seen.push(response.ok ? body.choices[0].message.content : response.status);
    }
    expect(seen).toEqual(["one", 503, "always", "always"]);
  });

  it("does not use up a behaviour on a request it refuses", async () => {
    const fake = (await mistral()).next({ text: "kept" });
    expect((await post(fake, PATH, { ...hello, seed: 1 })).status).toBe(422);
    const body: Json = await (await post(fake, PATH, hello)).json();
    expect(body.choices[0].message.content).toBe("kept");
  });

  it("asks a function what to do with this request", async () => {
    const fake = (await mistral()).always((request) => ({ text: `${request.method} ${request.path}` }));
    const body: Json = await (await post(fake, PATH, hello)).json();
    expect(body.choices[0].message.content).toBe(`POST ${PATH}`);
  });

  it("tells when such a function throws", async () => {
    const fake = (await mistral()).next(() => {
      throw new Error("oops");
    });
    const response = await post(fake, PATH, hello);
    expect([response.status, await response.text()]).toEqual([500, "The fake failed: Error: oops"]);
  });

  it("records every request, refused ones too, and forgets them on reset", async () => {
    const fake = (await mistral()).always({ status: 500 });
    await post(fake, `${PATH}?beta=true`, hello);
    await post(fake, PATH, "{not json");
    expect(fake.requests).toMatchObject([
      { method: "POST", path: PATH, query: "beta=true", body: hello, closedEarly: false },
      { raw: "{not json", body: undefined },
    ]);
    expect(fake.requests[0]?.headers.authorization).toBe("Bearer test-key");
    fake.reset();
    expect(fake.requests).toEqual([]);
    expect((await post(fake, PATH, hello)).status).toBe(200);
  });

  it("stops listening when closed, also with hanging requests", async () => {
    const fake = await mistral();
    const pending = post(fake.next({ hang: "after-headers" }), PATH, hello).then((response) => response.text());
    await vi.waitFor(() => expect(fake.requests).toHaveLength(1));
    await fake.close();
    await expect(pending).rejects.toThrow();
    expect(fake.requests[0]?.closedEarly).toBe(false);
    await expect(post(fake, PATH, hello)).rejects.toThrow();
  });
});

describe("counting", () => {
  const usage = async (body: object, script: object = {}) => {
    const fake = (await mistral()).next(script);
    const answer: Json = await (await post(fake, PATH, body)).json();
    return { ...answer.usage, text: answer.choices[0].message.content, finish: answer.choices[0].finish_reason };
  };

  it("counts four characters of the messages' JSON as a token", async () => {
    const prompt = Math.ceil(JSON.stringify(hello.messages).length / 4);
    expect(await usage(hello, { text: "12345678" })).toMatchObject({ prompt_tokens: prompt, completion_tokens: 2 });
  });

  it("takes scripted numbers as they are", async () => {
    const scripted = { usage: { prompt: 1000, completion: 7, cached: 900 } };
    expect(await usage(hello, scripted)).toMatchObject({
      prompt_tokens: 1000,
      completion_tokens: 7,
      total_tokens: 1007,
      prompt_tokens_details: { cached_tokens: 900 },
    });
  });

  it("never says more than the requested max tokens", async () => {
    const body = { ...hello, max_tokens: 3 };
    const cut = { text: "x".repeat(12), completion_tokens: 3, finish: "length" };
    expect(await usage(body, { text: "x".repeat(100) })).toMatchObject(cut);
    expect(await usage(body, { text: "short", usage: { completion: 50 } })).toMatchObject({
      completion_tokens: 3,
      finish: "length",
    });
    expect(await usage(body, { text: "12 exactly .", usage: {} })).toMatchObject({ finish: "stop" });
  });

  it("does not cut a character in two", async () => {
    expect(await usage({ ...hello, max_tokens: 1 }, { text: "abc😀def" })).toMatchObject({ text: "abc" });
  });

  it("stops before a stop sequence", async () => {
    expect(await usage({ ...hello, stop: ["Paris"] }, { text: "The capital is Paris." })).toMatchObject({
      text: "The capital is ",
      finish: "stop",
    });
  });
});

describe("faults", () => {
  it("answers a status with the provider's envelope, or with the given body and headers", async () => {
    const fake = (await mistral()).next(
      { status: 429, headers: { "retry-after": "3" } },
      { status: 502, body: "<bad gateway>" },
    );
    const limited = await post(fake, PATH, hello);
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "3"]);
    expect(await limited.json()).toMatchObject({ object: "error", type: "rate_limited", raw_status_code: 429 });
    expect(await (await post(fake, PATH, hello)).text()).toBe("<bad gateway>");
  });

  it.each(["before-headers", "after-headers", "mid-stream"] as const)(
    "hangs %s and notices that the client left",
    async (hang) => {
      const fake = (await mistral()).next({ hang, text: "one two three four" });
      const left = new AbortController();
      const pending = post(fake, PATH, streamed, {}, { signal: left.signal });
      let seen = "";
      if (hang !== "before-headers") {
        const response = await pending;
        expect(response.status).toBe(200);
        if (hang === "mid-stream") {
          const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
          while (!seen.includes("two")) seen += (await reader.read()).value ?? "";
          expect(seen).not.toContain("three");
        }
      }
      await vi.waitFor(() => expect(fake.requests).toHaveLength(1));
      const before = Date.now();
      left.abort();
      await pending.catch(() => {});
      await vi.waitFor(() => expect(fake.requests[0]?.closedEarly).toBe(true));
      expect(fake.requests[0]!.closedAt! - before).toBeLessThan(1000);
    },
  );

  it("resets the connection before the headers", async () => {
    const fake = (await mistral()).next({ reset: "before-headers" });
    await expect(post(fake, PATH, hello)).rejects.toThrow();
    expect(fake.requests[0]?.closedEarly).toBe(false);
  });

  it.each([hello, streamed])("resets the connection in the middle of the answer (%o)", async (body) => {
    const fake = (await mistral()).next({ reset: "mid-stream", text: "one two three four" });
    const response = await post(fake, PATH, body);
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
  });

  it("cuts a stream without finish, usage and [DONE]", async () => {
    const fake = (await mistral()).next({ cut: true, text: "one two three four" });
    const text = await (await post(fake, PATH, streamed)).text();
    const events = eventsIn(text);
    expect(textIn(events)).toBe("one two");
    expect(text).not.toMatch(/\[DONE\]|"usage"|"finish_reason":"/);
  });

  it("cuts a JSON answer half-way", async () => {
    const fake = (await mistral()).next({ cut: true });
    const text = await (await post(fake, PATH, hello)).text();
    expect(() => JSON.parse(text)).toThrow();
    expect(text).toMatch(/^\{"id"/);
  });

  it("breaks a stream with an error event, and answers 500 without a stream", async () => {
    const fake = (await mistral()).always({ errorEvent: { message: "boom" }, text: "one two three four" });
    const events = eventsIn(await (await post(fake, PATH, streamed)).text());
    expect(events.at(-1)?.data).toMatchObject({ object: "error", message: "boom" });
    expect(textIn(events)).toBe("one two");
    const whole = await post(fake, PATH, hello);
    expect([whole.status, await whole.json()]).toMatchObject([500, { message: "boom" }]);
  });

  it("redirects, shows HTML, and mixes up JSON and streams", async () => {
    const fake = (await mistral()).next(
      { redirect: "http://127.0.0.1:9/elsewhere" },
      { html: true },
      { jsonForStream: true },
      { streamForJson: true },
    );
    const redirect = await post(fake, PATH, hello);
    expect([redirect.status, redirect.headers.get("location")]).toEqual([307, "http://127.0.0.1:9/elsewhere"]);
    const html = await post(fake, PATH, hello);
    expect([html.status, html.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    const json = await post(fake, PATH, streamed);
    expect(json.headers.get("content-type")).toBe("application/json");
    expect(await json.json()).toMatchObject({ object: "chat.completion" });
    const stream = await post(fake, PATH, hello);
    expect(stream.headers.get("content-type")).toMatch("text/event-stream");
    expect(eventsIn(await stream.text()).at(-1)?.data).toBe("[DONE]");
  });

  it("waits before the headers and between events", async () => {
    const fake = (await mistral()).next({ delayMs: 60 }, { chunkDelayMs: 30, text: "a b" });
    let start = performance.now();
    await post(fake, PATH, hello);
    expect(performance.now() - start).toBeGreaterThan(50);
    start = performance.now();
    const response = await post(fake, PATH, streamed);
    const headers = performance.now() - start;
    await response.text();
    expect(performance.now() - start - headers).toBeGreaterThan(80);
  });
});

describe("writing a stream", () => {
  const text = "Grüße, 世界 😀";
  it.each([
    { eol: "\r\n" },
    { eol: "\r" },
    { comments: true },
    { splitBytes: 1 },
    { splitBytes: 7, eol: "\r\n" },
  ] as const)("says the same with %o", async (sse) => {
    const fake = (await mistral({ sse })).always({ text });
    const raw = await (await post(fake, PATH, streamed)).text();
    if ("eol" in sse) expect(raw).toContain(`}${sse.eol}${sse.eol}`);
    if ("comments" in sse) expect(raw).toMatch(/^: keep-alive\n\n/);
    const events = eventsIn(raw);
    expect(textIn(events)).toBe(text);
    expect(events.at(-1)?.data).toBe("[DONE]");
  });

  it("is a matter of one answer where the script says so", async () => {
    const fake = (await mistral()).next({ sse: { comments: true } });
    expect(await (await post(fake, PATH, streamed)).text()).toMatch(/^: keep-alive/);
    expect(await (await post(fake, PATH, streamed)).text()).toMatch(/^data: /);
  });

  it("tears bytes apart so that a reader gets several chunks", async () => {
    const fake = (await mistral({ sse: { splitBytes: 5 } })).always({ text });
    const response = await post(fake, PATH, streamed);
    let reads = 0;
    for await (const _ of response.body as unknown as AsyncIterable<Uint8Array>) reads++;
    expect(reads).toBeGreaterThan(20);
  });
});

it("every fake can be disposed of with `await using`", async () => {
  let url: string;
  {
    await using fake = await fakeLlama();
    await using other = await fakeAnthropic();
    url = fake.url;
    expect(other.baseURL).toBe(`${other.url}/v1`);
    expect((await fetch(`${url}/health`)).status).toBe(200);
  }
  await expect(fetch(`${url}/health`)).rejects.toThrow();
});
