import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

const folder = fileURLToPath(new URL("../examples/", import.meta.url));
const run = (file: string) =>
  promisify(execFile)(process.execPath, [`${folder}${file}`], {
    timeout: 20_000,
    env: { ...process.env, NODE_OPTIONS: "" },
  });

/** Examples import the built package by its name, as a user's code does. */
describe("every example runs offline and says what it promises", () => {
  const promises: Record<string, RegExp[]> = {
    "quickstart.ts": [/\[simulated\] You said: "hello"/, /\[simulated\] You said: "hello again"/],
    "express.ts": [/200 \[simulated\]/, /my own page \| my own 404/],
    "fastify.ts": [/200 \[simulated\]/],
    "custom-middleware.ts": [/attempt 1: ok, \d+ tokens out, timed/, /forbidden: Prompts must not mention "password"/],
    "claude-code-to-mistral.ts": [
      /1\.[\s\S]*attempt 1: mistral\/mistral-medium-3-5 served[\s\S]*changed: reasoning\.effort=medium->high/,
      /3\.[\s\S]*mistral\/mistral-medium-3-5 refused[\s\S]*mistral-daily[\s\S]*llama\/devstral-small served[\s\S]*reached Mistral meanwhile: 0/,
      /4\.[\s\S]*used 80\d\d\d of 100000/,
      /5\.[\s\S]*answered by mistral\/mistral-medium-3-5/,
    ],
  };

  test("no example is without a test", () => {
    expect(
      readdirSync(folder)
        .filter((file) => file.endsWith(".ts"))
        .sort(),
    ).toEqual(Object.keys(promises).sort());
  });

  test.each(Object.entries(promises))("%s", async (file, patterns) => {
    const { stdout } = await run(file);
    for (const pattern of patterns) expect(stdout).toMatch(pattern);
  });
});
