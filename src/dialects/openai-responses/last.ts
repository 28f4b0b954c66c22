import type { RawFrame } from "../../core/dialect.ts";

const PREFIX = '"type":"';
const COMPLETE = new Set(["response.completed", "response.incomplete"]);

export function isLast(frame: RawFrame): boolean {
  const type = typeOf(frame);
  return type !== undefined && COMPLETE.has(type);
}

/** Names cannot be forged by the text: a quote inside a string has a backslash before it. */
function typeOf({ event, data }: RawFrame): string | undefined {
  if (event !== undefined) return event;
  const at = data.indexOf(`${PREFIX}response.`);
  return at < 0 ? undefined : data.slice(at + PREFIX.length, data.indexOf('"', at + PREFIX.length));
}
