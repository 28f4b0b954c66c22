import { z } from "zod";
import type { Exchange } from "../../core/exchange.ts";
import { EFFORTS } from "../../core/request.ts";
import { NEEDS } from "./needs.ts";
import { DAYS } from "./time.ts";

const names = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const ms = z.int().positive();
const clock = z.string().regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'a time of day, for example "18:30"');

export const STRATEGIES = ["order", "weighted", "round-robin", "least-busy", "fastest", "cheapest"] as const;
export type Strategy = (typeof STRATEGIES)[number];

const OPERATIONS = ["chat", "embeddings", "count-tokens"] as const;

const groupOptions = z.strictObject({
  strategy: z
    .enum(STRATEGIES)
    .default("order")
    .describe("Which of the targets comes first; the others follow when it fails."),
  targets: z
    .array(
      z.union([
        z.string(),
        z.strictObject({ target: z.string(), weight: z.number().positive().max(10_000).default(1) }),
      ]),
    )
    .min(1),
  sticky: z
    .union([z.literal(false), z.strictObject({ ttlMs: ms })])
    .default({ ttlMs: 300_000 })
    .describe(
      "A session stays with its target, so that its prompt cache does: `x-claude-code-session-id` or `prompt_cache_key`, per key.",
    ),
});

const destination = z.union([z.string(), groupOptions, z.array(z.union([z.string(), groupOptions])).min(1)]);

export const timerOptions = z
  .strictObject({
    firstTokenMs: ms.describe("Of a stream: from the attempt's start to its first content; then the next target."),
    firstByteMs: ms.describe("From the request to the head of the answer."),
    idleMs: ms.describe("Between two chunks of an answer."),
    totalMs: ms.describe("For one attempt, from its start to its end."),
  })
  .partial();

const share = z.number().min(0).max(100).describe("Percent of the requests; a session is on one side.");

const matchOptions = z
  .strictObject({
    model: names,
    key: names,
    user: names,
    team: names,
    tag: names,
    operation: z.union([z.enum(OPERATIONS), z.array(z.enum(OPERATIONS)).min(1)]),
    dialect: names.describe("The caller's: openai-chat, anthropic-messages."),
    headers: z.record(z.string().toLowerCase(), names).describe("`*` means: is there."),
    inputTokens: z
      .strictObject({ above: z.int().min(0), below: z.int().positive() })
      .partial()
      .describe("Size of the request, estimated."),
    needs: z.array(z.enum(NEEDS)).min(1).describe("What the request must ask for."),
    time: z
      .strictObject({
        timeZone: z.string().default("UTC"),
        days: z.array(z.enum(DAYS)).min(1).optional(),
        from: clock.default("00:00"),
        to: clock.default("24:00"),
      })
      .describe("Times of day in a zone; `from` later than `to` goes over midnight."),
    budget: z
      .strictObject({ limit: z.string(), above: z.number().min(0).max(1) })
      .describe("More than this share of the caller's limit is used or held."),
  })
  .partial()
  .describe("All given fields must match; `*` in a name stands for anything.");

const json: z.ZodType<unknown> = z.json();
const members = z
  .record(z.string(), json)
  .refine((given) => !("model" in given) && !("stream" in given), { error: "`model` and `stream` are not parameters" });

const ruleFields = {
  name: z.string().optional(),
  to: destination.describe(
    "`provider/model`, an alias, a group, or an ordered list of them; `provider/*` keeps the model's name.",
  ),
  reasoning: z
    .enum(["caller", "off", ...EFFORTS])
    .default("caller")
    .describe("How much the models think: as the caller asks, not at all, or always at one level."),
  set: members.optional().describe("Top-level members of the request, in the caller's dialect, that are replaced."),
  default: members.optional().describe("… that are added where the caller said nothing."),
  drop: z.array(z.string()).optional().describe("… that are taken out."),
  timeouts: timerOptions.optional(),
  hedge: z
    .strictObject({ afterMs: ms })
    .optional()
    .describe("Asks the next target too when the first is silent so long; the loser is stopped. It may be paid twice."),
  onContextOverflow: destination.optional().describe("Where a request goes that is too long for its target."),
  onRefusal: destination.optional().describe("Where a request goes that a model or its filter refused to answer."),
  canary: z
    .strictObject({ to: destination, percent: share })
    .optional()
    .describe("A part of the requests goes there first."),
  shadow: z
    .strictObject({
      to: z.string(),
      percent: share.default(100),
      as: z
        .strictObject({ key: z.string(), user: z.string(), team: z.string(), tags: z.array(z.string()) })
        .partial()
        .default({ tags: ["shadow"] })
        .describe("Whose budgets pay for the copies."),
    })
    .optional()
    .describe("A copy is sent there; its answer is compared in the log and never given to the caller."),
};

