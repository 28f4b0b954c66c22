import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import type { AuthOptions, Exchange, Gateway, Middleware, Reply } from "turnpike";
import { auth, createGateway, hashKey, logger, router, translator } from "turnpike";
import { simulated } from "turnpike/providers";
import { afterEach, describe, expect, test, vi } from "vitest";
import { newKey } from "../../src/keys/key.ts";
import { sqliteKeys } from "../../src/keys/sqlite.ts";
import type { KeyTable } from "../../src/keys/table.ts";
import { logBook, serve, until } from "../support/gateway.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A gateway over a real socket whose callers are told apart by `options`. */
async function door(options: AuthOptions, { now }: { now?: () => number } = {}) {
  const log = logBook();
  const gateway: Gateway = createGateway({
    providers: { demo: simulated() },
    use: [
      logger({ to: log.sink }),
      auth(options),
      router({ rules: [{ match: { model: ["claude-*", "gpt-*"] }, to: "demo/demo" }] }),
      translator(),
    ],
    ...(now && { now }),
  });
  const server = await serve(gateway);
  cleanups.push(
    () => server.close(),
    () => gateway.close(),
  );
  const ask = async (key: string | undefined, { model = "claude-sonnet-4-5", path = "/v1/messages" } = {}) => {
    const response = await fetch(server.url + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ model, max_tokens: 20, messages: [{ role: "user", content: "hello" }] }),
    });
    const json = (await response.json()) as { error?: { type: string; message: string; code?: string } };
    return { status: response.status, headers: response.headers, error: json.error, text: JSON.stringify(json) };
  };
  const me = async (key: string) => {
    const response = await fetch(`${server.url}/v1/me`, { headers: { "x-api-key": key } });
    return { status: response.status, json: (await response.json()) as { identity?: unknown } };
  };
  return { ask, me, log, gateway, url: server.url };
}

function keyFile(): { path: string; table: KeyTable } {
  const folder = mkdtempSync(join(tmpdir(), "turnpike-auth-"));
  const path = join(folder, "keys.db");
  const table = sqliteKeys(path);
  cleanups.push(
    () => table.close(),
    () => rmSync(folder, { recursive: true, force: true }),
  );
  return { path, table };
}

/** A table that counts its look-ups and can be away. */
function counted(table: KeyTable) {
  const state = { lookups: 0, away: false, delayMs: 0 };
  const wrapped: KeyTable = {
    ...table,
    async lookup(hash) {
      state.lookups++;
      await new Promise((resolve) => setTimeout(resolve, state.delayMs));
      if (state.away) throw new Error("connect ECONNREFUSED 10.0.0.7:5432");
      return table.lookup(hash);
    },
  };
  return { state, table: wrapped };
}

