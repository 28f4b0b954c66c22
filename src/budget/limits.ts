import { createHash } from "node:crypto";
import { z } from "zod";
import type { Hold, Units } from "../core/budget-store.ts";
import type { Identity } from "../core/exchange.ts";
import { anyGlob } from "../core/glob.ts";
import type { Target } from "../core/provider.ts";
import { NANO } from "../prices/index.ts";
import { calendarWindows, lifetimeWindow, rollingWindow, type Span, type Window } from "./windows.ts";

/** What a limit can be counted in. `tokens` are input and output together; `concurrent` are requests that run. */
export const UNITS = ["tokens", "inputTokens", "outputTokens", "requests", "usd", "concurrent"] as const;
export type Unit = (typeof UNITS)[number];

const scopeNames = ["gateway", "key", "user", "team", "tag", "provider", "model"] as const;
type ScopeName = (typeof scopeNames)[number];
/** What of an identity a limit can look at. */
export type IdentityScope = Exclude<ScopeName, "gateway" | "provider" | "model">;

const names = z.union([z.string(), z.array(z.string()).min(1)]);
const whole = z.int().min(0);

export const limitOptions = z
  .strictObject({
    name: z.string().min(1).max(64).describe("Shown to users, and part of the counter's key."),
    match: z
      .strictObject({ provider: names, model: names, key: names, user: names, team: names, tag: names })
      .partial()
      .optional()
      .describe("What the limit covers; `*` in a name stands for anything. Absent: everything."),
    by: z
      .union([z.enum(scopeNames), z.array(z.enum(scopeNames)).min(1)])
      .optional()
      .describe("One counter for each of these. Default: one for all."),
    tokens: whole.optional().describe("Input and output tokens."),
    inputTokens: whole.optional(),
    outputTokens: whole.optional(),
    requests: whole.optional(),
    usd: z.number().min(0).max(9_000_000).optional().describe("US dollars."),
    concurrent: whole.optional().describe("Requests running at the same time; has no window."),
    per: z
      .union([
        z.enum(["minute", "hour", "day", "week", "month", "lifetime"]),
        z.strictObject({ rollingMs: z.int().positive() }),
      ])
      .optional()
      .describe("Window: a calendar one, a rolling one, or `lifetime` (prepaid). Only `concurrent` needs none."),
    timeZone: z.string().optional().describe("IANA zone of calendar windows, for example Europe/Paris. Default UTC."),
    weekStart: z.enum(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]).optional(),
    onExceeded: z.enum(["next", "deny"]).default("next").describe("Try the next target, or refuse at once."),
    onStoreError: z
      .enum(["deny", "allow", "local"])
      .default("deny")
      .describe("When the store cannot be reached: refuse, let pass, or count in this process (see `processes`)."),
    warnAt: z
      .array(z.number().gt(0).max(1))
      .optional()
      .describe("Shares of the limit, once per window each: 0.8 warns when 80 % are used."),
    pace: z
      .literal("day")
      .optional()
      .describe("Releases a week's or month's limit day by day, so that nobody is stuck for the rest of it."),
    unknownPrice: z.enum(["deny", "allow"]).default("deny").describe("For `usd`: when a target's price is unknown."),
  })
  .refine((limit) => UNITS.some((unit) => limit[unit] !== undefined), {
    error: `a limit needs a unit: one of ${UNITS.join(", ")}`,
  })
  .refine(
    (limit) => limit.per !== undefined || UNITS.every((unit) => unit === "concurrent" || limit[unit] === undefined),
    {
      error: "a limit needs `per`: minute, hour, day, week, month, lifetime or { rollingMs }",
      path: ["per"],
    },
  )
  .refine((limit) => limit.pace === undefined || limit.per === "week" || limit.per === "month", {
    error: "`pace` is for limits per week or month",
    path: ["pace"],
  });

type Limit = z.output<typeof limitOptions>;

/** What an attempt would cost, per unit. */
export interface Prospect {
  inputTokens: number;
  /** Nano-dollars; `null` = unknown price. */
  inputNano: number | null;
  nanoPerOutputToken: number | null;
}

export interface CompiledLimit extends Limit {
  /** What it looks at of an identity. */
  readonly identityScopes: readonly IdentityScope[];
  /** Whether the limit covers this attempt. */
  covers(identity: Identity, target: Target): boolean;
  /** Units with their amounts in whole units of the store. */
  readonly amounts: readonly { unit: Unit; amount: Units }[];
  span(unit: Unit, now: number): Span;
  /** What of an amount may be used by now, and when more will be: less than all only for paced limits. */
  released(amount: Units, now: number): { amount: Units; until: number };
  /** Counter names of one attempt and unit. More than one only for `by: "tag"`. */
  counters(unit: Unit, identity: Identity, target: Target): string[];
}

