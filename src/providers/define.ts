import { z } from "zod";
import { capabilityTable } from "../capabilities/resolve.ts";
import { type CapabilityOverride, capabilityOverride, rowsOf } from "../capabilities/row.ts";
import type { Dialect } from "../core/dialect.ts";
import {
  type Capabilities,
  type CapabilityRow,
  PROVIDER_OPERATIONS,
  type PriceOverride,
  type Provider,
  type ProviderOperation,
  type Transport,
} from "../core/provider.ts";
import type { ChatRequest } from "../core/request.ts";
import { fetchTransport } from "../transport/fetch.ts";
import { poolTransport } from "../transport/pool.ts";
import { keyRing } from "./keys.ts";

const usdPerMillion = z.number().min(0);

/** Price per million tokens in USD, or `"free"`; for all models or by model name (`*` = any other). */
const priceOverride = z.union([
  z.literal("free"),
  z.strictObject({
    input: usdPerMillion,
    output: usdPerMillion,
    cacheRead: usdPerMillion.optional(),
    cacheWrite: usdPerMillion.optional(),
  }),
]);

/** What a configuration file may say of any provider. Strict: an unknown key is an error that names its path. */
export const providerOptions = z.strictObject({
  apiKey: z
    .string()
    .min(1)
    .optional()
    .describe("Key of the upstream. Default: the provider's usual environment variable."),
  apiKeys: z
    .array(
      z.strictObject({
        key: z.string().min(1),
        weight: z.number().positive().default(1),
        concurrency: z.int().positive().optional().describe("Most calls at a time with this key; more wait in line."),
      }),
    )
    .min(1)
    .optional()
    .describe("Several keys instead of one: used by weight, left out while they are refused or limited."),
  baseURL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Address with its version segment: https://api.mistral.ai/v1"),
  headers: z.record(z.string(), z.string()).optional().describe("Sent with every call."),
  operations: z.array(z.enum(PROVIDER_OPERATIONS)).min(1).optional().describe("What this provider may be asked."),
  jurisdiction: z.string().optional().describe("Law the company is under: EU, US."),
  region: z.string().optional().describe("Where it computes."),
  price: z.union([priceOverride, z.record(z.string(), priceOverride)]).optional(),
  timeouts: z
    .strictObject({
      connectMs: z.int().positive().optional(),
      firstByteMs: z.int().positive().optional(),
      idleMs: z.int().positive().optional(),
    })
    .optional(),
  pool: z
    .strictObject({ connections: z.int().positive().optional(), keepAliveMs: z.int().positive().optional() })
    .optional(),
  countsTokens: z.boolean().optional().describe("Whether it counts tokens without a paid call."),
  capture: z.boolean().optional().describe("Log raw requests and answers of this provider."),
  models: z.array(z.string()).optional().describe("Model names shown to callers."),
  capabilities: z.array(capabilityOverride).optional(),
});

export type ProviderFileOptions = z.infer<typeof providerOptions>;

export interface ProviderOptions extends Omit<ProviderFileOptions, "capabilities"> {
  /** Any `fetch` instead of our own connections: for edge runtimes and tests. */
  fetch?: typeof fetch;
  /** Facts that override the built-in ones; later rows win. */
  capabilities?: readonly (CapabilityRow | CapabilityOverride)[];
}

/** Writes the key into a header. */
export interface AuthScheme {
  /** Environment variable that is read when no `apiKey` is given. */
  env?: string;
  headers(apiKey: string): Record<string, string>;
}

export const bearer = (env?: string): AuthScheme => ({
  ...(env && { env }),
  headers: (key) => ({ authorization: `Bearer ${key}` }),
});
export const keyHeader = (name: string, env: string): AuthScheme => ({ env, headers: (key) => ({ [name]: key }) });

/** A provider as data. One small file each; everything a vendor does differently is in here. */
export interface ProviderSpec {
  type: string;
  /** The main one. */
  dialect: Dialect;
  /** Further dialects it speaks. */
  otherDialects?: readonly Dialect[];
  /**
   * Which of them a request goes out in. `request` decodes it when called.
   * @default the caller's own where it is among them, else the main one
   */
  chooseDialect?: (caller: Dialect, model: string, request: () => ChatRequest) => Dialect;
  /** Absent: `baseURL` must be configured. */
  baseURL?: string;
  auth?: AuthScheme;
  /** Whether a key is needed at the usual address. @default true when `auth` names an environment variable */
  keyRequired?: boolean;
  headers?: Record<string, string>;
  operations?: readonly ProviderOperation[];
  jurisdiction?: string;
  region?: string;
  /** Facts per model, general rows first. */
  capabilities?: readonly CapabilityRow[];
  /** Whether a request of the same dialect may go through byte for byte. @default true */
  passThrough?: boolean;
  /** Whether the upstream counts tokens without a paid call. @default false */
  countsTokens?: boolean;
  /** In which dialect. @default the main one */
  countDialect?: Dialect;
  /** Id in the price data. */
  priceId?: string;
  price?: PriceOverride;
  models?: readonly string[];
  /** Answers without a network. */
  transport?: () => Transport;
}

