/** What the pipeline is made of, from the sources: scanner, parser, codecs, `fit`, streams, the store in memory. */
import { fit as fitTo } from "../../src/capabilities/fit/index.ts";
import type { Dialect, Frame, RawFrame } from "../../src/core/dialect.ts";
import { scanObject } from "../../src/core/json-scan.ts";
import { Rope } from "../../src/core/rope.ts";
import { anthropicMessages } from "../../src/dialects/anthropic-messages/index.ts";
import { gemini } from "../../src/dialects/gemini/index.ts";
import { openaiChat } from "../../src/dialects/openai-chat/index.ts";
import { openaiResponses } from "../../src/dialects/openai-responses/index.ts";
import { formatFrames, sseReader } from "../../src/dialects/sse.ts";
import { mistral } from "../../src/providers/mistral.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { answer, BYTES, request, type Size, streamChunks } from "../bodies.ts";
import { Bench, type MicroResult } from "./bench.ts";

const DIALECTS: readonly Dialect[] = [openaiChat, anthropicMessages, openaiResponses, gemini];
const CONTEXT = { model: "m", id: "bench", created: 1, inputTokens: 100, includeUsage: true, showThinking: true };

export async function codecs(smoke: boolean): Promise<MicroResult[]> {
  const groups = [await requests(smoke), await answers(smoke), await streams(smoke), await store(smoke)];
  return groups.flat();
}

async function requests(smoke: boolean): Promise<MicroResult[]> {
  const bench = new Bench("requests", smoke);
  const target = mistral({ apiKey: "bench" }).capabilities("mistral-medium-3-5");
  for (const size of Object.keys(BYTES) as Size[]) {
    const text = request("anthropic", BYTES[size], { model: "m", stream: false });
    const json = JSON.parse(text) as object;
    const bytes = Buffer.from(text);
    const of = { bytes: bytes.length };
    const canonical = anthropicMessages.decodeRequest(json);
    await bench.add(`scanObject, ${size}`, () => scanObject(new Rope(bytes)), of);
    await bench.add(`JSON.parse, ${size}`, () => JSON.parse(bytes.toString("utf8")), of);
    await bench.add(`JSON.stringify, ${size}`, () => JSON.stringify(json), of);
    await bench.add(
      `fit to Mistral, ${size}`,
      () => fitTo(canonical, { capabilities: target, dialect: "openai-chat", provider: "mistral" }),
      of,
    );
    for (const dialect of DIALECTS) {
      const own = dialect.encodeRequest(canonical, "m");
      const length = { bytes: Buffer.byteLength(JSON.stringify(own)) };
      const path = { model: "m", stream: false };
      await bench.add(`${dialect.id}: decode, ${size}`, () => dialect.decodeRequest(own, path), length);
      await bench.add(`${dialect.id}: encode, ${size}`, () => dialect.encodeRequest(canonical, "m"), length);
    }
  }
  return bench.results;
}

async function answers(smoke: boolean): Promise<MicroResult[]> {
  const bench = new Bench("answers", smoke);
  const canonical = openaiChat.decodeResponse(JSON.parse(answer("chat")));
  for (const dialect of DIALECTS) {
    const own = dialect.encodeResponse(canonical, CONTEXT);
    const of = { bytes: Buffer.byteLength(JSON.stringify(own)) };
    await bench.add(`${dialect.id}: decode`, () => dialect.decodeResponse(own), of);
    await bench.add(`${dialect.id}: encode`, () => dialect.encodeResponse(canonical, CONTEXT), of);
    await bench.add(`${dialect.id}: usage alone`, () => dialect.usageOf(own), of);
  }
  return bench.results;
}

async function streams(smoke: boolean): Promise<MicroResult[]> {
  const bench = new Bench("streams, per event", smoke);
  const decoder = openaiChat.streamDecoder();
  const events = read(streamChunks("chat")).flatMap((frame) => decoder.feed(frame));
  for (const dialect of DIALECTS) {
    const encoder = dialect.streamEncoder(CONTEXT);
    const encoded: Frame[][] = events.map((event) => encoder.encode(event));
    const texts = encoded.filter(({ length }) => length > 0).map((frames) => formatFrames(frames));
    const chunks = texts.map((text) => Buffer.from(text));
    const frames = read(texts);
    const perFrame = { per: frames.length };
    const name = (what: string) => `${dialect.id}: ${what}`;
    await bench.add(
      name("read"),
      () => {
        const reader = sseReader(() => {});
        for (const chunk of chunks) reader.feed(chunk);
      },
      perFrame,
    );
    await bench.add(
      name("decode"),
      () => {
        const decoder = dialect.streamDecoder();
        return frames.map((frame) => decoder.feed(frame));
      },
      perFrame,
    );
    await bench.add(
      name("encode"),
      () => {
        const encoder = dialect.streamEncoder(CONTEXT);
        return events.map((event) => encoder.encode(event));
      },
      { per: events.length },
    );
    await bench.add(name("format"), () => encoded.map((frames) => formatFrames(frames)), perFrame);
  }
  return bench.results;
}

function read(texts: readonly string[]): RawFrame[] {
  const frames: RawFrame[] = [];
  const reader = sseReader((frame) => frames.push(frame));
  for (const text of texts) reader.feed(Buffer.from(text));
  return frames;
}

async function store(smoke: boolean): Promise<MicroResult[]> {
  const bench = new Bench("store", smoke);
  const memory = memoryStore();
  const window = { bucket: 0, from: 0, step: 0, until: 8e15 };
  const hold = { counter: "daily|tokens|bench", ...window, fixed: 100, perUnit: 1, limit: 9e15 };
  const holds = [hold];
  const actual = new Map([[hold.counter, 399]]);
  let next = 0;
  await bench.add("memory: reserve and settle", () => {
    const id = `bench:${next++}`;
    memory.reserve({ id, fingerprint: "f", holds, want: 256, min: 256, ttlMs: 60_000, onExpire: "release" });
    return memory.settle({ id, actual, holds });
  });
  return bench.results;
}
