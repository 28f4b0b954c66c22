import type { Change } from "./request.ts";

/** `reasoning.effort=medium->high`; printable ASCII only, so that it fits into a header. */
export function formatChange({ field, kind, from, to }: Change): string {
  const change = from === undefined ? (to === undefined ? kind : `${kind}->${to}`) : `${from}->${to ?? kind}`;
  return `${field}=${change}`.replace(/[^\x20-\x7e]|[,\r\n]/g, "?").slice(0, 120);
}

/** The value of `x-turnpike-changes`; cut at 1,000 characters with the number of what is left out. */
export function formatChanges(changes: readonly Change[]): string {
  let text = "";
  for (const [index, change] of changes.entries()) {
    const next = `${index === 0 ? "" : ", "}${formatChange(change)}`;
    if (text.length + next.length > 1_000) return `${text}, and ${changes.length - index} more`;
    text += next;
  }
  return text;
}
