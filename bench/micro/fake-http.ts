/** The least of a request and a response that a handler for `node:http` needs: no sockets, no parser, no writer. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { NodeHandler } from "../../src/index.ts";

type Listener = (...given: unknown[]) => void;

/** Nobody takes a listener back. */
abstract class Emitter {
  abstract on(event: string, listener: Listener): this;
  once(event: string, listener: Listener): this {
    return this.on(event, listener);
  }
  off(): this {
    return this;
  }
  removeListener(): this {
    return this;
  }
}

class FakeRequest extends Emitter {
  readonly method = "POST";
  readonly complete = true;
  readonly socket = { cork() {}, uncork() {}, on() {}, once() {}, off() {}, removeListener() {} };
  readableEnded = false;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly rawHeaders: readonly string[];
  readonly #body: Buffer;
  #onData: Listener | undefined;

  constructor({ url, headers, rawHeaders, body }: Asked) {
    super();
    this.url = url;
    this.headers = headers;
    this.rawHeaders = rawHeaders;
    this.#body = body;
  }
  on(event: string, listener: Listener): this {
    if (event === "data") this.#onData = listener;
    else if (event === "end")
      queueMicrotask(() => {
        this.#onData!(this.#body);
        this.readableEnded = true;
        listener();
      });
    return this;
  }
  pause(): void {}
  resume(): void {}
}

class FakeResponse extends Emitter {
  readonly destroyed = false;
  readonly writableNeedDrain = false;
  readonly writableLength = 0;
  statusCode = 200;
  headersSent = false;
  writableEnded = false;
  writableFinished = false;
  readonly #closed: Listener[] = [];
  readonly #done: (status: number) => void;

  constructor(done: (status: number) => void) {
    super();
    this.#done = done;
  }
  on(event: string, listener: Listener): this {
    if (event === "close") this.#closed.push(listener);
    return this;
  }
  setHeader(): void {}
  flushHeaders(): void {}
  cork(): void {}
  uncork(): void {}
  writeHead(status: number): this {
    this.statusCode = status;
    this.headersSent = true;
    return this;
  }
  write(): boolean {
    return true;
  }
  end(): void {
    this.writableEnded = true;
    this.writableFinished = true;
    for (const listener of this.#closed) listener();
    this.#done(this.statusCode);
  }
  destroy(): void {
    this.#done(0);
  }
}

interface Asked {
  url: string;
  headers: Record<string, string>;
  rawHeaders: readonly string[];
  body: Buffer;
}

/** One request after another through the handler. @returns rejects when an answer is not 200 */
export function caller(
  handler: NodeHandler,
  url: string,
  given: Record<string, string>,
  text: string,
): () => Promise<void> {
  const body = Buffer.from(text);
  const headers = { host: "bench", ...given, "content-length": String(body.length) };
  const asked: Asked = { url, headers, rawHeaders: Object.entries(headers).flat(), body };
  return () =>
    new Promise((resolve, reject) => {
      const response = new FakeResponse((status) =>
        status === 200 ? resolve() : reject(new Error(`answered with ${status}`)),
      );
      handler(new FakeRequest(asked) as unknown as IncomingMessage, response as unknown as ServerResponse);
    });
}
