import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HttpSyntaxError, ResponseReader } from "../../src/transport/response-reader.ts";

interface Heard {
  status: number;
  headers: Record<string, string>;
  body: string;
  reusable?: boolean;
}

/** Reads bytes in pieces as a socket would bring them, each into the same memory. `closed`: then the end. */
function hear(pieces: readonly Buffer[], closed = false): Heard[] {
  const heard: Heard[] = [];
  const reader = new ResponseReader({
    head: (status, headers) => heard.push({ status, headers: { ...headers }, body: "" }),
    data: (chunk) => {
      heard.at(-1)!.body += chunk.toString("latin1");
    },
    end: (reusable) => {
      heard.at(-1)!.reusable = reusable;
    },
  });
  const inbox = Buffer.alloc(Math.max(1, ...pieces.map(({ length }) => length)), "\r\n\r\nstale");
  for (const piece of pieces) {
    piece.copy(inbox);
    reader.feed(inbox, piece.length);
  }
  if (closed) reader.close();
  return heard;
}

const bytes = (text: string) => Buffer.from(text, "latin1");
const whole = (text: string, closed = false) => hear([bytes(text)], closed);
const head = (...lines: string[]) => `${["HTTP/1.1 200 OK", ...lines].join("\r\n")}\r\n\r\n`;

/** An answer as bytes, and what it says. */
const answers = fc
  .record({
    status: fc.constantFrom(200, 201, 204, 400, 429, 500, 599),
    fields: fc.dictionary(
      fc
        .stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
        .filter((name) => !/^(content-length|transfer-encoding|connection)$/.test(name)),
      fc.stringMatching(/^([!-~]([ -~]{0,30}[!-~])?)?$/),
      { maxKeys: 6, noNullPrototype: true },
    ),
    body: fc.uint8Array({ maxLength: 300 }).map((data) => Buffer.from(data).toString("latin1")),
    framing: fc.constantFrom("length", "chunks"),
    cuts: fc.array(fc.nat(300), { maxLength: 5 }),
    interim: fc.boolean(),
    upper: fc.boolean(),
  })
  .map(({ status, fields, body: given, framing, cuts, interim, upper }) => {
    const body = status === 204 ? "" : given;
    const spell = (name: string) => (upper ? name.toUpperCase() : name);
    const lines = Object.entries(fields).map(
      ([name, value]) => `${spell(name)}:${upper ? "" : " \t"}${value}${upper ? " " : ""}`,
    );
    let text = body;
    if (status !== 204) {
      if (framing === "length") lines.push(`${spell("content-length")}: ${body.length}`);
      else {
        lines.push(`${spell("transfer-encoding")}: chunked`);
        const edges = [0, ...cuts.map((at) => at % (body.length + 1)).sort((a, b) => a - b), body.length];
        const parts = edges
          .slice(1)
          .map((to, i) => body.slice(edges[i]!, to))
          .filter((part) => part !== "");
        const chunk = (part: string, i: number) => {
          const size = part.length.toString(16);
          return `${upper ? `00${size.toUpperCase()}` : size}${i % 2 ? ';a="b"' : ""}\r\n${part}\r\n`;
        };
        text = `${parts.map(chunk).join("")}0\r\n${upper ? "x-trailer: 1\r\n" : ""}\r\n`;
      }
    }
    const first = interim ? "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" : "";
    return {
      text: `${first}HTTP/1.1 ${status}${upper ? "" : " Some Words"}\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n${text}`,
      says: { status, body, fields },
    };
  });