describe("auth with a key table", () => {
  test("lets a key in over HTTP as its owner", async () => {
    const { path, table } = keyFile();
    const { id, key } = await table.create({ user: "alice", team: "web", tags: ["ci"] });
    // Another connection, as the gateway's own process would have.
    const { ask, me } = await door({ table: sqliteKeys(path) });
    expect((await ask(key)).status).toBe(200);
    expect(await me(key)).toEqual({
      status: 200,
      json: { identity: { key: id, user: "alice", team: "web", tags: ["ci"] }, limits: [] },
    });
    await until(async () => (await table.list())[0]!.lastUsedAt !== undefined, "the use to be noted");
  });

  test("a revoked key stops within cacheMs", async () => {
    const { path, table } = keyFile();
    const { id, key } = await table.create();
    const { ask } = await door({ table: sqliteKeys(path), cacheMs: 300 });
    expect((await ask(key)).status).toBe(200);
    await table.revoke(id);
    const revoked = performance.now();
    let last = await ask(key);
    for (; last.status === 200; last = await ask(key)) expect(performance.now() - revoked).toBeLessThan(400);
    expect(last.status).toBe(401);
    expect(last.error).toMatchObject({ type: "authentication_error", message: "This API key was revoked" });
    expect((await ask(key)).status).toBe(401);
  });

  test("with cacheMs 0 it stops at once", async () => {
    const { path, table } = keyFile();
    const { id, key } = await table.create();
    const { ask } = await door({ table: sqliteKeys(path), cacheMs: 0 });
    expect((await ask(key)).status).toBe(200);
    await table.revoke(id);
    expect((await ask(key)).status).toBe(401);
  });

  test("an expired key is refused to the millisecond, cached or not", async () => {
    const { table } = keyFile();
    let now = Date.now();
    const expiresAt = now + 60_000;
    const { key } = await table.create({ expiresAt });
    const { ask } = await door({ table, cacheMs: 3_600_000 }, { now: () => now });
    now = expiresAt - 1;
    expect((await ask(key)).status).toBe(200);
    now = expiresAt;
    const { status, error } = await ask(key, { path: "/v1/chat/completions" });
    expect([status, error?.message]).toEqual([401, "This API key has expired"]);
  });

  test("a key may ask only for its models, and is told which, in its caller's dialect", async () => {
    const { table } = keyFile();
    const { id, key } = await table.create({ models: ["claude-*", "demo/small"] });
    const { ask, log } = await door({ table });
    expect((await ask(key)).status).toBe(200);
    const message = `The key "${id}" may not ask for the model "gpt-5"; it may ask for: claude-*, demo/small`;
    const anthropic = await ask(key, { model: "gpt-5" });
    expect(anthropic).toMatchObject({ status: 403, error: { type: "permission_error", message } });
    const openai = await ask(key, { model: "gpt-5", path: "/v1/chat/completions" });
    expect(openai).toMatchObject({ status: 403, error: { message } });
    expect(log.requests().at(-1)).toMatchObject({ code: "forbidden", key: id });
    // Not around the rules either.
    expect((await ask(key, { model: "demo/demo" })).status).toBe(403);
    const count = await ask(key, { model: "gpt-5", path: "/v1/messages/count_tokens" });
    expect(count.status).toBe(403);
  });

  test("a mistyped key is told from an unknown one, without a look-up", async () => {
    const { state, table } = counted(keyFile().table);
    const { ask } = await door({ table });
    const key = newKey();
    const other = key.at(-1) === "x" ? "y" : "x";
    for (const wrong of [key.slice(0, -1), key.slice(0, -1) + other, "tp-"]) {
      expect((await ask(wrong)).error?.message).toBe("Invalid API key: it is mistyped or cut off");
    }
    expect((await ask("sk-something-else")).error?.message).toBe("Invalid API key");
    expect(state.lookups).toBe(0);
    expect((await ask(key)).error?.message).toBe("Invalid API key");
    expect(state.lookups).toBe(1);
  });

  test("is asked once for many requests, and again for an unknown key after a second", async () => {
    const { state, table } = counted(keyFile().table);
    const { key } = await table.create();
    const { ask } = await door({ table, cacheMs: 60_000 });
    state.delayMs = 30;
    const all = await Promise.all(Array.from({ length: 40 }, () => ask(key)));
    expect(all.every(({ status }) => status === 200)).toBe(true);
    expect(state.lookups).toBe(1);
    const unknown = newKey();
    expect([(await ask(unknown)).status, (await ask(unknown)).status]).toEqual([401, 401]);
    expect(state.lookups).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    await ask(unknown);
    expect(state.lookups).toBe(3);
  });

  test("a table that is away or silent is a 503 that may be tried again, and says nothing of itself", async () => {
    const { state, table } = counted(keyFile().table);
    const { key } = await table.create();
    const { ask, log } = await door({ table, lookupTimeoutMs: 100, cacheMs: 50 });
    state.away = true;
    for (const path of ["/v1/messages", "/v1/chat/completions"]) {
      const { status, headers, text, error } = await ask(key, { path });
      expect([status, headers.get("x-should-retry"), headers.get("retry-after")]).toEqual([503, "true", "1"]);
      expect(error?.message).toBe("API keys cannot be checked at the moment");
      expect(text).not.toContain("10.0.0.7");
    }
    expect(String(log.requests().at(-1)?.cause)).toContain("ECONNREFUSED");
    state.away = false;
    state.delayMs = 5_000;
    expect((await ask(key)).status).toBe(503);
    state.delayMs = 0;
    expect((await ask(key)).status).toBe(200);
    // A good answer does not outlive its time because the table is away.
    state.away = true;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect((await ask(key)).status).toBe(503);
  });

  test("is closed with the gateway", async () => {
    const { table } = keyFile();
    const gateway = createGateway({ providers: { demo: simulated() }, use: [auth({ table }), router(), translator()] });
    await table.list();
    await gateway.close();
    await expect(table.list()).rejects.toMatchObject({ code: "table_closed" });
  });
});

