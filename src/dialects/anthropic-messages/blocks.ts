import type {
  CacheMark,
  DocumentPart,
  ImagePart,
  MediaSource,
  OpaquePart,
  Part,
  TextPart,
  ToolResultPart,
} from "../../core/request.ts";
import { readThinking } from "../../core/thinking-envelope.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { filled, flag, isEmpty, item, list, maybe, need, object, others, present, refuse, string } from "./check.ts";
import { replayedCitations } from "./citations.ts";
import { ID } from "./id.ts";

const CALL_FIELDS = new Set(["type", "id", "name", "input", "cache_control"]);

/**
 * Content blocks of requests. `kept` is the message's extensions: there stays, by tool id, what a tool call says of
 * its caller.
 */
export function decodeBlock(value: unknown, path: string, kept: JsonObject): Part {
  const block = item(value, path, object);
  switch (need(block, "type", path, string)) {
    case "thinking":
      return readThinking(need(block, "thinking", path, string), maybe(block, "signature", path, string));
    case "redacted_thinking":
      return { type: "thinking", text: "", redacted: need(block, "data", path, string) };
    case "tool_use": {
      const more = others(block, CALL_FIELDS);
      const id = need(block, "id", path, filled);
      // Every call says `direct`, unless code of a server tool made it.
      if (isObject(more.caller) && more.caller.type === "direct") delete more.caller;
      if (!isEmpty(more)) kept.tool_use = { ...(kept.tool_use as JsonObject), [id]: more };
      return {
        type: "tool-call",
        id,
        name: need(block, "name", path, filled),
        arguments: JSON.stringify(need(block, "input", path, object)),
        cache: maybe(block, "cache_control", path, object),
      };
    }
    case "tool_result":
      return {
        type: "tool-result",
        id: need(block, "tool_use_id", path, filled),
        content: decodeResult(block.content, `${path}.content`),
        isError: maybe(block, "is_error", path, flag),
        cache: maybe(block, "cache_control", path, object),
      };
    default:
      return decodePlain(block, path);
  }
}

function decodeResult(content: unknown, path: string): ToolResultPart["content"] {
  if (content === undefined || content === null || content === "") return [];
  if (typeof content === "string") return [{ type: "text", text: content }];
  if (!Array.isArray(content)) throw refuse(path, "must be a string or an array");
  return content.map((value, i) => decodePlain(item(value, `${path}.${i}`, object), `${path}.${i}`));
}

/** The blocks that may also stand in a tool result; what is none of them stays as it came. */
function decodePlain(block: JsonObject, path: string): TextPart | ImagePart | DocumentPart | OpaquePart {
  const type = need(block, "type", path, string);
  if (type === "text") return decodeText(block, path);
  const opaque: OpaquePart = { type: "opaque", dialect: ID, kind: type, value: block };
  switch (type) {
    case "image": {
      const source = decodeSource(need(block, "source", path, object), `${path}.source`);
      return source ? { type: "image", source, cache: maybe(block, "cache_control", path, object) } : opaque;
    }
    case "document": {
      const source = decodeDocumentSource(need(block, "source", path, object), `${path}.source`);
      return source ? { type: "document", source, ...describe(block, path) } : opaque;
    }
    case "search_result": {
      // Other targets get its words as a document; here it comes back as one too.
      const text = textOf(need(block, "content", path, list));
      if (text === undefined) return opaque;
      const source = { kind: "text", mediaType: "text/plain", text } as const;
      return { type: "document", source, ...describe(block, path), context: need(block, "source", path, string) };
    }
    default:
      return opaque;
  }
}

export function decodeText(block: JsonObject, path: string): TextPart {
  return {
    type: "text",
    text: need(block, "text", path, string),
    cache: maybe(block, "cache_control", path, object),
    citations: replayedCitations(block.citations ?? undefined),
  };
}

function describe(block: JsonObject, path: string): Omit<DocumentPart, "type" | "source"> {
  const citations = maybe(block, "citations", path, object);
  return {
    title: maybe(block, "title", path, string),
    context: maybe(block, "context", path, string),
    citations: citations && (maybe(citations, "enabled", `${path}.citations`, flag) ?? false),
    cache: maybe(block, "cache_control", path, object),
  };
}

function decodeSource(source: JsonObject, path: string): MediaSource | undefined {
  switch (need(source, "type", path, string)) {
    case "base64": {
      const mediaType = need(source, "media_type", path, filled);
      return { kind: "base64", mediaType, data: need(source, "data", path, string) };
    }
    case "url":
      return { kind: "url", url: need(source, "url", path, filled) };
    case "file":
      return { kind: "file", dialect: ID, id: need(source, "file_id", path, filled) };
    default:
      return undefined;
  }
}

