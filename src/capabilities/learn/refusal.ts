/** Reads from an upstream's refusal which member of the request it will not take, and what it would take instead. */
import type { Lesson, Remedy } from "../../core/provider.ts";
import { EFFORTS } from "../../core/request.ts";
import { isObject, type JsonObject } from "../../core/util.ts";

/** What the caller said must be honoured, and what gives a request its meaning: never dropped, whoever refuses it. */
const MEANING = new Set([
  ...["model", "messages", "contents", "input", "system", "systemInstruction", "instructions", "prompt", "stream"],
  ...["tools", "tool_choice", "toolConfig", "functionDeclarations", "function", "parameters", "input_schema", "schema"],
  ...["parametersJsonSchema", "response_format", "json_schema", "format", "text", "responseSchema"],
  ...["responseJsonSchema", "responseMimeType", "role", "content", "parts", "id", "call_id", "tool_call_id"],
  ...["tool_use_id", "tool_calls", "arguments", "args", "output", "response", "functionCall", "functionResponse"],
  ...["source", "data", "url", "image_url", "inlineData", "fileData", "file", "file_data", "media_type", "mimeType"],
]);

/** A bound on the output may be lowered, never taken away: budgets rest on it. */
const BOUND = /max.*tokens/i;

type Step = string | number;

interface Complaint {
  path: Step[] | undefined;
  text: string;
}

/**
 * @param answer the upstream's error answer, parsed
 * @param param the field that the dialect's own error codec found in it
 * @param sent the request as it went out
 * @returns what it teaches; empty when no member is named, or only such as carry the request's meaning
 */
export function readRefusal(answer: unknown, message: string, param: string | undefined, sent: JsonObject): Lesson[] {
  const lessons: Lesson[] = [];
  for (const { path, text } of complaints(answer, message, param)) {
    const found = (path && resolve(path, sent)) ?? named(text, sent);
    const lesson = found && lessonFrom(found, text, sent);
    if (lesson && !lessons.some((known) => known.path === lesson.path)) lessons.push(lesson);
  }
  return lessons;
}

/** Validators list what they have against a request (`loc` and `msg`, `field` and `description`); others say one thing. */
function complaints(answer: unknown, message: string, param: string | undefined): Complaint[] {
  const listed: Complaint[] = [];
  const walk = (value: unknown, depth: number): void => {
    if (depth > 6) return;
    if (Array.isArray(value)) for (const item of value.slice(0, 20)) walk(item, depth + 1);
    if (!isObject(value)) return;
    const text = [value.msg, value.description].find((each) => typeof each === "string") as string | undefined;
    if (Array.isArray(value.loc) && text !== undefined) {
      listed.push({ path: value.loc.filter((step): step is Step => ["string", "number"].includes(typeof step)), text });
    } else if (typeof value.field === "string" && text !== undefined) {
      listed.push({ path: unknownName(text) ?? steps(value.field), text });
    } else for (const inner of Object.values(value)) walk(inner, depth + 1);
  };
  walk(answer, 0);
  if (listed.length > 0) return listed;
  const prefix = /^([\w.[\]]+): /.exec(message)?.[1];
  const path = unknownName(message) ?? (param === undefined ? prefix && steps(prefix) : steps(param));
  return [{ path: path || undefined, text: message }];
}

/** `Unknown name "x" at 'generation_config.y': Cannot find field.` */
function unknownName(text: string): Step[] | undefined {
  const found = /Unknown name "([^"]+)"(?: at '([^']+)')?/.exec(text);
  return found ? [...(found[2] === undefined ? [] : steps(found[2])), found[1]!] : undefined;
}

function steps(path: string): Step[] {
  return path
    .split(/[.[\]]+/)
    .filter((step) => step !== "")
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step));
}

/**
 * The member of the request that a path means. Validators put names of their own types in between, and write snake
 * case for what was sent in camel case; what is not there is passed over.
 */