describe("auth against guessing", () => {
  test("wrong keys are refused ever more briefly, while good ones pass", async () => {
    const { state, table } = counted(keyFile().table);
    const { key } = await table.create();
    const { ask } = await door({
      table,
      keys: [{ id: "static", key: "a-static-key-1" }],
      cacheMs: 1,
      maxWrongPerSecond: 1,
    });
    expect((await ask(key)).status).toBe(200);
    const statuses: number[] = [];
    for (let round = 0; round < 300; round++) statuses.push((await ask(newKey())).status);
    expect(statuses.slice(0, 10)).toEqual(Array(10).fill(401));
    expect(statuses.at(-1)).toBe(429);
    // 100 at once and 10 per second in the long run.
    expect(state.lookups).toBeLessThan(250);
    const refused = await ask("tp-guessed");
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "5"]);
    expect((await ask(key)).status).toBe(200);
    expect((await ask("a-static-key-1")).status).toBe(200);
  });

  test("a flood of different keys leaves memory as it was", async () => {
    const lookup = vi.fn(() => undefined);
    const gate = auth({ lookup, maxWrongPerSecond: 1_000_000 });
    const flood = async (from: number) => {
      for (let index = from; index < from + 20_000; index++)
        await gate.identify?.({ "x-api-key": `wrong-${index}` }).catch(() => {});
    };
    await flood(0);
    const before = process.memoryUsage().heapUsed;
    await flood(20_000);
    await flood(40_000);
    expect(lookup.mock.calls.length).toBe(60_000);
    lookup.mockClear();
    expect((process.memoryUsage().heapUsed - before) / 1e6).toBeLessThan(60);
  });
});

describe("auth with a lookup function", () => {
  test("takes whom it names, with models and expiry", async () => {
    let now = 1_000_000;
    const { ask, me } = await door(
      {
        lookup: (key) =>
          key === "good" ? { key: "k1", user: "u", models: ["claude-*"], expiresAt: new Date(2_000_000) } : undefined,
      },
      { now: () => now },
    );
    expect((await ask("good")).status).toBe(200);
    expect((await ask("good", { model: "gpt-5" })).status).toBe(403);
    expect((await me("good")).json.identity).toEqual({ key: "k1", user: "u" });
    expect((await ask("bad")).status).toBe(401);
    now = 2_000_000;
    expect((await ask("good")).status).toBe(401);
  });

  test("an expiry that is no time lets nobody in", async () => {
    const { ask } = await door({ lookup: () => ({ user: "u", expiresAt: "some day" }) });
    expect((await ask("any-key")).status).toBe(503);
  });
});

