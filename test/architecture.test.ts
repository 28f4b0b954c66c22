import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const src = fileURLToPath(new URL("../src/", import.meta.url));

/** Who may import whom: the table of CONTRIBUTING.md. A room may always import itself where `own` says so. */
const ROOMS: Record<string, { may: readonly string[]; own: "any" | "shared-only" }> = {
  core: { may: [], own: "any" },
  dialects: { may: ["core"], own: "shared-only" },
  capabilities: { may: ["core"], own: "any" },
  transport: { may: ["core"], own: "any" },
  providers: { may: ["core", "dialects", "capabilities", "transport"], own: "shared-only" },
  prices: { may: ["core"], own: "any" },
  budget: { may: ["core", "prices"], own: "any" },
  keys: { may: ["core"], own: "any" },
  caches: { may: ["core"], own: "shared-only" },
  stores: { may: ["core", "budget"], own: "shared-only" },
  middleware: {
    may: ["core", "budget", "prices", "capabilities", "dialects", "keys", "caches", "stores"],
    own: "shared-only",
  },
  gateway: {
    may: ["core", "budget", "prices", "dialects", "keys", "caches", "middleware", "providers", "stores", "http"],
    own: "any",
  },
  http: { may: ["core", "dialects", "gateway"], own: "any" },
  testing: { may: ["core", "budget"], own: "any" },
  cli: {
    may: ["core", "keys", "budget", "providers", "stores", "middleware", "gateway", "http", "prices"],
    own: "any",
  },
};

/** Files of a room that its siblings may share. */
const SHARED = new Set([
  "dialects/sse.ts",
  "dialects/openai-errors.ts",
  "providers/define.ts",
  "providers/keys.ts",
  "stores/memory.ts",
  "stores/due-queue.ts",
  "stores/sync-store.ts",
  "stores/sqlite-owner.ts",
]);

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

function imports(file: string): string[] {
  const code = readFileSync(join(src, file), "utf8");
  return [...code.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) =>
    relative(src, join(src, dirname(file), match[1]!))
      .split(sep)
      .join("/"),
  );
}

describe("the house has one-way doors", () => {
  test("every file lives in a room of the table", () => {
    const rooms = new Set(files.filter((file) => file.includes(sep)).map((file) => file.split(sep)[0]!));
    expect([...rooms].sort()).toEqual(Object.keys(ROOMS).sort());
  });

  test("imports go only where the table allows", () => {
    const wrong: string[] = [];
    for (const file of files) {
      const [room, second] = file.split(sep);
      if (second === undefined) continue;
      const { may, own } = ROOMS[room!]!;
      for (const target of imports(file)) {
        const [targetRoom, targetSecond] = target.split("/");
        if (targetRoom !== room) {
          if (!may.includes(targetRoom!)) wrong.push(`${file} → ${target}`);
        } else if (
          own === "shared-only" &&
          second !== "index.ts" &&
          targetSecond !== second.replace(/\.ts$/, "") &&
          targetSecond !== second &&
          !SHARED.has(target)
        ) {
          wrong.push(`${file} → ${target} (sideways)`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test("middleware reads event streams, but knows no wire format", () => {
    const formats = files
      .filter((f) => f.startsWith("middleware"))
      .flatMap((file) => imports(file).filter((target) => /^dialects\/(?!sse)/.test(target)));
    expect(formats).toEqual([]);
  });

  test("no vendor is named outside its provider file, its dialect and the tests' fakes", () => {
    const vendors = /\b(mistral|devstral|codestral|magistral|groq|deepseek)/i;
    const named: string[] = [];
    for (const file of files) {
      if (/^(providers|testing|cli)/.test(file)) continue;
      for (const [index, line] of readFileSync(join(src, file), "utf8").split("\n").entries()) {
        const code = line.replace(/\/\/.*|^\s*\/?\*.*/g, "").replace(/"for example[^"]*"|`for example[^`]*`/g, "");
        if (vendors.test(code)) named.push(`${file}:${index + 1} ${line.trim()}`);
      }
    }
    expect(named).toEqual([]);
  });
});
