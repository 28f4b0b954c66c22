import type { Signature, ThinkingPart } from "../../core/request.ts";
import { encodeSignature, NATIVE_THINKING, readThinking } from "../../core/thinking-envelope.ts";
import { ID } from "./id.ts";

/** Kind of an envelope that holds another wire's encrypted thinking. */
const REDACTED = "redacted";

/** A reasoning item. Its texts (of summary, then of content) are paragraphs. */
export function readReasoning(texts: readonly string[], encrypted: unknown, id: unknown): ThinkingPart {
  const part = readThinking(texts.filter((paragraph) => paragraph !== "").join("\n\n"), encrypted, ID);
  const { signature } = part;
  if (signature?.kind === REDACTED) return { type: "thinking", text: "", redacted: signature.data };
  if (signature?.origin !== ID || signature.kind !== undefined || typeof id !== "string" || id === "") return part;
  return { ...part, signature: { ...signature, kind: id } };
}

/**
 * `encrypted_content` for a caller. The API refuses content whose item had another id ("Encrypted content item_id did
 * not match the target item id"), so its own travels raw only under that id, and otherwise in an envelope that
 * remembers it.
 * @param hidden thinking text that is not shown
 * @param id of the item as the caller sees it
 */
export function sealReasoning(signature: Signature | undefined, hidden: string, id: string): string | undefined {
  if (!signature && hidden === "") return undefined;
  const moved = signature?.origin === ID && signature.kind !== undefined && signature.kind !== id;
  return encodeSignature(signature, hidden, moved ? NATIVE_THINKING : ID);
}

export function sealRedacted(data: string): string {
  return encodeSignature({ origin: NATIVE_THINKING, kind: REDACTED, data }, "", ID);
}
