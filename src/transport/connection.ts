import type { Socket } from "node:net";
import { Batch } from "../core/batch.ts";
import { writeBody } from "../core/call-body.ts";
import type { GatewayError } from "../core/errors.ts";
import type { Call } from "./call.ts";
import { failure } from "./failures.ts";
import { HttpSyntaxError, type ResponseEvents, ResponseReader } from "./response-reader.ts";

/** Into which every connection reads: what is kept of a read is copied out of it before the next. */
const INBOX = Buffer.allocUnsafeSlow(64 * 1024);
/** Up to here head and body go out as one piece of memory; above, copying costs more than a second one. */
const ONE_PIECE_BYTES = 16 * 1024;
/** A server that tells how long it keeps a connection is believed so long less this. */
const KEEP_ALIVE_MARGIN_MS = 1_000;
const KEEP_ALIVE_MOST_MS = 600_000;
/** Silence after which TCP asks whether the other side is still there. */
const PROBE_AFTER_MS = 60_000;

/** How a socket is opened that reads into a given buffer. */
export type Open = (onread: { buffer: Buffer; callback: (length: number) => boolean }) => Socket;

export interface Owner {
  /** The connection is open. */
  connected(): void;
  /** … or will never be. */
  failed(error: GatewayError): void;
  /** Takes a connection that has nothing to do. */
  free(connection: Connection): void;
  /** It is closed. */
  gone(connection: Connection): void;
  /** Sends a call over a connection that is free, or lets it wait for one. */
  carry(call: Call): void;
  /** A connection has a new deadline. */
  watch(deadline: number): void;
}

/** By the end of the turn a connection that the other side has closed is known to be. */
const requests = new Batch<Connection>((connection) => connection.flush());

/** One keep-alive connection. It carries one call at a time. */
export class Connection implements ResponseEvents {
  /** Value of `performance.now()` from which on `expire()` is to be called. */
  deadline: number;
  readonly #owner: Owner;
  readonly #keepAliveMs: number;
  readonly #socket: Socket;
  readonly #reader = new ResponseReader(this);
  #isReady = false;
  #isClosed = false;
  #isPaused = false;
  #call: Call | undefined;
  #error: Error | undefined;
  #lateness: GatewayError | undefined;
  /** What the server said of keeping the connection, with this answer. */
  #keptMs: number;

  constructor(owner: Owner, open: Open, ready: "connect" | "secureConnect", connectMs: number, keepAliveMs: number) {
    this.#owner = owner;
    this.#keepAliveMs = keepAliveMs;
    this.#keptMs = keepAliveMs;
    this.deadline = performance.now() + connectMs;
    owner.watch(this.deadline);
    this.#socket = open({ buffer: INBOX, callback: (length) => this.#read(length) });
    this.#socket.setNoDelay(true);
    this.#socket.setKeepAlive(true, PROBE_AFTER_MS);
    this.#socket.once(ready, () => {
      this.#isReady = true;
      owner.connected();
      this.#rest();
    });
    this.#socket.on("error", (error) => {
      this.#error ??= error;
    });
    this.#socket.on("end", () => this.#ended());
    this.#socket.on("close", () => this.#closed());
  }

  send(call: Call): void {
    this.#call = call;
    this.#keptMs = this.#keepAliveMs;
    call.begin(this);
    this.#wait(call.firstByteMs);
    this.#socket.ref();
    requests.add(this);
  }

  /** Sends the head and the body of its call. */
  flush(): void {
    if (!this.#call) return;
    const { head, body, bytes: size } = this.#call.take();
    const socket = this.#socket;
    if (size <= ONE_PIECE_BYTES) {
      const bytes = Buffer.allocUnsafe(head.length + size);
      bytes.write(head, "latin1");
      writeBody(body, bytes, head.length);
      socket.write(bytes);
    } else {
      socket.cork();
      socket.write(head, "latin1");
      if (typeof body === "string" || body instanceof Uint8Array) socket.write(body);
      else for (const piece of body) socket.write(piece);
      socket.uncork();
    }
  }

  pause(): void {
    this.#isPaused = true;
    this.deadline = Number.POSITIVE_INFINITY;
    this.#socket.pause();
  }
  resume(): void {
    this.#isPaused = false;
    if (this.#call) this.#wait(this.#call.idleMs);
    this.#socket.resume();
  }
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#call = undefined;
    this.deadline = Number.POSITIVE_INFINITY;
    this.#socket.destroy();
    if (!this.#isReady) this.#owner.failed(this.#lateness ?? failure("unreachable", false, this.#error));
    this.#owner.gone(this);
  }
  /** Closes it; its call has failed. */
  fail(error: Error): void {
    const call = this.#call;
    this.close();
    call?.fail(error);
  }
  /** The deadline is over. */
  expire(): void {
    if (!this.#isReady) this.#lateness = failure("connect-timeout", false);
    this.fail(failure(this.#call?.isAnswered ? "idle-timeout" : "head-timeout", this.#call?.isSent === true));
  }

  head(status: number, headers: Record<string, string>): void {
    const hint = headers["keep-alive"];
    const seconds = hint && /timeout=(\d{1,6})/i.exec(hint)?.[1];
    if (seconds) this.#keptMs = Math.min(Number(seconds) * 1_000 - KEEP_ALIVE_MARGIN_MS, KEEP_ALIVE_MOST_MS);
    this.#call!.answer(status, headers);
  }
  data(chunk: Buffer): void {
    this.#call?.data(chunk);
  }
  end(reusable: boolean): void {
    if (this.#isClosed) return;
    const call = this.#call;
    this.#call = undefined;
    if (this.#isPaused) this.resume();
    // What of the request is still to be sent would be read as the next one's.
    if (reusable && this.#keptMs > 0 && this.#socket.writableLength === 0) this.#rest();
    else this.close();
    call?.whole();
  }

  /** @returns whether to read on */
  #read(length: number): boolean {
    const call = this.#call;
    if (!call) {
      // Nobody has asked anything.
      this.close();
      return false;
    }
    if (!this.#isPaused) this.#wait(call.idleMs);
    try {
      this.#reader.feed(INBOX, length);
    } catch (error) {
      this.fail(error instanceof HttpSyntaxError ? failure("malformed", true, error) : (error as Error));
    }
    return !this.#isPaused && !this.#isClosed;
  }
  #ended(): void {
    if (this.#call?.isSent) {
      try {
        this.#reader.close();
      } catch (error) {
        this.fail(failure("broken", true, error as Error));
      }
    }
    this.#closed();
  }
  #closed(): void {
    const call = this.#call;
    if (!call || call.isSent) return this.fail(failure("broken", true, this.#error));
    this.close();
    this.#owner.carry(call);
  }
  #wait(ms: number): void {
    this.deadline = performance.now() + ms;
    this.#owner.watch(this.deadline);
  }
  /** An idle connection keeps no process alive. */
  #rest(): void {
    this.#socket.unref();
    this.#wait(this.#keptMs);
    this.#owner.free(this);
  }
}
