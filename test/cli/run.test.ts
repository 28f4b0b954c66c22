// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to the environment have this form
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { folder, turnpike } from "./support.ts";

/** Runs a piece of JavaScript as the command. */
const run = (script: string, { env = {}, cwd = folder() }: { env?: Record<string, string>; cwd?: string } = {}) =>
  turnpike(["run", "--", process.execPath, "--input-type=module", "-e", script], { env, cwd });

const CALL = `
  const call = (url, headers) => fetch(url, { method: "POST", headers, body: JSON.stringify({
    model: "demo/demo", max_tokens: 50, messages: [{ role: "user", content: "hello" }] }) });
  const { ANTHROPIC_BASE_URL, ANTHROPIC_AUTH_TOKEN, OPENAI_BASE_URL, OPENAI_API_KEY } = process.env;`;

const withKeys = {
  "turnpike.config.json": {
    providers: { demo: { type: "simulated" } },
    auth: { keys: [{ id: "a", hash: "sha256:d4e9e2cf9cf1a5d7f8a4f8a3bd3ff9c6d4a9b6c5b3a2f1e0d9c8b7a6f5e4d3c2" }] },
  },
};

describe("turnpike run", () => {
  it("gives its command both addresses and keys, and answers it", async () => {
    const { code, stdout, stderr } = await run(
      `${CALL}
      const replies = await Promise.all([
        call(ANTHROPIC_BASE_URL + "/v1/messages", { authorization: "Bearer " + ANTHROPIC_AUTH_TOKEN }),
        call(OPENAI_BASE_URL + "/chat/completions", { authorization: "Bearer " + OPENAI_API_KEY })]);
      console.log(replies.map((reply) => reply.status).join(), process.env.ANTHROPIC_API_KEY === undefined);`,
      {
        cwd: folder({ "turnpike.config.json": { providers: { demo: { type: "simulated" } } } }),
        env: { ANTHROPIC_API_KEY: "the-upstreams" },
      },
    ).ended;
    expect(stdout).toBe("200,200 true\n");
    expect(stderr).toBe("");
    expect(code).toBe(0);
  });

  it("keeps its log out of the command's terminal and tells where it is when the command fails", async () => {
    const cwd = folder();
    const { code, stdout, stderr } = await run(
      `${CALL}
      await call(OPENAI_BASE_URL + "/chat/completions"); process.exitCode = 7;`,
      { cwd },
    ).ended;
    expect(code).toBe(7);
    expect(stdout).toBe("");
    const log = join(cwd, "turnpike.log");
    expect(stderr.trim().split("\n").at(-1)).toBe(
      `turnpike: ${process.execPath} ended with 7; the gateway's log is ${log}`,
    );
    expect(readFileSync(log, "utf8")).toContain('"event":"request"');
  });

  it("exits with 128 and the signal's number when its command is killed", async () => {
    expect((await run("process.kill(process.pid, 'SIGKILL')").ended).code).toBe(137);
  });

  it("passes signals on and stops with its command", async () => {
    const cli = run("process.on('SIGTERM', () => process.exit(5)); setInterval(() => {}, 1000); console.log('ready')");
    await expect.poll(() => cli.output(), { timeout: 10_000 }).toContain("ready");
    cli.child.kill("SIGTERM");
    expect((await cli.ended).code).toBe(5);
  });

  it("exits with 127 for a command that does not exist", async () => {
    const { code, stderr } = await turnpike(["run", "--", "no-such-command-here"]).ended;
    expect(code).toBe(127);
    expect(stderr).toContain("turnpike: no-such-command-here: command not found\n");
  });

  it("asks for TURNPIKE_KEY where the configuration only knows hashes", async () => {
    const cwd = folder(withKeys);
    const { code, stderr } = await run("", { cwd }).ended;
    expect(code).toBe(1);
    expect(stderr).toBe("turnpike: turnpike.config.json asks callers for a key: set TURNPIKE_KEY to one of yours\n");
    const wrong = await run("", { cwd, env: { TURNPIKE_KEY: "not-the-right-one" } }).ended;
    expect(wrong.stderr).toBe("turnpike: turnpike.config.json does not know the key in TURNPIKE_KEY\n");
  });

  it("hands TURNPIKE_KEY to the command", async () => {
    const { stdout } = await run(
      `${CALL}
      console.log((await call(OPENAI_BASE_URL + "/chat/completions", { authorization: "Bearer " + OPENAI_API_KEY })).status);`,
      {
        cwd: folder({
          "turnpike.config.json": {
            ...withKeys["turnpike.config.json"],
            auth: { keys: [{ id: "a", key: "${CALLER}" }] },
          },
        }),
        env: { CALLER: "a-callers-key", TURNPIKE_KEY: "a-callers-key" },
      },
    ).ended;
    expect(stdout).toBe("200\n");
  });
});
