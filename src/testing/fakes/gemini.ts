import { type Asked, countTokens } from "./behaviour.ts";
import { geminiStream, geminiWhole } from "./gemini-answers.ts";
import { contentFaults } from "./gemini-contents.ts";
import { geminiVectors, readEmbeddings } from "./gemini-embeddings.ts";
import { canThink, geminiCard, geminiModel, geminiModelList } from "./gemini-models.ts";
import { countTokensRequest } from "./gemini-proto.ts";
import { badGemini, type GeminiRefusal, modelRefusal, readGemini, violationsRefusal } from "./gemini-rules.ts";
import type { GeminiBody, GeminiEmbedding } from "./gemini-types.ts";
import { readProto } from "./proto-json.ts";
import {
  type Fake,
  type FakeOptions,
  type FakeRequest,
  type Reply,
  startFake,
  takesKey,
  type ValidatorRefusal,
  type Wire,
} from "./server.ts";

/**
 * Starts a fake Gemini API (`generativelanguage.googleapis.com`), as strict as the real one [G-SDK, CAT-G]:
 * `POST /v1beta/models/{model}:generateContent`, `:streamGenerateContent` (with `alt=sse` or as a JSON array),
 * `:countTokens`, `:embedContent`, `:batchEmbedContents` and `GET /v1beta/models[/{model}]`, all under `/v1` too.
 *
 * A scripted `content_filter` without text blocks the prompt; with text it ends the answer with `SAFETY`.
 *
 * @example
 * await using gemini = await fakeGemini();
 * gemini.next({ toolCalls: [{ name: "get_weather", arguments: { city: "Paris" } }] });
 */
export function fakeGemini(options: FakeOptions = {}): Promise<Fake> {
  return startFake(geminiWire(options), options);
}

/**
 * The refusal the real API would answer this body of `generateContent` with, or undefined when it would take it.
 * @param model such as `gemini-3-pro-preview`
 * @param options.foreign thought signatures that no fake has issued count as genuine. @default false
 */
export function validateGemini(
  model: string,
  body: unknown,
  { foreign = false }: { foreign?: boolean } = {},
): ValidatorRefusal | undefined {
  const read = readGemini(model, body, foreign);
  return "body" in read ? undefined : replyOf(read);
}

/** What a request asks for, and what it was understood to say. */
type Understood =
  | { method: "generateContent" | "streamGenerateContent"; model: string; body: GeminiBody }
  | { method: "embedContent" | "batchEmbedContents"; model: string; requests: GeminiEmbedding[] };

const CALL = /^POST \/v1(?:beta)?\/models\/([^/:]+):(\w+)$/;
const CARD = /^GET \/v1(?:beta)?\/models(?:\/([^/:]+))?$/;

function geminiWire(options: FakeOptions): Wire {
  const understood = new WeakMap<FakeRequest, Understood>();
  const of = (request: FakeRequest) => understood.get(request) as Understood;

  function generate(request: FakeRequest, model: string, method: "generateContent" | "streamGenerateContent") {
    const read = readGemini(model, request.body, false);
    if (!("body" in read)) return inArray(replyOf(read), request);
    understood.set(request, { method, model, body: read.body });
    return { accepted: askedOf(model, method, read.body) };
  }

  function embed(request: FakeRequest, model: string, method: "embedContent" | "batchEmbedContents") {
    const read = readEmbeddings(model, method, request.body);
    if (!("requests" in read)) return replyOf(read);
    understood.set(request, { method, model, requests: read.requests });
    const prompt = read.requests.map(({ content }) => content);
    return { accepted: { model, stream: false, prompt, messages: [], thinks: false } };
  }

  return {
    name: "gemini",
    basePath: "/v1beta",
    sse: { eol: "\r\n" },

    route(request) {
      const wrong = keyRefusal(request, options);
      if (wrong) return wrong;
      const line = `${request.method} ${request.path}`;
      const card = CARD.exec(line);
      if (card) return cards(card[1]);
      const [, model = "", method = ""] = CALL.exec(line) ?? [];
      if (method === "generateContent" || method === "streamGenerateContent") return generate(request, model, method);
      if (method === "embedContent" || method === "batchEmbedContents") return embed(request, model, method);
      if (method === "countTokens") return count(model, request.body);
      return replyOf({ status: 404, message: `The requested URL ${request.path} was not found on this server.` });
    },

    whole(turn, request) {
      const asked = of(request);
      if ("body" in asked) return geminiWhole(turn);
      const vectors = geminiVectors(asked.model, asked.requests);
      return asked.method === "embedContent" ? { embedding: vectors[0] } : { embeddings: vectors };
    },

    stream: (turn, request) => geminiStream(turn, isSse(request)),

    errorBody: (status, request, error) =>
      inArray({ status, body: errorBody({ status, message: MESSAGES[status] ?? `Status ${status}` }, error) }, request)
        .body,
    errorFrame(error, request) {
      const body = errorBody({ status: 500, message: MESSAGES[500] ?? "" }, error);
      return isSse(request) ? { data: body } : { raw: true, data: `,\r\n${JSON.stringify(body)}\r\n]` };
    },
    headers: () => ({ "server-timing": "gfet4t7; dur=1" }),
  };
}

