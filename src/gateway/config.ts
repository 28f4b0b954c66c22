/** `turnpike.config.json`: the options of `createGateway()` and its middleware as data, checked by one strict schema. */
import { availableParallelism } from "node:os";
import { z } from "zod";
import type { BudgetStore } from "../core/budget-store.ts";
import type { CacheStore } from "../core/cache-store.ts";
import type { Middleware } from "../core/middleware.ts";
import type { Provider } from "../core/provider.ts";
import { openKeyTable } from "../keys/open.ts";
import { auth, authFileOptions } from "../middleware/auth/index.ts";
import { budget, budgetFileOptions } from "../middleware/budget/index.ts";
import { cache, cacheFileOptions } from "../middleware/cache/index.ts";
import { logger, loggerFileOptions } from "../middleware/logger.ts";
import { residency, residencyOptions } from "../middleware/residency.ts";
import { router, routerFileOptions } from "../middleware/router/index.ts";
import { translator, translatorOptions } from "../middleware/translator/index.ts";
import { type ProviderFactory, providerOptions } from "../providers/define.ts";
import * as builtIn from "../providers/index.ts";
import { createGateway, type Gateway, type GatewayOptions } from "./create-gateway.ts";

/** What `type` may say: every provider that `providers/index.ts` exports. */
const FACTORIES: ReadonlyMap<string, ProviderFactory> = new Map(
  Object.values(builtIn).flatMap((each) => ("spec" in each ? [[each.spec.type, each]] : [])),
);

const { baseURL } = providerOptions.shape;

/** For those who have no usual address. The type stays that of the others, so that all providers are of one type. */
const requiredBaseURL = baseURL.nonoptional({
  error: "expected the server's address, for example http://127.0.0.1:8081/v1",
}) as unknown as typeof baseURL;

const [firstType, ...otherTypes] = [...FACTORIES.values()].map(({ spec }) =>
  providerOptions.extend({
    type: z.literal(spec.type),
    baseURL: spec.baseURL === undefined ? requiredBaseURL : baseURL,
  }),
);

const STORE_FORMS = 'expected "memory", "sqlite:FILE", "redis://HOST" or "postgres://HOST/DATABASE"';

const providerConfig = z.discriminatedUnion("type", [firstType!, ...otherTypes]);

const serverOptions = z.strictObject({
  host: z.string().min(1).default("127.0.0.1").describe("An address that is not loopback needs `auth`."),
  port: z.int().min(0).max(65_535).default(8080).describe("0 takes a free port."),
  workers: z
    .union([z.int().positive(), z.literal("auto").transform(() => availableParallelism())])
    .prefault(1)
    .describe('Processes of the command that share the port and the budgets; "auto": one for each core.'),
});

/** Where the command listens. */
export type ServerOptions = z.output<typeof serverOptions>;

const configSchema = z.strictObject({
  $schema: z.string().optional().describe("For editors."),
  server: serverOptions.prefault({}),
  providers: z
    .record(
      z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "a name of letters, digits, dot, dash and underscore"),
      providerConfig,
    )
    .refine((providers) => Object.keys(providers).length > 0, { error: "at least one provider" })
    .describe("Where requests can go; the keys are the names that rules and limits use."),
  logger: z
    .union([z.literal(false), loggerFileOptions])
    .prefault({})
    .describe('`{ "format": "auto" | "pretty" | "json" }`, or false for no log.'),
  auth: authFileOptions.optional().describe("Who may call. Absent: anyone who reaches the port."),
  cache: cacheFileOptions
    .extend({
      store: z
        .union([z.literal("memory"), z.string().regex(/^rediss?:\/\/./, 'expected "memory" or "redis://HOST"')])
        .default("memory")
        .describe('Where answers are kept: "memory" (forgotten at the end) or "redis://…".'),
    })
    .optional()
    .describe("Same request, same answer. Absent: every request goes to a provider."),
  router: routerFileOptions.prefault({}),
  residency: residencyOptions.optional(),
  budget: budgetFileOptions
    .extend({
      store: z
        .union([
          z.literal("memory"),
          z.string().regex(/^(sqlite:.|(redis|rediss|postgres|postgresql):\/\/.)/, STORE_FORMS),
        ])
        .describe(
          'Where counters are kept: "memory" (forgotten at the end), "sqlite:FILE", "redis://…" or "postgres://…".',
        ),
      processes: z
        .int()
        .positive()
        .optional()
        .describe("Processes that share the store: `onStoreError: local` divides by it. Default: `server.workers`."),
      leased: z
        .boolean()
        .default(false)
        .describe(
          "Take slices of the counters into this process, so that most requests ask no server. See docs/budgets.md.",
        ),
    })
    .optional(),
  translator: translatorOptions.prefault({}),
  timeoutMs: z
    .int()
    .positive()
    .optional()
    .describe("Most time for one request, all attempts together. Default 600000."),
});

