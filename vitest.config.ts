import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const src = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^turnpike$/, replacement: src("index.ts") },
      { find: /^turnpike\/providers$/, replacement: src("providers/index.ts") },
      { find: /^turnpike\/stores\/(.*)$/, replacement: src("stores/$1.ts") },
      { find: /^turnpike\/caches\/(.*)$/, replacement: src("caches/$1.ts") },
      { find: /^turnpike\/keys\/(.*)$/, replacement: src("keys/$1.ts") },
      { find: /^turnpike\/testing$/, replacement: src("testing/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    pool: "forks",
    // Much of the time is spent waiting for sockets, timers and child processes.
    maxWorkers: 2,
  },
});
