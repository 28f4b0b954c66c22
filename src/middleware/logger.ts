import { z } from "zod";
import { formatChange } from "../core/changes.ts";
import type { ErrorCode, GatewayError } from "../core/errors.ts";
import type { AttemptRecord, Exchange, NoteRecord, Outcome } from "../core/exchange.ts";
import { defineMiddleware, type Middleware } from "../core/middleware.ts";

/** Errors by which the gateway itself kept a request from its target. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "budget_exceeded",
  "budget_unavailable",
  "no_target",
  "no_compliant_target",
]);

/** Any pino-shaped logger: pino, bunyan, Fastify's `log`. */
export interface LogSink {
  info(record: object, message: string): void;
  warn(record: object, message: string): void;
}

const loggerOptions = z.strictObject({
  to: z
    .custom<LogSink>(
      (sink) => typeof (sink as LogSink | undefined)?.info === "function",
      "a logger with info() and warn()",
    )
    .optional(),
  format: z.enum(["auto", "pretty", "json"]).default("auto").describe("Of the built-in console logger."),
});

export const loggerFileOptions = loggerOptions.omit({ to: true });
export type LoggerOptions = z.input<typeof loggerOptions>;

/**
 * Writes one structured record per attempt and one per request, when they end. Never a prompt, an answer or a key;
 * raw requests and answers only of providers with `capture: true`.
 */
export function logger(given: LoggerOptions = {}): Middleware {
  const parsed = loggerOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`logger: ${z.prettifyError(parsed.error)}`);
  const sink = parsed.data.to ?? consoleSink(parsed.data.format);
  const write = (isGood: boolean, record: object, message: string) => {
    try {
      if (isGood) sink.info(record, message);
      else sink.warn(record, message);
    } catch {
      // A broken log must not break the answer.
    }
  };
  // One of each for all exchanges.
  const onAttempt = (record: AttemptRecord, exchange: Exchange) =>
    write(record.outcome.ok, attemptFields(exchange, record), "attempt");
  const onNote = (record: NoteRecord, exchange: Exchange) =>
    write(false, { requestId: exchange.id, ...record }, record.event);
  const onFinish = (outcome: Outcome, exchange: Exchange) =>
    write(outcome.ok, requestFields(exchange, outcome), "request");
  return defineMiddleware({ id: "logger" }, (exchange, next) => {
    exchange.onAttempt(onAttempt);
    exchange.onNote(onNote);
    exchange.onFinish(onFinish);
    return next(exchange);
  });
}

/** A record in the making. Its fields are assigned in the order in which they are read. */
type Fields = Record<string, unknown>;

function attemptFields({ id }: Exchange, record: AttemptRecord): Fields {
  const { number, target, provider, model, jurisdiction, region, policies, outcome, changes, capture } = record;
  const fields: Fields = {
    event: "attempt",
    requestId: id,
    attempt: number,
    target: clean(target),
    provider,
    model: clean(model),
  };
  if (jurisdiction) fields.jurisdiction = jurisdiction;
  if (region) fields.region = region;
  if (policies.length > 0) fields.policies = policies.map((policy) => clean(policy));
  addOutcome(fields, outcome);
  if (changes.length > 0) fields.changes = changes.map(formatChange);
  if (capture) fields.capture = capture;
  return fields;
}

function requestFields(exchange: Exchange, outcome: Outcome): Fields {
  const { key, user, team } = exchange.identity;
  const served = exchange.winner?.target;
  const cached = exchange.responseHeaders["x-turnpike-cache"];
  const fields: Fields = {
    event: "request",
    requestId: exchange.id,
    operation: exchange.operation,
    dialect: exchange.dialect.id,
    requestedModel: clean(exchange.modelName),
  };
  if (key) fields.key = clean(key);
  if (user) fields.user = clean(user);
  if (team) fields.team = clean(team);
  if (cached && cached !== "bypass") fields.cache = cached;
  if (served) fields.target = clean(served.name);
  if (exchange.route) fields.route = routeFields(exchange.route);
  fields.attempts = exchange.attempts.length;
  addOutcome(fields, outcome);
  return fields;
}

function routeFields({ rule, candidates, excluded }: NonNullable<Exchange["route"]>): Fields {
  const fields: Fields = {};
  if (rule) fields.rule = clean(rule);
  fields.candidates = candidates.map((name) => clean(name));
  if (excluded.length > 0) {
    fields.excluded = excluded.map(({ target, reason }) => ({ target: clean(target), reason: clean(reason) }));
  }
  return fields;
}

