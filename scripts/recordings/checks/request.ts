import { isDeepStrictEqual } from "node:util";
import { fit as fitRequest } from "../../../src/capabilities/fit/index.ts";
import type { Dialect } from "../../../src/core/dialect.ts";
import type { Change, ChatRequest } from "../../../src/core/request.ts";
import { isObject, type JsonObject } from "../../../src/core/util.ts";
import type { Upstream } from "../dialects.ts";
import { parsed, shorten, strings } from "../facts.ts";
import { type Said, type Wire, wireOf } from "../wires/index.ts";

/** A body that the provider took: we take it too, and no word of it is lost. */
export function checkRequest(
  wire: Wire,
  dialect: Dialect,
  { path, body }: { path: string; body: JsonObject },
  upstreams: readonly Upstream[],
): string[] {
  if (STATEFUL.some((name) => isAsked(body[name]))) return [];
  const request = dialect.decodeRequest(body, pathFacts(path));
  const expected = wire.request(body);
  // The same dialect as servers of several kinds want it written: one of them is the server that was asked.
  const styles = [dialect, ...upstreams.map((upstream) => upstream.dialect).filter(({ id }) => id === dialect.id)];
  const tries = styles.map((style) => checkItself(request, expected, style)).sort((a, b) => a.length - b.length);
  const problems = tries[0]!.map((problem) => `to itself: ${problem}`);
  for (const upstream of upstreams) problems.push(...checkUpstream(request, expected, upstream));
  return problems.map((problem) => `request: ${problem}`);
}

function checkItself(request: ChatRequest, expected: Said, dialect: Dialect): string[] {
  try {
    const body = JSON.parse(JSON.stringify(dialect.encodeRequest(request, request.model)));
    const found = wireOf(dialect.id).request(body);
    return [
      ...compareSaid(expected, found, strings(body)),
      ...compareParameters(expected.parameters, body, dialect.id),
    ];
  } catch (error) {
    return [String(error)];
  }
}

/** What needs the provider's own memory, and is refused by decision (wire.md §9.6). */
const STATEFUL = ["previous_response_id", "conversation", "background", "prompt"];
const isAsked = (value: unknown) => value !== undefined && value !== null && value !== false;

/** Where the model and the wish for a stream stand in the path. */
export function pathFacts(path: string) {
  const model = /\/models\/([^/:?]+)/.exec(path)?.[1];
  return { ...(model !== undefined && { model: decodeURIComponent(model) }), stream: /:stream/.test(path) };
}

function checkUpstream(request: ChatRequest, expected: Said, upstream: Upstream): string[] {
  const { provider, dialect, model } = upstream;
  const at = `to ${provider.type}`;
  try {
    const capabilities = provider.capabilities(model, dialect.id);
    const fitted = fitRequest(request, { capabilities, dialect: dialect.id, provider: provider.type });
    const body = JSON.parse(JSON.stringify(dialect.encodeRequest(fitted.request, model)));
    const found = wireOf(dialect.id).request(body);
    const { texts, calls, tools } = excuse(expected, fitted.changes, fitted.toolNames);
    // Schemas are fitted, or moved into words.
    const schemaless = tools.map(({ name, schema }) => (schema === undefined ? { name } : { name, schema: undefined }));
    return compareSaid({ texts, calls, tools: schemaless, parameters: {} }, found, strings(body)).map(
      (problem) => `${at}: ${problem}`,
    );
  } catch (error) {
    return [`${at}: ${error}`];
  }
}

/** Without what the changes say is gone, and under the names that the target knows. */
function excuse(said: Said, changes: readonly Change[], names: ReadonlyMap<string, string>): Said {
  const dropped = (field: string) =>
    changes.filter((change) => change.kind === "dropped" && change.field.startsWith(field));
  const renamed = new Map([...names].map(([target, caller]) => [caller, target]));
  const rename = <T extends { name: string }>(item: T): T => ({ ...item, name: renamed.get(item.name) ?? item.name });
  const gone = new Set(dropped("tools").map(({ from }) => from));
  const lost = dropped("messages").some(({ from }) => from !== undefined);
  return {
    ...said,
    texts: lost ? [] : said.texts,
    calls: said.calls.map(rename),
    tools: said.tools.filter(({ name }) => !gone.has(name) && gone.size === 0).map(rename),
  };
}

