import type { Signature } from "../../core/request.ts";
import { isObject } from "../../core/util.ts";

/** Signatures of this dialect stand as they are on the wire; all others travel in Turnpike's envelope. */
const NATIVE = "anthropic-messages";
const ENVELOPE = "tp1.";

/** `tp1.` + base64url(JSON `{ p: origin, m: model, k: kind, d: data }`) (wire.md §8.2). */
export function encodeSignature(signature: Signature): string {
  if (signature.origin === NATIVE) return signature.data;
  const { origin, model, kind, data } = signature;
  return ENVELOPE + Buffer.from(JSON.stringify({ p: origin, m: model, k: kind, d: data })).toString("base64url");
}

/** `undefined` for an envelope that is damaged: the block is then one without a signature. */
export function decodeSignature(text: string): Signature | undefined {
  if (!text.startsWith(ENVELOPE)) return { origin: NATIVE, data: text };
  try {
    const value: unknown = JSON.parse(Buffer.from(text.slice(ENVELOPE.length), "base64url").toString());
    if (!isObject(value) || typeof value.p !== "string" || typeof value.d !== "string") return undefined;
    return {
      origin: value.p,
      ...(typeof value.m === "string" && { model: value.m }),
      ...(typeof value.k === "string" && { kind: value.k }),
      data: value.d,
    };
  } catch {
    return undefined;
  }
}
