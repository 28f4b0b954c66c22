// `npm start`: installs what is missing, builds what is stale, starts the gateway on the Node of devDependencies.
// Ctrl-C and SIGTERM that npm is sent end the gateway too.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

await import("./setup.mjs");

const file = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const own = file(`node_modules/node/bin/node${process.platform === "win32" ? ".exe" : ""}`);
const node = existsSync(own) ? own : process.execPath;

const built = spawnSync(node, [file("scripts/build-if-stale.mjs")], { stdio: "inherit" });
if (built.status !== 0) process.exit(built.status ?? 1);

const gateway = spawn(node, [file("dist/cli/main.js"), ...process.argv.slice(2)], { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => gateway.kill(signal));
if (process.env.npm_lifecycle_event) {
  // npm gives SIGTERM to its shell, and many a shell dies of it without telling anybody.
  const shell = process.ppid;
  setInterval(() => process.ppid === shell || gateway.kill("SIGTERM"), 250).unref();
}
gateway.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
