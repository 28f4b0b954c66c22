/** The servers that the tests of shared stores need. Without one its tests are skipped, but in CI they fail. */
import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import pg from "pg";

export const REDIS_URL = process.env.TURNPIKE_TEST_REDIS_URL ?? "redis://127.0.0.1:6379";
export const POSTGRES_URL = process.env.TURNPIKE_TEST_POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test";

/** A name that no other test run has. */
export function randomName(): string {
  return `tptest_${randomBytes(6).toString("hex")}`;
}

/** Why the Redis tests cannot run, or "". */
export async function whyNoRedis(): Promise<string> {
  const client = new Redis(REDIS_URL, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 2000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.ping();
    return "";
  } catch (error) {
    return missing(`no Redis at ${REDIS_URL}`, error);
  } finally {
    client.disconnect();
  }
}

/** Why the PostgreSQL tests cannot run, or "". */
export async function whyNoPostgres(): Promise<string> {
  const client = new pg.Client({ connectionString: POSTGRES_URL, connectionTimeoutMillis: 2000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("SELECT 1");
    return "";
  } catch (error) {
    return missing(`no PostgreSQL at ${POSTGRES_URL}`, error);
  } finally {
    await client.end().catch(() => {});
  }
}

function missing(what: string, cause: unknown): string {
  if (process.env.CI === "true") throw new Error(`${what}, and CI must not skip its tests`, { cause });
  return ` (skipped: ${what})`;
}

/** Deletes all keys of a store. */
export async function deleteKeys(client: Redis, prefix: string): Promise<void> {
  let cursor = "0";
  do {
    const [next, keys] = await client.scan(cursor, "MATCH", `{${prefix}}:*`, "COUNT", 1000);
    cursor = next;
    if (keys.length > 0) await client.del(...keys);
  } while (cursor !== "0");
}

/** Breaks the connections with this name. Returns how many. */
export async function killClients(client: Redis, name: string): Promise<number> {
  const list = (await client.client("LIST")) as string;
  const ids = list.split("\n").flatMap((line) => (line.includes(` name=${name} `) ? [/id=(\d+)/.exec(line)![1]!] : []));
  for (const id of ids) await client.client("KILL", "ID", id).catch(() => {});
  return ids.length;
}

/** Ends the server processes of this application. Returns how many. */
export async function terminateBackends(pool: pg.Pool, application: string): Promise<number> {
  const text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
  return (await pool.query(text, [application])).rowCount ?? 0;
}
