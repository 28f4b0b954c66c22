import { JSON_SCAN_WASM } from "./json-scan-wasm.ts";

/**
 * Finds where strings and containers of JSON end, in a window of text. What does not end in it is looked for on in the
 * next (`goOn`), which begins where the first one did. A window's length can be divided by 64, but for the last one's.
 */
export interface Finder {
  /** A window is copied to {@link TEXT}. */
  readonly bytes: Buffer;
  /** Whether all bytes are below 0x80; it may say no where one behind the end is not. */
  isAscii(at: number, end: number): boolean | number;
  /**
   * @param at behind the opening quote
   * @returns the place behind the closing one, or {@link MORE}
   */
  stringEnd(at: number, end: number, goOn: boolean): number;
  /**
   * @param at of the opening bracket
   * @param most brackets that may be open at a time
   * @returns the place behind the closing one, or {@link MORE}, {@link TOO_DEEP} or {@link WRONG}
   */
  containerEnd(at: number, end: number, goOn: boolean, most: number): number;
}

export const MORE = 0;
export const TOO_DEEP = 1;
/** A bracket that another one closes, or a backslash outside of strings. */
export const WRONG = 2;

/** Before it are the finder's own bytes, and up to 3 of the last window. */
export const TEXT = 1_024;
export const WINDOW = 64 * 1_024;
const PAGES = 2;
const PAGE = 64 * 1_024;

/** Node has it; its types do not. */
interface WebAssembly {
  Memory: new (pages: { initial: number; maximum: number }) => { buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { exports: unknown };
}

/** The fast one, where the runtime may compile it (`node --jitless` and some edge runtimes may not). */
export function newFinder(): Finder {
  try {
    return wasmFinder();
  } catch {
    return plainFinder();
  }
}

/** `assembly/json-scan.ts`: 16 and 64 bytes at a time. */
export function wasmFinder(): Finder {
  const { Memory, Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssembly }).WebAssembly;
  const memory = new Memory({ initial: PAGES, maximum: PAGES });
  const module = new Module(Buffer.from(JSON_SCAN_WASM, "base64"));
  const { exports } = new Instance(module, { env: { memory } });
  return { ...(exports as Omit<Finder, "bytes">), bytes: Buffer.from(memory.buffer) };
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** Makes a brace of a bracket. */
const BRACE_BIT = 0x20;

/** The same, byte after byte. */
export function plainFinder(): Finder {
  const bytes = Buffer.alloc(PAGES * PAGE);
  /** What closes each of the open brackets. */
  const closers: number[] = [];
  let escaped = false;
  let inString = false;

  function stringEnd(at: number, end: number, goOn: boolean): number {
    if (!goOn) escaped = false;
    for (let i = at; i < end; i++) {
      if (escaped) escaped = false;
      else if (bytes[i] === BACKSLASH) escaped = true;
      else if (bytes[i] === QUOTE) return i + 1;
    }
    return MORE;
  }

  function containerEnd(at: number, end: number, goOn: boolean, most: number): number {
    if (!goOn) {
      closers.length = 0;
      inString = false;
    }
    for (let i = at; i < end; i++) {
      if (inString) {
        i = stringEnd(i, end, true) - 1;
        if (i === MORE - 1) return MORE;
        inString = false;
        continue;
      }
      const byte = bytes[i]!;
      if (byte === QUOTE) {
        inString = true;
        escaped = false;
      } else if (byte === BACKSLASH) {
        return WRONG;
      } else if ((byte | BRACE_BIT) === OPEN_BRACE) {
        if (closers.length === most) return TOO_DEEP;
        // The closing bracket is two code points further in both cases.
        closers.push(byte + 2);
      } else if ((byte | BRACE_BIT) === CLOSE_BRACE) {
        if (closers.pop() !== byte) return WRONG;
        if (closers.length === 0) return i + 1;
      }
    }
    return MORE;
  }

  return { bytes, isAscii: () => false, stringEnd, containerEnd };
}
