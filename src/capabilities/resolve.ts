import { LRUCache } from "lru-cache";
import type { Capabilities, CapabilityRow } from "../core/provider.ts";

/** Most models that are remembered per dialect; callers may name any. */
const MAX_MODELS = 500;

/**
 * Answers what a model of one provider accepts: matching rows merged in order, later ones win field by field. The same
 * object each time, as long as it is remembered.
 */
export function capabilityTable(rows: readonly CapabilityRow[]): (model: string, dialect: string) => Capabilities {
  const known = new Map<string, LRUCache<string, Capabilities>>();
  return (model, dialect) => {
    let models = known.get(dialect);
    if (!models) {
      models = new LRUCache({ max: MAX_MODELS });
      known.set(dialect, models);
    }
    let found = models.get(model);
    if (!found) {
      found = merged(rows, model, dialect);
      models.set(model, found);
    }
    return found;
  };
}

function merged(rows: readonly CapabilityRow[], model: string, dialect: string): Capabilities {
  let found: Capabilities = {};
  for (const { match, dialect: only, ...facts } of rows) {
    if (!match.test(model) || (only !== undefined && only !== dialect)) continue;
    found = {
      ...found,
      ...facts,
      parameters: { ...found.parameters, ...facts.parameters },
      source: [...(found.source ?? []), ...(facts.source ?? [])],
    };
  }
  return found;
}
