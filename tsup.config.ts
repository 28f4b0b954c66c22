import { defineConfig } from "tsup";
import pkg from "./package.json" with { type: "json" };

/** One entry per JavaScript export of package.json, plus the command. */
const entries = [
  ...Object.values(pkg.exports).flatMap((target) => (typeof target === "string" ? [] : [target.default])),
  pkg.bin.turnpike,
].map((file) => file.replace("./dist/", "").replace(/\.js$/, ""));

export default defineConfig({
  entry: Object.fromEntries(entries.map((name) => [name, `src/${name}.ts`])),
  format: "esm",
  target: "node22",
  platform: "node",
  splitting: true,
  sourcemap: true,
  clean: true,
  removeNodeProtocol: false,
  dts: process.env.TURNPIKE_NO_DTS
    ? false
    : {
        entry: Object.fromEntries(
          entries.filter((name) => !name.startsWith("cli/")).map((name) => [name, `src/${name}.ts`]),
        ),
      },
});
