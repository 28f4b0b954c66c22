import type { Signature, ThinkingPart } from "./request.ts";
import { isObject } from "./util.ts";

/** The dialect whose signatures stand as they are on wires that have none of their own. */
export const NATIVE_THINKING = "anthropic-messages";

/**
 * Signatures of a wire's own stand on it as they are; all others travel in Turnpike's own envelope: `tp1.` +
 * base64url(JSON `{ p: origin, m: model, k: kind, d: data }`). Thinking whose text the caller does not want to read
 * travels in it too, so that it can be replayed: as `d` with the kind `text`, or as `t` beside data of its own.
 */
const ENVELOPE = "tp1.";

/**
 * @param hidden thinking text that is not shown
 * @param native dialect whose signatures the wire carries as they are
 */
export function encodeSignature(signature: Signature | undefined, hidden = "", native = NATIVE_THINKING): string {
  if (signature?.origin === native) return signature.data;
  const p = signature?.origin ?? "";
  const m = signature?.model;
  const k = signature?.kind;
  const d = signature?.data ?? "";
  let envelope: Record<string, string | undefined> = { p, m, k, d };
  if (hidden !== "") envelope = d === "" ? { p, m, k: "text", d: hidden } : { p, m, k, d, t: hidden };
  return ENVELOPE + Buffer.from(JSON.stringify(envelope)).toString("base64url");
}

/** A thinking block as it came: native, in an envelope, or without a signature. */
export function readThinking(text: string, signature: unknown, native = NATIVE_THINKING): ThinkingPart {
  if (typeof signature !== "string" || signature === "") return { type: "thinking", text };
  if (!signature.startsWith(ENVELOPE))
    return { type: "thinking", text, signature: { origin: native, data: signature } };
  const content = open(signature);
  if (!content) return { type: "thinking", text, signature: { origin: "unknown", data: signature } };
  const { p, m, k, d, t } = content;
  const hidden = text === "" && k === "text";
  const restored = text !== "" ? text : hidden ? d : (t ?? "");
  const data = hidden ? "" : d;
  // An envelope that names nobody and holds nothing is only there because the field is required.
  if (p === "" && data === "") return { type: "thinking", text: restored };
  return {
    type: "thinking",
    text: restored,
    signature: { origin: p, ...(m !== undefined && { model: m }), ...(k !== undefined && { kind: k }), data },
  };
}

function open(signature: string) {
  try {
    const value: unknown = JSON.parse(Buffer.from(signature.slice(ENVELOPE.length), "base64url").toString());
    if (!isObject(value) || typeof value.p !== "string" || typeof value.d !== "string") return undefined;
    const optional = (member: unknown) => (typeof member === "string" ? member : undefined);
    return { p: value.p, d: value.d, m: optional(value.m), k: optional(value.k), t: optional(value.t) };
  } catch {
    return undefined;
  }
}
