/**
 * `node bench/cache/run.ts`: what a hit costs, and a search by meaning. See docs/cache.md.
 *
 *   --only NAME   hits or vectors; may be repeated
 *   --smoke       a little of everything; nothing about time
 */
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { short, table } from "../statistics.ts";
import { hits } from "./hits.ts";
import { vectors } from "./vectors.ts";

const { values: options } = parseArgs({
  options: { only: { type: "string", multiple: true, default: [] }, smoke: { type: "boolean", default: false } },
});
const { smoke } = options;
const wanted = (name: string) => options.only.length === 0 || options.only.includes(name);

console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores; Node ${process.version}; load ${short(loadavg()[0]!)} before the start\n`,
);
if (wanted("hits")) console.log(`${table(await hits(smoke))}\n`);
if (wanted("vectors")) console.log(`${table(await vectors(smoke ? [1_000] : [10_000, 100_000], smoke))}\n`);
