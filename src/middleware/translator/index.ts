import { z } from "zod";
import { lessonBook } from "../../capabilities/learn/lessons.ts";
import { readRefusal } from "../../capabilities/learn/refusal.ts";
import { isGatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { defineMiddleware, type Foresight, type Middleware } from "../../core/middleware.ts";
import type { Lesson, Target, UpstreamResponse } from "../../core/provider.ts";
import type { Reply } from "../../core/reply.ts";
import { countTokens } from "./count-tokens.ts";
import { embed } from "./embed.ts";
import { answerJson } from "./json.ts";
import { emptyAnswer } from "./local.ts";
import { type Prepared, passesThrough, prepare, write } from "./prepare.ts";
import { giveBack, Refusal, send } from "./send.ts";
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
    let { prepared, sent } = begin(exchange, lessonsFor(exchange), false);
    let response: UpstreamResponse;
    try {
      response = await sent;
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

  /**
   * While the answer is awaited only the bytes of the request are kept: all else of the requests that wait would be
   * copied by every collection of garbage. Who needs it again reads it again.
   */
  function begin(exchange: Exchange, lessons: readonly Lesson[], fitted: boolean): Sent {
    const outgoing = prepare(exchange, how, lessons, fitted);
    const sent = send(exchange, outgoing);
    exchange.body.forget();
    return { prepared: outgoing.prepared, sent };
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
      const lessons =
        options.learn && learned.length < MAX_LESSONS ? lessonsOf(reason, exchange, prepared, learned) : [];
      const fresh = lessons.filter(({ path }) => learned.every((known) => known.path !== path));
      if (fresh.length === 0) {
        exchange.changes.push(...prepared.changes);
        throw reason;
      }
      learned.push(...fresh);
      const again = begin(exchange, [...lessonsFor(exchange), ...learned], true);
      prepared = again.prepared;
      try {
        const response = await again.sent;
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
      const { changes } = prepare(exchange, how, lessonsFor(exchange)).prepared;
      return { changes: [...exchange.changes, ...changes] };
    } catch (error) {
      return { refused: toGatewayError(error), changes: exchange.changes };
    }
  }

  /** What a refusal teaches; nothing where it is no refusal of a field, or the caller's own bytes were refused. */
  function lessonsOf(
    error: unknown,
    exchange: Exchange,
    { passThrough }: Prepared,
    learned: readonly Lesson[],
  ): readonly Lesson[] {
    if (!isGatewayError(error) || error.code !== "invalid_request" || !(error.cause instanceof Refusal)) return [];
    // Who chose the model himself and speaks its dialect is told by the upstream, in its words.
    if (passThrough && [exchange.target!.model, exchange.target!.name].includes(exchange.body.model)) return [];
    const refused = passThrough ? exchange.body.json : write(exchange, how, [...lessonsFor(exchange), ...learned]).json;
    return readRefusal(error.cause.answer, error.message, error.param, refused);
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

interface Sent {
  prepared: Prepared;
  sent: Promise<UpstreamResponse>;
}

const NO_LESSONS: readonly Lesson[] = [];

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

const lessonKey = (target: Target, dialect: string) => `${target.name} ${dialect}`;