export type ProviderFactory = ((options?: ProviderOptions) => Provider) & { readonly spec: ProviderSpec };

/**
 * Makes the factory of a provider from its data.
 *
 * @example
 * export const groq = defineProvider({ type: "groq", dialect: openaiChat, baseURL: "https://api.groq.com/openai/v1",
 *   auth: bearer("GROQ_API_KEY"), jurisdiction: "US" });
 */
export function defineProvider(spec: ProviderSpec): ProviderFactory {
  const factory = (given: ProviderOptions = {}): Provider => {
    const { fetch: fetcher, capabilities: extra = [], ...rest } = given;
    const fromFile = extra.filter((row): row is CapabilityOverride => typeof row.match === "string");
    const parsed = providerOptions.safeParse(dropUndefined({ ...rest, capabilities: fromFile }));
    if (!parsed.success) throw new TypeError(`${spec.type}: ${z.prettifyError(parsed.error)}`);
    const options = parsed.data;
    const baseURL = options.baseURL ?? spec.baseURL;
    if (!baseURL) throw new TypeError(`${spec.type}: baseURL is required, for example http://127.0.0.1:8081/v1`);
    if (options.apiKeys && options.apiKey) throw new TypeError(`${spec.type}: give apiKey or apiKeys, not both`);
    if (options.apiKeys && !spec.auth) throw new TypeError(`${spec.type}: it takes no API key`);
    const apiKey =
      options.apiKeys?.[0]?.key ?? options.apiKey ?? (spec.auth?.env && process.env[spec.auth.env]) ?? undefined;
    const keyRequired = spec.keyRequired ?? spec.auth?.env !== undefined;
    if (!apiKey && keyRequired && !options.baseURL) {
      throw new TypeError(`${spec.type}: no API key. Set ${spec.auth?.env} or pass apiKey`);
    }
    const headers: Record<string, string> = {
      "content-type": "application/json",
      ...spec.headers,
      ...(apiKey && !options.apiKeys && spec.auth?.headers(apiKey)),
      ...lowerCase(options.headers),
    };
    const wire = spec.transport
      ? { send: spec.transport() }
      : fetcher
        ? { send: fetchTransport(fetcher, baseURL, { headers, timeouts: options.timeouts }) }
        : poolTransport(baseURL, { headers, timeouts: options.timeouts, pool: options.pool });
    const { apiKeys } = options;
    const dialects = [spec.dialect, ...(spec.otherDialects ?? [])];
    const sameAsCaller = (caller: Dialect) => dialects.find(({ id }) => id === caller.id) ?? spec.dialect;
    const table = capabilityTable([
      ...(spec.capabilities ?? []),
      ...extra.flatMap((row) =>
        typeof row.match === "string" ? rowsOf([row as CapabilityOverride]) : [row as CapabilityRow],
      ),
    ]);
    return {
      type: spec.type,
      dialect: spec.dialect,
      dialects,
      dialectFor: spec.chooseDialect ?? sameAsCaller,
      baseURL,
      operations: new Set(options.operations ?? spec.operations ?? PROVIDER_OPERATIONS),
      jurisdiction: options.jurisdiction ?? spec.jurisdiction,
      region: options.region ?? spec.region,
      passThrough: spec.passThrough ?? true,
      countDialect: (options.countsTokens ?? spec.countsTokens) ? (spec.countDialect ?? spec.dialect) : undefined,
      capture: options.capture ?? false,
      price: options.price ?? spec.price,
      priceId: spec.priceId,
      models: options.models ?? spec.models ?? [],
      capabilities: (model: string, dialect = spec.dialect.id): Capabilities => table(model, dialect),
      send: apiKeys ? keyRing(apiKeys, (key) => spec.auth!.headers(key), wire.send) : wire.send,
      ...("close" in wire && { close: wire.close }),
    };
  };
  return Object.assign(factory, { spec });
}

function lowerCase(headers: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function dropUndefined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
