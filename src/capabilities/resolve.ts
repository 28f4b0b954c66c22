import { LRUCache } from "lru-cache";
import type { Capabilities, CapabilityRow } from "../core/provider.ts";

/** Answers what a model of one provider accepts: matching rows merged in order, later ones win field by field. */
export function capabilityTable(rows: readonly CapabilityRow[]): (model: string, dialect: string) => Capabilities {
  const cache = new LRUCache<string, Capabilities>({ max: 500 });
  return (model, dialect) => {
    const key = `${dialect} ${model}`;
    let found = cache.get(key);
    if (!found) {
      found = {};
      for (const { match, dialect: only, ...facts } of rows) {
        if (!match.test(model) || (only !== undefined && only !== dialect)) continue;
        found = {
          ...found,
          ...facts,
          parameters: { ...found.parameters, ...facts.parameters },
          source: [...(found.source ?? []), ...(facts.source ?? [])],
        };
      }
      cache.set(key, found);
    }
    return found;
  };
}
