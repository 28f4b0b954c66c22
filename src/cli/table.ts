/** Routes, limits and warnings in words, for `check` and for what `turnpike` prints when it starts. */
import { resolve } from "node:path";
import type { Provider } from "../core/provider.ts";
import type { Config } from "../gateway/config.ts";

type Rule = Config["router"]["rules"][number];
type Limit = NonNullable<Config["budget"]>["limits"][number];
type Providers = ReadonlyMap<string, Provider>;

/** Two columns: what is asked for, where it goes. */
export function routeLines(rules: readonly Rule[], providers: Providers, details = false): string[] {
  const rows: [string, string][] = [["asked for", "goes to"]];
  for (const rule of rules) {
    if (isDirect(rule)) continue;
    rows.push([
      matchText(rule),
      [rule.to]
        .flat()
        .map((to) => (details ? targetText(to, providers) : to))
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
  const facts = Object.entries(others).map(([key, value]) => `${key} ${[value].flat().join(" or ")}`);
  const text = [[model ?? "any model"].flat().join(", "), ...facts].join(", ");
  return name ? `${text} (${name})` : text;
}

/** `mistral/mistral-medium-3-5 [EU]` */
function targetText(to: string, providers: Providers): string {
  const provider = providers.get(to.slice(0, to.indexOf("/")));
  const { jurisdiction, region } = provider ?? {};
  const where = region && region !== jurisdiction ? `${jurisdiction ?? "?"}, in ${region}` : jurisdiction;
  return `${to} [${where ?? "jurisdiction not declared"}]`;
}

/** Targets that no longer exist, with who answers instead. */
export function retiredLines(rules: readonly Rule[], providers: Providers): string[] {
  const targets = new Set(rules.flatMap((rule) => rule.to));
  return [...targets].flatMap((to) => {
    const slash = to.indexOf("/");
    const { retired, successor } = providers.get(to.slice(0, slash))?.capabilities(to.slice(slash + 1)) ?? {};
    if (!retired && !successor) return [];
    return `${to} was retired${retired ? ` on ${retired}` : ""}; ${successor ? `${successor} answers instead` : "it has no successor"}`;
  });
}

const UNITS = {
  tokens: "tokens",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  requests: "requests",
  usd: "US dollars",
} as const;

/** `mistral-daily: 100,000 tokens per day (Europe/Paris) for provider mistral` */
export function limitLines(limits: readonly Limit[]): string[] {
  return limits.map((limit) => {
    const amounts = Object.entries(UNITS).flatMap(([unit, words]) => {
      const amount = limit[unit as keyof typeof UNITS];
      return amount === undefined ? [] : [`${amount.toLocaleString("en-US")} ${words}`];
    });
    const per =
      typeof limit.per === "object"
        ? `per rolling ${limit.per.rollingMs / 1_000} s`
        : limit.per === "lifetime"
          ? "in all"
          : `per ${limit.per}`;
    const zone = typeof limit.per === "object" || limit.per === "lifetime" ? "" : ` (${limit.timeZone ?? "UTC"})`;
    const scope = Object.entries(limit.match ?? {}).map(([key, value]) => `${key} ${[value].flat().join(" or ")}`);
    const each = limit.by ? `, for each ${[limit.by].flat().join(" and ")}` : "";
    return `${limit.name}: ${amounts.join(" and ")} ${per}${zone}${scope.length > 0 ? ` for ${scope.join(", ")}` : ""}${each}`;
  });
}

/** Where the counters are kept. */
export function storeText(address: string): string {
  return address === "memory" ? "in memory, forgotten at the end" : resolve(address.slice("sqlite:".length));
}
