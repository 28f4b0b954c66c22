import { createServer } from "node:http";
import OpenAI, { APIError, BadRequestError, InternalServerError, NotFoundError, RateLimitError } from "openai";
import { budget, createGateway, logger, router, translator } from "turnpike";
import { mistral } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { beforeAll, describe, expect, test } from "vitest";
import { listen, logBook, serve, shut, until } from "../support/gateway.ts";
import { errorOf, expectSettled, type Json, sentTo, useHouse, WATCHED } from "./support.ts";

const MODELS = { openai: "openai/text-embedding-3-small", gemini: "gemini/gemini-embedding-001" } as const;
const FULL = { openai: 1_536, gemini: 3_072 };

/** `embeddings.create` of the official OpenAI SDK, over real sockets. */
describe("embeddings of the official OpenAI SDK", () => {
  const home = useHouse();
  let client: OpenAI;
  beforeAll(() => {
    client = sdk(home.house.url);
  });
  const sdk = (url: string, options: object = {}) =>
    new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-anything-at-all", maxRetries: 0, ...options });

  describe.each(["openai", "gemini"] as const)("of %s", (name) => {
    const model = MODELS[name];

    test("come as numbers, whether the SDK asks for base64 (as it does by itself) or for floats", async () => {
      const byDefault = await client.embeddings.create({ model, input: "Hello, Zoë 👋" });
      const floats = await client.embeddings.create({ model, input: "Hello, Zoë 👋", encoding_format: "float" });
      const base64 = await client.embeddings.create({ model, input: "Hello, Zoë 👋", encoding_format: "base64" });
      expect(byDefault).toMatchObject({ object: "list", data: [{ object: "embedding", index: 0 }] });
      const vector = byDefault.data[0]!.embedding;
      expect(vector).toHaveLength(FULL[name]);
      expect(floats.data[0]!.embedding.map(Math.fround)).toEqual(vector.map(Math.fround));
      const written = base64.data[0]!.embedding as unknown as string;
      expect(written).toBeTypeOf("string");
      expect(Buffer.from(written, "base64")).toHaveLength(FULL[name] * 4);
    });

    test("of several texts come in their order, as long as asked", async () => {
      const input = ["one", "two", "three"];
      const { data } = await client.embeddings.create({ model, input, dimensions: 8 });
      expect(data.map(({ index }) => index)).toEqual([0, 1, 2]);
      expect(data.map(({ embedding }) => embedding.length)).toEqual([8, 8, 8]);
      for (const [i, text] of input.entries()) {
        const alone = await client.embeddings.create({ model, input: text, dimensions: 8 });
        expect(alone.data[0]!.embedding).toEqual(data[i]!.embedding);
      }
    });

    test("are counted, settled and logged", async () => {
      const before = (await home.house.gateway.usage())[0]!.used;
      const { data, response } = await client.embeddings
        .create({ model, input: "a text of some length" })
        .withResponse();
      expect(response.headers.get("x-turnpike-target")).toBe(model);
      await expectSettled(home.house.gateway);
      const [request] = home.house.log.requests().slice(-1) as Json[];
      expect(request).toMatchObject({ operation: "embeddings", outcome: "served", target: model, outputTokens: 0 });
      expect(request.inputTokens).toBeGreaterThan(0);
      if (name === "openai") expect(data.usage.prompt_tokens).toBe(request.inputTokens);
      // Gemini does not tell what it counted.
      expect(request.estimated).toBe(name === "gemini" ? true : undefined);
      expect((await home.house.gateway.usage())[0]!.used - before).toBe(request.inputTokens);
      expect(data.model).toBe(name === "openai" ? "text-embedding-3-small" : model);
    });

    test("a 400 of the upstream is a BadRequestError", async () => {
      const error = await errorOf(client.embeddings.create({ model, input: "x", dimensions: 9_999 }));
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error.message).toMatch(/dimension/i);
    });

    test("a 429 is a RateLimitError, an upstream's 403 a 502", async () => {
      home.upstreams[name].next({ status: 429, headers: { "retry-after": "35" } });
      const limited = await errorOf(client.embeddings.create({ model, input: "x" }));
      expect(limited).toBeInstanceOf(RateLimitError);
      expect(limited.headers.get("retry-after")).toBe("35");
      home.upstreams[name].next({ status: 403 });
      const refused = await errorOf(client.embeddings.create({ model, input: "x" }));
      expect(refused).toBeInstanceOf(InternalServerError);
      expect(refused).toMatchObject({ status: 502, code: "upstream_auth" });
    });

    test("an answer that is no JSON, or is cut, is a 502 that is settled", async () => {
      for (const fault of [{ html: true }, { cut: true }]) {
        home.upstreams[name].next(fault);
        const error = await errorOf(client.embeddings.create({ model, input: "x" }));
        expect(error).toBeInstanceOf(InternalServerError);
        expect(error.status).toBe(502);
      }
    });

    test("aborting closes the upstream", { retry: 2 }, async () => {
      home.upstreams[name].next({ hang: "before-headers" });
      const controller = new AbortController();
      const failed = errorOf(client.embeddings.create({ model, input: "x" }, { signal: controller.signal }));
      await until(() => home.upstreams[name].requests.length === 1, "the upstream was asked");
      controller.abort();
      expect(await failed).toBeInstanceOf(OpenAI.APIUserAbortError);
      await until(() => home.upstreams[name].requests[0]?.closedEarly === true, "the upstream was closed");
    });
  });

  test("a request to OpenAI goes out as it came", async () => {
    await client.embeddings.create({ model: MODELS.openai, input: [[1, 2], [3]], user: "u-1" });
    expect(sentTo(home.upstreams.openai)).toEqual({
      model: "text-embedding-3-small",
      input: [[1, 2], [3]],
      user: "u-1",
      encoding_format: "base64",
    });
  });

  test("what Gemini does not know is reported", async () => {
    const { response } = await client.embeddings
      .create({ model: MODELS.gemini, input: "x", user: "u-1" })
      .withResponse();
    expect(JSON.stringify(sentTo(home.upstreams.gemini))).not.toContain("u-1");
    expect(response.headers.get("x-turnpike-changes")).toContain("user");
  });

  test("tokens are refused where only words are taken, before anybody is asked", async () => {
    const error = await errorOf(client.embeddings.create({ model: MODELS.gemini, input: [1, 2, 3] }));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error.param).toBe("input");
    expect(home.upstreams.gemini.requests).toHaveLength(0);
  });

  test("an upstream that makes no embeddings says so", async () => {
    const error = await errorOf(client.embeddings.create({ model: "anthropic/claude-haiku-5-5", input: "x" }));
    expect(error).toBeInstanceOf(APIError);
    expect(error.message).toContain("embeddings");
    expect(home.upstreams.anthropic.requests).toHaveLength(0);
  });

  test("a malformed request and an unknown model are refused", async () => {
    const malformed = await errorOf(client.embeddings.create({ model: MODELS.openai, input: {} as string }));
    expect(malformed).toBeInstanceOf(BadRequestError);
    expect(malformed.param).toBe("input");
    expect(await errorOf(client.embeddings.create({ model: "nobody", input: "x" }))).toBeInstanceOf(NotFoundError);
    expect(home.upstreams.openai.requests).toHaveLength(0);
  });

  test("a budget that is spent refuses embeddings too", async () => {
    const capped = await home.another({ limits: [{ name: "tiny", requests: 1, per: "day" }] });
    await sdk(capped.url).embeddings.create({ model: MODELS.openai, input: "x" });
    const error = await errorOf(sdk(capped.url).embeddings.create({ model: MODELS.openai, input: "x" }));
    expect(error).toMatchObject({ status: 402, code: "budget_exceeded" });
  });
});

