import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, type Socket as NetSocket } from "node:net";
import { afterEach, expect } from "vitest";
import { listen, shut } from "../support/gateway.ts";

/** Fails the test in which something was thrown that nobody caught: in a server it would have ended the process. */
export function noUncaughtErrors(): void {
  const uncaught: unknown[] = [];
  process.on("unhandledRejection", (error) => uncaught.push(error));
  process.on("uncaughtException", (error) => uncaught.push(error));
  afterEach(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    expect(uncaught.splice(0)).toEqual([]);
  });
}

/** A client family: how it asks, and how it reads what it is given. */
export interface Caller {
  readonly name: "anthropic" | "openai";
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
}

export const CALLERS: readonly Caller[] = [
  {
    name: "anthropic",
    path: "/anthropic/v1/messages",
    body: { model: "test", max_tokens: 500, messages: [{ role: "user", content: "Say something long." }] },
    headers: { "anthropic-version": "2023-06-01" },
  },
  {
    name: "openai",
    path: "/openai/v1/chat/completions",
    body: {
      model: "test",
      max_completion_tokens: 500,
      messages: [{ role: "user", content: "Say something long." }],
    },
    headers: {},
  },
];

export function requestBody(caller: Caller, stream: boolean): Record<string, unknown> {
  if (!stream) return { ...caller.body };
  return { ...caller.body, stream, ...(caller.name === "openai" && { stream_options: { include_usage: true } }) };
}

export function ask(url: string, caller: Caller, stream: boolean, init: RequestInit = {}): Promise<Response> {
  return fetch(url + caller.path, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer caller-key", ...caller.headers },
    body: JSON.stringify(requestBody(caller, stream)),
    ...init,
  });
}

/** One answer as a client understands it. */
export interface Understood {
  status: number;
  headers: Headers;
  /** Everything that was received. */
  raw: string;
  text: string;
  /** Errors of the dialect's own form: the body's, or events in the stream. */
  errors: Record<string, unknown>[];
  /** The answer says of itself that it is complete. */
  complete: boolean;
  models: Set<string>;
}

export async function understand(response: Response, caller: Caller): Promise<Understood> {
  const raw = await response.text();
  const out: Understood = {
    status: response.status,
    headers: response.headers,
    raw,
    text: "",
    errors: [],
    complete: false,
    models: new Set(),
  };
  if (!response.headers.get("content-type")?.includes("text/event-stream")) {
    readWhole(out, JSON.parse(raw), caller);
    return out;
  }
  for (const block of raw.split(/\r\n\r\n|\n\n|\r\r/)) {
    const lines = block.split(/\r\n|\n|\r/);
    const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
    if (data.length > 0) readEvent(out, data.join("\n"), caller);
  }
  return out;
}

// biome-ignore lint/suspicious/noExplicitAny: the tests read foreign JSON
type Json = any;

function readWhole(out: Understood, body: Json, caller: Caller): void {
  if (body.error) return void out.errors.push(checkedError(body, caller));
  out.complete = true;
  out.models.add(body.model);
  const blocks = caller.name === "anthropic" ? body.content : body.choices.map((choice: Json) => choice.message);
  for (const block of blocks) out.text += block.text ?? block.content ?? "";
}

function readEvent(out: Understood, data: string, caller: Caller): void {
  if (data === "[DONE]") {
    out.complete = true;
    return;
  }
  const event = JSON.parse(data);
  if (event.error) return void out.errors.push(checkedError(event, caller));
  expect(out.errors, "nothing follows an error").toEqual([]);
  if (event.type === "message_stop") out.complete = true;
  const model = event.message?.model ?? event.model;
  if (model) out.models.add(model);
  out.text += event.delta?.text ?? event.choices?.[0]?.delta?.content ?? "";
}

/** The error has the form that this caller's SDK knows. */
function checkedError(body: Json, caller: Caller): Record<string, unknown> {
  expect(body.error).toMatchObject({ type: expect.any(String), message: expect.any(String) });
  if (caller.name === "anthropic") expect(body.type).toBe("error");
  else expect(body.error).toHaveProperty("code");
  return body.error;
}

/** An upstream that does what no fake would. */
export async function upstream(
  answer: (request: IncomingMessage & { raw: string }, response: ServerResponse) => void,
): Promise<{ baseURL: string; requests: IncomingMessage[]; close(): Promise<void> }> {
  const requests: IncomingMessage[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(request);
    response.on("error", () => {});
    const chunks: Buffer[] = [];
    request.on("error", () => {});
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => answer(Object.assign(request, { raw: Buffer.concat(chunks).toString() }), response));
  });
  const url = await listen(server);
  return { baseURL: `${url}/v1`, requests, close: () => shut(server) };
}

/** Bytes on a socket, as no polite client would send them. Resolves with everything that comes back. */
export function raw(
  url: string,
  bytes: string | Uint8Array | readonly (string | Uint8Array)[],
  { ms = 3_000, destroyAfterMs }: { ms?: number; destroyAfterMs?: number } = {},
): Promise<{ status: number; head: string; body: string }> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    let received = "";
    const done = () => {
      clearTimeout(patience);
      socket.destroy();
      const [head = "", ...rest] = received.split("\r\n\r\n");
      resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0), head, body: rest.join("\r\n\r\n") });
    };
    const patience = setTimeout(done, ms);
    socket.on("data", (chunk) => {
      received += chunk.toString("utf8");
      const [head, body] = received.split("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(head ?? "")?.[1] ?? Number.NaN);
      if (body !== undefined && Buffer.byteLength(body) >= length) done();
    });
    socket.on("error", () => {});
    socket.on("close", done);
    for (const piece of typeof bytes === "string" || bytes instanceof Uint8Array ? [bytes] : bytes) socket.write(piece);
    if (destroyAfterMs !== undefined) setTimeout(() => socket.destroy(), destroyAfterMs);
  });
}

/** A client that has the answer's head and then reads nothing. */
export function openSocket(url: string, text: string): NetSocket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  socket.write(text);
  return socket;
}

export function httpText(path: string, body: string | Uint8Array, headers: Record<string, string> = {}): Buffer {
  const bytes = Buffer.from(body as string);
  const all = {
    host: "gateway",
    "content-type": "application/json",
    "content-length": String(bytes.length),
    ...headers,
  };
  const head = Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${head}\r\n`), bytes]);
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
