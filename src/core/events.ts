import type { GatewayError } from "./errors.ts";
import type { ChatResponse, Choice, Citations, FinishReason, OpaquePart, Part, Signature } from "./request.ts";
import type { Usage } from "./usage.ts";

/**
 * The canonical stream. Within one choice blocks follow each other and never interleave: a decoder buffers what an
 * upstream interleaves. `choice` is absent for the first one.
 */
export type StreamEvent =
  | { type: "start"; id?: string; model?: string; created?: number }
  | { type: "text-start"; choice?: number }
  | { type: "text-delta"; text: string; choice?: number }
  | { type: "text-end"; choice?: number; citations?: Citations }
  | { type: "thinking-start"; choice?: number }
  | { type: "thinking-delta"; text: string; choice?: number }
  | { type: "thinking-end"; signature?: Signature; choice?: number }
  | { type: "redacted-thinking"; data: string; choice?: number }
  | { type: "tool-call-start"; id: string; name: string; custom?: boolean; choice?: number }
  | { type: "tool-call-delta"; arguments: string; choice?: number }
  | { type: "tool-call-end"; choice?: number }
  | { type: "refusal-delta"; text: string; choice?: number }
  /** At most once per choice, with all of them. */
  | { type: "logprobs"; value: unknown; choice?: number }
  /** A complete block that only one dialect knows. */
  | { type: "opaque"; part: OpaquePart; choice?: number }
  /** May come more than once; later values win. */
  | { type: "usage"; usage: Usage }
  | { type: "finish"; reason: FinishReason; stopSequence?: string; choice?: number }
  /** The upstream ended the answer with an error; nothing follows. */
  | { type: "error"; error: GatewayError };

/** True for the first event that a caller would see as part of the answer: from then on an attempt is decided. */
export function isContent(event: StreamEvent): boolean {
  switch (event.type) {
    case "text-delta":
    case "thinking-delta":
    case "refusal-delta":
      return event.text !== "";
    case "tool-call-start":
    case "redacted-thinking":
    case "thinking-end":
    case "opaque":
    case "finish":
      return true;
    default:
      return false;
  }
}

/** Length in characters of the answer's text that one event carries: for counting output nobody reported. */
export function textLength(event: StreamEvent): number {
  switch (event.type) {
    case "text-delta":
    case "thinking-delta":
    case "refusal-delta":
      return event.text.length;
    case "tool-call-start":
      return event.name.length;
    case "tool-call-delta":
      return event.arguments.length;
    default:
      return 0;
  }
}

/** Puts a stream together again. Feed it every event; `response()` is what a non-streaming answer would have been. */
export function collector(): { add(event: StreamEvent): void; response(): ChatResponse } {
  const head: Omit<ChatResponse, "choices"> = {};
  const choices: Choice[] = [];
  const at = (index = 0): Choice => {
    while (choices.length <= index) choices.push({ content: [], finishReason: "stop" });
    return choices[index]!;
  };
  const last = <T extends Part["type"]>(index: number | undefined, type: T) => {
    const part = at(index).content.at(-1);
    return part?.type === type ? (part as Extract<Part, { type: T }>) : undefined;
  };
  return {
    add(event) {
      switch (event.type) {
        case "start":
          if (event.id !== undefined) head.id = event.id;
          if (event.model !== undefined) head.model = event.model;
          if (event.created !== undefined) head.created = event.created;
          break;
        case "text-start":
          at(event.choice).content.push({ type: "text", text: "" });
          break;
        case "text-delta": {
          const part = last(event.choice, "text");
          if (part) part.text += event.text;
          else at(event.choice).content.push({ type: "text", text: event.text });
          break;
        }
        case "text-end": {
          const part = last(event.choice, "text");
          if (part && event.citations) part.citations = event.citations;
          break;
        }
        case "thinking-start":
          at(event.choice).content.push({ type: "thinking", text: "" });
          break;
        case "thinking-delta": {
          const part = last(event.choice, "thinking");
          if (part) part.text += event.text;
          break;
        }
        case "thinking-end": {
          const part = last(event.choice, "thinking");
          if (part && event.signature) part.signature = event.signature;
          break;
        }
        case "redacted-thinking":
          at(event.choice).content.push({ type: "thinking", text: "", redacted: event.data });
          break;
        case "tool-call-start":
          at(event.choice).content.push({
            type: "tool-call",
            id: event.id,
            name: event.name,
            arguments: "",
            ...(event.custom && { custom: true }),
          });
          break;
        case "tool-call-delta": {
          const part = last(event.choice, "tool-call");
          if (part) part.arguments += event.arguments;
          break;
        }
        case "refusal-delta": {
          const part = last(event.choice, "refusal");
          if (part) part.text += event.text;
          else at(event.choice).content.push({ type: "refusal", text: event.text });
          break;
        }
        case "logprobs":
          at(event.choice).logprobs = event.value;
          break;
        case "opaque":
          at(event.choice).content.push(event.part);
          break;
        case "usage":
          head.usage = event.usage;
          break;
        case "finish": {
          const choice = at(event.choice);
          choice.finishReason = event.reason;
          if (event.stopSequence !== undefined) choice.stopSequence = event.stopSequence;
          break;
        }
      }
    },
    response: () => {
      at(0);
      return { ...head, choices };
    },
  };
}

/** A whole answer as the stream it could have been. */
export function* replay(response: ChatResponse): Generator<StreamEvent> {
  yield {
    type: "start",
    ...(response.id !== undefined && { id: response.id }),
    ...(response.model !== undefined && { model: response.model }),
    ...(response.created !== undefined && { created: response.created }),
  };
  for (const [index, choice] of response.choices.entries()) {
    const at = index === 0 ? {} : { choice: index };
    for (const part of choice.content) yield* replayPart(part, at);
    if (choice.logprobs !== undefined) yield { type: "logprobs", value: choice.logprobs, ...at };
    yield {
      type: "finish",
      reason: choice.finishReason,
      ...(choice.stopSequence !== undefined && { stopSequence: choice.stopSequence }),
      ...at,
    };
  }
  if (response.usage) yield { type: "usage", usage: response.usage };
}

function* replayPart(part: Part, at: { choice?: number }): Generator<StreamEvent> {
  switch (part.type) {
    case "text":
      yield { type: "text-start", ...at };
      if (part.text !== "") yield { type: "text-delta", text: part.text, ...at };
      yield { type: "text-end", ...at, ...(part.citations && { citations: part.citations }) };
      break;
    case "thinking":
      if (part.redacted !== undefined) {
        yield { type: "redacted-thinking", data: part.redacted, ...at };
        break;
      }
      yield { type: "thinking-start", ...at };
      if (part.text !== "") yield { type: "thinking-delta", text: part.text, ...at };
      yield { type: "thinking-end", ...at, ...(part.signature && { signature: part.signature }) };
      break;
    case "tool-call":
      yield {
        type: "tool-call-start",
        id: part.id,
        name: part.name,
        ...(part.custom && { custom: true }),
        ...at,
      };
      if (part.arguments !== "") yield { type: "tool-call-delta", arguments: part.arguments, ...at };
      yield { type: "tool-call-end", ...at };
      break;
    case "refusal":
      yield { type: "refusal-delta", text: part.text, ...at };
      break;
    case "opaque":
      yield { type: "opaque", part, ...at };
      break;
  }
}
