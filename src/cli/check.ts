import { memoryStore } from "../stores/memory.ts";
import type { CliOptions } from "./args.ts";
import { load } from "./load.ts";
import { build, isLoopback } from "./server.ts";
import { limitLines, retiredLines, routeLines, storeText } from "./table.ts";

/** `turnpike check`: builds everything, serves nothing, prints where requests would go. */
export async function check({ config: path }: CliOptions): Promise<void> {
  // The configured store would make its file.
  const loaded = await load(path, { store: memoryStore() });
  const gateway = build(loaded);
  const { config, file, server, notes } = loaded;
  const lines = [
    file ? `${file} is valid.` : "No configuration file here; these are the embedded defaults.",
    ...notes,
    "",
  ];
  if (config) {
    const { rules } = config.router;
    lines.push(...routeLines(rules, gateway.providers, true), "");
    lines.push(...limitLines(config.budget?.limits ?? []).map((limit) => `Limit ${limit}`));
    lines.push(config.budget ? `Budgets are kept in ${storeText(config.budget.store)}` : "No limit is in force.");
    lines.push(config.auth ? `Callers need one of ${config.auth.keys.length} key(s).` : "No key is asked of callers.");
    lines.push(...retiredLines(rules, gateway.providers).map((warning) => `Warning: ${warning}`));
    if (!config.auth && !isLoopback(server.host))
      lines.push(`Warning: ${server.host} without \`auth\` is refused at the start.`);
  } else {
    lines.push(
      `Providers: ${[...gateway.providers].map(([name, { type, jurisdiction }]) => `${name} (${type}${jurisdiction ? `, ${jurisdiction}` : ""})`).join(", ")}`,
    );
    lines.push(
      `Pipeline: ${(loaded.options.use ?? []).map((middleware) => middleware.id ?? (middleware.name || "function")).join(" → ") || "router → translator"}`,
    );
    lines.push("Callers may ask for:", ...gateway.models().map(({ id }) => `  ${id}`));
  }
  process.stdout.write(`${lines.join("\n")}\n`);
  await gateway.close({ drainMs: 0 });
}
