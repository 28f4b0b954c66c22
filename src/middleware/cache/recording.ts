import type { StreamEvent } from "../../core/events.ts";

/** A place in the record: an event, and how much of its text is behind. */
export interface Place {
  index: number;
  offset: number;
}

type Delta = Extract<StreamEvent, { type: "text-delta" | "thinking-delta" | "refusal-delta" | "tool-call-delta" }>;

/**
 * An answer in the making, small: neighbouring deltas are one. It grows with the answer and not with its readers, and
 * whoever comes late or reads slowly is served from it.
 */
export class Recording {
  readonly #log: StreamEvent[] = [];
  /** Characters of text in it. */
  size = 0;

  add(event: StreamEvent): void {
    const last = this.#log.at(-1);
    if (!isDelta(event)) {
      this.size += 32;
      this.#log.push(event);
      return;
    }
    this.size += textOf(event).length;
    if (last && isDelta(last) && last.type === event.type && last.choice === event.choice) append(last, textOf(event));
    else this.#log.push({ ...event });
  }

  clear(): void {
    this.#log.length = 0;
  }

  /** Behind everything that is in it now. */
  get end(): Place {
    const last = this.#log.at(-1);
    // The next delta may become part of the last one.
    if (last && isDelta(last)) return { index: this.#log.length - 1, offset: textOf(last).length };
    return { index: this.#log.length, offset: 0 };
  }

  /** Everything behind a place. */
  *from({ index, offset }: Place): Generator<StreamEvent> {
    for (let i = index; i < this.#log.length; i++) {
      const event = this.#log[i]!;
      if (i > index || offset === 0 || !isDelta(event)) {
        // The record's own goes on growing.
        yield isDelta(event) ? { ...event } : event;
      } else if (offset < textOf(event).length) yield part(event, offset);
    }
  }
}

function isDelta(event: StreamEvent): event is Delta {
  return event.type.endsWith("-delta");
}

const textOf = (delta: Delta): string => (delta.type === "tool-call-delta" ? delta.arguments : delta.text);

function append(delta: Delta, text: string): void {
  if (delta.type === "tool-call-delta") delta.arguments += text;
  else delta.text += text;
}

function part(delta: Delta, offset: number): Delta {
  const text = textOf(delta).slice(offset);
  return delta.type === "tool-call-delta" ? { ...delta, arguments: text } : { ...delta, text };
}
