import { connect, type Socket } from "node:net";
import { bytesOf, type LeaveJob, type Loaded, type OpenJob, Tally } from "./job.ts";

/** How a chunked answer ends. */
const END = "0\r\n\r\n";

let held: Socket[] = [];

/** Opens streams and leaves them open; done when each has sent something. */
export async function open(job: OpenJob): Promise<Loaded> {
  const bytes = bytesOf(job);
  const tally = new Tally(job.connections);
  const one = () =>
    new Promise<void>((resolve) => {
      const socket = connect({ port: job.port, host: "127.0.0.1", noDelay: true }, () => socket.write(bytes));
      const began = performance.now();
      held.push(socket);
      const answered = (problem?: string) => {
        socket.off("error", failed);
        socket.on("error", () => {});
        tally.add(performance.now() - began, problem);
        resolve();
      };
      const failed = (error: Error) => answered(error.message);
      socket.on("error", failed);
      socket.once("data", (chunk: Buffer) => {
        socket.on("data", () => {});
        answered(problemOf(chunk));
      });
    });
  const opening: Promise<void>[] = [];
  for (let i = 0; i < job.connections; i++) {
    opening.push(one());
    // Not all in one burst: the queue of a listening socket is not what is measured.
    if (i % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await Promise.all(opening);
  return tally.done();
}

export function drop(): void {
  for (const socket of held) socket.destroy();
  held = [];
}

/** After how many pieces of the answer a caller leaves, in turn: at once, after the first, in the middle. */
const LEAVE_AFTER = [0, 1, 10];

/** Callers who leave, politely (FIN) and rudely (RST) in turn. */
export async function leave(job: LeaveJob): Promise<Loaded> {
  const bytes = bytesOf(job);
  const tally = new Tally(job.requests);
  let begun = 0;
  const one = () =>
    new Promise<void>((resolve) => {
      const number = begun++;
      const pieces = LEAVE_AFTER[number % LEAVE_AFTER.length]!;
      const began = performance.now();
      let seen = 0;
      let problem: string | undefined;
      const socket = connect({ port: job.port, host: "127.0.0.1", noDelay: true }, () => {
        socket.write(bytes);
        if (pieces === 0) go();
      });
      const go = () => (number % 2 === 0 ? socket.destroy() : socket.resetAndDestroy());
      socket.on("data", (chunk: Buffer) => {
        if (seen === 0) problem = problemOf(chunk);
        // Chunks may come together: who has the whole answer leaves all the same.
        if (++seen >= pieces || chunk.toString("latin1").endsWith(END)) go();
      });
      socket.on("error", (error) => {
        problem ??= error.message;
      });
      socket.on("close", () => {
        tally.add(performance.now() - began, problem);
        resolve();
      });
    });
  const caller = async () => {
    while (begun < job.requests) await one();
  };
  await Promise.all(Array.from({ length: Math.min(job.connections, job.requests) }, caller));
  return tally.done();
}

const problemOf = (first: Buffer) =>
  first.toString("latin1", 9, 12) === "200" ? undefined : first.toString("utf8").slice(0, 400);
