import { describe, expect, it } from "vitest";
import { folder, hello, turnpike } from "./support.ts";

const config = {
  providers: {
    demo: { type: "simulated", jurisdiction: "EU" },
    far: { type: "simulated", jurisdiction: "US" },
  },
  router: {
    rules: [
      { name: "agents", match: { headers: { "x-claude-code-agent-id": "*" } }, to: "demo/small" },
      { name: "claude", match: { model: "claude-*", team: "web" }, to: ["far/large", "demo/large"] },
    ],
  },
  residency: { jurisdiction: "EU" },
  budget: { store: "memory", limits: [{ name: "daily", requests: 5, per: "day" }] },
};
const explain = (...args: string[]) =>
  turnpike(["explain", ...args], { cwd: folder({ "turnpike.config.json": config, "request.json": hello }) }).ended;

describe("turnpike explain", () => {
  it("tells in words where a request would go, and why not elsewhere", async () => {
    const { code, stdout, stderr } = await explain("--model", "claude-opus-5-5", "--as", "user=ada,team=web");
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^claude-opus-5-5: rules\[1\] \(claude\)\nabout \d+ tokens in, 1000 out\n/);
    expect(stdout).toMatch(/^1\. demo\/large \[EU, local\] {2}about \$0\.000000$/m);
    expect(stdout).toMatch(/^ {5}limit daily: 0 of 5 requests$/m);
    expect(stdout).toMatch(
      /^- far\/large \[US, local\]\n {5}not asked: .*policy "jurisdiction EU" \(no_compliant_target\)$/m,
    );
  });

  it("takes whole requests and headers, and tells it as JSON", async () => {
    const { stdout } = await explain(
      "--request",
      "request.json",
      "--dialect",
      "anthropic-messages",
      "--header",
      "x-claude-code-agent-id=a",
      "--json",
    );
    expect(JSON.parse(stdout)).toMatchObject({
      rule: "rules[0] (agents)",
      outputTokens: 100,
      candidates: [{ target: "demo/small" }],
    });
  });

  it.each([
    [[], /explain needs --model or --request/, 2],
    [["--model", "claude-x", "--as", "group=1"], /--as takes user=, team=, key= and tag=/, 2],
    [["--model", "claude-x"], /model: claude-x/, 1],
  ] as const)("refuses %j in one line", async (args, message, exitCode) => {
    const { code, stderr } = await explain(...args);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(exitCode);
  });
});
