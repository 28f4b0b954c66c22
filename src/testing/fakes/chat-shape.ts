import { idFor, pieces, type Turn } from "./behaviour.ts";
import type { Frame, FrameStream } from "./sse.ts";

/** The OpenAI Chat answer, as far as OpenAI and llama-server agree on it. */
export interface ChatStyle {
  id: string;
  /** Fields of every response object and chunk. */
  head: object;
  /** Fields of every choice. */
  choice: object;
  /** Fields of the whole message, and of the first delta. */
  message: object;
  /** Prefix of tool call ids. */
  callId: string;
  /** Sends thinking as `reasoning_content`. */
  reasoning: boolean;
  usage: object;
  /** Fields at the end: of the whole response, and of the last chunk that has a choice or usage. */
  tail: object;
}

/** `object: "chat.completion"` */
export function wholeChat(turn: Turn, style: ChatStyle): object {
  const calls = callsOf(turn, style);
  const message = {
    role: "assistant",
    content: turn.text === "" && calls.length > 0 ? null : turn.text,
    ...(style.reasoning && turn.thinking !== "" && { reasoning_content: turn.thinking }),
    ...(calls.length > 0 && { tool_calls: calls }),
    ...style.message,
  };
  return {
    id: style.id,
    object: "chat.completion",
    created: turn.created,
    model: turn.model,
    choices: [{ index: 0, message, ...style.choice, finish_reason: turn.finishReason }],
    usage: style.usage,
    ...style.head,
    ...style.tail,
  };
}

/**
 * Role chunk, content, finish chunk, usage chunk where asked for, `[DONE]`. Tool arguments come in two pieces; only the
 * first has id and name.
 */
export function chatStream(
  turn: Turn,
  style: ChatStyle,
  first: object,
  includeUsage: "null-then-last" | "last" | "no",
) {
  const usageField = includeUsage === "null-then-last" ? { usage: null } : {};
  const raw = (choices: object[], rest: object): Frame => ({
    data: {
      id: style.id,
      object: "chat.completion.chunk",
      created: turn.created,
      model: turn.model,
      ...style.head,
      choices,
      ...rest,
    },
  });
  const chunk = (delta: object, finish_reason: string | null = null, rest: object = {}) =>
    raw([{ index: 0, delta, ...style.choice, finish_reason }], { ...usageField, ...rest });

  const thoughts = style.reasoning ? pieces(turn.thinking).map((text) => chunk({ reasoning_content: text })) : [];
  const words = pieces(turn.text).map((content) => chunk({ content }));
  const calls = callsOf(turn, style).flatMap(({ id, type, function: { name, arguments: text } }, index) => {
    const half = Math.ceil(text.length / 2);
    const more = (piece: string) => chunk({ tool_calls: [{ index, function: { arguments: piece } }] });
    return [
      chunk({ tool_calls: [{ index, id, type, function: { name, arguments: "" } }] }),
      more(text.slice(0, half)),
      more(text.slice(half)),
    ];
  });
  const usage = includeUsage === "no" ? [] : [raw([], { usage: style.usage, ...style.tail })];
  const finish = chunk({}, turn.finishReason, usage.length > 0 ? {} : style.tail);
  return {
    open: [chunk({ role: "assistant", ...first })],
    content: [...thoughts, ...words, ...calls],
    close: [finish, ...usage, { data: "[DONE]" }],
  } satisfies FrameStream;
}

function callsOf(turn: Turn, style: ChatStyle) {
  return turn.toolCalls.map((call, index) => ({
    id: call.id ?? `${style.callId}${idFor(`${style.callId} ${turn.serial} ${index}`, 24)}`,
    type: "function" as const,
    function: { name: call.name, arguments: JSON.stringify(call.arguments) },
  }));
}
