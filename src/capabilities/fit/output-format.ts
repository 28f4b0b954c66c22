import type { OutputFormat } from "../../core/request.ts";
import type { FitState } from "./index.ts";
import { adaptSchema, plainSchema } from "./schema.ts";
import { holds, tellSchema } from "./schema-rules.ts";

type SchemaFormat = Extract<OutputFormat, { type: "json-schema" }>;

/** Every provider's rule for the names of output schemas [O-SDK, M-SPEC]. */
const NAME = /^[a-zA-Z0-9_-]{1,64}$/;

const JSON_OBJECT = "Answer with one valid JSON object and nothing else.";

/** The form of the answer as the target takes it, or else as an instruction in words. */
export function fitOutputFormat(state: FitState): void {
  const { request, capabilities } = state;
  const format = request.outputFormat;
  if (!format) return;
  const accepted = capabilities.outputFormats ?? ["json", "json-schema"];
  if (request.tools.length > 0 && capabilities.tools !== false && capabilities.outputFormatWithTools === false)
    instruct(format, state, "not together with tools");
  else if (format.type === "json") {
    if (!accepted.includes("json")) instruct(format, state);
    else if (capabilities.jsonByName && !/json/i.test(JSON.stringify([request.system, request.messages]))) {
      request.system = [...request.system, { type: "text", text: JSON_OBJECT }];
      state.changes.push({ field: "response_format", kind: "added", to: "instruction", reason: "JSON is to be named" });
    }
  } else if (!accepted.includes("json-schema")) instruct(format, state);
  else fitSchemaFormat(legalName(format, state), state);
}

function fitSchemaFormat(format: SchemaFormat, state: FitState): void {
  const { request, capabilities, purse } = state;
  const rules = capabilities.schemas;
  if (!rules || !holds(rules, "output", format.strict === true)) {
    const { schema, changes } = plainSchema(format.schema, rules);
    if (rules?.objectRoot && schema.type !== "object") return instruct(format, state, "its root is no plain object");
    request.outputFormat = { ...format, schema };
    return tellSchema(state, "response_format", changes);
  }
  const { schema, changes, problem } = adaptSchema(format.schema, rules);
  const refused = problem ?? purse.spend(schema, rules, "output");
  if (refused === undefined) {
    request.outputFormat = { ...format, schema };
    return tellSchema(state, "response_format", changes);
  }
  const isPlain = !rules.objectRoot || format.schema.type === "object";
  if (rules.of !== "strict" || !isPlain) return instruct(format, state, refused);
  state.changes.push({ field: "response_format.strict", kind: "adjusted", from: true, to: false, reason: refused });
  request.outputFormat = { ...format, strict: false, schema: plainSchema(format.schema, rules).schema };
}

function legalName(format: SchemaFormat, { changes }: FitState): SchemaFormat {
  const { name } = format;
  if (name === undefined || NAME.test(name)) return format;
  const legal = name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64) || "output";
  changes.push({ field: "response_format.name", kind: "moved", from: name.slice(0, 64), to: legal });
  return { ...format, name: legal };
}

/** What the target cannot be held to, it is asked for. */
function instruct(format: OutputFormat, { request, changes }: FitState, reason?: string): void {
  const text =
    format.type === "json"
      ? JSON_OBJECT
      : `Answer with JSON that is valid under this JSON Schema, and with nothing else:\n${JSON.stringify(format.schema)}`;
  request.system = [...request.system, { type: "text", text }];
  request.outputFormat = undefined;
  changes.push({
    field: "response_format",
    kind: "adjusted",
    from: format.type === "json" ? "json_object" : "json_schema",
    to: "instruction",
    ...(reason && { reason }),
  });
}
