/** `turnpike --workers N`: this process starts the others and replaces those that end; it serves nothing itself. */
import cluster, { type Worker } from "node:cluster";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../gateway/config.ts";
import { CliError } from "./errors.ts";
import { type Running, urlOf } from "./server.ts";

/** Before a worker is replaced; doubles as long as they live shorter than the longest pause. */
const SHORTEST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

/** What a worker has to serve, and where. */
export interface Task {
  /** As this process has read it; absent for a module, which every process has to load by itself. */
  config: Config | undefined;
  file: string | undefined;
  host: string;
  port: number;
}

/** What a worker is told. */
export type Order = Task | "stop";

/** What a worker tells: that it takes orders, that it listens, or why it does not. */
export type Report = "ready" | "listens" | { error: string };

interface Hired {
  readonly worker: Worker;
  readonly listens: Promise<void>;
  /** `exit code 1`, `SIGKILL` */
  readonly ended: Promise<string>;
}

/** @throws CliError of the first worker that cannot start; the others end with this process */
export async function startWorkers(count: number, task: Task): Promise<Running> {
  const crew = new Set<Hired>();
  let isStopping = false;
  process.on("exit", () => {
    for (const { worker } of crew) worker.process.kill("SIGKILL");
  });

  function hire(): Hired {
    const worker = cluster.fork({ TURNPIKE_WORKER: "1" });
    const ended = new Promise<string>((resolve) => {
      // Not at once: what it told last may still be waiting to be read.
      worker.once("exit", (code, signal) => setImmediate(resolve, signal ?? `exit code ${code}`));
      worker.once("error", (error) => resolve(error.message));
    });
    const listens = new Promise<void>((resolve, reject) => {
      worker.on("message", (report: Report) => {
        if (report === "ready") tell(worker, isStopping ? "stop" : task);
        else if (report === "listens") resolve();
        else reject(new CliError(report.error));
      });
      void ended.then((how) => reject(new CliError(`a worker ended (${how}) before it listened`)));
    });
    const hired = { worker, listens, ended };
    crew.add(hired);
    void ended.then(() => crew.delete(hired));
    return hired;
  }

  async function replaceForEver(hired: Hired): Promise<void> {
    for (let pauseMs = SHORTEST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      const since = performance.now();
      const how = await hired.ended;
      if (performance.now() - since > LONGEST_PAUSE_MS) pauseMs = SHORTEST_PAUSE_MS;
      await sleep(pauseMs);
      if (isStopping) return;
      say(`worker ${hired.worker.process.pid} ended (${how}); starting another`);
      hired = hire();
      hired.listens.catch((error: Error) => say(error.message));
    }
  }

  const first = Array.from({ length: count }, hire);
  await Promise.all(first.map(({ listens }) => listens));
  for (const hired of first) void replaceForEver(hired);

  return {
    url: urlOf(task.host, task.port),
    async stop() {
      isStopping = true;
      for (const { worker } of crew) tell(worker, "stop");
      const ends = await Promise.all([...crew].map(({ ended }) => ended));
      const bad = ends.find((how) => how !== "exit code 0");
      if (bad) throw new Error(`a worker ended with ${bad}`);
    },
  };
}

/** Whoever cannot be told any more has ended, and is seen to. */
function tell(worker: Worker, order: Order): void {
  worker.send(order, () => {});
}

const say = (text: string) => process.stderr.write(`turnpike: ${text}\n`);
