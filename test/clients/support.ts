import {
  type AuthOptions,
  auth,
  type BudgetOptions,
  budget,
  createGateway,
  type Gateway,
  logger,
  type Middleware,
  type RouterOptions,
  router,
  translator,
} from "turnpike";
import { anthropic, gemini, mistral, openai, openaiCompatible } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeAnthropic, fakeGemini, fakeLlama, fakeMistral, fakeOpenAI } from "turnpike/testing";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { logBook, serve, until } from "../support/gateway.ts";

// biome-ignore lint/suspicious/noExplicitAny: the tests read vendors' JSON.
export type Json = any;

export type UpstreamName = keyof typeof MODELS;
export type Upstreams = Record<UpstreamName, Fake>;

/** One model of each upstream that can do everything the tests ask of it; Gemini changed most with its third generation. */
export const MODELS = {
  mistral: "mistral/mistral-medium-3-5",
  llama: "llama/devstral-small",
  openai: "openai/gpt-5.5",
  anthropic: "anthropic/claude-haiku-5-5",
  gemini: "gemini/gemini-flash-latest",
  gemini25: "gemini/gemini-2.5-flash",
} as const;

export const UPSTREAMS = Object.keys(MODELS) as UpstreamName[];

/** The upstream's own name of its model. */
export const ownName = (name: UpstreamName) => MODELS[name].slice(MODELS[name].indexOf("/") + 1);
export const providerOf = (name: UpstreamName) => MODELS[name].slice(0, MODELS[name].indexOf("/"));
export const isGemini = (name: UpstreamName) => providerOf(name) === "gemini";

/** A red pixel. */
export const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** A document of one empty page. */
export const PDF = Buffer.from("%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF").toString(
  "base64",
);

export const KEYS = {
  mistral: "mistral-key-0001",
  llama: "llama-key-000001",
  openai: "openai-key-00001",
  anthropic: "anthropic-key-01",
  gemini: "gemini-key-00001",
};

export async function startUpstreams(): Promise<Upstreams & { reset(): void; closeAll(): Promise<void> }> {
  const gemini = await fakeGemini({ apiKey: KEYS.gemini });
  const fakes: Upstreams = {
    mistral: await fakeMistral({ apiKey: KEYS.mistral }),
    llama: await fakeLlama({ apiKey: KEYS.llama, vision: true }),
    openai: await fakeOpenAI({ apiKey: KEYS.openai }),
    anthropic: await fakeAnthropic({ apiKey: KEYS.anthropic }),
    gemini,
    gemini25: gemini,
  };
  return {
    ...fakes,
    reset: () => UPSTREAMS.forEach((name) => void fakes[name].reset()),
    closeAll: async () => void (await Promise.all(UPSTREAMS.map((name) => fakes[name].close()))),
  };
}

export interface HouseOptions {
  auth?: AuthOptions;
  router?: RouterOptions;
  limits?: BudgetOptions["limits"];
  first?: readonly Middleware[];
}

/** A gateway to all five fakes. Without retries, so that a test sees what one answer of the upstream becomes. */
export function buildGateway(upstreams: Upstreams, options: HouseOptions = {}) {
  const log = logBook();
  const gateway = createGateway({
    providers: {
      mistral: mistral({ apiKey: KEYS.mistral, baseURL: upstreams.mistral.baseURL }),
      llama: openaiCompatible({ apiKey: KEYS.llama, baseURL: upstreams.llama.baseURL, price: "free" }),
      openai: openai({ apiKey: KEYS.openai, baseURL: upstreams.openai.baseURL }),
      anthropic: anthropic({ apiKey: KEYS.anthropic, baseURL: upstreams.anthropic.baseURL }),
      gemini: gemini({ apiKey: KEYS.gemini, baseURL: upstreams.gemini.baseURL }),
    },
    use: [
      logger({ to: log.sink }),
      ...(options.first ?? []),
      ...(options.auth ? [auth(options.auth)] : []),
      router({ retries: 0, ...options.router }),
      budget({ store: memoryStore(), limits: options.limits ?? [WATCHED] }),
      translator(),
    ],
  });
  return { gateway, log };
}

/** A limit nobody reaches: it makes every answer's count visible. */
export const WATCHED = { name: "watched", tokens: 1_000_000_000, per: "lifetime" } as const;

/** … and a gateway on a socket. */
export async function openHouse(upstreams: Upstreams, options: HouseOptions = {}) {
  const { gateway, log } = buildGateway(upstreams, options);
  const server = await serve(gateway);
  return {
    gateway,
    log,
    url: server.url,
    async close() {
      await server.close();
      await gateway.close();
    },
  };
}

export type House = Awaited<ReturnType<typeof openHouse>>;

/** Upstreams and a gateway for all tests of a file; after each of them everything is settled and forgotten. */
export function useHouse(options?: HouseOptions) {
  const others: House[] = [];
  const home = {
    upstreams: {} as Awaited<ReturnType<typeof startUpstreams>>,
    house: {} as House,
    /** A gateway with options of its own, for one test. */
    async another(options: HouseOptions): Promise<House> {
      const opened = await openHouse(home.upstreams, options);
      others.push(opened);
      return opened;
    },
  };
  beforeAll(async () => {
    home.upstreams = await startUpstreams();
    home.house = await openHouse(home.upstreams, options);
  });
  afterEach(async () => {
    for (const each of [home.house, ...others]) await expectSettled(each.gateway);
    for (const opened of others.splice(0)) await opened.close();
    home.upstreams.reset();
  });
  afterAll(async () => {
    await home.house.close();
    await home.upstreams.closeAll();
  });
  return home;
}

/** Everything reserved was settled, and nothing runs any more. */
export async function expectSettled(gateway: Gateway): Promise<void> {
  await until(() => gateway.inFlight === 0, "no exchange is running");
  await until(async () => (await gateway.usage()).every((limit) => limit.held === 0), "nothing is held");
}

/** What a script tells of its tokens … */
export const SCRIPTED = { prompt: 100, cached: 40, completion: 50, reasoning: 20 };

/** … and that the records of the last attempt and the last request say so. */
export async function expectLogged({ gateway, log }: Pick<House, "gateway" | "log">, name: UpstreamName, more = {}) {
  await expectSettled(gateway);
  const record = { outcome: "served", target: MODELS[name], inputTokens: 100, cacheReadTokens: 40, outputTokens: 50 };
  expect(log.attempts().at(-1)).toMatchObject({ ...record, ...more });
  expect(log.requests().at(-1)).toMatchObject({ ...record, ...more, attempts: 1 });
}

/** The body of the last request an upstream saw. */
export function sentTo(fake: Fake): Json {
  return fake.requests.at(-1)?.body;
}

/** How long after `since` (epoch ms) the upstream saw its client leave. */
export async function closedAfter(fake: Fake, since: number): Promise<number> {
  await until(() => fake.requests.at(-1)?.closedEarly === true, "the upstream's connection was closed");
  return (fake.requests.at(-1)?.closedAt ?? Number.POSITIVE_INFINITY) - since;
}

/** The error a promise rejects with. */
export async function errorOf(promise: PromiseLike<unknown>): Promise<Json> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return expect.fail("an error was expected");
}

/** A weather tool, in both dialects. */
const parameters = { type: "object" as const, properties: { city: { type: "string" } }, required: ["city"] };
export const anthropicTool = { name: "get_weather", description: "Weather of a city", input_schema: parameters };
export const openaiTool = {
  type: "function" as const,
  function: { name: "get_weather", description: "Weather of a city", parameters },
};
