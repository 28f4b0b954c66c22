/**
 * - `store_closed`: the store was used after `close()`.
 * - `store_peer_missing`: a `url` was given, but the package `ioredis` is not installed.
 * - `store_failed`: Redis cannot be reached or refused; whether it acted is unknown. See `cause`.
 */
export type RedisStoreErrorCode = "store_closed" | "store_peer_missing" | "store_failed";

export class RedisStoreError extends Error {
  override readonly name = "RedisStoreError";
  readonly code: RedisStoreErrorCode;

  constructor(code: RedisStoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
