import type { RawFrame } from "../../core/dialect.ts";

const PREFIX = '"type":"';

/** Deltas whose text counts as output, as the decoder would count it. */
const DELTAS = new Set([
  "response.output_text.delta",
  "response.refusal.delta",
  "response.reasoning_text.delta",
  "response.reasoning_summary_text.delta",
  "response.function_call_arguments.delta",
  "response.custom_tool_call_input.delta",
]);

const COMPLETE = new Set(["response.completed", "response.incomplete"]);
const TERMINAL = new Set([...COMPLETE, "response.failed"]);

/** Names cannot be forged by the text: a quote inside a string has a backslash before it. */
function typeOf({ event, data }: RawFrame): string | undefined {
  if (event !== undefined) return event;
  const at = data.indexOf(`${PREFIX}response.`);
  return at < 0 ? undefined : data.slice(at + PREFIX.length, data.indexOf('"', at + PREFIX.length));
}

/**
 * Tells a frame that need not be read: a delta, by the characters of text that it carries, or one that frames or
 * repeats (`.added`, `.done`) what deltas tell. What ends the answer is read.
 */
export function skipLength(frame: RawFrame): number | undefined {
  const type = typeOf(frame);
  if (type === undefined || !type.startsWith("response.") || TERMINAL.has(type)) return undefined;
  if (!DELTAS.has(type)) return 0;
  const at = frame.data.indexOf('"delta":"');
  if (at < 0) return undefined;
  const start = at + '"delta":"'.length;
  const end = stringEnd(frame.data, start);
  return end < 0 ? undefined : end - start;
}

function stringEnd(data: string, start: number): number {
  for (let end = data.indexOf('"', start); end >= 0; end = data.indexOf('"', end + 1)) {
    let slashes = 0;
    while (data[end - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return end;
  }
  return -1;
}

export function isLast(frame: RawFrame): boolean {
  const type = typeOf(frame);
  return type !== undefined && COMPLETE.has(type);
}
