/** Process: the load. Raw sockets and requests made beforehand, so that it costs next to nothing. */
import type { Job, Loaded } from "./job.ts";
import { loop } from "./loop.ts";
import { atRate } from "./rate.ts";
import { drop, leave, open } from "./streams.ts";

function start(job: Job): Promise<Loaded> {
  switch (job.type) {
    case "loop":
      return loop(job);
    case "rate":
      return atRate(job);
    case "open":
      return open(job);
    case "leave":
      return leave(job);
  }
}

process.on("message", (message: Job | { type: "drop" } | { type: "probe" }) => {
  if (message.type === "drop") drop();
  else if (message.type !== "probe") void start(message).then((result) => process.send!(result));
});
process.send!({ type: "ready", port: 0 });
