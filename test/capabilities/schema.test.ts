import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { anthropic, openai } from "turnpike/providers";
import { describe, expect, test } from "vitest";
import { adaptSchema } from "../../src/capabilities/fit/schema.ts";
import type { SchemaRules } from "../../src/core/provider.ts";
import { isObject, type JsonObject } from "../../src/core/util.ts";

/** As Gemini documents its `*JsonSchema` fields; `oneOf` it reads as `anyOf` [G-SDK]. */
const GEMINI: SchemaRules = {
  of: "all",
  accepted: [
    ...["$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"],
    ...["minItems", "maxItems", "minimum", "maximum", "anyOf", "properties", "additionalProperties"],
    ...["required", "propertyOrdering"],
  ],
  values: {
    enum: (values) => Array.isArray(values) && values.every((v) => typeof v === "string" || typeof v === "number"),
  },
  formats: ["enum", "date-time"],
  constAsEnum: true,
  bareRefs: true,
};
const RULES = {
  anthropic: anthropic({ apiKey: "k" }).capabilities("claude-opus-5-5").schemas!,
  openai: openai({ apiKey: "k" }).capabilities("gpt-5.5").schemas!,
  gemini: GEMINI,
  anything: {},
} satisfies Record<string, SchemaRules>;
type Name = keyof typeof RULES;
const adapt = (name: Name, schema: JsonObject) => adaptSchema(schema, RULES[name]);

describe("a schema for Anthropic", () => {
  test("is closed, and what cannot be held to is told in words", () => {
    const { schema, changes, problem } = adapt("anthropic", {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: {
        age: { type: "integer", minimum: 0, maximum: 150, description: "In years." },
        mail: { type: "string", format: "email", minLength: 3 },
        site: { type: "string", format: "uri-template" },
        tags: { type: "array", items: { type: "string" }, minItems: 2 },
        some: { type: "array", items: { type: "string" }, minItems: 1 },
        plain: { type: "string", pattern: "^[a-z]+$" },
        hard: { type: "string", pattern: "^(?!x)" },
      },
      required: ["age"],
    });
    expect(problem).toBeUndefined();
    expect(schema).toEqual({
      type: "object",
      properties: {
        age: { type: "integer", description: "In years.\n\n{minimum: 0, maximum: 150}" },
        mail: { type: "string", format: "email", description: "{minLength: 3}" },
        site: { type: "string", description: '{format: "uri-template"}' },
        tags: { type: "array", items: { type: "string" }, description: "{minItems: 2}" },
        some: { type: "array", items: { type: "string" }, minItems: 1 },
        plain: { type: "string", pattern: "^[a-z]+$" },
        hard: { type: "string", description: '{pattern: "^(?!x)"}' },
      },
      required: ["age"],
      additionalProperties: false,
    });
    expect(changes).toEqual([
      { keyword: "$schema", kind: "ignored" },
      ...["minimum", "maximum", "minLength", "format", "minItems", "pattern"].map((keyword) => ({
        keyword,
        kind: "adjusted",
        to: "description",
      })),
      { keyword: "additionalProperties", kind: "added", to: "false" },
    ]);
  });

  test.each<[string, JsonObject]>([
    [
      "refers to itself",
      { $defs: { n: { type: "object", properties: { next: { $ref: "#/$defs/n" } } } }, $ref: "#/$defs/n" },
    ],
    ["refers to its root", { type: "object", properties: { child: { $ref: "#" } } }],
    ["any keys", { type: "object", additionalProperties: { type: "string" } }],
    ["any keys", { type: "object", properties: { meta: { type: "object" } } }],
    ["any type", { type: "object", properties: { anything: {} } }],
    ["any type", { type: "object", properties: { far: { $ref: "https://example.com/x.json" } } }],
    ["a list of anything", { type: "object", properties: { list: { type: "array" } } }],
    [
      "puts an object together",
      { type: "object", properties: { a: { type: "string" } }, anyOf: [{ required: ["a"] }] },
    ],
    [
      "puts an object together",
      {
        allOf: [
          { type: "object", properties: {} },
          { type: "object", properties: {} },
        ],
      },
    ],
    ["twice", { type: "object", properties: { a: { minLength: 1, allOf: [{ type: "string", minLength: 3 }] } } }],
    ["requires `b`", { type: "object", properties: {}, required: ["b"] }],
  ])("that %s cannot be held to, and stays as it was: %j", (why, schema) => {
    const adapted = adapt("anthropic", schema);
    expect(adapted.problem).toContain(why.replace("refers to its root", "refers to itself"));
    expect(adapted.schema).toEqual(schema);
  });

  test("shares definitions without being recursive", () => {
    const point = { type: "object", properties: { x: { type: "number" } }, required: ["x"] };
    const schema = {
      type: "object",
      properties: { a: { $ref: "#/$defs/p" }, b: { $ref: "#/$defs/p" } },
      $defs: { p: point },
    };
    expect(adapt("anthropic", schema)).toMatchObject({
      schema: { additionalProperties: false, $defs: { p: { additionalProperties: false } } },
    });
  });

  test("has no empty allOf around one schema, and anyOf for oneOf", () => {
    const named = { type: "string", allOf: [{ type: "string" }], description: "A name." };
    const { schema, changes } = adapt("anthropic", {
      type: "object",
      properties: { named, either: { oneOf: [{ type: "string" }, { type: "null" }] } },
    });
    expect(schema.properties).toEqual({
      named: { type: "string", description: "A name." },
      either: { anyOf: [{ type: "string" }, { type: "null" }] },
    });
    expect(changes).toContainEqual({ keyword: "oneOf", kind: "moved", to: "anyOf" });
  });
});

