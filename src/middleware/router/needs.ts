import type { Exchange } from "../../core/exchange.ts";
import type { Capabilities, Target } from "../../core/provider.ts";
import type { ChatRequest, Part } from "../../core/request.ts";

/** What a request can ask for that not every model can do. */
export const NEEDS = ["tools", "images", "documents", "audio", "thinking", "structuredOutput"] as const;
export type Need = (typeof NEEDS)[number];

export function needs(request: ChatRequest, need: Need): boolean {
  switch (need) {
    case "tools":
      return request.tools.length > 0;
    case "images":
      return holds(request, "image");
    case "documents":
      return holds(request, "document");
    case "audio":
      return holds(request, "audio");
    case "thinking":
      return request.reasoning !== undefined && request.reasoning.mode !== "off";
    case "structuredOutput":
      return request.outputFormat !== undefined;
  }
}

function holds({ messages }: ChatRequest, type: Part["type"]): boolean {
  const within = (part: Part): boolean =>
    part.type === type || (part.type === "tool-result" && part.content.some(within));
  return messages.some(({ content }) => content.some(within));
}

/** What a target is known not to do. What the data leaves open counts as possible. */
const LACKS: Record<Need, (facts: Capabilities) => boolean> = {
  tools: ({ tools }) => tools === false,
  images: ({ images }) => images === false,
  documents: ({ documents }) => documents === false,
  audio: ({ audio }) => audio === false,
  thinking: ({ reasoning }) => reasoning === false,
  structuredOutput: ({ outputFormats }) => outputFormats?.length === 0,
};

/** Why a target cannot do what the request asks for; `undefined` where it can, or nobody knows. */
export function lacking(exchange: Exchange, target: Target): string | undefined {
  if (exchange.operation !== "chat") return undefined;
  const facts = target.provider.capabilities(target.model);
  if (facts.contextTokens !== undefined) {
    const tokens = exchange.services.estimateInput(exchange);
    if (tokens > facts.contextTokens) return `about ${tokens} tokens, it takes ${facts.contextTokens}`;
  }
  // The request is decoded only where a target has something that it cannot do.
  const missing = NEEDS.find((need) => LACKS[need](facts) && needs(exchange.request, need));
  return missing && `it has no ${missing}`;
}
