import { countTokens, idFor, type Turn } from "./behaviour.ts";
import { type ChatStyle, chatStream, wholeChat } from "./chat-shape.ts";
import { embeddingList, embeddingRefusal, embeddingTokens, type OpenAIEmbeddingBody } from "./openai-embeddings.ts";
import { openAIModelList } from "./openai-models.ts";
import { responseErrorFrame, responseStream, responsesThinks, wholeResponse } from "./openai-responses.ts";
import { ResponsesMemory } from "./openai-responses-history.ts";
import { responsesRefusal } from "./openai-responses-rules.ts";
import { itemsOf, type ResponsesBody } from "./openai-responses-schema.ts";
import { openAIRefusal } from "./openai-rules.ts";
import type { OpenAIBody, OpenAIError } from "./openai-schema.ts";
import {
  bearerOf,
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
 * Starts a fake `api.openai.com`, as strict as the real one [O-SDK]: `POST /v1/chat/completions`, `/v1/responses`,
 * `/v1/responses/input_tokens`, `/v1/embeddings` and `GET /v1/models`. It stores responses as the real one does; what
 * its encrypted reasoning is about it knows again, nobody else's.
 *
 * @example
 * await using openai = await fakeOpenAI();
 * openai.next({ toolCalls: [{ name: "get_weather", arguments: { city: "Paris" } }] });
 */
export function fakeOpenAI(options: FakeOptions = {}): Promise<Fake> {
  return startFake(openAIWire(options), options);
}

/** The refusal of Chat Completions, or undefined when it would take this body. */
export function validateOpenAI(body: unknown): ValidatorRefusal | undefined {
  return replyOf(openAIRefusal(body));
}

/**
 * The refusal of Responses, or undefined when it would take this body.
 * @param options.foreign encrypted content, stored items and responses that no fake has issued count as genuine.
 * @default false
 */
export function validateOpenAIResponses(
  body: unknown,
  { foreign = false }: { foreign?: boolean } = {},
): ValidatorRefusal | undefined {
  return replyOf(responsesRefusal(body, foreign ? undefined : new ResponsesMemory()));
}

/** The refusal of Embeddings, or undefined when it would take this body. */
export function validateOpenAIEmbeddings(body: unknown): ValidatorRefusal | undefined {
  return replyOf(embeddingRefusal(body));
}

function replyOf(refusal: { status: number; error: OpenAIError } | undefined): ValidatorRefusal | undefined {
  return refusal && { status: refusal.status, body: { error: refusal.error } };
}

const CHAT = "POST /v1/chat/completions";
const RESPONSES = "POST /v1/responses";
const EMBEDDINGS = "POST /v1/embeddings";
const lineOf = ({ method, path }: FakeRequest) => `${method} ${path}`;

function openAIWire(options: FakeOptions): Wire {
  const memory = new ResponsesMemory();
  const routes: Record<string, (body: unknown) => ReturnType<Wire["route"]>> = {
    "GET /v1/models": () => ({ status: 200, body: openAIModelList() }),
    [CHAT]: (body) => validateOpenAI(body) ?? chatAsked(body as OpenAIBody),
    [RESPONSES]: (body) => replyOf(responsesRefusal(body, memory)) ?? responsesAsked(body as ResponsesBody),
    [`${RESPONSES}/input_tokens`]: (body) =>
      replyOf(responsesRefusal(body, memory, true)) ?? counted(body as ResponsesBody),
    [EMBEDDINGS]: (body) => validateOpenAIEmbeddings(body) ?? embeddingAsked(body as OpenAIEmbeddingBody),
  };

  return {
    name: "openai",

    route(request) {
      const key = bearerOf(request);
      if (key === undefined || !takesKey(options, key)) return { status: 401, body: keyError(key) };
      const route = routes[lineOf(request)];
      if (route) return route(request.body);
      const message = `Invalid URL (${lineOf(request)})`;
      return { status: 404, body: { error: { ...errorOf(404).error, message } } };
    },

    whole(turn, request) {
      if (lineOf(request) === RESPONSES) return wholeResponse(turn, request.body as ResponsesBody, memory);
      if (lineOf(request) === EMBEDDINGS) return embeddingList(turn, request.body as OpenAIEmbeddingBody);
      return wholeChat(turn, styleOf(turn, request));
    },

    stream(turn, request) {
      if (lineOf(request) === RESPONSES) return responseStream(turn, request.body as ResponsesBody, memory);
      const usage = (request.body as OpenAIBody).stream_options?.include_usage ? "null-then-last" : "no";
      return chatStream(turn, styleOf(turn, request), { content: "", refusal: null }, usage);
    },

    errorBody: (status, _request, error) => ({ error: { ...errorOf(status).error, ...error } }),
    errorFrame(error, request, sent) {
      const said = { ...errorOf(500).error, ...error };
      return lineOf(request) === RESPONSES ? responseErrorFrame(said, sent) : { data: { error: said } };
    },
    reset: () => memory.clear(),
    headers: (request) => ({ "x-request-id": `req_${request.id}`, "openai-version": "2020-10-01" }),
  };
}

function chatAsked(asked: OpenAIBody): ReturnType<Wire["route"]> {
  return {
    accepted: {
      model: asked.model,
      stream: asked.stream === true,
      prompt: asked.messages,
      messages: asked.messages,
      maxTokens: asked.max_completion_tokens ?? asked.max_tokens ?? undefined,
      stop: [asked.stop ?? []].flat(),
      // Chat never shows the thinking; scripted `usage.reasoning` counts all the same.
      thinks: false,
    },
  };
}

function responsesAsked(asked: ResponsesBody): ReturnType<Wire["route"]> {
  const items = itemsOf(asked);
  return {
    accepted: {
      model: asked.model,
      stream: asked.stream === true,
      prompt: promptOf(asked),
      messages: items.flatMap((item) => (item.type === "message" ? [{ role: item.role, content: item.content }] : [])),
      maxTokens: asked.max_output_tokens ?? undefined,
      thinks: responsesThinks(asked),
    },
  };
}

function counted(asked: ResponsesBody): Reply {
  return { status: 200, body: { object: "response.input_tokens", input_tokens: countTokens(promptOf(asked)) } };
}

const promptOf = (asked: ResponsesBody) => [asked.instructions, asked.tools, asked.input];

function embeddingAsked(asked: OpenAIEmbeddingBody): ReturnType<Wire["route"]> {
  // Only the count of the prompt matters, as a text of that many tokens.
  const prompt = "x".repeat(embeddingTokens(asked) * 4 - 2);
  return { accepted: { model: asked.model, stream: false, prompt, messages: [], thinks: false } };
}

function styleOf(turn: Turn, request: FakeRequest): ChatStyle {
  const { prompt, completion, cached, reasoning } = turn.usage;
  return {
    id: `chatcmpl-${idFor(request.id, 29)}`,
    head: { service_tier: "default", system_fingerprint: "fp_0000000000" },
    choice: { logprobs: null },
    message: { refusal: null, annotations: [] },
    callId: "call_",
    reasoning: false,
    usage: {
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: prompt + completion,
      prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0 },
      completion_tokens_details: {
        reasoning_tokens: reasoning,
        audio_tokens: 0,
        accepted_prediction_tokens: 0,
        rejected_prediction_tokens: 0,
      },
    },
    tail: {},
  };
}

const ERRORS: Record<number, [type: string, code: string | null, message: string]> = {
  400: ["invalid_request_error", null, "Bad request."],
  401: ["invalid_request_error", "invalid_api_key", "Incorrect API key provided."],
  404: ["invalid_request_error", null, "Not found."],
  429: ["requests", "rate_limit_exceeded", "Rate limit reached for requests."],
  500: ["server_error", null, "The server had an error while processing your request."],
  503: ["server_error", null, "The engine is currently overloaded, please try again later."],
};

function errorOf(status: number) {
  const [type, code, message] = ERRORS[status] ?? ["server_error", null, `Status ${status}`];
  return { error: { message, type, param: null, code } };
}

function keyError(key: string | undefined) {
  const message =
    key === undefined
      ? "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth."
      : `Incorrect API key provided: ${key.slice(0, 3)}***. You can find your API key at https://platform.openai.com/account/api-keys.`;
  return { error: { ...errorOf(401).error, message, code: key === undefined ? null : "invalid_api_key" } };
}
