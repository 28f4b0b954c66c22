import type { SchemaRules } from "../../core/provider.ts";
import type { Change } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import type { FitState } from "./index.ts";
import type { SchemaChange } from "./schema.ts";
import { complexity } from "./schema-walk.ts";

/** Whether a target's rules hold for a schema. */
export function holds({ of = "output" }: SchemaRules, what: "tool" | "output", strict: boolean): boolean {
  return strict || of === "all" || (of === "output" && what === "output");
}

/** What the enforced schemas of one request may cost together. */
export class SchemaPurse {
  #tools = 0;
  #optional = 0;
  #unions = 0;

  /** Pays for one more; says why it cannot be had, and pays nothing then. */
  spend(schema: JsonObject, { most }: SchemaRules, what: "tool" | "output"): string | undefined {
    if (!most) return undefined;
    const { optional, unions } = complexity(schema);
    const tools = what === "tool" ? 1 : 0;
    if (this.#tools + tools > most.strictTools) return `more than ${most.strictTools} strict tools`;
    if (this.#optional + optional > most.optional) return `more than ${most.optional} optional properties`;
    if (this.#unions + unions > most.unions) return `more than ${most.unions} unions`;
    this.#tools += tools;
    this.#optional += optional;
    this.#unions += unions;
    return undefined;
  }
}

/** Says what was done to a schema; what was done to many is said once. @param kind instead of `adjusted` */
export function tellSchema(state: FitState, field: string, changes: readonly SchemaChange[], kind?: "moved"): void {
  for (const { keyword, kind: done, to } of changes) {
    if (state.changes.some((other) => other.field === field && other.from === keyword && other.to === to)) continue;
    const told: Change = { field, kind: done === "adjusted" ? (kind ?? done) : done, from: keyword };
    if (to !== undefined) told.to = to;
    state.changes.push(told);
  }
}
