import { z } from "zod";
import { hasCacheMarks, withCacheMarks } from "../../capabilities/fit/cache-marks.ts";
import { type Fitted, fit } from "../../capabilities/fit/index.ts";
import { applyLessons, lessonBook } from "../../capabilities/learn/lessons.ts";
import { readRefusal } from "../../capabilities/learn/refusal.ts";
import { GatewayError, isGatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { mentions } from "../../core/mentions.ts";
import { defineMiddleware, type Foresight, type Middleware } from "../../core/middleware.ts";
import type { Lesson, Target, UpstreamCall, UpstreamResponse } from "../../core/provider.ts";
import { readAll } from "../../core/read-all.ts";
import type { Reply } from "../../core/reply.ts";
import type { Change, ChatRequest, Reasoning } from "../../core/request.ts";
import { retryAfter } from "../../core/retry-after.ts";
import type { JsonObject } from "../../core/util.ts";
import { captureBody, captureRequest } from "./capture.ts";
import { countTokens } from "./count-tokens.ts";
import { embed } from "./embed.ts";
import { answerJson } from "./json.ts";
import { emptyAnswer } from "./local.ts";
import { NOTHING_TO_RESTORE, type Restoration } from "./restore.ts";
import { answerStream } from "./stream.ts";

export const translatorOptions = z.strictObject({
  onUnsupported: z
    .enum(["fit", "reject"])
    .default("fit")
    .describe("What the target cannot do is fitted and reported, or refused with a 400."),
  learn: z
    .boolean()
    .default(true)
    .describe("A field that an upstream refuses is fitted, tried again once, and remembered for that target."),
  promptCache: z
    .enum(["caller", "auto"])
    .default("caller")
    .describe("Who places prompt-cache marks for targets that take them; `auto` where the caller placed none."),
  learnForMs: z.int().positive().default(3_600_000).describe("How long such a refusal is remembered."),
});

export type TranslatorOptions = z.input<typeof translatorOptions>;

/** Fields that one request may lose to refusals before it counts as refused. */
const MAX_LESSONS = 3;

/** Error answers are small; what is longer is somebody's web page. */
const MAX_ERROR_BYTES = 256 * 1024;

/** One attempt in the form in which it goes out. */
export interface Prepared {
  body: Uint8Array | string;
  /** The same as an object, where it was written for this target. */
  json: JsonObject | undefined;
  changes: readonly Change[];
  path: string;
  /** Same dialect, nothing changed: bytes go through both ways. */
  passThrough: boolean;
  /** A pass-through was made to tell its usage, which the caller has not asked for and does not get. */
  hidesUsage: boolean;
  /** What was done to the caller's tools, to be undone in the answer. */
  tools: Restoration;
}

/**
 * Innermost: writes the request in the target's dialect and brings its answer back in the caller's. Where both speak
 * the same dialect and nothing has to change, bytes go through untouched while usage is read on the way by.
 */
export function translator(given: TranslatorOptions = {}): Middleware {
  const parsed = translatorOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`translator: ${z.prettifyError(parsed.error)}`);
  const options = parsed.data;
  const how = { reject: options.onUnsupported === "reject", marks: options.promptCache === "auto" };
  let book = lessonBook(options.learnForMs, Date.now);
  let hasLessons = false;

  function run(exchange: Exchange): Promise<Reply> {
    if (exchange.operation === "count-tokens") return countTokens(exchange);
    if (exchange.operation === "embeddings") return embed(exchange);
    return chat(exchange);
  }

  async function chat(exchange: Exchange): Promise<Reply> {
    if (exchange.bounds.maxTokens === 0 && !passesThrough(exchange)) return emptyAnswer(exchange);
    const stream = exchange.body.stream;
    let prepared = prepare(exchange, how, lessonsFor(exchange));
    let response: UpstreamResponse;
    try {
      response = await send(exchange, prepared);
    } catch (error) {
      ({ prepared, response } = await sendFitted(exchange, prepared, error));
    }
    if (prepared.changes.length > 0) exchange.changes.push(...prepared.changes);
    const streamed = isStream(exchange, response);
    const answer = (stream ? answerStream : answerJson)(exchange, prepared, response, streamed);
    const reply = answer instanceof Promise ? await answer : answer;
    if (exchange.dialect.id === exchange.upstreamDialect.id) giveBack(exchange, response, reply.headers);
    return reply;
  }

  /** A refusal that names a field is answered by a try without it. @throws the refusal, where it does not */
  async function sendFitted(
    exchange: Exchange,
    refused: Prepared,
    refusal: unknown,
  ): Promise<{ prepared: Prepared; response: UpstreamResponse }> {
    const learned: Lesson[] = [];
    let prepared = refused;
    let reason = refusal;
    for (;;) {
      const lessons = options.learn && learned.length < MAX_LESSONS ? lessonsOf(reason, exchange, prepared) : [];
      const fresh = lessons.filter(({ path }) => learned.every((known) => known.path !== path));
      if (fresh.length === 0) {
        exchange.changes.push(...prepared.changes);
        throw reason;
      }
      learned.push(...fresh);
      prepared = prepare(exchange, how, [...lessonsFor(exchange), ...learned], true);
      try {
        const response = await send(exchange, prepared);
        remember(exchange, learned);
        return { prepared, response };
      } catch (error) {
        reason = error;
      }
    }
  }

  /** What the fit would change. */
  function foresee(exchange: Exchange): Foresight {
    if (exchange.operation !== "chat") return {};
    try {
      const { changes } = prepare(exchange, how, lessonsFor(exchange));
      return { changes: [...exchange.changes, ...changes] };
    } catch (error) {
      return { refused: toGatewayError(error), changes: exchange.changes };
    }
  }

  /** What is known of the target; next to nothing to do while nothing was ever learned. */
  function lessonsFor(exchange: Exchange): readonly Lesson[] {
    return hasLessons ? book.of(lessonKey(exchange.target!, exchange.upstreamDialect.id)) : NO_LESSONS;
  }

  /** Only what helped is worth remembering. */
  function remember(exchange: Exchange, lessons: readonly Lesson[]): void {
    hasLessons = true;
    book.add(lessonKey(exchange.target!, exchange.upstreamDialect.id), lessons);
    for (const lesson of lessons) exchange.note({ event: "learned", target: exchange.target!.name, ...lesson });
  }

  return defineMiddleware(
    {
      id: "translator",
      needs: ["target"],
      setup: ({ now }) => {
        book = lessonBook(options.learnForMs, now);
      },
      foresee,
      learned: (target, dialect) => book.of(lessonKey(target, dialect)),
    },
    run,
  );
}

