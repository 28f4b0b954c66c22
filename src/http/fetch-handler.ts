import { GatewayError } from "../core/errors.ts";
import type { Exchange } from "../core/exchange.ts";
import type { StreamSource } from "../core/reply.ts";
import { formatFrames } from "../dialects/sse.ts";
import type { Gateway } from "../gateway/create-gateway.ts";
import { newId } from "../gateway/ids.ts";
import { type Answer, answerRequest, errorAnswer, MAX_BODY_BYTES } from "./answer.ts";
import { keepAwake } from "./pinger.ts";
import { routeTable } from "./routes.ts";

/** The same door for web-standard servers (Hono, Bun, Next). */
export function toFetchHandler(gateway: Gateway): (request: Request) => Promise<Response> {
  const route = routeTable(gateway.dialects);
  return async (request) => {
    const headers: Record<string, string> = Object.fromEntries(request.headers);
    const found = route({ method: request.method, path: new URL(request.url).pathname, headers });
    if (!found)
      return toResponse(errorAnswer(new GatewayError("not_found", "No such path"), gateway.dialects[0]!, newId(), {}));
    let exchange: Exchange | undefined;
    const abort = () => exchange?.abort(new GatewayError("client_closed", "The caller aborted"));
    request.signal.addEventListener("abort", abort, { once: true });
    const answer = await answerRequest(gateway, {
      found,
      headers,
      body: async () => {
        const bytes = Buffer.from(await request.arrayBuffer());
        if (bytes.length > MAX_BODY_BYTES)
          throw new GatewayError("request_too_large", `The request body is larger than ${MAX_BODY_BYTES} bytes`);
        return { bytes };
      },
      onExchange: (started) => {
        exchange = started;
        started.onFinish(() => request.signal.removeEventListener("abort", abort));
        if (request.signal.aborted) abort();
      },
    });
    return toResponse(answer);
  };
}

function toResponse({ status, headers, body, exchange }: Answer): Response {
  if (!body) return new Response(null, { status, headers });
  if (body.type === "json") {
    return new Response(body.bytes as Uint8Array<ArrayBuffer>, {
      status,
      headers: { ...headers, "content-type": "application/json" },
    });
  }
  return new Response(webStream(body.source, exchange!), {
    status,
    headers: { ...headers, "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
  });
}

function webStream(source: StreamSource, exchange: Exchange): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let asleep = () => {};
  let open = true;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const state = {
        lastWrite: performance.now(),
        ping: () => controller.enqueue(encoder.encode(exchange.dialect.ping)),
      };
      asleep = keepAwake(state);
      const write = (chunk: Uint8Array) => {
        if (!open) return;
        state.lastWrite = performance.now();
        controller.enqueue(chunk);
        if ((controller.desiredSize ?? 1) <= 0) source.pause();
      };
      const end = (text: string) => {
        asleep();
        if (!open) return;
        open = false;
        if (text !== "") controller.enqueue(encoder.encode(text));
        controller.close();
      };
      source.start({
        bytes: write,
        frames: (frames) => write(encoder.encode(formatFrames(frames))),
        end: () => end(""),
        fail: (_error, frames) => end(formatFrames(frames)),
      });
    },
    pull: () => source.resume(),
    cancel() {
      open = false;
      asleep();
      exchange.abort(new GatewayError("client_closed", "The caller stopped reading"));
      source.cancel();
    },
  });
}
