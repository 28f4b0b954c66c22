import type { WebSearchSupport } from "../../core/provider.ts";
import type { WebSearchTool } from "../../core/request.ts";
import type { FitState } from "./index.ts";

const WISHES = ["allowedDomains", "blockedDomains", "userLocation", "maxUses"] as const;

/** For a request that has no other tool: the model would else make its results up. */
const NOT_HERE = "Web search is not available here. If the answer needs it, say that you cannot search the web.";

/** A search that the model runs by itself, in the target's form; nothing where it has none. */
export function fitWebSearch(tool: WebSearchTool, state: FitState): WebSearchTool | undefined {
  const { capabilities, dialect, changes } = state;
  const support = capabilities.webSearch;
  const own = tool.native.dialect === dialect;
  if (support === true || (support === undefined && own)) return tool;
  if (!support) {
    changes.push({
      field: "tools",
      kind: "dropped",
      from: tool.name.slice(0, 64),
      reason: "the target has no web search",
    });
    return undefined;
  }
  // A tool of the same form as the target's (another edition of it) is what the caller wants.
  if (own && (support.as === undefined || "type" in tool.native.value)) return tool;
  return withWishes(tool, support, state);
}

function withWishes(
  tool: WebSearchTool,
  { as, takes }: WebSearchSupport,
  { dialect, changes }: FitState,
): WebSearchTool {
  const fitted = { ...tool, ...(as && { native: { dialect, value: as } }) };
  for (const wish of WISHES) {
    if (fitted[wish] === undefined || takes.includes(wish)) continue;
    fitted[wish] = undefined;
    changes.push({ field: `tools.web_search.${wish}`, kind: "dropped" });
  }
  return fitted;
}

/** A client's dedicated search request is answered, by words that say why it finds nothing (wire.md §8.3). */
export function tellOfNoSearch({ request }: FitState): void {
  request.system = [...request.system, { type: "text", text: NOT_HERE }];
}
