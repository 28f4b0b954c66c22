import type { Dialect } from "../../../src/core/dialect.ts";
import { replay, type StreamEvent } from "../../../src/core/events.ts";
import type { ChatResponse } from "../../../src/core/request.ts";
import { formatFrames } from "../../../src/dialects/sse.ts";
import { canonicalFacts } from "../canonical.ts";
import { carried, membersOf } from "../carry.ts";
import { CALLER } from "../dialects.ts";
import { compareFacts, type Facts, type Member } from "../facts.ts";
import { checkGrammar } from "../grammar.ts";
import { collect, decodeFrames } from "../replay.ts";
import { sdkOf } from "../sdk.ts";
import { parseEvents } from "../sse.ts";
import { wireOf } from "../wires/index.ts";

/** What an SDK's helper for streams does not put together: the plain reading of the frames tells it. */
const NOT_BY_SDK: Record<string, readonly Member[]> = {
  "anthropic-messages": ["blocks"],
  "openai-chat": ["thinking", "urls"],
  "openai-responses": ["blocks"],
};

/** Writes one answer for callers of a dialect, whole and as a stream, and reads both back in three ways. */
export async function checkEncoding(
  response: ChatResponse,
  events: readonly StreamEvent[] | undefined,
  from: string,
  target: Dialect,
): Promise<string[]> {
  const expected = carried(canonicalFacts(response, target.id), target.id);
  const members = membersOf(from, target.id);
  const whole = await checkWhole(response, target, expected, members);
  const stream = await checkFrames(events ?? [...replay(response)], target, expected, members);
  return [...whole, ...stream].map((problem) => `to ${target.id}: ${problem}`);
}

async function checkWhole(response: ChatResponse, target: Dialect, expected: Facts, members: readonly Member[]) {
  const body = JSON.parse(JSON.stringify(target.encodeResponse(response, CALLER)));
  const read = await attempt("whole, SDK", () => sdkOf(target.id).whole(body), expected, members);
  const again = attempt("whole, decoded again", () => canonicalFacts(target.decodeResponse(body)), expected, members);
  return [...read, ...(await again)];
}

async function checkFrames(
  events: readonly StreamEvent[],
  target: Dialect,
  expected: Facts,
  members: readonly Member[],
) {
  const encoder = target.streamEncoder(CALLER);
  const frames = [...events.flatMap((event) => encoder.encode(event)), ...encoder.end()];
  const text = formatFrames(frames);
  const written = parseEvents(text);
  const bySdk = members.filter((member) => !NOT_BY_SDK[target.id]?.includes(member));
  return [
    ...checkGrammar(target.id, written),
    ...(await attempt("stream", () => wireOf(target.id).stream(written), expected, members)),
    ...(await attempt("stream, SDK", () => sdkOf(target.id).stream(text), expected, bySdk)),
    ...(await attempt(
      "stream, decoded again",
      () => canonicalFacts(collect(decodeFrames(target, written))),
      expected,
      members,
    )),
  ];
}

async function attempt(how: string, read: () => Facts | Promise<Facts>, expected: Facts, members: readonly Member[]) {
  try {
    return compareFacts(expected, await read(), members).map((problem) => `${how}: ${problem}`);
  } catch (error) {
    return [`${how}: ${error}`];
  }
}

/** An answer that broke: the caller's SDK must raise it, in the upstream's words; or take what had come to its end. */
export async function checkBroken(events: readonly StreamEvent[], target: Dialect): Promise<string[]> {
  const encoder = target.streamEncoder(CALLER);
  const text = formatFrames([...events.flatMap((event) => encoder.encode(event)), ...encoder.end()]);
  const error = events.find((event) => event.type === "error")!.error;
  const finished = events.some(({ type }) => type === "finish");
  try {
    await sdkOf(target.id).stream(text);
    return finished ? [] : [`to ${target.id}: the SDK takes a broken stream for a whole one`];
  } catch (raised) {
    const said = String((raised as Error).message);
    const known =
      said.includes(JSON.stringify(error.message.slice(0, 100)).slice(1, -1)) ||
      said.includes(error.message.slice(0, 100));
    return known ? [] : [`to ${target.id}: the SDK raises ${said.slice(0, 120)}, not ${error.message.slice(0, 120)}`];
  }
}
