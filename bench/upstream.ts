/**
 * Process: the upstream that everything in the benchmark asks. Raw sockets and answers made beforehand, so that it
 * costs next to nothing. The first segment of the path says how it answers: see `WAYS`.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { answer, LONG, SHORT, streamChunks, type Way, type Wire } from "./bodies.ts";

const PACE_MS = 8;
const SLOW_MS = 1_000;

const head = (type: string, more: string) => `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n${more}\r\n\r\n`;
const chunked = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const END = "0\r\n\r\n";

type Reply = (socket: Socket) => void;

function replies(wire: Wire): Record<Way, Reply> {
  const body = answer(wire);
  const json = Buffer.from(head("application/json", `content-length: ${Buffer.byteLength(body)}`) + body);
  const long = streams(wire, LONG);
  const short = streams(wire, SHORT);
  return {
    json: (socket) => socket.write(json),
    burst: long.burst,
    "burst-short": short.burst,
    paced: long.paced,
    "paced-short": short.paced,
    slow: long.slow,
  };
}

function streams(wire: Wire, count: number) {
  const beginning = head("text/event-stream; charset=utf-8", "transfer-encoding: chunked");
  const texts = streamChunks(wire, count).map(chunked);
  const whole = Buffer.from(beginning + texts.join("") + END);
  const chunks = texts.map((chunk) => Buffer.from(chunk));
  chunks[0] = Buffer.from(beginning + texts[0]!);
  chunks[count - 1] = Buffer.from(texts[count - 1]! + END);
  // As far as the first words, before which a gateway may wait for them.
  const opening = Buffer.from(beginning + texts.slice(0, 3).join(""));
  const every = (socket: Socket, ms: number, next: () => Buffer | undefined) => {
    const timer = setInterval(() => {
      const chunk = socket.destroyed ? undefined : next();
      if (chunk) socket.write(chunk);
      else clearInterval(timer);
    }, ms);
  };
  return {
    burst: (socket: Socket) => socket.write(whole),
    paced: (socket: Socket) => {
      let sent = 1;
      socket.write(chunks[0]!);
      every(socket, PACE_MS, () => chunks[sent++]);
    },
    slow: (socket: Socket) => {
      socket.write(opening);
      every(socket, SLOW_MS, () => chunks[3]);
    },
  };
}

const chat = replies("chat");
const anthropic = replies("anthropic");

/** `/json/v1/messages` */
function reply(socket: Socket, path: string): void {
  const way = path.slice(1, path.indexOf("/", 1)) as Way;
  (path.endsWith("/messages") ? anthropic : chat)[way](socket);
}

let open = 0;
const server = createServer({ noDelay: true }, (socket) => {
  let path = "";
  let missing = 0;
  let begun = "";
  open++;
  socket.on("close", () => open--);
  socket.on("error", () => socket.destroy());
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
});

process.on("message", ({ type }: { type?: string }) => {
  if (type === "sockets") process.send!({ type: "sockets", open });
});
server.listen(0, "127.0.0.1", 4_096, () => {
  process.send!({ type: "ready", port: (server.address() as AddressInfo).port });
});
