import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants, openSync, writeSync } from "node:fs";
import { constants as os, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Gateway } from "../gateway/create-gateway.ts";
import type { CliOptions } from "./args.ts";
import { CliError, messageOf } from "./errors.ts";
import { type Loaded, load } from "./load.ts";
import { build, listen } from "./server.ts";

/** After the command has ended nobody waits for an answer. */
const DRAIN_MS = 1_000;

/** `turnpike run -- COMMAND`: a gateway for one command alone. Ends the process with the command's exit code. */
export async function runCommand(options: CliOptions, [command, ...args]: string[]): Promise<void> {
  const loaded = await load(options.config, { workers: 1 });
  const gateway = build(loaded);
  const token = await tokenFor(loaded, gateway);
  const log = openLog(options.log);
  const { url, stop } = await listen(gateway, "127.0.0.1", 0);

  const terminal = divertOutput(log.fd);
  const say = (text: string) => terminal(`turnpike: ${text}\n`);
  for (const note of loaded.notes) say(note);
  console.log(`--- ${new Date().toISOString()} turnpike run ${command} (process ${process.pid}, ${url})`);

  const child = spawn(command!, args, {
    stdio: "inherit",
    env: environmentFor(url, token),
    // npm's commands are scripts on Windows.
    shell: process.platform === "win32",
  });
  forwardSignals(child);
  const code = await new Promise<number>((done) => {
    child.on("error", (error: NodeJS.ErrnoException) => {
      say(error.code === "ENOENT" ? `${command}: command not found` : `${command}: ${error.message}`);
      done(error.code === "ENOENT" ? 127 : 126);
    });
    child.on("exit", (exitCode, signal) => done(exitCode ?? 128 + (signal ? os.signals[signal] : 0)));
  });
  await stop(DRAIN_MS).catch((error: unknown) => say(`while stopping: ${messageOf(error)}`));
  if (code !== 0 && child.pid !== undefined) say(`${command} ended with ${code}; the gateway's log is ${log.file}`);
  process.exit(code);
}

/** What the command presents: anything, or where keys are asked for one that is valid. */
async function tokenFor({ config, file }: Loaded, gateway: Gateway): Promise<string> {
  const given = process.env.TURNPIKE_KEY || config?.auth?.keys.find(({ key }) => key !== undefined)?.key;
  const token = given ?? `turnpike-${randomBytes(16).toString("hex")}`;
  try {
    await gateway.identify({ authorization: `Bearer ${token}` });
    return token;
  } catch (error) {
    const problem =
      given === undefined
        ? "asks callers for a key: set TURNPIKE_KEY to one of yours"
        : "does not know the key in TURNPIKE_KEY";
    throw new CliError(`${file ?? "the configuration"} ${problem}`, 1, { cause: error });
  }
}

function environmentFor(url: string, token: string): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    ANTHROPIC_BASE_URL: `${url}/anthropic`,
    ANTHROPIC_AUTH_TOKEN: token,
    OPENAI_BASE_URL: `${url}/v1`,
    OPENAI_API_KEY: token,
  };
  // Beside a token it would be a second way to choose from, and it is our upstream's.
  delete environment.ANTHROPIC_API_KEY;
  // A company's proxy cannot reach this machine's loopback.
  for (const name of ["NO_PROXY", "no_proxy"]) {
    if (process.env[name] !== undefined || process.env.HTTP_PROXY || process.env.http_proxy) {
      environment[name] = [process.env[name], "127.0.0.1"].filter(Boolean).join(",");
    }
  }
  return environment;
}

/** Everything this process would print goes to the log from here on; the terminal is the command's. */
function divertOutput(fd: number): (text: string) => void {
  const terminal = process.stderr.write.bind(process.stderr);
  const write = ((chunk: string | Uint8Array, ...rest: unknown[]) => {
    try {
      writeSync(fd, typeof chunk === "string" ? Buffer.from(chunk) : chunk);
    } catch {
      // A full disk must not end the command.
    }
    const done = rest.find((each) => typeof each === "function") as (() => void) | undefined;
    done?.();
    return true;
  }) as typeof process.stderr.write;
  process.stderr.write = write;
  process.stdout.write = write;
  return (text) => void terminal(text);
}

function openLog(asked: string | undefined): { fd: number; file: string } {
  // In a folder that all users share nobody's link is followed.
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | (asked ? 0 : (constants.O_NOFOLLOW ?? 0));
  const names = asked
    ? [resolve(asked)]
    : [join(tmpdir(), "turnpike.log"), join(tmpdir(), `turnpike-${process.pid}.log`)];
  let problem: unknown;
  for (const file of names) {
    try {
      return { fd: openSync(file, flags, 0o600), file };
    } catch (error) {
      problem = error;
    }
  }
  throw new CliError(`cannot write the log ${names.at(-1)}: ${messageOf(problem)}`);
}

/** A terminal gives Ctrl-C to the command by itself; giving it twice would end what one Ctrl-C only interrupts. */
function forwardSignals(child: ChildProcess): void {
  const fromTerminal: readonly NodeJS.Signals[] = process.stdin.isTTY ? ["SIGINT", "SIGQUIT"] : [];
  for (const signal of ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (!fromTerminal.includes(signal)) child.kill(signal);
    });
  }
}
