import { type ClaudeModel, claudeModel, modelCard, modelList, thinks } from "./anthropic-models.ts";
import { type AnthropicHeaders, type AnthropicRefusal, anthropicRefusal } from "./anthropic-rules.ts";
import type { AnthropicBody } from "./anthropic-schema.ts";
import { countTokens, idFor, pieces, type Turn } from "./behaviour.ts";
import {
  bearerOf,
  type Fake,
  type FakeOptions,
  type FakeRequest,
  type Reply,
  startFake,
  takesKey,
  type Wire,
} from "./server.ts";
import type { Frame, FrameStream } from "./sse.ts";

/**
 * Starts a fake `api.anthropic.com`: `POST /v1/messages`, `/v1/messages/count_tokens`, `GET /v1/models[/{id}]`,
 * `HEAD /api/hello`, as strict as the real one, in both API versions [A-SDK, A-DOC, A-MIG].
 *
 * @example
 * await using anthropic = await fakeAnthropic();
 * anthropic.next({ thinking: "Two and two.", text: "Four." });
 */
export function fakeAnthropic(options: FakeOptions = {}): Promise<Fake> {
  return startFake(anthropicWire(options), options);
}

/** The refusal the real API would answer this body with, or undefined when it would take it. */
export function validateAnthropic(
  body: unknown,
  headers: Partial<AnthropicHeaders> & { counting?: boolean } = {},
): { status: number; body: unknown } | undefined {
  const { version = VERSIONS[0], betas = [], counting } = headers;
  const refusal = anthropicRefusal(body, { version, betas }, counting);
  return refusal && { status: refusal.status, body: envelope(refusal) };
}

const VERSIONS = ["2023-06-01", "2026-10-21"] as const;
const MAX_BYTES = 32 * 1024 * 1024;

function anthropicWire(options: FakeOptions): Wire {
  const refuse = (refusal: AnthropicRefusal, request: FakeRequest): Reply => ({
    status: refusal.status,
    body: envelope(refusal, request),
  });

  return {
    name: "anthropic",

    route(request) {
      const line = `${request.method} ${request.path}`;
      if (line === "HEAD /api/hello" || line === "GET /api/hello") return { status: 200, body: "" };
      const early = headerError(request, options);
      if (early) return refuse(early, request);

      if (line === "GET /v1/models") return { status: 200, body: modelList() };
      const id = /^GET \/v1\/models\/([^/]+)$/.exec(line)?.[1];
      if (id !== undefined) {
        const model = claudeModel(id);
        return model ? { status: 200, body: modelCard(id, model) } : refuse(notFound(`model: ${id}`), request);
      }
      const counting = line === "POST /v1/messages/count_tokens";
      if (!counting && line !== "POST /v1/messages") return refuse(notFound("Not found"), request);

      const refusal = anthropicRefusal(request.body, headersOf(request), counting);
      if (refusal) return refuse(refusal, request);
      const asked = request.body as AnthropicBody;
      const prompt = [asked.system, asked.tools, asked.messages];
      if (counting) return { status: 200, body: { input_tokens: countTokens(prompt) } };
      return {
        accepted: {
          model: asked.model,
          stream: asked.stream === true,
          prompt,
          messages: asked.messages,
          maxTokens: asked.max_tokens,
          stop: asked.stop_sequences,
          thinks: thinks(asked, claudeModel(asked.model) as ClaudeModel),
        },
      };
    },

    whole: (turn, request) => ({
      ...messageOf(turn, request),
      content: blocksOf(turn, request),
      stop_reason: stopReason(turn),
      ...(turn.stopSequence !== undefined && { stop_sequence: turn.stopSequence }),
      ...refusalDetails(turn),
      usage: usageOf(turn, turn.usage.completion),
    }),
    stream: streamOf,

    errorBody(status, request, error) {
      const [type, message] = ERRORS[status] ?? ["api_error", `Status ${status}`];
      return envelope({ type, message, ...error }, request);
    },
    errorFrame(error, request) {
      return frame(envelope({ type: "overloaded_error", message: "Overloaded", ...error }, request));
    },
    headers: (request) => ({ "request-id": requestId(request), "anthropic-organization-id": "fake-organization" }),
  };
}

/** Key and version come before the body. */
function headerError(request: FakeRequest, options: FakeOptions): AnthropicRefusal | undefined {
  const auth = (message: string) => ({ status: 401, type: "authentication_error", message });
  const { "x-api-key": apiKey, "anthropic-version": version } = request.headers;
  const key = [apiKey].flat()[0] ?? bearerOf(request);
  if (key === undefined) return auth("x-api-key header is required");
  if (!takesKey(options, key)) return auth(apiKey === undefined ? "Invalid bearer token" : "invalid x-api-key");
  const wrong = (message: string) => ({ status: 400, type: "invalid_request_error", message });
  if (version === undefined) return wrong("anthropic-version: header is required");
  if (!VERSIONS.some((known) => known === version))
    return wrong(`anthropic-version: "${version}" is not a valid version`);
  if (Buffer.byteLength(request.raw) > MAX_BYTES)
    return { status: 413, type: "request_too_large", message: "Request exceeds the maximum size" };
  return undefined;
}

function headersOf(request: FakeRequest): AnthropicHeaders {
  const betas = [request.headers["anthropic-beta"] ?? []].flat().flatMap((value) => value.split(","));
  const version = [request.headers["anthropic-version"]].flat()[0] ?? VERSIONS[0];
  return { version, betas: betas.map((beta) => beta.trim()).filter((beta) => beta !== "") };
}

function messageOf(turn: Turn, request: FakeRequest) {
  return {
    model: turn.model,
    id: `msg_01${idFor(request.id, 22)}`,
    type: "message",
    role: "assistant",
    content: [] as object[],
    stop_reason: null as string | null,
    stop_sequence: null,
    usage: usageOf(turn, 1),
  };
}

