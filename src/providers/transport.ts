import { type Dispatcher, Pool } from "undici";
import { GatewayError, isGatewayError } from "../core/errors.ts";
import type { ByteSink, ByteSource, Transport, UpstreamCall, UpstreamResponse } from "../core/provider.ts";

/** Patience with one upstream call, milliseconds. */
export interface Timeouts {
  /** TCP and TLS. @default 5_000 */
  connectMs?: number;
  /** From the request to the head of the answer. Reasoning models think before they answer. @default 300_000 */
  firstByteMs?: number;
  /** Between two chunks of the answer. @default 60_000 */
  idleMs?: number;
}

export interface PoolOptions {
  /** Most sockets per provider; slow streams hold one each. @default unlimited */
  connections?: number;
  /** How long an idle socket is kept. @default 4_000 */
  keepAliveMs?: number;
}

/** Where a call failed: before any byte left (`sent: false`) nothing can have been billed. */
function failure(error: Error & { code?: string }, sent: boolean): GatewayError {
  const timeouts = ["UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"];
  const code = timeouts.includes(error.code ?? "") ? "upstream_timeout" : "upstream_unreachable";
  const message =
    error.code === "UND_ERR_CONNECT_TIMEOUT"
      ? "The upstream did not accept a connection in time"
      : error.code === "UND_ERR_HEADERS_TIMEOUT"
        ? "The upstream did not begin to answer in time"
        : error.code === "UND_ERR_BODY_TIMEOUT"
          ? "The upstream went silent in the middle of its answer"
          : sent
            ? "The connection to the upstream broke"
            : "The upstream could not be reached";
  return new GatewayError(code, message, { upstreamCode: error.code, billable: sent, cause: error });
}

/** Why a call was stopped, and what that costs: who was asked may bill although nobody reads the answer. */
function stopped(reason: Error, sent: boolean): Error {
  return isGatewayError(reason) ? new GatewayError(reason.code, reason.message, { ...reason, billable: sent }) : reason;
}

/** A body that comes by itself: buffers what is there before `start`, so that nothing is lost until the first reader. */
abstract class PushedBody implements ByteSource {
  #sink: ByteSink | undefined;
  #early: Uint8Array[] | undefined;
  #ended = false;
  #error: Error | undefined;
  #cancelled = false;

  abstract pause(): void;
  abstract resume(): void;
  /** Closes the connection. */
  protected abstract stop(): void;

