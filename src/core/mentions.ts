/** Where a search for a mark begins: a piece of it, and how much of the mark stands before. */
interface Piece {
  readonly text: string;
  readonly before: number;
}

/** Characters of requests, the most frequent first; those that are not named are rarer than all of these. */
const FREQUENT = ` etaoinsrhldcumpfgy"bwv,.:/-k_`;
/** From 7 characters on, the native searches take an algorithm that is slower where there is next to nothing to find. */
const MAX_PIECE = 6;
/** Where a piece is found more often than once in so many bytes, and never the mark, the whole mark is searched for. */
const BYTES_PER_PIECE = 1_024;

/** As many as there are marks in the code. */
const pieces = new Map<string, Piece>();

/**
 * Whether bytes in pieces hold a mark, also where it lies across pieces: the same as `includes`, but several times as
 * fast where there is nothing to find. A native search halts at every character that could be the first of what it
 * searches: so the rarest of the mark has to be the first.
 * @param mark ASCII
 */
export function mentions(parts: readonly Buffer[], mark: string): boolean {
  // What a mark that goes on in the next part could begin with.
  let before: Buffer | undefined;
  for (const part of parts) {
    if (holds(part, mark)) return true;
    if (parts.length === 1) return false;
    if (before && Buffer.concat([before, part.subarray(0, mark.length - 1)]).includes(mark)) return true;
    const all = part.length < mark.length && before ? Buffer.concat([before, part]) : part;
    before = all.subarray(Math.max(0, all.length - mark.length + 1));
  }
  return false;
}

function holds(bytes: Buffer, mark: string): boolean {
  const { text, before } = pieces.get(mark) ?? rarePiece(mark);
  let at = bytes.indexOf(text, before);
  for (let wrong = 0; at !== -1; wrong++) {
    const start = at - before;
    if (wrong * BYTES_PER_PIECE > bytes.length) return bytes.includes(mark, start);
    if (standsAt(bytes, start, mark)) return true;
    at = bytes.indexOf(text, at + 1);
  }
  return false;
}

function standsAt(bytes: Buffer, start: number, mark: string): boolean {
  if (start + mark.length > bytes.length) return false;
  for (let i = 0; i < mark.length; i++) if (bytes[start + i] !== mark.charCodeAt(i)) return false;
  return true;
}

function rarePiece(mark: string): Piece {
  let before = 0;
  let rarest = -1;
  for (let i = 0; i < mark.length; i++) {
    const rank = FREQUENT.indexOf(mark[i]!);
    const rarity = rank === -1 ? FREQUENT.length : rank;
    if (rarity > rarest) {
      rarest = rarity;
      before = i;
    }
  }
  const piece = { text: mark.slice(before, before + MAX_PIECE), before };
  pieces.set(mark, piece);
  return piece;
}
