import type { RawFrame, StreamDecoder } from "../../core/dialect.ts";
import { GatewayError, toGatewayError } from "../../core/errors.ts";
import type { StreamEvent } from "../../core/events.ts";
import { isObject } from "../../core/util.ts";
import { Answer } from "./answer.ts";

/** Nothing tells that a stream is over but the end of its bytes, and nothing that it is complete but its reason. */
export function streamDecoder(): StreamDecoder {
  let events: StreamEvent[] = [];
  let ended = false;
  const answer = new Answer((event) => events.push(event));

  function guarded(work: () => void): StreamEvent[] {
    if (ended) return [];
    try {
      work();
    } catch (error) {
      ended = true;
      events.push({ type: "error", error: toGatewayError(error) });
    }
    const taken = events;
    events = [];
    return taken;
  }

  return {
    feed: ({ data }: RawFrame) =>
      guarded(() => {
        if (data === "" || data === "[DONE]") return;
        const piece = parse(data);
        if (isObject(piece)) answer.read(piece);
      }),
    end: () =>
      guarded(() => {
        if (!answer.finished) {
          throw new GatewayError(
            "upstream_unreachable",
            "The upstream closed the stream before the answer was complete",
          );
        }
        answer.finish();
        ended = true;
      }),
  };
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch (cause) {
    throw new GatewayError("upstream_invalid", "The upstream sent an event that is not valid JSON", { cause });
  }
}
