/** Process: one thing at a time, in process, without sockets, by mitata. Arguments: folder of the build, `smoke`. */
import { codecs } from "./codecs.ts";
import { pipeline } from "./pipeline.ts";

const [dist, smoke] = process.argv.slice(2) as [string, string | undefined];
const isSmoke = smoke === "smoke";

process.send!({
  type: "done",
  results: [...(await pipeline(dist, isSmoke)), ...(await codecs(isSmoke))],
});
