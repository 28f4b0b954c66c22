import type { IncomingMessage, ServerResponse } from "node:http";
import { Batch } from "../core/batch.ts";
import type { BodyContent } from "../core/body.ts";
import { GatewayError } from "../core/errors.ts";
import type { Exchange } from "../core/exchange.ts";
import type { StreamSource } from "../core/reply.ts";
import { isObject } from "../core/util.ts";
import { formatFrames } from "../dialects/sse.ts";
import type { Gateway } from "../gateway/create-gateway.ts";
import { newId } from "../gateway/ids.ts";
import { type Answer, answerRequest, errorAnswer, MAX_BODY_BYTES } from "./answer.ts";
import { keepAwake } from "./pinger.ts";
import { routeTable } from "./routes.ts";

export interface NodeHandlerOptions {
  /** Path below which the gateway is mounted, where the framework does not strip it itself: `/ai`. @default "" */
  basePath?: string;
  /** Largest request body, bytes. @default 32 MiB */
  maxBodyBytes?: number;
}

/** Works as a `node:http` listener, an Express middleware and a Fastify handler (`reply.hijack()`). */
export type NodeHandler = (
  request: IncomingMessage & { body?: unknown; originalUrl?: string },
  response: ServerResponse,
  next?: (error?: unknown) => void,
) => void;

/**
 * Serves the gateway under `node:http`, Express or Fastify, with or without a body parser before it.
 * Paths that are not the gateway's go to `next()`, or are answered 404 where there is none.
 */
export function toNodeHandler(gateway: Gateway, options: NodeHandlerOptions = {}): NodeHandler {
  const basePath = (options.basePath ?? "").replace(/\/$/, "");
  const limit = options.maxBodyBytes ?? MAX_BODY_BYTES;
  const route = routeTable(gateway.dialects);

  return function turnpike(request, response, next) {
    const path = ownPath(request.url ?? "/", basePath);
    const headers = request.headers as Record<string, string | undefined>;
    const found = path === undefined ? undefined : route({ method: request.method ?? "GET", path, headers });
    if (!found) {
      if (next) return next();
      const unknown = new GatewayError("not_found", "No such path");
      return writeJson(response, errorAnswer(unknown, gateway.dialects[0]!, newId(), {}));
    }
    const doubled = repeatedHeader(request.rawHeaders);
    let left = false;
    let exchange: Exchange | undefined;
    response.on("close", () => {
      if (response.writableFinished) return;
      left = true;
      exchange?.abort(new GatewayError("client_closed", "The caller closed the connection"));
    });
    answerRequest(gateway, {
      found,
      headers,
      body: async () => {
        if (doubled) throw new GatewayError("invalid_request", `The header \`${doubled}\` is sent twice`);
        return readBody(request, limit);
      },
      onExchange: (started) => {
        exchange = started;
        if (left) started.abort(new GatewayError("client_closed", "The caller closed the connection"));
      },
    }).then(
      (answer) => {
        if (answer.body?.type === "stream") writeStream(response, answer, answer.body.source);
        else answers.add({ response, answer });
      },
      () => response.destroy(),
    );
  };
}

/** The path below `basePath`, without query; undefined when it is somebody else's. */
function ownPath(url: string, basePath: string): string | undefined {
  const query = url.indexOf("?");
  const path = query === -1 ? url : url.slice(0, query);
  if (basePath === "") return path;
  if (!path.startsWith(`${basePath}/`)) return undefined;
  return path.slice(basePath.length);
}

const ONCE = ["host", "authorization", "x-api-key", "x-goog-api-key", "content-length"];

/** Node keeps the first of two; who sends two means to smuggle one. */
function repeatedHeader(raw: readonly string[]): string | undefined {
  let seen = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    const place = ONCE.indexOf(name);
    if (place === -1) continue;
    if (seen & (1 << place)) return name;
    seen |= 1 << place;
  }
  return undefined;
}

/** Those that were read in one turn start together, and those that are ready are written together. */
const bodies = new Batch<() => void>((start) => start());
const answers = new Batch<{ response: ServerResponse; answer: Answer }>(({ response, answer }) =>
  writeJson(response, answer),
);

async function readBody(request: IncomingMessage & { body?: unknown }, limit: number): Promise<BodyContent> {
  const parsed = request.body;
  if (Buffer.isBuffer(parsed)) return { bytes: parsed };
  if (typeof parsed === "string") return { bytes: Buffer.from(parsed) };
  if (isObject(parsed) && request.readableEnded) return { json: parsed };
  if (parsed !== undefined && request.readableEnded)
    throw new GatewayError("invalid_request", "The request body must be a JSON object");
  if (request.readableEnded) {
    throw new GatewayError(
      "internal",
      "The request body was read before Turnpike saw it: mount Turnpike first, or pass the body on as `request.body`",
    );
  }
  if (Number(request.headers["content-length"] ?? 0) > limit) {
    throw new GatewayError("request_too_large", `The request body is larger than ${limit} bytes`);
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) {
        request.pause();
        reject(new GatewayError("request_too_large", `The request body is larger than ${limit} bytes`));
        return;
      }
      chunks.push(chunk);
    });
    request.on("end", () => bodies.add(() => resolve({ bytes: chunks })));
    // Every request closes once; only one that is not complete was left.
    request.on("close", () => {
      if (!request.complete)
        reject(new GatewayError("client_closed", "The caller closed the connection while sending"));
    });
  });
}

function writeJson(response: ServerResponse, { status, headers, body }: Answer): void {
  if (response.destroyed || response.headersSent) return;
  if (!body || body.type === "stream") {
    response.writeHead(status, headers);
    response.end();
    return;
  }
  // As text, head and body are written in one piece; every character of it is one byte.
  const content = body.text ?? body.bytes;
  headers["content-type"] = "application/json";
  headers["content-length"] = String(content.length);
  // The rest of a body that was refused is not waited for.
  if (status === 413) headers.connection = "close";
  response.writeHead(status, headers);
  response.end(content, "latin1");
}

function writeStream(response: ServerResponse, { status, headers, exchange }: Answer, source: StreamSource): void {
  if (response.destroyed) {
    source.cancel();
    return;
  }
  headers["content-type"] = "text/event-stream; charset=utf-8";
  headers["cache-control"] = "no-cache";
  response.writeHead(status, headers);
  const state = {
    lastWrite: performance.now(),
    ping: () => {
      if (!response.writableNeedDrain) response.write(exchange!.dialect.ping);
    },
  };
  const asleep = keepAwake(state);
  response.on("close", asleep);
  let full = false;
  response.on("drain", () => {
    full = false;
    source.resume();
  });
  const write = (chunk: string | Uint8Array) => {
    state.lastWrite = performance.now();
    if (response.write(chunk) || full) return;
    full = true;
    source.pause();
  };
  source.start({
    bytes: write,
    frames: (frames) => write(formatFrames(frames)),
    end: () => response.end(),
    fail: (_error, frames) => response.end(formatFrames(frames)),
  });
}
