import type { ResponsesItem } from "./openai-responses-items.ts";
import { bad, type OpenAIError } from "./openai-schema.ts";

/** Images and files in the input of OpenAI's Responses [O-SDK, FX-P]. */

const IMAGES = /^image\/(png|jpeg|jpg|webp|gif)$/;
/** Sound and pictures are no files [FX-P url_force_download-audio]. */
const NO_FILES = /^(audio|video|image)\//;
/** A file's address is fetched and must lead to a document [FX-P url-audio]; the fake goes by the name. */
const NO_DOCUMENT = /\.(mp3|wav|ogg|flac|m4a|mp4|mov|webm|png|jpe?g|gif|webp)$/i;

/** The first image or file that would be refused. */
export function mediaError(items: readonly ResponsesItem[]): OpenAIError | undefined {
  for (const { part, param } of items.flatMap(partsOf)) {
    const error =
      part.type === "input_image"
        ? imageError(part, param)
        : part.type === "input_file"
          ? fileError(part, param)
          : undefined;
    if (error) return error;
  }
  return undefined;
}

type Part = Extract<Extract<ResponsesItem, { type: "function_call_output" }>["output"], unknown[]>[number];
type Image = Extract<Part, { type: "input_image" }>;
type File = Extract<Part, { type: "input_file" }>;

function partsOf(item: ResponsesItem, i: number): { part: Part; param: string }[] {
  const [field, parts] =
    item.type === "message" && item.role !== "assistant"
      ? ["content", item.content]
      : item.type === "function_call_output" || item.type === "custom_tool_call_output"
        ? ["output", item.output]
        : ["", ""];
  return typeof parts === "string" ? [] : parts.map((part, j) => ({ part, param: `input[${i}].${field}[${j}]` }));
}

function imageError({ image_url: url, file_id: id }: Image, param: string): OpenAIError | undefined {
  if (!url === !id) return bad(`Exactly one of 'image_url' and 'file_id' must be provided.`, param, "invalid_value");
  if (!url || /^https?:\/\//.test(url)) return undefined;
  const wanted =
    "Expected a base64-encoded data URL with an image MIME type (e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU=')";
  return dataError("image_url", url, `${param}.image_url`, wanted, (type) => IMAGES.test(type));
}

function fileError({ file_data: data, file_url: url, file_id: id }: File, param: string): OpenAIError | undefined {
  if ([data, url, id].filter(Boolean).length !== 1)
    return bad(`Exactly one of 'file_data', 'file_url' and 'file_id' must be provided.`, param, "invalid_value");
  if (url && NO_DOCUMENT.test(url.replace(/[?#].*/, "")))
    return bad("The file type you uploaded is not supported. Please try again with a pdf", "input", "unsupported_file");
  if (!data) return undefined;
  const wanted =
    "Expected a base64-encoded data URL with a valid file MIME type (e.g. 'data:text/plain;base64,SGVsbG8sIFdvcmxkIQ==')";
  return dataError("file data", data, `${param}.file_data`, wanted, (type) => type !== "" && !NO_FILES.test(type));
}

function dataError(what: string, value: string, param: string, wanted: string, takes: (type: string) => boolean) {
  const [, type, data] = /^data:([^;,]*)[^,]*;base64,(.*)$/s.exec(value) ?? [];
  const fault =
    type === undefined
      ? "but got a value without the 'data:' prefix"
      : !takes(type)
        ? `but got unsupported MIME type '${type}'`
        : /^[A-Za-z0-9+/]+={0,2}$/.test(data ?? "")
          ? undefined
          : "but got a value that is not base64-encoded";
  return fault === undefined
    ? undefined
    : bad(`Invalid ${what}: '${param}'. ${wanted}, ${fault}.`, param, "invalid_value");
}