const NO_LESSONS: readonly Lesson[] = [];
const NO_CHANGES: readonly Change[] = [];

/** Whether the answer came as a stream; some servers stream whatever they are asked. */
function isStream(exchange: Exchange, { headers, body }: UpstreamResponse): boolean {
  const type = headers["content-type"] ?? "";
  if (type.includes("json")) return false;
  if (type.includes("text/event-stream")) return true;
  body.cancel();
  throw exchange.upstreamError(
    "upstream_invalid",
    `The upstream answered ${type || "something without a type"} instead of JSON or a stream`,
  );
}

/** Whether the caller's own bytes hold what the target was seen to refuse. */
const speaksOf = ({ path }: Lesson, { body }: Exchange) => body.member(path.split(".")[0]!) !== undefined;

const lessonKey = (target: Target, dialect: string) => `${target.name} ${dialect}`;

/** What a refusal teaches; nothing where it is no refusal of a field, or the caller's own bytes were refused. */
function lessonsOf(error: unknown, exchange: Exchange, prepared: Prepared): readonly Lesson[] {
  if (!isGatewayError(error) || error.code !== "invalid_request" || !(error.cause instanceof Refusal)) return [];
  // Who chose the model himself and speaks its dialect is told by the upstream, in its words.
  if (!prepared.json && [exchange.target!.model, exchange.target!.name].includes(exchange.body.model)) return [];
  return readRefusal(error.cause.answer, error.message, error.param, prepared.json ?? exchange.body.json);
}

/** An upstream's refusal as it came. */
class Refusal {
  readonly answer: unknown;
  constructor(answer: unknown) {
    this.answer = answer;
  }
}

interface How {
  reject: boolean;
  marks: boolean;
}

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
function prepare(exchange: Exchange, how: How, lessons: readonly Lesson[], fitted = false): Prepared {
  const { model } = exchange.target!;
  const stream = exchange.body.stream;
  const upstream = exchange.upstreamDialect;
  const path = upstream.chatPath(model, stream);
  const marks = how.marks && mayMark(exchange);
  if (!fitted && !marks && passesThrough(exchange) && !lessons.some((lesson) => speaksOf(lesson, exchange))) {
    const usage = stream ? usageToAskFor(exchange) : undefined;
    const bound = boundToPutIn(exchange);
    return {
      body: splice(exchange, usage, bound !== undefined),
      json: undefined,
      changes: bound === undefined ? NO_CHANGES : [bound],
      path,
      passThrough: true,
      hidesUsage: usage !== undefined,
      tools: NOTHING_TO_RESTORE,
    };
  }
  const { request, changes, toolNames, customTools } = fitFor(exchange);
  const { reasoning } = exchange;
  if (reasoning)
    changes.unshift({ field: "reasoning", kind: "adjusted", ...told(exchange, reasoning), reason: "rule" });
  const json = applyLessons(upstream.encodeRequest(marks ? withCacheMarks(request) : request, model), lessons, changes);
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
  return {
    body: JSON.stringify(json),
    json,
    changes,
    path,
    passThrough: false,
    hidesUsage: false,
    tools: { toolNames, customTools },
  };
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
  return !dialect.ownMarks.some((mark) => mentions(body.bytes, mark));
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
function splice(exchange: Exchange, usage: string | undefined, bound: boolean): Uint8Array | string {
  const { body, dialect } = exchange;
  const { model } = exchange.target!;
  const renamed = body.model !== model && !dialect.modelInPath;
  if (!renamed && usage === undefined && !bound) return body.bytes;
  const values = bound ? exchange.upstreamDialect.bounds.write(body, exchange.grantedTokens!) : {};
  if (renamed) values.model = JSON.stringify(model);
  if (usage !== undefined) values[dialect.streamUsage!.member] = usage;
  return body.splice(values);
}

export function send(exchange: Exchange, { path, body }: Pick<Prepared, "path" | "body">): Promise<UpstreamResponse> {
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
function giveBack({ dialect }: Exchange, { headers }: UpstreamResponse, to: Record<string, string>): void {
  for (const name of dialect.returnHeaders) {
    const value = headers[name];
    // When to come again is told once, after nonsense and the past were taken out.
    if (value !== undefined && !name.startsWith("retry-after")) to[name] = value;
  }
}
