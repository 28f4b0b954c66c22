import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadDialects } from "../../scripts/recordings/dialects.ts";
import { report } from "../../scripts/recordings/report.ts";
import { type Result, type RunOptions, runFolder } from "../../scripts/recordings/run.ts";
import type { Dialect } from "../../src/core/dialect.ts";
import { answers, chatStream, foreign, messagesStream } from "./samples.ts";

async function replay(files: Record<string, unknown>, options: RunOptions = {}): Promise<Result[]> {
  const folder = mkdtempSync(join(tmpdir(), "recordings-"));
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  }
  const results: Result[] = [];
  for await (const result of runFolder(folder, options)) results.push(result);
  return results;
}

const lines = (payloads: readonly unknown[]) => payloads.map((payload) => JSON.stringify(payload)).join("\n");

describe("a folder of recordings", () => {
  test("passes where our codecs agree with the plain reading, in all three forms", async () => {
    const results = await replay(answers);
    expect(results.filter(({ skipped }) => skipped === undefined).length).toBeGreaterThanOrEqual(8);
    expect(results.flatMap(({ file, problems }) => problems.map((problem) => `${file}: ${problem}`))).toEqual([]);
  });

  test("skips what no dialect of ours speaks, and says why", async () => {
    const results = await replay(foreign);
    const reasons = Object.fromEntries(results.map(({ file, skipped }) => [file, skipped]));
    expect(reasons).toMatchInlineSnapshot(`
      {
        "a/card.json": "no answer of a model (members id, name)",
        "a/cohere.json": "no dialect for Cohere v2",
        "a/converse.chunks.txt": "no dialect for Bedrock Converse",
        "a/images.json": "no dialect for images",
        "a/live.chunks.txt": "no dialect for Google Live",
        "a/notes.md": "no recording",
        "a/ranks.json": "no dialect for reranking",
        "a/sound.json": "no dialect for transcription",
        "a/torn.json": "cannot be read: Expected property name or '}' in JSON at position 1 (line 1 column 2)",
      }
    `);
    expect(results.flatMap(({ problems }) => problems)).toEqual([]);
  });

  test("is told by its shape, whatever the files are called", async () => {
    const [ours, theirs] = await Promise.all([
      replay({ "anthropic/messages.chunks.txt": lines(messagesStream) }),
      replay({ "openai/chat__gemini.chunks.txt": lines(messagesStream) }),
    ]);
    expect([ours[0]!.problems, ours[0]!.skipped]).toEqual([theirs[0]!.problems, theirs[0]!.skipped]);
    expect(ours[0]!.skipped).toBeUndefined();
  });

  test("ends its report with the two numbers, and names each failure on a line of its own", async () => {
    const broken = { "x/one.chunks.txt": lines(chatStream) };
    const results = [
      ...(await replay(answers)),
      ...(await replay(broken, { dialects: await withFault(faults.usage!) })),
    ];
    const { lines: printed, failed } = report(results, false);
    expect(failed).toBe(1);
    expect(printed.filter((line) => line.startsWith("FAILED"))).toHaveLength(1);
    expect(printed.at(-1)).toMatch(/^\d+ passed, 1 failed$/);
  });
});

/** What a codec may get wrong, as a change of a codec that is right. */
const faults: Record<string, (dialect: Dialect) => Partial<Dialect>> = {
  "a text of the answer": (dialect) => ({
    streamDecoder: () => mapped(dialect, (event) => (event.type === "text-delta" ? [] : [event])),
  }),
  usage: (dialect) => ({
    streamDecoder: () => mapped(dialect, (event) => (event.type === "usage" ? [] : [event])),
  }),
  "the finish reason": (dialect) => ({
    streamDecoder: () =>
      mapped(dialect, (event) => [event.type === "finish" ? { ...event, reason: "length" as const } : event]),
  }),
  "the arguments of a call": (dialect) => ({
    streamDecoder: () => mapped(dialect, (event) => (event.type === "tool-call-delta" ? [] : [event])),
  }),
  "the error of a stream that breaks off": (dialect) => ({
    streamDecoder: () => mapped(dialect, (event) => (event.type === "error" ? [] : [event])),
  }),
  "the last frame": (dialect) => ({
    streamEncoder: (context) => ({ ...dialect.streamEncoder(context), end: () => [] }),
  }),
  "the id of a written call": (dialect) => ({
    encodeResponse: (response, context) =>
      JSON.parse(JSON.stringify(dialect.encodeResponse(response, context)).replaceAll("_9", "_8")),
  }),
};

type Decoder = ReturnType<Dialect["streamDecoder"]>;
type Event = ReturnType<Decoder["feed"]>[number];

function mapped(dialect: Dialect, change: (event: Event) => Event[]): Decoder {
  const decoder = dialect.streamDecoder();
  return { feed: (frame) => decoder.feed(frame).flatMap(change), end: () => decoder.end().flatMap(change) };
}

async function withFault(fault: (dialect: Dialect) => Partial<Dialect>): Promise<ReadonlyMap<string, Dialect>> {
  const dialects = await loadDialects();
  return new Map([...dialects].map(([id, dialect]) => [id, { ...dialect, ...fault(dialect) }]));
}

describe("a codec that loses something", () => {
  test.each(Object.entries(faults))("fails: %s", async (_, fault) => {
    const dialects = await withFault(fault);
    const [result] = await replay({ "x/chat.chunks.txt": lines(chatStream) }, { dialects });
    expect(result!.problems).not.toEqual([]);
  });
});
