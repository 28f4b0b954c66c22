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

/** Buffers what comes before `start`, so that nothing is lost between the head and the first reader. */
class BufferedSource implements ByteSource {
  #sink: ByteSink | undefined;
  #early: Uint8Array[] = [];
  #ended = false;
  #error: Error | undefined;
  #cancelled = false;
  readonly #control: { pause(): void; resume(): void; cancel(): void };

  constructor(control: { pause(): void; resume(): void; cancel(): void }) {
    this.#control = control;
  }
  start(sink: ByteSink): void {
    this.#sink = sink;
    const early = this.#early;
    this.#early = [];
    for (const chunk of early) {
      if (this.#cancelled) return;
      sink.data(chunk);
    }
    if (this.#cancelled) return;
    if (this.#error) sink.error(this.#error);
    else if (this.#ended) sink.end();
  }
  pause(): void {
    this.#control.pause();
  }
  resume(): void {
    this.#control.resume();
  }
  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#early = [];
    if (!this.#ended && !this.#error) this.#control.cancel();
  }
  data(chunk: Uint8Array): void {
    if (this.#cancelled) return;
    if (this.#sink) this.#sink.data(chunk);
    else this.#early.push(chunk);
  }
  end(): void {
    this.#ended = true;
    if (!this.#cancelled) this.#sink?.end();
  }
  error(error: Error): void {
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
      let sent = false;
      let body: BufferedSource | undefined;
      let abort: ((reason: Error) => void) | undefined;
      let aborted: Error | undefined;
      call.onAbort?.((reason) => {
        aborted = stopped(reason, sent);
        // Still waiting for a connection: with the caller gone nothing else has to wait for it.
        if (abort) abort(aborted);
        else reject(aborted);
      });
      const handler: Dispatcher.DispatchHandler = {
        onRequestStart(controller) {
          abort = (reason) => controller.abort(reason);
          if (aborted) controller.abort(aborted);
          else sent = true;
        },
        onResponseStart(controller, status, headers) {
          if (isRedirect(status)) {
            reject(redirected(status));
            controller.abort(new Error("redirect"));
            return;
          }
          body = new BufferedSource({
            pause: () => controller.pause(),
            resume: () => controller.resume(),
            cancel: () => controller.abort(new Error("cancelled")),
          });
          resolve({ status, headers: flatten(headers), body });
        },
        onResponseData(_controller, chunk) {
          body?.data(chunk);
        },
        onResponseEnd() {
          body?.end();
        },
        onResponseError(_controller, error) {
          const known = aborted ?? failure(error, sent);
          if (body) body.error(known);
          else reject(known);
        },
      };
      client.dispatch(
        {
          method: call.method,
          path: prefix + call.path,
          headers: call.headers,
          body: call.body ?? null,
          ...(call.timeouts?.firstByteMs !== undefined && { headersTimeout: call.timeouts.firstByteMs }),
          ...(call.timeouts?.idleMs !== undefined && { bodyTimeout: call.timeouts.idleMs }),
        },
        handler,
      );
    });
  return { send, close: () => client.destroy() };
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined) flat[name.toLowerCase()] = typeof value === "string" ? value : value.join(", ");
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
      body: readerSource(response, controller, patience),
    };
  };
}

function readerSource(response: Response, controller: AbortController, timeouts: Timeouts): ByteSource {
  let paused: Promise<void> | undefined;
  let unpause: (() => void) | undefined;
  const body = new BufferedSource({
    pause: () => {
      paused ??= new Promise((resolve) => {
        unpause = resolve;
      });
    },
    resume: () => {
      paused = undefined;
      unpause?.();
    },
    cancel: () => controller.abort(new Error("cancelled")),
  });
  const reader = response.body?.getReader();
  void (async () => {
    try {
      for (;;) {
        if (paused) await paused;
        const idle = timer(timeouts.idleMs ?? 60_000, () =>
          controller.abort(
            new GatewayError("upstream_timeout", "The upstream went silent in the middle of its answer"),
          ),
        );
        const chunk = await reader?.read().finally(() => idle.clear());
        if (!chunk || chunk.done) return body.end();
        body.data(chunk.value);
      }
    } catch (error) {
      body.error(
        controller.signal.aborted
          ? (controller.signal.reason as Error)
          : failure(error as Error & { code?: string }, true),
      );
    }
  })();
  return body;
}

function dropUndefined(timeouts: UpstreamCall["timeouts"]): Timeouts {
  return Object.fromEntries(Object.entries(timeouts ?? {}).filter(([, value]) => value !== undefined));
}

function timer(ms: number, run: () => void): { clear(): void } {
  const handle = setTimeout(run, ms);
  handle.unref?.();
  return { clear: () => clearTimeout(handle) };
}
