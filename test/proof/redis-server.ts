/** A Redis server of our own, which may be stopped and killed. What it has acknowledged is on disk. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";

export interface OwnRedis {
  readonly url: string;
  /** Resolves when the process has ended. */
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<void>;
  /** Resolves when it answers, with the data that it had. */
  start(): Promise<void>;
  /** Ends it for good, and its files. */
  remove(): Promise<void>;
}

/** Why there can be none, or "". */
export function whyNoOwnRedis(): string {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
    return "";
  } catch (cause) {
    if (process.env.CI === "true") throw new Error("no redis-server, and CI must not skip its tests", { cause });
    return " (skipped: no redis-server)";
  }
}

export async function ownRedis(): Promise<OwnRedis> {
  const folder = mkdtempSync(join(tmpdir(), "turnpike-redis-"));
  const port = await freePort();
  const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
  const flags = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, ...durable];
  let server: ChildProcess | undefined;
  const end = () => server?.kill("SIGKILL");
  process.once("exit", end);

  const redis: OwnRedis = {
    url: `redis://127.0.0.1:${port}`,
    async stop(signal) {
      if (!server) return;
      const ended = once(server, "exit");
      server.kill(signal);
      await ended;
      server = undefined;
    },
    async start() {
      server = spawn("redis-server", flags, { stdio: "ignore" });
      await answer(port);
    },
    async remove() {
      await redis.stop("SIGKILL");
      process.off("exit", end);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await redis.start();
  return redis;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** @throws Error when it does not within ten seconds */
async function answer(port: number): Promise<void> {
  const client = new Redis({ port, host: "127.0.0.1", lazyConnect: true, retryStrategy: (n) => (n < 200 ? 50 : null) });
  client.on("error", () => {});
  await client.connect().catch(() => {});
  try {
    await client.ping();
  } finally {
    client.disconnect();
  }
}
