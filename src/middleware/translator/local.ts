import { callerContext } from "../../core/caller-context.ts";
import { replay } from "../../core/events.ts";
import type { Exchange } from "../../core/exchange.ts";
import { JsonBody, type Reply, type StreamSink } from "../../core/reply.ts";
import type { ChatResponse } from "../../core/request.ts";

/** A whole answer as the caller wants it: at once, or as the stream that it could have been. */
export function written(exchange: Exchange, answer: ChatResponse): Reply {
  const context = callerContext(exchange);
  if (!exchange.body.stream) {
    const value = exchange.dialect.encodeResponse(answer, context);
    return { status: 200, headers: {}, body: new JsonBody({ value }) };
  }
  const encoder = exchange.dialect.streamEncoder(context);
  const frames = [...replay(answer)].flatMap((event) => encoder.encode(event));
  frames.push(...encoder.end());
  const source = {
    start(sink: StreamSink) {
      sink.frames(frames);
      sink.end();
    },
    pause() {},
    resume() {},
    cancel() {},
  };
  return { status: 200, headers: {}, body: { type: "stream", source } };
}

/** `max_tokens: 0` only warms a prompt cache; where the target has none to warm there is nothing to ask for. */
export function emptyAnswer(exchange: Exchange): Reply {
  exchange.changes.push({ field: "max_tokens", kind: "ignored", from: 0, reason: "answered without the upstream" });
  const usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  const reply = written(exchange, { choices: [{ content: [], finishReason: "length" }], usage });
  exchange.finish({ ok: true, status: 200, billable: false, totalMs: performance.now() - exchange.startedAt });
  return reply;
}
