/** Content parts of messages and tool outputs, both ways. */
import { GatewayError } from "../../core/errors.ts";
import type { DocumentPart, ImagePart, MediaSource, Part, TextPart } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";
import { filled, object, optional, refuse, text } from "./check.ts";
import { ID } from "./id.ts";

type Decode = (part: JsonObject, path: string) => Part;

const decodeText: Decode = (part, path) => ({ type: "text", text: text(part.text, `${path}.text`) });

const DECODERS: Record<string, Decode> = {
  input_text: decodeText,
  output_text: decodeText,
  text: decodeText,
  refusal: (part, path) => ({ type: "refusal", text: text(part.refusal, `${path}.refusal`) }),
  input_image: decodeImage,
  input_file: decodeFile,
  input_audio: (part, path) => {
    const at = `${path}.input_audio`;
    const audio = object(part.input_audio, at);
    return { type: "audio", data: filled(audio.data, `${at}.data`), format: filled(audio.format, `${at}.format`) };
  },
};

/** A string or an array of parts. Inputs of a type that is not known here are kept as they came. */
export function decodeContent(value: unknown, path: string): Part[] {
  if (typeof value === "string") return [{ type: "text", text: value }];
  if (!Array.isArray(value)) throw refuse(path, "a string or an array of parts");
  return value.map((item, i) => {
    const at = `${path}.${i}`;
    const part = object(item, at);
    const kind = filled(part.type, `${at}.type`);
    if (Object.hasOwn(DECODERS, kind)) return DECODERS[kind]!(part, at);
    if (!isInput(kind)) throw refuse(`${at}.type`, `one of ${Object.keys(DECODERS).join(", ")}`);
    return { type: "opaque", dialect: ID, kind, value: part };
  });
}

/** Tells content of a message from an item of the conversation. */
export function isInput(kind: string): boolean {
  return kind.startsWith("input_");
}

function decodeImage(part: JsonObject, path: string): ImagePart {
  const detail = optional(part.detail, `${path}.detail`, text);
  const known = detail === "auto" || detail === "low" || detail === "high" ? detail : undefined;
  const fine = detail === "original" ? "high" : known;
  return { type: "image", source: decodeSource(part, "image_url", path), ...(fine && { detail: fine }) };
}

function decodeFile(part: JsonObject, path: string): DocumentPart {
  const filename = optional(part.filename, `${path}.filename`, text);
  const data = optional(part.file_data, `${path}.file_data`, filled);
  const source: MediaSource =
    data === undefined
      ? decodeSource(part, "file_url", path)
      : data.startsWith("data:")
        ? decodeUrl(data, `${path}.file_data`)
        : { kind: "base64", mediaType: "application/pdf", data };
  return { type: "document", source, ...(filename !== undefined && { filename }) };
}

function decodeSource(part: JsonObject, field: string, path: string): MediaSource {
  const id = optional(part.file_id, `${path}.file_id`, filled);
  if (id !== undefined) return { kind: "file", dialect: ID, id };
  return decodeUrl(filled(part[field], `${path}.${field}`), `${path}.${field}`);
}

function decodeUrl(url: string, path: string): MediaSource {
  if (!url.startsWith("data:")) return { kind: "url", url };
  const comma = url.indexOf(",");
  const head = url.slice(5, Math.max(comma, 5)).split(";");
  if (comma < 0 || head.at(-1) !== "base64") throw refuse(path, "a URL or a base64 data URL");
  return { kind: "base64", mediaType: head[0] || "application/octet-stream", data: url.slice(comma + 1) };
}

/** Content as short as it can be said: one text is a plain string. */
export function encodeContent(parts: readonly Part[]): string | JsonObject[] {
  const chunks = parts.flatMap(encodePart);
  const [only] = chunks;
  return chunks.length === 1 && only!.type === "input_text" ? (only!.text as string) : chunks;
}

/** The wire has no audio; `fit` leaves it out. */
function encodePart(part: Part): JsonObject[] {
  switch (part.type) {
    case "text":
    case "refusal":
      return [{ type: "input_text", text: part.text }];
    case "image":
      return [{ type: "input_image", ...encodeSource(part.source, "image_url"), detail: part.detail ?? "auto" }];
    case "document":
      return [encodeDocument(part)];
    case "opaque":
      return part.dialect === ID ? [part.value] : [];
    default:
      return [];
  }
}

function encodeDocument({ source, title, filename }: DocumentPart): JsonObject {
  if (source.kind === "text") {
    const name = title ?? filename;
    const attribute = name === undefined ? "" : ` title="${name.replaceAll('"', "&quot;")}"`;
    return { type: "input_text", text: `<document${attribute}>\n${source.text}\n</document>` };
  }
  if (source.kind !== "base64") return { type: "input_file", ...encodeSource(source, "file_url") };
  const name = filename ?? title ?? "document.pdf";
  return { type: "input_file", filename: name, ...encodeSource(source, "file_data") };
}

function encodeSource(source: MediaSource, field: string): JsonObject {
  if (source.kind === "base64") return { [field]: `data:${source.mediaType};base64,${source.data}` };
  if (source.kind === "url") return { [field]: source.url };
  if (source.dialect === ID) return { file_id: source.id };
  throw new GatewayError("unsupported", "The target cannot take a file of another provider's store");
}

export function isText(part: Part): part is TextPart {
  return part.type === "text";
}

/** Whether a part is meant for this dialect's upstreams, and says something. */
export function isSaid(part: TextPart): boolean {
  return part.text !== "" && (part.onlyFor === undefined || part.onlyFor === ID);
}
