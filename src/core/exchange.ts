import type { RequestBody } from "./body.ts";
import type { Bounds, Dialect, Operation } from "./dialect.ts";
import { GatewayError, type GatewayErrorOptions } from "./errors.ts";
import type { Target } from "./provider.ts";
import type { Reply } from "./reply.ts";
import type { Change, ChatRequest, Reasoning } from "./request.ts";
import type { Usage } from "./usage.ts";

/** Who asks. Budgets, rules and the log see it. */
export interface Identity {
  /** Id of the virtual key, never the key itself. */
  key?: string;
  user?: string;
  team?: string;
  tags?: readonly string[];
}

/** How an attempt, or a whole exchange, ended. */
export interface Outcome {
  ok: boolean;
  /** HTTP status: the upstream's for an attempt, the caller's for an exchange. */
  status: number;
  error?: GatewayError;
  /** The caller left before the end. */
  aborted?: boolean;
  /** Whether the upstream may charge for it: then at least its input is settled. */
  billable: boolean;
  usage?: Usage;
  /** As the provider names it. */
  model?: string;
  /** Nano-dollars; `null` when the price is unknown, absent when nothing was used. */
  costNanoUsd?: number | null;
  /** From the start of the attempt to its first content. */
  firstTokenMs?: number;
  totalMs: number;
}

/** What the log, the error of a failed ladder and the caller's headers say of one attempt. */
export interface AttemptRecord {
  readonly number: number;
  /** `mistral/mistral-medium-3-5` */
  readonly target: string;
  readonly provider: string;
  readonly model: string;
  readonly jurisdiction: string | undefined;
  readonly region: string | undefined;
  /** Policies that the target was held against, and met. */
  readonly policies: readonly string[];
  readonly changes: readonly Change[];
  readonly outcome: Outcome;
  /** Raw request and answer, where the provider has `capture: true`. */
  readonly capture?: Capture | undefined;
}

/** How the router decided, for the log. */
export interface RouteTrace {
  /** `rules[0] (claude)`; absent: `provider/model`, without a rule. */
  readonly rule?: string;
  /** In the order in which they are asked. */
  readonly candidates: readonly string[];
  readonly excluded: readonly { target: string; reason: string }[];
}

export type NoteRecord = Record<string, unknown> & { event: string };

export interface Capture {
  request?: { url: string; headers: Record<string, string>; body: string };
  response?: { status: number; headers: Record<string, string>; body: string };
}

/** What the exchange may ask of its gateway. */
export interface GatewayServices {
  readonly now: () => number;
  /** Input tokens of the exchange, estimated. */
  estimateInput(exchange: Exchange): number;
  /** Nano-dollars; `null` = unknown price. */
  cost(target: Target, usage: Usage, responseModel?: string): number | null;
}

export interface ExchangeInit {
  id: string;
  operation: Operation;
  dialect: Dialect;
  body: RequestBody;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | undefined>>;
  services: GatewayServices;
  /** In process, whose caller is trusted. */
  trusted: boolean;
  identity?: Identity;
}

/** Gets the exchange too, so that one function can serve all exchanges. */
export type Finisher = (outcome: Outcome, exchange: Exchange) => void;

/**
 * The one object that travels. Before the router it is the caller's exchange; the router forks it once per attempt,
 * so that what stands after the router registers `onFinish` for that attempt alone.
 */
export class Exchange {
  readonly id: string;
  readonly operation: Operation;
  readonly dialect: Dialect;
  readonly body: RequestBody;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly services: GatewayServices;
  readonly trusted: boolean;
  readonly parent: Exchange | undefined;
  /** `performance.now()` at its start. */
  readonly startedAt: number = performance.now();

  identity: Identity;
  /** Present after the router. */
  target: Target | undefined;
  #upstreamDialect: Dialect | undefined;
  /** What the route prescribes instead of the caller's own wish. */
  reasoning: Reasoning | undefined;
  /** Present after the router, on the caller's exchange. */
  route: RouteTrace | undefined;
  /** Patience with this attempt's upstream, where the route says it. */
  timeouts: { firstByteMs?: number | undefined; idleMs?: number | undefined } | undefined;
  /** An answer by which the model declines is an error, because the route has somebody else to ask. */
  refusalFails = false;
  /** Output tokens that the budget granted; sent upstream as the bound. */
  grantedTokens: number | undefined;
  /** Changes made for this attempt. */
  readonly changes: Change[] = [];
  /** Policies that this attempt's target was held against, and met. */
  readonly policies: string[] = [];
  /** Records of finished attempts, in order. */
  readonly attempts: AttemptRecord[];
  /** Extra response headers, set by any middleware. */
  readonly responseHeaders: Record<string, string>;
  capture: Capture | undefined;
  /** 1, 2, … within the exchange; 0 for the caller's exchange itself. */
  readonly attempt: number;

