import { type ClaudeModel, claudeModel, modelError } from "./anthropic-models.ts";
import {
  type AnthropicBlock,
  type AnthropicBody,
  type AnthropicMessage,
  anthropicSchemaError,
} from "./anthropic-schema.ts";

/** What Anthropic's Messages refuses: wire.md §1.2 to §1.4, §1.8 [A-SDK, A-DOC, A-MIG]. */

export interface AnthropicHeaders {
  /** `anthropic-version` */
  version: string;
  /** Each of `anthropic-beta`. */
  betas: readonly string[];
}

export interface AnthropicRefusal {
  status: number;
  type: string;
  message: string;
}

/** The first thing the API would refuse about a body, or undefined. `counting`: for `count_tokens`. */
export function anthropicRefusal(
  value: unknown,
  headers: AnthropicHeaders,
  counting = false,
): AnthropicRefusal | undefined {
  const early = anthropicSchemaError(value, counting);
  if (early) return bad(early);
  const body = value as AnthropicBody;
  const model = claudeModel(body.model);
  if (!model) return { status: 404, type: "not_found_error", message: `model: ${body.model}` };
  const message =
    betaError(body, headers) ??
    versionError(body, headers) ??
    modelError(body, model) ??
    toolError(body) ??
    messageError(body, model) ??
    limitError(body);
  return message === undefined ? undefined : bad(message);
}

function bad(message: string): AnthropicRefusal {
  return { status: 400, type: "invalid_request_error", message };
}

const EXTRA = "Extra inputs are not permitted";

/** Fields that need a beta: its name begins like this ("" = any beta: the name is not documented). */
const BETA_FIELDS: readonly [field: keyof AnthropicBody, beta: readonly string[]][] = [
  ["context_management", ["context-management-", "compact-"]],
  ["mcp_servers", ["mcp-client-"]],
  ["output_format", ["structured-outputs-"]],
  ["safeguards", ["dangerous-tool-use-"]],
  ["compaction", [""]],
  ["fallbacks", [""]],
  ["fallback_credit_token", [""]],
  ["thread", [""]],
  ["billing_policy", [""]],
];

function betaError(body: AnthropicBody, { betas }: AnthropicHeaders): string | undefined {
  const has = (...starts: string[]) => betas.some((beta) => starts.some((start) => beta.startsWith(start)));
  for (const [field, starts] of BETA_FIELDS) {
    if (body[field] !== undefined && !has(...starts)) return `${field}: ${EXTRA}`;
  }
  const perTurn = body.messages.findIndex((message) => message.output_config !== undefined);
  if (perTurn >= 0 && !has("per-turn-control-")) return `messages.${perTurn}.output_config: ${EXTRA}`;
  const display = body.thinking && "display" in body.thinking ? body.thinking.display : undefined;
  if (display === "updates" && !has("thinking-display-updates-"))
    return `thinking.${body.thinking?.type}.display: Input should be 'summarized' or 'omitted'`;
  return undefined;
}

/** 2026-10-21 refuses sampling, documents in assistant turns and citations on user text [A-MIG]. */
function versionError(body: AnthropicBody, { version }: AnthropicHeaders): string | undefined {
  if (version !== "2026-10-21") return undefined;
  const sampling = (["temperature", "top_p", "top_k"] as const).find((field) => body[field] !== undefined);
  if (sampling) return `${sampling}: ${EXTRA}`;
  for (const [i, message] of body.messages.entries()) {
    for (const [j, block] of blocks(message).entries()) {
      if (message.role === "assistant" && block.type === "document")
        return `messages.${i}.content.${j}: \`document\` blocks are not permitted in \`assistant\` messages`;
      if (message.role === "user" && block.type === "text" && block.citations)
        return `messages.${i}.content.${j}.text.citations: ${EXTRA}`;
    }
  }
  return undefined;
}

function toolError(body: AnthropicBody): string | undefined {
  const names = (body.tools ?? []).map((tool) => tool.name).filter((name) => name !== undefined);
  if (new Set(names).size < names.length) return "tools: Tool names must be unique.";
  if (body.tool_choice && !body.tools?.length) return "tool_choice may only be specified while providing tools.";
  if (body.tool_choice?.type === "tool" && !names.includes(body.tool_choice.name))
    return `Tool '${body.tool_choice.name}' not found in provided tools`;
  return undefined;
}

function messageError(body: AnthropicBody, model: ClaudeModel): string | undefined {
  const { messages } = body;
  const [first, last] = [messages[0], messages.at(-1)];
  if (!first || !last) return "messages: at least one message is required";
  if (!model.midSystem && messages.some((message) => message.role === "system"))
    return 'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as an input message role.';
  if (first.role !== "user") return 'messages: first message must use the "user" role';
  for (const [i, message] of messages.entries()) {
    const error = systemPlaceError(messages, i) ?? contentError(message, i, i === messages.length - 1);
    if (error) return error;
  }
  const system = Array.isArray(body.system) ? body.system : [];
  if (system.some((block) => block.text === "")) return "system: text content blocks must be non-empty";
  return toolPairError(messages) ?? lastTurnError(body, model, last);
}

