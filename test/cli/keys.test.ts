import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { hashKey, isKey } from "../../src/keys/key.ts";
import { folder, hello, post, turnpike } from "./support.ts";

const config = {
  server: { port: 0 },
  providers: { demo: { type: "simulated" } },
  logger: { format: "json" },
  auth: { table: "sqlite:turnpike.db" },
  router: { rules: [{ match: { model: "*" }, to: "demo/demo" }] },
  budget: { store: "sqlite:turnpike.db", limits: [{ name: "daily", by: "user", tokens: 100_000, per: "day" }] },
};

const run = async (cwd: string, args: string[], env: Record<string, string> = {}) => turnpike(args, { cwd, env }).ended;

describe("turnpike keys", () => {
  it("makes a key that works at a running gateway until it is revoked", async () => {
    const cwd = folder({ "turnpike.config.json": config });
    const gateway = turnpike([], { cwd });
    const url = await gateway.url();
    const made = await run(cwd, [
      "keys",
      "create",
      "--user",
      "alice",
      "--team",
      "web",
      "--tag",
      "a",
      "--tag",
      "b",
      "--models",
      "claude-*",
    ]);
    expect(made.code).toBe(0);
    const key = made.stdout.trimEnd();
    expect(made.stdout).toBe(`${key}\n`);
    expect(isKey(key)).toBe(true);
    expect(made.stderr).not.toContain(key.slice(3, 20));
    const id = /^Key (\w+)\./.exec(made.stderr)![1]!;

    const headers = { authorization: `Bearer ${key}` };
    expect((await post(`${url}/v1/messages`, hello, headers)).status).toBe(200);
    expect((await post(`${url}/v1/messages`, { ...hello, model: "gpt-5" }, headers)).status).toBe(403);
    expect((await post(`${url}/v1/messages`, hello)).status).toBe(401);
    const me = (await (await fetch(`${url}/v1/me`, { headers })).json()) as {
      identity: object;
      limits: { used: number }[];
    };
    expect(me.identity).toEqual({ key: id, user: "alice", team: "web", tags: ["a", "b"] });
    expect(me.limits[0]!.used).toBeGreaterThan(0);

    const revoked = await run(cwd, ["keys", "revoke", id]);
    expect(revoked.stdout).toBe(
      `Key ${id} is revoked; running gateways stop taking it within their \`cacheMs\` (5 s)\n`,
    );
    const start = performance.now();
    while ((await post(`${url}/v1/messages`, hello, headers)).status === 200) {
      expect(performance.now() - start).toBeLessThan(5_500);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect((await post(`${url}/v1/messages`, hello, headers)).json).toMatchObject({
      error: { type: "authentication_error", message: "This API key was revoked" },
    });

    gateway.child.kill("SIGTERM");
    const { stdout, stderr } = await gateway.ended;
    const written = stdout + stderr;
    expect(written).toContain(id);
    for (const canary of [key.slice(3, 20), hashKey(key).slice(7, 25)]) expect(written).not.toContain(canary);
  });

  it("makes the file before the gateway is ever started, and the gateway keeps its budgets there", async () => {
    const cwd = folder({ "turnpike.config.json": config });
    const key = (await run(cwd, ["keys", "create"])).stdout.trim();
    const url = await turnpike([], { cwd }).url();
    expect((await post(`${url}/v1/messages`, hello, { "x-api-key": key })).status).toBe(200);
  });

  it("keeps the hash alone", async () => {
    const cwd = folder();
    const key = (await run(cwd, ["keys", "create", "--db", "mine.db"])).stdout.trim();
    expect(existsSync(join(cwd, "turnpike.db"))).toBe(false);
    const db = new DatabaseSync(join(cwd, "mine.db"));
    expect(db.prepare("SELECT hash FROM tp_key").get()?.hash).toBe(hashKey(key));
    db.close();
    expect(readFileSync(join(cwd, "mine.db"), "latin1")).not.toContain(key.slice(3, 20));
  });

  it("lists keys as a table, and as JSON", async () => {
    const cwd = folder();
    const env = { TURNPIKE_DB: "named.db" };
    await run(
      cwd,
      [
        "keys",
        "create",
        "--name",
        "CI",
        "--user",
        "alice",
        "--models",
        "claude-*",
        "--models",
        "gpt-*",
        "--expires",
        "30d",
      ],
      env,
    );
    const second = await run(cwd, ["keys", "create", "--user", "bob\u001b[31m"], env);
    const id = /^Key (\w+)\./.exec(second.stderr)![1]!;
    await run(cwd, ["keys", "revoke", id], env);
    const { stdout } = await run(cwd, ["keys", "list"], env);
    const [head, first, last] = stdout.trimEnd().split("\n");
    expect(head).toMatch(/^ID +STATE +NAME +USER +TEAM +TAGS +MODELS +CREATED +EXPIRES +LAST USED$/);
    expect(first).toMatch(
      /^k\w{11} +active +CI +alice +- +- +claude-\*,gpt-\* +\d{4}-\d\d-\d\d \d\d:\d\d +\d{4}-\d\d-\d\d \d\d:\d\d +-$/,
    );
    expect(last).toMatch(/ revoked +- +bob\?\[31m /);
    const { stdout: json } = await run(cwd, ["keys", "list", "--json"], env);
    const [record] = JSON.parse(json) as Record<string, number>[];
    expect(record).toMatchObject({ name: "CI", user: "alice", models: ["claude-*", "gpt-*"] });
    expect(record!.expiresAt! - record!.createdAt!).toBeCloseTo(30 * 86_400_000, -4);
    expect(stdout + json).not.toMatch(/sha256|tp-/);
  });

  it.each([
    [["keys"], 2, "keys can create, list or revoke"],
    [["keys", "make"], 2, "keys can create, list or revoke"],
    [["keys", "create", "alice"], 2, '"keys create" takes no argument "alice"'],
    [["keys", "list", "--user", "a"], 2, '"keys list" takes no option --user'],
    [["keys", "revoke"], 2, "keys revoke needs the id of a key"],
    [["keys", "create", "--expires", "soon"], 2, "--expires takes 12h, 30d, 2w, or a time"],
    [["keys", "create", "--expires", "2020-01-01"], 2, "has passed already"],
    [["keys", "create", "--user", ""], 2, "user"],
    [["keys", "list"], 1, "there is no file"],
  ])("answers %j with exit code %i and a sentence", async (args, code, sentence) => {
    const ended = await run(folder(), args);
    expect(ended.stderr).toMatch(/^turnpike: .*\n/);
    expect(ended.stderr).toContain(sentence);
    expect([ended.code, ended.stdout]).toEqual([code, ""]);
  });

  it("tells of an id that is not there", async () => {
    const cwd = folder();
    await run(cwd, ["keys", "create"]);
    const { code, stderr } = await run(cwd, ["keys", "revoke", "kNobody"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^turnpike: there is no key kNobody in .*turnpike\.db\n$/);
  });

  it("says in one sentence that the file is not a database", async () => {
    const cwd = folder({ "turnpike.db": "just a text that is long enough to be looked at ".repeat(50) });
    const { code, stderr } = await run(cwd, ["keys", "create"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^turnpike: The key table .*turnpike\.db failed: .*\n$/);
  });

  it("leaves no file behind when a configuration is checked", async () => {
    const cwd = folder({ "turnpike.config.json": config });
    const { code, stdout } = await run(cwd, ["check"]);
    expect([code, existsSync(join(cwd, "turnpike.db"))]).toEqual([0, false]);
    expect(stdout).toContain("Callers need a key");
  });
});

const ADMIN = process.env.TURNPIKE_TEST_POSTGRES ?? "postgres://postgres@127.0.0.1:5432/test";
const admin = new pg.Client({ connectionString: ADMIN, connectionTimeoutMillis: 1_000 });
const away = await admin.connect().then(
  () => undefined,
  (error: Error) => error.message,
);

// In CI a database that is away is a failure.
describe.skipIf(away && process.env.CI !== "true")("turnpike keys in PostgreSQL", () => {
  const database = `tp_cli_${randomBytes(5).toString("hex")}`;
  const address = Object.assign(new URL(ADMIN), { pathname: `/${database}` }).href;
  beforeAll(async () => {
    await admin.query(`CREATE DATABASE ${database}`);
  });
  afterEach(async () => {
    await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [database]);
  });
  afterAll(async () => {
    await admin.query(`DROP DATABASE ${database}`);
    await admin.end();
  });

  it("makes, lists and revokes keys that a gateway takes, and never tells the password", async () => {
    const cwd = folder({ "turnpike.config.json": { ...config, auth: { table: address } } });
    const gateway = turnpike([], { cwd });
    const url = await gateway.url();
    const made = await run(cwd, ["keys", "create", "--db", address, "--user", "alice"]);
    expect(made).toMatchObject({ code: 0 });
    const headers = { authorization: `Bearer ${made.stdout.trim()}` };
    expect((await post(`${url}/v1/messages`, hello, headers)).status).toBe(200);
    const [record] = JSON.parse((await run(cwd, ["keys", "list", "--db", address, "--json"])).stdout);
    expect(record).toMatchObject({ user: "alice" });
    expect((await run(cwd, ["keys", "revoke", record.id, "--db", address])).code).toBe(0);
    expect((await run(cwd, ["keys", "list", "--db", address])).stdout).toContain("revoked");
    const secret = address.replace("//", "//someone:hunter2@").replace(/@[^@]*@/, "@");
    const failed = await run(cwd, ["keys", "revoke", "nobody", "--db", secret]);
    expect(failed.code).toBe(1);
    expect(failed.stderr).not.toContain("hunter2");
  });
});