  #model: string | undefined;
  #outcome: Outcome | undefined;
  #finishers: Finisher[] = [];
  #noteListeners: ((record: NoteRecord, exchange: Exchange) => void)[] | undefined;
  #attemptListeners: ((record: AttemptRecord, exchange: Exchange) => void)[] | undefined;
  #aborters: ((reason: GatewayError) => void)[] | undefined;
  #abortReason: GatewayError | undefined;
  #controller: AbortController | undefined;
  #forks = 0;

  constructor(init: ExchangeInit, parent?: Exchange, target?: Target) {
    this.id = init.id;
    this.operation = init.operation;
    this.dialect = init.dialect;
    this.body = init.body;
    this.headers = init.headers;
    this.services = init.services;
    this.trusted = init.trusted;
    this.identity = init.identity ?? {};
    this.parent = parent;
    this.target = target;
    this.attempts = parent ? parent.attempts : [];
    this.responseHeaders = parent ? parent.responseHeaders : {};
    this.attempt = parent ? ++parent.#forks : 0;
    this.reasoning = parent?.reasoning;
    if (parent) parent.onAbort((reason) => this.abort(reason));
  }

  /** The model asked for. @throws GatewayError `invalid_request` when the body has none */
  get model(): string {
    // `[1m]` is a mark of the client's own; no upstream knows it.
    this.#model ??= this.body.model.replace(/\[1m\]$/, "");
    return this.#model;
  }

  /** The model for a log or an answer, whatever the body is. */
  get modelName(): string {
    try {
      return this.model;
    } catch {
      return "";
    }
  }

  /** How the request bounds its output. @throws GatewayError `invalid_request` */
  get bounds(): Bounds {
    return this.body.bounds(this.dialect);
  }

  /** The request in canonical form; decoded once, never changed. @throws GatewayError `invalid_request` */
  get request(): ChatRequest {
    return this.body.canonical(this.dialect, this.operation);
  }

  /** The dialect in which this attempt speaks to its target. */
  get upstreamDialect(): Dialect {
    const { provider, model } = this.target!;
    this.#upstreamDialect ??= provider.dialectFor(this.dialect, model, () => this.request);
    return this.#upstreamDialect;
  }

  /** Decides on a dialect of the target other than the one it would be asked in by default. */
  speak(dialect: Dialect): void {
    this.#upstreamDialect = dialect;
  }

  /** An attempt at one target. @param body what is asked there; default the caller's own request */
  fork(target: Target, body: RequestBody = this.body): Exchange {
    return new Exchange(body === this.body ? this : { ...initOf(this), body }, this, target);
  }

