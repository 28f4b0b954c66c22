import { GatewayError } from "../../core/errors.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** What a field of a caller's request must be. */
export interface Kind<T> {
  expected: string;
  is(value: unknown): value is T;
}

const kind = <T>(expected: string, is: (value: unknown) => boolean): Kind<T> => ({
  expected,
  is: is as (value: unknown) => value is T,
});

export const string = kind<string>("a string", (value) => typeof value === "string");
export const filled = kind<string>("a non-empty string", (value) => typeof value === "string" && value !== "");
export const flag = kind<boolean>("a boolean", (value) => typeof value === "boolean");
export const number = kind<number>("a finite number", Number.isFinite);
export const count = kind<number>(
  "an integer of at least 0",
  (value) => Number.isSafeInteger(value) && Number(value) >= 0,
);
export const object = kind<JsonObject>("an object", isObject);
export const list = kind<unknown[]>("an array", Array.isArray);
export const strings = kind<string[]>("an array of strings", (value) => Array.isArray(value) && value.every(string.is));

export function oneOf<T extends string>(...values: T[]): Kind<T> {
  return kind(`one of ${values.join(", ")}`, (value) => values.includes(value as T));
}

export function refuse(path: string, problem: string): GatewayError {
  return new GatewayError("invalid_request", `\`${path}\` ${problem}`, { param: path });
}

const join = (path: string, key: string) => (path === "" ? key : `${path}.${key}`);

/** A field that must be there. `path` is the path of `from`; it is put together only for the error. */
export function need<T>(from: JsonObject, key: string, path: string, what: Kind<T>): T {
  const value = from[key];
  if (what.is(value)) return value;
  const missing = value === undefined || value === null;
  throw refuse(join(path, key), `${missing ? "is required and " : ""}must be ${what.expected}`);
}

/** A field that may be left out or null. */
export function maybe<T>(from: JsonObject, key: string, path: string, what: Kind<T>): T | undefined {
  const value = from[key];
  if (value === undefined || value === null) return undefined;
  if (what.is(value)) return value;
  throw refuse(join(path, key), `must be ${what.expected}`);
}

/** One item of a list. */
export function item<T>(value: unknown, path: string, what: Kind<T>): T {
  if (what.is(value)) return value;
  throw refuse(path, `must be ${what.expected}`);
}

/**
 * Without the members that are undefined; a copy, because objects with deleted members are slow. For names of our own:
 * a caller's may be `__proto__`.
 */
export function present<T extends object>(members: T): T {
  const kept = {} as T;
  for (const name in members) if (members[name] !== undefined) kept[name] = members[name];
  return kept;
}

/** The members that are not named: what this codec does not know and keeps as it is. */
export function others(value: JsonObject, known: ReadonlySet<string>): JsonObject {
  for (const key in value) if (!known.has(key)) return unknown(value, known);
  return {};
}

function unknown(value: JsonObject, known: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !known.has(key)));
}

export function isEmpty(value: object): boolean {
  for (const _ in value) return false;
  return true;
}