  start(sink: ByteSink): void {
    this.#sink = sink;
    const early = this.#early;
    this.#early = undefined;
    for (const chunk of early ?? []) {
      if (this.#cancelled) return;
      sink.data(chunk);
    }
    if (this.#cancelled) return;
    if (this.#error) sink.error(this.#error);
    else if (this.#ended) sink.end();
  }
  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#early = undefined;
    if (!this.#ended && !this.#error) this.stop();
  }
  protected push(chunk: Uint8Array): void {
    if (this.#cancelled) return;
    if (this.#sink) this.#sink.data(chunk);
    else if (this.#early) this.#early.push(chunk);
    else this.#early = [chunk];
  }
  protected end(): void {
    this.#ended = true;
    if (!this.#cancelled) this.#sink?.end();
  }
  protected break(error: Error): void {
    if (this.#ended || this.#error) return;
    this.#error = error;
    if (!this.#cancelled) this.#sink?.error(error);
  }
}

function isRedirect(status: number): boolean {
  return status >= 300 && status < 400;
}

function redirected(status: number): GatewayError {
  // A followed redirect would carry the provider's key to an address nobody configured.
  return new GatewayError(
    "upstream_invalid",
    `The upstream answered with a redirect (${status}), which is not followed`,
  );
}

/** The default transport: undici, keep-alive, one pool per provider. */
export function undiciTransport(
  baseURL: string,
  timeouts: Timeouts = {},
  pool: PoolOptions = {},
): { send: Transport; close(): Promise<void> } {
  const { origin, pathname } = new URL(baseURL);
  const prefix = pathname.replace(/\/$/, "");
  const client = new Pool(origin, {
    connections: pool.connections ?? null,
    keepAliveTimeout: pool.keepAliveMs ?? 4_000,
    connect: { timeout: timeouts.connectMs ?? 5_000 },
    headersTimeout: timeouts.firstByteMs ?? 300_000,
    bodyTimeout: timeouts.idleMs ?? 60_000,
  });
  const send: Transport = (call) =>
    new Promise<UpstreamResponse>((resolve, reject) => {
      const handler = new UndiciCall(resolve, reject);
      call.onAbort?.((reason) => handler.abort(reason));
      const { timeouts: patience } = call;
      const options: Dispatcher.DispatchOptions = {
        method: call.method,
        path: prefix + call.path,
        headers: call.headers,
        body: call.body ?? null,
      };
      if (patience?.firstByteMs !== undefined) options.headersTimeout = patience.firstByteMs;
      if (patience?.idleMs !== undefined) options.bodyTimeout = patience.idleMs;
      client.dispatch(options, handler);
    });
  return { send, close: () => client.destroy() };
}

/** One call and the body of its answer: one object, because there is one for every request. */
class UndiciCall extends PushedBody implements Dispatcher.DispatchHandler {
  readonly #resolve: (response: UpstreamResponse) => void;
  readonly #reject: (error: Error) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #sent = false;
  #answered = false;
  #aborted: Error | undefined;

  constructor(resolve: (response: UpstreamResponse) => void, reject: (error: Error) => void) {
    super();
    this.#resolve = resolve;
    this.#reject = reject;
  }

  abort(reason: Error): void {
    this.#aborted = stopped(reason, this.#sent);
    // Still waiting for a connection: with the caller gone nothing else has to wait for it.
    if (this.#controller) this.#controller.abort(this.#aborted);
    else this.#reject(this.#aborted);
  }
  pause(): void {
    this.#controller!.pause();
  }
  resume(): void {
    this.#controller!.resume();
  }
  protected stop(): void {
    this.#controller!.abort(new Error("cancelled"));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted) controller.abort(this.#aborted);
    else this.#sent = true;
  }
  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (isRedirect(status)) {
      this.#reject(redirected(status));
      controller.abort(new Error("redirect"));
      return;
    }
    this.#answered = true;
    this.#resolve({ status, headers: flatten(headers), body: this });
  }
  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.push(chunk);
  }
  onResponseEnd(): void {
    this.end();
  }
  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const known = this.#aborted ?? failure(error, this.#sent);
    if (this.#answered) this.break(known);
    else this.#reject(known);
  }
}

/** Names are in lower case already. */
function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined) flat[name] = typeof value === "string" ? value : value.join(", ");
  }
  return flat;
}

/** For edge runtimes and tests: any `fetch`. Its timers are one deadline for the head and one between chunks. */
export function fetchTransport(fetcher: typeof fetch, baseURL: string, timeouts: Timeouts = {}): Transport {
  const base = baseURL.replace(/\/$/, "");
  return async (call: UpstreamCall) => {
    const controller = new AbortController();
    call.onAbort?.((reason) => controller.abort(stopped(reason, true)));
    const patience = { ...timeouts, ...dropUndefined(call.timeouts) };
    const head = timer(patience.firstByteMs ?? 300_000, () =>
      controller.abort(
        new GatewayError("upstream_timeout", "The upstream did not begin to answer in time", { billable: true }),
      ),
    );
    let response: Response;
    try {
      response = await fetcher(base + call.path, {
        method: call.method,
        headers: call.headers,
        ...(call.body !== undefined && { body: call.body as string }),
        redirect: "manual",
        signal: controller.signal,
      });
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      const cause = (error as { cause?: Error & { code?: string } }).cause ?? (error as Error & { code?: string });
      throw failure(cause, cause.code !== "ECONNREFUSED" && cause.code !== "ENOTFOUND");
    } finally {
      head.clear();
    }
    if (isRedirect(response.status) || response.type === "opaqueredirect") throw redirected(response.status);
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: new FetchedBody(response, controller, patience.idleMs),
    };
  };
}

class FetchedBody extends PushedBody {
  readonly #controller: AbortController;
  #paused: Promise<void> | undefined;
  #unpause: (() => void) | undefined;

  constructor(response: Response, controller: AbortController, idleMs = 60_000) {
    super();
    this.#controller = controller;
    void this.#read(response.body?.getReader(), idleMs);
  }
  pause(): void {
    this.#paused ??= new Promise((resolve) => {
      this.#unpause = resolve;
    });
  }
  resume(): void {
    this.#paused = undefined;
    this.#unpause?.();
  }
  protected stop(): void {
    this.#controller.abort(new Error("cancelled"));
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array> | undefined, idleMs: number): Promise<void> {
    const { signal } = this.#controller;
    try {
      for (;;) {
        if (this.#paused) await this.#paused;
        const idle = timer(idleMs, () =>
          this.#controller.abort(
            new GatewayError("upstream_timeout", "The upstream went silent in the middle of its answer"),
          ),
        );
        const chunk = await reader?.read().finally(() => idle.clear());
        if (!chunk || chunk.done) return this.end();
        this.push(chunk.value);
      }
    } catch (error) {
      this.break(signal.aborted ? (signal.reason as Error) : failure(error as Error & { code?: string }, true));
    }
  }
}

function dropUndefined(timeouts: UpstreamCall["timeouts"]): Timeouts {
  return Object.fromEntries(Object.entries(timeouts ?? {}).filter(([, value]) => value !== undefined));
}

function timer(ms: number, run: () => void): { clear(): void } {
  const handle = setTimeout(run, ms);
  handle.unref?.();
  return { clear: () => clearTimeout(handle) };
}
