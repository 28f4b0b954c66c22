import { idFor, pieces, type Turn } from "./behaviour.ts";
import { mistralModel, mistralRefusal } from "./mistral-rules.ts";
import { type MistralBody, mistralDetails } from "./mistral-schema.ts";
import { bearerOf, type Fake, type FakeOptions, type Reply, startFake, takesKey, type Wire } from "./server.ts";
import type { FrameStream } from "./sse.ts";

/**
 * Starts a fake `api.mistral.ai`: `POST /v1/chat/completions` and `GET /v1/models`, as strict as the real one.
 *
 * @example
 * await using mistral = await fakeMistral({ apiKey: "key" });
 * mistral.next({ text: "Bonjour" }, { status: 429, headers: { "retry-after": "1" } });
 */
export function fakeMistral(options: FakeOptions = {}): Promise<Fake> {
  return startFake(mistralWire(options), options);
}

/** The refusal the real API would answer this body with, or undefined when it would take it [M-SPEC, M-COMMON]. */
export function validateMistral(body: unknown): { status: number; body: unknown } | undefined {
  const detail = mistralDetails(body);
  if (detail.length > 0)
    return { status: 422, body: envelope({ message: { detail }, type: "invalid_request_error", code: null }) };
  const refusal = mistralRefusal(body as MistralBody);
  return refusal && { status: 400, body: { ...envelope(refusal), raw_status_code: 400 } };
}

function mistralWire(options: FakeOptions): Wire {
  const unauthorized: Reply = { status: 401, body: { message: "Unauthorized" } };
  return {
    name: "mistral",

    route(request) {
      const key = bearerOf(request);
      if (key === undefined || !takesKey(options, key)) return unauthorized;
      const line = `${request.method} ${request.path}`;
      if (line === "GET /v1/models") return { status: 200, body: { object: "list", data: MODEL_IDS.map(card) } };
      if (line !== "POST /v1/chat/completions") return { status: 404, body: { detail: "Not Found" } };
      const refusal = validateMistral(request.body);
      if (refusal) return refusal;

      const body = request.body as MistralBody;
      const model = mistralModel(body.model);
      const thinks = body.reasoning_effort ? body.reasoning_effort !== "none" : model?.thinksByDefault === true;
      return {
        accepted: {
          model: body.model,
          stream: body.stream === true,
          prompt: body.messages,
          messages: body.messages,
          maxTokens: body.max_tokens ?? undefined,
          stop: [body.stop ?? []].flat(),
          thinks,
        },
      };
    },

    whole(turn, request) {
      const choice = { index: 0, finish_reason: turn.finishReason, message: messageOf(turn) };
      const head = { id: request.id, created: turn.created, model: turn.model };
      return { ...head, usage: usageOf(turn), object: "chat.completion", choices: [choice] };
    },

    stream(turn, request) {
      return streamOf(turn, request.id);
    },

    errorBody(status, _request, error) {
      const [type, message] = ERRORS[status] ?? ["internal_server_error", "Internal Server Error"];
      if (status === 401 && !error) return unauthorized.body;
      return { ...envelope({ message, type, code: null, ...error }), raw_status_code: status };
    },

    errorFrame(error) {
      return {
        data: envelope({ message: "Internal server error", type: "internal_server_error", code: null, ...error }),
      };
    },
  };
}

/** One message; with thinking the content is a list, without it a string. */
function messageOf(turn: Turn) {
  const chunk = { type: "thinking", thinking: [{ type: "text", text: turn.thinking }], closed: true };
  const text = turn.text === "" ? [] : [{ type: "text", text: turn.text }];
  return {
    role: "assistant",
    tool_calls: turn.toolCalls.length > 0 ? callsOf(turn) : null,
    content: turn.thinking === "" ? turn.text : [chunk, ...text],
  };
}

/** Thinking as lists, then one list with the last thinking and the first text, then strings [M-DOC]. */
function streamOf(turn: Turn, id: string): FrameStream {
  const chunk = (delta: object, finish_reason: string | null = null, rest: object = {}) => ({
    data: {
      id,
      object: "chat.completion.chunk",
      created: turn.created,
      model: turn.model,
      choices: [{ index: 0, delta, finish_reason }],
      ...rest,
    },
  });
  const thoughts = pieces(turn.thinking).map((text) => ({ type: "thinking", thinking: [{ type: "text", text }] }));
  const words = pieces(turn.text);
  const lists: object[][] = thoughts.map((thought) => [thought]);
  const lastList = lists.at(-1);
  if (lastList && words.length > 0) lastList.push({ type: "text", text: words.shift() });
  // Calls come complete in one chunk, which is also the last one, with finish_reason and usage.
  const calls = turn.toolCalls.length > 0 && { tool_calls: callsOf(turn) };
  return {
    open: [chunk({ role: "assistant", content: "" })],
    content: [...lists, ...words].map((content) => chunk({ content })),
    close: [chunk({ content: "", ...calls }, turn.finishReason, { usage: usageOf(turn) }), { data: "[DONE]" }],
  };
}

function callsOf(turn: Turn) {
  return turn.toolCalls.map((call, index) => ({
    id: call.id ?? idFor(`mistral call ${turn.serial} ${index}`, 9),
    function: { name: call.name, arguments: JSON.stringify(call.arguments) },
    index,
  }));
}

function usageOf({ usage }: Turn) {
  return {
    prompt_tokens: usage.prompt,
    total_tokens: usage.prompt + usage.completion,
    completion_tokens: usage.completion,
    prompt_tokens_details: { cached_tokens: usage.cached },
  };
}

function envelope(error: { message: unknown; type: string; code: string | null }) {
  const { message, type, code, ...rest } = error;
  return { object: "error", message, type, param: null, code, ...rest };
}

const ERRORS: Record<number, [type: string, message: string]> = {
  400: ["invalid_request_error", "Bad Request"],
  403: ["forbidden", "Forbidden"],
  404: ["not_found", "Not Found"],
  422: ["invalid_request_error", "Unprocessable Entity"],
  429: ["rate_limited", "Rate limit exceeded"],
  503: ["service_unavailable", "Service unavailable."],
};

const MODEL_IDS = [
  "mistral-medium-3-5",
  "mistral-medium-latest",
  "mistral-small-2603",
  "mistral-small-latest",
  "mistral-large-4",
  "mistral-large-2512",
  "mistral-large-latest",
  "magistral-medium-latest",
  "magistral-small-latest",
  "ministral-8b-latest",
  "codestral-latest",
  "devstral-small-latest",
  "zai-glm-5-2",
  "zai-glm-5-3",
];

function card(id: string) {
  const model = mistralModel(id);
  return {
    id,
    object: "model",
    created: 1764547200,
    owned_by: "mistralai",
    capabilities: {
      completion_chat: true,
      function_calling: true,
      reasoning: model?.efforts !== null,
      completion_fim: id.startsWith("codestral"),
      fine_tuning: false,
      vision: model?.vision === true,
    },
    name: id,
    description: "A model of the fake.",
    max_context_length: 262144,
    aliases: [],
    deprecation: null,
    deprecation_replacement_model: null,
    default_model_temperature: 0.3,
    type: "base",
  };
}
