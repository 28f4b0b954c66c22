import { createGateway, logger, router, type TranslatorOptions, translator } from "turnpike";
import { type CapabilityRow, mistral, openai } from "turnpike/providers";
import { type Fake, fakeMistral, fakeOpenAI } from "turnpike/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { logBook } from "../support/gateway.ts";

let fakes: { mistral: Fake; openai: Fake };
beforeAll(async () => {
  fakes = { mistral: await fakeMistral(), openai: await fakeOpenAI() };
});
afterAll(async () => {
  for (const fake of Object.values(fakes)) await fake.close();
});
beforeEach(() => {
  for (const fake of Object.values(fakes)) fake.reset();
});

/** Facts as they were before the provider changed its mind. */
const OUTDATED: CapabilityRow[] = [
  {
    match: /^/,
    reasoning: { levels: ["low", "medium", "high", "xhigh"], off: "none" },
    parameters: { logprobs: true },
  },
];

function start(options: TranslatorOptions = {}, rules: Parameters<typeof router>[0] = {}) {
  const log = logBook();
  let now = 1_000;
  const gateway = createGateway({
    now: () => now,
    providers: {
      mistral: mistral({ apiKey: "k", baseURL: fakes.mistral.baseURL, capabilities: OUTDATED }),
      openai: openai({ apiKey: "k", baseURL: fakes.openai.baseURL }),
    },
    use: [logger({ to: log.sink }), router({ retries: 0, ...rules }), translator(options)],
  });
  return {
    gateway,
    log,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

const hard = (more: object = {}) => ({
  model: "mistral/mistral-medium-3-5",
  messages: [{ role: "user", content: "think" }],
  reasoning_effort: "xhigh",
  ...more,
});

describe("learning from refusals", () => {
  test("a refused value costs one retry, once; later requests are right at once", async () => {
    const { gateway, log } = start();
    await gateway.completion(hard());
    await gateway.completion(hard());
    expect(fakes.mistral.requests.map(({ body }) => (body as { reasoning_effort?: string }).reasoning_effort)).toEqual([
      "xhigh",
      "high",
      "high",
    ]);
    expect(log.attempts().map(({ changes }) => changes)).toEqual([
      ["reasoning_effort=xhigh->high"],
      ["reasoning_effort=xhigh->high"],
    ]);
    expect(log.records.filter(({ event }) => event === "learned")).toMatchObject([
      { target: "mistral/mistral-medium-3-5", path: "reasoning_effort", accepted: ["none", "high"] },
    ]);
  });

  test("what was learned is shown, and forgotten in time", async () => {
    const { gateway, pass } = start({ learnForMs: 5_000 });
    await gateway.completion(hard());
    expect(gateway.capabilities("mistral/mistral-medium-3-5").learned).toEqual([
      { path: "reasoning_effort", accepted: ["none", "high"], until: 6_000 },
    ]);
    expect(gateway.capabilities("mistral/mistral-large-latest").learned).toEqual([]);
    pass(5_000);
    expect(gateway.capabilities("mistral/mistral-medium-3-5").learned).toEqual([]);
    await gateway.completion(hard());
    expect(fakes.mistral.requests).toHaveLength(4);
  });

  test("a field that a closed schema forbids is left out, and so in a stream", async () => {
    const { gateway } = start();
    const stream = await gateway.completion({ ...hard({ logprobs: true, reasoning_effort: "high" }), stream: true });
    let chunks = 0;
    for await (const _ of stream) chunks++;
    expect(chunks).toBeGreaterThan(2);
    expect(fakes.mistral.requests.map(({ body }) => "logprobs" in (body as object))).toEqual([true, false]);
  });

  test("refusals that come one after the other are learned one after the other", async () => {
    const { gateway } = start();
    await gateway.completion(hard({ logprobs: true }));
    expect(fakes.mistral.requests).toHaveLength(3);
    await gateway.completion(hard({ logprobs: true }));
    expect(fakes.mistral.requests).toHaveLength(4);
  });

  test("it never loops: what is refused without the field too is the caller's, and nothing is remembered", async () => {
    const { gateway } = start();
    const body = { object: "error", message: "`temperature` is not to our taste", type: "invalid_request_error" };
    fakes.mistral.always({ status: 400, body });
    await expect(gateway.completion(hard({ temperature: 0.5, reasoning_effort: "high" }))).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining("taste"),
    });
    expect(fakes.mistral.requests).toHaveLength(2);
    expect(gateway.capabilities("mistral/mistral-medium-3-5").learned).toEqual([]);
  });

  test("an upstream that finds fault with another field each time is asked four times at most", async () => {
    const { gateway } = start();
    const names = ["temperature", "top_p", "random_seed", "stop", "presence_penalty", "frequency_penalty"];
    fakes.mistral.always(() => ({
      status: 422,
      body: { object: "error", message: `\`${names[fakes.mistral.requests.length - 1]}\` is refused` },
    }));
    const all = { temperature: 0.5, top_p: 0.5, seed: 1, stop: ["x"], presence_penalty: 0.5, frequency_penalty: 0.5 };
    await expect(gateway.completion(hard({ ...all, reasoning_effort: "high" }))).rejects.toMatchObject({ status: 400 });
    expect(fakes.mistral.requests).toHaveLength(4);
  });

  test("can be switched off", async () => {
    const { gateway } = start({ learn: false });
    await expect(gateway.completion(hard())).rejects.toMatchObject({ code: "invalid_request" });
    expect(fakes.mistral.requests).toHaveLength(1);
  });

  test("under `reject` the caller is told instead", async () => {
    const { gateway } = start({ onUnsupported: "reject" });
    await expect(gateway.completion(hard())).rejects.toMatchObject({ code: "unsupported", param: "reasoning_effort" });
  });

  test("a pass-through to a model that a rule chose is fitted when its bytes are refused", async () => {
    const { gateway } = start({}, { rules: [{ match: { model: "gpt-4o" }, to: "openai/gpt-5.5" }] });
    const old = { model: "gpt-4o", messages: [{ role: "user", content: "x" }], max_tokens: 50 };
    const answer = await gateway.completion(old);
    expect(answer.model).toBe("gpt-4o");
    await gateway.completion(old);
    expect(
      fakes.openai.requests.map(({ body }) => Object.keys(body as object).filter((key) => /max/.test(key))),
    ).toEqual([["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]);
  });

  test("who names the model himself is told by the upstream, in its words", async () => {
    const { gateway } = start({}, { rules: [{ match: { model: "gpt-5.5" }, to: "openai/gpt-5.5" }] });
    await expect(
      gateway.completion({ model: "gpt-5.5", messages: [{ role: "user", content: "x" }], max_tokens: 50 }),
    ).rejects.toMatchObject({ code: "invalid_request", param: "max_tokens" });
    expect(fakes.openai.requests).toHaveLength(1);
  });
});

describe("a route's own reasoning", () => {
  const rule = (reasoning: "off" | "high") => ({
    rules: [{ match: { model: "m" }, to: "mistral/mistral-medium-3-5", reasoning }],
  });

  test.each([
    ["off", "none"],
    ["high", "high"],
  ] as const)("%s is what the model gets, whatever the caller asks", async (reasoning, sent) => {
    const { gateway, log } = start({}, rule(reasoning));
    await gateway.completion(hard({ model: "m", reasoning_effort: "low" }));
    expect(fakes.mistral.requests[0]!.body).toMatchObject({ reasoning_effort: sent });
    expect(log.attempts()[0]!.changes).toEqual([`reasoning=low->${reasoning}`]);
  });

  test("is no reason to refuse", async () => {
    const { gateway } = start({ onUnsupported: "reject" }, rule("high"));
    await gateway.completion(hard({ model: "m", reasoning_effort: "low" }));
    expect(fakes.mistral.requests).toHaveLength(1);
  });
});
