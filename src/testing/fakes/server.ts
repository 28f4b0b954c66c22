import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Asked, type Behaviour, HEX, idFor, type Script, type Turn, toTurn } from "./behaviour.ts";
import { type Frame, type FrameStream, type SseOptions, write, writeFrame } from "./sse.ts";

/** One request as a fake saw it. */
export interface FakeRequest {
  /** 32 hex digits, deterministic. */
  readonly id: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  /** Parsed JSON; undefined when there was none or it does not parse. */
  readonly body: unknown;
  readonly raw: string;
  /** Epoch ms. */
  readonly at: number;
  /** The client's socket closed before the answer was complete. */
  closedEarly: boolean;
  /** Epoch ms, when `closedEarly`. */
  closedAt?: number;
}

export interface FakeOptions {
  /** @default 0, any free port */
  port?: number;
  /** The keys that are accepted. By default any key is. */
  apiKey?: string | readonly string[];
  sse?: SseOptions;
  /** What it does when nothing else is programmed. @default an answer that repeats what the user said */
  behaviour?: Behaviour;
  /** The clock, epoch ms. @default Date.now */
  now?: () => number;
}

/** A running fake upstream. */
export interface Fake extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** With the version segment: what a provider's `baseURL` takes. */
  readonly baseURL: string;
  /** Every request, in order of arrival, refused ones too. */
  readonly requests: readonly FakeRequest[];
  /** Programs the next accepted requests to a model, one behaviour each. Refused ones and counts use up none. */
  next(...behaviours: Behaviour[]): Fake;
  /** Programs all accepted requests to a model for which no `next` is left. */
  always(behaviour: Behaviour): Fake;
  /** Forgets requests, programmed behaviours and whatever was stored. */
  reset(): void;
  /** Stops listening and destroys all sockets. */
  close(): Promise<void>;
}

export interface Reply {
  status: number;
  /** JSON, or text as it is. */
  body?: unknown;
  headers?: Record<string, string>;
}

/** What the real API would answer a body with instead of taking it. */
export interface ValidatorRefusal {
  status: number;
  body: unknown;
}

/** One provider's wire format: what it refuses, and how it words what it answers. */
export interface Wire {
  readonly name: string;
  /** The version segment. @default "/v1" */
  readonly basePath?: string;
  /** How its streams are written unless told otherwise. */
  readonly sse?: SseOptions;
  /** A finished reply (other routes, refusals), or an accepted request to a model. */
  route(request: FakeRequest): Reply | { accepted: Asked };
  whole(turn: Turn, request: FakeRequest): unknown;
  stream(turn: Turn, request: FakeRequest): FrameStream;
  errorBody(status: number, request: FakeRequest, error?: Script["errorEvent"]): unknown;
  /** @param sent how many frames went out before */
  errorFrame(error: NonNullable<Script["errorEvent"]>, request: FakeRequest, sent: number): Frame;
  headers?(request: FakeRequest): Record<string, string>;
  /** Forgets what it has stored. */
  reset?(): void;
}

/** Starts a fake on 127.0.0.1. Use `await using`, or call `close()`. */
export async function startFake(wire: Wire, options: FakeOptions = {}): Promise<Fake> {
  const now = options.now ?? Date.now;
  const requests: FakeRequest[] = [];
  let queue: Behaviour[] = [];
  let always: Behaviour = options.behaviour ?? {};
  let received = 0;
  let answered = 0;
  let closing = false;

  const server = createServer((incoming, response) => {
    response.on("error", () => {});
    serve(incoming, response).catch((error: unknown) => {
      // A behaviour function threw: say so where the test can see it.
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { "content-type": "text/plain" }).end(`The fake failed: ${error}`);
    });
  });

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await receive(incoming, idFor(`${wire.name} ${++received}`, 32, HEX), now()).catch(() => undefined);
    if (!request) return; // The client left while it was still sending.
    requests.push(request);
    const line = new Line(response, request, now, () => closing);

    const routed = wire.route(request);
    if ("status" in routed) return line.reply(routed, wire.headers?.(request));

    const behaviour = queue.shift() ?? always;
    const script = typeof behaviour === "function" ? await behaviour(request) : behaviour;
    const turn = toTurn(script, routed.accepted, wire.name, ++answered, Math.floor(now() / 1000));
    await perform(wire, line, script, turn, routed.accepted.stream, options.sse);
  }

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const fake: Fake = {
    url,
    baseURL: `${url}${wire.basePath ?? "/v1"}`,
    requests,
    next(...behaviours) {
      queue.push(...behaviours);
      return fake;
    },
    always(behaviour) {
      always = behaviour;
      return fake;
    },
    reset() {
      requests.length = 0;
      queue = [];
      always = options.behaviour ?? {};
      received = 0;
      answered = 0;
      wire.reset?.();
    },
    close() {
      closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
    [Symbol.asyncDispose]: () => fake.close(),
  };
  return fake;
}

