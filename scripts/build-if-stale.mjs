// Builds dist (without declarations) when something in src is newer than it.
import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const built = statSync(`${root}dist/cli/main.js`, { throwIfNoEntry: false })?.mtimeMs ?? 0;

// Folders count too: they change when a file goes.
const sources = readdirSync(`${root}src`, { recursive: true }).map((name) => `src/${name}`);
const newest = Math.max(
  ...["src", "package.json", "tsup.config.ts", ...sources].map((path) => statSync(root + path).mtimeMs),
);

if (newest > built) {
  const { status } = spawnSync(process.execPath, [`${root}node_modules/tsup/dist/cli-default.js`, "--silent"], {
    cwd: root,
    env: { ...process.env, TURNPIKE_NO_DTS: "1" },
    stdio: ["ignore", process.stderr, "inherit"],
  });
  process.exit(status ?? 1);
}
