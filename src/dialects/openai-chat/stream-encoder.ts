import type { CallerContext, Frame, StreamEncoder } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { Signature } from "../../core/request.ts";
import type { Usage } from "../../core/usage.ts";
import type { JsonObject } from "../../core/util.ts";
import { encodeError } from "./errors.ts";
import { encodeFinish } from "./finish.ts";
import { ID } from "./id.ts";
import { answerId, thinkingBlock } from "./response.ts";
import { encodeUsage } from "./usage.ts";

interface Choice {
  /** The call at hand has arguments. */
  argued: boolean;
  calls: number;
  thinking: string;
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
    const choice = known ?? { calls: 0, thinking: "", argued: true };
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
      case "text-delta":
        return event.text === "" ? undefined : { content: event.text };
      case "text-end":
        return event.citations?.dialect === ID ? { annotations: event.citations.value } : undefined;
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
        const call = {
          index: choice.calls++,
          id: event.id,
          type: "function",
          function: { name: event.name, arguments: "" },
        };
        choice.argued = false;
        return { tool_calls: [call] };
      }
      case "tool-call-delta":
        if (event.arguments === "") return undefined;
        choice.argued = true;
        return { tool_calls: [{ index: choice.calls - 1, function: { arguments: event.arguments } }] };
      case "tool-call-end":
        // So that what the caller puts together can be parsed.
        return choice.argued ? undefined : { tool_calls: [{ index: choice.calls - 1, function: { arguments: "{}" } }] };
      case "opaque":
        return event.part.dialect === ID && event.part.kind === "tool_call"
          ? { tool_calls: [{ index: choice.calls++, ...event.part.value }] }
          : undefined;
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

function signed(text: string, signature: Signature): JsonObject {
  return thinkingBlock({ type: "thinking", text, signature });
}
