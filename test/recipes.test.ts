import { budget, createGateway, type Identity, logger, type Middleware, router, translator } from "turnpike";
import { mistral, openaiCompatible } from "turnpike/providers";
import { memoryStore } from "turnpike/stores/memory";
import { type Fake, fakeLlama, fakeMistral } from "turnpike/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { BudgetOptions } from "../src/middleware/budget/index.ts";
import type { RouterOptions } from "../src/middleware/router/index.ts";
import { logBook, serve } from "./support/gateway.ts";

/** The recipes of docs/budgets.md, as they stand there. */
describe("budget recipes", () => {
  let upstream: { mistral: Fake; llama: Fake };
  let clock: number;
  beforeEach(async () => {
    clock = Date.parse("2026-11-10T12:00:00Z");
    upstream = { mistral: await fakeMistral({ apiKey: "key" }), llama: await fakeLlama() };
  });
  afterEach(async () => {
    await upstream.mistral.close();
    await upstream.llama.close();
  });

  async function start(routes: RouterOptions, limits: BudgetOptions["limits"]) {
    const log = logBook();
    const keys: Record<string, Identity> = {
      ada: { user: "ada" },
      intern: { user: "tim", team: "interns" },
      bob: { user: "bob" },
    };
    const whoIs: Middleware = async (exchange, next) => {
      exchange.identity = keys[exchange.headers["x-api-key"] ?? ""] ?? {};
      return next(exchange);
    };
    const gateway = createGateway({
      now: () => clock,
      providers: {
        mistral: mistral({ apiKey: "key", baseURL: upstream.mistral.baseURL }),
        llama: openaiCompatible({ baseURL: upstream.llama.baseURL, price: "free" }),
      },
      use: [
        logger({ to: log.sink }),
        whoIs,
        router(routes),
        budget({ store: memoryStore({ now: () => clock }), limits }),
        translator(),
      ],
    });
    const server = await serve(gateway);
    const ask = async (model: string, key = "bob") => {
      const response = await fetch(`${server.url}/anthropic/v1/messages`, {
        method: "POST",
        headers: { "x-api-key": key, "anthropic-version": "2023-06-01" },
        body: JSON.stringify({ model, max_tokens: 500, messages: [{ role: "user", content: "hello" }] }),
      });
      await response.text();
      return {
        status: response.status,
        target: response.headers.get("x-turnpike-target"),
        redirected: response.headers.get("x-turnpike-redirected"),
      };
    };
    return { gateway, log, ask, close: () => server.close().then(() => gateway.close()) };
  }

  test("a daily cap on one provider, then a local model", async () => {
    const { ask, log, close } = await start(
      { rules: [{ match: { model: "claude-*" }, to: ["mistral/mistral-medium-3-5", "llama/devstral-small"] }] },
      [
        {
          name: "mistral-daily",
          match: { provider: "mistral" },
          tokens: 100_000,
          per: "day",
          timeZone: "Europe/Paris",
        },
      ],
    );
    upstream.mistral.next({ text: "much", usage: { prompt: 99_990, completion: 5 } });
    expect(await ask("claude-opus-5-5")).toEqual({
      status: 200,
      target: "mistral/mistral-medium-3-5",
      redirected: null,
    });
    expect(await ask("claude-opus-5-5")).toEqual({
      status: 200,
      target: "llama/devstral-small",
      redirected: "budget:mistral-daily",
    });
    expect(log.attempts().map(({ target, outcome }) => [target, outcome])).toEqual([
      ["mistral/mistral-medium-3-5", "served"],
      ["mistral/mistral-medium-3-5", "refused"],
      ["llama/devstral-small", "served"],
    ]);
    await close();
  });

  test("expensive models redirected, for some teams or users only", async () => {
    const { ask, close } = await start(
      {
        rules: [
          { match: { model: "claude-opus-*", team: "interns" }, to: "mistral/mistral-small-latest" },
          { match: { model: "claude-opus-*", user: ["ada", "grace"] }, to: "mistral/mistral-large-4" },
          { match: { model: "claude-*" }, to: "mistral/mistral-medium-3-5" },
        ],
      },
      [],
    );
    expect((await ask("claude-opus-5-5", "intern")).target).toBe("mistral/mistral-small-latest");
    expect((await ask("claude-opus-5-5", "ada")).target).toBe("mistral/mistral-large-4");
    expect((await ask("claude-opus-5-5", "bob")).target).toBe("mistral/mistral-medium-3-5");
    expect((await ask("claude-haiku-5-5", "ada")).target).toBe("mistral/mistral-medium-3-5");
    await close();
  });

  test("a cheaper model when over budget, announced to the caller, and the better one again tomorrow", async () => {
    const { ask, close } = await start(
      { rules: [{ match: { model: "*" }, to: ["mistral/mistral-large-2512", "mistral/mistral-small-latest"] }] },
      [{ name: "large-monthly", by: "user", match: { model: "*-large-*" }, usd: 20, per: "month", pace: "day" }],
    );
    upstream.mistral.next({ text: "much", usage: { prompt: 14_000_000, completion: 5 } });
    expect((await ask("best", "bob")).target).toBe("mistral/mistral-large-2512");
    expect(await ask("best", "bob")).toEqual({
      status: 200,
      target: "mistral/mistral-small-latest",
      redirected: "budget:large-monthly",
    });
    expect((await ask("best", "ada")).target).toBe("mistral/mistral-large-2512");
    // $7 were spent; on the eleventh $7.33 of the $20 are released.
    clock += 24 * 3_600_000;
    expect((await ask("best", "bob")).target).toBe("mistral/mistral-large-2512");
    await close();
  });

  test("a self-hosted, free model when over budget: a money limit never stops it", async () => {
    const { ask, close } = await start(
      { rules: [{ match: { model: "*" }, to: ["mistral/mistral-medium-3-5", "llama/devstral-small"] }] },
      [{ name: "user-daily", by: "user", usd: 5, per: "day" }],
    );
    upstream.mistral.next({ text: "much", usage: { prompt: 20_000_000, completion: 5 } });
    expect((await ask("best", "bob")).target).toBe("mistral/mistral-medium-3-5");
    expect(await ask("best", "bob")).toEqual({
      status: 200,
      target: "llama/devstral-small",
      redirected: "budget:user-daily",
    });
    expect((await ask("best", "ada")).target).toBe("mistral/mistral-medium-3-5");
    await close();
  });
});
