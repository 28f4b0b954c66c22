import type { Finding } from "./findings.ts";

/** Pydantic's error type and message: Mistral's and Anthropic's servers both speak it. */
export function pydanticError(finding: Finding): { type: string; msg: string } {
  const { rule, limit, inclusive } = finding;
  if (rule === "extra") return { type: "extra_forbidden", msg: "Extra inputs are not permitted" };
  if (rule === "missing") return { type: "missing", msg: "Field required" };
  if (rule === "min")
    return inclusive
      ? { type: "greater_than_equal", msg: `Input should be greater than or equal to ${limit}` }
      : { type: "greater_than", msg: `Input should be greater than ${limit}` };
  if (rule === "max") return { type: "less_than_equal", msg: `Input should be less than or equal to ${limit}` };
  if (rule === "values") {
    const values = (finding.values ?? []).map((value) => `'${value}'`);
    const listed = values.length > 1 ? `${values.slice(0, -1).join(", ")} or ${values.at(-1)}` : values.join("");
    return { type: values.length > 1 ? "enum" : "literal_error", msg: `Input should be ${listed}` };
  }
  const [type, what] = TYPES[finding.expected ?? ""] ?? ["value_error", "value"];
  return { type, msg: `Input should be a valid ${what}` };
}

const TYPES: Record<string, [type: string, what: string]> = {
  string: ["string_type", "string"],
  number: ["float_type", "number"],
  int: ["int_type", "integer"],
  boolean: ["bool_type", "boolean"],
  array: ["list_type", "list"],
  object: ["model_attributes_type", "dictionary or object to extract fields from"],
  record: ["dict_type", "dictionary"],
};
