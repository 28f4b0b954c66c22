import type { ChatRequest, Reasoning } from "../../core/request.ts";
import type { JsonObject } from "../../core/util.ts";

/** How one provider writes Chat Completions requests. Data, so that the codec knows no vendor. */
export interface ChatStyle {
  /** Field that bounds the output. @default "max_completion_tokens" */
  maxTokens?: "max_completion_tokens" | "max_tokens";
  /** Role of instructions. @default "system" */
  systemRole?: "system" | "developer" | ((model: string) => "system" | "developer");
  /**
   * Replay of earlier thinking: left out, as `reasoning_content` of the assistant message, or as content chunks
   * `{ type: "thinking", thinking: [{ type: "text", text }], closed: true }`. @default "omit"
   */
  thinking?: "omit" | "reasoning_content" | "chunks";
  /**
   * What a tool message may hold: text only (images and files then follow in a user message), or any chunk.
   * @default "text"
   */
  toolContent?: "text" | "chunks";
  /** @default "seed" */
  seedField?: string;
  /** How "must call a tool" is spelled. @default "required" */
  requiredChoice?: "required" | "any";
  /** Whether streams ask for `stream_options.include_usage`. @default true */
  includeUsage?: boolean;
  /** Documents as `file` parts or as `document_url` chunks. @default "file" */
  documents?: "file" | "document_url";
  /** `input_audio` as `{ data, format }` or as bare base64. @default "object" */
  audio?: "object" | "base64";
  /** Field of the end user's id; `false` leaves it out. @default "user" */
  userField?: string | false;
  /** Field of the conversation's id; `false` leaves it out. @default "prompt_cache_key" */
  sessionField?: string | false;
  /** Whether messages may carry `name`. @default true */
  names?: boolean;
  /** Whether tool messages carry the function's `name`. @default false */
  toolName?: boolean;
  /** Earlier refusals as the `refusal` field or as plain text. @default "field" */
  refusal?: "field" | "text";
  /** Marks a trailing assistant message with `prefix: true`. @default false */
  prefix?: boolean;
  /** `strict` of tools and schemas as it is, or written only when true. @default "as-is" */
  strictTools?: "as-is" | "when-true";
  /** Text of a tool result that has none. @default "" */
  emptyToolResult?: string;
  /** Always writes `parameters`, also for tools without any. @default false */
  parametersRequired?: boolean;
  /** Gives back unknown fields of a caller that speaks this dialect too; off for closed schemas. @default true */
  restoreExtensions?: boolean;
  /** Further fields of the body; they win. */
  extraBody?: (request: ChatRequest, model: string) => JsonObject;
  /** @default `reasoning_effort`: `none` when off, otherwise the effort if one is set */
  reasoning?: (reasoning: Reasoning | undefined, model: string) => JsonObject;
  /** Embeddings: field of the vectors' length. @default "dimensions" */
  dimensionsField?: string;
  /** Origin of the signature that marks this provider's thinking. Without it only real signatures are kept. */
  originType?: string;
}

export type ResolvedStyle = Required<Omit<ChatStyle, "originType">> & Pick<ChatStyle, "originType">;

export function resolveStyle(style: ChatStyle): ResolvedStyle {
  return {
    maxTokens: "max_completion_tokens",
    systemRole: "system",
    thinking: "omit",
    toolContent: "text",
    seedField: "seed",
    requiredChoice: "required",
    includeUsage: true,
    documents: "file",
    audio: "object",
    userField: "user",
    sessionField: "prompt_cache_key",
    names: true,
    toolName: false,
    refusal: "field",
    prefix: false,
    strictTools: "as-is",
    emptyToolResult: "",
    parametersRequired: false,
    restoreExtensions: true,
    dimensionsField: "dimensions",
    extraBody: () => ({}),
    reasoning: effortField,
    ...style,
  };
}

function effortField(reasoning: Reasoning | undefined): JsonObject {
  if (reasoning?.mode === "off") return { reasoning_effort: "none" };
  return reasoning?.effort === undefined ? {} : { reasoning_effort: reasoning.effort };
}
