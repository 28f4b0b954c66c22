import { createServer, request as httpRequest } from "node:http";
import { connect } from "node:net";
import express from "express";
import fastify, { type FastifyInstance } from "fastify";
import { type Gateway, toNodeHandler } from "turnpike";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { buildGateway, expectSettled, type Json, MODELS, PNG, startUpstreams } from "../clients/support.ts";
import { listen, shut, until } from "../support/gateway.ts";

/** A gateway somewhere: where it is, and what stands beside it. */
interface Mounted {
  /** With the path it is mounted at. */
  url: string;
  /** Without it. */
  origin: string;
  close(): Promise<void>;
}

type Mount = (gateway: Gateway) => Promise<Mounted>;

const plain =
  (basePath?: string): Mount =>
  async (gateway) => {
    const server = createServer(toNodeHandler(gateway, { basePath }));
    const origin = await listen(server);
    return { origin, url: origin + (basePath ?? ""), close: () => shut(server) };
  };

function express5(path: string, build: (app: express.Express, gateway: Gateway) => void): Mount {
  return async (gateway) => {
    const app = express();
    build(app, gateway);
    app.get("/", (_, response) => void response.send("home"));
    app.get("/elsewhere", (_, response) => void response.send("somebody else"));
    app.post("/elsewhere", (_, response) => void response.send("somebody else"));
    const server = createServer(app);
    const origin = await listen(server);
    return { origin, url: origin + path, close: () => shut(server) };
  };
}

function fastify5(path: string, build: (app: FastifyInstance, gateway: Gateway) => void): Mount {
  return async (gateway) => {
    const app = fastify({ forceCloseConnections: true });
    build(app, gateway);
    app.get("/elsewhere", async () => "somebody else");
    app.post("/elsewhere", async () => "somebody else");
    const origin = await app.listen({ port: 0, host: "127.0.0.1" });
    return { origin, url: origin + path, close: () => app.close() };
  };
}

const MOUNTS: Record<string, Mount> = {
  "node:http": plain(),
  "node:http under a base path": plain("/ai"),
  "Express without a parser": express5("", (app, gateway) => app.use(toNodeHandler(gateway))),
  "Express behind express.json()": express5("", (app, gateway) =>
    app.use(express.json({ limit: "32mb" }), toNodeHandler(gateway)),
  ),
  "Express behind express.raw()": express5("", (app, gateway) =>
    app.use(express.raw({ type: () => true }), toNodeHandler(gateway)),
  ),
  "Express behind express.text()": express5("", (app, gateway) =>
    app.use(express.text({ type: () => true }), toNodeHandler(gateway)),
  ),
  "Express, mounted at a path": express5("/ai", (app, gateway) => app.use("/ai", toNodeHandler(gateway))),
  "Express with a base path": express5("/ai", (app, gateway) => app.use(toNodeHandler(gateway, { basePath: "/ai" }))),
  "Fastify with its JSON parser": fastify5("", (app, gateway) => {
    const handler = toNodeHandler(gateway);
    app.all("/*", (request, reply) => {
      reply.hijack();
      handler(Object.assign(request.raw, { body: request.body }), reply.raw);
    });
  }),
  "Fastify, a plugin without parsers at a prefix": fastify5("/ai", (app, gateway) => {
    app.register(
      async (scope) => {
        // The gateway reads the body itself: byte for byte, and with its own limit.
        scope.removeAllContentTypeParsers();
        scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
        const handler = toNodeHandler(gateway, { basePath: "/ai" });
        scope.all("/*", (request, reply) => {
          reply.hijack();
          handler(request.raw, reply.raw);
        });
      },
      { prefix: "/ai" },
    );
  }),
};

