/**
 * The canonical request and answer: one neutral model that every dialect decodes to and encodes from.
 * What it cannot carry is kept as an `opaque` part or in `extensions`, and restored when the target speaks the same
 * dialect; for any other target it is reported.
 */
import type { Usage } from "./usage.ts";
import type { JsonObject } from "./util.ts";

/** Prompt-cache mark of the Anthropic family: `{ type: "ephemeral", ttl?: "5m" | "1h" }`, as it came. */
export type CacheMark = JsonObject;

export interface TextPart {
  type: "text";
  text: string;
  /** Means something to upstreams of this dialect only (a client's billing line), and is left out for others. */
  onlyFor?: string;
  cache?: CacheMark;
  citations?: Citations;
}

/** A page that a passage rests on. Offsets are UTF-16 positions in the part's text. */
export interface Source {
  url: string;
  title?: string;
  /** The words cited. */
  text?: string;
  start?: number;
  end?: number;
}

export interface Citations {
  /** Annotations in the wire form of the dialect named. */
  dialect: string;
  value: unknown;
  /** Those of them that name a page: what every other dialect can tell. */
  sources?: readonly Source[];
}

/** The model declined. Dialects without refusals show it as text. */
export interface RefusalPart {
  type: "refusal";
  text: string;
}

export type MediaSource =
  | { kind: "base64"; mediaType: string; data: string }
  | { kind: "url"; url: string }
  /** An id in one provider's file store; means nothing elsewhere. */
  | { kind: "file"; dialect: string; id: string };

export interface ImagePart {
  type: "image";
  source: MediaSource;
  detail?: "auto" | "low" | "high";
  cache?: CacheMark;
}

export interface DocumentPart {
  type: "document";
  source: MediaSource | { kind: "text"; mediaType: string; text: string };
  title?: string;
  filename?: string;
  context?: string;
  /** The caller asked for citations from this document. */
  citations?: boolean;
  cache?: CacheMark;
}

export interface AudioPart {
  type: "audio";
  /** base64 */
  data: string;
  /** `wav`, `mp3`, … */
  format: string;
}

/**
 * Proof that a model wrote a thinking block, in the form of whoever made it. `origin` is a dialect id for native
 * signatures (`anthropic-messages`) and a provider type for what Turnpike carries in its own envelope.
 */
export interface Signature {
  origin: string;
  model?: string;
  kind?: string;
  data: string;
}

export interface ThinkingPart {
  type: "thinking";
  text: string;
  signature?: Signature;
  /** Encrypted thinking; `text` is empty then. */
  redacted?: string;
}

export interface ToolCallPart {
  type: "tool-call";
  id: string;
  name: string;
  /** JSON text exactly as the model wrote it; `""` means no arguments. It may be broken JSON. */
  arguments: string;
  /** A call of a custom tool: `arguments` is free text, not JSON. */
  custom?: boolean;
  cache?: CacheMark;
}

export interface ToolResultPart {
  type: "tool-result";
  id: string;
  content: (TextPart | ImagePart | DocumentPart | OpaquePart)[];
  isError?: boolean;
  cache?: CacheMark;
}

/** A block that only one dialect knows (server tools, compaction, …), as it came. */
export interface OpaquePart {
  type: "opaque";
  dialect: string;
  kind: string;
  value: JsonObject;
}

export type Part =
  | TextPart
  | RefusalPart
  | ImagePart
  | DocumentPart
  | AudioPart
  | ThinkingPart
  | ToolCallPart
  | ToolResultPart
  | OpaquePart;

/**
 * `user` holds text, media and tool results (results first); `assistant` holds thinking, text and tool calls in the
 * order they were written; `system` is an instruction in mid-conversation.
 */
export interface Message {
  role: "system" | "user" | "assistant";
  content: Part[];
  name?: string;
  /** Per-message fields that only one dialect knows. */
  extensions?: { dialect: string; value: JsonObject };
}

export interface FunctionTool {
  type: "function";
  name: string;
  description?: string;
  /** JSON Schema of the arguments. */
  parameters: JsonObject;
  strict?: boolean;
  cache?: CacheMark;
  /** Fields that only one dialect knows (`defer_loading`, …). */
  extensions?: { dialect: string; value: JsonObject };
  /** The tool as one dialect defines it (a typed client tool); `parameters` is its known schema. */
  native?: { dialect: string; value: JsonObject };
}

