import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { collector, replay, type StreamEvent } from "../../src/core/events.ts";
import type { ChatResponse, Part } from "../../src/core/request.ts";
import { type Restoration, restoreAnswer, restoreEvents } from "../../src/middleware/translator/restore.ts";

const restoration: Restoration = {
  toolNames: new Map([
    ["a_b_1", "a.b"],
    ["s_q_l", "s q l"],
  ]),
  customTools: new Set(["sql", "s q l"]),
};
const call = (name: string, text: string): Part => ({ type: "tool-call", id: "c", name, arguments: text });
const answer = (...content: Part[]): ChatResponse => ({ choices: [{ content, finishReason: "tool-calls" }] });

function whole(...content: Part[]): Part[] {
  const copy = structuredClone(answer(...content));
  restoreAnswer(copy, restoration);
  return copy.choices[0]!.content;
}

/** The events, arguments cut into pieces of these sizes. */
function inPieces(content: Part[], sizes: readonly number[]): StreamEvent[] {
  return [...replay(answer(...content))].flatMap((event): StreamEvent[] => {
    if (event.type !== "tool-call-delta") return [event];
    const events: StreamEvent[] = [];
    let rest = event.arguments;
    for (let i = 0; rest !== ""; i++) {
      const size = sizes[i % sizes.length]!;
      events.push({ type: "tool-call-delta", arguments: rest.slice(0, size) });
      rest = rest.slice(size);
    }
    return events;
  });
}

function streamed(content: Part[], sizes: readonly number[]): Part[] {
  const restore = restoreEvents(restoration);
  const collected = collector();
  for (const event of inPieces(content, sizes).flatMap(restore)) collected.add(event);
  return collected.response().choices[0]!.content;
}

const json = fc.oneof(
  fc.string({ unit: "binary" }).map((input) => JSON.stringify({ input })),
  fc
    .string({ unit: "binary" })
    .map(
      (input) =>
        ` {\n"input" :\t${JSON.stringify(input).replace(/[^ -~]/g, (c) => [...Array(c.length).keys()].map((i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""))} }`,
    ),
  fc.json(),
  fc.tuple(fc.json(), fc.nat(40)).map(([text, end]) => text.slice(0, end)),
  fc
    .array(fc.constantFrom('{"input":"', "\\", '"', "u", "d83d", "\\ude00", "n", "x", "}", "é", "😀", "\n"))
    .map((pieces) => pieces.join("")),
  fc
    .array(fc.constantFrom("\\", '"', "u", "d83d", "\\ude00", "12", "n", "}", "😀"))
    .map((pieces) => `{"input":"${pieces.join("")}`),
);
const sizes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 });

describe("a custom tool's call that went out as a function's", () => {
  test.each([
    ['{"input":"SELECT \\"a\\"\\n\\u00e9\\ud83d\\ude00\\/"}', 'SELECT "a"\né😀/'],
    [' { "input" : "x" } ', "x"],
    ['{"input":""}', ""],
    ["", ""],
    ['{"why":"because","input":"x"}', "x"],
    ['{"input":{"a":1}}', '{"a":1}'],
    ['{"sql":"SELECT 1"}', '{"sql":"SELECT 1"}'],
    ["SELECT 1", "SELECT 1"],
    ['{"input":"half a ca', "half a ca"],
    ['{"input":"broken \\x \\u12 escape', "broken \\x \\u12 escape"],
    ['{"inpu', '{"inpu'],
    ['["input"]', '["input"]'],
  ])("is the caller's again: %s", (text, input) => {
    const expected = [{ type: "tool-call", id: "c", name: "sql", arguments: input, custom: true }];
    expect(whole(call("sql", text))).toEqual(expected);
    for (const size of [1, 3, 100]) expect(streamed([call("sql", text)], [size])).toEqual(expected);
  });

  test("streams as it comes", () => {
    const restore = restoreEvents(restoration);
    const deltas = inPieces([call("sql", '{"input":"one two\\n three"}')], [5])
      .flatMap(restore)
      .flatMap((event) => (event.type === "tool-call-delta" ? [event.arguments] : []));
    expect(deltas).toEqual(["one t", "wo\n ", "three"]);
  });

  test("gives no half of a character, however it was escaped and cut", () => {
    const text = '{"input":"a\\ud83d\\ude00b"}';
    for (let size = 1; size < text.length; size++) {
      const deltas = inPieces([call("sql", text)], [size])
        .flatMap(restoreEvents(restoration))
        .flatMap((event) => (event.type === "tool-call-delta" ? [event.arguments] : []));
      expect(deltas.every((delta) => delta.isWellFormed())).toBe(true);
      expect(deltas.join("")).toBe("a😀b");
    }
  });

  test("is, in pieces of any size, what it is as a whole, whatever the model wrote", () => {
    fc.assert(
      fc.property(json, sizes, (text, cut) => {
        expect(streamed([call("sql", text)], cut)).toEqual(whole(call("sql", text)));
      }),
      { numRuns: 2_000 },
    );
  });

  test("holds exactly the text that was put in", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), sizes, (input, cut) => {
        expect(streamed([call("sql", JSON.stringify({ input }))], cut)).toMatchObject([{ arguments: input }]);
      }),
    );
  });
});

test("names come back, of functions and of custom tools; everything else stays", () => {
  const content = [
    call("a_b_1", '{"input":"x"}'),
    call("s_q_l", '{"input":"x"}'),
    call("other", "{}"),
    { type: "text", text: "t" } as Part,
  ];
  const expected = [
    call("a.b", '{"input":"x"}'),
    { ...call("s q l", "x"), custom: true },
    call("other", "{}"),
    { type: "text", text: "t" },
  ];
  expect(whole(...content)).toEqual(expected);
  expect(streamed(content, [4])).toEqual(expected);
});

test("choices are kept apart", () => {
  const restore = restoreEvents(restoration);
  const events: StreamEvent[] = [
    { type: "tool-call-start", id: "1", name: "sql" },
    { type: "tool-call-start", id: "2", name: "other", choice: 1 },
    { type: "tool-call-delta", arguments: '{"input":"a' },
    { type: "tool-call-delta", arguments: '{"b":1}', choice: 1 },
    { type: "tool-call-end", choice: 1 },
    { type: "tool-call-delta", arguments: 'b"}' },
    { type: "tool-call-end" },
  ];
  expect(events.flatMap(restore)).toEqual([
    { type: "tool-call-start", id: "1", name: "sql", custom: true },
    { type: "tool-call-start", id: "2", name: "other", choice: 1 },
    { type: "tool-call-delta", arguments: "a" },
    { type: "tool-call-delta", arguments: '{"b":1}', choice: 1 },
    { type: "tool-call-end", choice: 1 },
    { type: "tool-call-delta", arguments: "b" },
    { type: "tool-call-end" },
  ]);
});

test("nothing is touched where nothing was changed", () => {
  const event: StreamEvent = { type: "tool-call-delta", arguments: "{" };
  expect(restoreEvents({ toolNames: new Map(), customTools: new Set() })(event)[0]).toBe(event);
});