describe("answers of HTTP/1.1", () => {
  test("say the same wherever the network cuts them, one after the other on a connection", () => {
    fc.assert(
      fc.property(
        fc.array(answers, { minLength: 1, maxLength: 3 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 90 })),
        (list, sizes) => {
          const heard: Heard[] = [];
          for (const { text } of list) {
            const pieces: Buffer[] = [];
            for (let at = 0; at < text.length; ) {
              const size = sizes.next().value as number;
              pieces.push(bytes(text.slice(at, at + size)));
              at += size;
            }
            heard.push(...hear(pieces));
          }
          expect(heard).toEqual(
            list.map(({ says }) => ({
              status: says.status,
              body: says.body,
              headers: expect.objectContaining(says.fields),
              reusable: true,
            })),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a body without a length ends with the connection", () => {
    expect(whole(`${head("x: 1")}to the end`, true)).toEqual([
      { status: 200, headers: { x: "1" }, body: "to the end", reusable: false },
    ]);
  });

  test.each([
    ["connection: close", head("connection: close", "content-length: 0"), false],
    ["Connection among others", head("Connection: X-Thing, Close", "content-length: 0"), false],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false],
    ["HTTP/1.0 that says so", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", true],
    ["two lengths at once", `${head("content-length: 3", "transfer-encoding: chunked")}0\r\n\r\n`, false],
    ["bytes after the answer", `${head("content-length: 2")}hiHTTP/1.1 200 OK\r\n\r\n`, false],
    ["an ordinary answer", `${head("content-length: 2")}hi`, true],
    ["304 without a body", "HTTP/1.1 304 Not Modified\r\ncontent-length: 40\r\n\r\n", true],
  ])("%s decides whether the connection is used again", (_, text, reusable) => {
    expect(whole(text)).toMatchObject([{ reusable }]);
  });

  test("repeated headers are joined, and names that objects have are names like others", () => {
    const [answer] = whole(head("a: 1", "A: 2", "constructor: x", "__proto__: y", "content-length: 0"));
    expect(answer!.headers.a).toBe("1, 2");
    expect(answer!.headers.constructor).toBe("x");
  });

  test("what came in one read goes on in one piece, however many chunks it was", () => {
    const pieces: string[] = [];
    const reader = new ResponseReader({ head() {}, end() {}, data: (chunk) => pieces.push(chunk.toString()) });
    const text = bytes(`${head("transfer-encoding: chunked")}3\r\nabc\r\n3\r\ndef\r\n3\r\ngh`);
    reader.feed(text, text.length);
    reader.feed(bytes("i\r\n0\r\n\r\n"), 8);
    expect(pieces).toEqual(["abcdefgh", "i"]);
  });

  test.each([
    ["no HTTP", "<html>hello</html>\r\n\r\n"],
    ["another version", "HTTP/2.0 200 OK\r\n\r\n"],
    ["a status that is no number", "HTTP/1.1 2x0 OK\r\n\r\n"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
    ["a change of protocol", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ["a header without a colon", head("nonsense")],
    ["a header without a name", head(": x")],
    ["a blank before the colon", head("content-length : 5")],
    ["a folded line", head("a: 1", " content-length: 5")],
    ["a line end that is none", head("a: 1\ncontent-length: 5")],
    ["a CR alone", head("a: 1\rcontent-length: 5")],
    ["a NUL", head("a: 1\0")],
    ["a length that is no number", head("content-length: -5")],
    ["a length in hexadecimal", head("content-length: 0x10")],
    ["two lengths that differ", head("content-length: 5", "content-length: 6")],
    ["two lengths alike", head("content-length: 5", "content-length: 5")],
    ["an unknown coding", head("transfer-encoding: gzip, chunked")],
    ["chunked twice", head("transfer-encoding: chunked", "transfer-encoding: chunked")],
    ["a chunk's size that is no number", `${head("transfer-encoding: chunked")}xyz\r\n`],
    ["an empty size", `${head("transfer-encoding: chunked")}\r\n`],
    ["a size with a sign", `${head("transfer-encoding: chunked")}+5\r\nhello\r\n`],
    ["a size above all memory", `${head("transfer-encoding: chunked")}fffffffffffff\r\n`],
    ["a size that ends without CR", `${head("transfer-encoding: chunked")}5\nhello\r\n`],
    ["an extension that ends without CR", `${head("transfer-encoding: chunked")}5;a\nhello\r\n`],
    ["a chunk longer than its size", `${head("transfer-encoding: chunked")}2\r\nhello\r\n`],
    ["a head without an end", head("a: 1").replace("a: 1", `a: ${"x".repeat(70_000)}`)],
    ["an endless extension", `${head("transfer-encoding: chunked")}5;${"x".repeat(20_000)}`],
    ["endless trailers", `${head("transfer-encoding: chunked")}0\r\n${"a: 1\r\n".repeat(4_000)}`],
  ])("%s is refused", (_, text) => {
    expect(() => whole(text)).toThrow(HttpSyntaxError);
    // … also one byte at a time.
    expect(() => hear([...text].map(bytes))).toThrow(HttpSyntaxError);
  });

  test.each([
    ["in its head", "HTTP/1.1 200 OK\r\nconte"],
    ["in its body", `${head("content-length: 5")}hel`],
    ["in a chunk", `${head("transfer-encoding: chunked")}5\r\nhel`],
    ["before the last chunk", `${head("transfer-encoding: chunked")}5\r\nhello\r\n`],
    ["before anything came", ""],
  ])("an answer cut off %s is an error, not an end", (_, text) => {
    expect(() => whole(text, true)).toThrow("closed before");
  });
});
