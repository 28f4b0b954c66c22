import type { Fake } from "../../src/testing/fakes/index.ts";

// biome-ignore lint/suspicious/noExplicitAny: the tests read vendors' JSON.
export type Json = any;

/** POSTs JSON with a Bearer key. */
export function post(
  fake: Fake,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
  init: RequestInit = {},
) {
  return fetch(fake.url + path, {
    method: "POST",
    headers: { authorization: "Bearer test-key", "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
    redirect: "manual",
    ...init,
  });
}

export interface Event {
  event?: string;
  data: Json;
}

/** Reads a whole stream, whatever its line ends, into events. */
export function eventsIn(text: string): Event[] {
  return text
    .replace(/\r\n|\r/g, "\n")
    .split("\n\n")
    .map((block) => block.split("\n").filter((line) => line !== "" && !line.startsWith(":")))
    .filter((lines) => lines.length > 0)
    .map((lines) => {
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field("data") ?? "";
      const event = field("event");
      return { ...(event !== undefined && { event }), data: data === "[DONE]" ? data : JSON.parse(data) };
    });
}

/** The joined `delta.content` of a Chat stream. */
export function textIn(events: readonly Event[]): string {
  const contents = events.map(({ data }) => data.choices?.[0]?.delta?.content ?? "");
  return contents.filter((content) => typeof content === "string").join("");
}