/** @throws RangeError for an unknown time zone */
export function compileLimit(limit: Limit): CompiledLimit {
  const { match = {}, by } = limit;
  const name = piece(limit.name);
  const windowSpan = spanOf(limit);
  const dayOf = calendarWindows({ period: "day", timeZone: limit.timeZone });
  const scopes: ScopeName[] = by === undefined ? ["gateway"] : typeof by === "string" ? [by] : by;
  const matched = Object.keys(match) as (keyof typeof match)[];
  const checks = matched.map((scope) => {
    const matches = anyGlob(match[scope]!);
    return (identity: Identity, target: Target) => valuesOf(scope, identity, target).some(matches);
  });
  return {
    ...limit,
    identityScopes: [...scopes, ...matched].filter(isIdentityScope),
    covers: (identity, target) => checks.every((check) => check(identity, target)),
    amounts: UNITS.flatMap((unit) => {
      const amount = limit[unit];
      return amount === undefined ? [] : [{ unit, amount: unit === "usd" ? Math.round(amount * NANO) : amount }];
    }),
    span: (unit, now) => (unit === "concurrent" ? concurrentSpan(now) : windowSpan(now)),
    released(amount, now) {
      const { bucket, until } = windowSpan(now);
      if (limit.pace === undefined) return { amount, until };
      const today = dayOf(now);
      const days = Math.round((until - bucket) / DAY);
      const day = Math.round((today.start - bucket) / DAY) + 1;
      return { amount: Math.floor((amount * Math.min(day, days)) / days), until: Math.min(today.end, until) };
    },
    counters(unit, identity, target) {
      let keys = [`${name}|${unit}`];
      for (const scope of scopes) {
        const values = valuesOf(scope, identity, target);
        // Without a value all anonymous callers share one counter: a limit is never escaped by saying nothing.
        keys = keys.flatMap((key) => (values.length === 0 ? [""] : values).map((value) => `${key}|${piece(value)}`));
      }
      return keys;
    },
  };
}

const DAY = 24 * 3_600_000;

/**
 * Running requests are held, never used. They are counted over the day they began and the one before it, so that
 * nothing is counted for ever if it never ends.
 */
function concurrentSpan(now: number): Span {
  const bucket = Math.floor(now / DAY) * DAY;
  return { bucket, from: bucket - DAY, step: DAY, until: bucket + 2 * DAY };
}

function spanOf({ per, timeZone, weekStart }: Limit): (now: number) => Span {
  if (per === undefined || per === "lifetime") return lifetimeWindow;
  if (typeof per === "object") return (now) => rollingWindow({ ms: per.rollingMs }, now);
  const windowAt = calendarWindows({ period: per, timeZone, weekStart });
  let window: Window | undefined;
  let span: Span;
  return (now) => {
    const found = windowAt(now);
    if (found !== window) {
      window = found;
      span = { bucket: found.start, from: found.start, step: 0, until: found.end };
    }
    return span;
  };
}

function isIdentityScope(scope: ScopeName): scope is IdentityScope {
  return scope !== "gateway" && scope !== "provider" && scope !== "model";
}

function valuesOf(scope: ScopeName, identity: Identity, target: Target): readonly string[] {
  switch (scope) {
    case "gateway":
      return ["*"];
    case "tag":
      return identity.tags ?? [];
    case "provider":
      return [target.providerName];
    case "model":
      return [target.model];
    default: {
      const value = identity[scope];
      return value === undefined ? [] : [value];
    }
  }
}

/** Escaped, so that two different names never become one counter; long ones by their hash. */
function piece(value: string): string {
  const escaped = encodeURIComponent(value.toWellFormed());
  return escaped.length <= 48
    ? escaped
    : `${escaped.slice(0, 20)}~${createHash("sha256").update(value).digest("base64url").slice(0, 24)}`;
}

/** What one unit of a limit asks of the store for one attempt. `undefined`: the price is unknown. */
export function costOf(unit: Unit, prospect: Prospect): Pick<Hold, "fixed" | "perUnit"> | undefined {
  switch (unit) {
    case "tokens":
      return { fixed: prospect.inputTokens, perUnit: 1 };
    case "inputTokens":
      return { fixed: prospect.inputTokens, perUnit: 0 };
    case "outputTokens":
      return { fixed: 0, perUnit: 1 };
    case "requests":
    case "concurrent":
      return { fixed: 1, perUnit: 0 };
    case "usd":
      if (prospect.inputNano === null || prospect.nanoPerOutputToken === null) return undefined;
      return { fixed: prospect.inputNano, perUnit: prospect.nanoPerOutputToken };
  }
}
