import type { CacheStore } from "../core/cache-store.ts";

export type * from "../core/cache-store.ts";

/** What the cache calls of an ioredis (or iovalkey) client or cluster. */
export interface IoredisCacheClient {
  eval(script: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>;
  evalsha(sha: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>;
}

/** What the cache calls of a node-redis client (version 5 or later), cluster or pool. */
export interface NodeRedisCacheClient {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  evalSha(sha: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
}

export type RedisCacheClient = IoredisCacheClient | NodeRedisCacheClient;

/** Either a client, which stays yours to close, or an address such as `redis://localhost:6379` for `ioredis`. */
export type RedisCacheConnection =
  | { readonly client: RedisCacheClient; readonly url?: undefined }
  | { readonly url: string; readonly client?: undefined };

export interface RedisCacheOptions {
  /** Heads all keys. @default "turnpike-cache" */
  prefix?: string;
}

const GET = `return redis.call("GET", KEYS[1])`;
const SET = `redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2]) return false`;
const ADD = `
local found = redis.call("GET", KEYS[1])
if not found then redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2]) end
return found`;
const SWAP = `
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return false end
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
return "1"`;
const DELETE = `
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return false end
redis.call("DEL", KEYS[1])
return "1"`;

/**
 * Answers in Redis (6.2 or later) or Valkey, for any number of processes. Every entry has a time to live; how much is
 * kept is the server's to bound (`maxmemory`, any `maxmemory-policy`: what it evicts is a miss). Give it another server
 * than budgets, which must not be evicted.
 * @throws TypeError when neither a known client nor an address is given
 * @example cache({ store: redisCache({ url: "redis://localhost:6379" }) })
 */
export function redisCache(
  connection: RedisCacheConnection,
  { prefix = "turnpike-cache" }: RedisCacheOptions = {},
): CacheStore {
  const { run, close } =
    connection?.client === undefined && typeof connection?.url === "string"
      ? useUrl(connection.url)
      : useClient(connection?.client);
  const call = async (script: string, key: string, ...args: (string | number)[]) => {
    const answer = await run(script, `${prefix}:${key}`, args.map(String));
    return answer === null || answer === undefined ? undefined : String(answer);
  };
  return {
    get: (key) => call(GET, key),
    async set(key, value, ttlMs) {
      await call(SET, key, value, Math.ceil(ttlMs));
    },
    add: (key, value, ttlMs) => call(ADD, key, value, Math.ceil(ttlMs)),
    async swap(key, expected, value, ttlMs) {
      const done =
        value === undefined ? call(DELETE, key, expected) : call(SWAP, key, expected, value, Math.ceil(ttlMs));
      return (await done) === "1";
    },
    close,
  };
}

interface Connection {
  run(script: string, key: string, args: string[]): Promise<unknown>;
  close(): Promise<void>;
}

function useClient(client: RedisCacheClient | undefined): Connection {
  const shape = client as Partial<IoredisCacheClient & NodeRedisCacheClient> | null | undefined;
  if (typeof shape?.eval !== "function" || (!shape.evalSha && !shape.evalsha)) {
    throw new TypeError("redisCache needs an address, an ioredis client or a node-redis client");
  }
  const run: Connection["run"] =
    typeof shape.evalSha === "function"
      ? (script, key, args) => (client as NodeRedisCacheClient).eval(script, { keys: [key], arguments: args })
      : (script, key, args) => (client as IoredisCacheClient).eval(script, 1, key, ...args);
  return { run, async close() {} };
}

/** Connects at the first call, with the optional peer `ioredis`. */
function useUrl(url: string): Connection {
  let opened: Promise<OwnClient> | undefined;
  const open = () => {
    // After a failure (the package was missing) the next call tries again.
    opened ??= openClient(url).catch((error) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  return {
    run: async (script, key, args) => (await open()).eval(script, 1, key, ...args),
    async close() {
      await (await opened?.catch(() => undefined))?.quit().catch(() => {});
    },
  };
}

interface OwnClient extends IoredisCacheClient {
  quit(): Promise<unknown>;
}

async function openClient(url: string): Promise<OwnClient> {
  const { Redis } = await import("ioredis").catch((cause) => {
    const message = `redisCache({ url }) needs the package "ioredis": run "npm install ioredis", or pass a { client }`;
    throw new TypeError(message, { cause });
  });
  // A miss is better than a wait.
  const client = new Redis(url, { maxRetriesPerRequest: 1, connectTimeout: 2_000, lazyConnect: true });
  // Every call tells its own failure; without a listener ioredis prints each lost connection.
  client.on("error", () => {});
  return client;
}
