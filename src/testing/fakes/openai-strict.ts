/** What OpenAI has against the JSON Schema of a function or an output [wire.md §8.4; wordings as quoted in reports]. */

type Schema = Record<string, unknown>;

/** Not permitted with `strict: true` [O-SDK lib/transform]. `default` is, as recorded [FX-V openai-reasoning]. */
const FORBIDDEN = [
  ...["allOf", "oneOf", "not", "if", "then", "else", "prefixItems", "patternProperties", "propertyNames"],
  ...["dependencies", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"],
  ...["minProperties", "maxProperties", "uniqueItems", "contains", "minContains", "maxContains"],
  ...["contentEncoding", "contentMediaType", "contentSchema", "$anchor", "$dynamicAnchor", "$dynamicRef"],
];

/** The first thing wrong, in OpenAI's words (without the head that names the schema), or undefined. */
export function schemaFault(schema: unknown, strict: boolean): string | undefined {
  if (!isObject(schema) || schema.type !== "object") {
    const type = isObject(schema) && typeof schema.type === "string" ? schema.type : "None";
    return `schema must be a JSON Schema of 'type: "object"', got 'type: "${type}"'.`;
  }
  return faultAt(schema, [], strict);
}

function faultAt(schema: Schema, path: readonly string[], strict: boolean): string | undefined {
  const own = plainFault(schema) ?? (strict ? strictFault(schema) : undefined);
  if (own !== undefined) return `In context=(${path.map((key) => `'${key}'`).join(", ")}), ${own}`;
  for (const [keys, inner] of subschemas(schema)) {
    const fault = faultAt(inner, [...path, ...keys], strict);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function plainFault(schema: Schema): string | undefined {
  if (schema.type === "object" && schema.properties === undefined) return "object schema missing properties.";
  if (schema.type === "array" && schema.items === undefined) return "array schema missing items.";
  return undefined;
}

function strictFault(schema: Schema): string | undefined {
  const forbidden = FORBIDDEN.find((key) => schema[key] !== undefined);
  if (forbidden) return `'${forbidden}' is not permitted.`;
  if (schema.$ref !== undefined) {
    const beside = Object.keys(schema).filter((key) => !key.startsWith("$"));
    return beside.length > 0 ? `$ref cannot have keywords {${beside.map((key) => `'${key}'`).join(", ")}}.` : undefined;
  }
  if (["type", "anyOf", "enum", "const"].every((key) => schema[key] === undefined))
    return "schema must have a 'type' key.";
  return [schema.type].flat().includes("object") ? objectFault(schema) : undefined;
}

function objectFault(schema: Schema): string | undefined {
  if (schema.additionalProperties !== false)
    return "'additionalProperties' is required to be supplied and to be false.";
  const required = Array.isArray(schema.required) ? schema.required : [];
  const names = Object.keys(isObject(schema.properties) ? schema.properties : {});
  const missing = names.find((name) => !required.includes(name));
  if (missing !== undefined)
    return `'required' is required to be supplied and to be an array including every key in properties. Missing '${missing}'.`;
  const extra = required.find((name) => !names.includes(name));
  return extra === undefined
    ? undefined
    : `'required' is required to be supplied and to be an array including every key in properties. Extra required key '${extra}' supplied.`;
}

function subschemas(schema: Schema): [path: string[], schema: Schema][] {
  const named = ["properties", "$defs", "definitions"].flatMap((key) =>
    Object.entries(isObject(schema[key]) ? schema[key] : {}).map(([name, inner]) => [[key, name], inner]),
  );
  const alternatives = Array.isArray(schema.anyOf) ? schema.anyOf.map((inner, i) => [["anyOf", String(i)], inner]) : [];
  const all = [...named, ...alternatives, [["items"], schema.items]] as [string[], unknown][];
  return all.filter((entry): entry is [string[], Schema] => isObject(entry[1]));
}

function isObject(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
