import { LRUCache } from "lru-cache";
import type { Capabilities, CapabilityRow } from "../core/provider.ts";

/** Answers what a model of one provider accepts: matching rows merged in order, later ones win field by field. */
export function capabilityTable(rows: readonly CapabilityRow[]): (model: string) => Capabilities {
  const cache = new LRUCache<string, Capabilities>({ max: 500 });
  return (model) => {
    let found = cache.get(model);
    if (!found) {
      found = {};
      for (const { match, ...facts } of rows) {
        if (!match.test(model)) continue;
        found = {
          ...found,
          ...facts,
          parameters: { ...found.parameters, ...facts.parameters },
          source: [...(found.source ?? []), ...(facts.source ?? [])],
        };
      }
      cache.set(model, found);
    }
    return found;
  };
}
