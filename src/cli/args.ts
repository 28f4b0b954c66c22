import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { CliError, messageOf } from "./errors.ts";

export interface CliOptions {
  config?: string;
  port?: number;
  host?: string;
  insecure?: boolean;
  workers?: number;
  log?: string;
  db?: string;
  name?: string;
  user?: string;
  team?: string;
  tag?: string[];
  models?: string[];
  expires?: string;
  url?: string;
  key?: string;
  json?: boolean;
  model?: string;
  request?: string;
  as?: string[];
  header?: string[];
  dialect?: string;
}

export type CommandName = "serve" | "check" | "explain" | "run" | "keys" | "usage" | "prices" | "help" | "version";

/** Options that each command takes. */
const TAKES = {
  serve: ["config", "port", "host", "insecure", "workers"],
  check: ["config"],
  explain: ["config", "model", "request", "as", "header", "dialect", "key", "json"],
  run: ["config", "log"],
  "keys create": ["db", "name", "user", "team", "tag", "models", "expires"],
  "keys list": ["db", "json"],
  "keys revoke": ["db"],
  usage: ["url", "key", "json"],
  "prices check": ["config"],
} as const satisfies Record<string, readonly (keyof CliOptions)[]>;

/** @throws CliError (exit code 2) in one line */
export function parseCommand(argv: readonly string[]): { command: CommandName; options: CliOptions; rest: string[] } {
  // What stands after `--` is somebody else's, dashes and all.
  const dashes = argv.indexOf("--");
  const own = dashes === -1 ? argv : argv.slice(0, dashes);
  const { values, positionals } = parse([...own]);
  if (values.help) return { command: "help", options: {}, rest: [] };
  if (values.version) return { command: "version", options: {}, rest: [] };

  const command = commandOf(positionals[0] ?? "serve");
  const rest = [...positionals.slice(1), ...(dashes === -1 ? [] : argv.slice(dashes + 1))];
  const name = actionOf(command, rest);

  const { help: _help, version: _version, port, workers, ...options } = values;
  const given: CliOptions = {
    ...options,
    ...(port !== undefined && { port: portOf(port) }),
    ...(workers !== undefined && { workers: workersOf(workers) }),
  };
  const allowed: readonly string[] = TAKES[name];
  const stray = Object.keys(given).find((option) => !allowed.includes(option));
  if (stray) throw usage(`"${name}" takes no option --${stray}`);
  if (name === "explain" && given.model === undefined && given.request === undefined) {
    throw usage("explain needs --model or --request, for example: turnpike explain --model claude-opus-5-5");
  }
  return { command, options: given, rest };
}

function commandOf(name: string): Exclude<CommandName, "help" | "version"> {
  switch (name) {
    case "serve":
    case "check":
    case "explain":
    case "run":
    case "keys":
    case "usage":
    case "prices":
      return name;
    default:
      throw usage(`unknown command "${name}"`);
  }
}

/** The command with what it does, where it can do several things; checks how many arguments there are. */
function actionOf(command: ReturnType<typeof commandOf>, rest: readonly string[]): keyof typeof TAKES {
  const [action, ...more] = rest;
  switch (command) {
    case "run":
      if (rest.length === 0) throw usage("run needs a command, for example: turnpike run -- claude");
      return command;
    case "keys":
      if (action === "revoke" && more.length > 0) return "keys revoke";
      if (action === "revoke") throw usage("keys revoke needs the id of a key, from: turnpike keys list");
      if (action !== "create" && action !== "list") throw usage("keys can create, list or revoke");
      if (more.length > 0) throw usage(`"keys ${action}" takes no argument "${more[0]}"`);
      return `keys ${action}`;
    case "prices":
      if (action !== "check" || more.length > 0) throw usage("prices can check, and nothing else");
      return "prices check";
    default:
      if (rest.length > 0) throw usage(`"${command}" takes no argument "${action}"`);
      return command;
  }
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
        workers: { type: "string" },
        log: { type: "string" },
        db: { type: "string" },
        name: { type: "string" },
        user: { type: "string" },
        team: { type: "string" },
        tag: { type: "string", multiple: true },
        models: { type: "string", multiple: true },
        expires: { type: "string" },
        url: { type: "string" },
        key: { type: "string" },
        json: { type: "boolean" },
        model: { type: "string" },
        request: { type: "string" },
        as: { type: "string", multiple: true },
        header: { type: "string", multiple: true },
        dialect: { type: "string" },
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

function workersOf(text: string): number {
  if (text === "auto") return availableParallelism();
  if (!/^[1-9]\d*$/.test(text)) throw usage(`--workers must be a number from 1 or "auto", not "${text}"`);
  return Number(text);
}

const usage = (problem: string) => new CliError(`${problem} (turnpike --help tells more)`, 2);
