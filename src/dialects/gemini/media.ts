import type { AudioPart, DocumentPart, ImagePart, MediaSource, Part } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import { filled, maybe, message, need, present, string } from "./check.ts";
import { ID } from "./id.ts";

export type MediaPart = ImagePart | DocumentPart | AudioPart;

const AUDIO_FORMAT: Record<string, string> = { mpeg: "mp3", "x-wav": "wav", wave: "wav" };

const TYPE_OF_EXTENSION: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  webp: "image/webp",
  gif: "image/gif",
  heic: "image/heic",
  heif: "image/heif",
  pdf: "application/pdf",
  txt: "text/plain",
  md: "text/markdown",
  html: "text/html",
  csv: "text/csv",
};

/** A file in the provider's own store. */
const STORED = /^(gs:|https:\/\/generativelanguage\.googleapis\.com\/)/;

/** `inlineData` or `fileData` as a part; `undefined` for what nobody else has (video, …). */
export function decodeMedia(part: JsonObject, path: string): MediaPart | undefined {
  if (part.inlineData !== undefined) return decodeInline(message(part.inlineData, `${path}.inlineData`), path);
  const file = message(part.fileData, `${path}.fileData`);
  const uri = need(file, "fileUri", `${path}.fileData`, filled);
  const mediaType = maybe(file, "mimeType", `${path}.fileData`, string) ?? typeOf(uri) ?? "";
  const source: MediaSource = STORED.test(uri) ? { kind: "file", dialect: ID, id: uri } : { kind: "url", url: uri };
  if (mediaType.startsWith("image/")) return { type: "image", source };
  return isDocument(mediaType) ? { type: "document", source } : undefined;
}

function decodeInline(blob: JsonObject, path: string): MediaPart | undefined {
  const mediaType = need(blob, "mimeType", `${path}.inlineData`, filled);
  // Both alphabets of base64 are accepted.
  const data = need(blob, "data", `${path}.inlineData`, string).replaceAll("-", "+").replaceAll("_", "/");
  const filename = maybe(blob, "displayName", `${path}.inlineData`, string);
  const [kind, format = ""] = mediaType.split(/[/;]/);
  if (kind === "image") return { type: "image", source: { kind: "base64", mediaType, data } };
  if (kind === "audio") return { type: "audio", data, format: AUDIO_FORMAT[format] ?? format };
  if (kind === "text") {
    const text = Buffer.from(data, "base64").toString();
    return present<DocumentPart>({ type: "document", source: { kind: "text", mediaType, text }, filename });
  }
  if (!isDocument(mediaType)) return undefined;
  return present<DocumentPart>({ type: "document", source: { kind: "base64", mediaType, data }, filename });
}

const isDocument = (mediaType: string) => mediaType === "application/pdf" || mediaType.startsWith("text/");

/** Also parts that only this dialect knows; `undefined` for all others. */
export function encodeMedia(part: Part): JsonObject | undefined {
  if (part.type === "opaque") return part.dialect === ID ? part.value : undefined;
  if (part.type === "audio") return { inlineData: { mimeType: `audio/${part.format}`, data: part.data } };
  if (part.type !== "image" && part.type !== "document") return undefined;
  const { source } = part;
  switch (source.kind) {
    case "base64":
      return { inlineData: { mimeType: source.mediaType, data: source.data } };
    case "text":
      return { inlineData: { mimeType: source.mediaType, data: Buffer.from(source.text).toString("base64") } };
    case "file":
      return source.dialect === ID ? { fileData: fileData(source.id) } : undefined;
    case "url":
      return { fileData: fileData(source.url) };
  }
}

/** The type is optional [G-PROTO FileData]: it is told where the name tells it. */
const fileData = (fileUri: string) => present({ mimeType: typeOf(fileUri), fileUri });

function typeOf(uri: string): string | undefined {
  const extension = /\.(\w+)(?:[?#]|$)/.exec(uri)?.[1]?.toLowerCase();
  return extension === undefined ? undefined : TYPE_OF_EXTENSION[extension];
}
