import { readFileSync } from "node:fs";
import { findProvider } from "@pydantic/genai-prices";
import { anyGlob } from "../core/glob.ts";
import { newTarget, type Target } from "../core/provider.ts";
import type { Usage } from "../core/usage.ts";
import type { Config } from "../gateway/config.ts";
import type { Gateway } from "../gateway/create-gateway.ts";
import { namesOf } from "../middleware/router/index.ts";
import { NANO, priceOf } from "../prices/index.ts";
import { memoryStore } from "../stores/memory.ts";
import { type Loaded, load } from "./load.ts";
import { build } from "./server.ts";
import { ruleTargets } from "./table.ts";

const DATA = "@pydantic/genai-prices";

/** Names that their provider points at newer models, at newer prices, without a word. */
const MOVING = /(^|[-:@])latest$/;

interface Line {
  target: Target;
  /** US dollars per million tokens; `undefined` = unknown, `null` = depends on the model asked for. */
  price: { input: number; output: number } | undefined | null;
  source: string;
}

/**
 * `turnpike prices check`: what each target of the rules costs, and which have no known price. Sets exit code 1 when
 * a limit in US dollars covers a target without one.
 * @throws CliError
 */
export async function pricesCheck({ config: path }: { config?: string }): Promise<void> {
  // The configured store would make its file.
  const loaded = await load(path, { store: memoryStore() });
  const gateway = build(loaded);
  try {
    const lines = targetsOf(loaded, gateway).map(priceLine);
    const dollars = await dollarLimits(loaded, gateway);
    const problems = lines.filter(({ price }) => price === undefined).map((line) => problemOf(line, dollars));
    if (problems.some(({ fatal }) => fatal)) process.exitCode = 1;
    const text = [
      ...table(lines),
      "",
      ...problems.map(({ text }) => text),
      ...lines.filter(isStale).map(staleText),
      ...(lines.length > 0 && problems.length === 0 ? ["Every target that is named has a price."] : []),
      dataText(lines),
    ];
    process.stdout.write(`${text.join("\n")}\n`);
  } finally {
    await gateway.close({ drainMs: 0 });
  }
}

/** The rules' targets; `provider/*` stands for what is asked for. */
function targetsOf({ options, config }: Loaded, gateway: Gateway): Target[] {
  const wild = (config?.router.rules ?? []).flatMap(({ to }) => namesOf(to).filter((name) => name.endsWith("/*")));
  const targets = [...new Set(wild)].map((name) => {
    const providerName = name.slice(0, -2);
    return newTarget(providerName, gateway.providers.get(providerName)!, "*");
  });
  return [...ruleTargets(options.use), ...targets];
}

function priceLine(target: Target): Line {
  const { price: own, priceId } = target.provider;
  const price = perMillion(target);
  if (own !== undefined && price) {
    return { target, price, source: price.input + price.output === 0 ? "free, as configured" : "configured" };
  }
  if (target.model === "*" && priceId) return { target, price: null, source: "by the model asked for" };
  return { target, price, source: price ? "price data" : "unknown" };
}

function perMillion(target: Target): { input: number; output: number } | undefined {
  // Few, so that no tier for long prompts is reached.
  const TOKENS = 1_000;
  const cost = (inputTokens: number, outputTokens: number) => {
    const usage: Usage = { inputTokens, outputTokens, cacheReadTokens: 0, cacheWriteTokens: 0 };
    const nano = priceOf(target, usage);
    return nano === null ? undefined : (nano / NANO) * (1_000_000 / TOKENS);
  };
  const [input, output] = [cost(TOKENS, 0), cost(0, TOKENS)];
  return input === undefined || output === undefined ? undefined : { input, output };
}

interface DollarLimit {
  name: string;
  unknownPrice: "deny" | "allow";
  covers(target: Target): boolean;
}

/** Limits in US dollars, for whichever caller. A program's are finished middleware: then any counts for all targets. */
async function dollarLimits({ config }: Loaded, gateway: Gateway): Promise<DollarLimit[]> {
  if (config) return (config.budget?.limits ?? []).filter(({ usd }) => usd !== undefined).map(dollarLimit);
  const usage = await gateway.usage().catch(() => []);
  const names = new Set(usage.filter(({ unit }) => unit === "usd").map(({ limit }) => limit));
  return [...names].map((name) => ({ name, unknownPrice: "deny", covers: () => true }));
}

function dollarLimit({ name, unknownPrice, match = {} }: NonNullable<Config["budget"]>["limits"][number]): DollarLimit {
  const provider = anyGlob(match.provider ?? "*");
  const model = anyGlob(match.model ?? "*");
  return {
    name,
    unknownPrice,
    covers: (target) => provider(target.providerName) && (target.model === "*" || model(target.model)),
  };
}

function problemOf({ target }: Line, limits: readonly DollarLimit[]): { text: string; fatal: boolean } {
  const name = target.name;
  const covering = limits.filter((limit) => limit.covers(target));
  const names = (which: DollarLimit["unknownPrice"]) =>
    covering.filter(({ unknownPrice }) => unknownPrice === which).map((limit) => `"${limit.name}"`);
  const [denied, allowed] = [names("deny"), names("allow")];
  const mend = `Set providers.${target.providerName}.price ("free" where it costs nothing).`;
  if (denied.length > 0) {
    return {
      fatal: true,
      text: `Error: ${name} has no known price, so limit ${denied.join(", ")} refuses it. ${mend}`,
    };
  }
  if (allowed.length > 0) {
    return {
      fatal: true,
      text: `Error: ${name} has no known price, so limit ${allowed.join(", ")} never counts it. ${mend}`,
    };
  }
  return { fatal: false, text: `Warning: ${name} has no known price; no limit in US dollars covers it.` };
}

const isStale = ({ target, source }: Line) => source === "price data" && MOVING.test(target.model);

const staleText = ({ target }: Line) =>
  `Warning: ${target.name} is a name that its provider moves to newer models; the price data may be behind. ` +
  "Name the model itself, or configure its price.";

function table(lines: readonly Line[]): string[] {
  if (lines.length === 0) return ["No rule names a target; models are asked for as provider/model."];
  const dollars = (value: number) => `$${Number(value.toFixed(4))}`;
  const rows = [
    ["TARGET", "INPUT", "OUTPUT", "FROM"],
    ...lines.map(({ target, price, source }) => [
      target.name,
      price ? dollars(price.input) : "?",
      price ? dollars(price.output) : "?",
      source,
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number) =>
    column === 1 || column === 2 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!);
  return ["US dollars per million tokens", ...rows.map((row) => row.map(pad).join("  ").trimEnd())];
}

/** The data names no day of its own; the youngest price that is in force by now shows how old it is at most. */
function dataText(lines: readonly Line[]): string {
  const today = new Date().toISOString().slice(0, 10);
  const dates = [...new Set(lines.map(({ target }) => target.provider.priceId))].flatMap((providerId) =>
    (providerId ? (findProvider({ providerId })?.models ?? []) : []).flatMap(({ prices }) =>
      Array.isArray(prices)
        ? prices.map(({ constraint }) => (constraint?.type === "start_date" ? constraint.start_date : ""))
        : [],
    ),
  );
  const youngest = dates
    .filter((date) => date <= today)
    .sort()
    .at(-1);
  const dated = youngest ? `; its youngest dated price for these providers is of ${youngest}` : "";
  return `Price data: ${DATA} ${dataVersion()}${dated}.`;
}

/** The package does not export its package.json. */
function dataVersion(): string {
  try {
    const file = new URL("../package.json", import.meta.resolve(DATA));
    return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
  } catch {
    return "(version unknown)";
  }
}
