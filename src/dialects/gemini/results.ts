import type { ToolResultPart } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { list, maybe, message, object, present } from "./check.ts";
import { ID } from "./id.ts";
import { decodeMedia, encodeMedia } from "./media.ts";

/** What a function answered. `output` and `error` are the API's own keys; any other object is the output itself. */
export function decodeResult(result: JsonObject, path: string): Pick<ToolResultPart, "content" | "isError"> {
  const response = maybe(result, "response", path, object) ?? {};
  const [key, ...more] = Object.keys(response);
  const only = more.length === 0 ? key : undefined;
  const said = only === "error" || only === "output" ? response[only] : response;
  const text = typeof said === "string" ? said : key === undefined ? "" : JSON.stringify(said ?? null);
  const parts = maybe(result, "parts", path, list) ?? [];
  return present({
    content: [
      ...(text === "" ? [] : [{ type: "text" as const, text }]),
      ...parts.map((part, i) => decodeResultPart(part, `${path}.parts.${i}`)),
    ],
    isError: only === "error" ? true : undefined,
  });
}

function decodeResultPart(value: unknown, path: string): ToolResultPart["content"][number] {
  const part = message(value, path);
  const media = part.inlineData || part.fileData ? decodeMedia(part, path) : undefined;
  if (media && media.type !== "audio") return media;
  return { type: "opaque", dialect: ID, kind: "functionResponsePart", value: part };
}

export interface EncodedResult {
  response: JsonObject;
  /** Media that the target takes beside the response only. */
  beside: JsonObject[];
}

/** @param inside whether media may stand in the response itself */
export function encodeResult(result: ToolResultPart, name: string, inside: boolean): EncodedResult {
  const { id, content, isError } = result;
  const media = content.map(encodeMedia).filter(isObject);
  const texts = content.flatMap((part) => (part.type === "text" ? part.text : []));
  if (!inside) texts.push(...media.map((_, i) => `[attachment ${i + 1} of ${media.length} follows]`));
  const text = texts.join("\n\n");
  const parts = inside && media.length > 0 ? media : undefined;
  const response = isError ? { error: text } : outputOf(text, parts !== undefined);
  return { response: { functionResponse: present({ id, name, response, parts }) }, beside: inside ? [] : media };
}

function outputOf(text: string, hasParts: boolean): JsonObject {
  if (text === "") return hasParts ? {} : { output: "(no output)" };
  // `$ref` is reserved for parts of the response. [G-THOUGHT]
  if (!text.trimStart().startsWith("{") || text.includes('"$ref"')) return { output: text };
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value) && !isReserved(value)) return value;
  } catch {}
  return { output: text };
}

/** Would be read as something else than the whole output. */
const isReserved = (value: JsonObject) => Object.keys(value).length === 0 || "output" in value || "error" in value;
