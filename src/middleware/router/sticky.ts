import { LRUCache } from "lru-cache";
import type { Exchange } from "../../core/exchange.ts";

const MAX_SESSIONS = 10_000;
const MAX_LENGTH = 256;

/** The caller's conversation, scoped to its key so that nobody can steer another's; `undefined` where none is told. */
export function sessionOf({ headers, body, identity, operation }: Exchange): string | undefined {
  const told =
    headers["x-claude-code-session-id"] ??
    headers["x-session-id"] ??
    (operation === "chat" ? body.member("prompt_cache_key") : undefined);
  if (typeof told !== "string" || told === "" || told.length > MAX_LENGTH) return undefined;
  return JSON.stringify([identity.key ?? null, identity.user ?? null, identity.team ?? null, told]);
}

/** Which member of a group each session is with; forgotten when it is silent. */
export class Sessions {
  readonly #places: LRUCache<string, number>;

  constructor(ttlMs: number) {
    this.#places = new LRUCache({ max: MAX_SESSIONS, ttl: ttlMs });
  }

  placeOf(session: string): number | undefined {
    return this.#places.get(session, { allowStale: false });
  }

  /** The member answered. */
  stay(session: string, place: number): void {
    this.#places.set(session, place);
  }
}
