/** A place in a frame where one delta differs from the next. */
interface Hole {
  kind: "string" | "digits" | "spaces";
  /** It holds text of the answer. */
  text: boolean;
  start: number;
  end: number;
}

/**
 * What the deltas of one stream have in common. They are alike, byte for byte, but for a few members: what is like a
 * frame that was decoded and told nothing but text tells nothing but text, and needs no decoding.
 */
export class DeltaPattern {
  /** What stands before the first hole, between two, and behind the last one. */
  readonly #pieces: readonly string[];
  readonly #holes: readonly Hole[];
  /** Of text, in what {@link end} has passed. */
  characters = 0;

  private constructor(pieces: readonly string[], holes: readonly Hole[]) {
    this.#pieces = pieces;
    this.#holes = holes;
  }

  /**
   * @param frame a whole one, as it came, in Latin-1
   * @param members {@link deltaMembers} of its dialect
   */
  static of(frame: string, members: RegExp): DeltaPattern | undefined {
    const holes = holesOf(frame, members);
    if (!holes.some(({ text }) => text)) return undefined;
    const padding = paddingOf(frame);
    if (padding && padding.start > holes.at(-1)!.end) holes.push(padding);
    const pieces = holes.map(({ start }, i) => frame.slice(i === 0 ? 0 : holes[i - 1]!.end, start));
    return new DeltaPattern([...pieces, frame.slice(holes.at(-1)!.end)], holes);
  }

  /** Where the frames from `from` on that are alike end; `from` itself where the first one is not, or not whole. */
  end(chunk: Buffer, text: string, isAscii: boolean, from: number): number {
    this.characters = 0;
    let end = from;
    for (;;) {
      const next = this.#frameEnd(chunk, text, isAscii, end);
      if (next === -1) return end;
      end = next;
      if (end === text.length) return end;
    }
  }

  #frameEnd(chunk: Buffer, text: string, isAscii: boolean, from: number): number {
    const holes = this.#holes;
    let characters = 0;
    let at = from;
    for (let i = 0; ; i++) {
      const piece = this.#pieces[i]!;
      const start = at + piece.length;
      // Slices compare several times faster than `startsWith`.
      if (text.slice(at, start) !== piece) return -1;
      if (i === holes.length) {
        this.characters += characters;
        return start;
      }
      const { kind, text: isText } = holes[i]!;
      at = kind === "string" ? stringEnd(text, start) : runEnd(text, start, kind);
      if (at === -1) return -1;
      if (isText) characters = Math.max(characters, isAscii ? at - start : chunk.toString("utf8", start, at).length);
    }
  }
}

/**
 * Characters of text in a frame, about: escapes count as they are written. A delta is one text; who tells it under
 * two names has not written it twice.
 */
export function textIn(data: string, members: RegExp): number {
  let longest = 0;
  for (const { text, start, end } of holesOf(data, members)) if (text) longest = Math.max(longest, end - start);
  return longest;
}

/** Names cannot be forged by the text: a quote inside a string has a backslash before it. */
function holesOf(frame: string, members: RegExp): Hole[] {
  const holes: Hole[] = [];
  for (const match of frame.matchAll(members)) {
    const [found, text, first] = match;
    const behind = match.index + found.length;
    const isString = first === '"';
    const start = isString ? behind : behind - first!.length;
    const end = isString ? stringEnd(frame, start) : behind;
    if (end === -1) break;
    holes.push({ kind: isString ? "string" : "digits", text: text !== undefined, start, end });
  }
  return holes;
}

/** Some servers hide the lengths of their frames by spaces before the last brace. */
function paddingOf(frame: string): Hole | undefined {
  const end = frame.lastIndexOf("}");
  if (end === -1) return undefined;
  let start = end;
  while (frame[start - 1] === " ") start--;
  return { kind: "spaces", text: false, start, end };
}

/** Of the string whose inside begins at `from`: the place of its closing quote, or -1. */
function stringEnd(text: string, from: number): number {
  for (let end = text.indexOf('"', from); end !== -1; end = text.indexOf('"', end + 1)) {
    let back = end - 1;
    while (back >= from && text.charCodeAt(back) === 0x5c) back--;
    if ((end - back) % 2 === 1) return end;
  }
  return -1;
}

function runEnd(text: string, from: number, kind: "digits" | "spaces"): number {
  let at = from;
  if (kind === "spaces") while (text.charCodeAt(at) === 0x20) at++;
  else for (let code = text.charCodeAt(at); code >= 0x30 && code <= 0x39; code = text.charCodeAt(++at));
  return at;
}
