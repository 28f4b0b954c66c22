/**
 * npm run recordings -- FOLDER [--verbose] [--only TEXT]
 *
 * Replays recorded provider traffic through our codecs. Exit code 1 when any recording fails.
 */
import { parseArgs } from "node:util";
import { report } from "./report.ts";
import { type Result, runFolder } from "./run.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { verbose: { type: "boolean", default: false }, only: { type: "string", default: "" } },
});
const [folder] = positionals;
if (folder === undefined || positionals.length > 1) {
  console.error("usage: npm run recordings -- FOLDER [--verbose] [--only TEXT]");
  process.exit(2);
}
const results: Result[] = [];
for await (const result of runFolder(folder, values)) results.push(result);
const { lines, failed } = report(results, values.verbose);
console.log(lines.join("\n"));
process.exitCode = failed > 0 ? 1 : 0;
