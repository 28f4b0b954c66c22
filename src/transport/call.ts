import { Batch } from "../core/batch.ts";
import { GatewayError } from "../core/errors.ts";
import type { CallBody, UpstreamResponse } from "../core/provider.ts";
import type { Connection } from "./connection.ts";
import { isRedirect, redirected, stopped } from "./failures.ts";
import { PushedBody } from "./pushed-body.ts";

export interface CallRequest {
  readonly head: string;
  readonly body: CallBody;
  /** Of the body. */
  readonly bytes: number;
}

const tell = (call: Call) => call.tell();
const answers = new Batch<Call>(tell);

/** One call and the body of its answer: one object, because there is one for every request. */
export class Call extends PushedBody {
  readonly firstByteMs: number;
  readonly idleMs: number;
  readonly answered: Promise<UpstreamResponse>;
  #request: CallRequest | undefined;
  #resolve!: (response: UpstreamResponse) => void;
  #reject!: (error: Error) => void;
  #connection: Connection | undefined;
  #response: UpstreamResponse | undefined;
  #isAnswered = false;
  #isOver = false;

  constructor(request: CallRequest, firstByteMs: number, idleMs: number) {
    super();
    this.#request = request;
    this.firstByteMs = firstByteMs;
    this.idleMs = idleMs;
    this.answered = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whether any of it may have left. */
  get isSent(): boolean {
    return this.#request === undefined;
  }

  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /** It failed, was stopped, or has all of its answer. */
  get isOver(): boolean {
    return this.#isOver;
  }

  begin(connection: Connection): void {
    this.#connection = connection;
  }
  /** What is to be sent; it is not kept. */
  take(): CallRequest {
    const request = this.#request!;
    this.#request = undefined;
    return request;
  }
  answer(status: number, headers: Record<string, string>): void {
    if (isRedirect(status)) return this.#stop(redirected(status));
    this.#isAnswered = true;
    this.#response = { status, headers, body: this };
    // What a stream brings at once, and what becomes of it, is more than the processor's caches hold of many.
    if (headers["content-type"]?.startsWith("text/event-stream")) setImmediate(tell, this);
    else answers.add(this);
  }
  /** Tells who has asked. */
  tell(): void {
    this.#resolve(this.#response!);
  }
  data(chunk: Buffer): void {
    this.push(chunk);
  }
  whole(): void {
    this.#connection = undefined;
    this.#isOver = true;
    this.end();
  }
  fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#connection = undefined;
    if (this.#isAnswered) this.break(error);
    else this.#reject(error);
  }
  abort(reason: Error): void {
    this.#stop(stopped(reason, this.isSent));
  }

  pause(): void {
    this.#connection?.pause();
  }
  resume(): void {
    this.#connection?.resume();
  }
  protected stop(): void {
    this.#stop(new GatewayError("client_closed", "Nobody reads the answer any more"));
  }
  /** Closes the connection: what it still brings is nobody's. */
  #stop(error: Error): void {
    const connection = this.#connection;
    this.fail(error);
    connection?.close();
  }
}
