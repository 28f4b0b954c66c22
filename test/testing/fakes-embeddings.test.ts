import fc from "fast-check";
import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Fake, fakeOpenAI, validateOpenAIEmbeddings } from "../../src/testing/fakes/index.ts";
import { type Json, post } from "./support.ts";

const base = { model: "text-embedding-3-small", input: "hi" };

let fake: Fake;
let client: OpenAI;
beforeAll(async () => {
  fake = await fakeOpenAI();
  client = new OpenAI({ baseURL: fake.baseURL, apiKey: "test-key", maxRetries: 0 });
});
beforeEach(() => fake.reset());
afterAll(() => fake.close());

const embed = async (change: object): Promise<Json> =>
  (await post(fake, "/v1/embeddings", { ...base, ...change })).json();
const lengthOf = (vector: readonly number[]) => Math.hypot(...vector);

describe("refusals", () => {
  const long = "a".repeat(8192 * 4);
  const bad: [what: string, change: object, status: number, error: object][] = [
    ["an unknown field", { texts: [] }, 400, { param: "texts", code: "unknown_parameter" }],
    ["no input", { input: undefined }, 400, { param: "input", code: "missing_required_parameter" }],
    ["an empty text", { input: "" }, 400, { param: "input" }],
    ["an empty text among others", { input: ["a", ""] }, 400, { param: "input" }],
    ["an empty list", { input: [] }, 400, { message: expect.stringContaining("'$.input' is invalid") }],
    ["2049 texts", { input: Array(2049).fill("a") }, 400, { param: "input", code: "array_above_max_length" }],
    [
      "a text of more than 8192 tokens",
      { input: long },
      400,
      { message: expect.stringContaining("maximum context length is 8192 tokens") },
    ],
    [
      "more than 300,000 tokens together",
      { input: Array(40).fill(long.slice(8)) },
      400,
      { code: "max_tokens_per_request" },
    ],
    ["tokens that are none", { input: [1.5] }, 400, { param: "input[0]" }],
    ["an odd encoding", { encoding_format: "int8" }, 400, { param: "encoding_format", code: "invalid_value" }],
    ["longer vectors than the model makes", { dimensions: 1537 }, 400, { param: "dimensions" }],
    [
      "shorter vectors of ada",
      { model: "text-embedding-ada-002", dimensions: 5 },
      400,
      { message: "This model does not support specifying dimensions." },
    ],
    ["models that do not embed", { model: "gpt-5" }, 404, { code: "model_not_found" }],
  ];
  it.each(bad)("refuses %s", (_what, change, status, error) => {
    expect(validateOpenAIEmbeddings({ ...base, ...change })).toMatchObject({ status, body: { error } });
  });

  it("refuses like the validator, over the wire", async () => {
    expect(await embed({ input: "" })).toEqual((validateOpenAIEmbeddings({ ...base, input: "" }) as Json).body);
  });
});

describe("vectors", () => {
  const forms: [what: string, input: unknown, count: number][] = [
    ["a text", "a", 1],
    ["texts", ["a", "b", "a"], 3],
    ["tokens", [1, 2, 3], 1],
    ["lists of tokens", [[1, 2], [3]], 2],
  ];
  it.each(forms)("makes one for each of %s", async (_what, input, count) => {
    const { object, data, model, usage } = await embed({ input });
    expect({ object, model, usage }).toEqual({
      object: "list",
      model: base.model,
      usage: { prompt_tokens: expect.any(Number), total_tokens: usage.prompt_tokens },
    });
    expect(data.map(({ index }: Json) => index)).toEqual([...Array(count).keys()]);
    for (const { object, embedding } of data) expect([object, embedding.length]).toEqual(["embedding", 1536]);
  });

  it("counts tokens exactly, and text as the fakes do; or as scripted", async () => {
    expect((await embed({ input: [[1, 2, 3], [4]] })).usage.prompt_tokens).toBe(4);
    fake.next({ usage: { prompt: 77 } });
    expect((await embed({})).usage).toEqual({ prompt_tokens: 77, total_tokens: 77 });
  });

  it("depends on the input and the model alone, has length 1, and shortens by cutting", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ minLength: 1, maxLength: 50 }),
        fc.integer({ min: 1, max: 1536 }),
        async (input, dimensions) => {
          const [whole, again, short] = (
            await Promise.all([embed({ input }), embed({ input }), embed({ input, dimensions })])
          ).map(({ data }) => data[0].embedding);
          expect(again).toEqual(whole);
          expect(short).toHaveLength(dimensions);
          expect(lengthOf(short)).toBeCloseTo(1, 4);
          const cut = whole.slice(0, dimensions);
          for (const [i, value] of cut.entries()) expect(short[i]).toBeCloseTo(value / lengthOf(cut), 4);
        },
      ),
      { numRuns: 15 },
    );
    const [a, b] = (await embed({ input: ["a", "b"] })).data;
    expect(a.embedding).not.toEqual(b.embedding);
  });

  it("says the same in Base64 as in numbers", async () => {
    const asked = { ...base, input: ["a", "b"], dimensions: 8 };
    // The SDK asks for Base64 by itself and unpacks it.
    const [packed, plain] = [
      await client.embeddings.create(asked),
      await client.embeddings.create({ ...asked, encoding_format: "float" }),
    ];
    expect(fake.requests.map(({ body }) => (body as Json).encoding_format)).toEqual(["base64", "float"]);
    expect(packed.data).toEqual(plain.data);
  });

  it("fails as scripted", async () => {
    fake.next({ status: 429 });
    await expect(client.embeddings.create(base)).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    expect((await client.embeddings.create(base)).data).toHaveLength(1);
  });
});
