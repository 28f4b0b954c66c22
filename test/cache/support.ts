import { auth, budget, createGateway, logger, type Middleware, router, translator } from "turnpike";
import { anthropic, mistral, openai } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeAnthropic, fakeMistral, fakeOpenAI } from "turnpike/testing";
import type { BudgetOptions } from "../../src/middleware/budget/index.ts";
import { type CacheMiddleware, type CacheOptions, cache } from "../../src/middleware/cache/index.ts";
import type { RouterOptions } from "../../src/middleware/router/index.ts";
import { logBook, serve } from "../support/gateway.ts";

export const CHAT = "openai/gpt-4o";
export const CLAUDE = "anthropic/claude-haiku-4-5";
export const MISTRAL = "mistral/mistral-medium-3-5";
export const EMBED = "openai/text-embedding-3-small";

// biome-ignore lint/suspicious/noExplicitAny: the tests read vendors' JSON.
export type Json = any;

export interface Upstreams {
  openai: Fake;
  anthropic: Fake;
  mistral: Fake;
  reset(): void;
  close(): Promise<void>;
}

export async function startUpstreams(): Promise<Upstreams> {
  const fakes = { openai: await fakeOpenAI(), anthropic: await fakeAnthropic(), mistral: await fakeMistral() };
  const each = Object.values(fakes);
  return {
    ...fakes,
    reset: () => each.forEach((fake) => void fake.reset()),
    close: async () => void (await Promise.all(each.map((fake) => fake.close()))),
  };
}

export interface HouseOptions {
  cache?: CacheOptions;
  keys?: { id: string; key: string; user?: string; team?: string; tags?: string[] }[];
  limits?: BudgetOptions["limits"];
  rules?: RouterOptions["rules"];
  now?: () => number;
  timeoutMs?: number;
  /** Between the cache and the router. */
  below?: Middleware[];
  /** In place of `cache()`. */
  cached?: CacheMiddleware;
}

/** A gateway with a cache between auth and router, in process and on a socket. */
export async function openHouse(upstreams: Upstreams, options: HouseOptions = {}) {
  const log = logBook();
  const cached = options.cached ?? cache(options.cache);
  const gateway = createGateway({
    ...(options.now && { now: options.now }),
    ...(options.timeoutMs && { timeoutMs: options.timeoutMs }),
    providers: {
      openai: openai({ apiKey: "openai-key-00001", baseURL: upstreams.openai.baseURL }),
      anthropic: anthropic({ apiKey: "anthropic-key-01", baseURL: upstreams.anthropic.baseURL }),
      mistral: mistral({ apiKey: "mistral-key-0001", baseURL: upstreams.mistral.baseURL }),
    },
    use: [
      logger({ to: log.sink }),
      ...(options.keys ? [auth({ keys: options.keys })] : []),
      cached,
      ...(options.below ?? []),
      router({ retries: 0, rules: options.rules ?? [] }),
      budget({ store: memoryStore(), limits: options.limits ?? [{ name: "watched", tokens: 1e12, per: "lifetime" }] }),
      translator(),
    ],
  });
  const server = await serve(gateway);
  return {
    gateway,
    log,
    url: server.url,
    stats: cached.stats,
    async close() {
      await server.close();
      await gateway.close({ drainMs: 1_000 });
    },
  };
}

export type House = Awaited<ReturnType<typeof openHouse>>;

/** A Chat request whose answer may be kept. */
export function ask(content: string, more: Record<string, unknown> = {}): Json {
  return { model: CHAT, temperature: 0, max_tokens: 400, messages: [{ role: "user", content }], ...more };
}

export function post(
  { url }: { url: string },
  body: unknown,
  headers: Record<string, string> = {},
  path = "/v1/chat/completions",
): Promise<Response> {
  return fetch(`${url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

/** Posts and reads: how the cache took part, the status, and the answer's text, whole or streamed. */
export async function said(
  house: { url: string },
  body: unknown,
  headers: Record<string, string> = {},
  path?: string,
): Promise<{ how: string | null; status: number; text: string; headers: Headers }> {
  const response = await post(house, body, headers, path);
  return {
    how: response.headers.get("x-turnpike-cache"),
    status: response.status,
    text: textOf(await response.text(), response.headers.get("content-type") ?? ""),
    headers: response.headers,
  };
}

/** The words of an answer of either dialect, or of its error. */
export function textOf(raw: string, type: string): string {
  if (!type.includes("event-stream")) return wordsOf(JSON.parse(raw));
  return raw
    .split("\n")
    .filter((line) => line.startsWith("data: {"))
    .map((line) => wordsOf(JSON.parse(line.slice(6))))
    .join("");
}

function wordsOf(json: Json): string {
  if (json.error) return `error: ${json.error.message}`;
  if (json.choices) return json.choices.map((choice: Json) => (choice.message ?? choice.delta)?.content ?? "").join("");
  if (Array.isArray(json.content)) return json.content.map((block: Json) => block.text ?? "").join("");
  return json.delta?.text ?? "";
}
