// Installs what package-lock.json asks for, when it is not there yet. Runs on any Node that npm runs on, without
// dependencies: it is what brings them.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const wanted = `${root}package-lock.json`;
const installed = `${root}node_modules/.package-lock.json`;

if (!isInstalled()) {
  process.stderr.write("Installing dependencies…\n");
  const npm = process.env.npm_execpath;
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  // npm's own Node, not the one in node_modules, which is about to be replaced.
  const { status, error } = npm?.endsWith(".js")
    ? spawnSync(process.env.npm_node_execpath ?? process.execPath, [npm, ...args], options())
    : spawnSync("npm", args, { ...options(), shell: process.platform === "win32" });
  if (error || status !== 0) {
    process.stderr.write(
      `\nThe dependencies could not be installed${error ? ` (${error.message})` : ""}. ` +
        "Is the npm registry within reach? Once it is, run the same command again.\n",
    );
    process.exit(status || 1);
  }
}

function options() {
  // npm reports on stdout; the output of the command that follows stays clean.
  return { cwd: root, stdio: ["ignore", process.stderr, process.stderr] };
}

function isInstalled() {
  if (!existsSync(installed)) return false;
  if (statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return true;
  // A checkout makes files new without changing them: what counts is what they say.
  const there = packagesOf(installed);
  return Object.entries(packagesOf(wanted)).every(
    ([path, { version, optional, devOptional }]) =>
      path === "" || (there[path] ? there[path].version === version : Boolean(optional || devOptional)),
  );
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, "utf8")).packages ?? {};
}
