import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { folder, hello, post, turnpike } from "./support.ts";

const simulated = { providers: { demo: { type: "simulated" } }, server: { port: 0 } };

describe("turnpike without a configuration", () => {
  it("starts with the simulated provider, says so, and answers in both dialects", async () => {
    const cli = turnpike(["--port", "0"]);
    const url = await cli.url();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);

    const chat = await post(`${url}/v1/chat/completions`, hello);
    expect(chat.status).toBe(200);
    expect(chat.json.choices).toMatchObject([{ message: { content: expect.stringContaining("[simulated]") } }]);

    const message = await post(`${url}/anthropic/v1/messages`, hello, { authorization: "Bearer anything" });
    expect(message.status).toBe(200);
    expect(message.json).toMatchObject({ type: "message", model: "claude-sonnet-4-5" });

    expect(cli.output()).toContain("every answer is SIMULATED");
    expect(cli.output()).toContain(`ANTHROPIC_BASE_URL=${url.replace("127.0.0.1", "localhost")}/anthropic`);
  });

  it("keeps no budget file where no limit is in force", async () => {
    const cwd = folder();
    const cli = turnpike(["--port", "0"], { cwd });
    const url = await cli.url();
    await post(`${url}/v1/chat/completions`, hello);
    expect(cli.output()).toContain("No limit is in force");
    expect(existsSync(join(cwd, "turnpike.db"))).toBe(false);
  });

  it("uses the llama-server that answers, with the model it has loaded", async () => {
    const llama = createServer((request, response) => {
      response.setHeader("content-type", "application/json");
      if (request.url === "/v1/models") return response.end(JSON.stringify({ data: [{ id: "devstral-small" }] }));
      response.end(
        JSON.stringify({
          id: "1",
          object: "chat.completion",
          model: "devstral-small",
          choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "from llama" } }],
          usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
        }),
      );
    });
    await new Promise<void>((resolve) => llama.listen(0, "127.0.0.1", resolve));
    const address = `http://127.0.0.1:${(llama.address() as AddressInfo).port}`;
    try {
      const cli = turnpike(["--port", "0"], { env: { TURNPIKE_LLAMA_URL: `${address}/v1/` } });
      const answer = await post(`${await cli.url()}/anthropic/v1/messages`, hello);
      expect(answer.json.content).toMatchObject([{ type: "text", text: "from llama" }]);
      expect(cli.output()).toMatch(/claude-\* +llama\/devstral-small/);
    } finally {
      llama.close();
      llama.closeAllConnections();
    }
  });

  it("makes routes and limits for the keys it finds, and never prints a key", async () => {
    const cwd = folder();
    const secret = "mistral-secret-value-4711";
    const cli = turnpike(["--port", "0"], {
      cwd,
      env: {
        MISTRAL_API_KEY: secret,
        OPENAI_API_KEY: `${secret}-b`,
        TURNPIKE_DAILY_TOKENS: "50_000",
        TURNPIKE_DB: "b.db",
        TZ: "Europe/Paris",
      },
    });
    await cli.url();
    cli.child.kill("SIGTERM");
    const { stdout, stderr } = await cli.ended;
    expect(stdout).toMatch(/claude-\* +mistral\/mistral-medium-3-5\n/);
    expect(stdout).toMatch(/gpt-\*.* +openai\/\*\n/);
    expect(stdout).toContain("Limit mistral-daily: 50,000 tokens per day (Europe/Paris) for provider mistral");
    expect(stdout).toContain("Limit openai-daily");
    expect(stdout).toContain(join(cwd, "b.db"));
    expect(existsSync(join(cwd, "b.db"))).toBe(true);
    expect(stdout + stderr).not.toContain(secret);
    // Nothing but the log, and nothing to log: no warning about SQLite being experimental.
    expect(stderr).toBe("");
  });

  it("refuses a limit that is no number", async () => {
    const { code, stderr } = await turnpike([], { env: { TURNPIKE_DAILY_TOKENS: "lots" } }).ended;
    expect(code).toBe(1);
    expect(stderr).toBe('turnpike: TURNPIKE_DAILY_TOKENS must be a whole number of tokens or "none", not "lots"\n');
  });
});

