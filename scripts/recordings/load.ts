/** Reads a folder of recorded provider traffic. Knows the forms of files, nothing of wire formats. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { isObject, type JsonObject } from "../../src/core/util.ts";
import { parseEvents, type ServerEvent } from "./sse.ts";

export interface Recording {
  /** Path below the folder. */
  file: string;
  /** The folder it lies in: whom the table names. */
  provider: string;
  /** A whole body, or a stream. */
  answer: { kind: "whole"; value: unknown } | { kind: "stream"; events: ServerEvent[]; raw?: string };
  /** What was asked, where it was recorded. */
  request?: { path: string; body: unknown };
  /** HTTP status, where it was recorded. */
  status?: number;
}

export interface Unreadable {
  file: string;
  provider: string;
  reason: string;
}

/** Every file below `folder`, in a stable order. */
export function* loadFolder(folder: string): Generator<Recording | Unreadable> {
  for (const path of files(folder)) {
    const file = relative(folder, path);
    const place = { file, provider: dirname(file) === "." ? basename(folder) : dirname(file) };
    try {
      const read = readRecording(path);
      yield read ? { ...place, ...read } : { ...place, reason: "no recording" };
    } catch (error) {
      yield { ...place, reason: `cannot be read: ${error instanceof Error ? error.message : error}` };
    }
  }
}

function files(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}

type Content = Omit<Recording, "file" | "provider">;

function readRecording(path: string): Content | undefined {
  const text = () => readFileSync(path, "utf8");
  if (path.endsWith(".chunks.txt")) return { answer: { kind: "stream", events: readChunks(text()) } };
  if (path.endsWith(".sse")) return { answer: stream(text()) };
  if (!path.endsWith(".json")) return undefined;
  const value: unknown = JSON.parse(text());
  return isObject(value) && "response_body" in value ? readExchange(value) : { answer: { kind: "whole", value } };
}

/** One payload per line; the name of its event, where the wire has one, is the payload's type. */
function readChunks(text: string): ServerEvent[] {
  return text.split("\n").flatMap((line) => {
    if (line.trim() === "") return [];
    const type = typeOf(line);
    return [type === undefined ? { data: line } : { event: type, data: line }];
  });
}

function typeOf(line: string): string | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) && typeof value.type === "string" ? value.type : undefined;
  } catch {
    return undefined;
  }
}

function readExchange(value: JsonObject): Content {
  const { path, request_body, status, response_body } = value;
  return {
    answer: readBody(response_body),
    ...(typeof path === "string" && { request: { path, body: request_body } }),
    ...(typeof status === "number" && { status }),
  };
}

function readBody(body: unknown): Recording["answer"] {
  if (typeof body !== "string") return { kind: "whole", value: body };
  if (/^(\uFEFF?)(data|event|id|retry)?:/m.test(body.slice(0, 500))) return stream(body);
  try {
    return { kind: "whole", value: JSON.parse(body) };
  } catch {
    return { kind: "whole", value: body };
  }
}

function stream(text: string): Recording["answer"] {
  const raw = text.replace(/\r\n?/g, "\n");
  return { kind: "stream", events: parseEvents(raw), raw };
}
