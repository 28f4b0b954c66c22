/**
 * - `store_closed`: the store was used after `close()`.
 * - `store_peer_missing`: a `connectionString` was given, but the package `pg` is not installed.
 * - `store_schema`: the schema is missing, older or newer than this Turnpike.
 * - `store_failed`: PostgreSQL cannot be reached or refused; see `cause`.
 */
export type PostgresStoreErrorCode = "store_closed" | "store_peer_missing" | "store_schema" | "store_failed";

export class PostgresStoreError extends Error {
  override readonly name = "PostgresStoreError";
  readonly code: PostgresStoreErrorCode;

  constructor(code: PostgresStoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
