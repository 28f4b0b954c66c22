import type { Part, Signature, ThinkingPart } from "../../core/request.ts";
import { encodeSignature, NATIVE_THINKING, readThinking } from "../../core/thinking-envelope.ts";
import { ID } from "./id.ts";

/** What a signature of this wire was written on: it goes back onto the same kind of part (wire.md §9.5). */
export type SignedOn = "call" | "answer";

/** Kind of an envelope that carries another dialect's encrypted thinking. */
const REDACTED = "redacted";

const ENVELOPE = "tp1.";
/** How an envelope begins on this wire. */
const WIRE_ENVELOPE = Buffer.from(ENVELOPE).toString("base64").slice(0, 5);
/** A JSON string that is one. */
export const OWN_MARK = `"${WIRE_ENVELOPE}`;

export const signatureOf = (data: string, kind: SignedOn): Signature => ({ origin: ID, kind, data });

/** The thinking that a part's `thoughtSignature` stands for: a native signature, or one of ours in its envelope. */
export function readSigned(text: string, data: string, kind: SignedOn): ThinkingPart {
  const { signature, ...thinking } = readThinking(text, fromWire(data), ID);
  if (!signature) return thinking;
  if (signature.kind === REDACTED) return { type: "thinking", text: "", redacted: signature.data };
  return { ...thinking, signature: signature.origin === ID ? signatureOf(signature.data, kind) : signature };
}

/** Signs the thinking just before, or stands as thinking of no text where there is none. */
export function pushSigned(into: Part[], data: string, kind: SignedOn): void {
  const signed = readSigned("", data, kind);
  const last = into.at(-1);
  const same = signed.text === "" || (last?.type === "thinking" && signed.text === last.text);
  if (
    same &&
    last?.type === "thinking" &&
    !last.signature &&
    last.redacted === undefined &&
    signed.redacted === undefined
  )
    into[into.length - 1] = { ...signed, text: last.text };
  else into.push(signed);
}

/**
 * A `thoughtSignature` for the caller, or `undefined` where there is nothing to bring back. Text goes into the envelope
 * even where it is shown: callers drop thoughts from the history, and keep signatures.
 */
export function writeSigned({ text, signature, redacted }: ThinkingPart, shown: boolean): string | undefined {
  if (redacted !== undefined) {
    return toWire(encodeSignature({ origin: NATIVE_THINKING, kind: REDACTED, data: redacted }, "", ID));
  }
  if (!signature && (shown || text === "")) return undefined;
  return toWire(encodeSignature(signature, text, ID));
}

/** The field is `bytes` [G-PROTO Part]: typed clients decode it as base64, and may send it back in the other alphabet. */
function toWire(signature: string): string {
  if (!signature.startsWith(ENVELOPE)) return signature;
  const content = Buffer.from(signature.slice(ENVELOPE.length), "base64url");
  return Buffer.concat([Buffer.from(ENVELOPE), content]).toString("base64");
}

function fromWire(data: string): string {
  if (!data.startsWith(WIRE_ENVELOPE)) return data;
  const bytes = Buffer.from(data, "base64");
  return ENVELOPE + bytes.subarray(ENVELOPE.length).toString("base64url");
}
