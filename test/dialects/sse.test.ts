import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RawFrame } from "../../src/core/dialect.ts";
import { sseReader } from "../../src/dialects/sse.ts";

function read(chunks: readonly Uint8Array[]): RawFrame[] {
  const frames: RawFrame[] = [];
  const reader = sseReader(({ event, data }) => frames.push({ event, data }));
  for (const chunk of chunks) reader.feed(chunk);
  reader.end();
  return frames;
}

/** Every chunk this long, but for the last one. */
function inPieces(bytes: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

describe("reading server-sent events", () => {
  const data = fc.array(
    fc.string({ unit: "grapheme" }).map((text) => text.replace(/[\r\n\0]/g, "")),
    { minLength: 1 },
  );
  const event = fc.record({ event: fc.constantFrom(undefined, "delta", "東京"), data });
  const eol = fc.constantFrom("\n", "\r\n", "\r");

  test("tells the same however the bytes are cut, inside characters too", () => {
    fc.assert(
      fc.property(fc.array(event), eol, fc.boolean(), fc.integer({ min: 1, max: 9 }), (events, end, marked, size) => {
        const written = events.map((each) =>
          [...(each.event ? [`event: ${each.event}`] : []), ...each.data.map((line) => `data: ${line}`), "", ""].join(
            end,
          ),
        );
        const bytes = Buffer.from((marked ? "\uFEFF" : "") + written.join(""));
        const expected = events.map((each) => ({ event: each.event, data: each.data.join("\n") }));
        expect(read([bytes])).toEqual(expected);
        expect(read(inPieces(bytes, size))).toEqual(expected);
        expect(read(inPieces(bytes, size).map((piece) => new Uint8Array(piece)))).toEqual(expected);
      }),
    );
  });

  test("a byte order mark inside the stream is text, also at the start of a chunk that ends inside a character", () => {
    const bytes = Buffer.from("data: a\n\ndata: \uFEFFé\n\n");
    const mark = bytes.indexOf(0xef);
    const cut = bytes.indexOf(0xa9);
    expect(read([bytes.subarray(0, mark), bytes.subarray(mark, cut), bytes.subarray(cut)])).toEqual([
      { data: "a" },
      { data: "\uFEFFé" },
    ]);
  });

  test("bytes that are no characters become the same replacement wherever they are cut", () => {
    const bytes = Buffer.from([...Buffer.from("data: a"), 0xff, 0xe2, 0x82, ...Buffer.from("b\n\n")]);
    for (let size = 1; size < bytes.length; size++) expect(read(inPieces(bytes, size))).toEqual(read([bytes]));
    expect(read([bytes])).toEqual([{ data: "a\uFFFD\uFFFDb" }]);
  });

  test("an event larger than 16 MiB is refused", () => {
    const megabyte = Buffer.alloc(1024 * 1024, "x");
    const reader = sseReader(() => {});
    reader.feed(Buffer.from("data: "));
    expect(() => {
      for (let i = 0; i < 17; i++) reader.feed(megabyte);
    }).toThrow(/16 MiB/);
  });
});
