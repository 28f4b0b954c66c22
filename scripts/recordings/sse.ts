/** Server-sent events by the plain reading of the standard, so that nothing here rests on our own reader. */
export interface ServerEvent {
  event?: string;
  data: string;
}

export function parseEvents(text: string): ServerEvent[] {
  const events: ServerEvent[] = [];
  for (const block of text.replace(/\r\n?/g, "\n").split(/\n{2,}/)) {
    const fields = block.split("\n").map((line) => /^(data|event):? ?(.*)$/s.exec(line));
    const values = (name: string) => fields.flatMap((field) => (field?.[1] === name ? [field[2]!] : []));
    const data = values("data");
    const event = values("event").at(-1);
    if (data.length > 0) events.push({ ...(event !== undefined && { event }), data: data.join("\n") });
  }
  return events;
}

export function formatEvents(events: readonly ServerEvent[]): string {
  return events.map(({ event, data }) => `${event === undefined ? "" : `event: ${event}\n`}data: ${data}\n\n`).join("");
}
