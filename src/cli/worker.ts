/** One of the processes of `turnpike --workers N`. */
import cluster from "node:cluster";
import { CliError } from "./errors.ts";
import { load } from "./load.ts";
import { build, listen, type Running } from "./server.ts";
import { stopOnSignal } from "./stop.ts";
import type { Order, Report, Task } from "./workers.ts";

/** Serves at the address that all of them share, until the first process says stop, or is gone. */
export async function work(): Promise<void> {
  // As long as it serves nothing there is nothing to wait for.
  let stop = (): void => process.exit(0);
  const task = await new Promise<Task>((resolve) => {
    process.on("message", (order: Order) => (order === "stop" ? stop() : resolve(order)));
    void report("ready");
  });
  const running = await start(task).catch(fail);
  stop = stopOnSignal(running);
  cluster.worker!.on("disconnect", () => {
    // The first process is gone. Without this Node would end this one at once, and its answers with it.
    cluster.worker!.exitedAfterDisconnect = true;
    stop();
  });
  await report("listens");
}

async function start({ config, file, host, port }: Task): Promise<Running> {
  return listen(build(await load(file, { config })), host, port, true);
}

/** The first process prints it: once, though all of them fail alike. */
async function fail(error: unknown): Promise<never> {
  if (!(error instanceof CliError)) throw error;
  await report({ error: error.message });
  process.exit(1);
}

const report = (what: Report) => new Promise((told) => process.send!(what, told));
