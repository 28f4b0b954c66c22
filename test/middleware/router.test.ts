import {
  createGateway,
  type GatewayError,
  type Identity,
  logger,
  type RouterOptions,
  router,
  translator,
} from "turnpike";
import { anthropic, mistral, openai, openaiCompatible } from "turnpike/providers";
import { type Fake, fakeAnthropic, fakeLlama, fakeMistral, fakeOpenAI } from "turnpike/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { logBook } from "../support/gateway.ts";

let fakes: { mistral: Fake; openai: Fake; anthropic: Fake; llama: Fake };
beforeAll(async () => {
  fakes = {
    mistral: await fakeMistral(),
    openai: await fakeOpenAI(),
    anthropic: await fakeAnthropic(),
    llama: await fakeLlama(),
  };
});
afterAll(async () => {
  for (const fake of Object.values(fakes)) await fake.close();
});
beforeEach(() => {
  for (const fake of Object.values(fakes)) fake.reset();
});

function start(options: RouterOptions, operations?: ("chat" | "chat.stream" | "count-tokens")[]) {
  const log = logBook();
  const gateway = createGateway({
    providers: {
      mistral: mistral({ apiKey: "k", baseURL: fakes.mistral.baseURL }),
      openai: openai({ apiKey: "k", baseURL: fakes.openai.baseURL }),
      anthropic: anthropic({ apiKey: "k", baseURL: fakes.anthropic.baseURL }),
      llama: openaiCompatible({ baseURL: fakes.llama.baseURL, ...(operations && { operations }) }),
    },
    use: [logger({ to: log.sink }), router({ retries: 0, ...options }), translator()],
  });
  return { gateway, log };
}
const failure = (answer: Promise<unknown>) =>
  answer.then(
    () => undefined,
    (error: GatewayError) => error,
  );

/** Where a request went, or the code of why it went nowhere. */
async function route(options: RouterOptions, model: string, as?: Identity, stream = false) {
  const { gateway, log } = start(options);
  const body = { model, stream, messages: [{ role: "user", content: "x" }] };
  const error = await failure(
    (async () => {
      const answer = (await gateway.completion(body as never, as && { as })) as unknown;
      if (stream) for await (const _ of answer as AsyncIterable<unknown>);
    })(),
  );
  return error?.code ?? (log.requests()[0]!.target as string);
}

describe("rules", () => {
  const to = "mistral/mistral-small-latest";
  test.each<[string, RouterOptions["rules"], string, Identity | undefined, string]>([
    ["a literal name", [{ match: { model: "fast" }, to }], "fast", undefined, to],
    ["a name that only begins so", [{ match: { model: "fast" }, to }], "faster", undefined, "model_not_found"],
    ["a glob", [{ match: { model: "claude-*" }, to }], "claude-opus-5-5", undefined, to],
    ["a glob in the middle", [{ match: { model: "a*b*c" }, to }], "aXXbYYc", undefined, to],
    [
      "a glob that needs more text than there is",
      [{ match: { model: "ab*ba" }, to }],
      "aba",
      undefined,
      "model_not_found",
    ],
    [
      "characters of regular expressions as they are",
      [{ match: { model: "a.c(+" }, to }],
      "abc(+",
      undefined,
      "model_not_found",
    ],
    ["one of several names", [{ match: { model: ["x", "y-*"] }, to }], "y-1", undefined, to],
    [
      "the first rule that fits",
      [
        { match: { model: "f*" }, to },
        { match: { model: "fast" }, to: "llama/x" },
      ],
      "fast",
      undefined,
      to,
    ],
    ["all fields together", [{ match: { model: "f", user: "u" }, to }], "f", { user: "v" }, "model_not_found"],
    ["a team", [{ match: { team: "web-*" }, to }], "anything", { team: "web-1" }, to],
    ["a key", [{ match: { key: "k1" }, to }], "anything", { key: "k1" }, to],
    ["one of the caller's tags", [{ match: { tag: "eu" }, to }], "anything", { tags: ["x", "eu"] }, to],
    ["nobody in particular, for a rule about users", [{ match: { user: "*" }, to }], "anything", {}, "model_not_found"],
    ["everything, when a rule matches on nothing", [{ match: {}, to }], "anything", undefined, to],
    ["a rule before an explicit provider", [{ match: { model: "openai/*" }, to }], "openai/gpt-4.1", undefined, to],
    ["provider/model without a rule", [], "openai/gpt-4.1", undefined, "openai/gpt-4.1"],
    ["provider/model with slashes in the model", [], "llama/org/model/1", undefined, "llama/org/model/1"],
    [
      "provider/* keeps the name",
      [{ match: { model: "gpt-*" }, to: "openai/*" }],
      "gpt-4.1",
      undefined,
      "openai/gpt-4.1",
    ],
    [
      "[1m] is a client's mark, not part of the name",
      [{ match: { model: "gpt-*" }, to: "openai/*" }],
      "gpt-4.1[1m]",
      undefined,
      "openai/gpt-4.1",
    ],
    ["an unknown provider", [], "nobody/x", undefined, "model_not_found"],
    ["names are case-sensitive", [{ match: { model: "Fast" }, to }], "fast", undefined, "model_not_found"],
  ])("match %s", async (_, rules, model, as, expected) => {
    expect(await route({ rules }, model, as)).toBe(expected);
  });
});

