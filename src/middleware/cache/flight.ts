import { GatewayError, toGatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Next } from "../../core/middleware.ts";
import type { JsonBody, Reply } from "../../core/reply.ts";
import { type Entry, entryOf, originOf, replyFrom } from "./entry.ts";
import { ownError } from "./readers.ts";
import { SharedStream } from "./shared-stream.ts";

/** An answer that was found on the way, for a question that means the same. */
export interface Near {
  entry: Entry;
  similarity: number;
}

/** What a flight came to, as soon as it is decided. */
type Landed = { near: Near } | { reply: Reply; stream?: SharedStream };

export interface FlightOptions {
  /** Characters of text beyond which an answer is given to those who wait for it, but no longer kept or joined. */
  maxChars: number;
  /** Looks for an answer to a similar question. */
  near?: ((side: Exchange) => Promise<Near | undefined>) | undefined;
}

/**
 * One call of the upstream for everybody who asks the same while it runs. It runs in an exchange of its own, so that
 * none of them ends it by leaving; the last one to leave does.
 */
export class Flight {
  readonly leader: Exchange;
  readonly side: Exchange;
  /** The whole answer; undefined where it cannot be kept. Rejects when it breaks. */
  readonly whole: Promise<Entry | undefined>;
  /** It was answered by a target that was not the first choice. */
  fallback = false;
  /** The answer to a similar question that it came to. */
  wasNear: Near | undefined;
  readonly #landed: Promise<Landed>;
  readonly #options: FlightOptions;
  readonly #present = new Set<Exchange>();
  #stream: SharedStream | undefined;
  readonly #abandoned = Promise.withResolvers<undefined>();
  #kept = false;
  #ended = false;

  constructor(leader: Exchange, next: Next, options: FlightOptions) {
    this.leader = leader;
    this.#options = options;
    this.side = leader.side();
    this.side.onFinish((outcome) => {
      if (!this.#present.has(leader)) return;
      leader.winner = this.side.winner;
      leader.finish({ ...outcome, totalMs: performance.now() - leader.startedAt });
    });
    // Present before anything can end.
    this.#present.add(leader);
    this.#landed = this.#fly(next);
    // An abandoned answer may be read on for its usage alone, and never tells its end.
    this.whole = Promise.race([this.#landed.then((landed) => this.#answer(landed)), this.#abandoned.promise]);
    this.whole.catch(() => {});
  }

  /** Whether somebody else can still get its whole answer. */
  get open(): boolean {
    return !this.#ended && (this.#stream?.open ?? true);
  }

  /** Goes on to its end, whoever leaves: somebody will ask for the answer again. */
  keep(): void {
    this.#kept = true;
  }

  /** Ends it for everybody. */
  stop(): void {
    const reason = new GatewayError("shutting_down", "The gateway is shutting down");
    this.#ended = true;
    this.#abandoned.reject(reason);
    this.side.abort(reason);
  }

  /** For who asked first. */
  async lead(): Promise<Reply> {
    const { leader, side } = this;
    this.#watch(leader);
    try {
      const landed = await orAborted(this.#landed, leader);
      this.#checkPresent(leader);
      if ("near" in landed) return this.#nearReply(leader, landed.near);
      leader.winner = side.winner;
      const { reply, stream } = landed;
      return stream ? { ...reply, body: { type: "stream", source: stream.first(leader) } } : reply;
    } finally {
      leader.addResponseHeaders(side.responseHeaders);
    }
  }

  /** For who asks the same meanwhile. Undefined where the answer cannot be given to others. */
  async join(exchange: Exchange): Promise<Reply | undefined> {
    this.#present.add(exchange);
    this.#watch(exchange);
    try {
      const landed = await orAborted(this.#landed, exchange);
      this.#checkPresent(exchange);
      if ("near" in landed) return this.#nearReply(exchange, landed.near);
      const { stream } = landed;
      if (!stream || !exchange.body.stream) return await this.#wholeReply(exchange, stream);
      if (!stream.open) return undefined;
      exchange.addResponseHeaders(originOf(this.side));
      return { status: 200, headers: {}, body: { type: "stream", source: stream.later(exchange) } };
    } catch (error) {
      throw exchange.aborted ?? ownError(toGatewayError(error));
    }
  }

  async #wholeReply(exchange: Exchange, stream: SharedStream | undefined): Promise<Reply | undefined> {
    const arrived = stream?.hurry();
    const entry = await orAborted(this.whole, exchange).finally(arrived);
    this.#present.delete(exchange);
    if (!entry) return undefined;
    return replyFrom(exchange, entry);
  }

  #nearReply(exchange: Exchange, { entry, similarity }: Near): Reply {
    exchange.addResponseHeaders({
      "x-turnpike-cache": "semantic",
      "x-turnpike-cache-similarity": similarity.toFixed(4),
      age: ageOf(entry, exchange),
    });
    return replyFrom(exchange, entry);
  }

  async #fly(next: Next): Promise<Landed> {
    const { side } = this;
    try {
      const near = await this.#options.near?.(side);
      if (near) {
        this.#ended = true;
        this.wasNear = near;
        return { near };
      }
      const before = side.attempts.length;
      const reply = await next(side);
      const winner = side.winner?.target;
      const name = winner && `${winner.providerName}/${winner.model}`;
      this.fallback = side.attempts.slice(before).some(({ outcome, target }) => !outcome.ok && target !== name);
      if (reply.body.type === "json") return { reply };
      const stream = new SharedStream(reply.body.source, side.dialect, this.#options.maxChars, (exchange, reason) =>
        this.#leave(exchange, reason),
      );
      this.#stream = stream;
      if (this.#present.size === 0) stream.readAlone();
      return { reply, stream };
    } catch (error) {
      this.#ended = true;
      throw side.aborted ?? error;
    }
  }

  async #answer(landed: Landed): Promise<Entry | undefined> {
    if ("near" in landed) return landed.near.entry;
    const { stream, reply } = landed;
    const answer = stream ? await stream.whole : readWhole(this.side, reply.body as JsonBody);
    return answer && entryOf(answer, this.side);
  }

  /** Who left in the very moment of the decision is in nobody's list any more. */
  #checkPresent(exchange: Exchange): void {
    if (exchange.aborted && !this.#present.has(exchange)) throw exchange.aborted;
  }

  #watch(exchange: Exchange): void {
    exchange.onAbort((reason) => this.#leave(exchange, reason));
  }

  #leave(exchange: Exchange, reason: GatewayError): void {
    if (!this.#present.delete(exchange)) return;
    const others = this.#present.size > 0 || this.#kept;
    // The last one to leave ends the upstream's answer; who asked first is told by that, with what it came to.
    if (!others && exchange === this.leader) this.#present.add(exchange);
    else this.#stream?.drop(exchange, reason);
    if (this.#present.size === 0 && this.#kept) this.#stream?.readAlone();
    if (others) return;
    this.#ended = true;
    this.#abandoned.reject(reason);
    this.side.abort(reason);
  }
}

export const ageOf = ({ at }: Entry, { services }: Exchange): string =>
  String(Math.max(0, Math.floor((services.now() - at) / 1_000)));

function readWhole(side: Exchange, body: JsonBody) {
  try {
    return side.dialect.decodeResponse(body.value);
  } catch {
    return undefined;
  }
}

/** What comes of a promise, unless the caller leaves before. */
export function orAborted<T>(promise: Promise<T>, exchange: Exchange): Promise<T> {
  return new Promise((resolve, reject) => {
    promise.then(resolve, reject);
    exchange.onAbort(reject);
  });
}