  /**
   * A call of the gateway's own on behalf of this exchange, or the same request out of its caller's reach. Its attempts
   * and notes are told here; it ends by itself, and whoever made it aborts it.
   */
  side(init: Partial<ExchangeInit> = {}): Exchange {
    const { id, operation, dialect, body, headers, services, trusted, identity } = this;
    const side = new Exchange({ id, operation, dialect, body, headers, services, trusted, identity, ...init });
    side.onAttempt((record) => this.#tell(record));
    side.onNote((record) => this.note(record));
    return side;
  }

  /** The attempt whose reply the caller gets: when it ends, so does the exchange. */
  winner: Exchange | undefined;

  adopt(attempt: Exchange, reply: Reply): void {
    this.winner = attempt;
    // A reply that a middleware made by itself has no upstream that could end it.
    if (!attempt.finished && reply.body.type === "json") {
      attempt.finish({
        ok: true,
        status: reply.status,
        billable: false,
        totalMs: performance.now() - attempt.startedAt,
      });
    }
    if (reply.body.type === "stream") attempt.body.forget();
    attempt.onFinish(finishCaller);
  }

  /** Called exactly once, when the attempt (after the router) or the exchange (before it) has ended, however it ended. */
  onFinish(callback: Finisher): void {
    if (this.#outcome) callback(this.#outcome, this);
    else this.#finishers.push(callback);
  }

  /** Ends the attempt or exchange; only the first call counts. */
  finish(outcome: Outcome): void {
    if (this.#outcome) return;
    this.#outcome = outcome;
    this.#aborters = undefined;
    // First the record, so that an attempt stands in the log before its request does.
    if (this.parent && this.target) this.parent.#attemptEnded(this, outcome);
    const finishers = this.#finishers;
    this.#finishers = [];
    for (const finisher of finishers) {
      try {
        finisher(outcome, this);
      } catch (error) {
        // One listener's fault must not keep another from settling.
        queueMicrotask(() => process.emitWarning(error instanceof Error ? error : String(error)));
      }
    }
  }

  get finished(): Outcome | undefined {
    return this.#outcome;
  }

  /** Ends with an error that was thrown before the answer began. Its `billable` tells whether it may be charged. */
  fail(error: GatewayError): void {
    this.finish({
      ok: false,
      status: error.status,
      error,
      billable: error.billable,
      ...(error.code === "client_closed" && { aborted: true }),
      totalMs: performance.now() - this.startedAt,
    });
  }

  /** From the start of the attempt to its first content. */
  firstTokenMs: number | undefined;
  /** The caller has left, and the answer is read to its end for the usage alone. */
  draining = false;
  /** Set by a budget that reads abandoned answers to their end; asked once, when the caller leaves. */
  mayDrain: (() => boolean) | undefined;

  /** Something worth a record of its own, beside attempts and requests. */
  note(record: NoteRecord): void {
    const told = this.parent ?? this;
    for (const listener of told.#noteListeners ?? []) listener(record, told);
  }

  onNote(callback: (record: NoteRecord, exchange: Exchange) => void): void {
    this.#noteListeners ??= [];
    this.#noteListeners.push(callback);
  }

  addResponseHeaders(headers: Record<string, string>): void {
    Object.assign(this.responseHeaders, headers);
  }

  /** Called after each attempt of this exchange. */
  onAttempt(callback: (record: AttemptRecord, exchange: Exchange) => void): void {
    this.#attemptListeners ??= [];
    this.#attemptListeners.push(callback);
  }

  #attemptEnded(attempt: Exchange, outcome: Outcome): void {
    const target = attempt.target!;
    this.#tell({
      number: attempt.attempt,
      target: target.name,
      provider: target.providerName,
      model: target.model,
      jurisdiction: target.provider.jurisdiction,
      region: target.provider.region,
      policies: attempt.policies,
      changes: attempt.changes,
      outcome,
      capture: attempt.capture,
    });
  }

  #tell(record: AttemptRecord): void {
    this.attempts.push(record);
    for (const listener of this.#attemptListeners ?? []) listener(record, this);
  }

  /** The caller left, or its deadline passed. Runs once; later listeners are called at once. */
  abort(reason: GatewayError): void {
    if (this.#abortReason || this.#outcome) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
    const aborters = this.#aborters;
    this.#aborters = undefined;
    for (const aborter of aborters ?? []) aborter(reason);
  }

  get aborted(): GatewayError | undefined {
    return this.#abortReason;
  }

  onAbort(callback: (reason: GatewayError) => void): void {
    if (this.#abortReason) return callback(this.#abortReason);
    this.#aborters ??= [];
    this.#aborters.push(callback);
  }

  /** For libraries that take a signal; made on first use. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#abortReason) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  /** An error about this exchange's target. */
  upstreamError(code: ConstructorParameters<typeof GatewayError>[0], message: string, options?: GatewayErrorOptions) {
    return new GatewayError(code, message, { ...options, provider: this.target?.providerName });
  }
}

/** The caller's exchange ends as the attempt that answers it. */
const finishCaller: Finisher = (outcome, { parent }) => {
  parent!.finish({ ...outcome, totalMs: performance.now() - parent!.startedAt });
};

const initOf = ({ id, operation, dialect, headers, services, trusted, identity }: Exchange) => ({
  id,
  operation,
  dialect,
  headers,
  services,
  trusted,
  identity,
});
