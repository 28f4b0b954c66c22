import { describe, expect, test } from "vitest";
import type { ByteSink, ByteSource } from "../../src/core/provider.ts";
import { readAll } from "../../src/core/read-all.ts";
import { JsonBody } from "../../src/core/reply.ts";

interface Hand extends ByteSource {
  sink: ByteSink | undefined;
  cancelled: boolean;
}

/** A body that is there at once as far as `chunks` go; the rest is sent by hand. */
function body(chunks: readonly Uint8Array[], ended: boolean): Hand {
  return {
    sink: undefined,
    cancelled: false,
    start(sink) {
      this.sink = sink;
      for (const chunk of chunks) if (!this.cancelled) sink.data(chunk);
      if (ended && !this.cancelled) sink.end();
    },
    pause() {},
    resume() {},
    cancel() {
      this.cancelled = true;
    },
  };
}

describe("reading a body whole", () => {
  const [a, b] = [Buffer.from("one "), new Uint8Array(Buffer.from("two"))];

  test("needs no promise where all of it is there", () => {
    expect(readAll(body([a, b], true), 100)).toEqual(Buffer.from("one two"));
    expect(readAll(body([], true), 100)).toEqual(Buffer.alloc(0));
  });

  test("copies nothing where it is one chunk, of whatever kind", () => {
    for (const chunk of [a, b]) {
      const bytes = readAll(body([chunk], true), 100) as Buffer;
      expect(Buffer.isBuffer(bytes)).toBe(true);
      expect([bytes.buffer, bytes.byteOffset, bytes.length]).toEqual([chunk.buffer, chunk.byteOffset, chunk.length]);
    }
  });

  test("waits for what comes later", async () => {
    const later = body([a], false);
    const bytes = readAll(later, 100);
    later.sink!.data(b);
    later.sink!.end();
    expect(await bytes).toEqual(Buffer.from("one two"));
  });

  test.each([true, false])("fails where it breaks, at once: %s", async (at) => {
    const broken = body([], false);
    const start = broken.start.bind(broken);
    if (at) broken.start = (sink) => sink.error(new Error("reset"));
    else broken.start = start;
    const bytes = readAll(broken, 100);
    if (!at) broken.sink!.error(new Error("reset"));
    await expect(bytes).rejects.toThrow("reset");
  });

  test("stops above the limit", async () => {
    const long = body([a, b, a], true);
    await expect(readAll(long, 7)).rejects.toMatchObject({ code: "upstream_invalid" });
    expect(long.cancelled).toBe(true);
    expect(await readAll(body([a, b], true), 7)).toHaveLength(7);
  });
});

describe("a whole answer", () => {
  test("that is an object is written once, as text where each of its bytes is a character", () => {
    const plain = new JsonBody({ value: { a: "b" } });
    expect(plain.text).toBe('{"a":"b"}');
    expect(plain.bytes).toEqual(Buffer.from('{"a":"b"}'));
    const other = new JsonBody({ value: { a: "é" } });
    expect(other.text).toBeUndefined();
    expect(other.bytes).toEqual(Buffer.from('{"a":"é"}'));
    expect(other.value).toEqual({ a: "é" });
  });

  test("that came as bytes is read when it is asked for", () => {
    const bytes = Buffer.from('{"a":"é"}');
    expect(new JsonBody({ bytes }).value).toEqual({ a: "é" });
    expect(new JsonBody({ bytes }).text).toBeUndefined();
    const ascii = Buffer.from('{"a":1}');
    const body = new JsonBody({ bytes: ascii, text: '{"a":1}' });
    expect([body.text, body.bytes, body.value]).toEqual(['{"a":1}', ascii, { a: 1 }]);
  });
});
