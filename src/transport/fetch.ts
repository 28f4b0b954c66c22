import { wholeBody } from "../core/call-body.ts";
import type { Transport, UpstreamCall } from "../core/provider.ts";
import { failure, isRedirect, redirected, stopped } from "./failures.ts";
import { DEFAULTS, type Timeouts, type TransportOptions } from "./options.ts";
import { PushedBody } from "./pushed-body.ts";

/** For edge runtimes and tests: any `fetch`. Its timers are one deadline for the head and one between chunks. */
export function fetchTransport(
  fetcher: typeof fetch,
  baseURL: string,
  { headers = {}, timeouts = {} }: TransportOptions = {},
): Transport {
  const base = baseURL.replace(/\/$/, "");
  return async (call: UpstreamCall) => {
    const controller = new AbortController();
    call.onAbort?.((reason) => controller.abort(stopped(reason, true)));
    const patience = { ...timeouts, ...dropUndefined(call.timeouts) };
    const head = timer(patience.firstByteMs ?? DEFAULTS.firstByteMs, () =>
      controller.abort(failure("head-timeout", true)),
    );
    let response: Response;
    try {
      response = await fetcher(base + call.path, {
        method: call.method,
        headers: { ...headers, ...call.headers },
        ...(call.body !== undefined && { body: wholeBody(call.body) as string }),
        redirect: "manual",
        signal: controller.signal,
      });
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      const cause = (error as { cause?: Error & { code?: string } }).cause ?? (error as Error & { code?: string });
      const sent = cause.code !== "ECONNREFUSED" && cause.code !== "ENOTFOUND";
      throw failure(sent ? "broken" : "unreachable", sent, cause);
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

  constructor(response: Response, controller: AbortController, idleMs = DEFAULTS.idleMs) {
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
        const idle = timer(idleMs, () => this.#controller.abort(failure("idle-timeout", true)));
        const chunk = await reader?.read().finally(() => idle.clear());
        if (!chunk || chunk.done) return this.end();
        this.push(chunk.value);
      }
    } catch (error) {
      this.break(
        signal.aborted ? (signal.reason as Error) : failure("broken", true, error as Error & { code?: string }),
      );
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
