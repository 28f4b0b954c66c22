import fc from "fast-check";
import { fit as fitTo } from "../../src/capabilities/fit/index.ts";
import type { Dialect } from "../../src/core/dialect.ts";
import type { EmbeddingRequest } from "../../src/core/embeddings.ts";
import { GatewayError } from "../../src/core/errors.ts";
import type { Provider } from "../../src/core/provider.ts";
import type { ChatRequest } from "../../src/core/request.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { mistral, openai } from "../../src/providers/index.ts";
import { asCaller, CALLERS, wire } from "../../test/properties/callers.ts";
import { conversation } from "../../test/properties/conversations.ts";
import type { Documents, Schemas } from "./documents.ts";

interface Target {
  schema: Schemas;
  provider: Provider;
  dialect: Dialect;
  models: readonly string[];
}

const openAI = openai({ apiKey: "key" });
const [chat, responses] = openAI.dialects as [Dialect, Dialect];
const vendor = mistral({ apiKey: "key" });
const TARGETS: readonly Target[] = [
  {
    schema: "mistralChat",
    provider: vendor,
    dialect: vendor.dialect,
    models: ["mistral-medium-3-5", "mistral-large-4", "mistral-large-latest", "zai-glm-5", "devstral-small-latest"],
  },
  { schema: "openaiChat", provider: openAI, dialect: chat, models: ["gpt-4.1", "gpt-5-mini", "gpt-5.5", "o3"] },
  { schema: "openaiResponses", provider: openAI, dialect: responses, models: ["gpt-4.1", "gpt-5.5", "gpt-5.6", "o3"] },
];

const embedding: fc.Arbitrary<EmbeddingRequest> = fc.record(
  {
    model: fc.constant("text-embedding-3-small"),
    inputs: fc.oneof(
      fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 4 }),
      fc.array(fc.array(fc.nat(100_000), { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 4 }),
    ),
    dimensions: fc.integer({ min: 1, max: 3072 }),
    encoding: fc.constantFrom("float", "base64"),
    userId: fc.string({ minLength: 1 }),
    single: fc.boolean(),
  },
  { requiredKeys: ["model", "inputs"] },
);

export interface Run {
  passed: number;
  /** By what is wrong; with the first body that it is wrong with. */
  failures: Map<string, { count: number; body: string }>;
}

/** @param cases conversations; each goes from every caller dialect to every target */
export function run(documents: Documents, cases: number, seed: number): Run {
  const result: Run = { passed: 0, failures: new Map() };
  const check = (schema: Schemas, body: JsonObject) => {
    const validate = documents[schema];
    if (validate(body)) result.passed++;
    else {
      const [first] = validate.errors!.toSorted((a, b) => b.instancePath.length - a.instancePath.length);
      const fault = `${schema} ${first!.instancePath.replace(/\d+/g, "*")} ${first!.message} ${JSON.stringify(first!.params)}`;
      const known = result.failures.get(fault) ?? { count: 0, body: JSON.stringify(body) };
      result.failures.set(fault, { ...known, count: known.count + 1 });
    }
  };
  const each = (said: ChatRequest, which: number) => {
    for (const caller of CALLERS) {
      const asked = caller.decodeRequest(asCaller(caller, said), { model: "asked" });
      for (const target of TARGETS) {
        const body = bodyFor(asked, target, target.models[which % target.models.length]!);
        if (body) check(target.schema, body);
      }
    }
  };
  fc.assert(fc.property(conversation, fc.nat(1000), each), { numRuns: cases, seed });
  const { embeddings } = chat;
  const embed = (request: EmbeddingRequest) =>
    check("openaiEmbeddings", wire(embeddings!.encodeRequest(request, request.model)));
  fc.assert(fc.property(embedding, embed), { numRuns: cases, seed });
  return result;
}

/** `undefined` where the caller is told that it cannot be had. */
function bodyFor(asked: ChatRequest, { provider, dialect }: Target, model: string): JsonObject | undefined {
  const capabilities = provider.capabilities(model, dialect.id);
  try {
    const fitted = fitTo(asked, { capabilities, dialect: dialect.id, provider: provider.type, model });
    return wire(dialect.encodeRequest(fitted.request, model));
  } catch (error) {
    if (error instanceof GatewayError && error.code === "unsupported") return undefined;
    throw error;
  }
}