/** The key of `Authorization: Bearer …`. */
export function bearerOf(request: FakeRequest): string | undefined {
  return /^Bearer (\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
}

/** Whether a fake with these options takes this key. */
export function takesKey(options: FakeOptions, key: string): boolean {
  return options.apiKey === undefined || [options.apiKey].flat().includes(key);
}

/** Does to one accepted request what the script says. */
async function perform(wire: Wire, line: Line, script: Script, turn: Turn, asked: boolean, sse: SseOptions = {}) {
  const { request } = line;
  const headers = { ...wire.headers?.(request), ...script.headers };
  await line.pause(script.delayMs);

  if (script.hang === "before-headers") return line.closed;
  if (script.reset === "before-headers") return line.destroy();
  if (script.redirect !== undefined)
    return line.reply({ status: script.status ?? 307, body: "", headers: { location: script.redirect } }, headers);
  if (script.html) return line.reply({ status: script.status ?? 200, body: HTML, headers: HTML_TYPE }, headers);
  if (script.status !== undefined) {
    const body = script.body ?? wire.errorBody(script.status, request, script.errorEvent);
    return line.reply({ status: script.status, body }, headers);
  }

  const streaming = script.streamForJson || (asked && !script.jsonForStream);
  const breaks = Boolean(script.cut || script.hang || script.reset || script.errorEvent);
  if (!streaming) {
    if (!breaks) return line.reply({ status: 200, body: wire.whole(turn, request) }, headers);
    if (script.errorEvent)
      return line.reply({ status: 500, body: wire.errorBody(500, request, script.errorEvent) }, headers);
  }

  const frames = streaming ? wire.stream(turn, request) : undefined;
  line.open(frames ? (frames.type ?? "text/event-stream; charset=utf-8") : "application/json", headers);
  if (script.hang === "after-headers") return line.closed;
  if (frames) {
    const { open, content, close } = frames;
    const sent = breaks
      ? [...open, ...content.slice(0, Math.ceil(content.length / 2))]
      : [...open, ...content, ...close];
    if (script.errorEvent) sent.push(wire.errorFrame(script.errorEvent, request, sent.length));
    for (const frame of sent) {
      await writeFrame(line.response, frame, { ...wire.sse, ...sse, ...script.sse });
      await line.pause(script.chunkDelayMs);
    }
  } else {
    const bytes = Buffer.from(JSON.stringify(wire.whole(turn, request)));
    await write(line.response, bytes.subarray(0, bytes.length / 2));
  }
  if (script.hang) return line.closed;
  if (script.reset) return line.destroy();
  line.response.end();
}

/** The connection of one request: knows when the client left, and that it was not us. */
class Line {
  readonly response: ServerResponse;
  readonly request: FakeRequest;
  readonly closed: Promise<void>;
  readonly #left = new AbortController();
  #destroyed = false;

  constructor(response: ServerResponse, request: FakeRequest, now: () => number, closing: () => boolean) {
    this.response = response;
    this.request = request;
    this.closed = new Promise((resolve) => {
      response.once("close", () => {
        if (!response.writableFinished && !this.#destroyed && !closing()) {
          request.closedEarly = true;
          request.closedAt = now();
        }
        this.#left.abort();
        resolve();
      });
    });
  }

  open(type: string, headers: Record<string, string>): void {
    this.response.writeHead(200, { "content-type": type, ...headers });
    this.response.flushHeaders();
  }

  reply(reply: Reply, headers: Record<string, string> = {}): void {
    const text = typeof reply.body === "string";
    const body = text ? (reply.body as string) : reply.body === undefined ? "" : JSON.stringify(reply.body);
    const type = { "content-type": text ? "text/plain; charset=utf-8" : "application/json" };
    this.response.writeHead(reply.status, {
      ...type,
      ...reply.headers,
      ...headers,
      "content-length": Buffer.byteLength(body),
    });
    this.response.end(body);
  }

  destroy(): void {
    this.#destroyed = true;
    this.response.destroy();
  }

  async pause(ms: number | undefined): Promise<void> {
    if (ms) await sleep(ms, undefined, { signal: this.#left.signal }).catch(() => {});
  }
}

const HTML = "<!doctype html><title>Service</title><p>This is not the API you are looking for.</p>";
const HTML_TYPE = { "content-type": "text/html; charset=utf-8" };

async function receive(incoming: IncomingMessage, id: string, at: number): Promise<FakeRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const raw = Buffer.concat(chunks).toString("utf8");
  const { pathname, search } = new URL(incoming.url ?? "/", "http://fake");
  const request = { id, method: incoming.method ?? "GET", path: pathname, query: search.slice(1), at, raw };
  return { ...request, headers: incoming.headers, body: parseJson(raw), closedEarly: false };
}

function parseJson(raw: string): unknown {
  try {
    return JSON.parse(raw);
  } catch {
    return undefined;
  }
}
