import { GatewayError } from "./errors.ts";
import { JsonText } from "./json-text.ts";
import type { Rope } from "./rope.ts";

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
export function scanObject(source: Rope): Members {
  const text = new JsonText(source, MAX_DEPTH);
  let i = text.skipSpace(0);
  if (i === source.length) refuse("The request body is empty; a JSON object was expected");
  if (text.at(i) !== OPEN_BRACE) refuse("The request body must be a JSON object");
  const found = new Found(i);
  i = text.skipSpace(i + 1);
  if (text.at(i) === CLOSE_BRACE) {
    i++;
  } else {
    for (;;) {
      if (text.at(i) !== QUOTE) refuse(`The request body is not valid JSON: a member name was expected at byte ${i}`);
      const nameEnd = text.stringEnd(i);
      const name = text.plainString(i + 1, nameEnd - 1) ?? memberName(source.slice(i + 1, nameEnd - 1), i);
      i = text.skipSpace(nameEnd);
      if (text.at(i) !== COLON) refuse(`The request body is not valid JSON: ":" was expected at byte ${i}`);
      const start = text.skipSpace(i + 1);
      const end = valueEnd(text, start);
      if (!found.add(name, { start, end, value: undefined })) {
        throw new GatewayError("invalid_request", `\`${name.slice(0, 64)}\` stands twice in the request body`, {
          param: name.slice(0, 64),
        });
      }
      i = text.skipSpace(end);
      if (text.at(i) === COMMA) {
        i = text.skipSpace(i + 1);
        continue;
      }
      if (text.at(i) === CLOSE_BRACE) {
        i++;
        break;
      }
      refuse(`The request body is not valid JSON: "," or "}" was expected at byte ${i}`);
    }
  }
  if (text.skipSpace(i) !== source.length) {
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

function memberName(raw: Buffer, at: number): string {
  const name = raw.toString("utf8");
  if (!name.includes("\\")) return name;
  try {
    return JSON.parse(`"${name}"`) as string;
  } catch {
    return refuse(`The request body is not valid JSON: bad escape in a member name at byte ${at}`);
  }
}

function valueEnd(text: JsonText, start: number): number {
  const first = text.at(start);
  if (first === QUOTE) return text.stringEnd(start);
  if ((first | BRACE_BIT) === OPEN_BRACE) return text.containerEnd(start);
  let i = start;
  for (; ; i++) {
    const c = text.at(i);
    // There is a 0 behind the end.
    if (c === COMMA || c === CLOSE_BRACE || c <= 0x20) break;
  }
  if (i === start) refuse(`The request body is not valid JSON: a value was expected at byte ${start}`);
  return i;
}
