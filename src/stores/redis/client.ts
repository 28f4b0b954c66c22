import { RedisStoreError } from "./errors.ts";
import type { Script } from "./scripts.ts";

/** What the store calls of an ioredis (or iovalkey) client or cluster. */
export interface IoredisClient {
  eval(script: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>;
  evalsha(sha: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>;
}

/** What the store calls of a node-redis client (version 5 or later), cluster or pool. */
export interface NodeRedisClient {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  evalSha(sha: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
}

export type RedisClient = IoredisClient | NodeRedisClient;

/** Runs a script and answers its list as texts. */
export type Run = (script: Script, keys: string[], args: string[]) => Promise<string[]>;

export interface Connection {
  readonly run: Run;
  close(): Promise<void>;
}

/** A client that somebody else made, and closes. @throws TypeError when it is none that we know. */
export function useClient(client: RedisClient): Connection {
  const call = callerOf(client);
  return { run: (script, keys, args) => runScript(call, script, keys, args), async close() {} };
}

/** Connects at the first call, with the optional peer `ioredis`. */
export function useUrl(url: string): Connection {
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
    run: async (script, keys, args) => runScript(callerOf(await open()), script, keys, args),
    async close() {
      await (await opened?.catch(() => undefined))?.quit().catch(() => {});
    },
  };
}

interface OwnClient extends IoredisClient {
  quit(): Promise<unknown>;
}

async function openClient(url: string): Promise<OwnClient> {
  const { Redis } = await import("ioredis").catch((cause) => {
    const message = `redisStore({ url }) needs the package "ioredis": run "npm install ioredis", or pass a { client }`;
    throw new RedisStoreError("store_peer_missing", message, { cause });
  });
  // A store call has a deadline: rather fail than wait for twenty reconnections, the default.
  const client = new Redis(url, { maxRetriesPerRequest: 3, connectTimeout: 5000, lazyConnect: true });
  // Every call tells its own failure; without a listener ioredis prints each lost connection.
  client.on("error", () => {});
  return client;
}

interface Caller {
  eval(script: string, keys: string[], args: string[]): Promise<unknown>;
  evalSha(sha: string, keys: string[], args: string[]): Promise<unknown>;
}

function callerOf(client: RedisClient): Caller {
  const shape = client as Partial<IoredisClient & NodeRedisClient> | null;
  if (typeof shape?.eval === "function" && typeof shape.evalSha === "function") {
    const nodeRedis = client as NodeRedisClient;
    return {
      eval: (script, keys, args) => nodeRedis.eval(script, { keys, arguments: args }),
      evalSha: (sha, keys, args) => nodeRedis.evalSha(sha, { keys, arguments: args }),
    };
  }
  if (typeof shape?.eval === "function" && typeof shape.evalsha === "function") {
    const ioredis = client as IoredisClient;
    return {
      eval: (script, keys, args) => ioredis.eval(script, keys.length, ...keys, ...args),
      evalSha: (sha, keys, args) => ioredis.evalsha(sha, keys.length, ...keys, ...args),
    };
  }
  throw new TypeError("redisStore needs an ioredis client (eval, evalsha) or a node-redis client (eval, evalSha)");
}

/** A connection that broke may be tried so many times again: every script takes its own repetition for what it is. */
const RETRIES = 3;

async function runScript(caller: Caller, script: Script, keys: string[], args: string[]): Promise<string[]> {
  for (let attempt = 0; ; attempt++) {
    try {
      return toTexts(await evalSha(caller, script, keys, args));
    } catch (error) {
      if (attempt < RETRIES && isBrokenConnection(error)) continue;
      const message = `The Redis budget store failed: ${error instanceof Error ? error.message : String(error)}`;
      throw new RedisStoreError("store_failed", message, { cause: error });
    }
  }
}

async function evalSha(caller: Caller, script: Script, keys: string[], args: string[]): Promise<unknown> {
  try {
    return await caller.evalSha(script.sha, keys, args);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes("NOSCRIPT")) throw error;
    return caller.eval(script.text, keys, args);
  }
}

/** Clients can be set up to answer numbers or buffers. */
function toTexts(answer: unknown): string[] {
  return (answer as unknown[]).map(String);
}

/** ioredis sends commands again by itself; node-redis gives up those that were on the way. */
function isBrokenConnection(error: unknown): boolean {
  const { code } = error as { code?: string };
  const kind = (error as object).constructor.name;
  return kind === "SocketClosedUnexpectedlyError" || code === "ECONNRESET" || code === "EPIPE";
}
