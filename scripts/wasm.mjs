// Compiles `assembly/json-scan.ts` to a module that holds it as text, so that no build and no bundler needs to know.
// With `--check` it writes nothing, and fails where the text is not what it would write.
import { readFileSync, writeFileSync } from "node:fs";
import asc from "assemblyscript/asc";

const SOURCE = new URL("../assembly/json-scan.ts", import.meta.url);
const TARGET = new URL("../src/core/json-scan-wasm.ts", import.meta.url);
const FAST = ["-O3", "--converge", "--noAssert"];

const text = `/** \`assembly/json-scan.ts\`, compiled. Do not edit: \`npm run wasm\` writes it. */
export const JSON_SCAN_WASM =
  "${Buffer.from(await compile()).toString("base64")}";
`;
if (!process.argv.includes("--check")) writeFileSync(TARGET, text);
else if (readFileSync(TARGET, "utf8") !== text) {
  process.stderr.write("src/core/json-scan-wasm.ts is not what assembly/json-scan.ts compiles to: npm run wasm\n");
  process.exit(1);
}

async function compile() {
  let binary;
  const { error, stderr } = await asc.main(
    ["json-scan.ts", "--outFile", "out.wasm", "--runtime", "stub", "--importMemory", "--enable", "simd", ...FAST],
    {
      readFile: (name) => (name === "json-scan.ts" ? readFileSync(SOURCE, "utf8") : null),
      writeFile: (_name, contents) => {
        binary = contents;
      },
      listFiles: () => [],
    },
  );
  if (error) throw new Error(`${error.message}\n${stderr}`);
  return binary;
}