describe.each(Object.entries(MOUNTS))("mounted under %s", (where, mount) => {
  let upstreams: Awaited<ReturnType<typeof startUpstreams>>;
  let gateway: Gateway;
  let at: Mounted;
  let log: ReturnType<typeof buildGateway>["log"];

  beforeAll(async () => {
    upstreams = await startUpstreams();
    ({ gateway, log } = buildGateway(upstreams, {
      auth: { keys: [{ id: "web", key: "tp-right-key-1", user: "u1", team: "red" }] },
      router: {
        retries: 0,
        rules: [
          { match: { model: "house" }, to: MODELS.llama },
          { match: { model: "claude-*" }, to: [MODELS.mistral, MODELS.llama] },
        ],
      },
      limits: [{ name: "user-daily", by: "user", tokens: 1_000_000, per: "day" }],
    }));
    at = await mount(gateway);
  });
  afterEach(async () => {
    await expectSettled(gateway);
    upstreams.reset();
  });
  afterAll(async () => {
    await at.close();
    await gateway.close();
    await upstreams.closeAll();
  });

  const headers = { authorization: "Bearer tp-right-key-1", "content-type": "application/json" };
  const post = (path: string, body: unknown, more: RequestInit = {}) =>
    fetch(at.url + path, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...more,
      headers: { ...headers, ...more.headers },
    });
  const get = (path: string, more: Record<string, string> = {}) =>
    fetch(at.url + path, { headers: { ...headers, ...more } });
  const turn = (more: object = {}) => ({
    model: MODELS.mistral,
    max_tokens: 100,
    messages: [{ role: "user", content: "hello" }],
    ...more,
  });
  const error = async (response: Response) => ((await response.json()) as Json).error;

  test.each(["", "/anthropic"])(
    "messages are answered under the prefix %j, with and without ?beta=true",
    async (prefix) => {
      for (const query of ["", "?beta=true", "?beta=true&x=%2F"]) {
        upstreams.mistral.next({ text: "Hello, Zoë 👋" });
        const response = await post(`${prefix}/v1/messages${query}`, turn());
        expect(response.status).toBe(200);
        expect(response.headers.get("content-type")).toBe("application/json");
        expect(await response.json()).toMatchObject({
          type: "message",
          content: [{ type: "text", text: "Hello, Zoë 👋" }],
        });
      }
    },
  );

  test.each(["", "/openai"])("chat completions are answered under the prefix %j", async (prefix) => {
    upstreams.mistral.next({ text: "Hello." });
    const response = await post(`${prefix}/v1/chat/completions`, turn());
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ object: "chat.completion" });
  });

  test("streams arrive as they are made, in both dialects", async () => {
    for (const [path, last] of [
      ["/v1/messages", '{"type":"message_stop"}'],
      ["/v1/chat/completions", "[DONE]"],
    ]) {
      upstreams.mistral.next({ text: "One two three four five six.", chunkDelayMs: 20 });
      const response = await post(path as string, turn({ stream: true }));
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
      expect(response.headers.get("cache-control")).toContain("no-cache");
      let pieces = 0;
      let text = "";
      const decoder = new TextDecoder();
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        pieces++;
        text += decoder.decode(chunk, { stream: true });
      }
      expect(pieces).toBeGreaterThan(3);
      expect(text.endsWith(`data: ${last}\n\n`)).toBe(true);
    }
  });

  test("a body of several megabytes arrives", async () => {
    const data = PNG.repeat(30_000);
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data } };
    // What this framework lets through by default is its own matter.
    if (where === "Fastify with its JSON parser" || /raw|text/.test(where)) {
      expect((await post("/v1/messages", turn({ messages: [{ role: "user", content: [image] }] }))).status).toBe(413);
      return;
    }
    const response = await post("/v1/messages", turn({ messages: [{ role: "user", content: [image] }] }));
    expect(response.status).toBe(200);
    await response.text();
    expect(upstreams.mistral.requests[0]?.raw.length).toBeGreaterThan(data.length);
  });

  test("a whole answer carries its headers", async () => {
    upstreams.mistral.next({ text: "Hello.", usage: { prompt: 100, completion: 50 } });
    const response = await post(
      "/v1/messages",
      turn({ thinking: { type: "adaptive" }, output_config: { effort: "low" } }),
    );
    await response.text();
    const head = Object.fromEntries(response.headers);
    expect(head["x-request-id"]).toMatch(/^[0-9A-Za-z]+$/);
    expect(head["request-id"]).toBe(head["x-request-id"]);
    expect(head["x-turnpike-target"]).toBe(MODELS.mistral);
    expect(head["x-turnpike-attempts"]).toBe("1");
    expect(head["x-turnpike-changes"]).toContain("reasoning.effort=low->high");
    expect(Number(head["x-turnpike-cost-usd"])).toBeGreaterThan(0);
    expect(Number(head["x-turnpike-overhead-ms"])).toBeGreaterThanOrEqual(0);
    expect(head.ratelimit).toMatch(/^"user-daily";r=\d+;t=\d+$/);
    expect(head["ratelimit-policy"]).toBe('"user-daily";q=1000000;qu="tokens"');
    expect(log.requests().at(-1)).toMatchObject({
      requestId: head["x-request-id"],
      user: "u1",
      team: "red",
      key: "web",
    });
  });

  test("a streamed answer carries its headers too, but for the cost", async () => {
    for (const path of ["/v1/messages", "/v1/chat/completions"]) {
      const response = await post(path, turn({ stream: true }));
      await response.text();
      const head = Object.fromEntries(response.headers);
      expect(head["x-request-id"]).toMatch(/^[0-9A-Za-z]+$/);
      expect("request-id" in head).toBe(path === "/v1/messages");
      expect(head).toMatchObject({
        "x-turnpike-target": MODELS.mistral,
        "x-turnpike-attempts": "1",
        ratelimit: expect.stringContaining("user-daily"),
      });
      expect(head).not.toHaveProperty("x-turnpike-cost-usd");
      expect(Number(head["x-turnpike-overhead-ms"] ?? "missing")).toBeGreaterThanOrEqual(0);
    }
  });

  test("a second attempt is counted, and the target is the one that answered", async () => {
    upstreams.mistral.next({ status: 503 });
    const response = await post("/v1/messages", turn({ model: "claude-sonnet-4-5" }));
    expect(response.status).toBe(200);
    await response.text();
    expect(response.headers.get("x-turnpike-attempts")).toBe("2");
    expect(response.headers.get("x-turnpike-target")).toBe(MODELS.llama);
  });

  test("errors carry the request's id and tell whether to retry", async () => {
    upstreams.mistral.next({ status: 503 });
    const response = await post("/v1/messages", turn());
    expect(response.status).toBe(529);
    const head = Object.fromEntries(response.headers);
    expect(head).toMatchObject({
      "x-should-retry": "true",
      "x-turnpike-error": "upstream_overloaded",
      "x-turnpike-attempts": "1",
    });
    const body = (await response.json()) as Json;
    expect(body).toMatchObject({ type: "error", error: { type: "overloaded_error" }, request_id: head["request-id"] });
    expect(head["x-request-id"]).toBe(head["request-id"]);
  });

  test("malformed bodies get the dialect's own 400", async () => {
    const bodies = ["", "{", "[]", "null", '"text"', "7", '{"model":7}', "{}", '{"model":"mistral/x","stream":"yes"}'];
    for (const body of bodies) {
      const response = await post("/v1/messages", body);
      expect(response.status, body).toBe(400);
      // express.json() and Fastify refuse what is not JSON themselves.
      if (/json|JSON/.test(where) && !body.startsWith('{"')) await response.text();
      else expect((await error(response)).type, body).toBe("invalid_request_error");
    }
    expect(upstreams.mistral.requests).toHaveLength(0);
  });

  test("a compressed body is a 415", async () => {
    const response = await post("/v1/messages", "x", { headers: { "content-encoding": "gzip" } });
    expect([400, 415]).toContain(response.status);
    await response.text();
  });

  test("no key and a wrong key are a 401 in the caller's dialect, on every path that tells something", async () => {
    for (const authorization of ["", "Bearer tp-wrong-key-1"]) {
      const messages = await post("/anthropic/v1/messages", turn(), { headers: { authorization } });
      expect([messages.status, (await error(messages)).type]).toEqual([401, "authentication_error"]);
      const chat = await post("/openai/v1/chat/completions", turn(), { headers: { authorization } });
      expect([chat.status, (await error(chat)).code]).toEqual([401, "invalid_api_key"]);
      for (const path of ["/v1/models", "/v1/models/house", "/v1/me"]) {
        const response = await get(path, { authorization });
        expect(response.status, path).toBe(401);
        await response.text();
      }
    }
    const byKey = await post("/v1/messages", turn(), { headers: { authorization: "", "x-api-key": "tp-right-key-1" } });
    expect(byKey.status).toBe(200);
    await byKey.text();
  });

  test("HEAD /api/hello is a 200 without a body, with and without prefix, without a key", async () => {
    for (const path of ["/api/hello", "/anthropic/api/hello", "/anthropic/api/hello?x=1"]) {
      const response = await fetch(at.url + path, { method: "HEAD" });
      expect([response.status, await response.text()]).toEqual([200, ""]);
    }
  });

  test("liveness and readiness answer without a key", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      const response = await fetch(at.url + path);
      expect([response.status, await response.json()]).toEqual([200, { status: "ok" }]);
      expect((await fetch(at.url + path, { method: "HEAD" })).status).toBe(200);
    }
  });

  test("GET /v1/me tells the caller who it is and what it has left", async () => {
    const response = await get("/v1/me");
    expect(response.status).toBe(200);
    const me = (await response.json()) as Json;
    expect(me.identity).toEqual({ key: "web", user: "u1", team: "red" });
    expect(me.limits).toMatchObject([
      { limit: "user-daily", unit: "tokens", amount: 1_000_000, held: 0, resetsAt: expect.any(String) },
    ]);
    expect(me.limits[0].used + me.limits[0].remaining).toBe(1_000_000);
  });

  test("models are listed in the dialect of the prefix or of the caller's headers", async () => {
    const list = async (path: string, more: Record<string, string> = {}) =>
      (await (await get(path, more)).json()) as Json;
    expect(await list("/v1/models")).toMatchObject({ object: "list" });
    expect(await list("/openai/v1/models")).toMatchObject({ object: "list" });
    expect(await list("/v1/models?limit=1000", { "anthropic-version": "2023-06-01" })).toMatchObject({
      has_more: false,
    });
    const claude = await list("/anthropic/v1/models?limit=1000");
    expect(claude).toMatchObject({ has_more: false, first_id: claude.data[0].id, last_id: claude.data.at(-1).id });
    expect(claude.data.map((model: Json) => model.id)).toEqual(expect.arrayContaining(["house", MODELS.mistral]));
  });

  test("one model is found by its name, slashes included", async () => {
    const one = async (path: string, more: Record<string, string> = {}) =>
      (await (await get(path, more)).json()) as Json;
    expect(await one("/v1/models/house")).toMatchObject({ object: "model", id: "house" });
    expect(await one("/anthropic/v1/models/house")).toMatchObject({ type: "model", id: "house" });
    for (const id of [MODELS.mistral, encodeURIComponent(MODELS.mistral)]) {
      expect(await one(`/openai/v1/models/${id}`)).toMatchObject({ object: "model", id: MODELS.mistral });
    }
    const unknown = await get("/v1/models/nobody");
    expect([unknown.status, (await error(unknown)).code]).toEqual([404, "model_not_found"]);
    const claude = await get("/anthropic/v1/models/nobody");
    expect([claude.status, (await error(claude)).type]).toEqual([404, "not_found_error"]);
  });

  test("a wrong method is a 405 that names the right ones", async () => {
    for (const [method, path, allow] of [
      ["GET", "/v1/messages", "POST"],
      ["PUT", "/v1/chat/completions", "POST"],
      ["DELETE", "/v1/models", "GET"],
    ] as const) {
      const response = await fetch(at.url + path, { method, headers, ...(method !== "GET" && { body: "{}" }) });
      expect(response.status, path).toBe(405);
      expect((await error(response)).message).toMatch(/method/i);
      expect(response.headers.get("allow") ?? "missing", path).toContain(allow);
    }
  });

  test("paths of somebody else go to him", async () => {
    const unknown = await fetch(`${at.url}/v1/nothing`, { headers });
    expect(unknown.status).toBe(404);
    await unknown.text();
    if (where.startsWith("node:http")) {
      const foreign = await fetch(`${at.origin}/elsewhere`);
      expect(foreign.status).toBe(404);
      expect((await error(foreign)).code).toBe("not_found");
      return;
    }
    expect(await (await fetch(`${at.origin}/elsewhere`)).text()).toBe("somebody else");
    expect(await (await fetch(`${at.origin}/elsewhere`, { method: "POST", headers, body: "{}" })).text()).toBe(
      "somebody else",
    );
    // A path that merely begins like the base path is not below it.
    if (at.url === at.origin) return;
    const alike = await fetch(`${at.url}x/v1/models`, { headers });
    expect(alike.status).toBe(404);
    await alike.text();
  });

  test.runIf(where.startsWith("Express"))("the application keeps its own front page", async () => {
    const home = await fetch(`${at.origin}/`);
    expect([home.status, await home.text()]).toEqual([200, "home"]);
    const head = await fetch(`${at.origin}/`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
  });

  test("a caller who leaves in mid-stream closes the upstream within 100 ms", { retry: 2 }, async () => {
    upstreams.mistral.next({ text: "word ".repeat(500), chunkDelayMs: 5 });
    const controller = new AbortController();
    const response = await post("/v1/messages", turn({ stream: true, max_tokens: 1_000 }), {
      signal: controller.signal,
    });
    await response.body?.getReader().read();
    const leftAt = Date.now();
    controller.abort();
    await until(() => upstreams.mistral.requests[0]?.closedEarly === true, "the upstream was closed");
    expect((upstreams.mistral.requests[0]?.closedAt ?? 0) - leftAt).toBeLessThan(100);
    await expectSettled(gateway);
    expect(log.requests().at(-1)).toMatchObject({ outcome: "aborted", code: "client_closed" });
  });

  test("a caller who leaves before the answer closes the upstream too", { retry: 2 }, async () => {
    upstreams.mistral.next({ hang: "before-headers" });
    const controller = new AbortController();
    const asked = post("/v1/messages", turn(), { signal: controller.signal }).catch(() => undefined);
    await until(() => upstreams.mistral.requests.length === 1, "the upstream was asked");
    const leftAt = Date.now();
    controller.abort();
    await asked;
    await until(() => upstreams.mistral.requests[0]?.closedEarly === true, "the upstream was closed");
    expect((upstreams.mistral.requests[0]?.closedAt ?? 0) - leftAt).toBeLessThan(100);
  });

  test("requests after each other share one connection", async () => {
    const seen = await keepAlive(at, headers, turn(), 3);
    expect(seen).toEqual({ statuses: [200, 200, 200], ports: 1 });
  });
});

