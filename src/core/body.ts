import type { Bounds, Dialect, Operation, PathFacts } from "./dialect.ts";
import { GatewayError } from "./errors.ts";
import { type Members, type Place, scanObject } from "./json-scan.ts";
import { mentions } from "./mentions.ts";
import type { ChatRequest } from "./request.ts";
import { Rope } from "./rope.ts";
import { isObject, type JsonObject } from "./util.ts";

/** A request's body: bytes, as many pieces as it came in, or what a framework has made of them. */
export type BodyContent = { bytes: Buffer | readonly Buffer[] } | { json: JsonObject };

/**
 * The request as it came. Nothing is parsed before somebody needs it: the router needs the model, a pass-through
 * needs where three members stand, and only a translation needs the rest.
 */
export class RequestBody {
  #rope: Rope | undefined;
  /** By a framework. */
  readonly #given: JsonObject | undefined;
  #json: JsonObject | undefined;
  #members: Members | undefined;
  #bounds: Bounds | undefined;
  #canonical: ChatRequest | undefined;
  /** Kept when the canonical form is gone. */
  #wishes: Wishes | undefined;
  readonly path: PathFacts;
  /** Estimate of the input, made once for whoever asks first. */
  estimatedTokens: number | undefined;

  constructor(content: BodyContent, path: PathFacts = NO_FACTS) {
    if ("bytes" in content) this.#rope = new Rope(content.bytes);
    else this.#given = content.json;
    this.path = path;
  }