function cards(id: string | undefined): Reply {
  const body = id === undefined ? geminiModelList() : geminiCard(id);
  return body ? { status: 200, body } : replyOf(modelRefusal(id ?? "", "GetModel"));
}

const isSse = (request: FakeRequest) => new URLSearchParams(request.query).get("alt") === "sse";

function askedOf(model: string, method: string, body: GeminiBody): Asked {
  const { maxOutputTokens, stopSequences, thinkingConfig } = body.generationConfig ?? {};
  const row = geminiModel(model);
  return {
    model,
    stream: method === "streamGenerateContent",
    prompt: [body.systemInstruction, body.tools, body.contents],
    messages: (body.contents ?? []).map(({ role = "user", parts }) => ({ role, content: parts })),
    ...(maxOutputTokens !== undefined && { maxTokens: maxOutputTokens }),
    ...(stopSequences && { stop: stopSequences }),
    thinks: row !== undefined && canThink(row) && thinkingConfig?.includeThoughts === true,
  };
}

/** Of plain contents, or of a whole request. */
function count(id: string, value: unknown): Reply {
  if (!geminiModel(id)) return replyOf(modelRefusal(id, "countTokens"));
  const { value: read, violations } = readProto(countTokensRequest, value);
  const early = violationsRefusal(violations);
  if (early) return replyOf(early);
  const { contents, generateContentRequest: whole } = read as GeminiBody & {
    generateContentRequest?: GeminiBody & { model?: string };
  };
  if (contents && whole)
    return replyOf(badGemini("* CountTokensRequest: contents and generate_content_request are mutually exclusive.\n"));
  if (whole && whole.model !== `models/${id}`)
    return replyOf(
      badGemini("* CountTokensRequest.generate_content_request.model: model must match the model of the request.\n"),
    );
  const all = whole?.contents ?? contents ?? [];
  const faults = all.flatMap((content, i) => contentFaults(content, `contents[${i}]`));
  if (all.length === 0) faults.push("contents: contents is not specified");
  if (faults.length > 0) return replyOf(badGemini(faults.map((fault) => `* CountTokensRequest.${fault}\n`).join("")));
  const totalTokens = countTokens([whole?.systemInstruction, whole?.tools, all]);
  return { status: 200, body: { totalTokens, promptTokensDetails: [{ modality: "TEXT", tokenCount: totalTokens }] } };
}

function keyRefusal(request: FakeRequest, options: FakeOptions): Reply | undefined {
  const key = request.headers["x-goog-api-key"] ?? new URLSearchParams(request.query).get("key") ?? undefined;
  if (key === undefined) {
    const message =
      "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.";
    return replyOf({ status: 403, message });
  }
  if (takesKey(options, String(key))) return undefined;
  const reply = replyOf(badGemini("API key not valid. Please pass a valid API key."));
  const detail = { "@type": `${RPC}ErrorInfo`, reason: "API_KEY_INVALID", domain: "googleapis.com" };
  return { ...reply, body: { error: { ...reply.body.error, details: [detail] } } };
}

const RPC = "type.googleapis.com/google.rpc.";
const STATUSES: Record<number, string> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};
const MESSAGES: Record<number, string> = {
  400: "Request contains an invalid argument.",
  429: "You exceeded your current quota, please check your plan and billing details.",
  500: "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting",
  503: "The model is overloaded. Please try again later.",
};
/** As recorded [FX-V google-429-retry-info]. */
const QUOTA_DETAILS = [
  {
    "@type": `${RPC}QuotaFailure`,
    violations: [{ quotaId: "GenerateRequestsPerMinutePerProjectPerModel-FreeTier" }],
  },
  { "@type": `${RPC}RetryInfo`, retryDelay: "34.4s" },
];

function replyOf(refusal: GeminiRefusal) {
  return { status: refusal.status, body: errorBody(refusal) };
}

function errorBody({ status: code, message, violations }: GeminiRefusal, said: object = {}) {
  const details = violations ? [{ "@type": `${RPC}BadRequest`, fieldViolations: violations }] : undefined;
  const error = { code, message, status: STATUSES[code] ?? "UNKNOWN" };
  const more = details ?? (code === 429 ? QUOTA_DETAILS : undefined);
  return { error: { ...error, ...(more && { details: more }), ...said } };
}

/** Where a JSON array was asked for, an error is its only element. */
function inArray(reply: Reply, request: FakeRequest): Reply {
  const isArray = request.path.endsWith(":streamGenerateContent") && !isSse(request);
  return isArray ? { ...reply, body: [reply.body] } : reply;
}
