import type { Gateway } from "../gateway/create-gateway.ts";
import type { CliOptions } from "./args.ts";
import { CliError } from "./errors.ts";
import { type Loaded, load } from "./load.ts";
import { build, claim, isLoopback, listen, type Running } from "./server.ts";
import { stopOnSignal } from "./stop.ts";
import { limitLines, retiredLines, routeLines, ruleTargets, storeLines } from "./table.ts";

/** `turnpike`: serves until it is told to stop. */
export async function serve(options: CliOptions, version: string): Promise<void> {
  const loaded = await load(options.config, { workers: options.workers });
  const host = options.host ?? loaded.server.host;
  const port = options.port ?? loaded.server.port;
  if (!isLoopback(host) && !hasAuth(loaded) && !options.insecure) {
    throw new CliError(
      `not listening on ${host} without \`auth\`: whoever reaches it could spend your budgets. Configure auth keys, or insist with --insecure`,
    );
  }
  const gateway = build(loaded);
  const running = await start(loaded, gateway, host, port).catch(async (error: unknown) => {
    await gateway.close({ drainMs: 0 });
    throw error;
  });
  // Before the first line of output, which may be what somebody waits for.
  stopOnSignal(running);
  process.stdout.write(banner(loaded, running, gateway, version));
}

/** Here, or in as many processes as are asked for; then this gateway has shown that it can be built, and is closed. */
async function start(loaded: Loaded, gateway: Gateway, host: string, port: number): Promise<Running> {
  const { server, options, config, file } = loaded;
  if (server.workers === 1) return listen(gateway, host, port);
  if (options.use?.some(({ countsAlone }) => countsAlone)) {
    throw new CliError(
      `${server.workers} workers would each spend a budget that is kept in memory: give it a store that they share, for example "sqlite:turnpike.db", or start one worker`,
    );
  }
  await gateway.close({ drainMs: 0 });
  const { startWorkers } = await import("./workers.ts");
  const address = await claim(host, port);
  const running = await startWorkers(server.workers, { config, file, host, port: address.port });
  address.release();
  return running;
}

const hasAuth = ({ options }: Loaded) => options.use?.some((middleware) => middleware.identify) ?? false;

function banner(loaded: Loaded, { url }: Running, gateway: Gateway, version: string): string {
  const { config, file, notes, options, server } = loaded;
  const { providers } = gateway;
  const rules = config?.router.rules ?? [];
  const workers = server.workers > 1 ? `, ${server.workers} workers` : "";
  const lines = [`Turnpike ${version} listens on ${url}  (${file ?? "embedded defaults"}${workers})`, ""];
  if (notes.length > 0) lines.push(...notes, "");
  if (config) {
    lines.push(...routeLines(rules, providers).map(inner), "");
    lines.push(...limitLines(config.budget?.limits ?? []), ...storeLines(config.budget));
  } else {
    lines.push(`Providers: ${[...providers.keys()].join(", ")}`);
  }
  lines.push(...retiredLines(ruleTargets(options.use)), "");

  const reachable = url.replace(/\/\/(0\.0\.0\.0|\[::\]|127\.0\.0\.1)/, "//localhost");
  const key = hasAuth(loaded) ? "YOUR_KEY" : "anything";
  const known = gateway.models().map(({ id }) => id);
  const model = known.find((id) => id.startsWith("claude-")) ?? known[0] ?? "MODEL";
  lines.push(
    "Try it:",
    inner(`curl ${reachable}/v1/chat/completions -H "content-type: application/json" \\`),
    inner(
      `  ${key === "anything" ? "" : `-H "authorization: Bearer ${key}" `}-d '{"model":"${model}","messages":[{"role":"user","content":"hello"}]}'`,
    ),
    "Claude Code:",
    inner(`ANTHROPIC_BASE_URL=${reachable}/anthropic ANTHROPIC_AUTH_TOKEN=${key} claude`),
    "OpenAI clients:",
    inner(`OPENAI_BASE_URL=${reachable}/v1 OPENAI_API_KEY=${key}`),
    "",
    "Ctrl-C stops it.",
    "",
  );
  return `${lines.join("\n")}\n`;
}

const inner = (line: string) => `  ${line}`;
