import { expect, test } from "vitest";
import type { CallerContext, Dialect, RawFrame } from "../../src/core/dialect.ts";
import type { StreamEvent } from "../../src/core/events.ts";
import type { JsonObject } from "../../src/core/util.ts";
import { formatFrames, sseReader } from "../../src/dialects/sse.ts";
import { type Answer, answers, collected, type Facts, facts, toldBy } from "./answers.ts";
import { CALLERS, wire } from "./callers.ts";
import { forAll, TIMEOUT, tally } from "./cases.ts";
import { GRAMMARS } from "./grammar.ts";

/** Whatever an upstream answers, whole or as a stream, every caller is told the same in its own form. */

const CONTEXT: CallerContext = {
  model: "asked",
  id: "x1",
  created: 7,
  inputTokens: 5,
  includeUsage: true,
  showThinking: true,
};
/** Several answers at once; the other dialects have no word for them. */
const MANY = new Set(["openai-chat", "gemini"]);
const choicesOf = (...dialects: Dialect[]) => (dialects.every(({ id }) => MANY.has(id)) ? 3 : 1);

const count = tally("Answers by upstream and caller");

for (const dialect of CALLERS) {
  test(`${dialect.id} reads what it writes, and tells the same whole and streamed`, { timeout: TIMEOUT }, () => {
    forAll(answers(choicesOf(dialect)), ({ whole, events }) => {
      const expected = toldBy(dialect.id, facts(whole));
      const read = dialect.decodeResponse(written(dialect, whole));
      same(facts(read), expected, "whole", dialect);
      // Once it has been read, what stands nowhere on this wire is gone, and it comes back as it is.
      const again = dialect.decodeResponse(written(dialect, read));
      same(facts(again), expected, "the second time", dialect);
      const last = dialect.decodeResponse(written(dialect, again));
      // Where a signature stands in a part of its own, which of the thoughts before it signs is a guess.
      if (dialect.id !== "gemini") same(last, again, "the third time", dialect);
      const frames = streamed(dialect, events);
      expect(GRAMMARS[dialect.id]!(frames), JSON.stringify(frames)).toEqual([]);
      same(facts(collected(readStream(dialect, frames))), expected, "streamed", dialect);
      count(dialect.id);
    });
  });
}

for (const upstream of CALLERS) {
  for (const caller of CALLERS) {
    test(`an answer of ${upstream.id} is told in ${caller.id}`, { timeout: TIMEOUT }, () => {
      forAll(answers(choicesOf(upstream, caller)), ({ whole, events }: Answer) => {
        const answer = upstream.decodeResponse(written(upstream, whole));
        const expected = toldBy(caller.id, facts(answer));
        same(facts(caller.decodeResponse(written(caller, answer))), expected, "whole", caller);
        const frames = streamed(caller, readStream(upstream, streamed(upstream, events)));
        expect(GRAMMARS[caller.id]!(frames), JSON.stringify(frames)).toEqual([]);
        same(facts(collected(readStream(caller, frames))), expected, "streamed", caller);
        count(`${upstream.id} -> ${caller.id}`);
      });
    });
  }
}

function written(dialect: Dialect, answer: Answer["whole"]): JsonObject {
  return wire(dialect.encodeResponse(answer, CONTEXT));
}

/** The frames as a client gets them: through bytes. */
function streamed(dialect: Dialect, events: readonly StreamEvent[]): RawFrame[] {
  const encoder = dialect.streamEncoder(CONTEXT);
  const frames = [...events.flatMap((event) => encoder.encode(event)), ...encoder.end()];
  const raw: RawFrame[] = [];
  const reader = sseReader((frame) => raw.push({ ...frame }));
  reader.feed(Buffer.from(formatFrames(frames)));
  reader.end();
  return raw;
}

function readStream(dialect: Dialect, frames: readonly RawFrame[]): StreamEvent[] {
  const decoder = dialect.streamDecoder();
  return [...frames.flatMap((frame) => decoder.feed(frame)), ...decoder.end()];
}

function same(got: unknown, expected: Facts | unknown, what: string, { id }: Dialect): void {
  if (JSON.stringify(got) !== JSON.stringify(expected)) expect(got, `${what} in ${id}`).toEqual(expected);
}
