import { GatewayError } from "../../core/errors.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** Reads a value of a caller's request, or refuses it with the path of the field. */
export type Check<T> = (value: unknown, path: string) => T;

export function refuse(path: string, expected: string): GatewayError {
  return new GatewayError("invalid_request", `\`${path}\` must be ${expected}`, { param: path });
}

function check<T>(expected: string, is: (value: unknown) => boolean): Check<T> {
  return (value, path) => {
    if (!is(value)) throw refuse(path, expected);
    return value as T;
  };
}

export const text = check<string>("a string", (value) => typeof value === "string");
export const filled = check<string>("a non-empty string", (value) => typeof value === "string" && value !== "");
export const flag = check<boolean>("a boolean", (value) => typeof value === "boolean");
export const number = check<number>("a number", (value) => Number.isFinite(value));
export const object = check<JsonObject>("an object", isObject);
export const list = check<unknown[]>("an array", Array.isArray);

export function integer(least: number, most = Number.MAX_SAFE_INTEGER): Check<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return check(
    `an integer ${range}`,
    (value) => Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most,
  );
}

export function oneOf<T extends string>(values: readonly T[]): Check<T> {
  return check(`one of ${values.join(", ")}`, (value) => values.includes(value as T));
}

/** `null` counts as absent, as everywhere in this dialect. */
export function optional<T>(value: unknown, path: string, read: Check<T>): T | undefined {
  return value === undefined || value === null ? undefined : read(value, path);
}

/** The members of `value` that are not named, without nulls; `undefined` if there are none. */
export function rest(value: JsonObject, known: ReadonlySet<string>): JsonObject | undefined {
  for (const key in value) if (isUnknown(key, value[key], known)) return unknown(value, known);
  return undefined;
}

function unknown(value: JsonObject, known: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([key, member]) => isUnknown(key, member, known)));
}

function isUnknown(key: string, member: unknown, known: ReadonlySet<string>): boolean {
  return member !== null && member !== undefined && !known.has(key);
}

/** Without the members that are undefined. For names of our own: a caller's may be `__proto__`. */
export function present<T extends object>(members: T): T {
  const kept = {} as T;
  for (const name in members) if (members[name] !== undefined) kept[name] = members[name];
  return kept;
}
