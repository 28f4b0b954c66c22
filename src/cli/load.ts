import { existsSync, readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { BudgetStore } from "../core/budget-store.ts";
import { type Config, optionsFromConfig, parseConfig, type ServerOptions } from "../gateway/config.ts";
import type { GatewayOptions } from "../gateway/create-gateway.ts";
import { embeddedDefaults } from "./defaults.ts";
import { CliError, messageOf } from "./errors.ts";

const NAMES = ["turnpike.config.ts", "turnpike.config.js", "turnpike.config.mjs", "turnpike.config.json"];

export interface Loaded {
  options: GatewayOptions;
  server: ServerOptions;
  /** The file, or undefined for the embedded defaults. */
  file: string | undefined;
  /** Rules, limits and keys, where they were given as data; a `.ts` or `.js` file gives finished middleware. */
  config: Config | undefined;
  notes: string[];
}

interface Given {
  /** Used instead of the configured one, so that a check leaves no file behind. */
  store?: BudgetStore;
  /** Instead of `server.workers`. */
  workers?: number | undefined;
  /** What another process has read as data already. */
  config?: Config | undefined;
}

/**
 * Finds and loads the configuration: the given file, one of the usual names in this folder, or the embedded defaults.
 * @throws CliError that names file and path of what is wrong
 */
export async function load(path: string | undefined, given: Given = {}): Promise<Loaded> {
  const file = path === undefined ? NAMES.find((name) => existsSync(name)) : path;
  try {
    if (given.config) return await fromConfig(given.config, file, [], given);
    if (file === undefined) {
      const { config, notes } = await embeddedDefaults(process.env);
      return await fromConfig(parseConfig(config), file, notes, given);
    }
    if (extname(file) === ".json") return await fromConfig(parseConfig(readJson(file)), file, [], given);
    return await fromModule(file, given);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${file ?? "embedded defaults"}: ${indent(messageOf(error))}`, 1, { cause: error });
  }
}

async function fromConfig(
  parsed: Config,
  file: string | undefined,
  notes: string[],
  { store, workers = parsed.server.workers }: Given,
): Promise<Loaded> {
  const config = { ...parsed, server: { ...parsed.server, workers } };
  const options = await optionsFromConfig(config, store && { store });
  return { options, server: config.server, file, config, notes };
}

/** A module that default-exports the options of `createGateway()`, and beside them `server`. */
async function fromModule(file: string, { workers }: Given): Promise<Loaded> {
  if (!existsSync(file)) throw new Error("no such file");
  resolveOwnName();
  const module = (await import(pathToFileURL(resolve(file)).href)) as { default?: unknown };
  const given = module.default as (GatewayOptions & { server?: Partial<ServerOptions> }) | undefined;
  if (typeof given !== "object" || given === null || !("providers" in given)) {
    throw new Error(
      "the default export must be the options of createGateway(): { providers, use }, and { server } beside them",
    );
  }
  const { server: asked = {}, ...options } = given;
  // The file's own schema knows what `server` may say.
  const { server } = parseConfig({ server: asked, providers: { any: { type: "simulated" } } });
  if (workers !== undefined) server.workers = workers;
  return { options, server, file, config: undefined, notes: [] };
}

/** A config file may import "turnpike" where only the command is installed (`npx turnpike`): then it gets this package. */
function resolveOwnName(): void {
  registerHooks({
    resolve(specifier, context, next) {
      if (!/^turnpike(\/|$)/.test(specifier)) return next(specifier, context);
      try {
        return next(specifier, context);
      } catch {
        return next(specifier, { ...context, parentURL: import.meta.url });
      }
    },
  });
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(code === "ENOENT" ? "no such file" : `cannot be read (${code})`);
  }
  try {
    return JSON.parse(text);
  } catch {
    // The engine's own message quotes the text around the mistake, which may be a key.
    const lines = text.slice(0, firstWrong(text)).split("\n");
    throw new Error(`not valid JSON, line ${lines.length}, column ${lines.at(-1)!.length}`);
  }
}

/** Length of the shortest beginning that can no longer become JSON. */
function firstWrong(text: string): number {
  let good = 0;
  let bad = text.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (canGoOn(text.slice(0, middle))) good = middle;
    else bad = middle;
  }
  return bad;
}

function canGoOn(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const message = messageOf(error);
    const position = /position (\d+)/.exec(message)?.[1];
    return /end of JSON|^Unterminated/.test(message) || (position !== undefined && Number(position) >= text.length);
  }
}

/** Several mistakes stand below one another. */
const indent = (text: string) => (text.includes("\n") ? `\n${text}`.replaceAll("\n", "\n  ") : text);
