import type { Exchange } from "../../core/exchange.ts";
import type { UpstreamResponse } from "../../core/provider.ts";
import type { Reply, StreamSource } from "../../core/reply.ts";
import { declined, decode, parse, readAnswer } from "./json.ts";
import { written } from "./local.ts";
import { Meter } from "./meter.ts";
import { PassedStream } from "./passed-stream.ts";
import type { Prepared } from "./prepare.ts";
import { restoreAnswer } from "./restore.ts";
import { TranslatedStream } from "./translated-stream.ts";

/**
 * The answer as a stream in the caller's dialect. Resolves at the first content event: until then an error is thrown
 * and the router may try another target; from then on it ends the stream.
 */
export function answerStream(
  exchange: Exchange,
  prepared: Prepared,
  response: UpstreamResponse,
  streamed: boolean,
): Promise<Reply> {
  if (!streamed) return streamOfJson(exchange, prepared, response);
  return new Promise((resolve, reject) => {
    const decision = { decide: () => resolve(reply(pump)), refuse: reject };
    const pump = prepared.passThrough
      ? new PassedStream(exchange, response, prepared.hidesUsage, decision)
      : new TranslatedStream(exchange, response, prepared.tools, decision);
    pump.run();
  });
}

const reply = (source: StreamSource): Reply => ({ status: 200, headers: {}, body: { type: "stream", source } });

/** Some servers answer JSON whatever they are asked. */
async function streamOfJson(exchange: Exchange, prepared: Prepared, response: UpstreamResponse): Promise<Reply> {
  const meter = new Meter(exchange, response.status);
  const bytes = await readAnswer(response, meter);
  const answer = decode(exchange, parse(bytes.toString(), meter), meter);
  restoreAnswer(answer, prepared.tools);
  meter.response(answer);
  if (exchange.refusalFails && declined(answer)) throw meter.refused();
  meter.content();
  meter.finish();
  return written(exchange, answer);
}
