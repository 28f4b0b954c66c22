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
export const integer = kind<number>("an integer", Number.isSafeInteger);
export const count = kind<number>(
  "an integer of at least 0",
  (value) => Number.isSafeInteger(value) && Number(value) >= 0,
);
export const object = kind<JsonObject>("an object", isObject);
export const list = kind<unknown[]>("an array", Array.isArray);
export const strings = kind<string[]>("an array of strings", (value) => Array.isArray(value) && value.every(string.is));

export function refuse(path: string, problem: string): GatewayError {
  return new GatewayError("invalid_request", `\`${path}\` ${problem}`, { param: path });
}

export const join = (path: string, key: string | number): string => (path === "" ? String(key) : `${path}.${key}`);

/** A field that must be there. `path` is the path of `from`. */
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

/** A message of the API: the wire takes `snake_case` and `camelCase` alike (proto JSON); here is only the latter. */
export function message(value: unknown, path: string): JsonObject {
  if (!isObject(value)) throw refuse(path, "must be an object");
  return camel(value);
}

export function maybeMessage(from: JsonObject, key: string, path: string): JsonObject | undefined {
  const value = from[key];
  return value === undefined || value === null ? undefined : message(value, join(path, key));
}

/** Names of one level; what is below may be the caller's own (arguments, schemas). */
export function camel(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [camelName(key), member]));
}

export const camelName = (name: string): string => name.replace(/(?<=.)_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Without the members that are undefined. */
export function present<T extends object>(members: T): T {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as T;
}

/** The members that are not named and not null: what this codec does not know and keeps as it is. */
export function others(value: JsonObject, known: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(
    Object.entries(value).filter(([key, member]) => !known.has(key) && member !== null && member !== undefined),
  );
}

export function isEmpty(value: object): boolean {
  for (const _ in value) return false;
  return true;
}

export const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

export const objects = (value: unknown): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);
