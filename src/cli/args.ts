import { parseArgs } from "node:util";
import { CliError, messageOf } from "./errors.ts";

export interface CliOptions {
  config?: string;
  port?: number;
  host?: string;
  insecure?: boolean;
  log?: string;
}

export type CommandName = "serve" | "check" | "run" | "help" | "version";

/** Options that each command takes. */
const TAKES = {
  serve: ["config", "port", "host", "insecure"],
  check: ["config"],
  run: ["config", "log"],
} as const satisfies Partial<Record<CommandName, readonly (keyof CliOptions)[]>>;

/** @throws CliError (exit code 2) in one line */
export function parseCommand(argv: readonly string[]): { command: CommandName; options: CliOptions; rest: string[] } {
  // What stands after `--` is somebody else's, dashes and all.
  const dashes = argv.indexOf("--");
  const own = dashes === -1 ? argv : argv.slice(0, dashes);
  const { values, positionals } = parse([...own]);
  if (values.help) return { command: "help", options: {}, rest: [] };
  if (values.version) return { command: "version", options: {}, rest: [] };

  const name = positionals[0] ?? "serve";
  if (name !== "serve" && name !== "check" && name !== "run") throw usage(`unknown command "${name}"`);
  const rest = [...positionals.slice(1), ...(dashes === -1 ? [] : argv.slice(dashes + 1))];
  if (name === "run" && rest.length === 0) throw usage("run needs a command, for example: turnpike run -- claude");
  if (name !== "run" && rest.length > 0) throw usage(`"${name}" takes no argument "${rest[0]}"`);

  const { help: _help, version: _version, port, ...options } = values;
  const given: CliOptions = { ...options, ...(port !== undefined && { port: portOf(port) }) };
  const allowed: readonly string[] = TAKES[name];
  const stray = Object.keys(given).find((option) => !allowed.includes(option));
  if (stray) throw usage(`"${name}" takes no option --${stray}`);
  return { command: name, options: given, rest };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        config: { type: "string", short: "c" },
        port: { type: "string", short: "p" },
        host: { type: "string" },
        insecure: { type: "boolean" },
        log: { type: "string" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean", short: "v" },
      },
    });
  } catch (error) {
    // Node adds advice after the first sentence.
    const [sentence] = messageOf(error).split(/\. |\n/);
    throw usage(sentence!.replace(/^./, (letter) => letter.toLowerCase()));
  }
}

function portOf(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw usage(`--port must be a number from 0 to 65535, not "${text}"`);
  return port;
}

const usage = (problem: string) => new CliError(`${problem} (turnpike --help tells more)`, 2);
