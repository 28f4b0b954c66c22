/**
 * Process: the floor. The least that a proxy on `node:http` and undici does: body buffered, `Pool.dispatch`, a JSON
 * answer written once, a stream piped chunk by chunk with back-pressure. It reads nothing and checks nothing.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Dispatcher, Pool } from "undici";

const pool = new Pool(process.argv[2]!, { connections: null, headersTimeout: 300_000, bodyTimeout: 60_000 });
const HEADERS = { "content-type": "application/json", authorization: "Bearer upstream-key" };

function proxy(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    pool.dispatch({ method: "POST", path: request.url!, headers: HEADERS, body }, answer(response));
  });
}

function answer(response: ServerResponse): Dispatcher.DispatchHandler {
  const parts: Buffer[] = [];
  let stream = false;
  return {
    onRequestStart(controller) {
      response.on("close", () => {
        if (!response.writableFinished) controller.abort(new Error("left"));
      });
    },
    onResponseStart(controller, status, headers) {
      const type = String(headers["content-type"]);
      stream = type.startsWith("text/event-stream");
      if (!stream) return;
      response.writeHead(status, { "content-type": type });
      response.on("drain", () => controller.resume());
    },
    onResponseData(controller, chunk) {
      if (!stream) parts.push(chunk);
      else if (!response.write(chunk)) controller.pause();
    },
    onResponseEnd() {
      if (stream) return void response.end();
      const body = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
      response.end(body);
    },
    onResponseError(_controller, error) {
      response.destroy(error);
    },
  };
}

const server = createServer(proxy);
server.listen(0, "127.0.0.1", 4_096, () => {
  process.send!({ type: "ready", port: (server.address() as AddressInfo).port });
});
