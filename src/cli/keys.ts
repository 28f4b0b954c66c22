import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { openKeyTable } from "../keys/open.ts";
import { type KeyRecord, type KeyTable, KeyTableError } from "../keys/table.ts";
import { sqliteStore } from "../stores/sqlite.ts";
import { CliError, messageOf } from "./errors.ts";

export interface KeysOptions {
  db?: string;
  name?: string;
  user?: string;
  team?: string;
  tag?: string[];
  models?: string[];
  expires?: string;
  json?: boolean;
}

const UNITS_MS = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 } as const;

/**
 * `turnpike keys create|list|revoke`. What is printed to stdout is for other programs too: the key alone, or the table.
 * @throws CliError
 */
export async function keys([action, ...rest]: readonly string[], options: KeysOptions): Promise<void> {
  const where = placeOf(options.db || process.env.TURNPIKE_DB || "turnpike.db");
  if (action !== "create" && where.file && !existsSync(where.file))
    throw new CliError(`there is no file ${where.file}; name it with --db`);
  const table = await open(where);
  try {
    if (action === "create") await create(table, where, options);
    else if (action === "list") await list(table, where, options);
    else for (const id of rest) await revoke(table, where, id);
  } catch (error) {
    if (error instanceof KeyTableError) throw new CliError(error.message, 1, { cause: error });
    throw error;
  } finally {
    await table.close();
  }
}

interface Place {
  /** As in a configuration. */
  address: string;
  /** For people: without a password. */
  name: string;
  file?: string;
}

/** `--db` is a file or a PostgreSQL address. */
function placeOf(db: string): Place {
  if (/^postgres(ql)?:\/\//.test(db)) return { address: db, name: db.replace(/\/\/[^@/]*@/, "//") };
  const file = resolve(db.replace(/^sqlite:/, ""));
  return { address: `sqlite:${file}`, name: file, file };
}

async function open({ address, file }: Place): Promise<KeyTable> {
  try {
    // Budgets may come to live in the same file, and their store takes no file in which others were first.
    if (file && !existsSync(file)) void sqliteStore(file).close();
    return await openKeyTable(address);
  } catch (error) {
    throw new CliError(messageOf(error), 1, { cause: error });
  }
}

async function create(table: KeyTable, { name: place, file }: Place, options: KeysOptions): Promise<void> {
  const { name, user, team, tag: tags, models, expires } = options;
  const expiresAt = expires === undefined ? undefined : expiryOf(expires, Date.now());
  const { id, key } = await table.create({ name, user, team, tags, models, expiresAt }).catch((error: unknown) => {
    if (!(error instanceof TypeError)) throw error;
    throw new CliError(error.message.replace(/^keys\.create: (✖ )?/, ""), 2, { cause: error });
  });
  process.stdout.write(`${key}\n`);
  const until = expiresAt === undefined ? "" : `, until ${new Date(expiresAt).toISOString()}`;
  process.stderr.write(
    `Key ${id}${until}. This is the only time it is shown: only its hash is kept, in ${place}\n` +
      `The gateway takes it with "auth": { "table": "${file ? `sqlite:${file}` : "postgres://…"}" } in its configuration.\n`,
  );
}

/** `30d`, `12h`, `2w`, or an ISO date or time. A date means its beginning in UTC. */
export function expiryOf(text: string, now: number): number {
  const span = /^(\d{1,6})([hdw])$/.exec(text);
  const time = span
    ? now + Number(span[1]) * UNITS_MS[span[2] as keyof typeof UNITS_MS]
    : /^\d{4}-\d\d-\d\d(T\S+(Z|[+-]\d\d:?\d\d))?$/.test(text)
      ? Date.parse(text)
      : Number.NaN;
  if (Number.isNaN(time)) {
    throw new CliError(`--expires takes 12h, 30d, 2w, or a time such as 2027-01-31T12:00:00Z, not "${text}"`, 2);
  }
  if (time <= now) throw new CliError(`--expires ${text} has passed already`, 2);
  return time;
}

async function list(table: KeyTable, { name: place }: Place, { json }: KeysOptions): Promise<void> {
  const records = await table.list();
  if (json) {
    process.stdout.write(`${JSON.stringify(records, null, 2)}\n`);
    return;
  }
  if (records.length === 0) {
    process.stdout.write(`No keys in ${place}\n`);
    return;
  }
  const now = Date.now();
  const rows = [
    ["ID", "STATE", "NAME", "USER", "TEAM", "TAGS", "MODELS", "CREATED", "EXPIRES", "LAST USED"],
    ...records.map((record) => [
      record.id,
      stateOf(record, now),
      ...[record.name, record.user, record.team].map((text) => plain(text ?? "-")),
      plain(record.tags?.join(",") ?? "-"),
      plain(record.models?.join(",") ?? "all"),
      ...[record.createdAt, record.expiresAt, record.lastUsedAt].map(dateOf),
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
  process.stdout.write(`${lines.join("\n")}\n`);
}

async function revoke(table: KeyTable, { name: place }: Place, id: string): Promise<void> {
  if (!(await table.revoke(id))) throw new CliError(`there is no key ${plain(id)} in ${place}`);
  process.stdout.write(`Key ${id} is revoked; running gateways stop taking it within their \`cacheMs\` (5 s)\n`);
}

function stateOf({ revokedAt, expiresAt }: KeyRecord, now: number): string {
  if (revokedAt !== undefined) return "revoked";
  return expiresAt !== undefined && expiresAt <= now ? "expired" : "active";
}

const dateOf = (time: number | undefined) =>
  time === undefined ? "-" : new Date(time).toISOString().slice(0, 16).replace("T", " ");

/** Nothing that is stored may steer a terminal. */
const plain = (text: string) => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "?");
