/** Routes, limits and warnings in words, for `check` and for what `turnpike` prints when it starts. */
import { resolve } from "node:path";
import type { Middleware } from "../core/middleware.ts";
import type { Provider, Target } from "../core/provider.ts";
import type { Config } from "../gateway/config.ts";
import { namesOf } from "../middleware/router/index.ts";

type Rule = Config["router"]["rules"][number];
type Limit = NonNullable<Config["budget"]>["limits"][number];
type Providers = ReadonlyMap<string, Provider>;

/** Two columns: what is asked for, where it goes. */
export function routeLines(rules: readonly Rule[], providers: Providers, details = false): string[] {
  const rows: [string, string][] = [["asked for", "goes to"]];
  const text = (to: string) => (details ? targetText(to, providers) : to);
  for (const rule of rules) {
    if (isDirect(rule)) continue;
    rows.push([
      matchText(rule),
      [rule.to]
        .flat()
        .map((to) => (typeof to === "string" ? text(to) : `${to.strategy} of ${namesOf(to).map(text).join(", ")}`))
        .join(", then "),
    ]);
  }
  rows.push(["PROVIDER/MODEL", `that provider, by name: ${[...providers.keys()].join(", ")}`]);
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${left.padEnd(width)}  ${right}`);
}

/** `mistral/*` to `mistral/*`: what holds without a rule. */
function isDirect({ match, to }: Rule): boolean {
  return (
    Object.keys(match).length === 1 &&
    typeof match.model === "string" &&
    match.model.endsWith("/*") &&
    match.model === to
  );
}

function matchText({ match, name }: Rule): string {
  const { model, ...others } = match;
  const words = (value: unknown) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  const facts = Object.entries(others).map(([key, value]) => `${key} ${[value].flat().map(words).join(" or ")}`);
  const text = [[model ?? "any model"].flat().join(", "), ...facts].join(", ");
  return name ? `${text} (${name})` : text;
}

/** `mistral/mistral-medium-3-5 [EU]` */
export function targetText(to: string, providers: Providers): string {
  const provider = providers.get(to.slice(0, to.indexOf("/")));
  const { jurisdiction, region } = provider ?? {};
  const where = region && region !== jurisdiction ? `${jurisdiction ?? "?"}, in ${region}` : jurisdiction;
  return `${to} [${where ?? "jurisdiction not declared"}]`;
}

/** Where the rules can send to, as far as they name a model. Only of middleware that a gateway has set up. */
export function ruleTargets(use: readonly Middleware[] = []): Target[] {
  const targets = use.flatMap((middleware) => middleware.targets?.() ?? []);
  return [...new Map(targets.map((target) => [target.name, target])).values()];
}

/** Targets that no longer exist, with who answers instead. */
export function retiredLines(targets: readonly Target[]): string[] {
  return targets.flatMap((target) => {
    const { retired, successor } = target.provider.capabilities(target.model);
    if (!retired && !successor) return [];
    const when = retired ? ` on ${retired}` : "";
    return `Warning: ${target.name} was retired${when}; ${successor ? `${successor} answers instead` : "it has no successor"}`;
  });
}

const UNITS = {
  tokens: "tokens",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  requests: "requests",
  usd: "US dollars",
  concurrent: "requests at a time",
} as const;

/** `Limit mistral-daily: 100,000 tokens per day (Europe/Paris) for provider mistral` */
export function limitLines(limits: readonly Limit[]): string[] {
  if (limits.length === 0) return ["No limit is in force."];
  return limits.map((limit) => {
    const amounts = Object.entries(UNITS).flatMap(([unit, words]) => {
      const amount = limit[unit as keyof typeof UNITS];
      return amount === undefined ? [] : [`${amount.toLocaleString("en-US")} ${words}`];
    });
    const scope = Object.entries(limit.match ?? {}).map(([key, value]) => `${key} ${[value].flat().join(" or ")}`);
    const covers = scope.length > 0 ? ` for ${scope.join(", ")}` : "";
    const each = limit.by ? `, for each ${[limit.by].flat().join(" and ")}` : "";
    return `Limit ${limit.name}: ${amounts.join(" and ")}${windowText(limit)}${covers}${each}`;
  });
}

function windowText({ per, timeZone }: Limit): string {
  if (per === undefined) return "";
  if (per === "lifetime") return " in all";
  if (typeof per === "object") return ` per rolling ${per.rollingMs / 1_000} s`;
  return ` per ${per} (${timeZone ?? "UTC"})`;
}

/** Where the counters are kept. */
export function storeLines(budget: Config["budget"]): string[] {
  if (!budget) return [];
  const { store } = budget;
  // An address may hold a password: its scheme and host are enough.
  const place =
    store === "memory"
      ? "in memory and forgotten at the end"
      : store.startsWith("sqlite:")
        ? `in ${resolve(store.slice("sqlite:".length))}`
        : `at ${store.split(":")[0]}://${URL.canParse(store) ? new URL(store).host : "…"}`;
  return [`Budgets are kept ${place}`];
}
