/** What an answer says, in no wire's words: what the plain readings, the canonical form and the SDKs are compared in. */
import { isDeepStrictEqual } from "node:util";
import type { FinishReason } from "../../src/core/request.ts";
import { isObject } from "../../src/core/util.ts";

export interface CallFacts {
  /** Empty where the wire gave none. */
  id: string;
  name: string;
  /** Parsed arguments; the text itself where it is not JSON or the tool takes free text. */
  input: unknown;
  custom?: boolean;
}

export interface ChoiceFacts {
  text: string;
  thinking: string;
  refusal: string;
  calls: CallFacts[];
  /** Pages cited. */
  urls: string[];
  /** Signatures and encrypted thinking. */
  proofs: string[];
  /** Blocks that only this wire knows, in order, as JSON with sorted members. */
  blocks: string[];
  finish: FinishReason;
}

export interface UsageFacts {
  input: number;
  output: number;
  cacheRead: number;
  cacheWrite: number;
  reasoning: number;
}

export interface Facts {
  choices: ChoiceFacts[];
  usage?: UsageFacts;
  /** Words of the error that ended the answer. */
  error?: string;
  /** The answer came to its end. */
  complete: boolean;
}

export const emptyChoice = (): ChoiceFacts => ({
  text: "",
  thinking: "",
  refusal: "",
  calls: [],
  urls: [],
  proofs: [],
  blocks: [],
  finish: "stop",
});

export function parsed(text: string): unknown {
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export const str = (value: unknown): string => (typeof value === "string" ? value : "");
export const num = (value: unknown): number => (typeof value === "number" ? value : 0);
export const objects = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? value.filter(isObject) : [];
export const object = (value: unknown): Record<string, unknown> => (isObject(value) ? value : {});

/** JSON with sorted members, so that equal values are equal texts. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_, member) =>
    isObject(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  );
}

/** Every string in a JSON value, at any depth. */
export function strings(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(strings);
  return isObject(value) ? Object.values(value).flatMap(strings) : [];
}

/** Addresses of pages among them. */
export const addresses = (value: unknown): string[] => strings(value).filter((text) => /^https?:\/\/\S+$/.test(text));

/** Which members of a choice are compared; the others are not carried by the wire at hand. */
export type Member = keyof ChoiceFacts;
export const ALL: readonly Member[] = ["text", "thinking", "refusal", "calls", "urls", "proofs", "blocks", "finish"];

/** One line for each thing that `expected` has and `found` has not. */
export function compareFacts(expected: Facts, found: Facts, members: readonly Member[] = ALL): string[] {
  const problems: string[] = [];
  if (expected.choices.length !== found.choices.length)
    return [`${expected.choices.length} choices became ${found.choices.length}`];
  for (const [index, choice] of expected.choices.entries()) {
    const at = index === 0 ? "" : `choice ${index}: `;
    for (const member of members) {
      const problem = compareMember(member, choice, found.choices[index]!);
      if (problem !== undefined) problems.push(`${at}${member}: ${problem}`);
    }
  }
  for (const [name, count] of Object.entries(expected.usage ?? {})) {
    const got = found.usage?.[name as keyof UsageFacts];
    if (got !== count) problems.push(`usage.${name}: ${count} became ${got}`);
  }
  return problems;
}

function compareMember(member: Member, expected: ChoiceFacts, found: ChoiceFacts): string | undefined {
  switch (member) {
    case "refusal":
      // Who was refused without a word may be given some.
      if (expected.refusal === "" && expected.finish === "refusal") return undefined;
      return expected.refusal === found.refusal ? undefined : change(expected.refusal, found.refusal);
    case "text":
    case "finish":
      return expected[member] === found[member] ? undefined : change(expected[member], found[member]);
    case "thinking": {
      const [a, b] = [expected.thinking.replace(/\s/g, ""), found.thinking.replace(/\s/g, "")];
      return a === b ? undefined : change(expected.thinking, found.thinking);
    }
    case "calls":
      return compareCalls(expected.calls, found.calls);
    case "blocks":
      return isDeepStrictEqual(expected.blocks, found.blocks) ? undefined : change(expected.blocks, found.blocks);
    default: {
      const missing = expected[member].filter((item) => !found[member].includes(item));
      return missing.length === 0 ? undefined : `lost ${shorten(missing)}`;
    }
  }
}

function compareCalls(expected: readonly CallFacts[], found: readonly CallFacts[]): string | undefined {
  if (expected.length !== found.length) return change(expected, found);
  for (const [i, call] of expected.entries()) {
    const other = found[i]!;
    const same =
      (call.id === "" ? other.id !== "" : call.id === other.id) &&
      call.name === other.name &&
      isDeepStrictEqual(call.input, other.input);
    if (!same) return `call ${i}: ${change(call, other)}`;
  }
  const ids = found.map(({ id }) => id);
  return new Set(ids).size === new Set(expected.map(({ id }, i) => id || i)).size ? undefined : `ids collide: ${ids}`;
}

export function change(from: unknown, to: unknown): string {
  if (typeof from !== "string" || typeof to !== "string") return `${shorten(from)} became ${shorten(to)}`;
  let at = 0;
  while (at < from.length && from[at] === to[at]) at++;
  const near = (text: string) => shorten(text.slice(Math.max(0, at - 20), at + 60));
  return `at ${at} of ${from.length}: ${near(from)} became ${near(to)}`;
}

export function shorten(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}