describe("auth with static keys", () => {
  /** What a middleware sees of an exchange, and whether it handed it on before it returned. */
  function pass(gate: Middleware, headers: Record<string, string>) {
    const exchange = { headers, identity: {}, trusted: false, model: "claude-x" } as unknown as Exchange;
    let handedOn = false;
    const answer = gate(exchange, async () => {
      handedOn = true;
      return { status: 200 } as Reply;
    });
    return { answer, handedOn, exchange };
  }

  test("hands a known caller on at once, whoever of many it is; others and their errors later", async () => {
    const keys = Array.from({ length: 2_000 }, (_, i) => ({ id: `k${i}`, hash: hashKey(`static-key-${i}`) }));
    const lookup = vi.fn((key: string) => (key === "looked-up" ? { user: "u" } : undefined));
    const gate = auth({ keys, lookup });
    for (const i of [0, 1_000, 1_999]) {
      const { answer, handedOn, exchange } = pass(gate, { authorization: `Bearer static-key-${i}` });
      expect([handedOn, exchange.identity]).toEqual([true, { key: `k${i}` }]);
      expect(await answer).toEqual({ status: 200 });
    }
    expect(lookup).not.toHaveBeenCalled();
    const first = pass(gate, { "x-api-key": "looked-up" });
    expect(first.handedOn).toBe(false);
    expect(await first.answer).toEqual({ status: 200 });
    // An answer that is kept is known, too.
    expect(pass(gate, { "x-api-key": "looked-up" }).handedOn).toBe(true);
    expect(lookup).toHaveBeenCalledTimes(1);
    // Never thrown at who calls it.
    await expect(pass(gate, {}).answer).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(pass(gate, { "x-api-key": "wrong" }).answer).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(pass(gate, { "x-api-key": "wrong" }).answer).rejects.toMatchObject({ code: "unauthenticated" });
  });

  test("an expired key and a forbidden model are rejections, never thrown", async () => {
    const gate = auth({
      keys: [
        { id: "old", key: "expired-key", expiresAt: "2020-01-01T00:00:00Z" },
        { id: "gpt", key: "only-for-gpt", models: ["gpt-*"] },
      ],
    });
    await expect(pass(gate, { "x-api-key": "expired-key" }).answer).rejects.toThrow("This API key has expired");
    await expect(pass(gate, { "x-api-key": "only-for-gpt" }).answer).rejects.toMatchObject({ code: "forbidden" });
  });

  test.each([
    [{ authorization: "Bearer key-number-1" }, "1"],
    [{ authorization: "bearer   key-number-1" }, "1"],
    [{ authorization: "BEARER key-number-1", "x-api-key": "key-number-2" }, "1"],
    [{ "x-api-key": "key-number-1", "x-goog-api-key": "key-number-2" }, "1"],
    [{ "x-goog-api-key": "key-number-2" }, "2"],
    [{ authorization: "Basic a2V5", "x-api-key": "key-number-2" }, "2"],
    [{ authorization: "Bearer ", "x-api-key": "key-number-2" }, "2"],
    [{ authorization: "Bearer key-number-1 ", "x-api-key": "key-number-2" }, "2"],
    [{ authorization: "Bearer key-number-1\tand more", "x-api-key": "key-number-2" }, "2"],
    [{ authorization: "Bearer key-number-1x" }, undefined],
    [{ authorization: "key-number-1" }, undefined],
    [{ authorization: "Bearerkey-number-1" }, undefined],
  ])("reads the key from %j", async (headers, id) => {
    const gate = auth({ keys: ["1", "2"].map((each) => ({ id: each, key: `key-number-${each}` })) });
    const { answer, exchange } = pass(gate, headers as Record<string, string>);
    if (id === undefined) await expect(answer).rejects.toMatchObject({ code: "unauthenticated" });
    else await answer;
    expect(exchange.identity.key).toBe(id);
  });

  test("knows models and expiry of them too", async () => {
    let now = Date.parse("2027-01-01T00:00:00Z");
    const keys = [{ id: "s", hash: hashKey("static-key"), models: ["gpt-*"], expiresAt: "2027-01-01T02:00:00+01:00" }];
    const { ask } = await door({ keys }, { now: () => now });
    expect((await ask("static-key", { model: "gpt-5" })).status).toBe(200);
    expect((await ask("static-key")).status).toBe(403);
    now += 3_600_000;
    expect((await ask("static-key", { model: "gpt-5" })).error?.message).toBe("This API key has expired");
  });

  test("callers in process are trusted unless they present a key", async () => {
    const { table } = keyFile();
    const { key } = await table.create({ models: ["claude-*"] });
    const { gateway } = await door({ table });
    const request = { model: "gpt-5", messages: [{ role: "user", content: "hi" }] };
    expect(await gateway.completion(request)).toMatchObject({ object: "chat.completion" });
    await expect(gateway.completion(request, { key })).rejects.toMatchObject({ code: "forbidden", status: 403 });
    await expect(gateway.completion(request, { key: newKey() })).rejects.toMatchObject({ code: "unauthenticated" });
    expect(await gateway.completion({ ...request, model: "claude-x" }, { key })).toMatchObject({
      object: "chat.completion",
    });
  });

  test.each([
    ["nothing to know callers by", {}, /give `keys`/],
    ["an unknown option", { keyz: [] }, /keyz/],
    ["a table that is none", { table: {} }, /key table/],
    [
      "an expiry without a zone",
      { keys: [{ id: "a", key: "12345678", expiresAt: "2027-01-01T00:00:00" }] },
      /expiresAt/,
    ],
  ])("refuses %s", (_what, options, message) => {
    expect(() => auth(options as never)).toThrow(message);
  });
});

test("nothing of a key or its hash stands in any log, answer or error", async () => {
  const { state, table } = counted(keyFile().table);
  const good = await table.create({ models: ["claude-*"] });
  const revoked = await table.create();
  await table.revoke(revoked.id);
  const unknown = newKey();
  const fixed = "a-static-canary-key";
  const canaries = [good.key, revoked.key, unknown, fixed].flatMap((key) => [
    key.slice(3, 19),
    hashKey(key).slice(7, 23),
    Buffer.from(hashKey(key).slice(7), "hex").toString("base64").slice(0, 16),
  ]);
  const written: string[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    const spy = vi.spyOn(stream, "write").mockImplementation((chunk) => {
      written.push(String(chunk));
      return true;
    });
    cleanups.push(() => spy.mockRestore());
  }
  const { ask, me, log, gateway } = await door({ table, keys: [{ id: "fixed", key: fixed }], cacheMs: 1 });
  const texts: unknown[] = [];
  for (const away of [false, true]) {
    state.away = away;
    await new Promise((resolve) => setTimeout(resolve, 5));
    for (const key of [good.key, revoked.key, unknown, fixed, `${good.key}x`, good.key.slice(0, -3)]) {
      texts.push(await ask(key), await ask(key, { model: "gpt-5", path: "/v1/chat/completions" }), await me(key));
      texts.push(
        await gateway.completion({ model: "x/y", messages: [] }, { key }).catch((error: Error) => [error.stack, error]),
      );
    }
  }
  const { inspect } = await import("node:util");
  const seen = [
    inspect(texts, { depth: 10 }),
    JSON.stringify(log.records),
    inspect(log.records, { depth: 10 }),
    ...written,
  ].join("\n");
  expect(seen).toContain(good.id);
  for (const canary of canaries) expect(seen).not.toContain(canary);
});
