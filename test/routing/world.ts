import { createGateway, type GatewayOptions, logger, type Middleware, type Provider, translator } from "turnpike";
import { openaiCompatible } from "turnpike/providers";
import type { ProviderOptions } from "../../src/providers/define.ts";
import { logBook } from "../support/gateway.ts";

/** What a simulated upstream does with a call; `undefined`: answers. */
export interface Fault {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
  /** The connection breaks before any answer. */
  reset?: boolean;
  /** Never answers. */
  hang?: boolean;
  /** Before the head of the answer. */
  delayMs?: number;
  /** A stream that stops before its first content, until the caller leaves. */
  stall?: boolean;
  /** Ends in the middle of its content. */
  cut?: boolean;
  finish?: string;
  text?: string;
}

export interface Call {
  path: string;
  body: Record<string, unknown>;
  key: string | undefined;
  aborted: boolean;
}

export interface Upstream {
  provider: Provider;
  calls: Call[];
  /** Most calls that were under way at the same time, until the head of their answer. */
  most: number;
  /** What it does with the n-th call; the last one holds on. */
  fault: (call: number) => Fault;
}

/** Upstreams without sockets: every call goes through a `fetch` of ours, so that thousands of worlds are affordable. */
export function upstream(name: string, options: ProviderOptions = {}): Upstream {
  const self: Upstream = {
    provider: undefined as unknown as Provider,
    calls: [],
    most: 0,
    fault: () => ({}),
  };
  let running = 0;
  const counted: typeof fetch = (url, init) => {
    running++;
    self.most = Math.max(self.most, running);
    return fetcher(url, init).finally(() => running--);
  };
  const fetcher = async (url: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers);
    const body = JSON.parse(String(init.body instanceof Uint8Array ? Buffer.from(init.body) : init.body));
    const call: Call = {
      path: new URL(String(url)).pathname,
      body,
      key: headers.get("authorization")?.replace("Bearer ", ""),
      aborted: false,
    };
    self.calls.push(call);
    const fault = self.fault(self.calls.length - 1);
    const left = new Promise<never>((_, reject) => {
      init.signal?.addEventListener("abort", () => {
        call.aborted = true;
        reject(init.signal!.reason);
      });
    });
    left.catch(() => {});
    if (fault.delayMs) await Promise.race([new Promise((resolve) => setTimeout(resolve, fault.delayMs)), left]);
    if (fault.hang) return left;
    if (fault.reset) throw Object.assign(new Error("reset"), { code: "ECONNRESET" });
    if (fault.status) {
      const error = fault.body ?? { error: { message: `made to fail with ${fault.status}`, type: "x", code: null } };
      return new Response(JSON.stringify(error), {
        status: fault.status,
        headers: { "content-type": "application/json", ...fault.headers },
      });
    }
    if (call.path.endsWith("/embeddings")) return json(embeddings(body));
    if (body.stream) return new Response(sse(name, fault, left), { headers: { "content-type": "text/event-stream" } });
    if (fault.cut) return new Response('{"id":"x","choi', { headers: { "content-type": "application/json" } });
    return json(completion(name, fault));
  };
  self.provider = openaiCompatible({
    baseURL: `http://${name}.invalid/v1`,
    fetch: counted,
    price: "free",
    ...options,
  });
  return self;
}

const json = (value: unknown) =>
  new Response(JSON.stringify(value), { headers: { "content-type": "application/json" } });

const USAGE = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };

function completion(name: string, { finish = "stop", text = `answer of ${name}` }: Fault) {
  const message = { role: "assistant", content: text };
  return {
    id: "c",
    object: "chat.completion",
    model: "m",
    choices: [{ index: 0, message, finish_reason: finish }],
    usage: USAGE,
  };
}

function embeddings(body: Record<string, unknown>) {
  const inputs = [body.input].flat();
  return {
    object: "list",
    model: "m",
    data: inputs.map((_, index) => ({ object: "embedding", index, embedding: [0.1, 0.2] })),
    usage: { prompt_tokens: 3, total_tokens: 3 },
  };
}

function sse(name: string, fault: Fault, left: Promise<never>): ReadableStream<Uint8Array> {
  const chunk = (delta: object, finish: string | null = null) =>
    `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const encoder = new TextEncoder();
  return new ReadableStream({
    async start(controller) {
      const write = (text: string) => controller.enqueue(encoder.encode(text));
      try {
        write(chunk({ role: "assistant", content: "" }));
        if (fault.stall) await left;
        const text = fault.text ?? `answer of ${name}`;
        if (text) write(chunk({ content: text }));
        if (fault.cut) return controller.close();
        write(chunk({}, fault.finish ?? "stop"));
        write(`data: ${JSON.stringify({ id: "c", choices: [], usage: USAGE })}\n\ndata: [DONE]\n\n`);
        controller.close();
      } catch (error) {
        controller.error(error);
      }
    },
  });
}

/** A gateway over such upstreams: logger, the middleware given, translator. */
export function world<Name extends string>(
  upstreams: Record<Name, Upstream>,
  use: readonly Middleware[],
  options: Partial<GatewayOptions> = {},
) {
  const log = logBook();
  const gateway = createGateway({
    providers: Object.fromEntries(Object.entries<Upstream>(upstreams).map(([name, { provider }]) => [name, provider])),
    use: [logger({ to: log.sink }), ...use, translator()],
    ...options,
  });
  return { gateway, log, upstreams };
}

export type Gateway = ReturnType<typeof createGateway>;

export const prompt = (model: string, more: object = {}) =>
  ({ model, messages: [{ role: "user", content: "hello" }], ...more }) as never;

/** Runs a request to its end. @returns the text, or the error's code */
export async function ask(
  gateway: Gateway,
  request: Record<string, unknown>,
  options?: Parameters<Gateway["completion"]>[1],
): Promise<string> {
  try {
    const answer = (await gateway.completion(request as never, options)) as unknown;
    if (!request.stream) return (answer as { choices: { message: { content: string } }[] }).choices[0]!.message.content;
    let text = "";
    for await (const chunk of answer as AsyncIterable<{ choices: { delta: { content?: string } }[] }>) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    return text;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
