import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import pkg from "../package.json" with { type: "json" };

const root = fileURLToPath(new URL("../", import.meta.url));
const entries = Object.entries(pkg.exports).filter(
  (entry): entry is [string, { types: string; default: string }] => typeof entry[1] !== "string",
);

/** Modules that an entry loads at once: its static imports, followed through the build. */
function loads(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const code = readFileSync(join(root, file), "utf8");
  for (const match of code.matchAll(/^(?:import|export)\s[^;]*?from\s*"([^"]+)"|^import\s*"([^"]+)"/gm)) {
    const name = (match[1] ?? match[2])!;
    if (name.startsWith(".")) loads(join(dirname(file), name), seen);
    else seen.add(name);
  }
  return seen;
}

/** What users install: the built package, imported by its name from its own folder. */
describe("the package", () => {
  test("public names change only on purpose", () => {
    const script = `for (const name of ${JSON.stringify(entries.map(([name]) => name))}) {
      const module = await import(name.replace(".", "turnpike"));
      console.log(name, Object.keys(module).sort().join(" "));
    }`;
    const names = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: root,
      encoding: "utf8",
    });
    expect(names).toMatchSnapshot();
  });

  test.each(entries)("%s is built where package.json says", (_name, { default: file }) => {
    expect(existsSync(join(root, file))).toBe(true);
  });

  test.each(entries)("%s loads no optional peer before it is used", (_name, { default: file }) => {
    const loaded = [...loads(file)];
    for (const peer of [...Object.keys(pkg.peerDependencies), "redis", "node:sqlite"])
      expect(loaded).not.toContain(peer);
    const known = new Set(Object.keys(pkg.dependencies));
    const packages = loaded.filter((name) => !name.endsWith(".js") && !name.startsWith("node:"));
    expect(packages.filter((name) => !known.has(name))).toEqual([]);
  });

  test("the root entry knows nothing of stores that need a server, or of test helpers", () => {
    const code = [...loads("dist/index.js")]
      .filter((name) => name.endsWith(".js"))
      .map((file) => readFileSync(join(root, file), "utf8"))
      .join("\n");
    for (const word of ["EVALSHA", "plpgsql", "DatabaseSync", "startFake"]) expect(code).not.toContain(word);
  });

  test("one copy of every error class, whatever entry it comes from", () => {
    const script = `const a = await import("turnpike"); const b = await import("turnpike/testing");
      const { mistral } = await import("turnpike/providers");
      let caught; try { mistral({ baseURL: "x" }); } catch (error) { caught = error; }
      const error = new a.GatewayError("internal", "x");
      console.log(a.isGatewayError(error), error instanceof a.GatewayError, typeof b.fakeMistral, caught instanceof TypeError);`;
    const output = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: root,
      encoding: "utf8",
    });
    expect(output.trim()).toBe("true true function true");
  });
});
