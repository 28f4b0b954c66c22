import { isAscii } from "node:buffer";
import { GatewayError } from "../../core/errors.ts";
import { collector } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { UpstreamResponse } from "../../core/provider.ts";
import { readAll } from "../../core/read-all.ts";
import { JsonBody, type Reply } from "../../core/reply.ts";
import type { ChatResponse } from "../../core/request.ts";
import { isObject, type MaybePromise } from "../../core/util.ts";
import { sseReader } from "../../dialects/sse.ts";
import { written } from "./local.ts";
import { Meter } from "./meter.ts";
import type { Prepared } from "./prepare.ts";
import { restoreAnswer } from "./restore.ts";

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** The whole answer, in the caller's dialect. */
export function answerJson(
  exchange: Exchange,
  prepared: Prepared,
  response: UpstreamResponse,
  streamed: boolean,
): MaybePromise<Reply> {
  const meter = new Meter(exchange, response.status);
  const bytes = readAnswer(response, meter);
  const reply = prepared.passThrough && !streamed ? passed : translated;
  if (!(bytes instanceof Promise)) return reply(exchange, prepared, bytes, meter, streamed);
  return bytes.then((whole) => reply(exchange, prepared, whole, meter, streamed));
}

function passed(exchange: Exchange, _prepared: Prepared, bytes: Buffer, meter: Meter): Reply {
  const text = isAscii(bytes) ? bytes.toString("latin1") : undefined;
  const value = parse(text ?? bytes.toString(), meter);
  const told = isObject(value) && !exchange.refusalFails ? exchange.upstreamDialect.usageOf(value) : undefined;
  if (told?.usage) meter.told(told.usage, told.model);
  else readUsage(exchange, decode(exchange, value, meter), meter);
  meter.finish();
  return { status: meter.status, headers: {}, body: new JsonBody({ bytes, text, value }) };
}

function translated(exchange: Exchange, { tools }: Prepared, bytes: Buffer, meter: Meter, streamed: boolean): Reply {
  const answer = streamed
    ? collectStream(exchange, bytes, meter)
    : decode(exchange, parse(bytes.toString(), meter), meter);
  readUsage(exchange, answer, meter);
  meter.finish();
  restoreAnswer(answer, tools);
  return written(exchange, answer);
}

/** @throws GatewayError where the model declined, and somebody else may be asked */
function readUsage({ refusalFails }: Exchange, answer: ChatResponse, meter: Meter): void {
  meter.response(answer);
  if (refusalFails && declined(answer)) throw meter.refused();
}

/** The answer's bytes; where it breaks, its attempt ends. */
export function readAnswer(response: UpstreamResponse, meter: Meter, limit = MAX_ANSWER_BYTES): MaybePromise<Buffer> {
  const bytes = readAll(response.body, limit);
  if (!(bytes instanceof Promise)) return bytes;
  return bytes.catch((error) => {
    throw meter.broken(error);
  });
}

/** Nothing but refusals. */
export const declined = ({ choices }: ChatResponse) => choices.every(({ finishReason }) => finishReason === "refusal");

export function parse(text: string, meter: Meter): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw meter.broken(new GatewayError("upstream_invalid", "The upstream's answer is not valid JSON"));
  }
}

export function decode(exchange: Exchange, value: unknown, meter: Meter): ChatResponse {
  try {
    return exchange.upstreamDialect.decodeResponse(value);
  } catch (error) {
    throw meter.broken(error as Error);
  }
}

/** Some servers stream whatever they are asked. */
function collectStream(exchange: Exchange, bytes: Buffer, meter: Meter): ChatResponse {
  const collected = collector();
  const decoder = exchange.upstreamDialect.streamDecoder();
  const take = (events: ReturnType<typeof decoder.feed>) => {
    for (const event of events) {
      if (event.type === "error") throw meter.broken(event.error);
      collected.add(event);
    }
  };
  const reader = sseReader((frame) => take(decoder.feed(frame)));
  reader.feed(bytes);
  reader.end();
  take(decoder.end());
  return collected.response();
}
