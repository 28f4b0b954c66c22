/**
 * What callers in process send and get: the fields that are always there, typed; all others as they come. The official
 * SDKs' own types fit on both sides: `gateway.completion<OpenAI.ChatCompletion>(params)`.
 */

interface Streaming {
  /** `provider/model`, or what a rule matches. */
  readonly model: string;
  readonly stream: true;
}
interface Whole {
  /** `provider/model`, or what a rule matches. */
  readonly model: string;
  readonly stream?: false | null | undefined;
}
/** An object literal with any further fields, or a value of an SDK's own type. */
type WithFields<T> = (T & { readonly [field: string]: unknown }) | T;

export type StreamingShape = WithFields<Streaming>;
export type WholeShape = WithFields<Whole>;

export interface ToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

/** OpenAI Chat Completions, whole. */
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    message: {
      role: "assistant";
      content: string | null;
      refusal: string | null;
      tool_calls?: ToolCall[];
      reasoning_content?: string;
    };
    finish_reason: "stop" | "length" | "tool_calls" | "content_filter";
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}

/** OpenAI Chat Completions, one chunk of a stream. */
export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: {
    index: number;
    delta: {
      role?: "assistant";
      content?: string | null;
      reasoning_content?: string;
      tool_calls?: {
        index: number;
        id?: string;
        type?: "function";
        function?: { name?: string; arguments?: string };
      }[];
    };
    finish_reason: "stop" | "length" | "tool_calls" | "content_filter" | null;
  }[];
  usage?: ChatCompletion["usage"] | null;
}

/** Anthropic Messages, whole. */
export interface AnthropicMessage {
  id: string;
  type: "message";
  role: "assistant";
  model: string;
  content: (
    | { type: "text"; text: string }
    | { type: "thinking"; thinking: string; signature: string }
    | { type: "tool_use"; id: string; name: string; input: unknown }
    | { type: string; [field: string]: unknown }
  )[];
  stop_reason: string | null;
  stop_sequence: string | null;
  usage: {
    input_tokens: number;
    output_tokens: number;
    cache_read_input_tokens?: number | null;
    cache_creation_input_tokens?: number | null;
  };
}

/** Anthropic Messages, one event of a stream; `type` tells which members are there. */
export interface AnthropicEvent {
  type: string;
  index?: number;
  message?: AnthropicMessage;
  content_block?: { type: string; [field: string]: unknown };
  delta?: { type?: string; text?: string; thinking?: string; partial_json?: string; stop_reason?: string | null };
  usage?: AnthropicMessage["usage"];
}

/** OpenAI embeddings; base64 instead of numbers where the request says so. */
export interface EmbeddingList {
  object: "list";
  data: { object: "embedding"; index: number; embedding: number[] }[];
  model: string;
  usage: { prompt_tokens: number; total_tokens: number };
}

/** OpenAI Responses, whole. */
export interface OpenAIResponse {
  id: string;
  object: "response";
  created_at: number;
  status: string;
  model: string;
  output: (
    | { type: "message"; id: string; role: "assistant"; content: { type: string; text?: string; refusal?: string }[] }
    | { type: "function_call"; id: string; call_id: string; name: string; arguments: string }
    | { type: "reasoning"; id: string; summary: { type: string; text: string }[]; encrypted_content?: string | null }
    | { type: string; [field: string]: unknown }
  )[];
  usage?: { input_tokens: number; output_tokens: number; total_tokens: number } | null;
}

/** OpenAI Responses, one event of a stream; `type` tells which members are there. */
export interface OpenAIResponseEvent {
  type: string;
  sequence_number: number;
  output_index?: number;
  delta?: string;
  item?: OpenAIResponse["output"][number];
  response?: OpenAIResponse;
}
