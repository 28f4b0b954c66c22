import { readFileSync } from "node:fs";
import { formatChange } from "../core/changes.ts";
import type { Identity } from "../core/exchange.ts";
import type { ExplainedTarget, Explanation } from "../core/middleware.ts";
import type { CliOptions } from "./args.ts";
import { CliError, messageOf } from "./errors.ts";
import { load } from "./load.ts";
import { build } from "./server.ts";

/** `turnpike explain`: where a request would go and why, by the configuration and the budgets as they stand. */
export async function explain({ config, model, request, as, header, dialect, key, json }: CliOptions): Promise<void> {
  const asked = requestOf(model, request);
  const options = {
    ...(key === undefined ? { as: identityOf(as ?? []) } : { key }),
    headers: Object.fromEntries((header ?? []).map((text) => pair(text, "--header"))),
    ...(dialect !== undefined && { dialect }),
  };
  const gateway = build(await load(config));
  try {
    const told = await gateway.explain(asked, options);
    process.stdout.write(`${json ? JSON.stringify(told, null, 2) : explanationLines(told).join("\n")}\n`);
  } catch (error) {
    throw new CliError(messageOf(error), 1, { cause: error });
  } finally {
    await gateway.close({ drainMs: 0 });
  }
}

/** A whole request from a file, or the shortest one for a model. */
function requestOf(model: string | undefined, file: string | undefined): Record<string, unknown> {
  if (file === undefined) return { model, max_tokens: 1_024, messages: [{ role: "user", content: "hello" }] };
  let body: Record<string, unknown>;
  try {
    body = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  } catch (error) {
    throw new CliError(`${file}: ${messageOf(error)}`, 1, { cause: error });
  }
  return { ...body, ...(model !== undefined && { model }) };
}

/** `user=ada`, `team=web`, `key=web-1`, `tag=eu`. */
function identityOf(given: readonly string[]): Identity {
  const identity: Identity & { tags: string[] } = { tags: [] };
  for (const [name, value] of given.flatMap((text) => text.split(",")).map((text) => pair(text, "--as"))) {
    if (name === "tag") identity.tags.push(value);
    else if (name === "user" || name === "team" || name === "key") identity[name] = value;
    else throw new CliError(`--as takes user=, team=, key= and tag=, not "${name}="`, 2);
  }
  return identity;
}

function pair(text: string, option: string): [name: string, value: string] {
  const place = text.indexOf("=");
  if (place < 1) throw new CliError(`${option} must be of the form name=value, not "${text}"`, 2);
  return [text.slice(0, place).toLowerCase(), text.slice(place + 1)];
}

export function explanationLines({ rule, model, inputTokens, outputTokens, candidates }: Explanation): string[] {
  const asked = candidates.filter(({ excluded }) => !excluded);
  return [
    `${model}: ${rule ?? "no rule; asked for by its provider's name"}`,
    `about ${inputTokens} tokens in, ${outputTokens} out`,
    ...(asked.length === 0 ? ["Nobody would be asked."] : []),
    "",
    ...candidates.flatMap((target) => targetLines(target, asked.indexOf(target))),
  ];
}

function targetLines(
  { target, jurisdiction, region, excluded, estimatedUsd, limits = [], changes = [] }: ExplainedTarget,
  place: number,
) {
  const where = [jurisdiction ?? "jurisdiction not declared", region].filter((each) => each !== undefined);
  const price =
    estimatedUsd === undefined ? "" : estimatedUsd === null ? "  price unknown" : `  about $${estimatedUsd.toFixed(6)}`;
  const mark = excluded ? "-" : `${place + 1}.`;
  return [
    `${mark} ${target} [${[...new Set(where)].join(", ")}]${price}`,
    ...(excluded ? [`     not asked: ${excluded.reason} (${excluded.code})`] : []),
    ...limits.map(({ limit, unit, amount, used, held }) => `     limit ${limit}: ${used + held} of ${amount} ${unit}`),
    ...(changes.length > 0 ? [`     changed: ${changes.map(formatChange).join(", ")}`] : []),
  ];
}
