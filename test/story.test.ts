import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { budget, createGateway, logger, router, translator } from "turnpike";
import { mistral, openaiCompatible } from "turnpike/providers";
import { sqliteStore } from "turnpike/stores/sqlite";
import { type Fake, fakeLlama, fakeMistral } from "turnpike/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { logBook, serve } from "./support/gateway.ts";

/**
 * The story that must always work: Claude Code through Turnpike to Mistral, capped per day, then to llama-server.
 * Real sockets, a real SQLite file, and a Mistral that is as strict as the real one.
 */
describe("Claude Code → Turnpike → Mistral, capped per day, then llama-server", () => {
  let folder: string;
  let upstream: { mistral: Fake; llama: Fake };
  let clock: number;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "turnpike-story-"));
    clock = Date.parse("2026-11-22T12:00:00Z");
    upstream = { mistral: await fakeMistral({ apiKey: "mistral-key" }), llama: await fakeLlama() };
  });
  afterEach(async () => {
    await upstream.mistral.close();
    await upstream.llama.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function start(tokens = 100_000) {
    const log = logBook();
    const gateway = createGateway({
      now: () => clock,
      providers: {
        mistral: mistral({ apiKey: "mistral-key", baseURL: upstream.mistral.baseURL }),
        llama: openaiCompatible({ baseURL: upstream.llama.baseURL, price: "free" }),
      },
      use: [
        logger({ to: log.sink }),
        router({
          rules: [{ match: { model: "claude-*" }, to: ["mistral/mistral-medium-3-5", "llama/devstral-small"] }],
        }),
        budget({
          store: sqliteStore({ path: join(folder, "turnpike.db"), now: () => clock }),
          limits: [
            { name: "mistral-daily", match: { provider: "mistral" }, tokens, per: "day", timeZone: "Europe/Paris" },
          ],
        }),
        translator(),
      ],
    });
    return { gateway, log };
  }

  /** What Claude Code 2.1.330 sends for a prompt: adaptive thinking, an effort, a system message at the end. */
  const claudeCodeBody = (prompt: string, effort = "medium") => ({
    model: "claude-opus-5-5",
    max_tokens: 128_000,
    stream: true,
    system: [
      { type: "text", text: "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=sdk-cli;" },
      { type: "text", text: "You are Claude Code.", cache_control: { type: "ephemeral" } },
    ],
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "<system-reminder>be kind</system-reminder>" },
          { type: "text", text: prompt },
        ],
      },
      {
        role: "system",
        content: [{ type: "text", text: "Working directory: /tmp/somewhere" }],
        output_config: { effort },
      },
    ],
    tools: [
      {
        name: "Read",
        description: "Reads a file",
        input_schema: { type: "object", properties: { path: { type: "string" } }, required: ["path"] },
      },
    ],
    metadata: { user_id: JSON.stringify({ device_id: "d", account_uuid: "", session_id: "s-1" }) },
    thinking: { type: "adaptive", display: "omitted" },
    context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
    output_config: { effort },
  });

  const ask = (url: string, body: object) =>
    fetch(`${url}/anthropic/v1/messages?beta=true`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: "Bearer anything",
        "anthropic-version": "2023-06-01",
      },
      body: JSON.stringify(body),
    });

  test.each(["low", "medium", "high", "xhigh", "max"])(
    "effort %s is fitted to what Mistral accepts, and thinking stays on",
    async (effort) => {
      const { gateway } = start();
      const server = await serve(gateway);
      upstream.mistral.next({ thinking: "Let me see.", text: "Hello." });
      const response = await ask(server.url, claudeCodeBody("hello", effort));
      const stream = await response.text();
      expect(response.status, stream).toBe(200);
      const [sent] = upstream.mistral.requests as unknown as {
        body: { reasoning_effort: string; messages: { role: string; content: unknown }[] };
      }[];
      expect(sent!.body.reasoning_effort).toBe("high");
      expect(response.headers.get("x-turnpike-changes")?.includes(`reasoning.effort=${effort}->high`)).toBe(
        effort !== "high",
      );
      expect(stream).toContain('"type":"thinking"');
      expect(stream).toContain('"signature_delta"');
      expect(stream).toContain('"stop_reason":"end_turn"');
      // Every word of the environment message arrives; the billing line does not.
      expect(JSON.stringify(sent!.body.messages)).toContain("Working directory: /tmp/somewhere");
      expect(JSON.stringify(sent!.body.messages)).not.toContain("billing-header");
      await server.close();
      await gateway.close();
    },
  );

  test("a tool loop with parallel calls, foreign ids and an image in a result is accepted by Mistral", async () => {
    const { gateway } = start();
    const server = await serve(gateway);
    upstream.mistral.next({ text: "Both read." });
    const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    const body = claudeCodeBody("read two files");
    const response = await ask(server.url, {
      ...body,
      messages: [
        ...body.messages,
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "", signature: "tp1.bm90IGpzb24" },
            { type: "text", text: "Reading." },
            { type: "tool_use", id: "toolu_01A", name: "Read", input: { path: "a" } },
            { type: "tool_use", id: "toolu_01B", name: "Read", input: { path: "b" } },
          ],
        },
        {
          role: "user",
          content: [
            {
              type: "tool_result",
              tool_use_id: "toolu_01B",
              content: [{ type: "image", source: { type: "base64", media_type: "image/png", data: png } }],
            },
            { type: "tool_result", tool_use_id: "toolu_01A", content: "no such file", is_error: true },
            { type: "text", text: "<system-reminder>go on</system-reminder>" },
          ],
        },
      ],
    });
    const text = await response.text();
    expect(response.status, text).toBe(200);
    const sent = JSON.stringify(upstream.mistral.requests.at(-1)!.body);
    expect(sent).toContain(`data:image/png;base64,${png}`);
    expect(sent).toContain("Error: no such file");
    expect(sent).not.toContain("toolu_01");
    await server.close();
    await gateway.close();
  });

  test("at the cap 50 concurrent requests all get an answer and Mistral sees none beyond it; restart and midnight are honoured", async () => {
    const cap = 100_000;
    let { gateway, log } = start(cap);
    let server = await serve(gateway);
    upstream.mistral.always((request) => ({
      text: "word ".repeat(20),
      usage: { prompt: Math.ceil(request.raw.length / 4), completion: 2_000 },
      chunkDelayMs: 1,
    }));
    const body = { ...claudeCodeBody("a long answer please"), max_tokens: 2_000 };
    const spent = () =>
      log
        .attempts()
        .filter((a) => a.provider === "mistral" && a.outcome === "served")
        .reduce((sum, a) => sum + Number(a.inputTokens) + Number(a.outputTokens), 0);

    const answers = [];
    for (let round = 0; round < 2; round++) {
      answers.push(
        ...(await Promise.all(
          Array.from({ length: 50 }, () =>
            ask(server.url, body).then(async (r) => ({
              status: r.status,
              text: await r.text(),
              target: r.headers.get("x-turnpike-target"),
            })),
          ),
        )),
      );
    }
    expect(new Set(answers.map((a) => a.status))).toEqual(new Set([200]));
    expect(answers.every((a) => a.text.includes("message_stop"))).toBe(true);
    const byMistral = answers.filter((a) => a.target?.startsWith("mistral/")).length;
    expect(upstream.mistral.requests.length).toBe(byMistral);
    expect(upstream.llama.requests.length).toBe(100 - byMistral);
    expect(spent()).toBeLessThanOrEqual(cap);
    expect(spent()).toBeGreaterThan(cap * 0.9);

    // One redirected request: the refused and the served attempt, with the reason.
    const redirected = log.requests().find((r) => r.target === "llama/devstral-small")!;
    const attempts = log.attempts().filter((a) => a.requestId === redirected.requestId);
    expect(attempts.map((a) => [a.target, a.outcome, a.code])).toEqual([
      ["mistral/mistral-medium-3-5", "refused", "budget_exceeded"],
      ["llama/devstral-small", "served", undefined],
    ]);
    expect(attempts[0]!.reason).toContain("mistral-daily");
    const [limit] = await gateway.usage();
    expect(limit).toMatchObject({ limit: "mistral-daily", held: 0, used: spent() });

    // A restart does not forget.
    await server.close();
    await gateway.close();
    const before = upstream.mistral.requests.length;
    ({ gateway, log } = start(cap));
    server = await serve(gateway);
    const afterRestart = await ask(server.url, body);
    expect(afterRestart.headers.get("x-turnpike-target")).toBe("llama/devstral-small");
    expect(afterRestart.headers.get("x-turnpike-redirected")).toBe("budget:mistral-daily");
    await afterRestart.text();
    expect(upstream.mistral.requests.length).toBe(before);

    // One second before midnight in Paris it is still yesterday; at midnight Mistral answers again.
    clock = Date.parse("2026-11-22T22:59:59Z");
    expect((await ask(server.url, body)).headers.get("x-turnpike-target")).toBe("llama/devstral-small");
    clock = Date.parse("2026-11-22T23:00:00Z");
    const nextDay = await ask(server.url, body);
    expect(nextDay.headers.get("x-turnpike-target")).toBe("mistral/mistral-medium-3-5");
    await nextDay.text();
    await server.close();
    await gateway.close();
  });

  test("the retired devstral-2512 is answered by its successor, loudly", async () => {
    const { gateway } = start();
    const server = await serve(gateway);
    const response = await ask(server.url, { ...claudeCodeBody("hello"), model: "mistral/devstral-2512" });
    expect(response.status).toBe(200);
    expect(response.headers.get("x-turnpike-changes")).toContain("model=devstral-2512->mistral-medium-3-5");
    await response.text();
    await server.close();
    await gateway.close();
  });
});
