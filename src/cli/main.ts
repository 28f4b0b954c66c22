#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseCommand } from "./args.ts";
import { CliError } from "./errors.ts";
import { HELP } from "./help.ts";
import { muteSqliteWarning } from "./warnings.ts";

muteSqliteWarning();
try {
  // Every command sets `process.exitCode` or ends when its server does.
  await run(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof CliError)) throw error;
  process.stderr.write(`turnpike: ${error.message}\n`);
  process.exit(error.exitCode);
}

async function run(argv: string[]): Promise<void> {
  const { command, options, rest } = parseCommand(argv);
  switch (command) {
    case "help":
      process.stdout.write(HELP);
      return;
    case "version":
      process.stdout.write(`${version()}\n`);
      return;
    case "check":
      return (await import("./check.ts")).check(options);
    case "explain":
      return (await import("./explain.ts")).explain(options);
    case "run":
      return (await import("./run.ts")).runCommand(options, rest);
    case "keys":
      return (await import("./keys.ts")).keys(rest, options);
    case "usage":
      return (await import("./usage.ts")).usage(options);
    case "prices":
      return (await import("./prices.ts")).pricesCheck(options);
    case "serve":
      // Set by the process that started it, see workers.ts.
      if (process.env.TURNPIKE_WORKER) return (await import("./worker.ts")).work();
      return (await import("./serve.ts")).serve(options, version());
  }
}

/** Read beside the entry file, which stands equally deep in `src` and `dist`. */
function version(): string {
  return (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string })
    .version;
}
