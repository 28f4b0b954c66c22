import { messageOf } from "./errors.ts";
import type { Running } from "./server.ts";

/** Signals this close together are one: npm passes on what the terminal has sent already. */
const SAME_SIGNAL_MS = 500;

/**
 * The first signal drains and ends the process, a second one does not wait.
 * @returns what drains without a signal; once, however often and by whomever it is asked for
 */
export function stopOnSignal(running: Running): () => void {
  let isStopping = false;
  let since: number | undefined;

  function stop(): void {
    if (isStopping) return;
    isStopping = true;
    running.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`turnpike: while stopping: ${messageOf(error)}\n`);
        process.exit(1);
      },
    );
  }

  function onSignal(signal: NodeJS.Signals): void {
    since ??= performance.now();
    if (performance.now() - since > SAME_SIGNAL_MS) process.exit(signal === "SIGINT" ? 130 : 143);
    stop();
  }
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return stop;
}
