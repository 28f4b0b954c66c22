import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import type { UpstreamCall, UpstreamResponse } from "../../src/core/provider.ts";
import { readAll } from "../../src/core/read-all.ts";
import { type PoolTransportOptions, poolTransport } from "../../src/transport/pool.ts";
import { CERT, KEY } from "../support/certificate.ts";
import { until } from "../support/gateway.ts";

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** A server over raw sockets: each is given to `talk`. */
async function raw(talk: (socket: Socket, nth: number) => void, server: Server = createServer()) {
  const sockets: Socket[] = [];
  server.on(server.listeners("secureConnection").length ? "secureConnection" : "connection", (socket: Socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    talk(socket, sockets.length);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

async function web(listener: RequestListener) {
  const server = createHttpServer(listener);
  const { url, sockets } = await raw(() => {}, server as unknown as Server);
  return { url, sockets, server };
}

function pool(url: string, options?: PoolTransportOptions) {
  const transport = poolTransport(url, options);
  open.push(transport.close);
  const send = (call: Partial<UpstreamCall> = {}) =>
    transport.send({ method: "POST", path: "/v1/x", headers: {}, body: "{}", ...call });
  const text = async (response: UpstreamResponse) => (await readAll(response.body, 1e9)).toString();
  return { ...transport, send, text, ask: async (call?: Partial<UpstreamCall>) => text(await send(call)) };
}

/** A server in a process of its own that answers after 50 ms. */
const SLOW_ANSWER = `require("http").createServer((_, response) => setTimeout(() => response.end("ok"), 50))
  .listen(0, "127.0.0.1", function () { console.log(this.address().port); })`;

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const answerEach = (socket: Socket, answer = OK) => socket.on("data", () => socket.write(answer));

describe("calls over kept connections", () => {
  test("carry method, path, headers and body, whatever they hold", async () => {
    const seen: unknown[] = [];
    const { url } = await web(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const { "x-call": call, "x-always": always, host, connection } = request.headers;
      seen.push({ method: request.method, path: request.url, call, always, host, connection });
      response.end(Buffer.concat(chunks));
    });
    const { ask } = pool(`${url}/base/`, { headers: { "x-always": "a", "x-call": "from the provider" } });
    const long = "Zürich, 東京 🦊 ".repeat(20_000);
    for (const body of ["", "plain", "Zürich, 東京 🦊", long, Buffer.from([0, 255, 10, 13]), Buffer.from(long)]) {
      expect(await ask({ body, headers: { "x-call": "ü" } })).toBe(body.toString());
      const bytes = Buffer.from(body);
      const pieces = [bytes.subarray(0, 3), Buffer.from("<in between>"), bytes.subarray(3)];
      expect(await ask({ body: pieces })).toBe(Buffer.concat(pieces).toString());
    }
    expect(await ask({ method: "GET", path: "/y?z=1", body: undefined })).toBe("");
    const line = { always: "a", host: url.slice(7), connection: "keep-alive" };
    expect(seen[0]).toEqual({ ...line, method: "POST", path: "/base/v1/x", call: "ü" });
    expect(seen.at(-1)).toEqual({ ...line, method: "GET", path: "/base/y?z=1", call: "from the provider" });
  });

  test("use one connection one after the other, and as many as needed at once", async () => {
    const { url, sockets } = await raw((socket) => answerEach(socket));
    const { ask } = pool(url);
    for (let i = 0; i < 5; i++) expect(await ask()).toBe("hi");
    expect(sockets).toHaveLength(1);
    expect(await Promise.all(Array.from({ length: 6 }, () => ask()))).toEqual(Array(6).fill("hi"));
    expect(sockets.length).toBeLessThanOrEqual(6);
  });

  test("wait in line where the pool is full, and leave the line when they are aborted", async () => {
    const answers: (() => void)[] = [];
    const { url, sockets } = await raw((socket) => socket.on("data", () => answers.push(() => socket.write(OK))));
    const { ask } = pool(url, { pool: { connections: 2 } });
    let abort!: (reason: Error) => void;
    const asked = [
      ask(),
      ask(),
      ask({
        onAbort: (stop) => {
          abort = stop;
        },
      }),
      ask(),
    ];
    const aborted = expect(asked[2]).rejects.toThrow("enough");
    await until(() => answers.length === 2, "two are under way");
    abort(new Error("enough"));
    await aborted;
    answers.shift()!();
    await until(() => answers.length === 2, "the fourth has its turn");
    for (const answer of answers) answer();
    expect(await Promise.all([asked[0], asked[1], asked[3]])).toEqual(["hi", "hi", "hi"]);
    expect(sockets).toHaveLength(2);
  });

  test("that are aborted before they begin send nothing", async () => {
    let heard = 0;
    const { url } = await raw((socket) => socket.on("data", () => heard++ || socket.write(OK)));
    const { ask } = pool(url);
    const onAbort = (abort: (reason: Error) => void) => abort(new Error("never mind"));
    await expect(ask({ onAbort })).rejects.toThrow("never mind");
    await sleep(30);
    expect(heard).toBe(0);
  });

  test("are not given up where this process was late, not the upstream", async () => {
    const child = spawn(process.execPath, ["-e", SLOW_ANSWER]);
    open.push(() => child.kill());
    const port = String(await once(child.stdout, "data"));
    const { ask } = pool(`http://127.0.0.1:${port.trim()}`, { timeouts: { firstByteMs: 150 } });
    expect(await ask()).toBe("ok");
    const asked = ask();
    await sleep(20);
    // Timers come next, before anything is read.
    await new Promise(setImmediate);
    const until = performance.now() + 300;
    while (performance.now() < until);
    expect(await asked).toBe("ok");
  });

  test("go on over a new connection where the old one is not to be used again", async () => {
    for (const answer of [
      "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
      "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nhi",
      `${OK}surplus`,
    ]) {
      const { url, sockets } = await raw((socket) => answerEach(socket, answer));
      const { ask } = pool(url);
      expect([await ask(), await ask()]).toEqual(["hi", "hi"]);
      expect(sockets).toHaveLength(2);
    }
  });

  test("survive a server that closes its connections without a word", async () => {
    const { url, sockets } = await raw((socket) => socket.on("data", () => socket.end(OK)));
    const { ask } = pool(url);
    for (let i = 0; i < 50; i++) expect(await ask()).toBe("hi");
    expect(sockets).toHaveLength(50);
  });

  test("never read what came before they asked", async () => {
    const { url, sockets } = await raw((socket, nth) => {
      answerEach(socket);
      if (nth === 1) socket.once("data", () => setTimeout(() => socket.write(OK.replace("hi", "XX")), 20));
    });
    const { ask } = pool(url);
    await ask();
    await sleep(60);
    expect(await ask()).toBe("hi");
    expect(sockets).toHaveLength(2);
  });

  test("close what is idle for too long, and what the other side closes", async () => {
    const { url, sockets } = await raw((socket) => answerEach(socket));
    const { ask } = pool(url, { pool: { keepAliveMs: 60 } });
    await ask();
    await until(() => sockets[0]!.destroyed || sockets[0]!.readableEnded, "the idle connection is closed");
    expect(await ask()).toBe("hi");
    sockets[1]!.end();
    await sleep(30);
    expect(await ask()).toBe("hi");
    expect(sockets).toHaveLength(3);
  });

  test("are answered early, and the rest of such a request does not become the next one", async () => {
    const { url, sockets } = await raw((socket, nth) => {
      if (nth > 1) return void answerEach(socket);
      socket.once("data", () => {
        socket.pause();
        socket.write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
      });
    });
    const { send, text, ask } = pool(url);
    const response = await send({ body: Buffer.alloc(20_000_000, "x") });
    expect([response.status, await text(response)]).toEqual([413, "no"]);
    expect(await ask()).toBe("hi");
    expect(sockets).toHaveLength(2);
  });

  test("refuse what would end a line of the request", async () => {
    const { url, sockets } = await raw((socket) => answerEach(socket));
    const { send } = pool(url);
    await expect(send({ headers: { a: "1\r\nx-evil: 1" } })).rejects.toMatchObject({ code: "invalid_request" });
    await expect(send({ path: "/a HTTP/1.1\r\nx-evil: 1" })).rejects.toMatchObject({ code: "invalid_request" });
    expect(() => pool(url, { headers: { a: "1\n2" } })).toThrow("`a`");
    expect(() => pool(url, { headers: { "a: 1\r\nb": "2" } })).toThrow("no name");
    expect(sockets).toHaveLength(0);
  });

  test("go through TLS, whose certificate is checked", async () => {
    const server = createTlsServer({ cert: CERT, key: KEY, ALPNProtocols: ["http/1.1"] });
    const { sockets, url } = await raw(() => {}, server);
    server.on("secureConnection", (socket) => answerEach(socket));
    const secure = url.replace("http://127.0.0.1", "https://localhost");
    await expect(pool(secure).ask()).rejects.toMatchObject({
      code: "upstream_unreachable",
      billable: false,
      upstreamCode: "DEPTH_ZERO_SELF_SIGNED_CERT",
    });
    const before = getCACertificates("default");
    setDefaultCACertificates([...before, CERT]);
    try {
      const { ask, send, text } = pool(secure);
      const many = await Promise.all(Array.from({ length: 4 }, () => ask()));
      expect(many).toEqual(Array(4).fill("hi"));
      expect(await text(await send({ body: "x".repeat(300_000) }))).toContain("hi");
    } finally {
      setDefaultCACertificates(before);
    }
    expect(sockets.length).toBeGreaterThan(1);
  });
});

describe("a call that cannot be carried out tells why, and what it may cost", () => {
  const UNSENT = { billable: false };
  const SENT = { billable: true };

  test("nobody listens", async () => {
    await expect(pool("http://127.0.0.1:1").ask()).rejects.toMatchObject({
      code: "upstream_unreachable",
      upstreamCode: "ECONNREFUSED",
      ...UNSENT,
    });
  });

  test("every call in the line learns it", async () => {
    const { ask } = pool("http://127.0.0.1:1", { pool: { connections: 1 } });
    const all = await Promise.allSettled(Array.from({ length: 5 }, () => ask()));
    expect(all.map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
  });

  test("the connection is not accepted in time", async () => {
    // TLS to somebody who never shakes hands.
    const { url } = await raw(() => {});
    const { ask } = pool(url.replace("http:", "https:"), { timeouts: { connectMs: 60 } });
    await expect(ask()).rejects.toMatchObject({ code: "upstream_timeout", message: /accept a connection/, ...UNSENT });
  });

  test("the answer does not begin in time, whatever the provider's own patience", async () => {
    const { url, sockets } = await raw((socket) => socket.resume());
    const { ask } = pool(url);
    await expect(ask({ timeouts: { firstByteMs: 60 } })).rejects.toMatchObject({
      code: "upstream_timeout",
      message: /begin to answer/,
      ...SENT,
    });
    await until(() => sockets[0]!.destroyed || sockets[0]!.readableEnded, "its connection is closed");
  });

  test("it goes silent in the middle", async () => {
    const { url } = await raw((socket) => answerEach(socket, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi"));
    const { ask } = pool(url, { timeouts: { idleMs: 60 } });
    await expect(ask()).rejects.toMatchObject({ code: "upstream_timeout", message: /went silent/, ...SENT });
  });

  test("silence does not count while nobody reads", async () => {
    const { url } = await raw((socket) =>
      socket.once("data", async () => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi");
        await sleep(150);
        socket.write("ho");
      }),
    );
    const { send } = pool(url, { timeouts: { idleMs: 60 } });
    const { body } = await send();
    const heard: string[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      body.start({ data: (chunk) => void heard.push(Buffer.from(chunk).toString()), end: resolve, error: reject });
    });
    body.pause();
    await sleep(200);
    expect(heard).toEqual(["hi"]);
    body.resume();
    await ended;
    expect(heard).toEqual(["hi", "ho"]);
  });

  test.each([
    ["before the head", "", "upstream_unreachable"],
    ["in the head", "HTTP/1.1 200", "upstream_unreachable"],
    ["in the body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", "upstream_unreachable"],
    ["with nonsense", "SSH-2.0-OpenSSH_9.6\r\n\r\n", "upstream_invalid"],
    ["with another length behind its length", "HTTP/1.1 200 OK\r\ncontent-length : 9\r\n\r\nhi", "upstream_invalid"],
  ])("it breaks %s", async (_, answer, code) => {
    for (const end of ["end", "resetAndDestroy"] as const) {
      const { url } = await raw((socket) =>
        socket.once("data", () => {
          if (answer) socket.write(answer);
          setTimeout(() => socket[end](), 20);
        }),
      );
      await expect(pool(url).ask()).rejects.toMatchObject({ code, ...SENT });
    }
  });

  test("a redirect is not followed", async () => {
    const { url, sockets } = await raw((socket) =>
      answerEach(socket, "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nhi"),
    );
    await expect(pool(url).ask()).rejects.toMatchObject({ code: "upstream_invalid", message: /redirect \(307\)/ });
    await until(() => sockets[0]!.destroyed || sockets[0]!.readableEnded, "its connection is closed");
  });

  test("who cancels hears no more, and the connection is closed", async () => {
    const { url, sockets } = await raw((socket) =>
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
        const more = setInterval(() => socket.write("2\r\nho\r\n"), 5);
        socket.on("close", () => clearInterval(more));
      }),
    );
    const { send } = pool(url);
    const { body } = await send();
    const heard: unknown[] = [];
    body.start({
      data: (chunk) => heard.push(chunk),
      end: () => heard.push("end"),
      error: (error) => heard.push(error),
    });
    await until(() => heard.length > 1, "something was heard");
    body.cancel();
    const { length } = heard;
    await until(() => sockets[0]!.destroyed || sockets[0]!.readableEnded, "its connection is closed");
    await sleep(30);
    expect(heard).toHaveLength(length);
  });

  test("closing the pool ends what is under way and refuses what comes", async () => {
    const { url, sockets } = await raw((socket) => socket.resume());
    const { ask, close } = pool(url);
    const asked = expect(ask()).rejects.toMatchObject({ code: "upstream_unreachable" });
    await until(() => sockets.length === 1, "it is under way");
    await close();
    await asked;
    await expect(ask()).rejects.toMatchObject({ code: "upstream_unreachable", ...UNSENT });
  });
});

test("a large answer to a slow reader stays at the upstream", async () => {
  const CHUNK = Buffer.alloc(64 * 1024, "x");
  let written = 0;
  const { url } = await web((_, response) => {
    const more = () => {
      while (written < 50_000_000) {
        written += CHUNK.length;
        if (!response.write(CHUNK)) return void response.once("drain", more);
      }
      response.end();
    };
    more();
  });
  const { send } = pool(url);
  const { body } = await send();
  let read = 0;
  await new Promise<void>((resolve, reject) => {
    body.start({
      data: (chunk) => {
        read += chunk.length;
        if (read > 1_000_000 && read < 1_200_000) {
          body.pause();
          setTimeout(() => {
            expect(written).toBeLessThan(30_000_000);
            body.resume();
          }, 150);
        }
      },
      end: resolve,
      error: reject,
    });
  });
  expect(read).toBe(written);
});
