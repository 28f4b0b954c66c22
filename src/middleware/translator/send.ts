import { GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { UpstreamCall, UpstreamResponse } from "../../core/provider.ts";
import { readAll } from "../../core/read-all.ts";
import { retryAfter } from "../../core/retry-after.ts";
import { captureBody, captureRequest } from "./capture.ts";
import type { Outgoing } from "./prepare.ts";

/** Error answers are small; what is longer is somebody's web page. */
const MAX_ERROR_BYTES = 256 * 1024;

/** An upstream's refusal as it came. */
export class Refusal {
  readonly answer: unknown;
  constructor(answer: unknown) {
    this.answer = answer;
  }
}

export function send(exchange: Exchange, { path, body }: Pick<Outgoing, "path" | "body">): Promise<UpstreamResponse> {
  const { provider } = exchange.target!;
  const call: UpstreamCall = {
    method: "POST",
    path,
    headers: forwardedHeaders(exchange),
    body,
    timeouts: exchange.timeouts,
    onAbort: (abort) =>
      exchange.onAbort((reason) => {
        if (reason.code === "client_closed" && exchange.mayDrain?.()) exchange.draining = true;
        else abort(reason);
      }),
  };
  if (provider.capture) captureRequest(exchange, call);
  return provider.send(call).then(
    (response) => {
      const seen = provider.capture ? captureBody(exchange, response) : response;
      return seen.status < 400 ? seen : refuse(exchange, seen);
    },
    (error) => {
      throw named(error, exchange);
    },
  );
}

function forwardedHeaders(exchange: Exchange): Record<string, string> {
  const headers: Record<string, string> = { accept: exchange.body.stream ? "text/event-stream" : "application/json" };
  if (exchange.upstreamDialect.id !== exchange.dialect.id) return headers;
  for (const name of exchange.dialect.forwardHeaders) {
    const value = exchange.headers[name];
    if (value !== undefined) headers[name] = value;
  }
  return headers;
}

/** @throws GatewayError the upstream's as ours, with its hints; a caller of the same dialect may be given it unmodified */
async function refuse(exchange: Exchange, response: UpstreamResponse): Promise<never> {
  const { provider, providerName } = exchange.target!;
  const dialect = exchange.upstreamDialect;
  const bytes = await readError(response);
  const text = bytes.toString();
  let body: unknown = text;
  try {
    body = JSON.parse(text);
  } catch {
    // Text it is.
  }
  const error = dialect.decodeError(response.status, body);
  const hint = retryAfter(response.headers, exchange.services.now());
  // Who is never passed through may speak the dialect and still have an error envelope of its own.
  const same = provider.passThrough && dialect.id === exchange.dialect.id && error.code !== "upstream_auth";
  const headers: Record<string, string> = {};
  giveBack(exchange, response, headers);
  throw new GatewayError(
    error.code,
    error.code === "upstream_auth" ? authMessage(providerName, response.status) : error.message,
    {
      status: error.status,
      param: error.param,
      retryable: toldToRetry(response.headers) ?? error.retryable,
      retryAfterSeconds: error.retryAfterSeconds ?? hint,
      upstreamCode: error.upstreamCode,
      provider: providerName,
      // A broken server may have worked before it broke; a refusal costs nothing.
      billable: [500, 502, 504].includes(response.status),
      // Our own translation may be what was refused: then another target is worth a try.
      ladder: dialect.id !== exchange.dialect.id || !provider.passThrough ? "next" : undefined,
      ...(same && {
        upstream: {
          dialect: dialect.id,
          status: response.status,
          body: bytes,
          headers,
          isJson: response.headers["content-type"]?.includes("json") ?? false,
        },
      }),
      details: error.details,
      cause: new Refusal(body),
    },
  );
}

/** What cannot be read to its end says nothing. */
async function readError({ body }: UpstreamResponse): Promise<Buffer> {
  try {
    return await readAll(body, MAX_ERROR_BYTES);
  } catch {
    return Buffer.alloc(0);
  }
}

/** What the upstream says itself of trying again. */
function toldToRetry({ "x-should-retry": told }: Record<string, string>): boolean | undefined {
  return told === "true" ? true : told === "false" ? false : undefined;
}

function authMessage(provider: string, status: number): string {
  return `Provider "${provider}" refused the gateway's credentials (${status}); check its API key`;
}

function named(error: unknown, exchange: Exchange): unknown {
  if (!(error instanceof GatewayError) || error.provider) return error;
  const provider = exchange.target!.providerName;
  return new GatewayError(error.code, `${error.message} (${provider})`, { ...error, provider, cause: error.cause });
}

/** Headers of the dialect that an upstream of the same dialect sends to its callers. */
export function giveBack({ dialect }: Exchange, { headers }: UpstreamResponse, to: Record<string, string>): void {
  for (const name of dialect.returnHeaders) {
    const value = headers[name];
    // When to come again is told once, after nonsense and the past were taken out.
    if (value !== undefined && !name.startsWith("retry-after")) to[name] = value;
  }
}
