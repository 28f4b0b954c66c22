import { GatewayError } from "../../core/errors.ts";
import type { Identity } from "../../core/exchange.ts";
import { anyGlob } from "../../core/glob.ts";
import type { KeyRecord } from "../../keys/table.ts";
import type { LookupResult } from "./options.ts";

/** Who a key belongs to, and what it allows. */
export interface Caller {
  readonly identity: Identity;
  /** Epoch ms; asked at each request, however long the answer is cached. */
  readonly expiresAt: number;
  /** Absent where all models may be asked for. @throws GatewayError `forbidden` */
  readonly checkModel?: (model: string) => void;
}

/** Why a key is not accepted, in words for who presents it. */
export interface Refused {
  readonly refused: string;
}

export const WRONG_KEY: Refused = { refused: "Invalid API key" };

/** @throws TypeError for a time that is none, which would let a key live for ever */
export function callerOf({ key, user, team, tags, models, expiresAt }: LookupResult): Caller {
  const end = expiresAt === undefined ? Number.POSITIVE_INFINITY : new Date(expiresAt).getTime();
  if (Number.isNaN(end)) throw new TypeError("auth: `expiresAt` of a key is not a time");
  return {
    identity: { ...(key && { key }), ...(user && { user }), ...(team && { team }), ...(tags && { tags }) },
    expiresAt: end,
    ...(models && { checkModel: modelCheck(models, key ? `The key "${key}"` : "This key") }),
  };
}

function modelCheck(models: readonly string[], who: string): (model: string) => void {
  const allows = anyGlob(models);
  const list = models.join(", ").slice(0, 500) || "none";
  return (model) => {
    if (allows(model)) return;
    throw new GatewayError(
      "forbidden",
      `${who} may not ask for the model "${model.slice(0, 200)}"; it may ask for: ${list}`,
      { param: "model" },
    );
  };
}

export function callerOfRecord({ id, revokedAt, ...facts }: KeyRecord): Caller | Refused {
  if (revokedAt !== undefined) return { refused: "This API key was revoked" };
  return callerOf({ key: id, ...facts });
}
