import { Connection } from "./connection.ts";
import { bytesOf, type Loaded, type RateJob, Tally } from "./job.ts";

const PATIENCE_MS = 20_000;

/**
 * Open loop: requests fall due every millisecond at a fixed rate, whether or not earlier ones are answered. Times count
 * from the moment a request was due, so that what waits for a slow gateway is not forgotten.
 */
export function atRate(job: RateJob): Promise<Loaded> {
  const bytes = bytesOf(job);
  const total = Math.round((job.perSecond * job.ms) / 1_000);
  const tally = new Tally(total);
  const started = performance.now();
  const dueAt = (request: number) => started + Math.ceil((1_000 * request) / job.perSecond);
  let asked = 0;
  return new Promise((resolve) => {
    const due = new Map<Connection, number>();
    // The one that rested longest is next, so that few are idle until the server closes them.
    const idle: Connection[] = [];
    const open = () =>
      new Connection(job.port, bytes, (connection, problem) => {
        tally.add(performance.now() - due.get(connection)!, problem);
        due.delete(connection);
        idle.push(connection);
        if (tally.answered === total) finish();
        else ask();
      });
    const finish = (problem?: string) => {
      clearInterval(timer);
      for (const connection of [...due.keys(), ...idle]) connection.close();
      resolve(tally.done(problem));
    };
    const ask = () => {
      const now = performance.now();
      while (asked < total && idle.length > 0 && dueAt(asked) <= now) {
        const rested = idle.shift()!;
        const next = rested.isOpen ? rested : open();
        due.set(next, dueAt(asked++));
        next.ask();
      }
      if (now > dueAt(total) + PATIENCE_MS) finish(`no end: ${tally.answered} of ${total} answered`);
    };
    for (let i = 0; i < job.connections; i++) idle.push(open());
    const timer = setInterval(ask, 1);
  });
}
