/** Marks: words that occur nowhere else, so that finding one again proves that what it stood in is there. */

/** Stands for whichever dialect the caller speaks. */
export const CALLER = "the caller's";

/** Makes copies in which every `§` is a mark of its own: eight characters of base64, as it may stand in data too. */
export function marker(): <T>(value: T) => T {
  let count = 0;
  const next = () => `Zq${(count++).toString(36).padStart(4, "0")}qZ`;
  return (value) => JSON.parse(JSON.stringify(value).replaceAll("§", next));
}

const MARK = /Zq[0-9a-z]{4}qZ/g;

/** All marks in a text. */
export function marksIn(text: string): Set<string> {
  return new Set(text.match(MARK));
}

/** The JSON of a body with our envelopes opened: what is in there is there. */
export function opened(body: unknown): string {
  return JSON.stringify(body)
    .replace(/tp1\.([\w-]+)/g, (_, sealed: string) => Buffer.from(sealed, "base64url").toString())
    .replace(/"(dHAx[A-Za-z0-9+/]+=*)"/g, (_, sealed: string) => Buffer.from(sealed, "base64").toString())
    .replace(/"data":"([A-Za-z0-9+/]+=*)"/g, (data, text: string) => data + Buffer.from(text, "base64").toString());
}
