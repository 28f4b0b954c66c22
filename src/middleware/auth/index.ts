import { z } from "zod";
import { GatewayError } from "../../core/errors.ts";
import type { Exchange } from "../../core/exchange.ts";
import { defineMiddleware, type Middleware, type Next } from "../../core/middleware.ts";
import type { Reply } from "../../core/reply.ts";
import type { MaybePromise } from "../../core/util.ts";
import { hashKey, hasKeyPrefix, isKey } from "../../keys/key.ts";
import { TOUCH_EVERY_MS } from "../../keys/table.ts";
import { type Caller, callerOf, callerOfRecord, type Refused, WRONG_KEY } from "./caller.ts";
import { isJwt, jwtChecker } from "./jwt.ts";
import { lookups, tooMany } from "./lookups.ts";
import { type AuthOptions, authOptions } from "./options.ts";
import { bucket } from "./rate.ts";

export { hashKey } from "../../keys/key.ts";
export { type AuthOptions, authFileOptions, type JwtOptions, type LookupResult } from "./options.ts";

/** Strangers' keys that are looked up, for each wrong key that is answered. */
const LOOKUPS_PER_WRONG = 10;

/**
 * Tells callers apart by what they present in `Authorization: Bearer`, `x-api-key` or `x-goog-api-key`: one of the `keys`, a key of the
 * `table` (`turnpike keys create`), a JSON Web Token (`jwt`, needs the package jose), or whatever `lookup` knows.
 * Answers of `table`, `jwt` and `lookup` are kept for `cacheMs`: a revoked key stops within that time, by default
 * 5 seconds; expiry is exact. An unknown key is looked up again after 1 second.
 *
 * Callers in process are trusted unless they present a key. The table is closed with the gateway.
 * @throws GatewayError `unauthenticated` (no, wrong, expired or revoked key), `forbidden` (a model the key may not ask
 * for), `rate_limited` (too many wrong keys in this process), `internal` with status 503 (no answer from the table,
 * the issuer or `lookup` within `lookupTimeoutMs`)
 * @example auth({ table: sqliteKeys("turnpike.db") })
 * @example auth({ jwt: { issuer: "https://login.example.com/", audience: "turnpike", jwks: "https://login.example.com/keys" } })
 */
export function auth(given: AuthOptions): Middleware {
  const parsed = authOptions.safeParse(given);
  if (!parsed.success) throw new TypeError(`auth: ${z.prettifyError(parsed.error)}`);
  const { keys, lookup, table, jwt, cacheMs, lookupTimeoutMs, maxWrongPerSecond } = parsed.data;
  if (keys.length === 0 && !lookup && !table && !jwt) {
    throw new TypeError("auth: give `keys`, a `table`, `jwt` or a `lookup` function");
  }
  /** By hash. What the time of a look-up tells of hashes tells nothing of keys, whose hashes nobody can choose. */
  const known = new Map(
    keys.map(({ id, hash, key, ...facts }) => [hash ?? hashKey(key!), callerOf({ key: id, ...facts })]),
  );

  // Per gateway: its clock, what is known of keys, and how many wrong ones came.
  let now: () => number = Date.now;
  const checkJwt = jwt && jwtChecker(jwt, () => now());
  const wrongKeys = bucket(maxWrongPerSecond);
  const answers = lookups({
    cacheMs,
    timeoutMs: lookupTimeoutMs,
    maxWrongPerSecond: maxWrongPerSecond * LOOKUPS_PER_WRONG,
  });

  function find(key: string): MaybePromise<Caller | Refused> {
    const hash = hashKey(key);
    const found = known.get(hash) ?? answers.kept(hash);
    if (found) return found;
    const isOurs = table !== undefined && isKey(key);
    const isToken = checkJwt !== undefined && isJwt(key);
    if (!isOurs && !isToken && !lookup) {
      return table && hasKeyPrefix(key) ? { refused: "Invalid API key: it is mistyped or cut off" } : WRONG_KEY;
    }
    return answers.ask(hash, async () => {
      const record = isOurs ? await table.lookup(hash) : undefined;
      if (record) {
        noteUse(record.id, record.lastUsedAt);
        return callerOfRecord(record);
      }
      const token = isToken ? await checkJwt(key) : undefined;
      if (token && !("refused" in token && lookup)) return token;
      const caller = await lookup?.(key);
      return caller ? callerOf(caller) : (token ?? WRONG_KEY);
    });
  }

  /** For `turnpike keys list`; nobody waits for it, and its failure is nobody's. */
  function noteUse(id: string, lastUsedAt = 0): void {
    if (now() - lastUsedAt >= TOUCH_EVERY_MS) table?.touch?.(id).catch(() => {});
  }

  /** @returns undefined when no key was presented */
  function check(headers: Exchange["headers"]): MaybePromise<Caller | undefined> {
    const key = presentedKey(headers);
    if (key === undefined) return undefined;
    const found = find(key);
    return found instanceof Promise ? found.then(accept) : accept(found);
  }

  function accept(found: Caller | Refused): Caller {
    if (!("refused" in found) && found.expiresAt > now()) return found;
    if (!wrongKeys.take()) throw tooMany();
    throw new GatewayError("unauthenticated", "refused" in found ? found.refused : "This API key has expired");
  }

  function admit(caller: Caller | undefined, exchange: Exchange, next: Next): Promise<Reply> {
    if (caller) {
      exchange.identity = caller.identity;
      caller.checkModel?.(exchange.model);
    } else if (!exchange.trusted) throw missing();
    return next(exchange);
  }

  const missing = () =>
    new GatewayError("unauthenticated", "No API key: send `Authorization: Bearer …` or `x-api-key`");

  return defineMiddleware(
    {
      id: "auth",
      setup(plan) {
        now = plan.now;
      },
      close: () => table?.close?.(),
      async identify(headers) {
        const caller = await check(headers);
        if (!caller) throw missing();
        return caller.identity;
      },
    },
    (exchange, next) => {
      try {
        const caller = check(exchange.headers);
        // A known caller does not wait.
        if (!(caller instanceof Promise)) return admit(caller, exchange, next);
        return caller.then((each) => admit(each, exchange, next));
      } catch (error) {
        return Promise.reject(error);
      }
    },
  );
}

function presentedKey(headers: Exchange["headers"]): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
  return bearer ?? headers["x-api-key"] ?? headers["x-goog-api-key"];
}
