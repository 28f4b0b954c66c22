import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

const FIXED = {
  // Nobody listens there: whatever runs on this machine's port 8081 is not asked.
  TURNPIKE_LLAMA_URL: "http://127.0.0.1:1",
  // The sources are compiled once, not once in every process.
  NODE_COMPILE_CACHE: join(tmpdir(), "turnpike-compile-cache"),
};

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Cli {
  child: ChildProcess;
  ended: Promise<Ended>;
  /** Address from the banner. */
  url(): Promise<string>;
  /** Everything written so far. */
  output(): string;
}

interface TurnpikeOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** In a process group of its own, as a terminal starts it. */
  detached?: boolean;
}

const running = new Set<ChildProcess>();
const folders: string[] = [];

afterEach(() => {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A folder of its own with these files. */
export function folder(files: Record<string, unknown> = {}): string {
  const path = mkdtempSync(join(tmpdir(), "turnpike-cli-"));
  folders.push(path);
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(path, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return path;
}

/** The command from source, in its own folder, with nothing of this machine's environment that it reads. */
export function turnpike(args: string[], { cwd = folder(), env = {}, detached = false }: TurnpikeOptions = {}): Cli {
  const inherited = Object.entries(process.env).filter(([name]) => !/_API_KEY$|^TURNPIKE_|_PROXY$|^NODE_/i.test(name));
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { ...Object.fromEntries(inherited), ...FIXED, TMPDIR: cwd, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached,
  });
  running.add(child);
  const text = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream]!.setEncoding("utf8").on("data", (chunk: string) => {
      text[stream] += chunk;
      for (const listener of listeners) listener();
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => {
      running.delete(child);
      for (const listener of listeners) listener();
      resolve({ code, ...text });
    });
  });
  return {
    child,
    ended,
    output: () => text.stdout + text.stderr,
    url: () =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = /listens on (\S+)/.exec(text.stdout)?.[1];
          if (found) resolve(found);
          else if (child.exitCode !== null) reject(new Error(`ended without listening: ${text.stderr}`));
        };
        listeners.add(look);
        look();
      }),
  };
}

export async function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

export const hello = { model: "claude-sonnet-4-5", max_tokens: 100, messages: [{ role: "user", content: "hello" }] };
