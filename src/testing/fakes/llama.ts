import { z } from "zod";
import { countTokens, type Turn } from "./behaviour.ts";
import { type ChatStyle, chatStream, wholeChat } from "./chat-shape.ts";
import { findings } from "./findings.ts";
import { bearerOf, type Fake, type FakeOptions, type FakeRequest, startFake, takesKey, type Wire } from "./server.ts";

export interface FakeLlamaOptions extends FakeOptions {
  /** What `/v1/models` names; any model name is accepted. @default "devstral-small" */
  model?: string;
  /** A multimodal projector is loaded. @default false */
  vision?: boolean;
  /** Longer prompts are refused. @default 131072 */
  contextTokens?: number;
}

/**
 * Starts a fake llama-server (llama.cpp): `/v1/chat/completions`, `/v1/models`, `/health`, `/props`. Lenient about
 * unknown fields and keys, like the real one; a key is only checked when `apiKey` is given.
 */
export function fakeLlama(options: FakeLlamaOptions = {}): Promise<Fake> {
  return startFake(llamaWire(options), options);
}

const part = z.looseObject({ type: z.string() });
const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });
const body = z.looseObject({
  model: z.string().optional(),
  messages: z
    .array(
      z.discriminatedUnion("role", [
        z.looseObject({
          role: z.enum(["system", "developer", "user"]),
          content: z.union([z.string(), z.array(part)]),
        }),
        z.looseObject({ role: z.literal("assistant"), content: z.union([z.string(), z.array(part)]).nullish() }),
        z.looseObject({ role: z.literal("tool"), content: z.union([z.string(), z.array(textPart)]) }),
      ]),
    )
    .min(1),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: z.int().nullish(),
  max_completion_tokens: z.int().nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  reasoning_effort: z.string().nullish(),
  chat_template_kwargs: z.looseObject({ enable_thinking: z.boolean().optional() }).nullish(),
});
type Body = z.infer<typeof body>;

function llamaWire(options: FakeLlamaOptions): Wire {
  const model = options.model ?? "devstral-small";
  const contextTokens = options.contextTokens ?? 131072;

  const routes: Record<string, () => unknown> = {
    "GET /health": () => ({ status: "ok" }),
    "GET /props": () => ({
      default_generation_settings: { n_ctx: contextTokens, params: {} },
      total_slots: 1,
      model_path: `/models/${model}.gguf`,
      chat_template: "{{ messages }}",
      modalities: { vision: options.vision === true, audio: false },
      build_info: "b0-fake",
    }),
    "GET /models": () => ({
      object: "list",
      data: [
        { id: model, object: "model", created: 1764547200, owned_by: "llamacpp", meta: { n_ctx_train: contextTokens } },
      ],
    }),
  };

  return {
    name: "llama",

    route(request) {
      const line = `${request.method} ${request.path.replace(/^\/v1\//, "/")}`;
      if (line === "GET /health") return { status: 200, body: routes[line]?.() };
      if (options.apiKey !== undefined && !takesKey(options, bearerOf(request) ?? "")) return refuse(401);
      const answer = routes[line];
      if (answer) return { status: 200, body: answer() };
      if (line !== "POST /chat/completions") return refuse(404);

      const [wrong] = findings(body, request.body);
      if (wrong) return refuse(400, wording(wrong.path, wrong.rule));
      const asked = request.body as Body;
      if (!options.vision && hasImages(asked)) return refuse(500, NO_VISION);
      const prompt = countTokens(asked.messages);
      if (prompt > contextTokens) return overflow(prompt, contextTokens);

      const limit = asked.max_tokens ?? asked.max_completion_tokens ?? -1;
      return {
        accepted: {
          model: asked.model ?? model,
          stream: asked.stream === true,
          prompt: asked.messages,
          messages: asked.messages,
          maxTokens: limit < 0 ? undefined : limit,
          stop: [asked.stop ?? []].flat(),
          thinks: asked.reasoning_effort !== "none" && asked.chat_template_kwargs?.enable_thinking !== false,
        },
      };
    },

    whole: (turn, request) => wholeChat(turn, styleOf(turn, request)),

    stream(turn, request) {
      const includeUsage = (request.body as Body).stream_options?.include_usage === true;
      return chatStream(turn, styleOf(turn, request), { content: null }, includeUsage ? "last" : "no");
    },

    errorBody: (status, _request, error) => ({ ...errorOf(status), ...(error && { error }) }),
    errorFrame: (error) => ({ data: { error: { ...errorOf(500).error, ...error } } }),
  };
}

function styleOf(turn: Turn, request: FakeRequest): ChatStyle {
  const { prompt, completion, cached } = turn.usage;
  return {
    id: `chatcmpl-${request.id}`,
    head: { system_fingerprint: "b0-fake" },
    choice: {},
    message: {},
    callId: "",
    reasoning: true,
    usage: {
      completion_tokens: completion,
      prompt_tokens: prompt,
      total_tokens: prompt + completion,
      prompt_tokens_details: { cached_tokens: cached },
    },
    tail: {
      timings: {
        cache_n: cached,
        prompt_n: prompt - cached,
        prompt_ms: prompt - cached,
        prompt_per_second: 1000,
        predicted_n: completion,
        predicted_ms: completion * 10,
        predicted_per_second: 100,
      },
    },
  };
}

const NO_VISION = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj";

const ERRORS: Record<number, [type: string, message: string]> = {
  400: ["invalid_request_error", "Bad request"],
  401: ["authentication_error", "Invalid API Key"],
  404: ["not_found_error", "File Not Found"],
  500: ["server_error", "Internal server error"],
  503: ["unavailable_error", "Loading model"],
};

function errorOf(code: number, message?: string) {
  const [type, usual] = ERRORS[code] ?? ["server_error", `Status ${code}`];
  return { error: { code, message: message ?? usual, type } };
}

function refuse(status: number, message?: string) {
  return { status, body: errorOf(status, message) };
}

function overflow(prompt: number, context: number) {
  const message = `the request exceeds the available context size (${context} tokens), try increasing it`;
  const error = { code: 400, message, type: "exceed_context_size_error", n_prompt_tokens: prompt, n_ctx: context };
  return { status: 400, body: { error } };
}

function wording(path: readonly (string | number)[], rule: string): string {
  const where = path.length === 0 ? "body" : path.join(".");
  if (rule === "missing") return `'${where}' is required`;
  if (where === "messages") return "Expected 'messages' to be a non-empty array";
  return `Invalid '${where}'`;
}

function hasImages(asked: Body): boolean {
  return asked.messages.some((m) => Array.isArray(m.content) && m.content.some((p) => p.type !== "text"));
}
