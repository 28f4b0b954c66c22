import type { KeyObject } from "node:crypto";
import { z } from "zod";
import type { Identity } from "../../core/exchange.ts";
import { KEY_ADDRESS } from "../../keys/open.ts";
import type { KeyTable } from "../../keys/table.ts";

const keyOptions = z
  .strictObject({
    id: z.string().min(1).describe("Name of the key, for logs and budgets; never the key itself."),
    hash: z
      .string()
      .regex(/^sha256:[0-9a-f]{64}$/, "expected sha256: and 64 hexadecimal digits")
      .optional(),
    key: z.string().min(8).optional().describe("The key itself; better its hash."),
    user: z.string().optional(),
    team: z.string().optional(),
    tags: z.array(z.string()).optional(),
    models: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe("Models that may be asked for; `*` in a name stands for anything. Default: all."),
    expiresAt: z.iso
      .datetime({ offset: true, error: "expected an ISO time with its zone, for example 2027-01-31T12:00:00Z" })
      .optional(),
  })
  .refine((key) => (key.hash === undefined) !== (key.key === undefined), {
    error: "a key needs either `hash` or `key`",
  });

/** What a JSON Web Key Set is signed with: RSA and elliptic curves. */
const PUBLIC_ALGORITHMS = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
] as const;
const SECRET_ALGORITHMS = ["HS256", "HS384", "HS512"] as const;

const names = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const claim = z.string().min(1);
const jsonWebKey = z.looseObject({ kty: z.string() });

const jwtFileOptions = z.strictObject({
  issuer: names.describe("Who signs: the value of `iss`."),
  audience: names.describe("For whom: the value of `aud`."),
  jwks: z
    .union([
      z.url({ protocol: /^https?$/ }).refine((url) => isSafe(url), "expected https, or http on this machine"),
      z.strictObject({ keys: z.array(jsonWebKey).min(1) }),
    ])
    .optional()
    .describe("Address of the issuer's JSON Web Key Set, or the set itself."),
  key: z
    .union([z.string().startsWith("-----BEGIN PUBLIC KEY-----"), jsonWebKey])
    .optional()
    .describe("One public key: PEM or JWK."),
  secret: z.string().min(32).optional().describe("A secret shared with the issuer, at least 32 characters."),
  algorithms: z
    .array(z.enum([...PUBLIC_ALGORITHMS, ...SECRET_ALGORITHMS]))
    .min(1)
    .optional()
    .describe("Accepted signatures. Default: all of RSA and elliptic curves for keys, HS256 to HS512 for a secret."),
  claims: z
    .strictObject({
      user: claim.default("sub").describe("Every token must have it."),
      team: claim.default("team"),
      tags: claim.default("tags").describe("A list, or names with spaces between."),
      key: claim.optional().describe("Id of the key, for budgets by key. Default: none."),
      models: claim
        .optional()
        .describe("Models that may be asked for. Where it is named here, every token must have it."),
    })
    .prefault({})
    .describe("Names of the claims; a dot leads into an object: `realm_access.roles`."),
  clockToleranceSeconds: z.int().min(0).max(600).default(5).describe("How far the issuer's clock may be off."),
});

const jwtOptions = jwtFileOptions.extend({
  key: z
    .union([jwtFileOptions.shape.key.unwrap(), z.custom<KeyObject>((key) => (key as KeyObject)?.type === "public")])
    .optional(),
});

const oneKey = (jwt: { jwks?: unknown; key?: unknown; secret?: unknown }) =>
  [jwt.jwks, jwt.key, jwt.secret].filter((each) => each !== undefined).length === 1;
const fits = ({ algorithms = [], secret }: { algorithms?: string[] | undefined; secret?: unknown }) =>
  algorithms.every((name) => name.startsWith("HS") === (secret !== undefined));
const ONE_KEY = { error: "needs one of `jwks`, `key` and `secret`" };
/** Else a public key, which everybody has, could be taken for a secret. */
const FITS = { error: "HS256 to HS512 are for `secret`, the others for keys", path: ["algorithms"] };

const shared = {
  keys: z.array(keyOptions).default([]),
  cacheMs: z
    .int()
    .min(0)
    .max(3_600_000)
    .default(5_000)
    .describe("How long an answer about a key is kept: a revoked key stops within this time."),
  lookupTimeoutMs: z.int().positive().default(2_000).describe("How long a look-up may take; then 503."),
  maxWrongPerSecond: z
    .int()
    .positive()
    .default(10)
    .describe("Wrong keys answered per second in the long run, in bursts ten times as many; more get 429."),
};

/** What a configuration file may say; the key table stands in it as an address. */
export const authFileOptions = z
  .strictObject({
    ...shared,
    table: z
      .string()
      .regex(KEY_ADDRESS, 'expected "sqlite:FILE" or "postgres://HOST/DATABASE"')
      .optional()
      .describe('Where `turnpike keys` keeps its keys: "sqlite:FILE" or "postgres://HOST/DATABASE".'),
    jwt: jwtFileOptions.refine(oneKey, ONE_KEY).refine(fits, FITS).optional(),
  })
  .refine(({ keys, table, jwt }) => keys.length > 0 || table !== undefined || jwt !== undefined, {
    error: "give at least one of `keys`, `table` and `jwt`",
  });

/** Who a looked-up key belongs to. */
export type LookupResult = Identity & {
  /** Models that may be asked for; `*` stands for anything. Absent: all. */
  models?: readonly string[];
  /** A `Date`, epoch ms, or an ISO time. Absent: never. */
  expiresAt?: Date | number | string;
};

type Lookup = (key: string) => Promise<LookupResult | undefined> | LookupResult | undefined;

export const authOptions = z.strictObject({
  ...shared,
  lookup: z.custom<Lookup>((lookup) => typeof lookup === "function", "a function").optional(),
  table: z
    .custom<Pick<KeyTable, "lookup" | "touch"> & { close?(): Promise<void> | void }>(
      (table) => typeof (table as KeyTable | undefined)?.lookup === "function",
      'a key table, for example sqliteKeys("turnpike.db")',
    )
    .optional(),
  jwt: jwtOptions.refine(oneKey, ONE_KEY).refine(fits, FITS).optional(),
});

export type AuthOptions = z.input<typeof authOptions>;
export type JwtOptions = z.input<typeof jwtOptions>;
export type CheckedJwtOptions = z.output<typeof jwtOptions>;

export function algorithmsOf({ algorithms, secret }: CheckedJwtOptions): string[] {
  return algorithms ?? [...(secret === undefined ? PUBLIC_ALGORITHMS : SECRET_ALGORITHMS)];
}

/** Keys that come over a network in the clear could be anybody's. */
function isSafe(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "https:" || hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}
