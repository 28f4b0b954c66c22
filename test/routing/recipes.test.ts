import { readFileSync } from "node:fs";
import { type Fake, fakeAnthropic, fakeLlama, fakeMistral } from "turnpike/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { gatewayFromConfig } from "../../src/gateway/config.ts";
import { serve } from "../support/gateway.ts";

type Config = Record<string, Record<string, unknown>> & { providers: Record<string, Record<string, unknown>> };

/** The configuration files of docs/routing.md, as they stand there. */
const text = readFileSync(new URL("../../docs/routing.md", import.meta.url), "utf8");
const files = [...text.matchAll(/```json\n([\s\S]*?)```/g)].map(([, json]) => JSON.parse(json!) as Config);
const ENVIRONMENT = { MISTRAL_API_KEY: "key", ANTHROPIC_API_KEY: "key" };

test.each(files.map((file, index) => [index, file] as const))(
  "file %i of the page is a working configuration",
  async (_, file) => {
    const { gateway } = await gatewayFromConfig({ ...file, logger: false }, ENVIRONMENT);
    expect(gateway.models().length).toBeGreaterThan(0);
    await gateway.close();
  },
);

describe("Claude Code within the EU", () => {
  let fakes: { mistral: Fake; anthropic: Fake; llama: Fake };
  beforeAll(async () => {
    fakes = { mistral: await fakeMistral(), anthropic: await fakeAnthropic(), llama: await fakeLlama() };
  });
  afterAll(async () => {
    for (const fake of Object.values(fakes)) await fake.close();
  });
  beforeEach(() => {
    for (const fake of Object.values(fakes)) fake.reset();
  });

  async function start(rule: object = {}, router: object = {}) {
    const page = files.find(({ residency }) => residency)!;
    const providers = Object.fromEntries(
      Object.entries(page.providers).map(([name, options]) => [
        name,
        { ...options, baseURL: fakes[name as keyof typeof fakes].baseURL, timeouts: { firstByteMs: 300 } },
      ]),
    );
    const [own] = (page.router as { rules: object[] }).rules;
    const file = { ...page, providers, logger: false, router: { retries: 0, ...router, rules: [{ ...own, ...rule }] } };
    const { gateway } = await gatewayFromConfig(file, ENVIRONMENT);
    const server = await serve(gateway);
    const post = async (path: string, body: object) => {
      const response = await fetch(`${server.url}/anthropic/v1/${path}?beta=true`, {
        method: "POST",
        headers: {
          authorization: "Bearer x",
          "anthropic-version": "2023-06-01",
          "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
          "x-app": "cli",
          "x-claude-code-session-id": "5f2c",
        },
        body: JSON.stringify(body),
      });
      return { status: response.status, text: await response.text(), headers: response.headers };
    };
    return { post, close: () => server.close().then(() => gateway.close({ drainMs: 0 })) };
  }

  const claude = (more: object = {}) => ({
    model: "claude-opus-5-5",
    max_tokens: 32_000,
    stream: true,
    system: [{ type: "text", text: "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli;" }],
    thinking: { type: "adaptive", display: "omitted" },
    output_config: { effort: "medium" },
    metadata: { user_id: '{"device_id":"d","session_id":"5f2c"}' },
    messages: [
      { role: "user", content: [{ type: "text", text: "secret plans" }] },
      { role: "system", content: "the environment" },
    ],
    ...more,
  });

  test("is answered by an EU company, and told so", async () => {
    const { post, close } = await start();
    const { status, headers } = await post("messages", claude());
    expect(status).toBe(200);
    expect(headers.get("x-turnpike-target")).toBe("mistral/mistral-medium-3-5");
    expect(headers.get("x-turnpike-region")).toBe("EU");
    await close();
    expect(fakes.anthropic.requests).toEqual([]);
  });

  test.each<[string, object, object]>([
    ["fallback", {}, {}],
    ["retries", {}, { retries: 1 }],
    ["hedging", { hedge: { afterMs: 5 } }, {}],
    ["a canary and a shadow", { canary: { to: "anthropic/*", percent: 100 }, shadow: { to: "anthropic/*" } }, {}],
    ["fallbacks of their own", { onRefusal: "anthropic/*", onContextOverflow: "anthropic/*" }, {}],
    [
      "a group with a strategy",
      { to: { strategy: "cheapest", targets: ["anthropic/*", "mistral/mistral-medium-3-5", "llama/x"] } },
      {},
    ],
  ])(
    "nothing reaches a US company under %s, whatever fails",
    async (_, rule, router) => {
      const { post, close } = await start(rule, router);
      const faults = [
        { status: 500 },
        { status: 429 },
        { status: 401 },
        { reset: "before-headers" },
        { cut: true },
        { finishReason: "content_filter", text: "" },
      ] as const;
      for (const fault of faults) {
        fakes.mistral.always(fault);
        fakes.llama.always(fault);
        const { text } = await post("messages", claude());
        expect(text).not.toBe("");
        await post("messages", claude({ stream: false }));
        await post("messages/count_tokens", {
          model: "claude-opus-5-5",
          messages: [{ role: "user", content: "secret plans" }],
        });
      }
      const direct = await post("messages", claude({ model: "anthropic/claude-opus-5-5" }));
      expect([direct.status, direct.headers.get("x-turnpike-error")]).toEqual([403, "no_compliant_target"]);
      await close();
      expect(fakes.mistral.requests.length + fakes.llama.requests.length).toBeGreaterThan(0);
      expect(fakes.anthropic.requests).toEqual([]);
    },
    60_000,
  );
});
