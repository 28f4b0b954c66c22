import fc from "fast-check";
import type { JsonObject } from "../../src/core/util.ts";
import { record, some } from "./record.ts";

/** JSON Schemas of every keyword that generators of schemas write; `§` marks what must not be lost in silence. */

const scalar = fc.constantFrom<unknown>("§", 7, true, null, -1.5);
const described = { title: some(fc.constant("§")), description: some(fc.constantFrom("of §", '§ "quoted"\n')) };

const leaf: fc.Arbitrary<JsonObject> = fc.oneof(
  record({
    type: fc.constant("string"),
    ...described,
    minLength: some(fc.nat(3)),
    maxLength: some(fc.constant(40)),
    pattern: some(fc.constantFrom("^§$", "(?=a)b", "\\bword", "^[a-z]+$")),
    format: some(fc.constantFrom("date-time", "uri", "email", "regex", "x-odd")),
    default: some(fc.constant("§")),
  }),
  record({
    type: fc.constantFrom("number", "integer"),
    ...described,
    minimum: some(fc.constant(0)),
    maximum: some(fc.constant(100)),
    exclusiveMinimum: some(fc.constant(-1)),
    multipleOf: some(fc.constant(5)),
  }),
  record({ type: fc.constant("boolean"), ...described }),
  record({ type: some(fc.constant("string")), enum: fc.constant(["a§", "b§"]), ...described }),
  record({ enum: fc.uniqueArray(scalar, { minLength: 1, maxLength: 3 }) }),
  record({ const: scalar, description: some(fc.constant("§")) }),
  fc.constantFrom<JsonObject>(
    { type: ["string", "null"], description: "§" },
    { $ref: "#/$defs/node" },
    { $ref: "#/$defs/node", description: "§" },
    { $ref: "#/definitions/old" },
    {},
    { description: "§" },
    { not: { type: "null" } },
    { type: "array" },
    { type: "object" },
    { type: "object", additionalProperties: { type: "string" } },
    { type: "object", patternProperties: { "^§": { type: "number" } } },
  ),
);

const NAMES = ["a§", "b_§", "with space §", "$§", "type", "properties", "§-ü"];

const { node } = fc.letrec<{ node: JsonObject; object: JsonObject }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    tie("object"),
    record({
      type: fc.constant("array"),
      items: some(tie("node")),
      minItems: some(fc.nat(3)),
      maxItems: some(fc.constant(9)),
      uniqueItems: some(fc.constant(true)),
      description: some(fc.constant("§")),
    }),
    fc
      .tuple(fc.constantFrom("anyOf", "oneOf", "allOf"), fc.array(tie("node"), { minLength: 1, maxLength: 3 }))
      .map(([keyword, list]) => ({ [keyword]: list })),
    fc.array(tie("node"), { minLength: 1, maxLength: 2 }).map((prefixItems) => ({ type: "array", prefixItems })),
  ),
  object: fc
    .record({
      properties: fc.dictionary(fc.constantFrom(...NAMES), tie("node"), { maxKeys: 3 }),
      closed: some(fc.boolean()),
      required: fc.nat(3),
      description: some(fc.constant("§")),
    })
    .map(({ properties, closed, required, description }) => ({
      type: "object",
      properties,
      ...(required > 0 && { required: Object.keys(properties).slice(0, required) }),
      ...(closed !== undefined && { additionalProperties: closed }),
      ...(description !== undefined && { description }),
    })),
}));

/** What tools and outputs are described by: an object, with definitions where it refers to them. */
export const objectSchema: fc.Arbitrary<JsonObject> = fc
  .record({
    properties: fc.dictionary(fc.constantFrom(...NAMES), node, { maxKeys: 3 }),
    closed: some(fc.boolean()),
    all: fc.boolean(),
    $schema: some(fc.constant("https://json-schema.org/draft/2020-12/schema")),
    recursive: fc.boolean(),
  })
  .map(({ properties, closed, all, $schema, recursive }) => {
    const text = JSON.stringify(properties);
    const next = recursive ? { next: { $ref: "#/$defs/node" } } : {};
    const node = { type: "object", properties: { name: { type: "string", description: "§" }, ...next } };
    return {
      ...($schema && { $schema }),
      type: "object",
      properties,
      ...(all && { required: Object.keys(properties) }),
      ...(closed !== undefined && { additionalProperties: closed }),
      ...(text.includes("#/$defs/node") && { $defs: { node } }),
      ...(text.includes("#/definitions/old") && { definitions: { old: { type: "string", description: "§" } } }),
    };
  });

/** Roots that are no plain object, beside those. */
export const anySchema: fc.Arbitrary<JsonObject> = fc.oneof(
  { weight: 6, arbitrary: objectSchema },
  { weight: 1, arbitrary: fc.constantFrom<JsonObject>({}, { type: "object" }, { type: "object", properties: {} }) },
  { weight: 1, arbitrary: fc.constant<JsonObject>({ anyOf: [{ type: "object", properties: { "a§": {} } }, {}] }) },
);