/** A file's content before defaults and environment references are filled in. */
export type ConfigInput = z.input<typeof configSchema>;
export type Config = z.output<typeof configSchema>;

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Fills in `${NAME}` from the environment, checks everything, and fills in defaults.
 * @throws TypeError with one line per mistake: its path and what was expected. Values are never quoted: they may be secret.
 */
export function parseConfig(given: unknown, environment: Environment = process.env): Config {
  const problems: string[] = [];
  const resolved = fillIn(given, [], environment, problems);
  if (problems.length > 0) throw new TypeError(problems.join("\n"));
  const parsed = configSchema.safeParse(resolved);
  if (!parsed.success) throw new TypeError(parsed.error.issues.map((issue) => explain(issue, resolved)).join("\n"));
  return parsed.data;
}

/** The options of `createGateway()` that a configuration stands for: logger, auth, cache, router, residency, budget, translator. */
export async function optionsFromConfig(config: Config, given: { store?: BudgetStore } = {}): Promise<GatewayOptions> {
  const providers: Record<string, Provider> = {};
  for (const [name, { type, ...options }] of Object.entries(config.providers)) {
    providers[name] = at(`providers.${name}`, () => FACTORIES.get(type)!(options));
  }
  const use: Middleware[] = [];
  if (config.logger) use.push(logger(config.logger));
  if (config.auth) {
    const { table: address, ...options } = config.auth;
    const table = address === undefined ? undefined : await openKeyTable(address);
    use.push(at("auth", () => auth({ ...options, ...(table && { table }) })));
  }
  if (config.cache) {
    const { store: address, ...options } = config.cache;
    const store = await openCache(address);
    use.push(at("cache", () => cache({ ...options, ...(store && { store }) })));
  }
  use.push(router(config.router));
  if (config.residency) use.push(residency(config.residency));
  if (config.budget) {
    const { store: address, leased, processes = config.server.workers, ...options } = config.budget;
    const shared = given.store ?? (await openStore(address));
    const store = leased ? await lease(shared, processes) : shared;
    use.push(at("budget", () => budget({ ...options, processes, store })));
  }
  use.push(translator(config.translator));
  return { providers, use, ...(config.timeoutMs !== undefined && { timeoutMs: config.timeoutMs }) };
}

/**
 * Builds the gateway of a configuration file's content.
 *
 * @throws TypeError that names the path of what is wrong
 * @example const { gateway, server } = await gatewayFromConfig(JSON.parse(await readFile("turnpike.config.json", "utf8")));
 */
export async function gatewayFromConfig(
  given: unknown,
  environment: Environment = process.env,
): Promise<{ gateway: Gateway; server: ServerOptions }> {
  const config = parseConfig(given, environment);
  return { gateway: createGateway(await optionsFromConfig(config)), server: config.server };
}

