import type { Gateway } from "../gateway/create-gateway.ts";
import { memoryStore } from "../stores/memory.ts";
import type { CliOptions } from "./args.ts";
import { type Loaded, load } from "./load.ts";
import { build, isLoopback } from "./server.ts";
import { limitLines, retiredLines, routeLines, ruleTargets, storeLines, targetText } from "./table.ts";

/** `turnpike check`: builds everything, serves nothing, prints where requests would go. */
export async function check({ config: path }: CliOptions): Promise<void> {
  // The configured store would make its file.
  const loaded = await load(path, { store: memoryStore() });
  const gateway = build(loaded);
  const { config, file, options, notes } = loaded;
  const lines = [
    file ? `${file} is valid.` : "No configuration file here; these are the embedded defaults.",
    ...notes,
    "",
    ...(config ? describeData(config, gateway) : describeCode(options, gateway)),
    ...retiredLines(ruleTargets(options.use)),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  await gateway.close({ drainMs: 0 });
}

function describeData({ router, budget, auth, server }: NonNullable<Loaded["config"]>, gateway: Gateway): string[] {
  return [
    ...routeLines(router.rules, gateway.providers, true),
    "",
    ...limitLines(budget?.limits ?? []),
    ...storeLines(budget),
    auth ? "Callers need a key." : "No key is asked of callers.",
    ...(auth || isLoopback(server.host) ? [] : [`Warning: ${server.host} is refused at the start without \`auth\`.`]),
    ...(server.workers > 1 && budget?.store === "memory"
      ? [`Warning: ${server.workers} workers are refused at the start with a budget in memory.`]
      : []),
  ];
}

/** Middleware that is built already tells less: where it may send, and what callers may ask for. */
function describeCode({ use = [] }: Loaded["options"], gateway: Gateway): string[] {
  const { providers } = gateway;
  const targets = ruleTargets(use).map(({ providerName, model }) => targetText(`${providerName}/${model}`, providers));
  return [
    `Providers: ${[...providers].map(([name, { type }]) => `${name} (${type})`).join(", ")}`,
    `Pipeline:  ${use.map(({ id, name }) => id ?? (name || "a function")).join(" → ") || "router → translator"}`,
    `Targets:   ${targets.join(", ") || "as asked for: provider/model"}`,
    `Callers may ask for: ${gateway
      .models()
      .map(({ id }) => id)
      .join(", ")}`,
  ];
}
