/** Where schemas stand in a JSON Schema, so that what is data (`enum`, `const`, `default`) is never taken for one. */
import { isObject, type JsonObject } from "../../core/util.ts";

const ONE = new Set(
  "items additionalItems additionalProperties unevaluatedItems unevaluatedProperties contains propertyNames contentSchema not if then else".split(
    " ",
  ),
);
const LIST = new Set(["allOf", "anyOf", "oneOf", "prefixItems", "items"]);
const MAP = new Set(["properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"]);

/** The keyword's value with every schema in it replaced. What is no schema stays. */
export function mapSchemas(keyword: string, value: unknown, replace: (schema: unknown) => unknown): unknown {
  if (LIST.has(keyword) && Array.isArray(value)) return value.map(replace);
  if (MAP.has(keyword) && isObject(value))
    return Object.fromEntries(Object.entries(value).map(([name, schema]) => [name, replace(schema)]));
  return ONE.has(keyword) ? replace(value) : value;
}

/** The schema and all that stand in it. */
export function* schemasIn(schema: unknown): Generator<JsonObject> {
  if (!isObject(schema)) return;
  yield schema;
  const inner: unknown[] = [];
  for (const [keyword, value] of Object.entries(schema)) mapSchemas(keyword, value, (child) => inner.push(child));
  for (const child of inner) yield* schemasIn(child);
}

/** A reference within the same document. */
export function isLocal(ref: unknown): boolean {
  return typeof ref === "string" && ref.startsWith("#");
}

/** What a local reference points to. */
export function resolve(root: JsonObject, pointer: string): unknown {
  let at: unknown = root;
  for (const step of pointer.split("/").slice(1)) {
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
    at = isObject(at) || Array.isArray(at) ? (at as JsonObject)[key] : undefined;
  }
  return at;
}

/** Whether following the references comes back to where it began. */
export function isRecursive(root: JsonObject): boolean {
  const open = new Set<string>();
  const done = new Set<string>();
  const visit = (pointer: string): boolean => {
    if (open.has(pointer)) return true;
    if (done.has(pointer)) return false;
    open.add(pointer);
    const refs = [...schemasIn(resolve(root, pointer))].flatMap(({ $ref }) => (isLocal($ref) ? [$ref as string] : []));
    const found = refs.some(visit);
    open.delete(pointer);
    done.add(pointer);
    return found;
  };
  return visit("#");
}

/** What makes a schema costly to enforce, counted. */
export function complexity(root: JsonObject): { optional: number; unions: number } {
  let optional = 0;
  let unions = 0;
  for (const schema of schemasIn(root)) {
    const required = new Set(Array.isArray(schema.required) ? schema.required : []);
    if (isObject(schema.properties))
      optional += Object.keys(schema.properties).filter((key) => !required.has(key)).length;
    if (Array.isArray(schema.anyOf) || (Array.isArray(schema.type) && schema.type.length > 1)) unions++;
  }
  return { optional, unions };
}
