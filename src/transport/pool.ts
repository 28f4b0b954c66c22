import { connect, isIP } from "node:net";
import { connect as connectSecurely } from "node:tls";
import { bodyLength } from "../core/call-body.ts";
import type { GatewayError } from "../core/errors.ts";
import type { Transport, UpstreamCall, UpstreamResponse } from "../core/provider.ts";
import { Call } from "./call.ts";
import { Connection, type Open, type Owner } from "./connection.ts";
import { failure } from "./failures.ts";
import { DEFAULTS, type PoolOptions, type TransportOptions } from "./options.ts";
import { RequestHeads } from "./request-heads.ts";

export interface PoolTransportOptions extends TransportOptions {
  pool?: PoolOptions | undefined;
}

/** The default transport: HTTP/1.1 over kept connections, one pool per provider. */
export function poolTransport(
  baseURL: string,
  options: PoolTransportOptions = {},
): { send: Transport; close(): Promise<void> } {
  const pool = new Pool(new URL(baseURL), options);
  return { send: (call) => pool.send(call), close: async () => pool.close() };
}

/** Connections to one origin. The one that was used last is used next, so that those that are not needed close. */
class Pool implements Owner {
  readonly #heads: RequestHeads;
  readonly #open: Open;
  readonly #ready: "connect" | "secureConnect";
  readonly #timeouts: typeof DEFAULTS;
  readonly #most: number;
  readonly #connections = new Set<Connection>();
  readonly #idle: Connection[] = [];
  readonly #waiting: Call[] = [];
  #connecting = 0;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer looks at the deadlines; value of `performance.now()`. */
  #looksAt = Number.POSITIVE_INFINITY;
  #isClosed = false;

  constructor(url: URL, { headers = {}, timeouts = {}, pool = {} }: PoolTransportOptions) {
    const isSecure = url.protocol === "https:";
    this.#heads = new RequestHeads(url, headers);
    this.#open = isSecure ? secureSockets(url) : plainSockets(url);
    this.#ready = isSecure ? "secureConnect" : "connect";
    this.#timeouts = {
      connectMs: timeouts.connectMs ?? DEFAULTS.connectMs,
      firstByteMs: timeouts.firstByteMs ?? DEFAULTS.firstByteMs,
      idleMs: timeouts.idleMs ?? DEFAULTS.idleMs,
      keepAliveMs: pool.keepAliveMs ?? DEFAULTS.keepAliveMs,
    };
    this.#most = pool.connections ?? Number.POSITIVE_INFINITY;
  }

  send({ method, path, headers, body = "", timeouts, onAbort }: UpstreamCall): Promise<UpstreamResponse> {
    const bytes = bodyLength(body);
    let head: string;
    try {
      head = this.#heads.write(method, path, headers, bytes);
    } catch (error) {
      return Promise.reject(error);
    }
    const { firstByteMs, idleMs } = this.#timeouts;
    const call = new Call({ head, body, bytes }, timeouts?.firstByteMs ?? firstByteMs, timeouts?.idleMs ?? idleMs);
    if (onAbort) this.#abortable(call, onAbort);
    if (this.#isClosed) call.fail(failure("unreachable", false));
    else if (!call.isOver) this.carry(call);
    return call.answered;
  }

  /** A function of its own, as what stands beside a callback is kept with it. */
  #abortable(call: Call, onAbort: NonNullable<UpstreamCall["onAbort"]>): void {
    onAbort((reason) => {
      call.abort(reason);
      const place = this.#waiting.indexOf(call);
      if (place !== -1) this.#waiting.splice(place, 1);
    });
  }

  /** Ends what is under way. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const call of this.#waiting.splice(0)) call.fail(failure("unreachable", false));
    for (const connection of this.#connections) connection.fail(failure("broken", true));
  }

  carry(call: Call): void {
    const connection = this.#idle.pop();
    if (connection) return connection.send(call);
    this.#waiting.push(call);
    this.#connect();
  }
  connected(): void {
    this.#connecting--;
  }
  free(connection: Connection): void {
    const next = this.#waiting.shift();
    if (next) connection.send(next);
    else this.#idle.push(connection);
  }
  gone(connection: Connection): void {
    this.#connections.delete(connection);
    const place = this.#idle.indexOf(connection);
    if (place !== -1) this.#idle.splice(place, 1);
    this.#connect();
  }
  /** Where as many are being opened as calls wait, one of them may still be served by another. */
  failed(error: GatewayError): void {
    this.#connecting--;
    if (this.#connecting < this.#waiting.length) this.#waiting.shift()?.fail(error);
  }
  watch(deadline: number): void {
    if (deadline < this.#looksAt) this.#lookAt(deadline);
  }

  /** As many as calls wait. */
  #connect(): void {
    if (this.#isClosed) return;
    const { connectMs, keepAliveMs } = this.#timeouts;
    while (this.#connecting < this.#waiting.length && this.#connections.size < this.#most) {
      this.#connecting++;
      this.#connections.add(new Connection(this, this.#open, this.#ready, connectMs, keepAliveMs));
    }
  }
  /** One timer for all deadlines: most of them move on before they are looked at. */
  #lookAt(deadline: number): void {
    clearTimeout(this.#timer);
    this.#looksAt = deadline;
    const ms = Math.ceil(deadline - performance.now());
    this.#timer = setTimeout(() => this.#look(), Math.min(Math.max(ms, 1), MOST_MS)).unref();
  }
  #look(): void {
    const now = performance.now();
    let earliest = Number.POSITIVE_INFINITY;
    this.#looksAt = earliest;
    for (const connection of this.#connections) {
      const { deadline } = connection;
      if (deadline <= now) setImmediate(expire, connection, deadline);
      else if (deadline < earliest) earliest = deadline;
    }
    this.watch(earliest);
  }
}

/** After what has arrived was read: it may be this process that was late. */
function expire(connection: Connection, deadline: number): void {
  if (connection.deadline === deadline) connection.expire();
}

/** Longer ones overflow a timer. */
const MOST_MS = 2 ** 31 - 1;

function plainSockets({ hostname, port }: URL): Open {
  const address = { host: unbracketed(hostname), port: Number(port || 80) };
  return (onread) => connect({ ...address, onread });
}

function secureSockets({ hostname, port }: URL): Open {
  const host = unbracketed(hostname);
  const address = {
    host,
    port: Number(port || 443),
    ALPNProtocols: ["http/1.1"],
    ...(!isIP(host) && { servername: host }),
  };
  // Of the last handshake: the next is shorter.
  let session: Buffer | undefined;
  // Node takes `onread` here too; its types do not say so.
  return (onread) => {
    const socket = connectSecurely(Object.assign({ onread, session }, address));
    socket.on("session", (fresh) => {
      session = fresh;
    });
    return socket;
  };
}

/** `[::1]` */
const unbracketed = (hostname: string) => hostname.replace(/^\[|\]$/g, "");
