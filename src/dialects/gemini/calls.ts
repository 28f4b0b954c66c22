import { createHash } from "node:crypto";
import { isObject, type JsonObject } from "../../core/util.ts";

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** Calls often come without an id: the same one for the same call at the same place (wire.md §8.3). */
export function callId(...facts: (string | number)[]): string {
  let number = BigInt(`0x${createHash("sha256").update(JSON.stringify(facts)).digest("hex")}`);
  let id = "toolu_tp_";
  for (let i = 0; i < 12; i++) {
    id += BASE62[Number(number % 62n)];
    number /= 62n;
  }
  return id;
}

/** Arguments that are no object are kept visible, so that the caller's own check of the schema tells the model. */
export function callArgs(json: string): JsonObject {
  if (json.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(json);
    if (isObject(value)) return value;
  } catch {}
  return { __invalid_json: json };
}

/** Which call a response answers: the one with its id, else the first unanswered one of its name. */
export class CallBook {
  readonly #open: { id: string; name: string }[] = [];

  add(id: string, name: string): void {
    this.#open.push({ id, name });
  }

  /** @returns the call's id, or `undefined` if nothing was called like that */
  answer(id: string | undefined, name: string): string | undefined {
    const byId = this.#open.findIndex((call) => call.id === id);
    const at = byId >= 0 ? byId : this.#open.findIndex((call) => call.name === name);
    return at < 0 ? undefined : this.#open.splice(at, 1)[0]!.id;
  }
}
