/** What a table of virtual keys is, and what its kinds share. */
import { z } from "zod";
import { hashKey, newKey, newKeyId } from "./key.ts";

/** What a key says about its caller. Nothing here is secret. */
export interface KeyRecord {
  /** Names the key in lists, logs and budgets. */
  readonly id: string;
  /** For people: "CI of the web team". */
  readonly name?: string;
  readonly user?: string;
  readonly team?: string;
  readonly tags?: readonly string[];
  /** Models that may be asked for, `*` stands for anything. Absent: all. */
  readonly models?: readonly string[];
  /** Epoch ms, as all times here. */
  readonly createdAt: number;
  /** Absent: never. */
  readonly expiresAt?: number;
  readonly revokedAt?: number;
  /** To within a minute. */
  readonly lastUsedAt?: number;
}

export interface NewKey {
  name?: string | undefined;
  user?: string | undefined;
  team?: string | undefined;
  tags?: readonly string[] | undefined;
  /** Models that may be asked for, `*` stands for anything. @default all */
  models?: readonly string[] | undefined;
  /** A `Date`, epoch ms, or an ISO time with its zone. @default never */
  expiresAt?: Date | number | string | undefined;
}

export interface KeyTable {
  /** Makes a key. `key` is shown this once; only its hash is kept. @throws TypeError for wrong options */
  create(options?: NewKey): Promise<{ id: string; key: string }>;
  /** All keys, revoked and expired ones too, oldest first. Never a hash. */
  list(): Promise<KeyRecord[]>;
  /** For good; the record stays. @returns false when there is no such key; revoking twice is no mistake */
  revoke(id: string): Promise<boolean>;
  /** @param hash from {@link hashKey} @returns also revoked and expired keys; who asks decides what that means */
  lookup(hash: string): Promise<KeyRecord | undefined>;
  /** Notes that the key was used now; writes at most once per minute and key. */
  touch?(id: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * - `table_busy`: another process kept the file locked for too long; trying again can help.
 * - `table_closed`: used after `close()`.
 * - `table_schema`: not set up, or by a newer Turnpike.
 * - `table_failed`: anything else (no connection, disk full, no right to write); see `cause`.
 */
export type KeyTableErrorCode = "table_busy" | "table_closed" | "table_schema" | "table_failed";

export class KeyTableError extends Error {
  override readonly name = "KeyTableError";
  readonly code: KeyTableErrorCode;

  constructor(code: KeyTableErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Uses that come this soon after the noted one are not written. */
export const TOUCH_EVERY_MS = 60_000;

const text = z.string().min(1).max(200);
const newKeyOptions = z.strictObject({
  name: text.optional(),
  user: text.optional(),
  team: text.optional(),
  tags: z.array(text).max(100).optional(),
  models: z.array(text).min(1).max(100).optional(),
  expiresAt: z
    .union([z.date(), z.int(), z.iso.datetime({ offset: true })], "expected a Date, epoch ms, or an ISO time with zone")
    .transform((time) => new Date(time).getTime())
    .optional(),
});

/** Columns in the order of {@link newRow}. */
export const NEW_COLUMNS = "id, hash, name, owner, team, tags, models, created_at, expires_at";
/** Columns that {@link toRecord} reads: all but the hash. */
export const READ_COLUMNS = "id, name, owner, team, tags, models, created_at, expires_at, revoked_at, last_used_at";

/** A key and its row. @throws TypeError */
export function newRow(given: NewKey, now: number): { id: string; key: string; row: (string | number | null)[] } {
  const parsed = newKeyOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`keys.create: ${z.prettifyError(parsed.error)}`);
  const { name, user, team, tags, models, expiresAt } = parsed.data;
  if (expiresAt !== undefined && expiresAt <= now) throw new TypeError("keys.create: `expiresAt` has passed already");
  const id = newKeyId();
  const key = newKey();
  const list = (values: string[] | undefined) => (values && values.length > 0 ? JSON.stringify(values) : null);
  const row = [id, hashKey(key), name, user, team, list(tags), list(models), now, expiresAt];
  return { id, key, row: row.map((value) => value ?? null) };
}

export function toRecord(row: Record<string, unknown>): KeyRecord {
  const list = (value: unknown) => JSON.parse(value as string) as string[];
  // PostgreSQL's 64-bit integers come as text.
  const time = (value: unknown) => Number(value);
  return {
    id: row.id as string,
    ...(row.name != null && { name: row.name as string }),
    ...(row.owner != null && { user: row.owner as string }),
    ...(row.team != null && { team: row.team as string }),
    ...(row.tags != null && { tags: list(row.tags) }),
    ...(row.models != null && { models: list(row.models) }),
    createdAt: time(row.created_at),
    ...(row.expires_at != null && { expiresAt: time(row.expires_at) }),
    ...(row.revoked_at != null && { revokedAt: time(row.revoked_at) }),
    ...(row.last_used_at != null && { lastUsedAt: time(row.last_used_at) }),
  };
}