describe("a strict schema for OpenAI", () => {
  test("requires everything; what was optional may be null", () => {
    const { schema, changes } = adapt("openai", {
      type: "object",
      properties: {
        a: { type: "string" },
        b: { type: "string", minLength: 2 },
        c: { enum: ["x", "y"] },
        d: { anyOf: [{ type: "string" }, { type: "null" }] },
        e: { $ref: "#/$defs/e" },
      },
      required: ["a"],
      additionalProperties: true,
      $defs: { e: { type: "integer" } },
    });
    expect(schema).toEqual({
      type: "object",
      properties: {
        a: { type: "string" },
        b: { type: ["string", "null"], minLength: 2 },
        c: { anyOf: [{ enum: ["x", "y"] }, { type: "null" }] },
        d: { anyOf: [{ type: "string" }, { type: "null" }] },
        e: { anyOf: [{ $ref: "#/$defs/e" }, { type: "null" }] },
      },
      required: ["a", "b", "c", "d", "e"],
      additionalProperties: false,
      $defs: { e: { type: "integer" } },
    });
    expect(changes).toEqual([
      { keyword: "additionalProperties", kind: "adjusted", to: "false" },
      { keyword: "required", kind: "moved", to: "nullable" },
    ]);
  });

  test("has an object as its root, also where that is only referred to", () => {
    expect(adapt("openai", { type: "array", items: { type: "string" } }).problem).toContain("root");
    const inner = { type: "object", properties: { a: { type: "string" } }, required: ["a"] };
    expect(adapt("openai", { $ref: "#/definitions/A", definitions: { A: inner } })).toMatchObject({
      schema: { type: "object", required: ["a"] },
    });
  });

  test("that complies already is not changed", () => {
    const schema = {
      type: "object",
      properties: { a: { type: "string", pattern: "x" }, b: { type: ["number", "null"], minimum: 1, default: 3 } },
      required: ["a", "b"],
      additionalProperties: false,
    };
    expect(adapt("openai", schema)).toEqual({ schema, changes: [] });
  });
});

test("a schema for Gemini: const as enum, draft-07 definitions as $defs, other keywords in words", () => {
  const { schema } = adapt("gemini", {
    $schema: "http://json-schema.org/draft-07/schema#",
    type: "object",
    properties: {
      kind: { const: "a" },
      at: { type: "string", format: "date" },
      ref: { $ref: "#/definitions/D", description: "dropped beside a $ref" },
      map: { type: "object", additionalProperties: { type: "string", default: "x" } },
    },
    definitions: { D: { type: "string", pattern: "x" } },
  });
  expect(schema).toEqual({
    type: "object",
    properties: {
      kind: { enum: ["a"] },
      at: { type: "string", description: '{format: "date"}' },
      ref: { $ref: "#/$defs/D" },
      map: { type: "object", additionalProperties: { type: "string", description: '{default: "x"}' } },
    },
    $defs: { D: { type: "string", description: '{pattern: "x"}' } },
  });
});

test("a target that takes any schema gets it as it is, without the address of its generator", () => {
  const schema = { type: "object", patternProperties: { x: { not: {} } }, if: {}, $defs: { a: { $comment: "stays" } } };
  expect(adapt("anything", schema).schema).toEqual({ ...schema, $defs: { a: {} } });
  expect(adapt("anything", { $schema: "x", $id: "https://a/b", ...schema }).changes).toContainEqual({
    keyword: "$id",
    kind: "ignored",
  });
  const byId = { $id: "https://a/b", type: "object", properties: { c: { $ref: "https://a/b" } } };
  expect(adapt("anything", byId).schema).toEqual(byId);
});

/* Properties, for arbitrary schemas and values that are valid under them. */

interface Case {
  schema: JsonObject;
  value: unknown;
}

