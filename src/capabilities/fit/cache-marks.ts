import type { CacheMark, ChatRequest, Message, Part } from "../../core/request.ts";

/** The short one, whose writing costs least and which every use prolongs [A-DOC prompt-caching]. */
const MARK: CacheMark = { type: "ephemeral" };

/** Whether the caller placed marks of its own: then it knows better. */
export function hasCacheMarks({ system, tools, messages }: ChatRequest): boolean {
  return (
    system.some(({ cache }) => cache) ||
    tools.some((tool) => tool.type === "function" && tool.cache) ||
    messages.some(({ content }) => content.some((part) => "cache" in part && part.cache))
  );
}

/**
 * Marks the prefixes that later requests will begin with, at most four: the tools, the system prompt, and in a
 * conversation the last two user turns. The last one writes the prefix, the one before it is where the last request
 * wrote and this one reads. A first turn is not marked: whoever asks once would pay for writing and never read. The
 * request is not touched; where nothing can be marked it is returned as it is.
 */
export function withCacheMarks(request: ChatRequest): ChatRequest {
  if (hasCacheMarks(request)) return request;
  const tool = request.tools.findLastIndex(({ type }) => type === "function");
  const system = request.system.findLastIndex(({ text }) => text !== "");
  const isConversation = request.messages.some(({ role }) => role === "assistant");
  const turns = isConversation ? lastUserTurns(request.messages) : [];
  return {
    ...request,
    tools: request.tools.map((each, i) => (i === tool ? { ...each, cache: MARK } : each)),
    system: request.system.map((each, i) => (i === system ? { ...each, cache: MARK } : each)),
    messages: request.messages.map((each, i) => (turns.includes(i) ? marked(each) : each)),
  };
}

function lastUserTurns(messages: readonly Message[]): number[] {
  const turns = messages.flatMap(({ role, content }, i) => (role === "user" && content.some(takesMark) ? [i] : []));
  return turns.slice(-2);
}

function marked(message: Message): Message {
  const last = message.content.findLastIndex(takesMark);
  return { ...message, content: message.content.map((part, i) => (i === last ? { ...part, cache: MARK } : part)) };
}

/** Empty texts are refused with a mark. */
function takesMark(part: Part): boolean {
  if (part.type === "text") return part.text !== "";
  return part.type === "image" || part.type === "document" || part.type === "tool-result";
}
