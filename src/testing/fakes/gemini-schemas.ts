import type { GeminiSchema } from "./gemini-types.ts";

/** What the Gemini API has against a schema: of OpenAPI's kind (`parameters`), and of JSON Schema's [G-SDK]. */

/** Each fault as `path: what`. @param path such as `generation_config.response_schema` */
export function openAPIFaults(schema: GeminiSchema, path: string, isRoot = true): string[] {
  const { type, format, items, properties, required = [], anyOf = [] } = schema;
  const faults: string[] = [];
  if (type === undefined && anyOf.length === 0) faults.push(`${path}.type: must be specified`);
  if (type === "ARRAY" && !items) faults.push(`${path}.items: missing field.`);
  // Recorded as accepted at the root: a function without parameters.
  if (type === "OBJECT" && !isRoot && Object.keys(properties ?? {}).length === 0)
    faults.push(`${path}.properties: should be non-empty for OBJECT type`);
  if (schema.enum && type !== "STRING" && type !== "INTEGER") faults.push(`${path}.enum: only allowed for STRING type`);
  for (const [i, value] of (schema.enum ?? []).entries())
    if (value === "") faults.push(`${path}.enum[${i}]: cannot be empty`);
  if (format !== undefined && type === "STRING" && format !== "enum" && format !== "date-time")
    faults.push(`${path}.format: only 'enum' and 'date-time' are supported for STRING type`);
  for (const [i, name] of required.entries())
    if (!Object.hasOwn(properties ?? {}, name)) faults.push(`${path}.required[${i}]: property is not defined`);
  return [
    ...faults,
    ...(items ? openAPIFaults(items, `${path}.items`, false) : []),
    ...anyOf.flatMap((one, i) => openAPIFaults(one, `${path}.any_of[${i}]`, false)),
    ...Object.entries(properties ?? {}).flatMap(([name, one]) =>
      openAPIFaults(one, `${path}.properties[${name}]`, false),
    ),
  ];
}

/** "Only the following properties are supported" [G-SDK]; `default` is not among them, but was accepted [FX-P]. */
const KEYWORDS = new Set([
  "$schema",
  "$id",
  "$defs",
  "$ref",
  "$anchor",
  "type",
  "format",
  "title",
  "description",
  "enum",
  "items",
  "prefixItems",
  "minItems",
  "maxItems",
  "minimum",
  "maximum",
  "anyOf",
  "oneOf",
  "properties",
  "additionalProperties",
  "required",
  "propertyOrdering",
  "default",
]);

/** As `openAPIFaults`, of a JSON Schema. */
export function jsonSchemaFaults(schema: unknown, path: string): string[] {
  if (typeof schema === "boolean") return [];
  if (!isObject(schema)) return [`${path}: must be a JSON Schema`];
  const keys = Object.keys(schema);
  const faults = keys.filter((key) => !KEYWORDS.has(key)).map((key) => `${path}.${key}: keyword is not supported`);
  const beside = schema.$ref === undefined ? undefined : keys.find((key) => !key.startsWith("$"));
  if (beside !== undefined) faults.push(`${path}: $ref cannot be set beside '${beside}'`);
  const named = ["properties", "$defs"].flatMap((key) => Object.entries(isObject(schema[key]) ? schema[key] : {}));
  const lists = ["anyOf", "oneOf", "prefixItems"].flatMap((key) => (Array.isArray(schema[key]) ? schema[key] : []));
  const single = ["items", "additionalProperties"].flatMap((key) => (schema[key] === undefined ? [] : [schema[key]]));
  return [
    ...faults,
    ...named.flatMap(([name, one]) => jsonSchemaFaults(one, `${path}.${name}`)),
    ...[...lists, ...single].flatMap((one) => jsonSchemaFaults(one, path)),
  ];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
