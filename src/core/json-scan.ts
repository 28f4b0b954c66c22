import { isUtf8 } from "node:buffer";
import { GatewayError } from "./errors.ts";

/** Byte range of a member's value, `end` exclusive. */
export interface Place {
  start: number;
  end: number;
  /** The value, once somebody has parsed it. */
  value?: unknown;
}

export interface Members {
  /** Offset of the opening brace. */
  readonly open: number;
  readonly size: number;
  get(name: string): Place | undefined;
}

/** Deeper nesting than this is refused: no provider needs it, and parsers have been crashed by it. */
const MAX_DEPTH = 128;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** Makes a brace of a bracket. */
const BRACE_BIT = 0x20;

/**
 * Finds the top-level members of a JSON object without parsing it: strings are hopped over, the rest is counted.
 * It checks structure only (brackets, strings, separators at the top), not every token: whoever needs the values
 * parses them.
 * @throws GatewayError `invalid_request` for anything but one object, duplicate top-level members, or too deep nesting
 */
export function scanObject(bytes: Buffer): Members {
  if (!isUtf8(bytes)) refuse("The request body is not valid UTF-8");
  if (bytes[0] === 0xef && bytes[1] === 0xbb) refuse("The request body starts with a byte order mark");
  const text = new Text(bytes);
  let i = skipSpace(bytes, 0);
  if (i === bytes.length) refuse("The request body is empty; a JSON object was expected");
  if (bytes[i] !== OPEN_BRACE) refuse("The request body must be a JSON object");
  const found = new Found(i);
  i = skipSpace(bytes, i + 1);
  if (bytes[i] === CLOSE_BRACE) {
    i++;
  } else {
    for (;;) {
      if (bytes[i] !== QUOTE) refuse(`The request body is not valid JSON: a member name was expected at byte ${i}`);
      const nameEnd = text.stringEnd(i);
      const name = memberName(text, i, nameEnd);
      i = skipSpace(bytes, nameEnd);
      if (bytes[i] !== COLON) refuse(`The request body is not valid JSON: ":" was expected at byte ${i}`);
      const start = skipSpace(bytes, i + 1);
      const end = valueEnd(text, start);
      if (!found.add(name, { start, end, value: undefined })) {
        throw new GatewayError("invalid_request", `\`${name.slice(0, 64)}\` stands twice in the request body`, {
          param: name.slice(0, 64),
        });
      }
      i = skipSpace(bytes, end);
      if (bytes[i] === COMMA) {
        i = skipSpace(bytes, i + 1);
        continue;
      }
      if (bytes[i] === CLOSE_BRACE) {
        i++;
        break;
      }
      refuse(`The request body is not valid JSON: "," or "}" was expected at byte ${i}`);
    }
  }
  if (skipSpace(bytes, i) !== bytes.length) {
    refuse("The request body is not valid JSON: there is more after the object");
  }
  return found;
}

/** Members that are looked through one by one; more are found by a map. */
const FEW = 16;

class Found implements Members {
  readonly open: number;
  readonly #names: string[] = [];
  readonly #places: Place[] = [];
  #byName: Map<string, Place> | undefined;

  constructor(open: number) {
    this.open = open;
  }

  get size(): number {
    return this.#names.length;
  }

