import type { JsonObject } from "../../core/util.ts";
import { text } from "./check.ts";

type Container = Record<string, unknown> | unknown[];

const STEP = /\.([^.[\]]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]/g;

/** Arguments that come value by value: `{ jsonPath: "$.items[0].name", stringValue: "Ap", willContinue: true }`. [FX-V] */
export class PartialArgs {
  readonly #args: Container = object();

  add(arg: JsonObject): void {
    const path = text(arg.jsonPath) ?? "";
    // An array ends with an entry that has no value; for an empty one it is all there is.
    const ends = path.endsWith("[]");
    const steps = stepsOf(ends ? path.slice(0, -2) : path);
    const leaf = steps.pop();
    if (leaf === undefined) return;
    let at = this.#args;
    for (const [i, step] of steps.entries()) {
      const next = enter(at, step, typeof (steps[i + 1] ?? leaf) === "number");
      if (!next) return;
      at = next;
    }
    const before = get(at, leaf);
    const value = given(arg);
    if (typeof value === "string" && typeof before === "string") set(at, leaf, before + value);
    else if (value !== undefined) set(at, leaf, value);
    else if (before === undefined && arg.willContinue !== true) set(at, leaf, ends ? [] : object());
  }

  get json(): string {
    return JSON.stringify(this.#args);
  }
}

/** No prototype: names come from the model. */
const object = (): Record<string, unknown> => Object.create(null);

function stepsOf(path: string): (string | number)[] {
  return [...path.matchAll(STEP)].map(([, name, index, single, double]) =>
    index === undefined ? (name ?? (single ?? double ?? "").replace(/\\(.)/g, "$1")) : Number(index),
  );
}

function given(arg: JsonObject): unknown {
  if ("nullValue" in arg) return null;
  return arg.stringValue ?? arg.numberValue ?? arg.boolValue ?? undefined;
}

/** Elements come in order: no index may jump ahead. */
function fits(at: Container, step: string | number): boolean {
  return Array.isArray(at) ? typeof step === "number" && step <= at.length : typeof step === "string";
}

function get(at: Container, step: string | number): unknown {
  return fits(at, step) ? (at as Record<string | number, unknown>)[step] : undefined;
}

function set(at: Container, step: string | number, value: unknown): void {
  if (fits(at, step)) (at as Record<string | number, unknown>)[step] = value;
}

function enter(at: Container, step: string | number, isArray: boolean): Container | undefined {
  const found = get(at, step);
  if (typeof found === "object" && found !== null) return found as Container;
  if (found !== undefined || !fits(at, step)) return undefined;
  const made: Container = isArray ? [] : object();
  set(at, step, made);
  return made;
}
