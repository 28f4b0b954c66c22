import type { CallerContext, Frame, StreamEncoder } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { Signature } from "../../core/request.ts";
import type { Usage } from "../../core/usage.ts";
import type { JsonObject } from "../../core/util.ts";
import { encodeAnnotations } from "./annotations.ts";
import { encodeError } from "./errors.ts";
import { encodeFinish } from "./finish.ts";
import { answerId, thinkingBlock } from "./response.ts";
import { encodeUsage } from "./usage.ts";

interface Choice {
  /** The call at hand, until its first arguments go out with it. */
  opening: JsonObject | undefined;
  /** The call at hand takes free text. */
  custom: boolean;
  calls: number;
  thinking: string;
  /** Length of the text so far, and where the text part at hand began. */
  said: number;
  from: number;
}

export function streamEncoder(context: CallerContext): StreamEncoder {
  const head = {
    id: answerId(context),
    object: "chat.completion.chunk",
    created: context.created,
    model: context.model,
  };
  const choices = new Map<number, Choice>();
  let usage: Usage | undefined;
  let failed = false;

  function frame(list: JsonObject[], counted: Usage | undefined): Frame {
    const data = {
      ...head,
      choices: list,
      ...(context.includeUsage && { usage: counted ? encodeUsage(counted) : null }),
    };
    return { data };
  }

  function chunk(index: number, delta: JsonObject, more: JsonObject = {}): Frame {
    return frame([{ index, delta, finish_reason: null, ...more }], undefined);
  }

  /** Frames of one event, behind the role chunk if the choice has not begun. */
  function encode(event: StreamEvent, index: number): Frame[] {
    const known = choices.get(index);
    const choice = known ?? { calls: 0, thinking: "", opening: undefined, custom: false, said: 0, from: 0 };
    choices.set(index, choice);
    const frames = known ? [] : [chunk(index, { role: "assistant", content: "" })];
    const delta = encodeDelta(event, choice);
    if (delta) frames.push(chunk(index, delta));
    if (event.type === "logprobs") frames.push(chunk(index, {}, { logprobs: event.value }));
    if (event.type === "finish")
      frames.push(chunk(index, {}, { finish_reason: encodeFinish(event.reason, choice.calls > 0) }));
    return frames;
  }

  function encodeDelta(event: StreamEvent, choice: Choice): JsonObject | undefined {
    switch (event.type) {
      case "text-start":
        choice.from = choice.said;
        return undefined;
      case "text-delta":
        choice.said += event.text.length;
        return event.text === "" ? undefined : { content: event.text };
      case "text-end": {
        const annotations = event.citations
          ? encodeAnnotations(event.citations, choice.from, choice.said - choice.from)
          : [];
        return annotations.length > 0 ? { annotations } : undefined;
      }
      case "refusal-delta":
        return { refusal: event.text };
      case "thinking-start":
        choice.thinking = "";
        return undefined;
      case "thinking-delta":
        if (!context.showThinking) return undefined;
        choice.thinking += event.text;
        return { reasoning_content: event.text };
      case "thinking-end":
        return event.signature && { thinking_blocks: [signed(choice.thinking, event.signature)] };
      case "redacted-thinking":
        return { thinking_blocks: [thinkingBlock({ type: "thinking", text: "", redacted: event.data })] };
      case "tool-call-start": {
        const { id, name, custom = false } = event;
        choice.opening = { id, name };
        choice.custom = custom;
        choice.calls++;
        return undefined;
      }
      case "tool-call-delta":
        if (event.arguments === "") return undefined;
        return moreOfCall(choice, event.arguments);
      case "tool-call-end":
        // So that what the caller puts together can be parsed.
        return choice.opening && moreOfCall(choice, choice.custom ? "" : "{}");
      default:
        return undefined;
    }
  }

  function fail(error: GatewayError): Frame[] {
    if (failed) return [];
    failed = true;
    return [{ data: encodeError(error).body }];
  }

  return {
    encode(event) {
      if (failed) return [];
      if (event.type === "error") return fail(event.error);
      if (event.type === "usage") {
        usage = event.usage;
        return [];
      }
      return encode(event, "choice" in event ? (event.choice ?? 0) : 0);
    },
    end() {
      if (failed) return [];
      const last = context.includeUsage && usage ? [frame([], usage)] : [];
      return [...last, { data: "[DONE]" }];
    },
    error: fail,
  };
}

/** A call that comes whole goes out whole: there are clients that read no pieces [M-SDK]. */
function moreOfCall(choice: Choice, text: string): JsonObject {
  const { calls, custom, opening } = choice;
  choice.opening = undefined;
  const kind = custom ? "custom" : "function";
  const head = opening && { id: opening.id, type: kind };
  const more = { ...(opening && { name: opening.name }), [custom ? "input" : "arguments"]: text };
  return { tool_calls: [{ index: calls - 1, ...head, [kind]: more }] };
}

function signed(text: string, signature: Signature): JsonObject {
  return thinkingBlock({ type: "thinking", text, signature });
}
