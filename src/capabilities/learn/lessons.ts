import { LRUCache } from "lru-cache";
import type { Lesson } from "../../core/provider.ts";
import { type Change, EFFORTS, type Effort } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** Most targets that lessons are kept for. */
const MAX_TARGETS = 500;
const MAX_PER_TARGET = 32;

export interface LessonBook {
  /** What is known of a target now. */
  of(target: string): readonly Lesson[];
  /** Remembers until the time to live is over; a lesson about the same member replaces the older one. */
  add(target: string, lessons: readonly Lesson[]): void;
}

const NOTHING: readonly Lesson[] = [];

/** @param ttlMs how long an upstream's refusal is taken as a fact; APIs change back too */
export function lessonBook(ttlMs: number, now: () => number): LessonBook {
  const book = new LRUCache<string, readonly Lesson[]>({ max: MAX_TARGETS });
  const valid = (target: string) =>
    book.get(target)?.filter(({ until }) => until === undefined || until > now()) ?? NOTHING;
  return {
    of: valid,
    add(target, lessons) {
      const until = now() + ttlMs;
      const others = valid(target).filter(({ path }) => lessons.every((lesson) => lesson.path !== path));
      book.set(target, [...others, ...lessons.map((lesson) => ({ ...lesson, until }))].slice(-MAX_PER_TARGET));
    },
  };
}

/** The request without what the target was seen to refuse; `body` itself stays as it is. */
export function applyLessons(body: JsonObject, lessons: readonly Lesson[], changes: Change[]): JsonObject {
  let fitted = body;
  for (const lesson of lessons) {
    let said = false;
    const tell = (kind: Change["kind"], from: unknown, to?: string | number) => {
      if (said) return;
      said = true;
      const scalar = ["string", "number", "boolean"].includes(typeof from) ? (from as string) : undefined;
      changes.push({
        field: lesson.path,
        kind,
        ...(scalar !== undefined && { from: typeof scalar === "string" ? scalar.slice(0, 40) : scalar }),
        ...(to !== undefined && { to }),
        reason: "learned",
      });
    };
    fitted = edit(fitted, lesson.path.split("."), (parent, key) => mend(parent, key, lesson, tell)) as JsonObject;
  }
  return fitted;
}

type Tell = (kind: Change["kind"], from: unknown, to?: string | number) => void;

function mend(parent: JsonObject, key: string, lesson: Lesson, tell: Tell): JsonObject {
  const value = parent[key];
  const { [key]: _, ...rest } = parent;
  if (lesson.rename !== undefined) {
    tell("moved", key, lesson.rename);
    return { ...rest, [lesson.rename]: value };
  }
  if (lesson.accepted) {
    if (typeof value !== "string" || lesson.accepted.includes(value)) return parent;
    const nearest = nearestOf(value, lesson.accepted);
    tell(nearest === undefined ? "dropped" : "adjusted", value, nearest);
    return nearest === undefined ? rest : { ...parent, [key]: nearest };
  }
  if (lesson.max !== undefined || lesson.min !== undefined) {
    if (typeof value !== "number") return parent;
    const bounded = Math.max(lesson.min ?? Number.NEGATIVE_INFINITY, Math.min(lesson.max ?? value, value));
    if (bounded === value) return parent;
    tell("adjusted", value, bounded);
    return { ...parent, [key]: bounded };
  }
  tell("dropped", value);
  return rest;
}

/** For efforts the next lower one that is accepted, else the lowest; other values have no neighbours. */
function nearestOf(value: string, accepted: readonly string[]): string | undefined {
  const order: readonly string[] = ["none", ...EFFORTS];
  if (!order.includes(value)) return undefined;
  const ranked = accepted.filter((each) => order.includes(each)).sort((a, b) => order.indexOf(a) - order.indexOf(b));
  const below = ranked.filter((each) => order.indexOf(each) < order.indexOf(value));
  // Who asked for thinking does not get none while there is a level left.
  const thinking = below.filter((each) => each !== "none");
  const levels = ranked.filter((each) => each !== "none");
  return value === "none" ? ranked[0] : ((thinking.at(-1) ?? levels[0] ?? ranked[0]) as Effort | undefined);
}

/** A copy in which the members at a path (`*` = every item of an array) went through `change`. */
function edit(
  value: unknown,
  path: readonly string[],
  change: (parent: JsonObject, key: string) => JsonObject,
): unknown {
  const [step, ...rest] = path;
  if (step === "*") return Array.isArray(value) ? value.map((item) => edit(item, rest, change)) : value;
  if (step === undefined || !isObject(value) || !Object.hasOwn(value, step)) return value;
  return rest.length === 0 ? change(value, step) : { ...value, [step]: edit(value[step], rest, change) };
}