const text = fc.constantFrom("", "a", "abc", "x".repeat(9));
const maybe = <T extends object>(members: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(members, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;
const notes = maybe({
  title: text,
  description: text,
  $comment: text,
  default: fc.constant("d"),
  examples: fc.constant(["e"]),
  "x-vendor": fc.boolean(),
});

const leaf: fc.Arbitrary<Case> = fc.oneof(
  fc
    .tuple(
      text,
      maybe({
        minLength: fc.nat(2),
        maxLength: fc.integer({ min: 8, max: 9 }),
        pattern: fc.constantFrom(".*", "(?!zz)"),
      }),
    )
    .map(([value, more]) => ({ schema: { type: "string", ...more }, value })),
  fc.constantFrom(["date", "2026-01-01"], ["uri", "https://a.b"], ["regex", "a"]).map(([format, value]) => ({
    schema: { type: "string", format },
    value,
  })),
  fc
    .tuple(
      fc.integer({ min: -9, max: 9 }),
      maybe({ minimum: fc.integer({ min: -9, max: 0 }), maximum: fc.nat(9), multipleOf: fc.constantFrom(1, 2) }),
    )
    .map(([value, more]) => ({ schema: { type: "integer", ...more }, value })),
  fc.constantFrom("a", 1, true, null).map((value) => ({ schema: { const: value }, value })),
  fc.constantFrom<unknown>("a", 1, null, { deep: 1 }).map((value) => ({ schema: { enum: [value, "b"] }, value })),
  fc.boolean().map((value) => ({ schema: { type: "boolean" }, value })),
  fc.constant({ schema: { type: ["string", "null"] }, value: null }),
);

const cases: fc.Arbitrary<Case> = fc.letrec<{ any: Case }>((tie) => {
  const list = fc
    .tuple(tie("any"), fc.nat(2), maybe({ minItems: fc.nat(2), maxItems: fc.constant(9), uniqueItems: fc.boolean() }))
    .map(([item, count, more]) => ({
      schema: { type: "array", items: item.schema, ...more },
      value: Array(count).fill(item.value),
    }));
  const object = fc
    .tuple(
      fc.dictionary(
        fc.constantFrom("a", "b", "type", "enum", "$ref"),
        fc.tuple(tie("any"), fc.constantFrom("required", "given", "left out")),
        {
          maxKeys: 4,
        },
      ),
      maybe({
        additionalProperties: fc.constantFrom(true, false),
        minProperties: fc.nat(1),
        maxProperties: fc.constant(9),
        propertyNames: fc.constant({ maxLength: 9 }),
        patternProperties: fc.constant({ "^z": { type: "string" } }),
        not: fc.constant({ required: ["zz"] }),
        if: fc.constant({ required: ["zz"] }),
        dependentRequired: fc.constant({ zz: ["a"] }),
      }),
    )
    .map(([members, more]) => {
      const entries = Object.entries(members);
      const required = entries.filter(([, [, how]]) => how === "required").map(([name]) => name);
      return {
        schema: {
          type: "object",
          properties: Object.fromEntries(entries.map(([name, [{ schema }]]) => [name, schema])),
          ...(required.length > 0 && { required }),
          ...more,
        },
        value: Object.fromEntries(
          entries.flatMap(([name, [{ value }, how]]) => (how === "left out" ? [] : [[name, value]])),
        ),
      };
    });
  const choice = fc
    .tuple(fc.constantFrom("anyOf", "oneOf", "allOf"), tie("any"), leaf)
    .map(([keyword, { schema, value }, other]) => ({
      schema: { [keyword]: keyword === "allOf" ? [schema] : [schema, other.schema] },
      value,
    }));
  const referred = tie("any").map(({ schema, value }) => ({
    schema: { $ref: "#/$defs/shared", description: "beside", $shared: schema },
    value,
  }));
  return {
    any: fc
      .tuple(fc.oneof({ maxDepth: 3, depthIdentifier: "schema" }, leaf, object, list, choice, referred), notes)
      .map(([{ schema, value }, more]) => ({ schema: { ...more, ...schema }, value })),
  };
}).any;

/** Schemas marked as shared become definitions of the whole. */
function hoist({ schema, value }: Case): Case {
  const $defs: JsonObject = {};
  const visit = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(visit);
    if (!isObject(node)) return node;
    const { $shared, ...rest } = node;
    if ($shared === undefined)
      return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, visit(inner)]));
    const name = `s${Object.keys($defs).length}`;
    $defs[name] = true;
    $defs[name] = visit($shared);
    return { ...rest, $ref: `#/$defs/${name}` };
  };
  const whole = visit(schema) as JsonObject;
  return { schema: Object.keys($defs).length > 0 ? { ...whole, $defs } : whole, value };
}

const ajv = new Ajv2020({ strict: false, validateFormats: false, logger: false });
const isValid = (schema: JsonObject, value: unknown) => ajv.validate(schema, value);