const shared = {
  aliases: z
    .record(z.string().min(1), z.string().min(1))
    .default({})
    .describe("Names for models, or for other aliases: { fast: 'provider/model' }."),
  timeouts: timerOptions.default({}).describe("Of every rule that says nothing else."),
  retries: z
    .int()
    .min(0)
    .max(10)
    .default(2)
    .describe("Further tries at the last target of a list, after errors that may pass by themselves."),
  maxRetryAfterMs: z
    .int()
    .min(0)
    .default(2_000)
    .describe("A longer `Retry-After` of an upstream is left to the caller."),
  retryShare: z
    .number()
    .min(0)
    .max(1)
    .default(0.2)
    .describe("Retries per request of a target, on average, beyond the first ten: an outage is not amplified."),
  retired: z
    .enum(["successor", "refuse"])
    .default("successor")
    .describe("A model that its provider has retired is answered by its successor, loudly, or refused."),
  health: z
    .union([
      z.literal(false),
      z.strictObject({
        window: z.int().min(1).max(1_000).default(20).describe("Last calls that are looked at."),
        minCalls: z.int().min(1).default(5).describe("Fewer tell nothing."),
        failureShare: z.number().gt(0).lt(1).default(0.5).describe("More failures than this, and the target rests."),
        restMs: ms.default(5_000).describe("First rest; doubles up to `maxRestMs` while the probe after it fails."),
        maxRestMs: ms.default(120_000),
        quotaRestMs: ms
          .default(600_000)
          .describe("Rest of a target that is out of credit and does not say until when."),
        authRestMs: ms.default(60_000).describe("Rest of a target that refuses our key."),
      }),
    ])
    .prefault({})
    .describe("Targets that fail rest; the last one left is asked all the same."),
  expectedOutputTokens: z
    .int()
    .positive()
    .default(1_000)
    .describe("What `cheapest` and explanations take for the length of an answer, unless the caller allows less."),
};

const rulesOf = <Match extends z.ZodType>(match: Match) =>
  z
    .array(z.strictObject({ match, ...ruleFields }))
    .default([])
    .describe("Matched from top to bottom. A model asked for as `provider/model` needs no rule.");

/** What a configuration file may say. */
export const routerFileOptions = z.strictObject({ rules: rulesOf(matchOptions), ...shared });

export const routerOptions = z.strictObject({
  rules: rulesOf(
    matchOptions.extend({
      when: z
        .custom<(exchange: Exchange) => boolean>((when) => typeof when === "function", "a function of the exchange")
        .optional(),
    }),
  ),
  ...shared,
});

export type RouterOptions = z.input<typeof routerOptions>;
export type ParsedOptions = z.output<typeof routerOptions>;
export type RuleOptions = ParsedOptions["rules"][number];
export type Destination = z.output<typeof destination>;
export type Timers = z.output<typeof timerOptions>;
export type HealthOptions = Exclude<ParsedOptions["health"], false>;

/** A destination as a list, whatever the short form was. */
export function rungsOf(to: Destination) {
  return [to].flat();
}

/** Every target that a destination names, in order. */
export function namesOf(to: Destination): string[] {
  return rungsOf(to).flatMap((rung) =>
    typeof rung === "string" ? rung : rung.targets.map((each) => (typeof each === "string" ? each : each.target)),
  );
}