function compareSaid(expected: Said, found: Said, leaves: readonly string[]): string[] {
  const problems: string[] = [];
  const all = leaves.flatMap((leaf) => [leaf, ...strings(parsed(leaf))]);
  for (const text of expected.texts) {
    const said =
      text.trim() === "" ||
      all.some((leaf) => leaf.includes(text)) ||
      strings(parsed(text)).every((inner) => all.some((leaf) => leaf.includes(inner)));
    if (!said) problems.push(`a text is lost: ${shorten(text)}`);
  }
  for (const call of expected.calls)
    if (!found.calls.some(({ name, input }) => name === call.name && isDeepStrictEqual(input, call.input)))
      problems.push(`a tool call is lost: ${shorten(call)}`);
  for (const tool of expected.tools) {
    const isHosted = !("schema" in tool);
    const other = found.tools.find(({ name, schema }) => name === tool.name || (isHosted && schema === undefined));
    if (!other) problems.push(`a tool is lost: ${tool.name}`);
    else if (!contains(other.schema, tool.schema))
      problems.push(`the schema of ${tool.name} changes: ${shorten(tool.schema)} became ${shorten(other.schema)}`);
  }
  return problems;
}

/** Members with another name for the same thing, by dialect. */
const ALIASES: Record<string, string> = {
  max_tokens: "max_completion_tokens",
  random_seed: "seed",
  user: "safety_identifier",
  safety_identifier: "user",
  output_format: "output_config",
};

function compareParameters(expected: JsonObject, found: JsonObject, dialect: string): string[] {
  return Object.entries(expected).flatMap(([name, value]) => {
    if (saysNothing(name, value)) return [];
    const other = found[name] ?? found[ALIASES[name] ?? ""];
    if (contains(other, value) || contains([other].flat(), [value].flat())) return [];
    if (name === "tool_choice" && (found.tools === undefined || (value === "any" && other === "required"))) return [];
    if (name === "parallel_tool_calls" && found.tools === undefined) return [];
    if (name === "output_format" && strings(value).every((text) => strings(other).includes(text))) return [];
    return [`\`${name}\` of ${dialect} changes: ${shorten(value)} became ${shorten(other)}`];
  });
}

/** What is the same as saying nothing. */
function saysNothing(name: string, value: unknown): boolean {
  if (value === null || value === undefined || (name === "stream" && value === false)) return true;
  return (Array.isArray(value) || isObject(value)) && Object.keys(value).length === 0;
}

/** Whether `whole` says all that `part` does; nulls, `false` and empty objects may be left out. */
function contains(whole: unknown, part: unknown): boolean {
  if (part === null || part === undefined) return true;
  if (Array.isArray(part))
    return Array.isArray(whole) && part.length === whole.length && part.every((item, i) => contains(whole[i], item));
  if (!isObject(part)) return isDeepStrictEqual(whole, part) || (part === false && whole === undefined);
  if (!isObject(whole)) return whole === undefined && (Object.keys(part).length === 0 || isEmptySchema(part));
  return Object.entries(part).every(([key, value]) => contains(whole[key], value) || sameType(whole[key], value));
}

/** `STRING` and `string` are one type of a schema. */
function sameType(one: unknown, other: unknown): boolean {
  return typeof one === "string" && typeof other === "string" && one === other.toLowerCase() && /^[A-Z]+$/.test(other);
}

function isEmptySchema(schema: JsonObject): boolean {
  return schema.type === "object" && Object.keys(schema.properties ?? {}).length === 0;
}