describe("turnpike with a configuration", () => {
  it("finds turnpike.config.json in the folder it is started in", async () => {
    const cwd = folder({
      "turnpike.config.json": { ...simulated, router: { rules: [{ match: { model: "*" }, to: "demo/demo" }] } },
    });
    const cli = turnpike([], { cwd });
    expect((await post(`${await cli.url()}/v1/chat/completions`, hello)).status).toBe(200);
    expect(cli.output()).toContain("(turnpike.config.json)");
  });

  it("imports a TypeScript file that default-exports the options of createGateway()", async () => {
    const source = (path: string) => JSON.stringify(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)));
    const cwd = folder({
      "turnpike.config.ts": `
        import { type GatewayOptions, router, translator } from ${source("index.ts")};
        import { simulated } from ${source("providers/index.ts")};
        export default {
          server: { port: 0 },
          providers: { own: simulated() },
          use: [router({ rules: [{ match: { model: "claude-*" }, to: "own/demo" }] }), translator()],
        } satisfies GatewayOptions & { server: object };`,
    });
    const cli = turnpike([], { cwd });
    expect((await post(`${await cli.url()}/v1/chat/completions`, hello)).status).toBe(200);
    const { code, stdout } = await turnpike(["check"], { cwd }).ended;
    expect(code).toBe(0);
    expect(stdout).toContain("router → translator");
  });

  it.skipIf(!existsSync(new URL("../../dist/index.js", import.meta.url)))(
    'gives a file that imports "turnpike" this package where no other is installed (needs a build)',
    async () => {
      const cwd = folder({
        "turnpike.config.mjs": `
          import { router, translator } from "turnpike";
          import { simulated } from "turnpike/providers";
          export default { server: { port: 0 }, providers: { own: simulated() }, use: [router(), translator()] };`,
      });
      const { code, stdout, stderr } = await turnpike(["check"], { cwd }).ended;
      expect(stderr).toBe("");
      expect(code).toBe(0);
      expect(stdout).toContain("own (simulated)");
    },
  );

  it("refuses to listen where others reach it without auth, unless told --insecure", async () => {
    const cwd = folder({
      "open.json": simulated,
      "keys.json": { ...simulated, auth: { keys: [{ id: "a", key: "callers-key-1" }] } },
    });
    const refused = await turnpike(["--config", "open.json", "--host", "0.0.0.0"], { cwd }).ended;
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/^turnpike: not listening on 0\.0\.0\.0 without `auth`.*\n$/);

    await turnpike(["--config", "open.json", "--host", "0.0.0.0", "--insecure"], { cwd }).url();

    const cli = turnpike(["--config", "keys.json", "--host", "0.0.0.0"], { cwd });
    const url = (await cli.url()).replace("0.0.0.0", "127.0.0.1");
    expect((await post(`${url}/v1/chat/completions`, { ...hello, model: "demo/demo" })).status).toBe(401);
    const known = await post(
      `${url}/v1/chat/completions`,
      { ...hello, model: "demo/demo" },
      { authorization: "Bearer callers-key-1" },
    );
    expect(known.status).toBe(200);
    expect(cli.output()).not.toContain("callers-key-1");
  });
});

describe("starting and stopping", () => {
  it("says in one line that the port is taken", async () => {
    const first = turnpike(["--port", "0"]);
    const { port } = new URL(await first.url());
    const { code, stderr } = await turnpike(["--port", port]).ended;
    expect(code).toBe(1);
    expect(stderr).toBe(`turnpike: port ${port} on 127.0.0.1 is already in use; choose another with --port\n`);
  });

  it.each(["SIGTERM", "SIGINT"] as const)("lets a running answer end on %s, then exits with 0", async (signal) => {
    const cli = turnpike(["--port", "0"]);
    const response = await fetch(`${await cli.url()}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ ...hello, stream: true }),
    });
    cli.child.kill(signal);
    expect(await response.text()).toContain("data: [DONE]");
    expect((await cli.ended).code).toBe(0);
  });

  it("takes a repeated signal for one, as npm repeats what the terminal sends", async () => {
    const cli = turnpike(["--port", "0"]);
    const response = await fetch(`${await cli.url()}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ ...hello, stream: true }),
    });
    cli.child.kill("SIGINT");
    cli.child.kill("SIGTERM");
    expect(await response.text()).toContain("data: [DONE]");
    expect((await cli.ended).code).toBe(0);
  });
});

describe("arguments", () => {
  it.each([
    [["--prot", "1"], "turnpike: unknown option '--prot' (turnpike --help tells more)\n"],
    [["serv"], 'turnpike: unknown command "serv" (turnpike --help tells more)\n'],
    [
      ["--port", "http"],
      'turnpike: --port must be a number from 0 to 65535, not "http" (turnpike --help tells more)\n',
    ],
    [
      ["--workers", "some"],
      'turnpike: --workers must be a number from 1 or "auto", not "some" (turnpike --help tells more)\n',
    ],
    [["check", "--port", "1"], 'turnpike: "check" takes no option --port (turnpike --help tells more)\n'],
    [["run"], "turnpike: run needs a command, for example: turnpike run -- claude (turnpike --help tells more)\n"],
  ])("refuses %j in one line, exit code 2", async (args, expected) => {
    const { code, stderr } = await turnpike(args).ended;
    expect(stderr).toBe(expected);
    expect(code).toBe(2);
  });

  it("tells its version and how it is used", async () => {
    expect((await turnpike(["--version"]).ended).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await turnpike(["--help"]).ended).stdout).toContain("turnpike run -- claude");
  });
});
