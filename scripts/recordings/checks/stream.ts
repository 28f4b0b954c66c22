import { isDeepStrictEqual } from "node:util";
import type { Dialect } from "../../../src/core/dialect.ts";
import type { StreamEvent } from "../../../src/core/events.ts";
import { canonicalFacts } from "../canonical.ts";
import { compareFacts } from "../facts.ts";
import { random } from "../random.ts";
import { collect, decodeFrames, framesOf } from "../replay.ts";
import { formatEvents, parseEvents, type ServerEvent } from "../sse.ts";
import type { Wire } from "../wires/index.ts";

/** Every cut is tried up to this length; beyond it, random ones. */
const SHORT = 4096;
const RUNS = 8;
const CUTS = 40;

/** @param raw the bytes as recorded, with comments and the like */
export function checkStream(wire: Wire, dialect: Dialect, events: readonly ServerEvent[], raw: string | undefined) {
  const text = formatEvents(events);
  const bytes = Buffer.from(text);
  const decoded = decodeFrames(dialect, framesOf(bytes, []));
  const problems = [
    ...checkContent(wire, events, decoded),
    ...checkCuts(text, events),
    ...checkTruncation(dialect, bytes, decoded),
  ];
  if (raw !== undefined) {
    const ends = wire.end && !raw.includes(wire.end.data) ? formatEvents([wire.end]) : "";
    const same = isDeepStrictEqual(
      decodeFrames(dialect, framesOf(Buffer.from(`${raw.trimEnd()}\n\n${ends}`), [])),
      decoded,
    );
    if (!same) problems.push("stream: the bytes as recorded give other events");
  }
  return { decoded, problems };
}

function checkContent(wire: Wire, events: readonly ServerEvent[], decoded: StreamEvent[]): string[] {
  const expected = wire.stream(events);
  const problems = compareFacts(expected, canonicalFacts(collect(decoded))).map((problem) => `stream: ${problem}`);
  const error = decoded.find((event) => event.type === "error")?.error;
  const closed = wire.end !== undefined && events.at(-1)?.data === wire.end.data && expected.error === undefined;
  if (error && (expected.complete || closed))
    problems.push(`stream: a complete answer ends with an error: ${error.message}`);
  if (!error && !expected.complete && !closed) problems.push("stream: an answer that broke off ends without an error");
  if (expected.error && !error?.message.includes(expected.error.slice(0, 200)))
    problems.push(`stream: the error's words are lost: ${expected.error}`);
  if (error && decoded.at(-1)?.type !== "error") problems.push("stream: something follows the error");
  return problems;
}

/** The same events, however the bytes are cut and lines are ended. */
function checkCuts(text: string, events: readonly ServerEvent[]): string[] {
  const problems = new Set<string>();
  for (const [name, end] of Object.entries({ LF: "\n", CRLF: "\r\n", CR: "\r" })) {
    const bytes = Buffer.from(text.replaceAll("\n", end));
    const plain = parseEvents(bytes.toString());
    for (const cuts of cutsOf(bytes)) {
      const frames = framesOf(bytes, cuts).map(({ event, data }) => (event === undefined ? { data } : { event, data }));
      if (!isDeepStrictEqual(frames, plain)) problems.add(`stream: ${name}, cut at ${cuts.slice(0, 5)}: other frames`);
    }
    if (!isDeepStrictEqual(plain, events)) problems.add(`stream: ${name}: the plain reading differs`);
  }
  return [...problems].slice(0, 3);
}

function* cutsOf(bytes: Uint8Array): Generator<number[]> {
  const all = Array.from({ length: bytes.length - 1 }, (_, i) => i + 1);
  if (bytes.length <= SHORT) {
    yield all;
    for (const cut of all) yield [cut];
    return;
  }
  const next = random(bytes.length);
  for (let run = 0; run < RUNS; run++)
    yield Array.from({ length: CUTS }, () => 1 + next(bytes.length - 1)).sort((a, b) => a - b);
  const inside = all.filter((at) => (bytes[at]! & 0xc0) === 0x80);
  yield inside;
  yield all.filter((at) => bytes[at] === 0x0a);
}

/** What breaks off says nothing that the whole does not, and ends with an error unless the end had come. */
function checkTruncation(dialect: Dialect, bytes: Uint8Array, decoded: readonly StreamEvent[]): string[] {
  const problems = new Set<string>();
  const next = random(bytes.length + 1);
  const places = [1 / 4, 1 / 2, 3 / 4].map((part) => Math.floor(bytes.length * part));
  for (const at of [...places, 1 + next(bytes.length - 1), 1 + next(bytes.length - 1)]) {
    const events = decodeFrames(dialect, framesOf(bytes.subarray(0, at), []));
    const finished = events.some((event) => event.type === "finish");
    if (finished) continue;
    if (events.at(-1)?.type !== "error") problems.add(`stream: cut off at byte ${at}, it ends without an error`);
    const said = events.slice(0, -1);
    if (!isDeepStrictEqual(said, decoded.slice(0, said.length)))
      problems.add(`stream: cut off at byte ${at}, it says something else`);
  }
  return [...problems];
}
