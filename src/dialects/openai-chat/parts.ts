/** Content parts (chunks) of messages and answers, both ways. */
import { GatewayError } from "../../core/errors.ts";
import type {
  AudioPart,
  DocumentPart,
  ImagePart,
  MediaSource,
  Part,
  Signature,
  TextPart,
  ThinkingPart,
} from "../../core/request.ts";
import { readThinking } from "../../core/thinking-envelope.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { filled, list, object, optional, refuse, text } from "./check.ts";
import { ID } from "./id.ts";
import type { ResolvedStyle } from "./style.ts";

type Decode = (part: JsonObject, path: string) => Part;

const DETAILS = new Set<unknown>(["auto", "low", "high"]);

const DECODERS: Record<string, Decode> = {
  text: (part, path) => ({ type: "text", text: text(part.text, `${path}.text`), ...cacheMark(part) }),
  refusal: (part, path) => ({ type: "refusal", text: text(part.refusal, `${path}.refusal`) }),
  image_url: decodeImage,
  input_audio: decodeAudio,
  file: decodeFile,
  document_url: decodeDocumentUrl,
  thinking: decodeThinkingChunk,
};

/** A string or an array of parts. Part types that are not known here are kept as they came. */
export function decodeContent(value: unknown, path: string): Part[] {
  if (typeof value === "string") return [{ type: "text", text: value }];
  if (!Array.isArray(value)) throw refuse(path, "a string or an array of parts");
  return value.map((item, i) => {
    const at = `${path}.${i}`;
    const part = object(item, at);
    const kind = filled(part.type, `${at}.type`);
    return Object.hasOwn(DECODERS, kind)
      ? DECODERS[kind]!(part, at)
      : { type: "opaque", dialect: ID, kind, value: part };
  });
}

function cacheMark(part: JsonObject): { cache?: JsonObject } {
  return isObject(part.cache_control) ? { cache: part.cache_control } : {};
}

function decodeImage(part: JsonObject, path: string): ImagePart {
  const inner =
    typeof part.image_url === "string" ? { url: part.image_url } : object(part.image_url, `${path}.image_url`);
  const detail = optional(inner.detail, `${path}.image_url.detail`, text);
  return {
    type: "image",
    source: decodeUrl(filled(inner.url, `${path}.image_url.url`), `${path}.image_url.url`),
    ...(DETAILS.has(detail) && { detail: detail as ImagePart["detail"] }),
    ...cacheMark(part),
  };
}

function decodeAudio(part: JsonObject, path: string): AudioPart {
  if (typeof part.input_audio === "string") return { type: "audio", data: part.input_audio, format: "wav" };
  const inner = object(part.input_audio, `${path}.input_audio`);
  return {
    type: "audio",
    data: filled(inner.data, `${path}.input_audio.data`),
    format: filled(inner.format, `${path}.input_audio.format`),
  };
}

function decodeFile(part: JsonObject, path: string): DocumentPart {
  const inner = isObject(part.file) ? part.file : part;
  const at = inner === part ? path : `${path}.file`;
  const filename = optional(inner.filename, `${at}.filename`, text);
  const data = optional(inner.file_data, `${at}.file_data`, filled);
  const source: MediaSource =
    data === undefined
      ? { kind: "file", dialect: ID, id: filled(inner.file_id, `${at}.file_id`) }
      : data.startsWith("data:")
        ? decodeUrl(data, `${at}.file_data`)
        : { kind: "base64", mediaType: "application/pdf", data };
  return { type: "document", source, ...(filename !== undefined && { filename }), ...cacheMark(part) };
}

function decodeDocumentUrl(part: JsonObject, path: string): DocumentPart {
  const filename = optional(part.document_name, `${path}.document_name`, text);
  const source = decodeUrl(filled(part.document_url, `${path}.document_url`), `${path}.document_url`);
  return { type: "document", source, ...(filename !== undefined && { filename }) };
}

function decodeUrl(url: string, path: string): MediaSource {
  if (!url.startsWith("data:")) return { kind: "url", url };
  const comma = url.indexOf(",");
  const head = url.slice(5, Math.max(comma, 5)).split(";");
  if (comma < 0 || head.at(-1) !== "base64") throw refuse(path, "a URL or a base64 data URL");
  return { kind: "base64", mediaType: head[0] || "application/octet-stream", data: url.slice(comma + 1) };
}