/** Takes free text instead of JSON arguments. Where the target has no such tools it becomes a function. */
export interface CustomTool {
  type: "custom";
  name: string;
  description?: string;
  /** `{ type: "text" }` or a grammar, as it came. */
  format?: JsonObject;
}

/** The provider searches the web by itself. */
export interface WebSearchTool {
  type: "web-search";
  /** Its name on the caller's wire. */
  name: string;
  allowedDomains?: string[];
  blockedDomains?: string[];
  /** `{ type: "approximate", city?, region?, country?, timezone? }` */
  userLocation?: JsonObject;
  maxUses?: number;
  /** As it came, for targets of the same dialect. */
  native: { dialect: string; value: JsonObject };
}

/** Another tool that only one dialect knows, as it came. */
export interface OpaqueTool {
  type: "opaque";
  dialect: string;
  /** The caller executes it and not the provider, so that it cannot be left out unseen. */
  client?: boolean;
  /** The wire type: `code_execution_20250825`, `file_search`, … */
  kind: string;
  name?: string;
  value: JsonObject;
}

export type Tool = FunctionTool | CustomTool | WebSearchTool | OpaqueTool;

export type ToolChoice = { type: "auto" } | { type: "none" } | { type: "required" } | { type: "tool"; name: string };

export const EFFORTS = ["minimal", "low", "medium", "high", "xhigh", "max"] as const;
export type Effort = (typeof EFFORTS)[number];

/**
 * What the caller wants of reasoning, whatever its dialect calls it (wire.md §8.1). Absent = the caller said nothing.
 * After `fit` it holds exactly what the target accepts, and the codec writes it down without judging.
 */
export interface Reasoning {
  /** `auto`: the model decides how much; `default`: only an effort was given. */
  mode: "off" | "on" | "auto" | "default";
  effort?: Effort;
  /** Thinking tokens. */
  budget?: number;
  /** Whether the caller wants to read the thinking. */
  show?: boolean;
}

export type OutputFormat =
  | { type: "json" }
  | { type: "json-schema"; name?: string; schema: JsonObject; strict?: boolean; description?: string };

export interface ChatRequest {
  /** As the caller asked for it. */
  model: string;
  system: TextPart[];
  messages: Message[];
  tools: Tool[];
  toolChoice?: ToolChoice;
  /** `false`: at most one tool call per answer. */
  parallelToolCalls?: boolean;
  maxTokens?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  seed?: number;
  stop?: string[];
  presencePenalty?: number;
  frequencyPenalty?: number;
  logitBias?: JsonObject;
  /** Number of answers; default 1. */
  n?: number;
  logprobs?: boolean;
  topLogprobs?: number;
  reasoning?: Reasoning;
  outputFormat?: OutputFormat;
  stream: boolean;
  /** Whether the caller wants a usage chunk at the end of a stream (Chat's `stream_options.include_usage`). */
  includeUsage?: boolean;
  serviceTier?: string;
  /** Stable id of the end user, as the caller gave it. */
  userId?: string;
  /** Conversation id: key of prompt caches. */
  sessionId?: string;
  metadata?: JsonObject;
  /** Top-level fields that only the caller's dialect knows. */
  extensions?: { dialect: string; value: JsonObject };
}

export type FinishReason =
  | "stop"
  | "stop-sequence"
  | "length"
  /** The context window is full. */
  | "context-window"
  | "tool-calls"
  | "refusal"
  | "pause";

export interface Choice {
  content: Part[];
  finishReason: FinishReason;
  stopSequence?: string;
  logprobs?: unknown;
}

export interface ChatResponse {
  id?: string;
  /** As the provider names it. */
  model?: string;
  /** Unix seconds. */
  created?: number;
  /** At least one. */
  choices: Choice[];
  usage?: Usage;
  serviceTier?: string;
}

/** One thing that was changed on the way from the caller to the target, so that nothing changes in silence. */
export interface Change {
  /** Path in canonical terms: `reasoning.effort`, `maxTokens`, `messages[3]`. */
  field: string;
  /**
   * `adjusted`, `dropped`: the caller asked for something that the target does not do (rejected under
   * `onUnsupported: "reject"`). `moved`, `added`: same meaning, other form. `ignored`: a hint without effect on the
   * answer (cache marks, betas).
   */
  kind: "adjusted" | "dropped" | "moved" | "added" | "ignored";
  from?: string | number | boolean;
  to?: string | number | boolean;
  reason?: string;
}