  /** As sent; written from the object where a framework has parsed it already. */
  get #sent(): Rope {
    this.#rope ??= new Rope(Buffer.from(JSON.stringify(this.#given)));
    return this.#rope;
  }

  /** The bytes as they came, none of them copied. */
  get pieces(): readonly Buffer[] {
    return this.#sent.pieces;
  }

  get byteLength(): number {
    return this.#sent.length;
  }

  /** @param mark ASCII */
  mentions(mark: string): boolean {
    return mentions(this.#sent.pieces, mark);
  }

  get text(): string {
    return this.#sent.whole.toString("utf8");
  }

  /** Where the top-level members stand. @throws GatewayError `invalid_request` on duplicates or no object */
  get members(): Members {
    this.#members ??= scanObject(this.#sent);
    return this.#members;
  }

  get json(): JsonObject {
    if (this.#given) return this.#given;
    if (!this.#json) {
      // The scan first: it bounds the depth and refuses duplicate members, which JSON.parse would hide.
      void this.members;
      let value: unknown;
      try {
        value = JSON.parse(this.text);
      } catch (error) {
        throw new GatewayError("invalid_request", `The request body is not valid JSON: ${(error as Error).message}`);
      }
      if (!isObject(value)) throw new GatewayError("invalid_request", "The request body must be a JSON object");
      this.#json = value;
    }
    return this.#json;
  }

  /** A top-level member, parsed alone, once. @throws GatewayError `invalid_request` */
  member(name: string): unknown {
    const json = this.#given ?? this.#json;
    if (json) return Object.hasOwn(json, name) ? json[name] : undefined;
    const place = this.members.get(name);
    if (!place) return undefined;
    place.value ??= this.#valueAt(place, name);
    return place.value;
  }

  /** Without an object of its own for the few bytes, where they need not be put together. */
  #valueAt({ start, end }: Place, name: string): unknown {
    const { pieces } = this.#sent;
    if (pieces.length === 1) return readValue(pieces[0]!, start, end, name);
    return readValue(this.#sent.slice(start, end), 0, end - start, name);
  }

  get model(): string {
    if (this.path.model !== undefined) return this.path.model;
    const model = this.member("model");
    if (typeof model !== "string" || model === "") {
      throw new GatewayError("invalid_request", "`model` is required and must be a string", { param: "model" });
    }
    if (model.length > 256)
      throw new GatewayError("model_not_found", "`model` is longer than 256 characters", { param: "model" });
    return model;
  }

  get stream(): boolean {
    if (this.path.stream !== undefined) return this.path.stream;
    const stream = this.member("stream");
    if (stream !== undefined && stream !== null && typeof stream !== "boolean") {
      throw new GatewayError("invalid_request", "`stream` must be a boolean", { param: "stream" });
    }
    return stream === true;
  }

  /** How the request bounds its output; read once. @throws GatewayError `invalid_request` */
  bounds(dialect: Dialect): Bounds {
    this.#bounds ??= dialect.bounds.read(this);
    return this.#bounds;
  }

  canonical(dialect: Dialect, operation: Operation): ChatRequest {
    if (!this.#canonical) {
      this.#canonical =
        operation === "count-tokens" && dialect.countTokens
          ? dialect.countTokens.decodeRequest(this.json, this.path)
          : dialect.decodeRequest(this.json, this.path);
      this.#wishes = wishesOf(this.#canonical);
    }
    return this.#canonical;
  }

  /** What the caller wants to see of the answer. A request that passes through may be one that only its upstream can read. */
  wishes(dialect: Dialect, operation: Operation): Wishes {
    if (!this.#wishes) {
      try {
        this.canonical(dialect, operation);
      } catch {
        this.#wishes = NO_WISHES;
      }
    }
    return this.#wishes!;
  }

  /** Drops what can be read from the bytes again: a long answer must not hold its request three times. */
  forget(): void {
    this.#json = undefined;
    this.#canonical = undefined;
  }

  /**
   * The bytes with top-level members replaced or added, nothing else touched or copied.
   * @param values JSON text by member name
   */
  splice(values: Readonly<Record<string, string>>): Buffer[] {
    const source = this.#sent;
    const edits: Edit[] = [];
    let added = "";
    for (const name in values) {
      const place = this.members.get(name);
      if (place) edits.push({ start: place.start, end: place.end, text: values[name]! });
      else added += `${JSON.stringify(name)}:${values[name]},`;
    }
    if (added !== "") {
      const open = this.members.open + 1;
      edits.push({ start: open, end: open, text: this.members.size === 0 ? added.slice(0, -1) : added });
    }
    if (edits.length > 1) edits.sort((a, b) => a.start - b.start);
    const pieces: Buffer[] = [];
    let from = 0;
    for (const { start, end, text } of edits) {
      source.take(pieces, from, start);
      pieces.push(Buffer.from(text));
      from = end;
    }
    source.take(pieces, from, source.length);
    return pieces;
  }
}

const NO_FACTS: PathFacts = {};

export interface Wishes {
  /** Chat: a usage chunk at the end of a stream. */
  readonly includeUsage: boolean;
  readonly showThinking: boolean;
}

const NO_WISHES: Wishes = { includeUsage: false, showThinking: true };

const wishesOf = ({ includeUsage, reasoning }: ChatRequest): Wishes => ({
  includeUsage: includeUsage ?? false,
  showThinking: reasoning?.show ?? true,
});

interface Edit {
  start: number;
  end: number;
  text: string;
}

/** The value of a member; the few kinds that every request has are read without a parser. */
function readValue(bytes: Buffer, start: number, end: number, name: string): unknown {
  const length = end - start;
  const first = bytes[start]!;
  if (first === 0x22 && length <= MAX_PLAIN && isPlain(bytes, start + 1, end - 1))
    return bytes.toString("latin1", start + 1, end - 1);
  if (first >= 0x31 && first <= 0x39 && length <= MAX_DIGITS) {
    const number = digits(bytes, start, end);
    if (number !== undefined) return number;
  }
  const text = bytes.toString("utf8", start, end);
  if (text === "true" || text === "false") return text === "true";
  try {
    return JSON.parse(text);
  } catch {
    throw new GatewayError("invalid_request", `\`${name}\` is not valid JSON`, { param: name });
  }
}

const MAX_PLAIN = 64;
/** Whole numbers this long are exact. */
const MAX_DIGITS = 15;

/** Printable ASCII without escapes. */
function isPlain(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const c = bytes[i]!;
    if (c < 0x20 || c > 0x7e || c === 0x5c) return false;
  }
  return true;
}

function digits(bytes: Buffer, start: number, end: number): number | undefined {
  let number = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    number = number * 10 + digit;
  }
  return number;
}
