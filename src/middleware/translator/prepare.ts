import { hasCacheMarks, withCacheMarks } from "../../capabilities/fit/cache-marks.ts";
import { type Fitted, fit } from "../../capabilities/fit/index.ts";
import { applyLessons } from "../../capabilities/learn/lessons.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { CallBody, Lesson } from "../../core/provider.ts";
import type { Change, ChatRequest, Reasoning } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import { NOTHING_TO_RESTORE, type Restoration } from "./restore.ts";

/** What is known of an attempt while its answer is awaited. */
export interface Prepared {
  changes: readonly Change[];
  /** Same dialect, nothing changed: bytes go through both ways. */
  passThrough: boolean;
  /** A pass-through was made to tell its usage, which the caller has not asked for and does not get. */
  hidesUsage: boolean;
  /** What was done to the caller's tools, to be undone in the answer. */
  tools: Restoration;
}

/** One attempt in the form in which it goes out. */
export interface Outgoing {
  path: string;
  body: CallBody;
  prepared: Prepared;
}

export interface How {
  reject: boolean;
  marks: boolean;
}

const NO_CHANGES: readonly Change[] = [];

/** Whether the caller's own bytes hold what the target was seen to refuse. */
const speaksOf = ({ path }: Lesson, { body }: Exchange) => body.member(path.split(".")[0]!) !== undefined;

/** The target takes prompt-cache marks, and the caller placed none. */
function mayMark(exchange: Exchange): boolean {
  const { provider, model } = exchange.target!;
  if (!provider.capabilities(model, exchange.upstreamDialect.id).cacheMarks) return false;
  try {
    return !hasCacheMarks(exchange.request);
  } catch {
    // Only its own upstream can read it: it passes through.
    return false;
  }
}

/** @param fitted also where it could pass through: the caller's own bytes were refused */
export function prepare(exchange: Exchange, how: How, lessons: readonly Lesson[], fitted = false): Outgoing {
  const stream = exchange.body.stream;
  const path = exchange.upstreamDialect.chatPath(exchange.target!.model, stream);
  if (
    !fitted &&
    !(how.marks && mayMark(exchange)) &&
    passesThrough(exchange) &&
    !lessons.some((lesson) => speaksOf(lesson, exchange))
  ) {
    const usage = stream ? usageToAskFor(exchange) : undefined;
    const bound = boundToPutIn(exchange);
    const changes = bound === undefined ? NO_CHANGES : [bound];
    return {
      path,
      body: splice(exchange, usage, bound !== undefined),
      prepared: { changes, passThrough: true, hidesUsage: usage !== undefined, tools: NOTHING_TO_RESTORE },
    };
  }
  const { json, changes, tools } = write(exchange, how, lessons);
  return {
    path,
    body: JSON.stringify(json),
    prepared: { changes, passThrough: false, hidesUsage: false, tools },
  };
}

export interface Written {
  json: JsonObject;
  changes: readonly Change[];
  tools: Restoration;
}

/** The request in the target's dialect, and as it takes it. */
export function write(exchange: Exchange, how: How, lessons: readonly Lesson[]): Written {
  const { model } = exchange.target!;
  const { request, changes, toolNames, customTools } = fitFor(exchange);
  const { reasoning } = exchange;
  if (reasoning)
    changes.unshift({ field: "reasoning", kind: "adjusted", ...told(exchange, reasoning), reason: "rule" });
  const marks = how.marks && mayMark(exchange);
  const json = applyLessons(
    exchange.upstreamDialect.encodeRequest(marks ? withCacheMarks(request) : request, model),
    lessons,
    changes,
  );
  const lost = how.reject ? changes.find(isLoss) : undefined;
  if (lost) {
    exchange.changes.push(...changes);
    throw exchange.upstreamError(
      "unsupported",
      `${exchange.target!.providerName}/${model} cannot do what \`${lost.field}\` asks for`,
      {
        param: lost.field,
        ladder: "next",
      },
    );
  }
  return { json, changes, tools: { toolNames, customTools } };
}

/** The caller's request as the target takes it. */
export function fitFor(exchange: Exchange): Fitted {
  const { provider, model } = exchange.target!;
  const dialect = exchange.upstreamDialect.id;
  return fit(asked(exchange), {
    capabilities: provider.capabilities(model, dialect),
    dialect,
    provider: provider.type,
    model,
    grantedTokens: exchange.grantedTokens,
  });
}

/** The caller's request, with the reasoning that the route prescribes. */
function asked({ request, reasoning }: Exchange): ChatRequest {
  return reasoning ? { ...request, reasoning: { ...reasoning, ...showing(request.reasoning) } } : request;
}

const showing = (reasoning: Reasoning | undefined) => (reasoning?.show === undefined ? {} : { show: reasoning.show });

function told({ request }: Exchange, to: Reasoning): Pick<Change, "from" | "to"> {
  const name = ({ mode, effort }: Reasoning) => effort ?? mode;
  return { from: request.reasoning ? name(request.reasoning) : "default", to: name(to) };
}

/** The caller asked for something and does not get it; what a budget or a rule decided is no such thing. */
function isLoss({ kind, reason }: Change): boolean {
  return (kind === "dropped" || kind === "adjusted") && reason !== "budget" && reason !== "rule";
}

/** Same dialect on both sides, and nothing in it that only we can read. */
export function passesThrough({ dialect, upstreamDialect, body, target, reasoning }: Exchange): boolean {
  if (reasoning || !target!.provider.passThrough || upstreamDialect.id !== dialect.id) return false;
  return !dialect.ownMarks.some((mark) => body.mentions(mark));
}

/** Where the path names the model, further calls of the dialect repeat it deep inside the body. */
export const namesModelInside = ({ dialect, body, target }: Exchange): boolean =>
  dialect.modelInPath === true && body.model !== target!.model;

/** Budgets settle by the upstream's count; where a stream would not tell it, it is asked to. */
function usageToAskFor({ dialect, body, grantedTokens }: Exchange): string | undefined {
  if (grantedTokens === undefined || !dialect.streamUsage) return undefined;
  return dialect.streamUsage.ask(body.member(dialect.streamUsage.member));
}

/** Where the budget granted less than the caller asks for. */
function boundToPutIn(exchange: Exchange): Change | undefined {
  const to = exchange.grantedTokens;
  if (to === undefined) return undefined;
  const from = exchange.bounds.maxTokens;
  if (from === undefined) return { field: "max_tokens", kind: "added", to, reason: "budget" };
  return to < from ? { field: "max_tokens", kind: "adjusted", from, to, reason: "budget" } : undefined;
}

/** The caller's own bytes; only the model, and what a budget needs, are put in. */
function splice(exchange: Exchange, usage: string | undefined, bound: boolean): CallBody {
  const { body, dialect } = exchange;
  const { model } = exchange.target!;
  const renamed = body.model !== model && !dialect.modelInPath;
  if (!renamed && usage === undefined && !bound) return body.pieces;
  const values = bound ? exchange.upstreamDialect.bounds.write(body, exchange.grantedTokens!) : {};
  if (renamed) values.model = JSON.stringify(model);
  if (usage !== undefined) values[dialect.streamUsage!.member] = usage;
  return body.splice(values);
}
