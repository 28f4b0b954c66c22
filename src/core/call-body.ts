import type { CallBody } from "./provider.ts";

const inPieces = (body: CallBody): body is readonly Uint8Array[] => Array.isArray(body);

/** In one piece. */
export function wholeBody(body: CallBody): string | Uint8Array {
  return inPieces(body) ? Buffer.concat(body) : body;
}

export function bodyText(body: CallBody): string {
  const whole = wholeBody(body);
  return typeof whole === "string" ? whole : Buffer.from(whole).toString();
}

export function bodyLength(body: CallBody): number {
  if (typeof body === "string") return Buffer.byteLength(body);
  return inPieces(body) ? body.reduce((sum, { length }) => sum + length, 0) : body.length;
}

/** Copies it into `to`. */
export function writeBody(body: CallBody, to: Buffer, at: number): void {
  if (typeof body === "string") to.write(body, at);
  else if (!inPieces(body)) to.set(body, at);
  else {
    let next = at;
    for (const piece of body) {
      to.set(piece, next);
      next += piece.length;
    }
  }
}
