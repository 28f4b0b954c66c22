/** Tells what a recording is by its shape: never by names of files or providers. */
import { isObject, type JsonObject } from "../../src/core/util.ts";
import { object, parsed, str } from "./facts.ts";
import type { Recording } from "./load.ts";
import type { ServerEvent } from "./sse.ts";
import { WIRES, type Wire } from "./wires/index.ts";

export type Classified =
  | { kind: "whole"; wire: Wire; body: JsonObject }
  /** `answers`: some recordings hold several, one after the other. */
  | { kind: "stream"; wire: Wire; answers: ServerEvent[][] }
  /** `wires`: more than one where the envelope is the same. */
  | { kind: "error"; wires: Wire[]; status: number; body: unknown }
  | { kind: "token-count"; wire: Wire; body: JsonObject }
  | { kind: "embeddings"; dialect: string; body: JsonObject }
  | { kind: "skip"; reason: string };

export function classify(recording: Recording): Classified {
  const { answer, request, status } = recording;
  const spoken = request && WIRES.find((wire) => wire.path.test(request.path));
  const refused = status !== undefined && status >= 400;
  if (answer.kind === "stream" && !refused) return classifyStream(answer.events);
  const value = answer.kind === "whole" ? answer.value : parsed(answer.events[0]?.data ?? "");
  if (refused) {
    const counted = request && COUNTS.find(({ path }) => path.test(request.path));
    const wire = spoken ?? counted?.wire;
    return wire ? { kind: "error", wires: [wire], status, body: value } : skip(foreign(object(value), request?.path));
  }
  if (!isObject(value)) return skip("no answer of a model (not a JSON object)");
  const counted = COUNTS.find(({ field }) => typeof value[field] === "number" && !isAnswer(value));
  if (counted) return { kind: "token-count", wire: counted.wire, body: value };
  const wire = WIRES.find((candidate) => candidate.isWhole(value));
  if (wire) return { kind: "whole", wire, body: value };
  if (isEmbeddings(value)) return { kind: "embeddings", dialect: "openai-chat", body: value };
  if (isGeminiEmbeddings(value)) return { kind: "embeddings", dialect: "gemini", body: value };
  return classifyError(value, spoken) ?? skip(foreign(value, request?.path));
}

const COUNTS = [
  { path: /\/messages\/count_tokens(\?|$)/, field: "input_tokens", wire: WIRES[0]! },
  { path: /:countTokens(\?|$)/, field: "totalTokens", wire: WIRES.find(({ dialect }) => dialect === "gemini")! },
];

const isAnswer = (value: JsonObject): boolean => WIRES.some((wire) => wire.isWhole(value));

function isEmbeddings({ data }: JsonObject): boolean {
  return Array.isArray(data) && data.length > 0 && data.every((item) => object(item).embedding !== undefined);
}

function isGeminiEmbeddings({ embedding, embeddings }: JsonObject): boolean {
  const list = embedding === undefined ? embeddings : [embedding];
  return Array.isArray(list) && list.length > 0 && list.every((item) => Array.isArray(object(item).values));
}

function classifyStream(events: ServerEvent[]): Classified {
  const pieces = events.map(({ data }) => object(parsed(data)));
  for (const wire of WIRES)
    if (pieces.some((piece) => wire.isPiece(piece))) return { kind: "stream", wire, answers: answersOf(events, wire) };
  const failed = pieces.find((piece) => piece.error !== undefined);
  const known = pieces.find((piece) => FOREIGN.some(([, is]) => is(piece, "")));
  return (failed && classifyError(failed, undefined)) ?? skip(foreign(known ?? pieces[0] ?? {}, undefined));
}

function answersOf(events: ServerEvent[], { end, marks }: Wire): ServerEvent[][] {
  if (end) return [events.some(({ data }) => data === end.data) ? events : [...events, end]];
  const answers: ServerEvent[][] = [[]];
  let over = false;
  for (const event of events) {
    const payload = object(parsed(event.data));
    if (over && marks?.first(payload)) answers.push([]);
    over = marks?.last(payload) ?? false;
    answers.at(-1)!.push(event);
  }
  return answers;
}

/** An error without its status: the body may name one. */
function classifyError(value: JsonObject, spoken: Wire | undefined): Classified | undefined {
  const error = object(value.error);
  const known = WIRES.filter((wire) => wire.isError(value));
  const isOpenAI = typeof error.message === "string";
  if (known.length === 0 && !isOpenAI) return undefined;
  const openai = WIRES.filter(({ dialect }) => dialect.startsWith("openai-"));
  const wires = spoken ? [spoken] : known.length > 0 ? known : openai;
  const code = Number(error.code);
  return { kind: "error", wires, status: code >= 400 && code < 600 ? code : 400, body: value };
}

const skip = (reason: string): Classified => ({ kind: "skip", reason });

/** Wires that we do not speak, by what only they have. */
const FOREIGN: readonly [what: string, is: (value: JsonObject, path: string) => boolean][] = [
  [
    "Bedrock Converse",
    (value, path) => /\/converse/.test(path) || "contentBlockDelta" in value || "stopReason" in value,
  ],
  ["Bedrock InvokeModel", (_, path) => /\/model\/.*\/(invoke|count-tokens)/.test(path)],
  ["Cohere v2", (value, path) => /\/v2\/chat/.test(path) || value.type === "message-start" || isCohere(value)],
  [
    "reranking",
    ({ results }) =>
      Array.isArray(results) &&
      results.every((item) => "relevance_score" in object(item) || "relevanceScore" in object(item)),
  ],
  [
    "transcription",
    (value) =>
      typeof value.text === "string" &&
      ("segments" in value || "duration" in value || "x_groq" in value || "logprobs" in value || "usage" in value),
  ],
  [
    "images",
    ({ data }) => Array.isArray(data) && data.some((item) => "b64_json" in object(item) || "url" in object(item)),
  ],
  ["text completions", ({ object: kind }) => kind === "text_completion"],
  [
    "Google interactions",
    (value) =>
      str(value.event_type).startsWith("interaction") ||
      str(value.object) === "interaction" ||
      (Array.isArray(value.steps ?? value.outputs) && typeof value.status === "string"),
  ],
  ["Google Live", (value) => "setupComplete" in value || "serverContent" in value],
  ["Vertex predict", ({ predictions }) => Array.isArray(predictions)],
];

function isCohere({ message, finish_reason }: JsonObject): boolean {
  return isObject(message) && typeof finish_reason === "string";
}

function foreign(value: JsonObject, path = ""): string {
  const wire = FOREIGN.find(([, is]) => is(value, path))?.[0];
  if (wire) return `no dialect for ${wire}`;
  return `no answer of a model (${path || `members ${Object.keys(value).slice(0, 6).join(", ") || "none"}`})`;
}
