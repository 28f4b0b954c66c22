/**
 * Finds where strings and containers of JSON end, 16 and 64 bytes at a time. AssemblyScript, compiled by
 * `npm run wasm` to `src/core/json-scan-wasm.ts`, which alone uses it.
 *
 * The host copies the text, a window at a time, to an address that can be divided by 64. A window is of a length that
 * can be divided by 64, but for the last. What does not end in a window is looked for on in the next.
 */

/** Answers that are no addresses. */
const MORE: usize = 0;
const TOO_DEEP: usize = 1;
/** A bracket that another one closes, or a backslash outside of strings. */
const WRONG: usize = 2;

/** What closes each of the open brackets, a byte each, is kept from here on. */
const CLOSERS: usize = 64;

const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const OPEN_BRACE: u8 = 0x7b;
const CLOSE_BRACE: u8 = 0x7d;
/** Makes a brace of a bracket. */
const BRACE_BIT: u8 = 0x20;
/** Set in brackets that open, not in those that close. */
const OPENS: u8 = 0x02;

/** Whether the first byte of the next window is escaped: 0 or 1. */
let escaped: u64 = 0;
/** All ones where the window ended within a string. */
let inString: u64 = 0;
/** Behind the last of the closers. */
let top: usize = CLOSERS;

/**
 * @param at behind the opening quote; with `goOn`: where the next window begins
 * @param end behind the last byte of the window
 * @returns the address behind the closing quote, or `MORE`
 */
export function stringEnd(at: usize, end: usize, goOn: bool): usize {
  if (goOn) at += <usize>escaped;
  const quote = i8x16.splat(QUOTE);
  const backslash = i8x16.splat(BACKSLASH);
  escaped = 0;
  while (at < end) {
    const v = v128.load(at);
    const found = i8x16.bitmask(v128.or(i8x16.eq(v, quote), i8x16.eq(v, backslash)));
    if (found === 0) {
      at += 16;
      continue;
    }
    at += <usize>ctz(found);
    if (at >= end) break;
    if (load<u8>(at) === QUOTE) return at + 1;
    at += 2;
    if (at > end) escaped = 1;
  }
  return MORE;
}

/**
 * @param at the opening bracket; with `goOn`: where the next window begins
 * @param end behind the last byte of the window
 * @param most brackets that may be open at a time
 * @returns the address behind the closing bracket, or one of `MORE`, `TOO_DEEP`, `WRONG`
 */
export function containerEnd(at: usize, end: usize, goOn: bool, most: usize): usize {
  if (!goOn) {
    escaped = 0;
    inString = 0;
    top = CLOSERS;
  }
  const full = CLOSERS + most;
  let block = at & ~63;
  // Bytes before the beginning do not count, and none behind the end.
  let mask = ~(<u64>0) << (at - block);
  for (; block < end; block += 64, mask = ~(<u64>0)) {
    if (end - block < 64) mask &= ((<u64>1) << (end - block)) - 1;
    const a = v128.load(block);
    const b = v128.load(block, 16);
    const c = v128.load(block, 32);
    const d = v128.load(block, 48);
    let quotes = bits(equal(a, QUOTE), equal(b, QUOTE), equal(c, QUOTE), equal(d, QUOTE)) & mask;
    const slashes = bits(equal(a, BACKSLASH), equal(b, BACKSLASH), equal(c, BACKSLASH), equal(d, BACKSLASH)) & mask;
    if ((slashes | escaped) !== 0) quotes &= ~escapedBy(slashes);
    // All ones from an opening quote up to the closing one.
    const strings = prefixXor(quotes) ^ inString;
    inString = <u64>(<i64>strings >> 63);
    let brackets = bits(bracket(a), bracket(b), bracket(c), bracket(d)) & mask & ~strings;
    while (brackets !== 0) {
      const place = block + <usize>ctz(brackets);
      brackets &= brackets - 1;
      const byte = load<u8>(place);
      if ((byte & OPENS) !== 0) {
        if (top === full) return TOO_DEEP;
        // The closing bracket is two code points further in both cases.
        store<u8>(top, byte + 2);
        top++;
      } else {
        top--;
        if (load<u8>(top) !== byte) return WRONG;
        if (top === CLOSERS) {
          const before = ((<u64>1) << (place - block)) - 1;
          return (slashes & ~strings & before) === 0 ? place + 1 : WRONG;
        }
      }
    }
    if ((slashes & ~strings) !== 0) return WRONG;
  }
  return MORE;
}

/** Whether all bytes up to `end` are below 0x80. What stands within 64 bytes behind counts too, at worst as another. */
export function isAscii(at: usize, end: usize): bool {
  let seen = i8x16.splat(0);
  for (; at < end; at += 64) {
    const first = v128.or(v128.load(at), v128.load(at, 16));
    seen = v128.or(seen, v128.or(first, v128.or(v128.load(at, 32), v128.load(at, 48))));
  }
  return i8x16.bitmask(seen) === 0;
}

function equal(v: v128, byte: u8): v128 {
  return i8x16.eq(v, i8x16.splat(byte));
}

function bracket(v: v128): v128 {
  const brace = v128.or(v, i8x16.splat(BRACE_BIT));
  return v128.or(equal(brace, OPEN_BRACE), equal(brace, CLOSE_BRACE));
}

/** A bit for each of 64 bytes. */
function bits(a: v128, b: v128, c: v128, d: v128): u64 {
  return (
    <u64>i8x16.bitmask(a) |
    ((<u64>i8x16.bitmask(b)) << 16) |
    ((<u64>i8x16.bitmask(c)) << 32) |
    ((<u64>i8x16.bitmask(d)) << 48)
  );
}

/**
 * The bytes that a backslash stands before which is not escaped itself (as simdjson finds them:
 * https://github.com/simdjson/simdjson, `json_escape_scanner`).
 */
function escapedBy(slashes: u64): u64 {
  const odd: u64 = ((<u64>0xaaaaaaaa) << 32) | 0xaaaaaaaa;
  const may = slashes & ~escaped;
  const codes = (((may << 1) | odd) - may) ^ odd;
  const found = codes ^ (slashes | escaped);
  escaped = (codes & slashes) >> 63;
  return found;
}

/** Each bit: whether an odd number of bits stand up to it. */
function prefixXor(x: u64): u64 {
  x ^= x << 1;
  x ^= x << 2;
  x ^= x << 4;
  x ^= x << 8;
  x ^= x << 16;
  x ^= x << 32;
  return x;
}
