import type { SchemaRules } from "../../core/provider.ts";
import type { Change } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { isLocal, isRecursive, mapSchemas, resolve, schemasIn } from "./schema-walk.ts";

/** One thing done to a schema, said once however often it was done. */
export interface SchemaChange {
  keyword: string;
  kind: Change["kind"];
  /** What it became; absent: nothing. */
  to?: string;
}

export interface AdaptedSchema {
  schema: JsonObject;
  changes: SchemaChange[];
  /** Why the target cannot hold to the schema whatever is done to it; `schema` is the original then. */
  problem?: string;
}

/** They say where a schema comes from, and nothing of what is valid. */
const METADATA = ["$schema", "$id", "$comment"];

/** Keywords without a bearing on what is valid. */
const ANNOTATIONS = new Set(["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"]);

/** Keywords that put a schema together out of others. */
const COMBINERS = ["allOf", "anyOf", "oneOf", "if", "dependentSchemas", "dependencies"];

function isAnnotation(keyword: string): boolean {
  return ANNOTATIONS.has(keyword) || METADATA.includes(keyword) || keyword.startsWith("x-");
}

class Unfit extends Error {}

/**
 * Writes a schema within the rules of a target. What is valid under both the original and what the target can hold to
 * stays valid: constraints are only taken away (into the description), objects only closed, optional properties only
 * made nullable. Pure, and the same when done twice.
 */
export function adaptSchema(original: JsonObject, rules: SchemaRules): AdaptedSchema {
  const { schema: plain, changes } = plainSchema(original, rules);
  const adapting = new Adapting(rules, [...changes]);
  try {
    if (rules.recursive === false && isRecursive(plain)) throw new Unfit("it refers to itself");
    const schema = adapting.adapt(rules.objectRoot ? rootObject(plain) : plain) as JsonObject;
    if (rules.objectRoot && (schema.type !== "object" || schema.anyOf)) throw new Unfit("its root is no plain object");
    return { schema, changes: adapting.changes };
  } catch (error) {
    if (!(error instanceof Unfit)) throw error;
    return { schema: plain, changes, problem: error.message };
  }
}

/** A schema that a target takes as it is: without `$schema` and the like at its root, where generators put them. */
export function plainSchema(schema: JsonObject, rules: SchemaRules = {}): AdaptedSchema {
  const changes: SchemaChange[] = [];
  let plain = schema;
  for (const keyword of METADATA) {
    if (!Object.hasOwn(schema, keyword) || isReferred(schema, keyword)) continue;
    const { [keyword]: _, ...rest } = plain;
    plain = rest;
    changes.push({ keyword, kind: "ignored" });
  }
  return { schema: rules.explicitShapes ? (explicit(plain) as JsonObject) : plain, changes };
}

/** Says in words of the schema what goes without saying: that objects have properties and lists items. */
function explicit(schema: unknown): unknown {
  if (!isObject(schema)) return schema;
  const inner = Object.entries(schema).map(([keyword, value]) => [keyword, mapSchemas(keyword, value, explicit)]);
  return {
    ...(types(schema).includes("object") && { properties: {} }),
    ...(types(schema).includes("array") && { items: {} }),
    ...Object.fromEntries(inner),
  };
}

/** An id stays where references are made by it. */
function isReferred(schema: JsonObject, keyword: string): boolean {
  return keyword === "$id" && [...schemasIn(schema)].some(({ $ref }) => $ref !== undefined && !isLocal($ref));
}

/** A root that is nothing but a reference, as the schema it refers to. */
function rootObject({ $ref, ...rest }: JsonObject): JsonObject {
  if (!isLocal($ref)) return $ref === undefined ? rest : { $ref, ...rest };
  const target = resolve(rest, $ref as string);
  return isObject(target) ? { ...target, ...rest } : { $ref, ...rest };
}

class Adapting {
  readonly rules: SchemaRules;
  readonly changes: SchemaChange[];

  constructor(rules: SchemaRules, changes: SchemaChange[]) {
    this.rules = rules;
    this.changes = changes;
  }

