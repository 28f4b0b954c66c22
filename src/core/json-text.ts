import { isUtf8 } from "node:buffer";
import { GatewayError } from "./errors.ts";
import { MORE, newFinder, TEXT, TOO_DEEP, WINDOW, WRONG } from "./json-finder.ts";
import type { Rope } from "./rope.ts";

/** One for all texts: each is read in one go. */
const finder = newFinder();
const { bytes } = finder;
const room = bytes.subarray(TEXT, TEXT + WINDOW);

const BACKSLASH = 0x5c;
/** Names that were read before: the same few stand in every request. */
const NAMES = 256;
const MAX_NAME = 32;
const names = new Array<string>(NAMES).fill("");

function stands(name: string, address: number): boolean {
  for (let i = 0; i < name.length; i++) if (bytes[address + i] !== name.charCodeAt(i)) return false;
  return true;
}

/**
 * JSON as UTF-8, read from its beginning to its end through a window, which is one for all: a text is read in one go.
 * Offsets are those of the whole text. Where a window has ended, what is before it cannot be read any more.
 * @throws GatewayError `invalid_request`, here and from all of its methods
 */
export class JsonText {
  readonly #source: Rope;
  readonly #mostDepth: number;
  /** Offset of the window's first byte less its address. */
  #shift = -TEXT;
  /** Address behind the window's last byte. */
  #end = TEXT;
  /** Bytes before the window that begin a character. */
  #begun = 0;

  constructor(source: Rope, mostDepth: number) {
    this.#source = source;
    this.#mostDepth = mostDepth;
    this.#next();
    if (bytes[TEXT] === 0xef && bytes[TEXT + 1] === 0xbb && source.length > 1)
      refuse("The request body starts with a byte order mark");
  }

  /** The byte at an offset; 0 behind the last. */
  at(offset: number): number {
    const address = offset - this.#shift;
    if (address < this.#end) return bytes[address]!;
    return this.#next() ? this.at(offset) : 0;
  }

  /** The first offset from `offset` on at which there is something else than white space, or the text's length. */
  skipSpace(offset: number): number {
    let i = offset;
    for (;;) {
      const c = this.at(i);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return i;
      i++;
    }
  }

  /** @param offset of the opening quote @returns the offset behind the closing one */
  stringEnd(offset: number): number {
    let address = finder.stringEnd(offset + 1 - this.#shift, this.#end, false);
    while (address === MORE) {
      if (!this.#next()) return refuse("The request body is not valid JSON: a string does not end");
      address = finder.stringEnd(TEXT, this.#end, true);
    }
    return address + this.#shift;
  }

  /** The text of a string that has no escapes and is still in the window, as most names are. */
  plainString(start: number, end: number): string | undefined {
    const address = start - this.#shift;
    const length = end - start;
    if (address < TEXT || length === 0 || length > MAX_NAME) return undefined;
    const slot = (bytes[address]! * 7 + bytes[address + length - 1]! * 3 + length) % NAMES;
    const name = names[slot]!;
    if (name.length === length && stands(name, address)) return name;
    for (let i = 0; i < length; i++) {
      const byte = bytes[address + i]!;
      if (byte >= 0x80 || byte === BACKSLASH) return undefined;
    }
    names[slot] = bytes.toString("latin1", address, address + length);
    return names[slot];
  }

  /** @param offset of the opening bracket @returns the offset behind the closing one */
  containerEnd(offset: number): number {
    let address = finder.containerEnd(offset - this.#shift, this.#end, false, this.#mostDepth);
    while (address === MORE) {
      if (!this.#next()) return refuse("The request body is not valid JSON: it ends too early");
      address = finder.containerEnd(TEXT, this.#end, true, this.#mostDepth);
    }
    if (address === TOO_DEEP) refuse(`The request body is nested deeper than ${this.#mostDepth} levels`);
    if (address === WRONG)
      refuse(`The request body is not valid JSON: wrong brackets or a stray backslash in the value at byte ${offset}`);
    return address + this.#shift;
  }

  /** Moves the window on. @returns whether there is more of the text */
  #next(): boolean {
    const end = this.#end;
    const start = end + this.#shift;
    if (start >= this.#source.length) return false;
    if (this.#begun > 0) bytes.copyWithin(TEXT - this.#begun, end - this.#begun, end);
    const filled = this.#source.copy(room, start);
    this.#shift = start - TEXT;
    this.#end = TEXT + filled;
    const isLast = start + filled === this.#source.length;
    const from = TEXT - this.#begun;
    this.#begun = isLast ? 0 : unfinished(this.#end);
    if (finder.isAscii(from, this.#end)) return true;
    if (!isUtf8(bytes.subarray(from, this.#end - this.#begun))) refuse("The request body is not valid UTF-8");
    return true;
  }
}

/** Bytes before an address that begin a character which goes on behind it. */
function unfinished(end: number): number {
  for (let count = 1; count <= 3; count++) {
    const byte = bytes[end - count]!;
    if (byte >= 0xc0) return count < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? count : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}

function refuse(message: string): never {
  throw new GatewayError("invalid_request", message);
}
