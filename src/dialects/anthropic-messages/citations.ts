/** Citations of a text block, and those of them that name a page. */
import type { Citations, Source } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { ID } from "./id.ts";

/**
 * Stands for `encrypted_index`, which only Anthropic can make: where a page was found by somebody else's search. A
 * request with one of them is rewritten without it, as with thinking of ours.
 */
const FOREIGN_INDEX = "tp1.";

export function citationsOf(value: unknown): Citations | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const sources = value.flatMap(decodeSource);
  return { dialect: ID, value, ...(sources.length > 0 && { sources }) };
}

/** … of a request, in which our own stand-ins may come back: their pages are kept, the API is not shown them. */
export function replayedCitations(value: unknown): Citations | undefined {
  const citations = citationsOf(value);
  if (!citations) return value === undefined ? undefined : { dialect: ID, value };
  const native = (citations.value as unknown[]).filter((citation) => !isForeign(citation));
  return { ...citations, value: native.length === 0 ? undefined : native };
}

function isForeign(citation: unknown): boolean {
  return isObject(citation) && citation.encrypted_index === FOREIGN_INDEX;
}

function decodeSource(citation: unknown): Source[] {
  if (!isObject(citation) || citation.type !== "web_search_result_location") return [];
  const { url, title, cited_text } = citation;
  if (typeof url !== "string") return [];
  return [
    { url, ...(typeof title === "string" && { title }), ...(typeof cited_text === "string" && { text: cited_text }) },
  ];
}

/** The citations of an answer's text; of another dialect's, the pages. */
export function encodeCitations(text: string, citations: Citations | undefined): JsonObject[] | undefined {
  if (citations?.dialect === ID) return Array.isArray(citations.value) ? citations.value : undefined;
  if (!citations?.sources?.length) return undefined;
  return citations.sources.map((source) => ({
    type: "web_search_result_location",
    url: source.url,
    title: source.title ?? null,
    cited_text: source.text ?? (source.start === undefined ? "" : text.slice(source.start, source.end)),
    encrypted_index: FOREIGN_INDEX,
  }));
}
