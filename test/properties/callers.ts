import type { Dialect } from "../../src/core/dialect.ts";
import type { ChatRequest, Message, Part, Signature, ThinkingPart } from "../../src/core/request.ts";
import { encodeSignature } from "../../src/core/thinking-envelope.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { geminiWith } from "../../src/dialects/gemini/index.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";
import { openaiResponses } from "../../src/dialects/openai-responses/index.ts";
import { CALLER } from "./marks.ts";

export const CALLERS: readonly Dialect[] = [
  anthropicMessages,
  openaiChat,
  openaiResponses,
  geminiWith({ mediaInResults: () => true }),
];

/** Fields of its own that every dialect's API takes. */
const EXTENSIONS: Record<string, JsonObject> = {
  "anthropic-messages": { inference_geo: "us" },
  "openai-chat": { store: true },
  "openai-responses": { truncation: "auto" },
  gemini: { safetySettings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }] },
};

/** What a client of this dialect sends when it wants to say this, as far as it can. */
export function asCaller(dialect: Dialect, request: ChatRequest): JsonObject {
  const spoken = JSON.parse(JSON.stringify(request).replaceAll(CALLER, dialect.id)) as ChatRequest;
  const messages = spoken.messages.map((message) => ({
    ...message,
    ...echo(dialect, message),
  }));
  const extensions = spoken.extensions && { extensions: { dialect: dialect.id, value: EXTENSIONS[dialect.id]! } };
  return wire(dialect.encodeRequest({ ...spoken, messages, ...extensions }, request.model));
}

/** As it is after a network. */
export function wire(body: JsonObject): JsonObject {
  return JSON.parse(JSON.stringify(body));
}

/** Earlier thinking stands in a client's history as our answers gave it: with the signatures of others in envelopes. */
function echo(dialect: Dialect, { role, content }: Message): Partial<Message> {
  const parts = content.filter((part) => isSayable(dialect, part));
  if (role !== "assistant") return { content: parts };
  const thinking = parts.filter((part) => part.type === "thinking");
  if (dialect.id === "openai-chat") {
    const blocks = thinking.map((part) =>
      part.redacted === undefined
        ? { type: "thinking", thinking: part.text, signature: encodeSignature(part.signature) }
        : { type: "redacted_thinking", data: part.redacted },
    );
    return {
      content: parts,
      ...(blocks.length > 0 && { extensions: { dialect: dialect.id, value: { thinking_blocks: blocks } } }),
    };
  }
  return { content: parts.map((part) => (part.type === "thinking" ? echoed(dialect, part) : part)) };
}

function echoed({ id }: Dialect, part: ThinkingPart): ThinkingPart {
  if (part.signature?.origin === id)
    return { ...part, signature: { kind: `rs_${part.signature.data}`, ...part.signature } };
  if (part.redacted !== undefined && id === "anthropic-messages") return part;
  const { text, redacted } = part;
  const proof: Signature | undefined =
    redacted === undefined ? part.signature : { origin: "anthropic-messages", kind: "redacted", data: redacted };
  // Gemini's clients keep signatures only, as bytes.
  const sealed = id === "gemini" ? bytes(encodeSignature(proof, text, id)) : encodeSignature(proof, "", id);
  const kind = id === "openai-responses" ? { kind: "rs_1" } : id === "gemini" ? { kind: "answer" } : {};
  return { type: "thinking", text, signature: { origin: id, ...kind, data: sealed } };
}

function bytes(envelope: string): string {
  return Buffer.from(`tp1.${Buffer.from(envelope.slice(4), "base64url")}`).toString("base64");
}

/** Documents by URL have no place in Chat, nor files of another store anywhere. */
function isSayable({ id }: Dialect, part: Part): boolean {
  if (part.type === "tool-result") {
    part.content = part.content.filter((inner) => isSayable({ id } as Dialect, inner));
    return true;
  }
  if (part.type !== "image" && part.type !== "document") return true;
  if (part.source.kind === "file")
    return part.source.dialect === id && !(id === "openai-chat" && part.type === "image");
  return !(id === "openai-chat" && part.type === "document" && part.source.kind === "url");
}