/** Sends requests one after the other over an agent with one socket. */
async function keepAlive(at: Mounted, headers: Record<string, string>, body: object, times: number) {
  const { Agent } = await import("node:http");
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number | undefined>();
  const statuses: (number | undefined)[] = [];
  for (let i = 0; i < times; i++) {
    await new Promise<void>((resolve, reject) => {
      const request = httpRequest(`${at.url}/v1/messages`, { method: "POST", agent, headers }, (response) => {
        statuses.push(response.statusCode);
        ports.add(response.socket.localPort);
        response.resume().on("end", resolve);
      });
      request.on("error", reject).end(JSON.stringify(body));
    });
  }
  agent.destroy();
  return { statuses, ports: ports.size };
}

describe("the node handler alone", () => {
  let upstreams: Awaited<ReturnType<typeof startUpstreams>>;
  let gateway: Gateway;
  const servers: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    upstreams = await startUpstreams();
    ({ gateway } = buildGateway(upstreams));
  });
  afterEach(async () => {
    for (const close of servers.splice(0)) await close();
    upstreams.reset();
  });
  afterAll(async () => {
    await gateway.close();
    await upstreams.closeAll();
  });

  async function start(options?: Parameters<typeof toNodeHandler>[1]) {
    const server = createServer(toNodeHandler(gateway, options));
    servers.push(() => shut(server));
    return listen(server);
  }
  const body = JSON.stringify({ model: MODELS.mistral, max_tokens: 9, messages: [{ role: "user", content: "hello" }] });

  test.each([
    ["with a content-length", false],
    ["chunked", true],
  ])("a body over the limit is a 413 in the caller's dialect, %s", async (_, chunked) => {
    const url = await start({ maxBodyBytes: 1_000 });
    const large = Buffer.alloc(3_000_000, 0x20);
    const answer = await new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
      const request = httpRequest(`${url}/v1/messages`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(chunked ? { "transfer-encoding": "chunked" } : { "content-length": large.length }),
        },
      });
      request.on("error", reject).on("response", (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => {
          text += piece;
        });
        response.on("end", () => resolve({ status: response.statusCode, text })).on("error", reject);
      });
      request.end(large);
    });
    expect(answer.status).toBe(413);
    expect(JSON.parse(answer.text).error.type).toBe("request_too_large");
    // The server lives on.
    expect((await fetch(`${url}/v1/messages`, { method: "POST", body })).status).toBe(200);
  });

  test("a body that never ends because its sender left is forgotten", async () => {
    const url = await start();
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.write(`POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"model":`);
    await new Promise((resolve) => setTimeout(resolve, 30));
    socket.destroy();
    await expectSettled(gateway);
    expect(gateway.inFlight).toBe(0);
    expect((await fetch(`${url}/v1/messages`, { method: "POST", body })).status).toBe(200);
  });

  test.each(["authorization: Bearer a\r\nauthorization: Bearer b", "x-api-key: a\r\nx-api-key: b"])(
    "a key that is sent twice is refused (%j)",
    async (lines) => {
      const url = await start();
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      socket.write(
        `POST /v1/messages HTTP/1.1\r\nhost: x\r\n${lines}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      );
      let text = "";
      for await (const chunk of socket) text += chunk;
      expect(text).toMatch(/^HTTP\/1\.1 400 /);
      expect(text).toContain("sent twice");
      expect(upstreams.mistral.requests).toHaveLength(0);
    },
  );

  test("a body that somebody read and did not pass on is a clear error, not a wait without end", async () => {
    const handler = toNodeHandler(gateway);
    const server = createServer(async (request, response) => {
      for await (const _ of request);
      handler(request, response);
    });
    servers.push(() => shut(server));
    const url = await listen(server);
    const response = await fetch(`${url}/v1/messages`, { method: "POST", body, signal: AbortSignal.timeout(2_000) });
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(((await response.json()) as Json).error.message).toMatch(/body/);
  });

  test("a slow reader slows the upstream down, and gets everything", async () => {
    const url = await start();
    // Thinking and text of 12 MB: more than all buffers on the way hold.
    const text = `${"x".repeat(60_000)} `.repeat(200);
    upstreams.mistral.next({ text });
    const large = JSON.stringify({ ...JSON.parse(body), max_tokens: 10_000_000, stream: true });
    const response = await fetch(`${url}/v1/messages`, { method: "POST", body: large });
    let received = 0;
    let slept = false;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      received += chunk.length;
      if (slept) continue;
      slept = true;
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(gateway.inFlight).toBe(1);
    }
    expect(received).toBeGreaterThan(text.length);
    await expectSettled(gateway);
  });

  test("absurd requests do no harm", async () => {
    const url = await start();
    for (const [method, path] of [
      ["GET", "/v1/models/%E0%A4%A"],
      ["GET", "//v1/models"],
      ["GET", "/v1/models/"],
      ["POST", "/v1/messages/"],
      ["OPTIONS", "/v1/messages"],
      ["GET", "/anthropic"],
    ] as const) {
      const response = await fetch(url + path, { method });
      expect(response.status, `${method} ${path}`).toBeGreaterThanOrEqual(400);
      expect(response.status, `${method} ${path}`).toBeLessThan(500);
      await response.text();
    }
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });
});
