/** Starts the processes of the benchmark, each pinned to its core, and talks to them. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Job, Loaded } from "./load/job.ts";

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** The process under test has the first core for itself; load and upstream share the second. `any`: wherever there is room. */
const CORE = { tested: "0", rest: "1", any: undefined };
const pinned = cpus().length >= 2 && spawnSync("taskset", ["-V"]).status === 0;

export interface Probe {
  cpuUs: number;
  rss: number;
  /** JavaScript heap and buffers. */
  heap: number;
}

export class Child {
  readonly port: number;
  readonly #process: ChildProcess;
  constructor(process: ChildProcess, port: number) {
    this.#process = process;
    this.port = port;
  }
  get pid(): number {
    return this.#process.pid!;
  }
  probe(gc = false): Promise<Probe> {
    return this.ask<Probe>({ type: "probe", gc }, "probe");
  }
  send(message: object): void {
    this.#process.send(message);
  }
  ask<T>(message: object, type: string): Promise<T> {
    const answer = reply<T>(this.#process, type);
    this.#process.send(message);
    return answer;
  }
  /** What the process tells by itself. */
  next<T>(type: string): Promise<T> {
    return reply<T>(this.#process, type);
  }
  /** Lets it write its profile, if it makes one, and does not wait for ever. */
  stop(): Promise<void> {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const patience = setTimeout(() => child.kill("SIGKILL"), 10_000);
      child.once("exit", () => {
        clearTimeout(patience);
        resolve();
      });
      if (child.connected) child.disconnect();
    });
  }
}

function reply<T>(child: ChildProcess, type: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const done = () => {
      child.off("message", listen);
      child.off("exit", gone);
    };
    const listen = (message: { type?: string }) => {
      if (message.type !== type) return;
      done();
      resolve(message as T);
    };
    const gone = (code: number | null) => {
      done();
      reject(new Error(`${child.spawnargs.at(-1)} ended (${code}) before it answered "${type}"`));
    };
    child.on("message", listen);
    child.on("exit", gone);
  });
}

const running = new Set<Child>();
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((child) => child.stop()));
  running.clear();
}

interface StartOptions {
  core: keyof typeof CORE;
  args?: readonly string[];
  nodeArgs?: readonly string[];
  env?: Record<string, string>;
  /** Its own log is not ours. */
  silent?: boolean;
}

function start(file: string, { core, args = [], nodeArgs = [], env, silent }: StartOptions): ChildProcess {
  const node = [process.execPath, "--import", here("probe.ts"), "--expose-gc", ...nodeArgs, file, ...args];
  const [command, ...rest] = pinned && CORE[core] ? ["taskset", "-c", CORE[core], ...node] : node;
  return spawn(command!, rest, {
    stdio: ["ignore", "ignore", silent ? "ignore" : "inherit", "ipc"],
    env: { ...process.env, NODE_OPTIONS: "", NODE_NO_WARNINGS: "1", ...env },
  });
}

async function ready(process: ChildProcess): Promise<Child> {
  const { port } = await reply<{ port: number }>(process, "ready");
  return keep(new Child(process, port));
}

function keep(child: Child): Child {
  running.add(child);
  return child;
}

/** Somebody else's server, which does not tell when it listens. */
async function answering(process: ChildProcess, port: number): Promise<Child | undefined> {
  const child = keep(new Child(process, port));
  for (let tries = 0; tries < 100 && process.exitCode === null; tries++) {
    await sleep(100);
    if (await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)) return child;
  }
  await child.stop();
  return undefined;
}

type Core = StartOptions["core"];
export const isPinned = pinned;
export const startUpstream = (core: Core = "rest") => ready(start(here("upstream.ts"), { core }));
export const startLoad = (core: Core = "rest") => ready(start(here("load/main.ts"), { core }));
export const startFloor = (upstream: string) => ready(start(here("floor.ts"), { core: "tested", args: [upstream] }));
export const startGateway = (args: readonly string[], nodeArgs: readonly string[] = []) =>
  ready(start(here("gateway.ts"), { core: "tested", args, nodeArgs }));
export const startMicro = (args: readonly string[]) =>
  keep(new Child(start(here("micro/main.ts"), { core: "tested", args }), 0));

/** The published command, on whatever cores there are. @returns nothing when it does not start */
export async function startCommand(dist: string, args: readonly string[]): Promise<Child | undefined> {
  const port = await freePort();
  const given = ["serve", "--port", `${port}`, ...args];
  return answering(start(`${dist}/cli/main.js`, { core: "any", args: given, silent: true }), port);
}

/** Portkey's gateway, where `npm install @portkey-ai/gateway` was run in the folder of peers. */
export async function startPortkey(peers: string): Promise<Child | undefined> {
  const file = `${peers}/node_modules/@portkey-ai/gateway/build/start-server.js`;
  if (!existsSync(file)) return undefined;
  const port = await freePort();
  const child = start(file, {
    core: "tested",
    silent: true,
    args: ["--headless", `--port=${port}`],
    env: { TRUSTED_CUSTOM_HOSTS: "127.0.0.1,localhost", NODE_ENV: "production" },
  });
  return answering(child, port);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

export const loadOnce = (load: Child, job: Job) => load.ask<Loaded>(job, "done");

/** @throws Error when anything was not answered with 200 */
export async function runLoad(load: Child, job: Job): Promise<Loaded> {
  const result = await loadOnce(load, job);
  if (result.errors > 0)
    throw new Error(`${result.errors} of ${result.requests} requests failed: ${result.firstError}`);
  return result;
}
