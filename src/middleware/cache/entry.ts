import { callerContext } from "../../core/caller-context.ts";
import { formatChanges } from "../../core/changes.ts";
import type { Frame } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import { replay } from "../../core/events.ts";
import type { Exchange, Outcome } from "../../core/exchange.ts";
import { JsonBody, type Reply } from "../../core/reply.ts";
import type { ChatResponse } from "../../core/request.ts";
import { isObject } from "../../core/util.ts";

/** One answer as it is kept, in no caller's dialect. */
export interface Entry {
  /** Epoch ms at which it was complete. */
  at: number;
  /** Of the exchange that it was made for. */
  id: string;
  answer: ChatResponse;
  /** What its own response headers said of its making. */
  headers: Record<string, string>;
  /** What it took: input and output. */
  tokens: number;
  /** Nano-dollars; 0 where the price is unknown. */
  costNanoUsd: number;
}

/** @param side the exchange in which it was made; ended */
export function entryOf(answer: ChatResponse, side: Exchange): Entry {
  const { finished } = side;
  const usage = finished?.usage;
  return {
    at: side.services.now(),
    id: side.id,
    answer,
    headers: originOf(side),
    tokens: usage ? usage.inputTokens + usage.outputTokens : 0,
    costNanoUsd: finished?.costNanoUsd ?? 0,
  };
}

/** Response headers that say where an answer comes from, and that it costs nothing now. */
export function originOf({ winner }: Exchange): Record<string, string> {
  if (!winner?.target) return {};
  const { region } = winner.target.provider;
  return {
    "x-turnpike-target": printable(winner.target.name),
    ...(region && { "x-turnpike-region": printable(region) }),
    ...(winner.changes.length > 0 && { "x-turnpike-changes": formatChanges(winner.changes) }),
    "x-turnpike-cost-usd": "0",
  };
}

const printable = (text: string) => text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200);

const VERSION = 1;

export const writeEntry = (entry: Entry): string => JSON.stringify({ v: VERSION, ...entry });

/** Undefined for anything that is no entry of this version. */
export function readEntry(text: string | undefined): Entry | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (!isObject(value) || value.v !== VERSION || typeof value.at !== "number" || !isObject(value.answer))
      return undefined;
    return Array.isArray(value.answer.choices) && isObject(value.headers) ? (value as unknown as Entry) : undefined;
  } catch {
    return undefined;
  }
}

/** Writes an answer for a caller, in its dialect and as it asked: whole or as a stream. @param id of its message */
export function replyFrom(exchange: Exchange, { answer, headers }: Entry, id = exchange.id): Reply {
  exchange.addResponseHeaders(headers);
  const context = { ...callerContext(exchange), id };
  if (!exchange.body.stream) {
    return {
      status: 200,
      headers: {},
      body: new JsonBody({ value: exchange.dialect.encodeResponse(answer, context) }),
    };
  }
  const encoder = exchange.dialect.streamEncoder(context);
  const frames: Frame[] = [...replay(answer)].flatMap((event) => encoder.encode(event));
  frames.push(...encoder.end());
  return {
    status: 200,
    headers: {},
    body: {
      type: "stream",
      source: {
        start(sink) {
          sink.frames(frames);
          served(exchange);
          sink.end();
        },
        pause() {},
        resume() {},
        cancel: () => left(exchange),
      },
    },
  };
}

/** Ends an exchange whose answer came from here. */
export function served(exchange: Exchange): void {
  end(exchange, { ok: true, status: 200 });
}

export function left(exchange: Exchange, reason?: GatewayError): void {
  const error = reason ?? new GatewayError("client_closed", "The caller stopped reading");
  end(exchange, { ok: false, status: error.status, error, ...(error.code === "client_closed" && { aborted: true }) });
}

function end(exchange: Exchange, outcome: Pick<Outcome, "ok" | "status" | "error" | "aborted">): void {
  const totalMs = performance.now() - exchange.startedAt;
  exchange.finish({ ...outcome, billable: false, totalMs, firstTokenMs: exchange.firstTokenMs ?? totalMs });
}
