/** Pieces that are smaller on average cost more, each, than a copy of all. */
const SMALL_BYTES = 8 * 1024;

/** Bytes in the pieces in which they came. They are put together for whoever needs them in one, once. */
export class Rope {
  #pieces: readonly Buffer[];
  readonly length: number;

  constructor(content: Buffer | readonly Buffer[]) {
    const pieces = Buffer.isBuffer(content) ? [content] : content;
    this.length = pieces.reduce((sum, { length }) => sum + length, 0);
    this.#pieces = pieces.length > 1 && this.length < pieces.length * SMALL_BYTES ? [Buffer.concat(pieces)] : pieces;
  }

  get pieces(): readonly Buffer[] {
    return this.#pieces;
  }

  /** All of it in one piece. */
  get whole(): Buffer {
    if (this.#pieces.length !== 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0]!;
  }

  /** A part in one piece. */
  slice(start: number, end: number): Buffer {
    const parts: Buffer[] = [];
    this.take(parts, start, end);
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  /** Adds a part to `to`, as it lies in the pieces; nothing is copied. */
  take(to: Buffer[], start: number, end: number): void {
    let at = 0;
    for (const piece of this.#pieces) {
      const next = at + piece.length;
      if (start < next && end > at) to.push(piece.subarray(Math.max(0, start - at), end - at));
      at = next;
    }
  }

  /** Copies what begins at `start`, as much as there is and as `to` has room for. @returns how many bytes */
  copy(to: Uint8Array, start: number): number {
    let filled = 0;
    let at = 0;
    for (const piece of this.#pieces) {
      const from = start + filled - at;
      at += piece.length;
      if (from >= piece.length) continue;
      if (from === 0 && piece.length <= to.length - filled) {
        // Costs half as much.
        to.set(piece, filled);
        filled += piece.length;
      } else filled += piece.copy(to, filled, from);
      if (filled === to.length) break;
    }
    return filled;
  }
}
