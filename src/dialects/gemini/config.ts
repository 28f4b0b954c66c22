import { type ChatRequest, EFFORTS, type Effort, type OutputFormat, type Reasoning } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import {
  count,
  flag,
  integer,
  isEmpty,
  type Kind,
  maybe,
  maybeMessage,
  number,
  object,
  others,
  present,
  string,
  strings,
} from "./check.ts";
import { toJsonSchema } from "./schema.ts";

const PATH = "generationConfig";

type Field = keyof ChatRequest & string;

/** Fields that mean the same here and in the canonical request. */
const FIELDS: readonly [wire: string, field: Field, kind: Kind<unknown>][] = [
  ["maxOutputTokens", "maxTokens", count],
  ["candidateCount", "n", count],
  ["temperature", "temperature", number],
  ["topP", "topP", number],
  ["topK", "topK", number],
  ["seed", "seed", integer],
  ["stopSequences", "stop", strings],
  ["presencePenalty", "presencePenalty", number],
  ["frequencyPenalty", "frequencyPenalty", number],
  ["responseLogprobs", "logprobs", flag],
  ["logprobs", "topLogprobs", count],
];

/** All spellings of the JSON Schema of an answer. [G-PROTO GenerationConfig] */
const SCHEMAS = ["responseJsonSchema", "_responseJsonSchema", "responseJsonSchemaOrdered"];

const KNOWN = new Set([
  ...FIELDS.map(([wire]) => wire),
  ...SCHEMAS,
  "responseMimeType",
  "responseSchema",
  "thinkingConfig",
]);
const THINKING_FIELDS = new Set(["includeThoughts", "thinkingBudget", "thinkingLevel"]);

/** What the canonical request cannot hold stays in `kept.generationConfig`. */
export function decodeConfig(config: JsonObject, kept: JsonObject): Partial<ChatRequest> {
  const more = others(config, KNOWN);
  const fields = FIELDS.map(([wire, field, kind]) => [field, maybe(config, wire, PATH, kind)] as const);
  const known: Partial<ChatRequest> = present({
    ...Object.fromEntries(fields),
    reasoning: decodeReasoning(config, more),
    outputFormat: decodeFormat(config, more),
  });
  if (!isEmpty(more)) kept[PATH] = more;
  return known;
}

export function encodeConfig(request: ChatRequest, kept: unknown): JsonObject | undefined {
  const { thinkingConfig, ...more } = isObject(kept) ? kept : {};
  const config = present({
    ...more,
    ...Object.fromEntries(FIELDS.map(([wire, field]) => [wire, request[field]])),
    ...encodeFormat(request.outputFormat),
    thinkingConfig: encodeReasoning(request.reasoning, thinkingConfig),
  });
  return isEmpty(config) ? undefined : config;
}

function decodeReasoning(config: JsonObject, kept: JsonObject): Reasoning | undefined {
  const thinking = maybeMessage(config, "thinkingConfig", PATH);
  if (!thinking) return undefined;
  const path = `${PATH}.thinkingConfig`;
  const more = others(thinking, THINKING_FIELDS);
  const show = maybe(thinking, "includeThoughts", path, flag) ?? false;
  const budget = maybe(thinking, "thinkingBudget", path, integer);
  const level = maybe(thinking, "thinkingLevel", path, string)?.toLowerCase();
  const effort = EFFORTS.includes(level as Effort) ? (level as Effort) : undefined;
  if (level !== undefined && !effort && level !== "thinking_level_unspecified")
    more.thinkingLevel = level.toUpperCase();
  if (!isEmpty(more)) kept.thinkingConfig = more;
  if (budget === 0) return { mode: "off", show };
  if (budget !== undefined && budget > 0) return present<Reasoning>({ mode: "on", budget, effort, show });
  if (effort) return { mode: "on", effort, show };
  return { mode: budget === undefined ? "default" : "auto", show };
}

/** Thoughts are shown unless the caller said that it does not want to read them. */
function encodeReasoning(reasoning: Reasoning | undefined, kept: unknown): JsonObject | undefined {
  const more = isObject(kept) ? kept : {};
  if (!reasoning) return isEmpty(more) ? undefined : more;
  const { mode, effort, budget, show = true } = reasoning;
  if (mode === "off") return { ...more, thinkingBudget: 0 };
  const includeThoughts = show || undefined;
  const amount =
    budget !== undefined
      ? { thinkingBudget: budget }
      : effort
        ? { thinkingLevel: effort.toUpperCase() }
        : mode === "auto"
          ? { thinkingBudget: -1 }
          : {};
  const config = present({ ...more, ...amount, includeThoughts });
  return isEmpty(config) ? undefined : config;
}

function decodeFormat(config: JsonObject, kept: JsonObject): OutputFormat | undefined {
  const type = maybe(config, "responseMimeType", PATH, string) || "text/plain";
  const jsonSchema = SCHEMAS.map((name) => maybe(config, name, PATH, object)).find((schema) => schema);
  const openApi = maybe(config, "responseSchema", PATH, object);
  const schema = jsonSchema ?? (openApi && toJsonSchema(openApi));
  if (type === "application/json") return schema ? { type: "json-schema", schema } : { type: "json" };
  if (type !== "text/plain") Object.assign(kept, present({ responseMimeType: type, responseJsonSchema: schema }));
  return undefined;
}

function encodeFormat(format: OutputFormat | undefined): JsonObject {
  if (!format) return {};
  const responseMimeType = "application/json";
  return format.type === "json" ? { responseMimeType } : { responseMimeType, responseJsonSchema: format.schema };
}
