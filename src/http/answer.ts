import { type BodyContent, RequestBody } from "../core/body.ts";
import { formatChanges } from "../core/changes.ts";
import type { Dialect } from "../core/dialect.ts";
import { GatewayError, toGatewayError } from "../core/errors.ts";
import type { AttemptRecord, Exchange } from "../core/exchange.ts";
import { JsonBody, type StreamBody } from "../core/reply.ts";
import type { Gateway } from "../gateway/create-gateway.ts";
import { newId } from "../gateway/ids.ts";
import type { Found } from "./routes.ts";

/** Largest request body that is read; the largest that any provider takes. */
export const MAX_BODY_BYTES = 32 * 1024 * 1024;

/** An HTTP answer before it meets a socket or a `Response`. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: JsonBody | StreamBody | undefined;
  exchange?: Exchange;
}

export interface IncomingRequest {
  found: NonNullable<Found>;
  headers: Readonly<Record<string, string | undefined>>;
  /** Reads the body; called once, and only for routes that have one. */
  body(): Promise<BodyContent>;
  /** Called as soon as there is an exchange, so that it can be aborted when the caller leaves. */
  onExchange?(exchange: Exchange): void;
}

/** Runs one HTTP request through the gateway. Never rejects: an error becomes the caller's dialect's own. */
export async function answerRequest(gateway: Gateway, request: IncomingRequest): Promise<Answer> {
  const { found } = request;
  const dialect = "dialect" in found ? found.dialect : gateway.dialects[0]!;
  try {
    if ("own" in found) return await answerOwn(gateway, found.own, request.headers);
    if ("allow" in found) {
      const wrong = new GatewayError("method_not_allowed", `Method not allowed: this path takes ${found.allow}`);
      return errorAnswer(wrong, dialect, newId(), { allow: found.allow });
    }
    if (found.operation === "hello") return { status: 200, headers: {}, body: undefined };
    if (found.operation === "models") {
      await gateway.identify(request.headers);
      return answerModels(gateway, dialect, found.path.model);
    }
    if (request.headers["content-encoding"] && request.headers["content-encoding"] !== "identity") {
      throw new GatewayError("unsupported_media_type", "Compressed request bodies are not accepted");
    }
    const { exchange, reply } = gateway.handle({
      dialect,
      operation: found.operation,
      body: new RequestBody(await request.body(), found.path),
      headers: request.headers,
      trusted: false,
    });
    request.onExchange?.(exchange);
    try {
      const { status, headers, body } = await reply;
      return { status, headers: Object.assign(answerHeaders(exchange), headers), body, exchange };
    } catch (error) {
      return { ...errorAnswer(toGatewayError(error), dialect, exchange.id, answerHeaders(exchange)), exchange };
    }
  } catch (error) {
    return errorAnswer(toGatewayError(error), dialect, newId(), {});
  }
}

/** Those that middleware has set, and ours with them. */
function answerHeaders(exchange: Exchange): Record<string, string> {
  const { winner, attempts, responseHeaders: headers, startedAt } = exchange;
  headers["x-request-id"] = exchange.id;
  if (exchange.dialect.returnHeaders.includes("request-id")) headers["request-id"] = exchange.id;
  const tried = Math.max(attempts.length, winner?.attempt ?? 0);
  if (tried > 0) headers["x-turnpike-attempts"] = String(tried);
  if (winner?.target) {
    headers["x-turnpike-target"] = headerText(winner.target.name);
    const { region } = winner.target.provider;
    if (region) headers["x-turnpike-region"] = headerText(region);
    if (winner.changes.length > 0) headers["x-turnpike-changes"] = formatChanges(winner.changes);
    const cost = winner.finished?.costNanoUsd;
    if (typeof cost === "number") headers["x-turnpike-cost-usd"] = usd(cost);
    const upstream = winner.firstTokenMs ?? winner.finished?.totalMs;
    if (upstream !== undefined)
      headers["x-turnpike-overhead-ms"] = Math.max(0, performance.now() - startedAt - upstream).toFixed(2);
  }
  const refused = winner && tried > 1 ? attempts.find(isOverBudget) : undefined;
  if (refused) headers["x-turnpike-redirected"] = headerText(`budget:${refused.outcome.error?.details?.limit}`);
  return headers;
}

const isOverBudget = ({ outcome }: AttemptRecord) => outcome.error?.code === "budget_exceeded";

const UNSAFE = /[^\x20-\x7e]/;
const headerText = (text: string) => (UNSAFE.test(text) ? text.replace(/[^\x20-\x7e]/g, "?") : text).slice(0, 200);

/** Nano-dollars in dollars, to the last digit: `0.000123`. */
function usd(nano: number): string {
  const dollars = Math.floor(nano / 1e9);
  const rest = nano - dollars * 1e9;
  if (rest === 0) return String(dollars);
  const digits = String(1e9 + rest);
  let end = digits.length;
  while (digits.charCodeAt(end - 1) === 0x30) end--;
  return `${dollars}.${digits.slice(1, end)}`;
}

/** Every error in the caller's own envelope, with the hints that its SDK obeys. */
export function errorAnswer(
  error: GatewayError,
  dialect: Dialect,
  requestId: string,
  extra: Record<string, string>,
): Answer {
  const headers: Record<string, string> = {
    ...extra,
    "x-request-id": requestId,
    "x-turnpike-error": error.code,
    "x-should-retry": String(error.retryable),
  };
  if (dialect.returnHeaders.includes("request-id")) headers["request-id"] = requestId;
  if (error.retryAfterSeconds !== undefined) headers["retry-after"] = String(error.retryAfterSeconds);
  const { upstream } = error;
  // The upstream's own words, which clients of the dialect know how to recover from.
  if (upstream && upstream.dialect === dialect.id && upstream.body.length > 0 && upstream.isJson) {
    return {
      status: upstream.status,
      headers: { ...upstream.headers, ...headers },
      body: new JsonBody({ bytes: upstream.body }),
    };
  }
  const { status, body } = dialect.encodeError(error, requestId);
  return { status, headers, body: new JsonBody({ value: body }) };
}

async function answerOwn(
  gateway: Gateway,
  route: "health" | "ready" | "me",
  headers: IncomingRequest["headers"],
): Promise<Answer> {
  if (route === "ready") await gateway.ready();
  if (route !== "me") return { status: 200, headers: {}, body: new JsonBody({ value: { status: "ok" } }) };
  const identity = await gateway.identify(headers);
  return {
    status: 200,
    headers: { "cache-control": "no-store" },
    body: new JsonBody({ value: { identity, limits: await gateway.usage(identity) } }),
  };
}

function answerModels(gateway: Gateway, dialect: Dialect, id: string | undefined): Answer {
  const models = gateway.models();
  if (id === undefined)
    return { status: 200, headers: {}, body: new JsonBody({ value: dialect.encodeModels(models, false) }) };
  const model = models.find((each) => each.id === id);
  if (!model) throw new GatewayError("model_not_found", `model: ${id.slice(0, 256)}`, { param: "model" });
  return { status: 200, headers: {}, body: new JsonBody({ value: dialect.encodeModels([model], true) }) };
}