describe("what a provider may not be asked", () => {
  test("goes to the next target, and is refused where there is none", async () => {
    const { gateway, log } = start({ rules: [{ match: { model: "m" }, to: ["llama/x", "openai/gpt-4.1"] }] }, ["chat"]);
    const ask = async (model: string, stream: boolean) => {
      const answer = (await gateway.completion({
        model,
        stream,
        messages: [{ role: "user", content: "x" }],
      } as never)) as unknown;
      if (stream) for await (const _ of answer as AsyncIterable<unknown>);
    };
    await ask("m", false);
    await ask("m", true);
    expect(log.requests().map(({ target }) => target)).toEqual(["llama/x", "openai/gpt-4.1"]);
    expect(log.attempts()[1]).toMatchObject({ outcome: "refused", code: "no_target", target: "llama/x" });
    expect(await failure(ask("llama/x", true))).toMatchObject({ code: "no_target", status: 404 });
    expect(fakes.llama.requests).toHaveLength(1);
  });
});

describe("errors of a whole ladder", () => {
  const ladder: RouterOptions = {
    rules: [{ match: { model: "m" }, to: ["mistral/mistral-small-latest", "openai/gpt-4.1", "llama/x"] }],
  };
  const ask = { model: "m", messages: [{ role: "user", content: "x" }] } as never;

  test("name every target and its reason, with the last one's status", async () => {
    fakes.mistral.always({ status: 401 });
    fakes.openai.always({ status: 500 });
    fakes.llama.always({ status: 503 });
    const { gateway } = start(ladder);
    const error = await failure(gateway.completion(ask));
    expect(error).toMatchObject({ code: "upstream_overloaded", status: 503, retryable: true });
    for (const name of ["mistral/mistral-small-latest", "openai/gpt-4.1", "llama/x"])
      expect(error!.message).toContain(name);
    expect(error!.details!.attempts).toMatchObject([
      { code: "upstream_auth" },
      { code: "upstream_error" },
      { code: "upstream_overloaded" },
    ]);
  });

  test("stop at what is the caller's own fault", async () => {
    fakes.openai.always({ status: 400 });
    const { gateway } = start({ rules: [{ match: { model: "m" }, to: ["openai/gpt-4.1", "llama/x"] }] });
    expect(await failure(gateway.completion(ask))).toMatchObject({ code: "invalid_request", status: 400 });
    expect(fakes.llama.requests).toHaveLength(0);
  });

  test("but go on where our own translation may be the fault", async () => {
    fakes.mistral.always({ status: 422 });
    const { gateway, log } = start(ladder);
    await gateway.completion(ask);
    expect(log.requests()[0]).toMatchObject({ target: "openai/gpt-4.1", attempts: 2 });
  });

  test("each target is fitted from the caller's own request, not from what the one before got", async () => {
    fakes.mistral.always({ status: 503 });
    fakes.openai.always({ status: 503 });
    const { gateway } = start(ladder);
    await gateway.messages({
      model: "m",
      max_tokens: 9,
      temperature: 0.3,
      messages: [
        { role: "user", content: "x" },
        { role: "assistant", content: [{ type: "tool_use", id: "toolu_01", name: "f", input: {} }] },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "toolu_01", content: "r" },
            { type: "text", text: "and?" },
          ],
        },
      ],
      tools: [{ name: "f", input_schema: { type: "object" } }],
    } as never);
    const bodies = [fakes.mistral, fakes.openai, fakes.llama].map(({ requests }) => JSON.stringify(requests[0]!.body));
    expect(bodies[0]).not.toContain("toolu_01");
    expect(bodies[1]).toContain("toolu_01");
    expect(bodies[2]).toContain("toolu_01");
    expect(bodies[0]).toContain('"OK"');
    expect(bodies[1]).not.toContain('"OK"');
  });
});

describe("a retired model", () => {
  const body = { model: "mistral/devstral-2512", messages: [{ role: "user", content: "x" }] };

  test("is answered by its successor, loudly", async () => {
    const { gateway, log } = start({});
    await gateway.completion(body);
    expect(log.attempts()[0]).toMatchObject({
      target: "mistral/mistral-medium-3-5",
      changes: ["model=devstral-2512->mistral-medium-3-5"],
    });
  });

  test("is refused where the configuration says so, and the next target is asked", async () => {
    const { gateway } = start({ retired: "refuse" });
    expect(await failure(gateway.completion(body))).toMatchObject({
      code: "model_not_found",
      message: expect.stringMatching(/retired on 2026-07-31; its successor is mistral-medium-3-5/),
    });
    expect(fakes.mistral.requests).toHaveLength(0);
    expect(
      await route(
        { retired: "refuse", rules: [{ match: { model: "m" }, to: ["mistral/devstral-2512", "llama/x"] }] },
        "m",
      ),
    ).toBe("llama/x");
  });
});
