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
const BACKSLASH = 0x5c;

/**
 * Finds the top-level members of a JSON object without parsing it: strings are hopped over, the rest is counted.
 * It checks structure only (brackets, strings, separators at the top), not every token: whoever needs the values
 * parses them.
 * @throws GatewayError `invalid_request` for anything but one object, duplicate top-level members, or too deep nesting
 */
export function scanObject(bytes: Buffer): Members {
  const places = new Map<string, Place>();
  const length = bytes.length;
  if (!isUtf8(bytes)) refuse("The request body is not valid UTF-8");
  if (bytes[0] === 0xef && bytes[1] === 0xbb) refuse("The request body starts with a byte order mark");
  let i = skipSpace(bytes, 0);
  if (i === length) refuse("The request body is empty; a JSON object was expected");
  if (bytes[i] !== 0x7b) refuse("The request body must be a JSON object");
  const open = i;
  i = skipSpace(bytes, i + 1);
  if (bytes[i] === 0x7d) {
    i++;
  } else {
    for (;;) {
      if (bytes[i] !== QUOTE) refuse(`The request body is not valid JSON: a member name was expected at byte ${i}`);
      const nameEnd = stringEnd(bytes, i);
      const name = memberName(bytes, i, nameEnd);
      i = skipSpace(bytes, nameEnd);
      if (bytes[i] !== 0x3a) refuse(`The request body is not valid JSON: ":" was expected at byte ${i}`);
      const start = skipSpace(bytes, i + 1);
      const end = valueEnd(bytes, start);
      if (places.has(name)) {
        throw new GatewayError("invalid_request", `\`${name.slice(0, 64)}\` stands twice in the request body`, {
          param: name.slice(0, 64),
        });
      }
      places.set(name, { start, end });
      i = skipSpace(bytes, end);
      if (bytes[i] === 0x2c) {
        i = skipSpace(bytes, i + 1);
        continue;
      }
      if (bytes[i] === 0x7d) {
        i++;
        break;
      }
      refuse(`The request body is not valid JSON: "," or "}" was expected at byte ${i}`);
    }
  }
  if (skipSpace(bytes, i) !== length) refuse("The request body is not valid JSON: there is more after the object");
  return { open, size: places.size, get: (name) => places.get(name) };
}

function refuse(message: string): never {
  throw new GatewayError("invalid_request", message);
}

function skipSpace(bytes: Buffer, from: number): number {
  let i = from;
  for (let c = bytes[i]; c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09; c = bytes[++i]);
  return i;
}

function memberName(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString("utf8", start + 1, end - 1);
  if (!raw.includes("\\")) return raw;
  try {
    return JSON.parse(`"${raw}"`) as string;
  } catch {
    return refuse(`The request body is not valid JSON: bad escape in a member name at byte ${start}`);
  }
}

/** `start` is at the opening quote; returns the offset behind the closing one. */
function stringEnd(bytes: Buffer, start: number): number {
  let from = start + 1;
  for (;;) {
    // Short strings are the most: look by hand before calling into native code.
    const near = Math.min(from + 24, bytes.length);
    let quote = -1;
    for (let i = from; i < near; i++) {
      if (bytes[i] === QUOTE) {
        quote = i;
        break;
      }
    }
    if (quote === -1) quote = bytes.indexOf(QUOTE, near);
    if (quote === -1) return refuse("The request body is not valid JSON: a string does not end");
    let back = quote - 1;
    while (bytes[back] === BACKSLASH) back--;
    if ((quote - back) % 2 === 1) return quote + 1;
    from = quote + 1;
  }
}

function valueEnd(bytes: Buffer, start: number): number {
  const first = bytes[start];
  if (first === QUOTE) return stringEnd(bytes, start);
  if (first === 0x7b || first === 0x5b) return containerEnd(bytes, start);
  let i = start;
  for (let c = bytes[i]; c !== undefined && c !== 0x2c && c !== 0x7d && c > 0x20; c = bytes[++i]);
  if (i === start) refuse(`The request body is not valid JSON: a value was expected at byte ${start}`);
  return i;
}

function containerEnd(bytes: Buffer, start: number): number {
  const closers: number[] = [];
  let i = start;
  const length = bytes.length;
  while (i < length) {
    const c = bytes[i]!;
    if (c === QUOTE) {
      i = stringEnd(bytes, i);
      continue;
    }
    if (c === 0x7b || c === 0x5b) {
      // The closing bracket is two code points further in both cases.
      closers.push(c + 2);
      if (closers.length > MAX_DEPTH) refuse(`The request body is nested deeper than ${MAX_DEPTH} levels`);
    } else if (c === 0x7d || c === 0x5d) {
      if (closers.pop() !== c) refuse(`The request body is not valid JSON: unexpected bracket at byte ${i}`);
      if (closers.length === 0) return i + 1;
    }
    i++;
  }
  return refuse("The request body is not valid JSON: it ends too early");
}