  get(name: string): Place | undefined {
    if (this.#byName) return this.#byName.get(name);
    const names = this.#names;
    for (let i = 0; i < names.length; i++) if (names[i] === name) return this.#places[i];
    return undefined;
  }

  /** @returns false where there is one of this name */
  add(name: string, place: Place): boolean {
    if (this.get(name)) return false;
    this.#names.push(name);
    this.#places.push(place);
    if (this.#byName) this.#byName.set(name, place);
    else if (this.#names.length > FEW) this.#byName = new Map(this.#names.map((each, i) => [each, this.#places[i]!]));
    return true;
  }
}

function refuse(message: string): never {
  throw new GatewayError("invalid_request", message);
}

function skipSpace(bytes: Buffer, from: number): number {
  const { length } = bytes;
  let i = from;
  for (; i < length; i++) {
    const c = bytes[i]!;
    if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) break;
  }
  return i;
}

function memberName(text: Text, start: number, end: number): string {
  const raw = text.slice(start + 1, end - 1);
  if (!raw.includes("\\")) return raw;
  try {
    return JSON.parse(`"${raw}"`) as string;
  } catch {
    return refuse(`The request body is not valid JSON: bad escape in a member name at byte ${start}`);
  }
}

function valueEnd(text: Text, start: number): number {
  const { bytes } = text;
  const { length } = bytes;
  const first = start < length ? bytes[start]! : 0;
  if (first === QUOTE) return text.stringEnd(start);
  if ((first | BRACE_BIT) === OPEN_BRACE) return containerEnd(text, start);
  let i = start;
  for (; i < length; i++) {
    const c = bytes[i]!;
    if (c === COMMA || c === CLOSE_BRACE || c <= 0x20) break;
  }
  if (i === start) refuse(`The request body is not valid JSON: a value was expected at byte ${start}`);
  return i;
}

/** What closes each of the open brackets. One for all scans: none is interrupted. */
const closers = new Uint8Array(MAX_DEPTH);

function containerEnd(text: Text, start: number): number {
  const { bytes } = text;
  const { length } = bytes;
  let depth = 0;
  let i = start;
  while (i < length) {
    let c = bytes[i]!;
    while (c === QUOTE) {
      i = text.stringEnd(i);
      c = bytes[i]!;
      // Behind a separator there mostly is the next string.
      if (c === COLON || c === COMMA) c = bytes[++i]!;
    }
    if ((c | BRACE_BIT) === OPEN_BRACE) {
      if (depth === MAX_DEPTH) refuse(`The request body is nested deeper than ${MAX_DEPTH} levels`);
      // The closing bracket is two code points further in both cases.
      closers[depth++] = c + 2;
    } else if ((c | BRACE_BIT) === CLOSE_BRACE) {
      if (closers[--depth] !== c) refuse(`The request body is not valid JSON: unexpected bracket at byte ${i}`);
      if (depth === 0) return i + 1;
    }
    i++;
  }
  return refuse("The request body is not valid JSON: it ends too early");
}

/** Bytes that are read as text at a time. */
const WINDOW = 8_192;

/** The body, a window of which is read as Latin-1 text: a native search costs half as much in a string as in a buffer. */
class Text {
  readonly bytes: Buffer;
  #window: string;
  #at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.#window = bytes.toString("latin1", 0, WINDOW);
  }

  slice(start: number, end: number): string {
    const at = this.#at;
    const isSame = start >= at && end - at <= this.#window.length && isAscii(this.bytes, start, end);
    return isSame ? this.#window.slice(start - at, end - at) : this.bytes.toString("utf8", start, end);
  }

  /** `start` is at the opening quote; returns the offset behind the closing one. */
  stringEnd(start: number): number {
    const { bytes } = this;
    let from = start + 1;
    for (;;) {
      let quote = nearQuote(bytes, from);
      if (quote === -1) quote = this.farQuote(from + NEAR);
      if (bytes[quote - 1] !== BACKSLASH) return quote + 1;
      let back = quote - 2;
      while (bytes[back] === BACKSLASH) back--;
      if ((quote - back) % 2 === 1) return quote + 1;
      from = quote + 1;
    }
  }

  farQuote(from: number): number {
    const found = this.#window.indexOf('"', from - this.#at);
    if (found !== -1) return this.#at + found;
    const quote = this.bytes.indexOf(QUOTE, from);
    if (quote === -1) return refuse("The request body is not valid JSON: a string does not end");
    this.#at = quote;
    this.#window = this.bytes.toString("latin1", quote, quote + WINDOW);
    return quote;
  }
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i]! >= 0x80) return false;
  return true;
}

/** Bytes in which a quote is looked for by hand: most strings are short. */
const NEAR = 12;

/** Written out, as a loop takes twice as long. */
function nearQuote(bytes: Buffer, from: number): number {
  let i = from - 1;
  if (
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE &&
    bytes[++i] !== QUOTE
  )
    return -1;
  return i;
}
