/** Builds Turnpike as it is published, to a folder of its own, so that `dist` and whoever uses it are left alone. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** @returns the folder with `index.js`, in one with `package.json`, as in the package */
export function build(root: string): string {
  const source = resolve(root);
  // Below node_modules, so that the dependencies are found and git sees nothing.
  const name = createHash("sha256").update(source).digest("hex").slice(0, 8);
  const out = join(source, "node_modules", ".cache", `turnpike-bench-${name}`, "dist");
  const { status } = spawnSync(
    process.execPath,
    [join(source, "node_modules/tsup/dist/cli-default.js"), "--silent", "--out-dir", out],
    { cwd: source, env: { ...process.env, TURNPIKE_NO_DTS: "1" }, stdio: ["ignore", "ignore", "inherit"] },
  );
  if (status !== 0) throw new Error(`bench: ${source} does not build`);
  copyFileSync(join(source, "package.json"), join(out, "../package.json"));
  return out;
}