/** The JSON Schema that editors use; made from the schema that checks. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(configSchema, {
    io: "input",
    override({ jsonSchema, path }) {
      // A reference to the environment may stand where the value itself must have a form.
      const { type, format, pattern, minLength } = jsonSchema;
      if (type !== "string" || path.at(-1) === "propertyNames" || !(format || pattern || (minLength ?? 0) > 4)) return;
      for (const key of ["type", "format", "pattern", "minLength"] as const) delete jsonSchema[key];
      const form = { type, ...(format && { format }), ...(pattern && { pattern }), ...(minLength && { minLength }) };
      jsonSchema.anyOf = [form, { type, pattern: "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}" }];
    },
  });
  return { ...schema, title: "Turnpike configuration" };
}

/** Stores load on first use, so that a gateway without budgets needs none. */
async function openStore(address: string): Promise<BudgetStore> {
  if (address === "memory") return (await import("../stores/memory.ts")).memoryStore();
  if (address.startsWith("redis")) return (await import("../stores/redis.ts")).redisStore({ url: address });
  if (address.startsWith("postgres")) {
    return (await import("../stores/postgres.ts")).postgresStore({ connectionString: address }, { migrate: true });
  }
  const { sqliteStore } = await import("../stores/sqlite.ts");
  return at("budget.store", () => sqliteStore(address.slice("sqlite:".length)));
}

async function openCache(address: string): Promise<CacheStore | undefined> {
  if (address === "memory") return undefined;
  return (await import("../caches/redis.ts")).redisCache({ url: address });
}

async function lease(store: BudgetStore, processes: number): Promise<BudgetStore> {
  return (await import("../stores/leased.ts")).leased(store, { processes: Math.max(2, processes) });
}

/** Replaces `${NAME}` in every string; `$${` stands for `${` itself. */
function fillIn(value: unknown, path: PropertyKey[], environment: Environment, problems: string[]): unknown {
  if (typeof value === "string") {
    return value.replace(/(\$)?\$\{([^}]*)\}/g, (whole, escaped: string | undefined, name: string) => {
      if (escaped) return whole.slice(1);
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
        problems.push(`${dotted(path)}: \${…} must hold the name of an environment variable`);
      } else if (!environment[name]) {
        problems.push(`${dotted(path)}: the environment variable ${name} is not set`);
      }
      return environment[name] ?? "";
    });
  }
  if (Array.isArray(value)) return value.map((each, index) => fillIn(each, [...path, index], environment, problems));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, fillIn(each, [...path, key], environment, problems)]),
  );
}

/** One mistake: where, what, and what would be right there. */
function explain(issue: z.core.$ZodIssue, config: unknown): string {
  const known = nodeAt(issue.path, config);
  let expected = "";
  if (issue.code === "invalid_key") expected = `; expected ${issue.issues.map((each) => each.message).join(", ")}`;
  if (issue.code === "unrecognized_keys" && known?.properties)
    expected = `; known are ${Object.keys(known.properties).join(", ")}`;
  if (issue.code === "invalid_union" && known?.description) expected = `; expected: ${known.description}`;
  return `${dotted(issue.path)}: ${issue.message}${expected}`;
}

interface SchemaNode {
  description?: string;
  properties?: Record<string, SchemaNode>;
  additionalProperties?: SchemaNode | boolean;
  items?: SchemaNode;
  const?: unknown;
  anyOf?: SchemaNode[];
  oneOf?: SchemaNode[];
}

/** The part of the JSON Schema that speaks of a path of this configuration. */
function nodeAt(path: readonly PropertyKey[], config: unknown): SchemaNode | undefined {
  let node: SchemaNode | undefined = configJsonSchema();
  let value = config;
  for (const key of [...path, undefined]) {
    const choices: SchemaNode[] | undefined = node?.oneOf ?? node?.anyOf;
    if (choices) {
      const type = (value as { type?: unknown } | undefined)?.type;
      const chosen: SchemaNode | undefined =
        choices.find((each) => each.properties?.type?.const === type) ?? choices.find((each) => each.properties);
      if (key === undefined) return chosen ? { ...node, ...chosen, description: node?.description } : node;
      node = chosen ?? choices.find((each) => each.items);
    }
    if (key === undefined) return node;
    value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
    const other: SchemaNode | boolean | undefined = node?.additionalProperties;
    node = node?.properties?.[String(key)] ?? (typeof other === "object" ? other : node?.items);
  }
  return node;
}

const dotted = (path: readonly PropertyKey[]) => (path.length === 0 ? "(top level)" : z.core.toDotPath(path));

/** Puts the path before the message of what fails inside. */
function at<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new TypeError(`${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}
