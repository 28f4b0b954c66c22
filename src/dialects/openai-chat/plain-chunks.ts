import type { RawFrame } from "../../core/dialect.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** Chunks that are looked at before a stream counts as one whose chunks differ in more than their text. */
const MAX_TRIES = 8;

/**
 * Most chunks of a stream are like the one before but for their text. What stands around the text of a plain chunk is
 * remembered and compared; of a chunk that is like it only the text is parsed, which takes a fifth of the time.
 */
export class PlainChunks {
  #before: string | undefined;
  #after = "";
  #tries = 0;

  /** The text of a chunk that is like the one learned; nothing for any other. */
  read({ data, event }: RawFrame): string | undefined {
    const before = this.#before;
    const after = this.#after;
    if (before === undefined || event !== undefined) return undefined;
    const end = data.length - after.length;
    // Slices are compared four times as fast as `startsWith` and `endsWith` look.
    if (data.slice(0, before.length) !== before || data.slice(end) !== after) return undefined;
    try {
      const text: unknown = JSON.parse(data.slice(before.length, end));
      return typeof text === "string" ? text : undefined;
    } catch {
      return undefined;
    }
  }

  learn({ data }: RawFrame, chunk: JsonObject): void {
    if (this.#tries === MAX_TRIES) return;
    const text = plainText(chunk);
    if (text === undefined) return;
    this.#tries++;
    const written = JSON.stringify(text);
    const at = data.lastIndexOf(written);
    if (at < 0) return;
    const before = data.slice(0, at);
    const after = data.slice(at + written.length);
    // The same words may stand elsewhere: other words in their place tell.
    const other = `${text}.`;
    if (plainText(JSON.parse(before + JSON.stringify(other) + after)) !== other) return;
    // Copies: a slice keeps all of the text that it was cut from, and a chunk may have come with a hundred others.
    this.#before = Buffer.from(before).toString();
    this.#after = Buffer.from(after).toString();
  }
}

/** The text of a chunk that adds to the text of the first choice, and says nothing else that counts each time. */
function plainText({ choices, usage, x_groq }: JsonObject): string | undefined {
  if (usage || x_groq || !Array.isArray(choices) || choices.length !== 1) return undefined;
  const { index, delta, logprobs }: JsonObject = choices[0] ?? {};
  if (index !== 0 || logprobs || !isObject(delta)) return undefined;
  for (const name in delta) if (name !== "content" && name !== "role" && delta[name]) return undefined;
  return typeof delta.content === "string" && delta.content !== "" ? delta.content : undefined;
}