function addOutcome(fields: Fields, outcome: Outcome): void {
  const { usage, error, costNanoUsd, firstTokenMs } = outcome;
  fields.outcome = outcomeName(outcome);
  fields.status = outcome.status;
  if (error) addError(fields, error);
  if (usage) {
    fields.inputTokens = usage.inputTokens;
    fields.outputTokens = usage.outputTokens;
    if (usage.cacheReadTokens > 0) fields.cacheReadTokens = usage.cacheReadTokens;
    if (usage.cacheWriteTokens > 0) fields.cacheWriteTokens = usage.cacheWriteTokens;
    if (usage.reasoningTokens !== undefined) fields.reasoningTokens = usage.reasoningTokens;
    if (usage.estimated) fields.estimated = true;
  }
  if (typeof costNanoUsd === "number") fields.costUsd = costNanoUsd / 1e9;
  if (firstTokenMs !== undefined) fields.firstTokenMs = Math.round(firstTokenMs);
  fields.totalMs = Math.round(outcome.totalMs);
}

function outcomeName({ ok, aborted, error }: Outcome): string {
  if (ok) return "served";
  if (aborted) return "aborted";
  return REFUSALS.has(error?.code ?? "internal") ? "refused" : "failed";
}

function addError(fields: Fields, { code, message, upstreamCode, cause }: GatewayError): void {
  fields.code = code;
  fields.reason = clean(redact(message));
  if (upstreamCode) fields.upstreamCode = clean(upstreamCode);
  if (code === "internal" && cause instanceof Error) fields.cause = clean(redact(cause.stack ?? cause.message), 2_000);
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const CONTROLS = new RegExp(CONTROL, "g");

/** One line, no control characters, bounded: nothing a caller sends can forge a record. */
function clean(text: string, most = 500): string {
  if (text.length <= most && !CONTROL.test(text)) return text;
  const line = text.replace(CONTROLS, " ");
  return line.length > most ? `${line.slice(0, most)}…` : line;
}

/** Secrets by their shape, wherever an upstream quotes them. */
function redact(text: string): string {
  return text
    .replace(/\b(sk|pk|rk|key|tp)[-_][A-Za-z0-9_-]{8,}/g, "$1-[redacted]")
    .replace(/\bBearer\s+[^\s"',]+/gi, "Bearer [redacted]")
    .replace(/\bAIza[0-9A-Za-z_-]{20,}/g, "[redacted]");
}

function consoleSink(format: "auto" | "pretty" | "json"): LogSink {
  const pretty = format === "pretty" || (format === "auto" && process.stderr.isTTY === true);
  const line = (level: string) => (record: object, message: string) => {
    const text = pretty
      ? prettyLine(level, record as Record<string, unknown>)
      : JSON.stringify({ level, time: new Date().toISOString(), msg: message, ...record });
    writeLine(text);
  };
  return { info: line("info"), warn: line("warn") };
}

let lines = "";

/** A pipe takes this much at once: more could be torn by the lines of another worker. */
const MOST_AT_ONCE = 4_096;

/** To stderr, the lines of one turn of the event loop in as few system calls as can be. */
function writeLine(line: string): void {
  if (lines !== "" && lines.length + line.length >= MOST_AT_ONCE) writeLines();
  if (lines === "") {
    setImmediate(writeLines);
    // Who ends the process at once loses none.
    process.once("exit", writeLines);
  }
  lines += `${line}\n`;
}

function writeLines(): void {
  process.off("exit", writeLines);
  const text = lines;
  lines = "";
  process.stderr.write(text);
}

function prettyLine(level: string, record: Record<string, unknown>): string {
  const time = new Date().toISOString().slice(11, 19);
  const id = String(record.requestId).slice(-6);
  const tokens = record.inputTokens === undefined ? "" : ` ${record.inputTokens}→${record.outputTokens} tokens`;
  const cost = typeof record.costUsd === "number" && record.costUsd > 0 ? ` $${record.costUsd.toFixed(4)}` : "";
  const changes = Array.isArray(record.changes) ? `\n          changed: ${record.changes.join(", ")}` : "";
  const reason = record.reason ? `\n          ${record.code}: ${record.reason}` : "";
  const what =
    record.event === "attempt"
      ? `  #${record.attempt} ${record.target} ${record.outcome}`
      : `${record.requestedModel} → ${record.target ?? (record.outcome === "served" ? record.cache : undefined) ?? "nobody"} ${record.outcome}`;
  return `${time} ${level === "warn" ? "!" : " "} ${id} ${what} ${record.status}${tokens}${cost} ${record.totalMs} ms${reason}${changes}`;
}