function resolve(path: readonly Step[], sent: JsonObject): Step[] | undefined {
  const found: Step[] = [];
  let value: unknown = sent;
  for (const step of path) {
    if (Array.isArray(value) && typeof step === "number" && step in value) {
      found.push(step);
      value = value[step];
    } else if (isObject(value)) {
      const key = [String(step), camel(String(step)), snake(String(step))].find((each) =>
        Object.hasOwn(value as object, each),
      );
      if (key === undefined) continue;
      found.push(key);
      value = value[key];
    }
  }
  // A discriminator cannot go without what it discriminates.
  if (found.at(-1) === "type") found.pop();
  return typeof found.at(-1) === "string" ? found : undefined;
}

/** A member that the text names in quotes, or a top-level one whose whole name stands in it. */
function named(text: string, sent: JsonObject): Step[] | undefined {
  for (const [, word] of text.matchAll(/["'`]([A-Za-z_][\w.[\]]*)["'`]/g)) {
    const found = resolve(steps(word!), sent);
    if (found) return found;
  }
  const words = new Set(text.match(/[A-Za-z_]{4,}/g));
  const key = Object.keys(sent).find((each) => words.has(each) && !MEANING.has(each));
  return key === undefined ? undefined : [key];
}

function lessonFrom(found: readonly Step[], text: string, sent: JsonObject): Lesson | undefined {
  const value = found.reduce<unknown>((at, step) => (at as Record<Step, unknown>)[step], sent);
  const remedy = remedyFor(found, value, text);
  if (!remedy) return undefined;
  return { path: found.map((step) => (typeof step === "number" ? "*" : step)).join("."), ...remedy };
}

function remedyFor(path: readonly Step[], value: unknown, text: string): Remedy | undefined {
  const leaf = String(path.at(-1));
  const [, rename] = /use [`'"](\w+)[`'"] instead/i.exec(text) ?? [];
  if (rename !== undefined && rename !== leaf && !MEANING.has(leaf) && !isObject(value)) return { rename };
  if (typeof value === "string") {
    const accepted = listedValues(text, value);
    if (accepted.length > 0 && !MEANING.has(leaf)) return { accepted };
  }
  if (typeof value === "number") {
    const limit = limitIn(text, value);
    if (limit !== undefined) return limit < value ? { max: limit } : { min: limit };
  }
  return mayGo(path, value) ? { drop: true } : undefined;
}

function mayGo(path: readonly Step[], value: unknown): boolean {
  const leaf = String(path.at(-1));
  if (MEANING.has(leaf) || BOUND.test(leaf)) return false;
  // A tool's name is how it is called; a speaker's is a hint.
  if (leaf === "name") return path[0] === "messages" && path.length === 3;
  return !holdsSchema(value);
}

function holdsSchema(value: unknown): boolean {
  return (
    isObject(value) &&
    ["schema", "format", "json_schema", "responseSchema", "responseJsonSchema"].some((key) => key in value)
  );
}

/** Values that the text lists as the ones that are taken. */
function listedValues(text: string, sent: string): string[] {
  const list =
    /(?:supported (?:values|levels|options)[^:]*:|supported (?:values|levels) are|should be|must be(?: one of)?|expected(?: one of)?|one of|allowed values[^:]*:)(.*)$/is.exec(
      text,
    )?.[1];
  if (list === undefined) return [];
  const quoted = [...list.matchAll(/["'`]([\w.-]+)["'`]/g)].map(([, word]) => word!);
  const levels: readonly string[] = ["none", ...EFFORTS];
  const words = quoted.length > 0 ? quoted : (list.match(/[\w-]+/g) ?? []).filter((word) => levels.includes(word));
  return words.includes(sent) ? [] : [...new Set(words)];
}

/** The bound that the text names for a number that was too large, or too small. */
function limitIn(text: string, sent: number): number | undefined {
  const numbers = (text.match(/(?<![\w.-])-?\d[\d,_]*(?:\.\d+)?(?![\w-])/g) ?? [])
    .map((each) => Number(each.replace(/[,_]/g, "")))
    .filter((each) => each !== sent);
  const below = numbers.filter((each) => each < sent);
  const tooSmall =
    /greater|at least|minimum|>=|below/i.test(text) && !/less|at most|maximum|<=|exceed|too large/i.test(text);
  if (tooSmall) return Math.min(...numbers.filter((each) => each > sent).concat(Number.POSITIVE_INFINITY)) || undefined;
  return below.length > 0 ? Math.max(...below) : undefined;
}

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
