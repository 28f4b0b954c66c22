import { createServer } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { relative, usageLines } from "../../src/cli/usage.ts";
import { listen, shut } from "../support/gateway.ts";
import { folder, hello, post, turnpike } from "./support.ts";

const NOW = Date.parse("2026-11-22T18:40:00Z");
const daily = {
  limit: "mistral-daily",
  unit: "tokens",
  amount: 100_000,
  used: 62_000,
  held: 8_000,
  remaining: 30_000,
  resetsAt: "2026-11-22T23:00:00.000Z",
  byModel: { "mistral/devstral-small": 2_000, "mistral/mistral-medium-3-5": 60_000 },
} as const;

describe("turnpike usage", () => {
  it("shows bars, figures, when there is more, and which model used what, in plain ASCII", () => {
    const text = usageLines(
      { identity: { key: "k1", user: "alice", team: "web", tags: ["ci", "eu"] }, limits: [daily] },
      { now: NOW, fancy: false, timeZone: "Europe/Paris" },
    ).join("\n");
    expect(text).toBe(
      [
        "You are key k1, user alice, team web, tags ci, eu.",
        "",
        "mistral-daily",
        "  [#########################===............] 70 %",
        "  62,000 of 100,000 tokens used, 8,000 held by running requests, 30,000 left",
        "  more at Mon 23 Nov, 00:00 CET (in 4 h 20 min)",
        "    mistral/mistral-medium-3-5        60,000   97 %",
        "    mistral/devstral-small             2,000  3.2 %",
      ].join("\n"),
    );
  });

  it("colours only for a terminal, by how much is left", () => {
    const lines = (used: number) =>
      usageLines(
        { identity: {}, limits: [{ ...daily, used, held: 0 }] },
        { now: NOW, fancy: true, timeZone: "UTC" },
      ).join("\n");
    expect(lines(20_000)).toContain("\u001b[32m█");
    expect(lines(85_000)).toContain("\u001b[33m█");
    expect(lines(100_000)).toContain("\u001b[31m█");
    expect(lines(0)).toContain(`[${"░".repeat(40)}] 0 %`);
  });

  it("knows money, prepaid limits and running requests, and never draws past its frame", () => {
    const text = usageLines(
      {
        identity: {},
        limits: [
          { limit: "money", unit: "usd", amount: 5, used: 6.5, held: 0.0042, remaining: 0, resetsAt: null },
          { limit: "parallel", unit: "concurrent", amount: 4, used: 0, held: 1, remaining: 3, resetsAt: null },
          { limit: "none", unit: "requests", amount: 0, used: 0, held: 0, remaining: 0, resetsAt: "nonsense" },
        ],
      },
      { now: NOW, fancy: false },
    );
    expect(text).toContain(`  [${"#".repeat(40)}] 130 %`);
    expect(text).toContain("  $6.50 of $5.00 used, $0.0042 held by running requests, $0.00 left");
    expect(text).toContain("  prepaid: no time brings more");
    expect(text).toContain(`  [==========${".".repeat(30)}] 25 %`);
    expect(text).toContain("  1 of 4 running");
    expect(text).toContain(`  [${"#".repeat(40)}] 100 %`);
  });

  it("lets no name steer the terminal", () => {
    const text = usageLines(
      { identity: { user: "a\u001b[2Jb" }, limits: [{ ...daily, limit: "x\u0007y", byModel: { "m\rz": 1 } }] },
      { now: NOW, fancy: false },
    ).join("\n");
    expect(text).toContain("user a?[2Jb");
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });

  it.each([
    [-5, "now"],
    [1_500, "in 2 s"],
    [59_999, "in 1 min"],
    [3_600_000, "in 1 h"],
    [3_660_000, "in 1 h 1 min"],
    [86_400_000 * 9 + 3_600_000 * 2 + 60_000, "in 9 d 2 h"],
  ])("says %i ms as %s", (ms, text) => {
    expect(relative(ms)).toBe(text);
  });

  it("asks a running gateway with the key from the environment", async () => {
    const cwd = folder({
      "turnpike.config.json": {
        server: { port: 0 },
        providers: { demo: { type: "simulated" } },
        auth: { keys: [{ id: "web-1", key: "callers-key-1", user: "alice" }] },
        router: { rules: [{ match: { model: "*" }, to: "demo/demo" }] },
        budget: { store: "memory", limits: [{ name: "daily", by: "user", tokens: 1_000, per: "day" }] },
      },
    });
    const url = await turnpike([], { cwd }).url();
    await post(`${url}/v1/messages`, hello, { authorization: "Bearer callers-key-1" });
    const shown = await turnpike(["usage", "--url", `${url}/v1`], { env: { TURNPIKE_KEY: "callers-key-1" } }).ended;
    expect([shown.code, shown.stderr]).toEqual([0, ""]);
    expect(shown.stdout).toMatch(
      /^You are key web-1, user alice\.\n\ndaily\n {2}\[#+\.+\] \d+(\.\d)? %\n {2}\d+ of 1,000 tokens used, \d+ left\n/,
    );
    expect(shown.stdout).toMatch(/more at \w{3} \d+ \w+, \d\d:\d\d \S+ \(in .*\)\n {4}demo\/demo +\d+ +100 %\n$/);
    expect(shown.stdout).not.toContain("\u001b");
    const json = await turnpike(["usage", "--url", url, "--key", "callers-key-1", "--json"]).ended;
    expect(JSON.parse(json.stdout)).toMatchObject({
      identity: { key: "web-1" },
      limits: [{ limit: "daily", unit: "tokens" }],
    });

    const none = await turnpike(["usage", "--url", url]).ended;
    expect([none.code, none.stderr]).toEqual([1, `turnpike: ${url} asks for a key: set TURNPIKE_KEY, or give --key\n`]);
    const wrong = await turnpike(["usage", "--url", url, "--key", "canary-wrong-key"]).ended;
    expect([wrong.code, wrong.stderr]).toEqual([1, `turnpike: ${url} does not accept this key: Invalid API key\n`]);
  });

  const cleanups: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0)) await cleanup();
  });

  it("takes its key nowhere else", async () => {
    const seen: (string | undefined)[] = [];
    const thief = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end("{}");
    });
    const thiefUrl = await listen(thief);
    const door = createServer((_request, response) => response.writeHead(307, { location: `${thiefUrl}/v1/me` }).end());
    const doorUrl = await listen(door);
    cleanups.push(
      () => shut(thief),
      () => shut(door),
    );
    const { code, stderr } = await turnpike(["usage", "--url", doorUrl, "--key", "canary-key"]).ended;
    expect([code, seen]).toEqual([1, []]);
    expect(stderr).not.toContain("canary");
    const stranger = await turnpike(["usage", "--url", thiefUrl]).ended;
    expect(stranger.stderr).toBe(`turnpike: what answers at ${thiefUrl} is not a Turnpike gateway\n`);
  });

  it("says that nobody is there, and what an address looks like", async () => {
    const nobody = await turnpike(["usage", "--url", "http://127.0.0.1:1"]).ended;
    expect(nobody.stderr).toBe(
      "turnpike: no gateway answers at http://127.0.0.1:1; start it, or name another with --url\n",
    );
    const odd = await turnpike(["usage", "--url", "localhost"]).ended;
    expect([odd.code, odd.stderr.includes("--url must be an address")]).toEqual([2, true]);
  });
});