/** role "system": after a user turn, and last or before an assistant turn; text only [A-DOC mid-conversation-system-messages]. */
function systemPlaceError(messages: readonly AnthropicMessage[], i: number): string | undefined {
  const message = messages[i];
  if (message?.role !== "system") return undefined;
  const after = messages[i + 1];
  if (messages[i - 1]?.role !== "user") return `messages.${i}: \`system\` messages must follow a \`user\` message`;
  if (after && after.role !== "assistant")
    return `messages.${i}: \`system\` messages must be last or followed by an \`assistant\` message`;
  const odd = blocks(message).find((block) => !/^(text|tool_addition|tool_removal)$/.test(block.type));
  return odd && `messages.${i}: \`system\` messages may only contain text blocks, found \`${odd.type}\``;
}

/** Blocks that only one role may hold. */
const ROLE_OF: Record<string, string> = {
  tool_use: "assistant",
  thinking: "assistant",
  redacted_thinking: "assistant",
  tool_result: "user",
};

function contentError(message: AnthropicMessage, i: number, isLast: boolean): string | undefined {
  const content = blocks(message);
  if (content.length === 0 && !(isLast && message.role === "assistant"))
    return `messages.${i}: all messages must have non-empty content except for the optional final assistant message`;
  for (const [j, block] of content.entries()) {
    const role = ROLE_OF[block.type];
    if (role && role !== message.role)
      return `messages.${i}: \`${block.type}\` blocks can only be in \`${role}\` messages`;
    if (block.type === "text" && block.text === "") return "messages: text content blocks must be non-empty";
    if (block.type === "thinking" && (block.signature === "" || block.signature.startsWith("tp1.")))
      return `messages.${i}.content.${j}: Invalid \`signature\` in \`thinking\` block`;
  }
  return undefined;
}

/** Every tool_use answered by results that come first in the next user turn, and no result without its call. */
function toolPairError(messages: readonly AnthropicMessage[]): string | undefined {
  const turns = mergeTurns(messages);
  const seen = new Set<string>();
  for (const [k, turn] of turns.entries()) {
    for (const id of idsOf(turn.content)) {
      if (seen.has(id)) return "messages: `tool_use` ids must be unique";
      seen.add(id);
    }
    const called = turn.role === "user" ? idsOf(turns[k - 1]?.content ?? []) : [];
    for (const [j, block] of turn.content.entries()) {
      if (block.type === "tool_result" && !called.includes(block.tool_use_id))
        return `messages.${turn.index}.content.${j}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${block.tool_use_id}. Each \`tool_result\` block must have a corresponding \`tool_use\` block in the previous message.`;
    }
    const next = turns[k + 1]?.content ?? [];
    const end = next.findIndex((block) => block.type !== "tool_result");
    const results = new Set(
      next.slice(0, end < 0 ? next.length : end).map((b) => b.type === "tool_result" && b.tool_use_id),
    );
    const open = idsOf(turn.content).filter((id) => !results.has(id));
    if (open.length > 0)
      return `messages.${turn.index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${open.join(", ")}. Each \`tool_use\` block must have a corresponding \`tool_result\` block in the next message.`;
  }
  return undefined;
}

function lastTurnError(body: AnthropicBody, model: ClaudeModel, last: AnthropicMessage): string | undefined {
  if (last.role === "assistant") {
    if (!model.prefill)
      return "This model does not support assistant message prefill. The conversation must end with a user message.";
    const end = blocks(last).at(-1);
    if (end?.type === "text" && /\s$/.test(end.text))
      return "messages: final assistant content cannot end with trailing whitespace";
  }
  // Inside a tool loop manual thinking wants its thinking back.
  const i = body.messages.findLastIndex((message) => message.role === "assistant");
  const [start, ...rest] = blocks(body.messages[i]);
  const looping = blocks(body.messages[i + 1]).some((block) => block.type === "tool_result");
  if (
    body.thinking?.type === "enabled" &&
    looping &&
    start &&
    !/thinking$/.test(start.type) &&
    idsOf([start, ...rest]).length > 0
  )
    return `messages.${i}.content.0.type: Expected \`thinking\` or \`redacted_thinking\`, but found \`${start.type}\`. When \`thinking\` is enabled, a final \`assistant\` message must start with a thinking block.`;
  return undefined;
}

function limitError(body: AnthropicBody): string | undefined {
  if (body.stop_sequences?.some((sequence) => sequence.trim() === ""))
    return "stop_sequences: each stop sequence must contain non-whitespace";
  const parts = [body.system, body.tools, body.messages.map((message) => message.content)];
  const marks = JSON.stringify(parts).split('"cache_control":{').length - 1;
  return marks > 4 ? `A maximum of 4 blocks with cache_control may be provided. Found ${marks}.` : undefined;
}

function blocks(message: AnthropicMessage | undefined): AnthropicBlock[] {
  if (!message) return [];
  if (typeof message.content !== "string") return message.content;
  return message.content === "" ? [] : [{ type: "text", text: message.content }];
}

function idsOf(content: readonly AnthropicBlock[]): string[] {
  return content.flatMap((block) => (block.type === "tool_use" ? [block.id] : []));
}

/** Consecutive messages of one role are one turn to the API; system messages stand aside. */
function mergeTurns(messages: readonly AnthropicMessage[]) {
  const turns: { role: string; index: number; content: AnthropicBlock[] }[] = [];
  for (const [index, message] of messages.entries()) {
    const last = turns.at(-1);
    if (message.role === "system") continue;
    if (last?.role === message.role) last.content.push(...blocks(message));
    else turns.push({ role: message.role, index, content: [...blocks(message)] });
  }
  return turns;
}