  adapt = (given: unknown): unknown => {
    const { rules } = this;
    if (!isObject(given)) {
      if (rules.closedObjects && typeof given === "boolean") throw new Unfit("it allows a value of any type");
      return given;
    }
    const source = this.#rewrite(given);
    const problem = rules.closedObjects && describesObject(source) ? openness(source) : undefined;
    if (problem) throw new Unfit(problem);
    const kept: JsonObject = {};
    const moved: JsonObject = {};
    for (const [keyword, value] of Object.entries(source)) {
      if (METADATA.includes(keyword) && !isReferred(source, keyword)) this.#note(keyword, "ignored");
      else if (!this.#accepts(keyword, value, source)) this.#move(keyword, value, moved, source);
      else
        kept[keyword] = keyword === "additionalProperties" && rules.closedObjects ? value : this.#inner(keyword, value);
    }
    if (Object.keys(moved).length > 0) kept.description = described(kept.description, moved);
    if (rules.closedObjects) this.#close(source, kept);
    return kept;
  };

  #inner(keyword: string, value: unknown): unknown {
    return mapSchemas(keyword, value, this.adapt);
  }

  #note(keyword: string, kind: Change["kind"], to?: string): void {
    if (this.changes.some((change) => change.keyword === keyword && change.to === to)) return;
    this.changes.push({ keyword, kind, ...(to !== undefined && { to }) });
  }

  /** Other words for the same. */
  #rewrite(given: JsonObject): JsonObject {
    const { closedObjects, constAsEnum } = this.rules;
    const [only, ...others] = list(given.allOf);
    if (closedObjects && isObject(only) && others.length === 0) {
      this.#note("allOf", "moved", "its only schema");
      for (const keyword of Object.keys(only).filter((name) => Object.hasOwn(given, name))) {
        if (isAnnotation(keyword)) this.#note(keyword, "ignored");
        else if (JSON.stringify(only[keyword]) !== JSON.stringify(given[keyword]))
          throw new Unfit(`it says \`${keyword}\` twice of one value`);
      }
      const { allOf: _, ...rest } = given;
      return this.#rewrite({ ...only, ...rest });
    }
    let schema = given;
    if (constAsEnum && schema.const === null && schema.type === undefined) {
      schema = this.#rename(schema, "const", "type", "null");
    } else if (constAsEnum && schema.const !== undefined && schema.enum === undefined) {
      schema = this.#rename(schema, "const", "enum", [schema.const]);
    }
    if (schema.anyOf === undefined) schema = this.#renameRefused(schema, "oneOf", "anyOf");
    if (schema.$defs === undefined) schema = this.#renameRefused(schema, "definitions", "$defs");
    if (typeof schema.$ref === "string" && !this.#accepts("definitions", {}, {}))
      schema = { ...schema, $ref: schema.$ref.replace(/^#\/definitions\//, "#/$defs/") };
    return schema;
  }

  #renameRefused(schema: JsonObject, from: string, to: string): JsonObject {
    const value = schema[from];
    const possible = value !== undefined && !this.#accepts(from, value, {}) && this.#accepts(to, value, {});
    return possible ? this.#rename(schema, from, to, value) : schema;
  }

  #rename(schema: JsonObject, from: string, to: string, value: unknown): JsonObject {
    this.#note(from, "moved", to);
    const { [from]: _, ...rest } = schema;
    return { ...rest, [to]: value };
  }

  #accepts(keyword: string, value: unknown, beside: JsonObject): boolean {
    const { accepted, refused, values, formats, bareRefs } = this.rules;
    if (bareRefs && beside.$ref !== undefined && !keyword.startsWith("$") && keyword !== "definitions") return false;
    if (accepted ? !accepted.includes(keyword) : refused?.includes(keyword)) return false;
    if (keyword === "format" && formats && !formats.includes(value as string)) return false;
    return values?.[keyword]?.(value) ?? true;
  }

  #move(keyword: string, value: unknown, moved: JsonObject, source: JsonObject): void {
    const says = isAnnotation(keyword);
    if (this.rules.bareRefs && source.$ref !== undefined) return this.#note(keyword, says ? "ignored" : "dropped");
    this.#note(keyword, says ? "moved" : "adjusted", "description");
    moved[keyword] = value;
  }

  /** Objects say all of their properties, and nothing is left open. */
  #close(source: JsonObject, kept: JsonObject): void {
    if (kept.$ref !== undefined) return;
    if (!SHAPES.some((keyword) => kept[keyword] !== undefined)) throw new Unfit("it allows a value of any type");
    if (types(kept).includes("array") && kept.items === undefined && kept.prefixItems === undefined)
      throw new Unfit("it allows a list of anything");
    if (Array.isArray(kept.allOf) && kept.allOf.some((part) => isObject(part) && (part.$ref || describesObject(part))))
      throw new Unfit("it puts an object together with `allOf`");
    if (!describesObject(source)) return;
    if (kept.type === undefined) {
      kept.type = "object";
      this.#note("type", "added", "object");
    }
    kept.properties ??= {};
    if (kept.additionalProperties !== false) {
      this.#note("additionalProperties", kept.additionalProperties === true ? "adjusted" : "added", "false");
      kept.additionalProperties = false;
    }
    if (this.rules.allRequired) this.#requireAll(kept);
  }

  #requireAll(kept: JsonObject): void {
    const required = new Set(list(kept.required));
    const properties = Object.entries(kept.properties as JsonObject);
    if (properties.some(([name, schema]) => !required.has(name) && !takesNull(schema))) {
      this.#note("required", "moved", "nullable");
    }
    kept.properties = Object.fromEntries(
      properties.map(([name, schema]) => [name, required.has(name) || !isObject(schema) ? schema : nullable(schema)]),
    );
    kept.required = properties.map(([name]) => name);
  }
}