/** Each keyword where it stands as a keyword, with its value. @param closed not looked into */
function keywordsOf(
  schema: unknown,
  found: [string, unknown, JsonObject][] = [],
  closed: readonly string[] = [],
): [string, unknown, JsonObject][] {
  if (!isObject(schema)) return found;
  for (const [keyword, value] of Object.entries(schema)) {
    found.push([keyword, value, schema]);
    if (closed.includes(keyword)) continue;
    if (
      ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"].includes(keyword) &&
      isObject(value)
    )
      for (const inner of Object.values(value)) keywordsOf(inner, found, closed);
    else if (["anyOf", "oneOf", "allOf", "prefixItems"].includes(keyword))
      for (const inner of value as unknown[]) keywordsOf(inner, found, closed);
    else if (["items", "not", "if", "propertyNames", "additionalProperties", "contains"].includes(keyword))
      keywordsOf(value, found, closed);
  }
  return found;
}

/** The value as a strict target writes it: what may be left out is null. */
function withNulls(schema: unknown, value: unknown, root: JsonObject): unknown {
  if (!isObject(schema)) return value;
  const name = typeof schema.$ref === "string" ? schema.$ref.split("/").at(-1)! : undefined;
  if (name !== undefined) return withNulls((root.$defs as JsonObject)[name], value, root);
  const branches = [...((schema.anyOf as unknown[]) ?? []), ...((schema.allOf as unknown[]) ?? [])];
  const fitting = branches.find((branch) =>
    isValid({ ...(branch as JsonObject), $defs: root.$defs }, withNulls(branch, value, root)),
  );
  if (fitting) return withNulls(fitting, value, root);
  if (Array.isArray(value)) return value.map((item) => withNulls(schema.items, item, root));
  if (!isObject(value) || !isObject(schema.properties)) return value;
  const properties = schema.properties;
  return Object.fromEntries(
    Object.keys(properties).map((key) => [
      key,
      Object.hasOwn(value, key) ? withNulls(properties[key], value[key], root) : null,
    ]),
  );
}

describe.each(Object.keys(RULES) as Name[])("any schema for %s", (name) => {
  const rules: SchemaRules = RULES[name];
  const check = (each: (original: Case, adapted: ReturnType<typeof adapt>) => void) =>
    fc.assert(
      fc.property(cases.map(hoist), (original) => {
        const before = structuredClone(original.schema);
        const adapted = adapt(name, original.schema);
        expect(original.schema).toEqual(before);
        if (adapted.problem === undefined) each(original, adapted);
      }),
      { numRuns: 400 },
    );

  test("holds nothing that the rules do not take", () => {
    check((_, { schema }) => {
      for (const [keyword, value, beside] of keywordsOf(schema)) {
        if (rules.accepted) expect(rules.accepted).toContain(keyword);
        expect(rules.refused ?? []).not.toContain(keyword);
        expect(rules.values?.[keyword]?.(value) ?? true, `${keyword}: ${JSON.stringify(value)}`).toBe(true);
        if (keyword === "format" && rules.formats) expect(rules.formats).toContain(value);
        if (keyword === "$ref" && rules.bareRefs)
          expect(Object.keys(beside).filter((key) => !key.startsWith("$"))).toEqual([]);
        if (keyword === "type" && [value].flat().includes("object") && rules.closedObjects) {
          expect(beside.additionalProperties).toBe(false);
          if (rules.allRequired) expect(beside.required).toEqual(Object.keys(beside.properties as object));
        }
      }
    });
  });

  test("still takes every value that was valid", () => {
    check(({ schema: before, value }, { schema }) => {
      if (!isValid(before, value)) return;
      const written = rules.allRequired ? withNulls(schema, value, schema) : value;
      expect(isValid(schema, written), JSON.stringify({ schema, written })).toBe(true);
    });
  });

  test("is adapted once and for all", () => {
    check((_, { schema }) => {
      expect(adapt(name, schema)).toEqual({ schema, changes: [] });
    });
  });

  test("names every keyword that went, and keeps what cannot be adapted", () => {
    fc.assert(
      fc.property(cases.map(hoist), ({ schema: original }) => {
        const { schema, changes, problem } = adapt(name, original);
        const told = changes.map(({ keyword }) => keyword);
        // What stood in a keyword that went, went with it.
        const before = keywordsOf(original, [], told).map(([keyword]) => keyword);
        const after = keywordsOf(schema).map(([keyword]) => keyword);
        const count = (all: readonly string[], keyword: string) => all.filter((each) => each === keyword).length;
        const gone = [...new Set(before)].filter((keyword) => count(after, keyword) < count(before, keyword));
        expect(told).toEqual(expect.arrayContaining(gone));
        if (problem !== undefined) expect(gone.every((keyword) => keyword.startsWith("$"))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
