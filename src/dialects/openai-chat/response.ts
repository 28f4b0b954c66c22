import type { CallerContext } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import { collector } from "../../core/events.ts";
import type { ChatResponse, Choice, Part, ThinkingPart } from "../../core/request.ts";
import { encodeSignature } from "../../core/thinking-envelope.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { annotationsOf, pagesBeside } from "./annotations.ts";
import { ChoiceReader } from "./choice.ts";
import { encodeCall } from "./encode-messages.ts";
import { decodeError, isErrorBody, statusOf } from "./errors.ts";
import { encodeFinish } from "./finish.ts";
import { isText } from "./parts.ts";
import { indexOf, readHead } from "./stream.ts";
import type { ResolvedStyle } from "./style.ts";
import { decodeUsage, encodeUsage } from "./usage.ts";

/** A whole answer is read like a stream of one chunk, so both understand the same servers. */
export function decodeResponse(body: unknown, { originType }: Pick<ResolvedStyle, "originType">): ChatResponse {
  if (isErrorBody(body)) throw decodeError(statusOf(body), body);
  const choices = isObject(body) && Array.isArray(body.choices) ? body.choices.filter(isObject) : [];
  if (!isObject(body) || choices.length === 0) {
    throw new GatewayError("upstream_invalid", "The upstream's answer has no choices");
  }
  const { id, model, created } = readHead(body);
  const answer = { id, model, originType };
  const pages = pagesBeside(body);
  const whole = collector();
  whole.add({ type: "start", id, model, created });
  if (choices.length > 1) choices.sort((a, b) => indexOf(a) - indexOf(b));
  choices.forEach((choice, index) => {
    const reader = new ChoiceReader(index, true, answer, whole.add);
    reader.read(choice, pages);
    reader.finish();
  });
  const usage = decodeUsage(body);
  if (usage) whole.add({ type: "usage", usage });
  const response = whole.response();
  if (typeof body.service_tier === "string") response.serviceTier = body.service_tier;
  return response;
}

export function encodeResponse(response: ChatResponse, context: CallerContext): JsonObject {
  const { choices, usage, serviceTier } = response;
  const body: JsonObject = {
    id: answerId(context),
    object: "chat.completion",
    created: context.created,
    model: context.model,
    choices: choices.map((choice, index) => encodeChoice(choice, index, context)),
  };
  if (usage) body.usage = encodeUsage(usage);
  if (serviceTier !== undefined) body.service_tier = serviceTier;
  return body;
}

export function answerId(context: CallerContext): string {
  return `chatcmpl-${context.id}`;
}

function encodeChoice(choice: Choice, index: number, context: CallerContext): JsonObject {
  const { content } = choice;
  const calls = content.filter((part) => part.type === "tool-call").map(encodeCall);
  return {
    index,
    message: {
      role: "assistant",
      ...encodeSaid(content, calls.length > 0),
      ...encodeThinking(content, context.showThinking),
      ...(calls.length > 0 && { tool_calls: calls }),
    },
    logprobs: choice.logprobs ?? null,
    finish_reason: encodeFinish(choice.finishReason, calls.length > 0),
  };
}

function encodeSaid(content: readonly Part[], calls: boolean): JsonObject {
  const texts = content.filter(isText);
  const said = texts.map((part) => part.text).join("");
  const refusal = content.flatMap((part) => (part.type === "refusal" ? [part.text] : [])).join("");
  const annotations = annotationsOf(content);
  return {
    content: said === "" && (calls || refusal !== "") ? null : said,
    refusal: refusal === "" ? null : refusal,
    ...(annotations.length > 0 && { annotations }),
  };
}

function encodeThinking(content: readonly Part[], show: boolean): JsonObject {
  const thinking = content.filter((part) => part.type === "thinking");
  const text = show ? thinking.map((part) => part.text).join("") : "";
  const signed = thinking.some((part) => part.signature || part.redacted !== undefined);
  return {
    ...(text !== "" && { reasoning_content: text }),
    ...(signed && { thinking_blocks: thinking.map((part) => thinkingBlock(show ? part : { ...part, text: "" })) }),
  };
}

/** A thinking block as clients that send answers back must keep it (wire.md §8.2). */
export function thinkingBlock(part: ThinkingPart): JsonObject {
  if (part.redacted !== undefined) return { type: "redacted_thinking", data: part.redacted };
  return {
    type: "thinking",
    thinking: part.text,
    ...(part.signature && { signature: encodeSignature(part.signature) }),
  };
}
