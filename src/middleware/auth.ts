import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { GatewayError } from "../core/errors.ts";
import type { Exchange, Identity } from "../core/exchange.ts";
import { defineMiddleware, type Middleware } from "../core/middleware.ts";

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
  })
  .refine((key) => (key.hash === undefined) !== (key.key === undefined), {
    error: "a key needs either `hash` or `key`",
  });

export const authFileOptions = z.strictObject({ keys: z.array(keyOptions).min(1) });
const authOptions = z.strictObject({
  keys: z.array(keyOptions).optional(),
  lookup: z
    .custom<(key: string) => Promise<Identity | undefined> | Identity | undefined>((f) => typeof f === "function")
    .optional(),
});

export type AuthOptions = z.input<typeof authOptions>;

/** The form in which `auth({ keys: [{ hash }] })` takes a key. */
export function hashKey(key: string): string {
  return `sha256:${createHash("sha256").update(key).digest("hex")}`;
}

/**
 * Tells callers apart by their virtual key (`Authorization: Bearer` or `x-api-key`). Callers in process are trusted
 * unless they present a key.
 * @throws GatewayError `unauthenticated`
 */
export function auth(given: AuthOptions): Middleware {
  const parsed = authOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`auth: ${z.prettifyError(parsed.error)}`);
  const { keys = [], lookup } = parsed.data;
  if (keys.length === 0 && !lookup) throw new TypeError("auth: give `keys` or a `lookup` function");
  const known = keys.map(({ id, hash, key, user, team, tags }) => ({
    digest: Buffer.from((hash ?? hashKey(key!)).slice(7), "hex"),
    identity: { key: id, ...(user && { user }), ...(team && { team }), ...(tags && { tags }) } satisfies Identity,
  }));

  async function identify(key: string): Promise<Identity | undefined> {
    const digest = createHash("sha256").update(key).digest();
    let found: Identity | undefined;
    // Every key is compared, so that the time tells nothing.
    for (const each of known) if (timingSafeEqual(each.digest, digest)) found = each.identity;
    return found ?? (await lookup?.(key));
  }

  /** @returns undefined when no key was presented */
  async function check(headers: Exchange["headers"]): Promise<Identity | undefined> {
    const key = presentedKey(headers);
    if (key === undefined) return undefined;
    const identity = await identify(key);
    if (!identity) throw new GatewayError("unauthenticated", "Invalid API key");
    return identity;
  }

  const missing = () =>
    new GatewayError("unauthenticated", "No API key: send `Authorization: Bearer …` or `x-api-key`");

  return defineMiddleware(
    {
      id: "auth",
      async identify(headers) {
        const identity = await check(headers);
        if (!identity) throw missing();
        return identity;
      },
    },
    async (exchange, next) => {
      const identity = await check(exchange.headers);
      if (identity) exchange.identity = identity;
      else if (!exchange.trusted) throw missing();
      return next(exchange);
    },
  );
}

function presentedKey(headers: Exchange["headers"]): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
  return bearer ?? headers["x-api-key"] ?? undefined;
}
