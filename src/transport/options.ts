/** Patience with one upstream call, milliseconds. */
export interface Timeouts {
  /** TCP and TLS. @default 5_000 */
  connectMs?: number;
  /** From the request to the head of the answer. Reasoning models think before they answer. @default 300_000 */
  firstByteMs?: number;
  /** Between two chunks of the answer. @default 60_000 */
  idleMs?: number;
}

export interface PoolOptions {
  /** Most sockets per provider; slow streams hold one each. @default unlimited */
  connections?: number;
  /** How long an idle socket is kept. @default 4_000 */
  keepAliveMs?: number;
}

export interface TransportOptions {
  /** Of every call, names in lower case; a call's own go before them. */
  headers?: Record<string, string>;
  timeouts?: Timeouts | undefined;
}

export const DEFAULTS = { connectMs: 5_000, firstByteMs: 300_000, idleMs: 60_000, keepAliveMs: 4_000 };
