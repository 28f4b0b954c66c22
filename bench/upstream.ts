/**
 * Process: the upstream that everything in the benchmark asks. Raw sockets and answers made beforehand, so that it
 * costs next to nothing. The first segment of the path says how it answers:
 * `/json` at once · `/burst` a stream in one write · `/paced` a chunk every 8 ms · `/slow` a chunk every second, for ever.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { answer, streamChunks, type Wire } from "./bodies.ts";

const PACE_MS = 8;
const SLOW_MS = 1_000;

const head = (type: string, more: string) => `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n${more}\r\n\r\n`;
const chunked = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const END = "0\r\n\r\n";

function prepare(wire: Wire) {
  const body = answer(wire);
  const opening = head("text/event-stream; charset=utf-8", "transfer-encoding: chunked");
  const chunks = streamChunks(wire).map(chunked);
  const first = chunks.shift()!;
  return {
    json: Buffer.from(head("application/json", `content-length: ${Buffer.byteLength(body)}`) + body),
    burst: Buffer.from(opening + first + chunks.join("") + END),
    opening: Buffer.from(opening + first),
    chunks: chunks.map((chunk, n) => Buffer.from(n === chunks.length - 1 ? chunk + END : chunk)),
  };
}

const prepared = { chat: prepare("chat"), anthropic: prepare("anthropic") };

function reply(socket: Socket, path: string): void {
  const { json, burst, opening, chunks } = path.endsWith("/messages") ? prepared.anthropic : prepared.chat;
  if (path.startsWith("/json")) socket.write(json);
  else if (path.startsWith("/burst")) socket.write(burst);
  else {
    const slow = path.startsWith("/slow");
    socket.write(opening);
    let next = 0;
    const timer = setInterval(
      () => {
        if (socket.destroyed) return clearInterval(timer);
        socket.write(chunks[next++]!);
        if (slow) next = 1;
        else if (next === chunks.length) clearInterval(timer);
      },
      slow ? SLOW_MS : PACE_MS,
    );
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  let path = "";
  let missing = 0;
  let begun = "";
  socket.on("data", (chunk: Buffer) => {
    if (missing > 0) {
      missing -= chunk.length;
    } else {
      const end = chunk.indexOf("\r\n\r\n");
      begun += chunk.toString("latin1", 0, end === -1 ? chunk.length : end);
      if (end === -1) return;
      path = begun.slice(begun.indexOf(" ") + 1, begun.indexOf(" HTTP/"));
      const length = Number(/content-length: *(\d+)/i.exec(begun)?.[1] ?? 0);
      begun = "";
      missing = length - (chunk.length - end - 4);
    }
    if (missing === 0) reply(socket, path);
  });
  socket.on("error", () => socket.destroy());
});

server.listen(0, "127.0.0.1", 4_096, () => {
  process.send!({ type: "ready", port: (server.address() as AddressInfo).port });
});
