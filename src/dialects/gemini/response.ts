import type { CallerContext } from "../../core/dialect.ts";
import { GatewayError } from "../../core/errors.ts";
import { collector } from "../../core/events.ts";
import type { ChatResponse, Choice } from "../../core/request.ts";
import type { Usage } from "../../core/usage.ts";
import { isObject, type JsonObject } from "../../core/util.ts";
import { Answer } from "./answer.ts";
import { present, text } from "./check.ts";
import { encodeFinish } from "./finish.ts";
import { encodeLogprobs } from "./logprobs.ts";
import { decodeUsage, encodeUsage } from "./usage.ts";
import { PartWriter } from "./writer.ts";

const TIERS = new Set(["standard", "flex", "priority"]);

/** @throws GatewayError `upstream_invalid`, or what the upstream told */
export function decodeResponse(body: unknown): ChatResponse {
  const known = ["candidates", "promptFeedback", "usageMetadata", "error"];
  if (!isObject(body) || !known.some((member) => isObject(body[member]) || Array.isArray(body[member]))) {
    throw new GatewayError("upstream_invalid", "The upstream's answer has no candidates");
  }
  const collected = collector();
  const answer = new Answer((event) => collected.add(event));
  answer.read(body);
  answer.finish();
  return present({ ...collected.response(), serviceTier: tierOf(body) });
}

const tierOf = ({ usageMetadata }: JsonObject) =>
  isObject(usageMetadata) ? text(usageMetadata.serviceTier) : undefined;

export function usageOf(body: JsonObject): { usage?: Usage | undefined; model?: string | undefined } {
  return { usage: decodeUsage(body.usageMetadata), model: text(body.modelVersion) };
}

export function encodeResponse(response: ChatResponse, context: CallerContext): JsonObject {
  const { usage, serviceTier = "" } = response;
  const tier = TIERS.has(serviceTier) ? serviceTier : undefined;
  return present({
    candidates: response.choices.map((choice, index) => encodeChoice(choice, index, context)),
    usageMetadata: usage && encodeUsage(usage, tier),
    ...answerFoot(context),
  });
}

function encodeChoice({ content, finishReason, logprobs }: Choice, index: number, context: CallerContext): JsonObject {
  const writer = new PartWriter(context, index);
  const parts = content.flatMap((part) => writer.part(part));
  parts.push(...writer.rest());
  return present({
    ...candidateHead(parts, index),
    finishReason: encodeFinish(finishReason),
    ...writer.grounding,
    logprobsResult: encodeLogprobs(logprobs),
  });
}

export const candidateHead = (parts: JsonObject[], index: number): JsonObject => ({
  content: { parts, role: "model" },
  index,
});

/** What every piece of an answer says last. */
export const answerFoot = ({ model, id }: CallerContext): JsonObject => ({ modelVersion: model, responseId: id });
