import type { Citations, Source } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { objects, present, text } from "./check.ts";
import { ID } from "./id.ts";

/** What a candidate says of its sources. */
export interface Grounding {
  groundingMetadata?: unknown;
  citationMetadata?: unknown;
}

/** @param said the text cited */
export function citationsOf(grounding: Grounding, said: string): Citations | undefined {
  const value = present(grounding) as JsonObject;
  if (Object.keys(value).length === 0) return undefined;
  const sources = [...groundedIn(value.groundingMetadata, said), ...citedFrom(value.citationMetadata, said)];
  return { dialect: ID, value, ...(sources.length > 0 && { sources }) };
}

function groundedIn(metadata: unknown, said: string): Source[] {
  if (!isObject(metadata)) return [];
  const chunks = objects(metadata.groundingChunks).map((chunk) => chunk.web ?? chunk.retrievedContext ?? chunk.maps);
  const supports = objects(metadata.groundingSupports);
  const uses = supports.flatMap(({ segment, groundingChunkIndices: indices }) =>
    (Array.isArray(indices) ? indices : []).map((index) => ({ chunk: chunks[index], segment })),
  );
  const used = new Set(uses.map(({ chunk }) => chunk));
  const unused = chunks.filter((chunk) => !used.has(chunk)).map((chunk) => ({ chunk, segment: undefined }));
  return [...uses, ...unused].flatMap(({ chunk, segment }) => sourceOf(chunk, segment, said));
}

function citedFrom(metadata: unknown, said: string): Source[] {
  if (!isObject(metadata)) return [];
  const citations = objects(metadata.citations ?? metadata.citationSources);
  return citations.flatMap((citation) => sourceOf(citation, citation, said));
}

function sourceOf(page: unknown, segment: unknown, said: string): Source[] {
  if (!isObject(page) || typeof page.uri !== "string" || page.uri === "") return [];
  return [present({ url: page.uri, title: text(page.title), ...place(segment, said) })];
}

/** Offsets of the wire count bytes of UTF-8; those that do not lead to the words cited are left out. */
function place(segment: unknown, said: string): Pick<Source, "text" | "start" | "end"> {
  if (!isObject(segment) || typeof segment.endIndex !== "number") return {};
  const words = text(segment.text);
  const bytes = Buffer.from(said);
  const start = bytes.subarray(0, Number(segment.startIndex ?? 0)).toString().length;
  const end = bytes.subarray(0, segment.endIndex).toString().length;
  const cited = said.slice(start, end);
  if (words !== undefined && words !== cited) return { text: words };
  return { text: cited, start, end };
}

/** @param before the candidate's text before the part that is cited */
export function encodeCitations(citations: Citations, said: string, before: string): JsonObject {
  if (citations.dialect === ID) return isObject(citations.value) ? citations.value : {};
  const sources = citations.sources ?? [];
  if (sources.length === 0) return {};
  const urls = [...new Set(sources.map(({ url }) => url))];
  const byte = (position: number) => Buffer.byteLength(before + said.slice(0, position));
  const groundingChunks = urls.map((uri) => ({
    web: present({ uri, title: sources.find(({ url, title }) => url === uri && title)?.title }),
  }));
  const groundingSupports = sources.flatMap(({ url, text: words, start, end }) =>
    start === undefined || end === undefined
      ? []
      : {
          segment: { startIndex: byte(start), endIndex: byte(end), text: words ?? said.slice(start, end) },
          groundingChunkIndices: [urls.indexOf(url)],
        },
  );
  return { groundingMetadata: { groundingChunks, ...(groundingSupports.length > 0 && { groundingSupports }) } };
}

/** Several parts of one candidate are cited: their pages stand in one list, and supports name pages by their place. */
export function joinGrounding(one: JsonObject, other: JsonObject): JsonObject {
  const [a, b] = [one.groundingMetadata, other.groundingMetadata];
  if (!isObject(a) || !isObject(b)) return { ...one, ...other };
  const before = objects(a.groundingChunks).length;
  const moved = objects(b.groundingSupports).map((support) => ({
    ...support,
    groundingChunkIndices: list(support.groundingChunkIndices).map((index) => Number(index) + before),
  }));
  const groundingChunks = [...objects(a.groundingChunks), ...objects(b.groundingChunks)];
  const groundingSupports = [...objects(a.groundingSupports), ...moved];
  return {
    ...one,
    ...other,
    groundingMetadata: { ...a, ...b, groundingChunks, ...(groundingSupports.length > 0 && { groundingSupports }) },
  };
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
