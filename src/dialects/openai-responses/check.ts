import { GatewayError } from "../../core/errors.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** Reads a value of a caller's request, or refuses it with the path of the field. */
export type Check<T> = (value: unknown, path: string) => T;

export function refuse(path: string, expected: string): GatewayError {
  return new GatewayError("invalid_request", `\`${path}\` must be ${expected}`, { param: path });
}

/** What needs a store of answers, which a translated request has not. */
export function unsupported(path: string, what = path): GatewayError {
  return new GatewayError("invalid_request", `\`${what}\` is not supported by this route`, { param: path });
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
export const number = check<number>("a number", Number.isFinite);
export const object = check<JsonObject>("an object", isObject);
export const list = check<unknown[]>("an array", Array.isArray);

export function integer(least: number): Check<number> {
  return check(`an integer of at least ${least}`, (value) => Number.isSafeInteger(value) && Number(value) >= least);
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
  const others = defined(Object.fromEntries(Object.entries(value).filter(([key]) => !known.has(key))));
  return Object.keys(others).length === 0 ? undefined : others;
}

/** Without the members that are null or undefined. */
export function defined<T extends object>(value: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined && member !== null)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
