/** Google's reading of JSON into protobuf messages: closed, in either case, with their wording of what does not fit. */

export type Field =
  | "string"
  | "bool"
  | "int"
  | "float"
  | "bytes"
  /** Any object. */
  | "struct"
  /** Anything, taken as it is. */
  | "value"
  | { readonly enum: string; readonly values: readonly string[] }
  | { readonly list: Field }
  | { readonly map: Field }
  | { readonly message: () => Message };

export interface Message {
  /** The full name within the package. */
  readonly name: string;
  /** By camelCase name; JSON may say it in snake_case. */
  readonly fields: Readonly<Record<string, Field>>;
  /** A name and those fields of which only one may be set. */
  readonly oneof?: readonly [name: string, fields: readonly string[]];
}

export interface Violation {
  /** In snake_case; absent at the top. */
  field?: string;
  description: string;
}

const PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta.";

/** The message in camelCase, without nulls, enums in capitals; and everything that is wrong with it. */
export function readProto(message: Message, value: unknown): { value: unknown; violations: Violation[] } {
  const reader = new Reader();
  return { value: reader.message(message, value, ""), violations: reader.violations };
}

class Reader {
  readonly violations: Violation[] = [];

  message(message: Message, value: unknown, path: string): unknown {
    if (!isObject(value)) return this.#invalid(path, PACKAGE + message.name, value);
    const read: Record<string, unknown> = {};
    for (const [key, inner] of Object.entries(value)) {
      const name = camel(key);
      const field = Object.hasOwn(message.fields, name) ? message.fields[name] : undefined;
      if (!field) this.#unknown(key, path, "Cannot find field.");
      else if (inner === null && field !== "value") continue;
      else if (Array.isArray(inner) && !isList(field) && field !== "value")
        this.#unknown(key, path, "Proto field is not repeating, cannot start list.");
      else {
        this.#checkOneof(message, name, read, path);
        read[name] = this.#field(field, inner, join(path, snake(name)));
      }
    }
    return read;
  }

  #field(field: Field, value: unknown, path: string): unknown {
    if (typeof field === "string") return this.#scalar(field, value, path);
    if ("message" in field) return this.message(field.message(), value, path);
    if ("enum" in field) {
      const known = field.values.find((one) => one === String(value).toUpperCase());
      return known ?? this.#invalid(path, PACKAGE + field.enum, value);
    }
    // A single element does for a list.
    if ("list" in field)
      return Array.isArray(value)
        ? value.map((one, i) => this.#field(field.list, one, `${path}[${i}]`))
        : [this.#field(field.list, value, path)];
    if (!isObject(value)) return this.#invalid(path, "Map", value);
    const entries = Object.entries(value);
    return Object.fromEntries(
      entries.map(([key, one], i) => [key, this.#field(field.map, one, `${path}[${i}].value`)]),
    );
  }

  #scalar(type: Exclude<Field, object>, value: unknown, path: string): unknown {
    const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    if (type === "value" || (type === "struct" && isObject(value))) return value;
    if (type === "string" && typeof value === "string") return value;
    if (type === "bool" && typeof value === "boolean") return value;
    if (type === "float" && typeof number === "number" && Number.isFinite(number)) return number;
    if (type === "int" && Number.isInteger(number)) return number;
    if (type === "bytes" && typeof value === "string") {
      if (/^[A-Za-z0-9+/_-]*={0,2}$/.test(value)) return value;
      return this.#violate(
        path,
        `Invalid value at '${path}' (TYPE_BYTES), Base64 decoding failed for ${JSON.stringify(value)}`,
      );
    }
    return this.#invalid(path, TYPES[type] ?? "", value);
  }

  #checkOneof({ oneof }: Message, name: string, read: object, path: string): void {
    if (!oneof?.[1].includes(name) || !oneof[1].some((other) => other in read)) return;
    const rule = `oneof field '${oneof[0]}' is already set. Cannot set '${name}'`;
    this.#violate(path, `Invalid value at '${path}' (oneof), ${rule}`);
  }

  #unknown(key: string, path: string, why: string): void {
    const at = path === "" ? "" : ` at '${path}'`;
    this.#violate(path, `Invalid JSON payload received. Unknown name ${JSON.stringify(key)}${at}: ${why}`);
  }

  #invalid(path: string, type: string, value: unknown): undefined {
    return this.#violate(path, `Invalid value at '${path}' (${type}), ${JSON.stringify(value)}`);
  }

  #violate(path: string, description: string): undefined {
    this.violations.push({ ...(path !== "" && { field: path }), description });
  }
}

const TYPES: Record<string, string> = {
  string: "TYPE_STRING",
  bool: "TYPE_BOOL",
  int: "TYPE_INT32",
  float: "TYPE_DOUBLE",
  bytes: "TYPE_BYTES",
  struct: "type.googleapis.com/google.protobuf.Struct",
};

const join = (path: string, name: string) => (path === "" ? name : `${path}.${name}`);
const isList = (field: Field) => typeof field === "object" && "list" in field;
const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
