/**
 * Process: the load. Keep-alive connections on raw sockets, each asking again as soon as it has its whole answer, until
 * a fixed number of requests is answered.
 */
import { connect, type Socket } from "node:net";

export interface Job {
  type: "run" | "hold";
  port: number;
  path: string;
  headers: Record<string, string>;
  body: string;
  connections: number;
  requests: number;
}

export interface Loaded {
  type: "done";
  requests: number;
  errors: number;
  /** The first answer that was not 200, for the message. */
  firstError?: string;
  elapsedMs: number;
  /** ms */
  p50: number;
  p95: number;
  p99: number;
}

const TIMEOUT_MS = 120_000;
const END = Buffer.from("\r\n0\r\n\r\n");

function bytesOf({ path, headers, body }: Job): Buffer {
  const lines = Object.entries({ host: "bench", ...headers, "content-length": String(Buffer.byteLength(body)) });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return Buffer.from(`POST ${path} HTTP/1.1\r\n${head}\r\n${body}`);
}

/** One answer as it arrives: `feed` is true when it is whole. */
class Answer {
  status = 0;
  text = "";
  #missing = -1;
  #tail: Buffer = Buffer.alloc(0);

  feed(chunk: Buffer): boolean {
    if (this.status !== 0) return this.#more(chunk, 0);
    const end = chunk.indexOf("\r\n\r\n");
    // Every server here writes its head at once.
    if (end === -1) throw new Error("half a head");
    const head = chunk.toString("latin1", 0, end);
    this.status = Number(head.slice(9, 12));
    if (this.status !== 200) this.text = chunk.toString("utf8");
    const length = /content-length: *(\d+)/i.exec(head);
    this.#missing = length ? Number(length[1]) : -1;
    return this.#more(chunk, end + 4);
  }

  #more(chunk: Buffer, from: number): boolean {
    if (this.#missing >= 0) {
      this.#missing -= chunk.length - from;
      return this.#missing === 0;
    }
    const tail = chunk.length - from >= END.length ? chunk.subarray(chunk.length - END.length) : undefined;
    this.#tail = tail ?? Buffer.concat([this.#tail, chunk.subarray(from)]).subarray(-END.length);
    return this.#tail.equals(END);
  }
}

function run(job: Job): Promise<Loaded> {
  const bytes = bytesOf(job);
  const times = new Float64Array(job.requests);
  let asked = 0;
  let answered = 0;
  let errors = 0;
  let firstError: string | undefined;
  const started = performance.now();
  return new Promise((resolve) => {
    const sockets: Socket[] = [];
    const finish = () => {
      clearTimeout(timer);
      for (const socket of sockets) socket.destroy();
      const sorted = times.subarray(0, answered).toSorted();
      const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
      resolve({
        type: "done",
        requests: answered,
        errors,
        ...(firstError !== undefined && { firstError }),
        elapsedMs: performance.now() - started,
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
      });
    };
    const fail = (why: string) => {
      errors++;
      firstError ??= why;
    };
    const timer = setTimeout(() => {
      fail(`no end within ${TIMEOUT_MS} ms: ${answered} of ${job.requests}`);
      finish();
    }, TIMEOUT_MS);

    function open(): void {
      const socket = connect({ port: job.port, host: "127.0.0.1", noDelay: true });
      sockets.push(socket);
      let answer = new Answer();
      let began = 0;
      const ask = () => {
        if (asked === job.requests) return;
        asked++;
        answer = new Answer();
        began = performance.now();
        socket.write(bytes);
      };
      socket.on("connect", ask);
      socket.on("data", (chunk: Buffer) => {
        if (!answer.feed(chunk)) return;
        if (answer.status !== 200) fail(answer.text.slice(0, 400));
        times[answered++] = performance.now() - began;
        if (answered === job.requests) finish();
        else ask();
      });
      socket.on("error", (error) => {
        fail(error.message);
        times[answered++] = performance.now() - began;
        if (answered === job.requests) finish();
      });
    }
    for (let i = 0; i < Math.min(job.connections, job.requests); i++) open();
  });
}

let held: Socket[] = [];

/** Opens streams and leaves them open; done when each has sent something. */
async function hold(job: Job): Promise<Loaded> {
  const bytes = bytesOf(job);
  const started = performance.now();
  let errors = 0;
  let firstError: string | undefined;
  const open = () =>
    new Promise<void>((resolve) => {
      const socket = connect({ port: job.port, host: "127.0.0.1", noDelay: true }, () => socket.write(bytes));
      held.push(socket);
      socket.once("data", (chunk: Buffer) => {
        if (chunk.toString("latin1", 9, 12) !== "200") {
          errors++;
          firstError ??= chunk.toString("utf8").slice(0, 400);
        }
        socket.on("data", () => {});
        resolve();
      });
      socket.on("error", () => resolve());
    });
  const opening: Promise<void>[] = [];
  for (let i = 0; i < job.connections; i++) {
    opening.push(open());
    // Not all in one burst: the queue of a listening socket is not what is measured.
    if (i % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await Promise.all(opening);
  const elapsedMs = performance.now() - started;
  return {
    type: "done",
    requests: held.length,
    errors,
    ...(firstError && { firstError }),
    elapsedMs,
    p50: 0,
    p95: 0,
    p99: 0,
  };
}

process.on("message", (job: Job | { type: "drop" }) => {
  if (job.type === "drop") {
    for (const socket of held) socket.destroy();
    held = [];
    return;
  }
  void (job.type === "run" ? run(job) : hold(job)).then((result) => process.send!(result));
});
process.send!({ type: "ready", port: 0 });
