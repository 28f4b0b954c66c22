import { createHash } from "node:crypto";
import type { FakeRequest } from "./server.ts";
import type { SseOptions } from "./sse.ts";

/** The words of OpenAI's wire format; each fake writes its own. Any other word goes out as it is. */
export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter" | "error" | (string & {});

/** What a fake says, in no particular wire format. Without `text` and `toolCalls` it says a deterministic sentence. */
export interface Answer {
  text?: string;
  /** Sent only where the request (or the model) asks for thinking. */
  thinking?: string;
  /** Without an `id` each call gets a deterministic one of the provider's form. */
  toolCalls?: readonly { id?: string; name: string; arguments: Record<string, unknown> }[];
  finishReason?: FinishReason;
  /** `prompt` includes `cached`, `completion` includes `reasoning`. Missing numbers are counted: four characters a token. */
  usage?: { prompt?: number; completion?: number; cached?: number; reasoning?: number };
}

/** What goes wrong. The mid-stream faults come after half of the content. */
export interface Fault {
  /** Answers with this status; `body` is sent as it is, by default the provider's own error envelope. */
  status?: number;
  body?: unknown;
  /** Extra response headers; also with an ordinary answer. */
  headers?: Record<string, string>;
  /** Says nothing more, with the socket open. */
  hang?: "before-headers" | "after-headers" | "mid-stream";
  /** Destroys the socket. */
  reset?: "before-headers" | "mid-stream";
  /** Ends the stream without finish, usage and `[DONE]`; without streaming, ends the JSON half-way. */
  cut?: boolean;
  /** An error in the middle of the stream, in the provider's envelope; without streaming, a 500 with it. */
  errorEvent?: { type?: string; message?: string; [field: string]: unknown };
  /** Answers 307 (or `status`) to this address. */
  redirect?: string;
  /** Answers 200 with a page of HTML. */
  html?: boolean;
  /** Answers JSON though a stream was asked for. */
  jsonForStream?: boolean;
  /** Answers a stream though JSON was asked for. */
  streamForJson?: boolean;
}

export interface Timing {
  /** Before the headers. */
  delayMs?: number;
  /** After each stream event. */
  chunkDelayMs?: number;
}

/** An answer, a fault, or an answer that a fault interrupts. */
export interface Script extends Answer, Fault, Timing {
  /** How this one stream is written; over the fake's own `sse` options. */
  sse?: SseOptions;
}

/** What a fake does with one accepted request to a model. */
export type Behaviour = Script | ((request: FakeRequest) => Script | Promise<Script>);

/** What a wire format has understood of a request to a model that it accepted. */
export interface Asked {
  model: string;
  stream: boolean;
  /** Counted as the prompt. */
  prompt: unknown;
  messages: readonly { role: string; content?: unknown }[];
  maxTokens?: number;
  stop?: readonly string[];
  /** False drops scripted thinking. */
  thinks: boolean;
}

/** One answer with everything decided: cut to the requested length, counted, with ids. */
export interface Turn {
  /** Number of this answer since the start or the last reset; ids derive from it. */
  readonly serial: number;
  /** Epoch seconds. */
  readonly created: number;
  readonly model: string;
  readonly text: string;
  readonly thinking: string;
  readonly toolCalls: readonly { id?: string; name: string; arguments: Record<string, unknown> }[];
  readonly finishReason: FinishReason;
  /** The requested stop sequence that ended the text. */
  readonly stopSequence?: string;
  readonly usage: { prompt: number; completion: number; cached: number; reasoning: number };
}

/** Decides what an answer is once the request's limits and stop sequences have done their work. */
export function toTurn(answer: Answer, asked: Asked, name: string, serial: number, created: number): Turn {
  const said = answer.text ?? (answer.toolCalls ? "" : defaultText(name, asked));
  const stopped = stopAt(said, asked.stop ?? []);
  const thought = asked.thinks ? (answer.thinking ?? "") : "";
  const calls = stopped.sequence === undefined ? (answer.toolCalls ?? []) : [];

  let room = asked.maxTokens === undefined ? Number.POSITIVE_INFINITY : asked.maxTokens * CHARS_PER_TOKEN;
  let short = false;
  const take = (text: string): string => {
    const kept = text.length <= room ? text : text.slice(0, room).replace(/[\uD800-\uDBFF]$/, "");
    short ||= kept.length < text.length;
    room -= kept.length;
    return kept;
  };
  const thinking = take(thought);
  const text = take(stopped.text);
  const toolCalls = calls.filter((call) => {
    const size = callSize(call);
    short ||= size > room;
    if (!short) room -= size;
    return !short;
  });

  const chars = thinking.length + text.length + toolCalls.reduce((sum, call) => sum + callSize(call), 0);
  const counted = answer.usage?.completion ?? Math.ceil(chars / CHARS_PER_TOKEN);
  const completion = Math.min(counted, asked.maxTokens ?? counted);
  short ||= completion < counted;
  const prompt = answer.usage?.prompt ?? countTokens(asked.prompt);
  return {
    serial,
    created,
    model: asked.model,
    text,
    thinking,
    toolCalls,
    finishReason: short ? "length" : (answer.finishReason ?? (toolCalls.length > 0 ? "tool_calls" : "stop")),
    ...(stopped.sequence !== undefined && !short && { stopSequence: stopped.sequence }),
    usage: {
      prompt,
      completion,
      cached: Math.min(answer.usage?.cached ?? 0, prompt),
      reasoning: Math.min(answer.usage?.reasoning ?? Math.ceil(thinking.length / CHARS_PER_TOKEN), completion),
    },
  };
}

/** Four characters of JSON a token, rounded up: how the fakes count a prompt. */
export function countTokens(value: unknown): number {
  return Math.ceil((JSON.stringify(value) ?? "").length / CHARS_PER_TOKEN);
}

/** Text in stream-sized pieces: words with the white space before them. Joined they are the text again. */
export function pieces(text: string): string[] {
  return text.match(/\s*\S+|\s+$/g) ?? [];
}

/** A deterministic id: `length` characters of `alphabet` (base 62 by default) that only depend on `seed`. */
export function idFor(seed: string, length: number, alphabet: string = BASE62): string {
  const bytes = createHash("sha512").update(seed).digest();
  return Array.from({ length }, (_, i) => alphabet[(bytes[i % bytes.length] as number) % alphabet.length]).join("");
}

export const HEX = "0123456789abcdef";
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHARS_PER_TOKEN = 4;

function callSize(call: { name: string; arguments: Record<string, unknown> }): number {
  return call.name.length + JSON.stringify(call.arguments).length;
}

function stopAt(text: string, sequences: readonly string[]): { text: string; sequence?: string } {
  let found: { text: string; sequence?: string } = { text };
  for (const sequence of sequences) {
    const at = sequence === "" ? -1 : found.text.indexOf(sequence);
    if (at >= 0) found = { text: text.slice(0, at), sequence };
  }
  return found;
}

function defaultText(name: string, asked: Asked): string {
  const last = asked.messages.findLast((message) => message.role === "user");
  return `Hello from the fake ${name}, model ${asked.model}. You said: ${textOf(last?.content).slice(0, 200)}`;
}

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part: { text?: unknown }) => (typeof part?.text === "string" ? part.text : "")).join("");
}
