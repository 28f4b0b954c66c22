import { Connection } from "./connection.ts";
import { bytesOf, type Loaded, type LoopJob, Tally } from "./job.ts";

const PATIENCE_MS = 120_000;

/** Closed loop: the next request of a connection waits for its answer. */
export function loop(job: LoopJob): Promise<Loaded> {
  const bytes = bytesOf(job);
  const tally = new Tally(job.requests);
  const until = performance.now() + (job.ms ?? Number.POSITIVE_INFINITY);
  let asked = 0;
  return new Promise((resolve) => {
    const connections = new Map<Connection, number>();
    const finish = (problem?: string) => {
      clearTimeout(timer);
      for (const connection of connections.keys()) connection.close();
      resolve(tally.done(problem));
    };
    const timer = setTimeout(() => finish(`no end: ${tally.answered} of ${asked} answered`), PATIENCE_MS);
    const ask = (connection: Connection) => {
      if (asked === job.requests || performance.now() > until || !connection.isOpen) {
        if (tally.answered === asked) finish();
        return;
      }
      asked++;
      connections.set(connection, performance.now());
      connection.ask();
    };
    for (let i = 0; i < Math.min(job.connections, job.requests); i++) {
      const opened = new Connection(job.port, bytes, (connection, problem) => {
        tally.add(performance.now() - connections.get(connection)!, problem);
        ask(connection);
      });
      ask(opened);
    }
  });
}
