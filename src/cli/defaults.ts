/** What `turnpike` does without a configuration file: providers from their usual variables, and routes for them. */
import type { ConfigInput, Environment } from "../gateway/config.ts";
import { CliError } from "./errors.ts";

const PROBE_MS = 300;
const DEFAULT_LLAMA_URL = "http://127.0.0.1:8081";
const DEFAULT_DAILY_TOKENS = 100_000;

type Limit = NonNullable<ConfigInput["budget"]>["limits"][number];

export interface Defaults {
  config: ConfigInput;
  /** What a user should know about what was found. */
  notes: string[];
}

export async function embeddedDefaults(environment: Environment): Promise<Defaults> {
  const notes: string[] = [];
  const llamaURL = (environment.TURNPIKE_LLAMA_URL || DEFAULT_LLAMA_URL).replace(/(\/v1)?\/*$/, "");
  const llama = await probeLlama(llamaURL);
  if (!llama && environment.TURNPIKE_LLAMA_URL)
    notes.push(`Nothing answers at TURNPIKE_LLAMA_URL (${llamaURL}); started without it.`);

  const providers: ConfigInput["providers"] = {
    ...(environment.MISTRAL_API_KEY && { mistral: { type: "mistral" } }),
    ...(environment.ANTHROPIC_API_KEY && { anthropic: { type: "anthropic" } }),
    ...(environment.OPENAI_API_KEY && { openai: { type: "openai" } }),
    ...(environment.GEMINI_API_KEY && { gemini: { type: "gemini" } }),
    ...(llama && {
      llama: {
        type: "openai-compatible",
        baseURL: `${llamaURL}/v1`,
        models: [llama.model],
        price: "free",
        countsTokens: true,
        jurisdiction: "local",
        region: "local",
      },
    }),
  };
  if (Object.keys(providers).length === 0) {
    providers.simulated = { type: "simulated" };
    notes.push(
      "No provider key and no llama-server found: every answer is SIMULATED.",
      "Set MISTRAL_API_KEY, ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY, or start llama-server on port 8081, for real ones.",
    );
  }

  const limits = dailyLimits(providers, environment.TURNPIKE_DAILY_TOKENS);
  return {
    config: {
      providers,
      router: { rules: rulesFor(providers, llama && `llama/${llama.model}`) },
      ...(limits.length > 0 && { budget: { store: `sqlite:${environment.TURNPIKE_DB || "turnpike.db"}`, limits } }),
    },
    notes,
  };
}

function rulesFor(providers: ConfigInput["providers"], llama: string | undefined) {
  const main = providers.mistral
    ? ["mistral/mistral-medium-3-5", ...(llama ? [llama] : [])]
    : providers.anthropic
      ? ["anthropic/claude-sonnet-5-5"]
      : llama
        ? [llama]
        : [providers.openai ? "openai/gpt-5.5" : providers.gemini ? "gemini/gemini-flash-latest" : "simulated/demo"];
  const claude = providers.anthropic && !providers.mistral ? ["anthropic/*"] : main;
  return [
    // Before the last rule, which would take them.
    ...Object.keys(providers).map((name) => ({ match: { model: `${name}/*` }, to: `${name}/*` })),
    { match: { model: "claude-*" }, to: claude },
    { match: { model: ["gpt-*", "o1*", "o3*", "o4*"] }, to: providers.openai ? ["openai/*"] : main },
    { match: { model: "gemini-*" }, to: providers.gemini ? ["gemini/*"] : main },
    { match: { model: "*" }, to: main },
  ];
}

/** By default only what has somewhere to go when it is spent is capped. */
function dailyLimits(providers: ConfigInput["providers"], given: string | undefined): Limit[] {
  if (given === "none") return [];
  const amount = given ? Number(given.replaceAll("_", "")) : DEFAULT_DAILY_TOKENS;
  if (!Number.isSafeInteger(amount) || amount < 0) {
    throw new CliError(`TURNPIKE_DAILY_TOKENS must be a whole number of tokens or "none", not "${given}"`);
  }
  const cloud = ["mistral", "anthropic", "openai"].filter((name) => providers[name]);
  const capped = given ? cloud : providers.mistral && providers.llama ? ["mistral"] : [];
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  return capped.map((name) => ({
    name: `${name}-daily`,
    match: { provider: name },
    tokens: amount,
    per: "day",
    timeZone,
  }));
}

/** A llama-server (or its like) and the model that it has loaded; undefined when none answers at once. */
async function probeLlama(url: string): Promise<{ model: string } | undefined> {
  const [models, health] = await Promise.all([getJson(`${url}/v1/models`), getJson(`${url}/health`)]);
  const id = (models?.data as { id?: unknown }[] | undefined)?.[0]?.id;
  if (typeof id === "string" && id !== "" && id !== "*") return { model: id };
  return health?.status === "ok" ? { model: "local" } : undefined;
}

async function getJson(url: string): Promise<Record<string, unknown> | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PROBE_MS), redirect: "error" });
    if (!response.ok) return undefined;
    return (await response.json()) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
