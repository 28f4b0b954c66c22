import { isObject, type JsonObject } from "../../core/util.ts";
import { camel } from "./check.ts";

/** `int64` fields come as strings in proto JSON. */
const WHOLE = ["minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"];

/** The API's own `Schema` (OpenAPI 3.0: upper-case types, `nullable`) as JSON Schema. [G-SDK] */
export function toJsonSchema(value: JsonObject): JsonObject {
  const { type, nullable, properties, propertyOrdering, items, anyOf, example, ...schema } = camel(value);
  if (typeof type === "string" && type !== "TYPE_UNSPECIFIED") schema.type = type.toLowerCase();
  if (isObject(properties)) schema.properties = toProperties(properties, propertyOrdering);
  if (isObject(items)) schema.items = toJsonSchema(items);
  if (Array.isArray(anyOf)) schema.anyOf = anyOf.filter(isObject).map(toJsonSchema);
  if (example !== undefined) schema.examples = [example];
  for (const name of WHOLE) if (typeof schema[name] === "string") schema[name] = Number(schema[name]);
  return nullable === true ? orNull(schema) : schema;
}

function toProperties(properties: JsonObject, ordering: unknown): JsonObject {
  const order = Array.isArray(ordering) ? ordering : [];
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  const entries = Object.entries(properties).sort(([a], [b]) => rank(a) - rank(b));
  return Object.fromEntries(entries.map(([name, schema]) => [name, isObject(schema) ? toJsonSchema(schema) : schema]));
}

function orNull(schema: JsonObject): JsonObject {
  const { type, anyOf, enum: values } = schema;
  return {
    ...schema,
    ...(typeof type === "string" && { type: [type, "null"] }),
    ...(Array.isArray(anyOf) && { anyOf: [...anyOf, { type: "null" }] }),
    ...(Array.isArray(values) && { enum: [...values, null] }),
  };
}
