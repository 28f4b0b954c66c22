/**
 * node scripts/specs/main.ts FOLDER [--cases N] [--seed N]
 *
 * Writes arbitrary requests of every caller dialect for Mistral and OpenAI, and holds what goes out against the
 * OpenAPI documents in FOLDER. Exit code 1 when one is not valid.
 */
import { parseArgs } from "node:util";
import { documents } from "./documents.ts";
import { run } from "./run.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cases: { type: "string", default: "1000" }, seed: { type: "string", default: "20261122" } },
});
const [folder] = positionals;
if (folder === undefined || positionals.length > 1) {
  console.error("usage: node scripts/specs/main.ts FOLDER [--cases N] [--seed N]");
  process.exit(2);
}
const { passed, failures } = run(documents(folder), Number(values.cases), Number(values.seed));
for (const [fault, { count, body }] of failures) console.log(`${count} x ${fault}\n  ${body.slice(0, 1000)}`);
const failed = [...failures.values()].reduce((sum, { count }) => sum + count, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
