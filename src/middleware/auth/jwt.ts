import { createPublicKey, createSecretKey, type JsonWebKeyInput, KeyObject } from "node:crypto";
import { type Caller, callerOf, type Refused } from "./caller.ts";
import { algorithmsOf, type CheckedJwtOptions } from "./options.ts";

/** What we call of jose, so that our types need nobody else's. */
interface Jose {
  createRemoteJWKSet(url: URL, options: { timeoutDuration: number }): KeyFinder;
  createLocalJWKSet(set: { keys: object[] }): KeyFinder;
  jwtVerify(
    token: string,
    key: KeyFinder | KeyObject,
    options: object,
  ): Promise<{ payload: Readonly<Record<string, unknown>> }>;
}
type KeyFinder = (header: object, token: object) => Promise<unknown>;

/** Told of the key set by what the token says, so it is the token's fault. */
const TOKENS_FAULT = new Set(["ERR_JWKS_NO_MATCHING_KEY", "ERR_JWKS_MULTIPLE_MATCHING_KEYS", "ERR_JOSE_NOT_SUPPORTED"]);

/** The key set could not be had; that says nothing about the token. */
class NoKeys extends Error {
  override readonly name = "NoKeys";
}

/** Three parts of base64url. */
export const isJwt = (text: string) => /^[\w-]{2,}\.[\w-]{2,}\.[\w-]{2,}$/.test(text);

/**
 * Checks JSON Web Tokens. jose is loaded with the first one.
 * @throws TypeError for a key that is none
 */
export function jwtChecker(
  options: CheckedJwtOptions,
  now: () => number,
): (token: string) => Promise<Caller | Refused> {
  const key = keyOf(options);
  let ready: Promise<{ jose: Jose; keys: KeyFinder | KeyObject }> | undefined;

  async function load() {
    const jose = await loadJose();
    if (key) return { jose, keys: key };
    const { jwks } = options;
    const find =
      typeof jwks === "string"
        ? jose.createRemoteJWKSet(new URL(jwks), { timeoutDuration: 1_500 })
        : jose.createLocalJWKSet(jwks!);
    return { jose, keys: findOrBlame(find) };
  }

  return async (token) => {
    ready ??= load();
    const { jose, keys } = await ready.catch((error: unknown) => {
      ready = undefined;
      throw error;
    });
    try {
      const { payload } = await jose.jwtVerify(token, keys, {
        issuer: options.issuer,
        audience: options.audience,
        algorithms: algorithmsOf(options),
        clockTolerance: options.clockToleranceSeconds,
        requiredClaims: ["exp"],
        currentDate: new Date(now()),
      });
      return callerOfClaims(payload, options);
    } catch (error) {
      if (error instanceof NoKeys) throw error;
      return { refused: reasonOf(error) };
    }
  };
}

function keyOf({ key, secret }: CheckedJwtOptions): KeyObject | undefined {
  if (secret !== undefined) return createSecretKey(Buffer.from(secret));
  if (key === undefined || key instanceof KeyObject) return key;
  try {
    return createPublicKey(typeof key === "string" ? key : { key: key as JsonWebKeyInput["key"], format: "jwk" });
  } catch (error) {
    throw new TypeError("auth: jwt.key is not a public key in PEM or JWK form", { cause: error });
  }
}

const findOrBlame =
  (find: KeyFinder): KeyFinder =>
  async (header, token) => {
    try {
      return await find(header, token);
    } catch (error) {
      if (TOKENS_FAULT.has((error as { code?: string }).code ?? "")) throw error;
      throw new NoKeys(`the issuer's keys cannot be had: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  };

function callerOfClaims(
  payload: Readonly<Record<string, unknown>>,
  { claims, clockToleranceSeconds }: CheckedJwtOptions,
): Caller | Refused {
  const user = textOf(claimOf(payload, claims.user));
  // Without it, what is limited by user would be limited for all of them together.
  if (user === undefined) return { refused: `The token has no claim "${claims.user}"` };
  const models = claims.models === undefined ? undefined : listOf(claimOf(payload, claims.models));
  if (claims.models !== undefined && !models) return { refused: `The token has no claim "${claims.models}"` };
  const team = textOf(claimOf(payload, claims.team));
  const tags = listOf(claimOf(payload, claims.tags));
  const key = claims.key === undefined ? undefined : textOf(claimOf(payload, claims.key));
  return callerOf({
    user,
    ...(key && { key }),
    ...(team && { team }),
    ...(tags && { tags }),
    ...(models && { models }),
    expiresAt: (Number(payload.exp) + clockToleranceSeconds) * 1_000,
  });
}

/** First the name as it stands (`https://example.com/team`), then as a path. */
function claimOf(payload: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const step of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

const textOf = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);

function listOf(value: unknown): string[] | undefined {
  if (typeof value === "string") return value.split(" ").filter((each) => each !== "");
  return Array.isArray(value) ? value.filter((each) => typeof each === "string" && each !== "") : undefined;
}

/** In our own words: a library's may quote the token. */
function reasonOf(error: unknown): string {
  const { code, claim } = error as { code?: string; claim?: string };
  switch (code) {
    case "ERR_JWT_EXPIRED":
      return "The token has expired";
    case "ERR_JWT_CLAIM_VALIDATION_FAILED":
      return `The token is not accepted because of its claim "${claim}"`;
    case "ERR_JOSE_ALG_NOT_ALLOWED":
      return "The token is signed with an algorithm that is not accepted";
    case "ERR_JWKS_NO_MATCHING_KEY":
    case "ERR_JWS_SIGNATURE_VERIFICATION_FAILED":
      return "The token's signature is not one of the issuer";
    default:
      return "Invalid token";
  }
}

async function loadJose(): Promise<Jose> {
  const name = "jose";
  try {
    return (await import(name)) as Jose;
  } catch (error) {
    throw new Error("auth({ jwt }) needs the package jose: npm install jose", { cause: error });
  }
}