function decodeDocumentSource(source: JsonObject, path: string): DocumentPart["source"] | undefined {
  if (source.type === "text") {
    const mediaType = maybe(source, "media_type", path, filled) ?? "text/plain";
    return { kind: "text", mediaType, text: need(source, "data", path, string) };
  }
  if (source.type === "content") {
    const content = source.content;
    const text = typeof content === "string" ? content : textOf(need(source, "content", path, list));
    return text === undefined ? undefined : { kind: "text", mediaType: "text/plain", text };
  }
  return decodeSource(source, path);
}

/** The words of blocks that are nothing but text. */
function textOf(blocks: unknown[]): string | undefined {
  const texts = blocks.map((block) => (isObject(block) && block.type === "text" ? block.text : undefined));
  return texts.every(string.is) ? texts.join("\n\n") : undefined;
}

/** Those of the parts that there are blocks for. */
export function encodeParts(parts: readonly Part[], kept: JsonObject): JsonObject[] {
  const blocks: JsonObject[] = [];
  for (const part of parts) {
    const block = encodePart(part, kept);
    if (block) blocks.push(block);
  }
  return blocks;
}

function withMark(block: JsonObject, cache: CacheMark | undefined): JsonObject {
  if (cache) block.cache_control = cache;
  return block;
}

function encodePart(part: Part, kept: JsonObject): JsonObject | undefined {
  switch (part.type) {
    case "text":
      return encodeText(part);
    case "refusal":
      return encodeText({ type: "text", text: part.text });
    case "image": {
      const source = encodeSource(part.source);
      return source && withMark({ type: "image", source }, part.cache);
    }
    case "document":
      return encodeDocument(part);
    case "thinking":
      if (part.redacted !== undefined) return { type: "redacted_thinking", data: part.redacted };
      if (part.signature?.origin !== ID) return undefined;
      return { type: "thinking", thinking: part.text, signature: part.signature.data };
    case "tool-call": {
      const more = isObject(kept.tool_use) ? kept.tool_use[part.id] : undefined;
      const { id, name } = part;
      const call = { type: "tool_use", id: toolId(id), name, input: toolInput(part.arguments) };
      return withMark(isObject(more) ? { ...more, ...call } : call, part.cache);
    }
    case "tool-result": {
      const result: JsonObject = { type: "tool_result", tool_use_id: toolId(part.id) };
      const blocks = encodeParts(part.content, kept);
      if (blocks.length > 0) result.content = plainText(blocks) ?? blocks;
      if (part.isError !== undefined) result.is_error = part.isError;
      return withMark(result, part.cache);
    }
    case "opaque":
      return part.dialect === ID ? part.value : undefined;
    case "audio":
      return undefined;
  }
}

/** Blocks without a word are refused by the API, so they are left out. */
export function encodeText(part: TextPart): JsonObject | undefined {
  if (part.text.trim() === "" || (part.onlyFor !== undefined && part.onlyFor !== ID)) return undefined;
  const block = withMark({ type: "text", text: part.text }, part.cache);
  const citations = part.citations?.dialect === ID ? part.citations.value : undefined;
  if (citations !== undefined) block.citations = citations;
  return block;
}

/** A single block of unmarked text, as the string that can stand for it. */
export function plainText(blocks: JsonObject[]): string | undefined {
  const [block] = blocks;
  if (!block || blocks.length > 1 || block.type !== "text") return undefined;
  return block.cache_control === undefined && block.citations === undefined ? (block.text as string) : undefined;
}

function encodeDocument(part: DocumentPart): JsonObject | undefined {
  const source = encodeDocumentSource(part.source);
  if (!source) return undefined;
  return present({
    type: "document",
    source,
    title: part.title ?? part.filename,
    context: part.context,
    citations: part.citations === undefined ? undefined : { enabled: part.citations },
    cache_control: part.cache,
  });
}

function encodeDocumentSource(source: DocumentPart["source"]): JsonObject | undefined {
  // base64 is for PDF only.
  if (source.kind === "base64" && source.mediaType.startsWith("text/")) {
    return { type: "text", media_type: "text/plain", data: Buffer.from(source.data, "base64").toString() };
  }
  return source.kind === "text" ? { type: "text", media_type: "text/plain", data: source.text } : encodeSource(source);
}

function encodeSource(source: MediaSource): JsonObject | undefined {
  switch (source.kind) {
    case "base64":
      return { type: "base64", media_type: source.mediaType, data: source.data };
    case "url":
      return { type: "url", url: source.url };
    case "file":
      return source.dialect === ID ? { type: "file", file_id: source.id } : undefined;
  }
}

export function toolId(id: string): string {
  return id.replace(/[^a-zA-Z0-9_-]/g, "_");
}

/** Arguments that are no object are kept visible, so that the caller's own check of the schema tells the model. */
export function toolInput(text: string): JsonObject {
  if (text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {}
  return { __invalid_json: text };
}
