import type { CallerContext, Frame, StreamEncoder } from "../../core/dialect.ts";
import type { GatewayError } from "../../core/errors.ts";
import { replay } from "../../core/events.ts";
import type { ChatResponse, FinishReason } from "../../core/request.ts";
import type { Usage } from "../../core/usage.ts";
import type { JsonObject } from "../../core/util.ts";
import { answerEnd, answerHead, isCut } from "./answer.ts";
import { errorEvent, failureOf } from "./errors.ts";
import { outputOf } from "./output.ts";

export function encodeResponse(response: ChatResponse, context: CallerContext): JsonObject {
  const [choice = { content: [], finishReason: "stop" as const }] = response.choices;
  const output = outputOf(context);
  for (const event of replay({ choices: [choice] })) output.write(event);
  const { finishReason: reason, logprobs } = choice;
  output.close(isCut(reason) ? "incomplete" : "completed");
  return {
    ...answerHead(context),
    ...(response.serviceTier !== undefined && { service_tier: response.serviceTier }),
    ...answerEnd({ reason, refused: output.refused, items: output.items, usage: response.usage, logprobs }),
  };
}

export function streamEncoder(context: CallerContext): StreamEncoder {
  let out: Frame[] = [];
  let sequence = 0;
  const output = outputOf(context, send);
  const head = answerHead(context);
  let started = false;
  let ended = false;
  let usage: Usage | undefined;
  let reason: FinishReason | undefined;
  let logprobs: unknown;

  function send(type: string, members: JsonObject): void {
    out.push({ event: type, data: { type, sequence_number: sequence++, ...members } });
  }

  function start(): void {
    if (started) return;
    started = true;
    send("response.created", { response: head });
    send("response.in_progress", { response: head });
  }

  function complete(): void {
    start();
    const ending = reason ?? "stop";
    output.close(isCut(ending) ? "incomplete" : "completed");
    const end = answerEnd({ reason: ending, refused: output.refused, items: output.items, usage, logprobs });
    send(`response.${end.status}`, { response: { ...head, ...end } });
    ended = true;
  }

  function fail(error: GatewayError): void {
    if (ended) return;
    ended = true;
    send("error", errorEvent(error));
    const failed = { status: "failed", error: failureOf(error), output: [...output.items] };
    send("response.failed", { response: { ...head, ...failed } });
  }

  function take(): Frame[] {
    const frames = out;
    out = [];
    return frames;
  }

  return {
    encode(event) {
      // Callers of this dialect get one answer.
      if (ended || ("choice" in event && event.choice)) return [];
      if (event.type === "error") fail(event.error);
      else if (event.type === "usage") {
        usage = event.usage;
        if (reason) complete();
      } else {
        start();
        if (event.type === "finish") reason = event.reason;
        else if (event.type === "logprobs") logprobs = event.value;
        else output.write(event);
      }
      return take();
    },
    end() {
      if (!ended) complete();
      return take();
    },
    error(error) {
      fail(error);
      return take();
    },
  };
}
