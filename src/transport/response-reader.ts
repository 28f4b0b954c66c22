/** A broken rule of HTTP/1.1. What follows on the connection cannot be trusted. */
export class HttpSyntaxError extends Error {}

export interface ResponseEvents {
  /** @param headers lower-case names; repeated ones joined with ", " */
  head(status: number, headers: Record<string, string>): void;
  /** What arrived of the body in one read; the reader keeps nothing of it. */
  data(chunk: Buffer): void;
  /** @param reusable whether the connection may carry another request */
  end(reusable: boolean): void;
}

const MAX_HEAD_BYTES = 64 * 1024;
/** A line of a chunk's size with its extensions, or all trailers. */
const MAX_FRAMING_BYTES = 16 * 1024;

type Part =
  | "head"
  | "length"
  | "until-close"
  | "size"
  | "extension"
  | "size-lf"
  | "chunk"
  | "chunk-cr"
  | "chunk-lf"
  | "trailers";

/**
 * Reads answers of HTTP/1.0 and 1.1, one after the other, from the bytes of a connection (RFC 9112), and as strictly:
 * what two readers could understand differently is an error. Interim answers (1xx) are skipped.
 */
export class ResponseReader {
  readonly #events: ResponseEvents;
  #part: Part = "head";
  /** The beginning of what is read as text: a head, a size, trailers. */
  #begun = "";
  /** Bytes that are missing of the body or of the chunk. */
  #missing = 0;
  /** Of a chunk's size, and of what else stands in its line. */
  #digits = 0;
  #keepAlive = true;

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /**
   * @param bytes the first `length` of them are read, and may be overwritten afterwards
   * @throws HttpSyntaxError
   */
  feed(bytes: Buffer, length: number): void {
    let at = 0;
    if (this.#part === "head") {
      at = this.#head(bytes, length);
      if (at === -1) return;
    }
    // All that the read holds of the body goes on in one piece, however many chunks it came in.
    let body: Buffer | undefined;
    let filled = 0;
    let whole = this.#part === "length" && this.#missing === 0;
    while (!whole && at < length) {
      switch (this.#part) {
        case "length":
        case "chunk":
        case "until-close": {
          const size = Math.min(length - at, this.#missing);
          body ??= Buffer.allocUnsafe(this.#part === "length" ? size : length - at);
          bytes.copy(body, filled, at, at + size);
          filled += size;
          at += size;
          this.#missing -= size;
          if (this.#missing > 0) break;
          if (this.#part === "length") whole = true;
          else this.#part = "chunk-cr";
          break;
        }
        case "chunk-cr":
        case "chunk-lf": {
          const isCr = this.#part === "chunk-cr";
          if (bytes[at++] !== (isCr ? CR : LF)) throw new HttpSyntaxError("A chunk is longer than its size");
          this.#part = isCr ? "chunk-lf" : "size";
          break;
        }
        case "size": {
          const byte = bytes[at++]!;
          const digit = HEX[byte]!;
          if (digit !== NO_DIGIT && this.#digits++ < MOST_DIGITS) this.#missing = this.#missing * 16 + digit;
          else if (digit !== NO_DIGIT || this.#digits === 0)
            throw new HttpSyntaxError("The size of a chunk is no number");
          else if (byte === CR) this.#part = "size-lf";
          else if (byte === SEMICOLON || byte === SPACE || byte === TAB) this.#part = "extension";
          else throw new HttpSyntaxError("The size of a chunk is no number");
          break;
        }
        case "extension":
          if (bytes[at] === CR) this.#part = "size-lf";
          else if (bytes[at] === LF || ++this.#digits > MAX_FRAMING_BYTES)
            throw new HttpSyntaxError("The line of a chunk's size does not end");
          at++;
          break;
        case "size-lf":
          if (bytes[at++] !== LF) throw new HttpSyntaxError("A line ends without LF");
          this.#digits = 0;
          this.#part = this.#missing === 0 ? "trailers" : "chunk";
          break;
        default: {
          const end = this.#line(bytes, at, length);
          if (end === -1) at = length;
          else {
            at = end;
            whole = this.#begun === "\r\n" || this.#begun.endsWith("\r\n\r\n");
          }
        }
      }
    }
    if (filled > 0) this.#events.data(filled === body!.length ? body! : body!.subarray(0, filled));
    if (whole) this.#end(at === length);
  }

  /**
   * The other side has sent its last byte.
   * @throws HttpSyntaxError when the answer is not whole
   */
  close(): void {
    if (this.#part !== "until-close")
      throw new HttpSyntaxError("The connection was closed before the answer was whole");
    this.#end(false);
  }

  #end(nothingFollows: boolean): void {
    const reusable = this.#keepAlive && nothingFollows;
    this.#part = "head";
    this.#begun = "";
    this.#events.end(reusable);
  }

  /** @returns where the body begins; -1: the head is not whole */
  #head(bytes: Buffer, length: number): number {
    let at = 0;
    while (at < length) {
      let end = this.#begun === "" ? bytes.indexOf(HEAD_END, at) : -1;
      if (end !== -1 && end + 4 <= length) {
        const text = bytes.toString("latin1", at, end);
        at = end + 4;
        if (this.#begin(text)) return at;
        continue;
      }
      const before = this.#begun.length;
      this.#begun += bytes.toString("latin1", at, length);
      // Its last three bytes may have come with the read before.
      end = this.#begun.indexOf("\r\n\r\n", Math.max(0, before - 3));
      if (end === -1) {
        checkHead(this.#begun.length);
        return -1;
      }
      const text = this.#begun.slice(0, end);
      this.#begun = "";
      at += end + 4 - before;
      if (this.#begin(text)) return at;
    }
    return -1;
  }

  /** @returns whether it is the answer itself, not an interim one */
  #begin(text: string): boolean {
    checkHead(text.length);
    const status = statusOf(text);
    const headers = headersOf(text);
    if (status < 200) {
      if (status === 101) throw new HttpSyntaxError("The upstream changes the protocol, which nobody asked for");
      return false;
    }
    const { connection, "content-length": length, "transfer-encoding": coding } = headers;
    this.#keepAlive =
      text.charCodeAt(7) === 0x31
        ? !says(connection, "close")
        : connection !== undefined && says(connection, "keep-alive");
    if (status === 204 || status === 304) {
      this.#part = "length";
      this.#missing = 0;
    } else if (coding !== undefined) {
      if (coding.toLowerCase() !== "chunked")
        throw new HttpSyntaxError("The upstream uses an unknown transfer encoding");
      // Two lengths: the chunks count, and the connection is not trusted any longer.
      if (length !== undefined) this.#keepAlive = false;
      this.#part = "size";
      this.#missing = 0;
      this.#digits = 0;
    } else if (length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) throw new HttpSyntaxError("The upstream's content-length is not a number");
      this.#part = "length";
      this.#missing = Number(length);
    } else {
      this.#part = "until-close";
      this.#missing = Number.POSITIVE_INFINITY;
    }
    this.#events.head(status, headers);
    return true;
  }

  /** Takes a line into `#begun`. @returns where the next begins; -1: it is not whole */
  #line(bytes: Buffer, from: number, length: number): number {
    const end = bytes.indexOf(LF, from);
    const to = end === -1 || end >= length ? length : end + 1;
    this.#begun += bytes.toString("latin1", from, to);
    if (this.#begun.length > MAX_FRAMING_BYTES) throw new HttpSyntaxError("The framing of the answer is too long");
    if (to === length && bytes[to - 1] !== LF) return -1;
    if (!this.#begun.endsWith("\r\n")) throw new HttpSyntaxError("A line ends without CR");
    return to;
  }
}

const CR = 0x0d;
const LF = 0x0a;
const HEAD_END = Buffer.from("\r\n\r\n");

const TAB = 0x09;
const SPACE = 0x20;
const SEMICOLON = 0x3b;
const NO_DIGIT = 255;
/** More than memory holds. */
const MOST_DIGITS = 12;
const HEX = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(digit) ? NO_DIGIT : digit;
});

function checkHead(length: number): void {
  if (length <= MAX_HEAD_BYTES) return;
  throw new HttpSyntaxError(`The head of the answer is longer than ${MAX_HEAD_BYTES} bytes`);
}

/** After the status stands its text, nothing, or already the next line. */
const STATUS_LINE = /^HTTP\/1\.[01] [1-9]\d\d(?:[ \r]|$)/;

function statusOf(text: string): number {
  if (!STATUS_LINE.test(text)) throw new HttpSyntaxError("The answer is not HTTP/1.1");
  return (text.charCodeAt(9) - 48) * 100 + (text.charCodeAt(10) - 48) * 10 + text.charCodeAt(11) - 48;
}

/** Control characters, and line ends that are none. */
const UNSAFE = /[^\t\r\n\x20-\x7e\x80-\xff]|\r[^\n]|[^\r]\n/;
const NAME = /^[\w!#$%&'*+.^`|~-]+$/;

function headersOf(text: string): Record<string, string> {
  if (UNSAFE.test(text)) throw new HttpSyntaxError("The head of the answer holds control characters");
  // Without a prototype: a header may be called `constructor`.
  const headers: Record<string, string> = Object.create(null);
  let at = text.indexOf("\r\n");
  while (at !== -1) {
    const from = at + 2;
    at = text.indexOf("\r\n", from);
    const colon = text.indexOf(":", from);
    const to = at === -1 ? text.length : at;
    const name = text.slice(from, colon).toLowerCase();
    // Blanks before the colon and folded lines are what smugglers use.
    if (colon === -1 || colon > to || !NAME.test(name)) throw new HttpSyntaxError("A header of the answer has no name");
    const value = text.slice(colon + 1, to).trim();
    const before = headers[name];
    headers[name] = before === undefined ? value : `${before}, ${value}`;
  }
  return headers;
}

/** Whether a comma-separated list has this member. */
function says(list: string | undefined, word: string): boolean {
  if (list === undefined) return false;
  return list === word || list.split(",").some((member) => member.trim().toLowerCase() === word);
}
