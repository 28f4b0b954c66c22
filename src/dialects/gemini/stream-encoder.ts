import type { CallerContext, Frame, StreamEncoder } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import type { FinishReason, ToolCallPart } from "../../core/request.ts";
import type { Usage } from "../../core/usage.ts";
import type { JsonObject } from "../../core/util.ts";
import { present } from "./check.ts";
import { errorBody } from "./errors.ts";
import { encodeFinish } from "./finish.ts";
import { encodeLogprobs } from "./logprobs.ts";
import { answerFoot, candidateHead } from "./response.ts";
import { encodeUsage } from "./usage.ts";
import { PartWriter } from "./writer.ts";

/** Each text delta is a piece of its own; a function call goes whole; reasons and usage stand in the last piece. */
export function streamEncoder(context: CallerContext): StreamEncoder {
  const choices: ChoiceEncoder[] = [];
  let usage: Usage | undefined;
  let ended = false;

  function at(index = 0): ChoiceEncoder {
    while (choices.length <= index) choices.push(new ChoiceEncoder(context, choices.length));
    return choices[index]!;
  }

  function piece(candidates: JsonObject[], usageMetadata?: JsonObject): Frame {
    return { data: present({ candidates, usageMetadata, ...answerFoot(context) }) };
  }

  function error(failure: GatewayError): Frame[] {
    if (ended) return [];
    ended = true;
    return [{ data: errorBody(failure) }];
  }

  return {
    encode(event) {
      if (ended) return [];
      if (event.type === "error") return error(event.error);
      if (event.type === "start") return [];
      if (event.type === "usage") {
        usage = event.usage;
        return [];
      }
      const parts = at(event.choice).add(event);
      return parts.length === 0 ? [] : [piece([candidateHead(parts, event.choice ?? 0)])];
    },
    end() {
      if (ended) return [];
      ended = true;
      at(0);
      return [
        piece(
          choices.map((choice) => choice.end()),
          usage && encodeUsage(usage),
        ),
      ];
    },
    error,
  };
}

class ChoiceEncoder {
  readonly #writer: PartWriter;
  readonly #index: number;
  /** Of the open block. */
  #text = "";
  #call: Pick<ToolCallPart, "id" | "name" | "arguments" | "custom"> | undefined;
  #logprobs: unknown;
  #reason: FinishReason = "stop";

  constructor(context: CallerContext, index: number) {
    this.#writer = new PartWriter(context, index);
    this.#index = index;
  }

  /** @returns parts that can be written now */
  add(event: StreamEvent): JsonObject[] {
    switch (event.type) {
      case "text-start":
      case "thinking-start":
        this.#text = "";
        return [];
      case "text-delta":
        this.#text += event.text;
        return this.#writer.text(event.text);
      case "text-end":
        this.#writer.cite(event.citations, this.#text);
        return [];
      case "refusal-delta":
        return this.#writer.text(event.text);
      case "thinking-delta":
        this.#text += event.text;
        return this.#writer.thought(event.text);
      case "thinking-end":
        return this.#writer.sign(present({ type: "thinking", text: this.#text, signature: event.signature }));
      case "redacted-thinking":
        return this.#writer.sign({ type: "thinking", text: "", redacted: event.data });
      case "tool-call-start":
        this.#call = { id: event.id, name: event.name, arguments: "", ...(event.custom && { custom: true }) };
        return [];
      case "tool-call-delta":
        if (this.#call) this.#call.arguments += event.arguments;
        return [];
      case "tool-call-end":
        return this.#takeCall();
      case "opaque":
        return this.#writer.opaque(event.part);
      case "logprobs":
        this.#logprobs = event.value;
        return [];
      case "finish":
        this.#reason = event.reason;
        return [];
      default:
        return [];
    }
  }

  #takeCall(): JsonObject[] {
    const call = this.#call;
    this.#call = undefined;
    return call ? this.#writer.call(call) : [];
  }

  /** The candidate's last piece. A call that was cut is told as far as it came. */
  end(): JsonObject {
    const parts = [...this.#takeCall(), ...this.#writer.rest()];
    return present({
      ...candidateHead(parts.length > 0 ? parts : [{ text: "" }], this.#index),
      finishReason: encodeFinish(this.#reason),
      ...this.#writer.grounding,
      logprobsResult: encodeLogprobs(this.#logprobs),
    });
  }
}