/** Mistral's embeddings endpoint as its specification has it: `output_dimension`, and nothing it does not know. */
test("embeddings of Mistral are asked for in its own words", async () => {
  const KNOWN = ["model", "input", "output_dimension", "output_dtype", "encoding_format", "metadata"];
  const asked: Json[] = [];
  const upstream = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString());
    asked.push({ path: request.url, body });
    const extra = Object.keys(body).filter((key) => !KNOWN.includes(key));
    const inputs: string[] = [body.input].flat();
    const answer =
      extra.length > 0
        ? { detail: extra.map((key) => ({ type: "extra_forbidden", loc: ["body", key], msg: "Extra inputs" })) }
        : {
            id: "1",
            object: "list",
            model: body.model,
            data: inputs.map((text, index) => ({
              object: "embedding",
              index,
              embedding: Array.from({ length: body.output_dimension ?? 4 }, () => text.length),
            })),
            usage: { prompt_tokens: 7, completion_tokens: 0, total_tokens: 7 },
          };
    response.writeHead(extra.length > 0 ? 422 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer));
  });
  const log = logBook();
  const gateway = createGateway({
    providers: { mistral: mistral({ apiKey: "mistral-key-0001", baseURL: `${await listen(upstream)}/v1` }) },
    use: [
      logger({ to: log.sink }),
      router({ retries: 0 }),
      budget({ store: memoryStore(), limits: [WATCHED] }),
      translator(),
    ],
  });
  const server = await serve(gateway);
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "k", maxRetries: 0 });
  const { data: list, response } = await client.embeddings
    .create({ model: "mistral/mistral-embed", input: ["a", "bb"], dimensions: 3, user: "u-1" })
    .withResponse();
  const { data, usage } = list;
  expect(response.headers.get("x-turnpike-changes")).toContain("user");
  expect(data.map(({ embedding }) => embedding)).toEqual([
    [1, 1, 1],
    [2, 2, 2],
  ]);
  expect(usage).toEqual({ prompt_tokens: 7, total_tokens: 7 });
  expect(asked).toMatchObject([{ path: "/v1/embeddings", body: { model: "mistral-embed", output_dimension: 3 } }]);
  expect(asked[0].body).not.toHaveProperty("user");
  await expectSettled(gateway);
  expect(log.requests()).toMatchObject([{ outcome: "served", inputTokens: 7, outputTokens: 0 }]);
  await server.close();
  await shut(upstream);
  await gateway.close();
});
