import type { StreamEvent } from "../../core/events.ts";
import type { ChatResponse } from "../../core/request.ts";
import { isObject } from "../../core/util.ts";

/** What was done to the caller's tools, to be undone in the answer. */
export interface Restoration {
  /** Names as the target knows them → as the caller does, for those that were changed. */
  toolNames: ReadonlyMap<string, string>;
  /** Custom tools that went out as functions of `{ input }`, as the caller knows them. */
  customTools: ReadonlySet<string>;
}

export const NOTHING_TO_RESTORE: Restoration = { toolNames: new Map(), customTools: new Set() };

export const isEmpty = ({ toolNames, customTools }: Restoration) => toolNames.size === 0 && customTools.size === 0;

/** Gives a whole answer's calls the names and forms that the caller knows. Edits the answer. */
export function restoreAnswer(answer: ChatResponse, tools: Restoration): void {
  if (isEmpty(tools)) return;
  const { toolNames, customTools } = tools;
  for (const part of answer.choices.flatMap(({ content }) => content)) {
    if (part.type !== "tool-call") continue;
    part.name = toolNames.get(part.name) ?? part.name;
    if (part.custom || !customTools.has(part.name)) continue;
    const input = inputReader();
    part.arguments = input.feed(part.arguments) + input.end();
    part.custom = true;
  }
}

/** The same for a stream; one per stream. What one event becomes, in order. */
export function restoreEvents({ toolNames, customTools }: Restoration): (event: StreamEvent) => readonly StreamEvent[] {
  if (toolNames.size === 0 && customTools.size === 0) return (event) => [event];
  /** Calls of custom tools that are open, by choice. */
  const open = new Map<number, InputReader>();
  return (event) => {
    const choice = "choice" in event ? (event.choice ?? 0) : 0;
    const at = choice === 0 ? {} : { choice };
    const input = open.get(choice);
    switch (event.type) {
      case "tool-call-start": {
        const name = toolNames.get(event.name) ?? event.name;
        if (event.custom || !customTools.has(name)) return [{ ...event, name }];
        open.set(choice, inputReader());
        return [{ ...event, name, custom: true }];
      }
      case "tool-call-delta":
        return input ? more(input.feed(event.arguments), at) : [event];
      case "tool-call-end":
        open.delete(choice);
        return input ? [...more(input.end(), at), event] : [event];
      default:
        return [event];
    }
  };
}

function more(text: string, at: { choice?: number }): StreamEvent[] {
  return text === "" ? [] : [{ type: "tool-call-delta", arguments: text, ...at }];
}

/** Takes the free text out of `{"input":"…"}` while it comes. */
interface InputReader {
  feed(json: string): string;
  end(): string;
}

const OPENING = /^\s*\{\s*"input"\s*:\s*"/;
/** What may still become the opening. */
const MAY_OPEN = /^\s*(\{\s*("(i(n(p(u(t("\s*(:\s*)?)?)?)?)?)?)?)?)?$/;

/**
 * Arguments that begin as they should are unescaped as they come; any others are kept until they are whole, and stand
 * as they are where no input can be found in them, so that no call is lost.
 */
function inputReader(): InputReader {
  let state: "before" | "inside" | "after" | "other" = "before";
  let held = "";

  function read(): string {
    const { length, ended } = measure(held);
    const text = unescaped(held.slice(0, length));
    held = held.slice(length);
    if (ended) state = "after";
    return text;
  }

  return {
    feed(json) {
      if (state === "after") return "";
      held += json;
      const opening = state === "before" ? OPENING.exec(held)?.[0] : undefined;
      if (opening !== undefined) {
        state = "inside";
        held = held.slice(opening.length);
      } else if (state === "before" && !MAY_OPEN.test(held)) state = "other";
      return state === "inside" ? read() : "";
    },
    end() {
      if (state === "after") return "";
      return state === "inside" ? unescaped(held) : inputOf(held);
    },
  };
}

/** Plain text, an escape, or (of no known form) a backslash alone. */
const PIECE = /[^"\\]+|\\u[0-9a-fA-F]{4}|\\[^u]|\\/gy;
/** An escape that may go on in the next piece. */
const CUT = /^\\(u[0-9a-fA-F]{0,3})?$/;
/** Half of a character. */
const HALF = /^\\u[dD][89abAB]/;

/** How much of a JSON string's inside can be unescaped, and whether its closing quote follows. */
function measure(text: string): { length: number; ended: boolean } {
  let length = 0;
  let half: number | undefined;
  for (const [piece] of text.matchAll(PIECE)) {
    if (piece === "\\" && CUT.test(text.slice(length))) break;
    half = HALF.test(piece) ? length : undefined;
    length += piece.length;
  }
  const ended = text[length] === '"';
  return { length: ended ? length : (half ?? length), ended };
}

const ESCAPES: Record<string, string> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", '"': '"', "\\": "\\", "/": "/" };

/** Escapes that JSON does not know stay as they are. */
function unescaped(text: string): string {
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/gs, (whole, code: string | undefined, letter: string) =>
    code ? String.fromCharCode(Number.parseInt(code, 16)) : (ESCAPES[letter] ?? whole),
  );
}

function inputOf(json: string): string {
  try {
    const value: unknown = JSON.parse(json);
    if (isObject(value) && "input" in value)
      return typeof value.input === "string" ? value.input : JSON.stringify(value.input);
  } catch {}
  return json;
}
