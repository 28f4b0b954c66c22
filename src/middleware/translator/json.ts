import { GatewayError } from "../../core/errors.ts";
import { collector } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { UpstreamResponse } from "../../core/provider.ts";
import { readAll } from "../../core/read-all.ts";
import { JsonBody, type Reply } from "../../core/reply.ts";
import type { ChatResponse } from "../../core/request.ts";
import { isObject } from "../../core/util.ts";
import { sseReader } from "../../dialects/sse.ts";
import type { Prepared } from "./index.ts";
import { written } from "./local.ts";
import { Meter } from "./meter.ts";
import { restoreAnswer } from "./restore.ts";

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** The whole answer, in the caller's dialect. */
export async function answerJson(
  exchange: Exchange,
  prepared: Prepared,
  response: UpstreamResponse,
  streamed: boolean,
): Promise<Reply> {
  const meter = new Meter(exchange, response.status);
  const bytes = await readAll(response.body, MAX_ANSWER_BYTES).catch((error) => {
    throw meter.broken(error);
  });
  const value = streamed ? undefined : parse(bytes, meter);
  if (prepared.passThrough && isObject(value) && !exchange.refusalFails) {
    const { usage, model } = exchange.upstreamDialect.usageOf(value);
    if (usage) {
      meter.told(usage, model);
      meter.finish();
      return { status: response.status, headers: {}, body: new JsonBody({ bytes, value }) };
    }
  }
  const answer = streamed ? collectStream(exchange, bytes, meter) : decode(exchange, value, meter);
  meter.response(answer);
  if (exchange.refusalFails && declined(answer)) throw meter.refused();
  meter.finish();
  if (prepared.passThrough && !streamed) {
    return { status: response.status, headers: {}, body: new JsonBody({ bytes, value }) };
  }
  restoreAnswer(answer, prepared.tools);
  return written(exchange, answer);
}

/** Nothing but refusals. */
export const declined = ({ choices }: ChatResponse) => choices.every(({ finishReason }) => finishReason === "refusal");

export function parse(bytes: Buffer, meter: Meter): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
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