function blocksOf(turn: Turn, request: FakeRequest) {
  const thinking = turn.thinking === "" ? [] : [thinkingOf(turn, request)];
  const text = turn.text === "" ? [] : [{ type: "text" as const, text: turn.text }];
  return [...thinking, ...text, ...callsOf(turn)];
}

/** With display "omitted" (the default of newer models) the text is empty and only the signature comes. */
function thinkingOf(turn: Turn, request: FakeRequest) {
  const { thinking } = request.body as AnthropicBody;
  const asked = thinking && "display" in thinking ? thinking.display : undefined;
  const omitted = (asked ?? claudeModel(turn.model)?.display) === "omitted";
  const signature = `Eq${idFor(`${request.id} signature`, 62)}==`;
  return { type: "thinking" as const, thinking: omitted ? "" : turn.thinking, signature };
}

function callsOf(turn: Turn) {
  return turn.toolCalls.map((call, index) => ({
    type: "tool_use" as const,
    id: call.id ?? `toolu_01${idFor(`anthropic call ${turn.serial} ${index}`, 22)}`,
    name: call.name,
    input: call.arguments,
  }));
}

/** The grammar of wire.md §1.6: blocks one after the other, a ping in between, one signature_delta at the end of thinking. */
function streamOf(turn: Turn, request: FakeRequest): FrameStream {
  const content = blocksOf(turn, request).flatMap((block, index): Frame[] => {
    const delta = (value: object) => frame({ type: "content_block_delta", index, delta: value });
    const start = (content_block: object) => frame({ type: "content_block_start", index, content_block });
    const ping = index === 0 ? [frame({ type: "ping" })] : [];
    const stop = frame({ type: "content_block_stop", index });
    if (block.type === "thinking") {
      const deltas = pieces(block.thinking).map((thinking) => delta({ type: "thinking_delta", thinking }));
      const signed = delta({ type: "signature_delta", signature: block.signature });
      return [start({ type: "thinking", thinking: "", signature: "" }), ...ping, ...deltas, signed, stop];
    }
    if (block.type === "text") {
      const deltas = pieces(block.text).map((text) => delta({ type: "text_delta", text }));
      return [start({ type: "text", text: "" }), ...ping, ...deltas, stop];
    }
    // The first fragment is empty; a tool without arguments sends nothing else.
    const json = Object.keys(block.input).length === 0 ? "" : JSON.stringify(block.input);
    const half = Math.ceil(json.length / 2);
    const fragments = ["", json.slice(0, half), json.slice(half)].filter((piece, i) => i === 0 || piece !== "");
    const deltas = fragments.map((partial_json) => delta({ type: "input_json_delta", partial_json }));
    return [start({ ...block, input: {} }), ...ping, ...deltas, stop];
  });

  const { input_tokens, cache_creation_input_tokens, cache_read_input_tokens, output_tokens, output_tokens_details } =
    usageOf(turn, turn.usage.completion);
  const stopped = { stop_reason: stopReason(turn), stop_sequence: turn.stopSequence ?? null, ...refusalDetails(turn) };
  const usage = {
    input_tokens,
    cache_creation_input_tokens,
    cache_read_input_tokens,
    output_tokens,
    output_tokens_details,
  };
  return {
    open: [frame({ type: "message_start", message: messageOf(turn, request) })],
    content,
    close: [frame({ type: "message_delta", delta: stopped, usage }), frame({ type: "message_stop" })],
  };
}

function frame(data: { type: string; [field: string]: unknown }): Frame {
  return { event: data.type, data };
}

const STOP_REASONS: Record<string, string> = {
  stop: "end_turn",
  length: "max_tokens",
  tool_calls: "tool_use",
  content_filter: "refusal",
};

function stopReason(turn: Turn): string {
  if (turn.stopSequence !== undefined) return "stop_sequence";
  return STOP_REASONS[turn.finishReason] ?? turn.finishReason;
}

function refusalDetails(turn: Turn) {
  if (stopReason(turn) !== "refusal") return {};
  return { stop_details: { type: "refusal", category: null, explanation: "The fake was told to refuse." } };
}

/** `input_tokens` is the uncached rest; `output_tokens` includes thinking. */
function usageOf({ usage }: Turn, output: number) {
  return {
    input_tokens: usage.prompt - usage.cached,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: usage.cached,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
    output_tokens: output,
    output_tokens_details: { thinking_tokens: Math.min(usage.reasoning, output) },
    service_tier: "standard",
    inference_geo: "not_available",
  };
}

const ERRORS: Record<number, [type: string, message: string]> = {
  400: ["invalid_request_error", "Bad request"],
  401: ["authentication_error", "invalid x-api-key"],
  402: ["billing_error", "Your credit balance is too low."],
  403: ["permission_error", "Your API key does not have permission to use the specified resource."],
  404: ["not_found_error", "Not found"],
  409: ["conflict_error", "Conflict"],
  413: ["request_too_large", "Request exceeds the maximum size"],
  429: ["rate_limit_error", "This request would exceed your organization's rate limit."],
  500: ["api_error", "Internal server error"],
  504: ["timeout_error", "Request timed out"],
  529: ["overloaded_error", "Overloaded"],
};

function notFound(message: string): AnthropicRefusal {
  return { status: 404, type: "not_found_error", message };
}

function envelope({ status: _, ...error }: { status?: number; type: string; message: string }, request?: FakeRequest) {
  return { type: "error", error, ...(request && { request_id: requestId(request) }) };
}

function requestId(request: FakeRequest): string {
  return `req_011${idFor(request.id, 21)}`;
}
