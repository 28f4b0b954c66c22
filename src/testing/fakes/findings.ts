import type { z } from "zod";

/** One thing a schema has against a body, free of any vendor's wording. */
export interface Finding {
  path: (string | number)[];
  rule: "extra" | "missing" | "type" | "values" | "min" | "max" | "other";
  /** The JSON type that was expected, for `type`. */
  expected?: string;
  /** What would have been accepted, for `values`. */
  values?: readonly unknown[];
  limit?: number;
  /** Whether the limit itself is accepted. */
  inclusive?: boolean;
  message: string;
  /** The offending value; the object around it when the field is missing. */
  input: unknown;
}

/** Everything the schema has against this value, unions resolved to the branch that was most likely meant. */
export function findings(schema: z.ZodType, value: unknown): Finding[] {
  const result = schema.safeParse(value);
  return result.success ? [] : result.error.issues.flatMap((issue) => flatten(issue, [], value));
}

type Issue = z.core.$ZodIssue;

function flatten(issue: Issue, base: PropertyKey[], root: unknown): Finding[] {
  const path = [...base, ...issue.path] as (string | number)[];
  const found = { path, message: issue.message, input: at(root, path) };
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => {
        const inner = [...path, key];
        return { ...found, path: inner, rule: "extra" as const, input: at(root, inner) };
      });
    case "invalid_type":
      return found.input === undefined
        ? [{ ...found, rule: "missing", input: at(root, path.slice(0, -1)) }]
        : [{ ...found, rule: "type", expected: issue.expected }];
    case "invalid_value":
      return found.input === undefined
        ? [{ ...found, rule: "missing", input: at(root, path.slice(0, -1)) }]
        : [{ ...found, rule: "values", values: issue.values }];
    case "too_small":
      return [{ ...found, rule: "min", limit: Number(issue.minimum), inclusive: issue.inclusive ?? true }];
    case "too_big":
      return [{ ...found, rule: "max", limit: Number(issue.maximum), inclusive: issue.inclusive ?? true }];
    case "invalid_union": {
      const branch = meant(issue.errors);
      if (branch) return branch.flatMap((inner) => flatten(inner, path, root));
      const values = (issue as { options?: unknown[] }).options;
      return [found.input === undefined ? { ...found, rule: "missing" } : { ...found, rule: "values", values }];
    }
    default:
      return [{ ...found, rule: "other" }];
  }
}

/** The branch whose outermost type fits, and of those the one with the least against it. */
function meant(branches: readonly Issue[][]): Issue[] | undefined {
  const wrongKind = (issue: Issue) => issue.path.length === 0 && /^invalid_(type|value)$/.test(issue.code ?? "");
  const weight = (branch: Issue[]) =>
    branch.reduce((sum, issue) => sum + 1 + (wrongKind(issue) ? 100 : 0) + (wrongTag(issue) ? 10 : 0), 0);
  return [...branches].sort((a, b) => weight(a) - weight(b))[0];
}

function wrongTag(issue: Issue): boolean {
  return issue.code === "invalid_value" && issue.path.length === 1 && issue.path[0] === "type";
}

function at(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined | null)?.[key], root);
}
