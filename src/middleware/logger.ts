import { z } from "zod";
import { formatChange } from "../core/changes.ts";
import type { ErrorCode, GatewayError } from "../core/errors.ts";
import type { AttemptRecord, Exchange, Outcome } from "../core/exchange.ts";
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
  const write = (level: "info" | "warn", record: object, message: string) => {
    try {
      sink[level](record, message);
    } catch {
      // A broken log must not break the answer.
    }
  };
  return defineMiddleware({ id: "logger" }, (exchange, next) => {
    exchange.onAttempt((record) =>
      write(record.outcome.ok ? "info" : "warn", attemptFields(exchange, record), "attempt"),
    );
    exchange.onNote((record) => write("warn", { requestId: exchange.id, ...record }, record.event));
    exchange.onFinish((outcome) => write(outcome.ok ? "info" : "warn", requestFields(exchange, outcome), "request"));
    return next(exchange);
  });
}

function attemptFields(exchange: Exchange, record: AttemptRecord) {
  return {
    event: "attempt",
    requestId: exchange.id,
    attempt: record.number,
    target: clean(record.target),
    provider: record.provider,
    model: clean(record.model),
    ...(record.jurisdiction && { jurisdiction: record.jurisdiction }),
    ...(record.region && { region: record.region }),
    ...(record.policies.length > 0 && { policies: record.policies.map((policy) => clean(policy)) }),
    ...outcomeFields(record.outcome),
    ...(record.changes.length > 0 && { changes: record.changes.map(formatChange) }),
    ...(record.capture && { capture: record.capture }),
  };
}

function requestFields(exchange: Exchange, outcome: Outcome) {
  const { identity } = exchange;
  const served = exchange.winner?.target;
  const cached = exchange.responseHeaders["x-turnpike-cache"];
  return {
    event: "request",
    requestId: exchange.id,
    operation: exchange.operation,
    dialect: exchange.dialect.id,
    requestedModel: clean(exchange.modelName),
    ...(identity.key && { key: clean(identity.key) }),
    ...(identity.user && { user: clean(identity.user) }),
    ...(identity.team && { team: clean(identity.team) }),
    ...(cached && cached !== "bypass" && { cache: cached }),
    ...(served && { target: clean(served.name) }),
    ...(exchange.route && { route: routeFields(exchange.route) }),
    attempts: exchange.attempts.length,
    ...outcomeFields(outcome),
  };
}

function routeFields({ rule, candidates, excluded }: NonNullable<Exchange["route"]>) {
  return {
    ...(rule && { rule: clean(rule) }),
    candidates: candidates.map((name) => clean(name)),
    ...(excluded.length > 0 && {
      excluded: excluded.map(({ target, reason }) => ({ target: clean(target), reason: clean(reason) })),
    }),
  };
}

function outcomeFields(outcome: Outcome) {
  const { usage, error, costNanoUsd } = outcome;
  return {
    outcome: outcome.ok
      ? "served"
      : outcome.aborted
        ? "aborted"
        : REFUSALS.has(outcome.error?.code ?? "internal")
          ? "refused"
          : "failed",
    status: outcome.status,
    ...(error && errorFields(error)),
    ...(usage && {
      inputTokens: usage.inputTokens,
      outputTokens: usage.outputTokens,
      ...(usage.cacheReadTokens > 0 && { cacheReadTokens: usage.cacheReadTokens }),
      ...(usage.cacheWriteTokens > 0 && { cacheWriteTokens: usage.cacheWriteTokens }),
      ...(usage.reasoningTokens !== undefined && { reasoningTokens: usage.reasoningTokens }),
      ...(usage.estimated && { estimated: true }),
    }),
    ...(typeof costNanoUsd === "number" && { costUsd: costNanoUsd / 1e9 }),
    ...(outcome.firstTokenMs !== undefined && { firstTokenMs: Math.round(outcome.firstTokenMs) }),
    totalMs: Math.round(outcome.totalMs),
  };
}

function errorFields(error: GatewayError) {
  return {
    code: error.code,
    reason: clean(redact(error.message)),
    ...(error.upstreamCode && { upstreamCode: clean(error.upstreamCode) }),
    ...(error.code === "internal" &&
      error.cause instanceof Error && { cause: clean(redact(error.cause.stack ?? error.cause.message), 2_000) }),
  };
}

/** One line, no control characters, bounded: nothing a caller sends can forge a record. */
function clean(text: string, most = 500): string {
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
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
    process.stderr.write(`${text}\n`);
  };
  return { info: line("info"), warn: line("warn") };
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
