/** Our codecs and providers as they are in the tree: a new folder is found by itself. */
import { existsSync, readdirSync } from "node:fs";
import type { CallerContext, Dialect } from "../../src/core/dialect.ts";
import type { Provider } from "../../src/core/provider.ts";
import { isObject } from "../../src/core/util.ts";
import * as factories from "../../src/providers/index.ts";

const FOLDER = new URL("../../src/dialects/", import.meta.url);

/** By id. */
export async function loadDialects(): Promise<ReadonlyMap<string, Dialect>> {
  const found = new Map<string, Dialect>();
  for (const entry of readdirSync(FOLDER, { withFileTypes: true })) {
    const index = new URL(`${entry.name}/index.ts`, FOLDER);
    if (!entry.isDirectory() || !existsSync(index)) continue;
    for (const value of Object.values(await import(index.href))) if (isDialect(value)) found.set(value.id, value);
  }
  return found;
}

function isDialect(value: unknown): value is Dialect {
  return isObject(value) && typeof value.id === "string" && typeof value.decodeResponse === "function";
}

/** A provider of ours, in one of the dialects that it speaks. */
export interface Upstream {
  provider: Provider;
  dialect: Dialect;
  model: string;
}

/** Every provider of ours in every dialect that it speaks. */
export function upstreams(): Upstream[] {
  return Object.values(factories).flatMap((factory): Upstream[] => {
    if (typeof factory !== "function" || !("spec" in factory)) return [];
    const provider = factory({ apiKey: "test", baseURL: "http://127.0.0.1:9/v1" });
    return provider.dialects.map((dialect) => ({ provider, dialect, model: provider.models[0] ?? "model" }));
  });
}

/** The caller that answers are written for. */
export const CALLER: CallerContext = {
  model: "asked-model",
  id: "abc123XYZ",
  created: 1_700_000_000,
  inputTokens: 7,
  includeUsage: true,
  showThinking: true,
  // Gemini shows thoughts to who asks for them.
  request: {
    member: (name) => (name === "generationConfig" ? { thinkingConfig: { includeThoughts: true } } : undefined),
  },
};
