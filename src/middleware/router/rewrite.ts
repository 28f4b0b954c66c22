import { RequestBody } from "../../core/body.ts";
import type { Exchange } from "../../core/exchange.ts";
import type { Change } from "../../core/request.ts";
import type { RuleOptions } from "./options.ts";

/** A request with the members that its rule prescribes. */
export interface Rewritten {
  body: RequestBody;
  changes: readonly Change[];
}

export type Rewrite = (exchange: Exchange) => Rewritten | undefined;

/** `undefined` for a rule that leaves requests as they are. */
export function compileRewrite({ set = {}, default: missing = {}, drop = [] }: RuleOptions): Rewrite | undefined {
  if (Object.keys(set).length + Object.keys(missing).length + drop.length === 0) return undefined;
  return ({ body, operation }) => {
    // Whoever counts takes no parameters.
    if (operation === "count-tokens") return undefined;
    const members = new Map(Object.entries(body.json));
    const changes: Change[] = [];
    const change = (field: string, to: unknown) => {
      const from = members.get(field);
      if (JSON.stringify(from) === JSON.stringify(to)) return;
      if (to === undefined) members.delete(field);
      else members.set(field, to);
      const kind = to === undefined ? "dropped" : from === undefined ? "added" : "adjusted";
      changes.push({ field, kind, ...shown("from", from), ...shown("to", to), reason: "rule" });
    };
    for (const field of drop) change(field, undefined);
    for (const [field, value] of Object.entries(missing)) if (!members.has(field)) change(field, value);
    for (const [field, value] of Object.entries(set)) change(field, value);
    if (changes.length === 0) return undefined;
    return { body: new RequestBody({ json: Object.fromEntries(members) as never }, body.path), changes };
  };
}

function shown(side: "from" | "to", value: unknown): Partial<Change> {
  if (value === undefined) return {};
  const plain = ["string", "number", "boolean"].includes(typeof value);
  return { [side]: plain ? (value as string) : JSON.stringify(value).slice(0, 60) };
}
