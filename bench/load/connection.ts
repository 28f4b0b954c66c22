import { connect, type Socket } from "node:net";

const END = Buffer.from("\r\n0\r\n\r\n");

/** A keep-alive connection with at most one request under way. */
export class Connection {
  readonly #socket: Socket;
  readonly #bytes: Buffer;
  #answer: Answer | undefined;

  /** `answered` is told the problem, if there was one; after a broken connection there is nobody to ask again. */
  constructor(port: number, bytes: Buffer, answered: (connection: Connection, problem?: string) => void) {
    this.#bytes = bytes;
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (chunk: Buffer) => {
      const answer = this.#answer;
      if (!answer?.feed(chunk)) return;
      this.#answer = undefined;
      answered(this, answer.status === 200 ? undefined : answer.text.slice(0, 400));
    });
    let problem = "the connection was closed before the answer was whole";
    this.#socket.on("error", (error) => {
      problem = error.message;
    });
    this.#socket.on("close", () => {
      if (!this.#answer) return;
      this.#answer = undefined;
      answered(this, problem);
    });
  }
  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }
  ask(): void {
    this.#answer = new Answer();
    this.#socket.write(this.#bytes);
  }
  close(): void {
    this.#answer = undefined;
    this.#socket.destroy();
  }
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
