/** Pages that an answer rests on: annotations of a message, with positions in its whole text [O-SDK]. */
import type { Citations, Part, Source } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { ID } from "./id.ts";

/**
 * @param before length of the message's text before the part
 * @param length of the part's own text
 */
export function decodeAnnotations(annotations: JsonObject[], before: number, length: number): Citations {
  const sources = annotations.flatMap((annotation) => decodeSource(annotation, before, length));
  return { dialect: ID, value: annotations, ...(sources.length > 0 && { sources }) };
}

function decodeSource({ type, url_citation }: JsonObject, before: number, length: number): Source[] {
  if (type !== "url_citation" || !isObject(url_citation) || typeof url_citation.url !== "string") return [];
  const { url, title, start_index, end_index } = url_citation;
  const start = Number(start_index) - before;
  const end = Number(end_index) - before;
  const within =
    Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end >= start && end <= length;
  return [{ url, ...(typeof title === "string" && { title }), ...(within && { start, end }) }];
}

/** A source without positions is one of the whole part. */
export function encodeAnnotations(citations: Citations, before: number, length: number): unknown[] {
  if (citations.dialect === ID) return Array.isArray(citations.value) ? citations.value : [];
  return (citations.sources ?? []).map(({ url, title, start = 0, end = length }) => ({
    type: "url_citation",
    url_citation: { start_index: before + start, end_index: before + end, url, title: title ?? url },
  }));
}

/** Of all the text of a message. */
export function annotationsOf(content: readonly Part[]): unknown[] {
  let before = 0;
  return content.flatMap((part) => {
    if (part.type !== "text") return [];
    const start = before;
    before += part.text.length;
    return part.citations ? encodeAnnotations(part.citations, start, part.text.length) : [];
  });
}

/** An annotation without positions is one of all that stands before it in its part. */
export function located(annotation: JsonObject, before: number, length: number): JsonObject {
  const { type, url_citation } = annotation;
  if (type !== "url_citation" || !isObject(url_citation) || url_citation.start_index !== undefined) return annotation;
  return { type, url_citation: { start_index: before, end_index: before + length, ...url_citation } };
}

/** A page that a server's own search tells between the words: a chunk of the content [M-SPEC]. */
export function referenceAnnotation(chunk: JsonObject): JsonObject | undefined {
  if (chunk.type !== "tool_reference" || typeof chunk.url !== "string") return undefined;
  return { type: "url_citation", url_citation: { url: chunk.url, title: chunk.title ?? chunk.url } };
}

const NONE: readonly JsonObject[] = [];

/** Pages that some servers tell beside the choices, as a list of addresses [FX-V perplexity]. */
export function pagesBeside({ citations }: JsonObject): readonly JsonObject[] {
  if (!Array.isArray(citations)) return NONE;
  const urls = citations.filter((url) => typeof url === "string" && url !== "");
  return urls.map((url) => ({ type: "url_citation", url_citation: { url, title: url } }));
}
