import { idFor, pieces, type Turn } from "./behaviour.ts";
import { SIGNATURE } from "./gemini-contents.ts";
import { canThink, geminiModel } from "./gemini-models.ts";
import type { Frame, FrameStream } from "./sse.ts";

/** What the Gemini API answers, whole and in chunks: wire.md §5.2, as recorded [FX-P, FX-V]. */

interface Part {
  text?: string;
  thought?: boolean;
  functionCall?: object;
  thoughtSignature?: string;
}

/** One GenerateContentResponse. */
export function geminiWhole(turn: Turn): object {
  if (isBlocked(turn)) return responseOf(turn, undefined, 1);
  const thoughts = turn.thinking === "" ? [] : [{ text: turn.thinking, thought: true }];
  const text = turn.text === "" ? [] : [{ text: turn.text }];
  const calls = callsOf(turn);
  const parts = sign(turn, [...thoughts, ...text, ...calls]);
  const finishMessage = calls.length > 0 ? { finishMessage: "Model generated function call(s)." } : {};
  return responseOf(turn, { ...candidate(parts, finishReason(turn)), ...finishMessage }, 1);
}

/**
 * The same in chunks; all calls come in one of them, whole. A part with empty text ends the stream: it has the reason,
 * and after a mere text the signature.
 * @param isSse false: the chunks are the elements of one JSON array
 */
export function geminiStream(turn: Turn, isSse: boolean): FrameStream {
  const thoughts = pieces(turn.thinking).map((text): Part[] => [{ text, thought: true }]);
  const words = pieces(turn.text).map((text): Part[] => [{ text }]);
  const calls = sign(turn, callsOf(turn));
  const said = [...thoughts, ...words, ...(calls.length > 0 ? [calls] : [])];
  const tail = calls.length > 0 ? [{ text: "" }] : sign(turn, [{ text: "" }]);
  const inside = said.map((parts, i) => responseOf(turn, candidate(parts), (i + 1) / said.length));
  const last = isBlocked(turn) ? undefined : candidate(tail, finishReason(turn));
  const end = responseOf(turn, last, 1);
  if (isSse) return { open: [], content: inside.map((data) => ({ data })), close: [{ data: end }] };

  const element = (data: object, i: number): Frame => ({
    raw: true,
    data: `${i === 0 ? "[" : ",\r\n"}${JSON.stringify(data)}`,
  });
  const close = [element(end, inside.length), { raw: true, data: "\r\n]" }];
  return { type: "application/json; charset=UTF-8", open: [], content: inside.map(element), close };
}

/** Only the first call has the signature; where there is none, the last text. */
function sign(turn: Turn, parts: Part[]): Part[] {
  const model = geminiModel(turn.model);
  if (!model || !canThink(model)) return parts;
  const call = parts.findIndex((part) => part.functionCall);
  const at = call >= 0 ? call : parts.findLastIndex((part) => !part.thought);
  const thoughtSignature = SIGNATURE.issue(`turn ${turn.serial}`);
  return parts.map((part, i) => (i === at ? { ...part, thoughtSignature } : part));
}

function callsOf(turn: Turn): Part[] {
  return turn.toolCalls.map(({ id, name, arguments: args }) => ({
    functionCall: { ...(id !== undefined && { id }), name, args },
  }));
}

const FINISH: Record<string, string> = {
  stop: "STOP",
  tool_calls: "STOP",
  length: "MAX_TOKENS",
  content_filter: "SAFETY",
  error: "OTHER",
};
const finishReason = (turn: Turn) => FINISH[turn.finishReason] ?? turn.finishReason;
const isBlocked = (turn: Turn) => turn.finishReason === "content_filter" && turn.text === "";

const candidate = (parts: Part[], reason?: string) => ({
  content: { parts, role: "model" },
  ...(reason !== undefined && { finishReason: reason }),
  index: 0,
});

/** @param share how much of the answer is out: usage grows with it */
function responseOf(turn: Turn, said: object | undefined, share: number): object {
  const { prompt, completion, cached, reasoning } = turn.usage;
  const candidates = Math.ceil((completion - reasoning) * share);
  return {
    ...(said ? { candidates: [said] } : { promptFeedback: { blockReason: "SAFETY" } }),
    usageMetadata: {
      promptTokenCount: prompt,
      ...(candidates > 0 && { candidatesTokenCount: candidates }),
      totalTokenCount: prompt + candidates + reasoning,
      ...(cached > 0 && { cachedContentTokenCount: cached }),
      promptTokensDetails: [{ modality: "TEXT", tokenCount: prompt }],
      ...(reasoning > 0 && { thoughtsTokenCount: reasoning }),
    },
    modelVersion: turn.model,
    responseId: idFor(`gemini ${turn.serial}`, 23),
  };
}