/** Any of them says what a value may be. */
const SHAPES = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "properties"];

function types({ type }: JsonObject): unknown[] {
  return Array.isArray(type) ? type : [type];
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function describesObject(schema: JsonObject): boolean {
  return types(schema).includes("object") || (schema.type === undefined && isObject(schema.properties));
}

/** Why an object cannot be closed without losing what it is for. */
function openness(schema: JsonObject): string | undefined {
  const { properties, additionalProperties, patternProperties, required } = schema;
  const named = isObject(properties) ? Object.keys(properties) : undefined;
  if (isObject(additionalProperties) || patternProperties !== undefined) return "it has an object of any keys";
  if (additionalProperties !== false && (!named || (additionalProperties === true && named.length === 0)))
    return "it has an object of any keys";
  const combiner = COMBINERS.find((keyword) => schema[keyword] !== undefined);
  if (combiner) return `it puts an object together with \`${combiner}\``;
  const unnamed = list(required).find((name) => !named?.includes(name as string));
  return unnamed === undefined ? undefined : `it requires \`${unnamed}\`, which is no property`;
}

function takesNull(schema: unknown): boolean {
  if (!isObject(schema)) return schema === true;
  const { enum: values, const: value, anyOf } = schema;
  if (Array.isArray(values))
    return values.includes(null) && (schema.type === undefined || types(schema).includes("null"));
  if (value !== undefined) return value === null;
  return types(schema).includes("null") || list(anyOf).some(takesNull);
}

function nullable(schema: JsonObject): JsonObject {
  if (takesNull(schema)) return schema;
  const simple = schema.type !== undefined && schema.enum === undefined && schema.const === undefined;
  return simple && schema.anyOf === undefined
    ? { ...schema, type: [...types(schema), "null"] }
    : { anyOf: [schema, { type: "null" }] };
}

/** The words of a schema, with what it can no longer say otherwise. */
function described(description: unknown, moved: JsonObject): string {
  const said = Object.entries(moved).map(([keyword, value]) => `${keyword}: ${JSON.stringify(value)}`);
  return [...(typeof description === "string" ? [description] : []), `{${said.join(", ")}}`].join("\n\n");
}
