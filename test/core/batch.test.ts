import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { Batch } from "../../src/core/batch.ts";

test("what is given in one turn of the event loop is worked off at its end, in order", async () => {
  const done: string[] = [];
  const batch = new Batch<string>((item) => {
    done.push(item);
    if (item === "a") batch.add("c");
  });
  batch.add("a");
  batch.add("b");
  await Promise.resolve();
  expect(done).toEqual([]);
  await turn();
  expect(done).toEqual(["a", "b"]);
  await turn();
  expect(done).toEqual(["a", "b", "c"]);
});

test("one item that fails takes nothing from the others", async () => {
  const done: string[] = [];
  const errors: unknown[] = [];
  const batch = new Batch<string>((item) => {
    if (item === "bad") throw new Error("bad");
    done.push(item);
  });
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.once("uncaughtException", (error) => errors.push(error));
  try {
    for (const item of ["a", "bad", "b"]) batch.add(item);
    await turn();
    await turn();
  } finally {
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
  expect(done).toEqual(["a", "b"]);
  expect(errors).toHaveLength(1);
});