function decodeThinkingChunk(part: JsonObject, path: string): ThinkingPart {
  const pieces = typeof part.thinking === "string" ? [part.thinking] : list(part.thinking, `${path}.thinking`);
  const signature = optional(part.signature, `${path}.signature`, text);
  return {
    type: "thinking",
    text: pieces.map(pieceText).join(""),
    ...(signature && { signature: chunkSignature(signature) }),
  };
}

/** A chunk's own signature says nothing of its origin: it is of this dialect, unless it is an envelope. */
function chunkSignature(data: string): Signature {
  const { signature } = readThinking("", data);
  return signature && signature.data !== data ? signature : { origin: ID, data };
}

/** Text of `"…"` or `{ text: "…" }`; references and the like have none. */
export function pieceText(piece: unknown): string {
  if (typeof piece === "string") return piece;
  return isObject(piece) && typeof piece.text === "string" ? piece.text : "";
}

/** Message content as short as it can be said: one text is a plain string. */
export function encodeContent(parts: readonly Part[], style: ResolvedStyle): string | JsonObject[] {
  const chunks: JsonObject[] = [];
  for (const part of parts) {
    const chunk = encodePart(part, style);
    if (chunk) chunks.push(chunk);
  }
  const [only] = chunks;
  if (!only) return "";
  return chunks.length === 1 && only.type === "text" ? (only.text as string) : chunks;
}

export function encodePart(part: Part, style: ResolvedStyle): JsonObject | undefined {
  switch (part.type) {
    case "text":
    case "refusal":
      return { type: "text", text: part.text };
    case "image": {
      const url = mediaUrl(part.source);
      return { type: "image_url", image_url: part.detail ? { url, detail: part.detail } : { url } };
    }
    case "audio": {
      const { data, format } = part;
      return { type: "input_audio", input_audio: style.audio === "base64" ? data : { data, format } };
    }
    case "document":
      return encodeDocument(part, style);
    case "opaque":
      return part.dialect === ID ? part.value : undefined;
    case "thinking":
      return style.thinking === "chunks" && part.redacted === undefined ? encodeThinkingChunk(part, style) : undefined;
    default:
      return undefined;
  }
}

function encodeThinkingChunk(part: ThinkingPart, style: ResolvedStyle): JsonObject | undefined {
  const origin = part.signature?.origin;
  const own = origin === ID || origin === style.originType ? part.signature?.data : undefined;
  if (part.text === "" && !own) return undefined;
  const thinking = [{ type: "text", text: part.text }];
  return { type: "thinking", thinking, ...(own && { signature: own }), closed: true };
}

function encodeDocument(part: DocumentPart, style: ResolvedStyle): JsonObject {
  const { source } = part;
  const name = part.filename ?? part.title;
  if (source.kind === "text") return { type: "text", text: documentText(source.text, part.title ?? part.filename) };
  if (style.documents === "document_url" && source.kind !== "file") {
    return { type: "document_url", document_url: mediaUrl(source), ...(name !== undefined && { document_name: name }) };
  }
  if (source.kind === "file") {
    return style.documents === "document_url"
      ? { type: "file", file_id: source.id }
      : { type: "file", file: { file_id: source.id } };
  }
  if (source.kind === "url") throw impossible("a document by URL");
  return { type: "file", file: { filename: name ?? "document.pdf", file_data: mediaUrl(source) } };
}

function documentText(body: string, title: string | undefined): string {
  const attribute = title === undefined ? "" : ` title="${title.replaceAll('"', "&quot;")}"`;
  return `<document${attribute}>\n${body}\n</document>`;
}

function mediaUrl(source: MediaSource): string {
  if (source.kind === "url") return source.url;
  if (source.kind === "base64") return `data:${source.mediaType};base64,${source.data}`;
  throw impossible("an image by file id");
}

function impossible(what: string): GatewayError {
  return new GatewayError("unsupported", `The target cannot take ${what}`);
}

export function isText(part: Part): part is TextPart {
  return part.type === "text";
}
