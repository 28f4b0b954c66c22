import { idFor, type Turn } from "./behaviour.ts";
import { type ChatStyle, chatStream, wholeChat } from "./chat-shape.ts";
import { openAIRefusal } from "./openai-rules.ts";
import type { OpenAIBody } from "./openai-schema.ts";
import { bearerOf, type Fake, type FakeOptions, type FakeRequest, startFake, takesKey, type Wire } from "./server.ts";

/**
 * Starts a fake `api.openai.com`: `POST /v1/chat/completions` and `GET /v1/models`, as strict as the real one [O-SDK].
 *
 * @example
 * await using openai = await fakeOpenAI();
 * openai.next({ toolCalls: [{ name: "get_weather", arguments: { city: "Paris" } }] });
 */
export function fakeOpenAI(options: FakeOptions = {}): Promise<Fake> {
  return startFake(openAIWire(options), options);
}

/** The refusal the real API would answer this body with, or undefined when it would take it. */
export function validateOpenAI(body: unknown): { status: number; body: unknown } | undefined {
  const refusal = openAIRefusal(body);
  return refusal && { status: refusal.status, body: { error: refusal.error } };
}

function openAIWire(options: FakeOptions): Wire {
  return {
    name: "openai",

    route(request) {
      const key = bearerOf(request);
      if (key === undefined || !takesKey(options, key)) return { status: 401, body: keyError(key) };
      const line = `${request.method} ${request.path}`;
      if (line === "GET /v1/models") return { status: 200, body: { object: "list", data: MODEL_IDS.map(card) } };
      if (line !== "POST /v1/chat/completions") {
        const message = `Invalid URL (${request.method} ${request.path})`;
        return { status: 404, body: { error: { ...errorOf(404).error, message } } };
      }
      const refusal = validateOpenAI(request.body);
      if (refusal) return refusal;

      const asked = request.body as OpenAIBody;
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
    },

    whole: (turn, request) => wholeChat(turn, styleOf(turn, request)),

    stream(turn, request) {
      const usage = (request.body as OpenAIBody).stream_options?.include_usage ? "null-then-last" : "no";
      return chatStream(turn, styleOf(turn, request), { content: "", refusal: null }, usage);
    },

    errorBody: (status, _request, error) => ({ error: { ...errorOf(status).error, ...error } }),
    errorFrame: (error) => ({ data: { error: { ...errorOf(500).error, ...error } } }),
    headers: (request) => ({ "x-request-id": `req_${request.id}`, "openai-version": "2020-10-01" }),
  };
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

const MODEL_IDS = [
  "gpt-4o",
  "gpt-4.1",
  "gpt-5",
  "gpt-5-mini",
  "gpt-5.1",
  "gpt-5.5",
  "gpt-5.6",
  "gpt-6-astra",
  "gpt-6-sol",
  "o3",
  "o4-mini",
];

function card(id: string) {
  return { id, object: "model", created: 1764547200, owned_by: "openai" };
}
