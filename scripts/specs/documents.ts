import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { isObject, type JsonObject } from "../../src/core/util.ts";

export type Schemas = "mistralChat" | "openaiChat" | "openaiResponses" | "openaiEmbeddings";
export type Documents = Record<Schemas, ValidateFunction>;

/** The request schemas of both documents, compiled. */
export function documents(folder: string): Documents {
  const mistral = compiler(folder, "mistral-openapi-public-doc.yaml");
  const openai = compiler(folder, "openai-openapi.yaml");
  return {
    mistralChat: mistral("ChatCompletionRequest"),
    openaiChat: openai("CreateChatCompletionRequest"),
    openaiResponses: openai("CreateResponse"),
    openaiEmbeddings: openai("CreateEmbeddingRequest"),
  };
}

function compiler(folder: string, file: string): (name: string) => ValidateFunction {
  const document = parse(readFileSync(join(folder, file), "utf8"), { maxAliasCount: -1 });
  const ajv = new Ajv2020({ strict: false, validateFormats: false, discriminator: false });
  ajv.addSchema({ $id: "openapi", components: plain(document.components) });
  return (name) => ajv.compile({ $ref: `openapi#/components/schemas/${name}` });
}

/**
 * OpenAPI as JSON Schema: `nullable` as a type; `oneOf` as `anyOf`, because the branches of both documents overlap;
 * a discriminator says nothing that the branches do not say.
 */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isObject(value)) return value;
  const { nullable, discriminator: _, oneOf, ...rest } = value;
  const schema: JsonObject = Object.fromEntries(Object.entries(rest).map(([key, inner]) => [key, plain(inner)]));
  if (Array.isArray(oneOf)) {
    const branches = { anyOf: oneOf.map(plain) };
    if (schema.anyOf === undefined) Object.assign(schema, branches);
    else schema.allOf = [...((schema.allOf as unknown[]) ?? []), branches];
  } else if (oneOf !== undefined) schema.oneOf = plain(oneOf);
  return nullable === true ? { anyOf: [schema, { type: "null" }] } : schema;
}
