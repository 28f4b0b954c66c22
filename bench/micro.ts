/** Process: one thing at a time, in process, without sockets. Arguments: folder of the repository's `src`, build, `smoke`. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { answer, BYTES, request, type Size, streamChunks, type Wire } from "./bodies.ts";
import { spread } from "./statistics.ts";

const [source, dist, smoke] = process.argv.slice(2) as [string, string, string | undefined];
const at = <T>(root: string, file: string): Promise<T> => import(pathToFileURL(join(root, file)).href);
const src = <T>(file: string) => at<T>(source, file);

const turnpike = await at<typeof import("../src/index.ts")>(dist, "index.js");
const { defineProvider, simulated } = await providersWith(dist);
const { memoryStore } = await at<typeof import("../src/stores/memory.ts")>(dist, "stores/memory.js");
const { openaiChat } = await src<typeof import("../src/dialects/openai-chat/index.ts")>(
  "dialects/openai-chat/index.ts",
);
const { anthropicMessages } = await src<typeof import("../src/dialects/anthropic-messages/index.ts")>(
  "dialects/anthropic-messages/index.ts",
);
const { scanObject } = await src<typeof import("../src/core/json-scan.ts")>("core/json-scan.ts");
const { fit: fitTo } = await src<typeof import("../src/capabilities/fit/index.ts")>("capabilities/fit/index.ts");
const { mistral } = await src<typeof import("../src/providers/mistral.ts")>("providers/mistral.ts");
const { sseReader, formatFrames } = await src<typeof import("../src/dialects/sse.ts")>("dialects/sse.ts");

export interface MicroResult {
  name: string;
  /** µs per call, or per event. */
  us: { min: number; median: number; max: number };
  /** Bytes of the input, where the figure per KB is of interest. */
  bytes?: number;
}

const results: MicroResult[] = [];
const budgetMs = smoke ? 5 : 150;
const SAMPLES = smoke ? 2 : 7;
let sinkhole: unknown;

/** Runs in samples of `budgetMs` after two of warm-up. `per`: how many things one call does. */
async function bench(name: string, call: () => unknown, { bytes, per = 1 }: { bytes?: number; per?: number } = {}) {
  const asynchronous = call() instanceof Promise;
  const sample = async () => {
    const batch = per > 1 || (bytes ?? 0) > 8_192 ? 1 : 100;
    let calls = 0;
    const started = performance.now();
    let elapsed = 0;
    do {
      if (asynchronous) for (let i = 0; i < batch; i++) sinkhole = await call();
      else for (let i = 0; i < batch; i++) sinkhole = call();
      calls += batch;
      elapsed = performance.now() - started;
    } while (elapsed < budgetMs);
    return (1_000 * elapsed) / (calls * per);
  };
  for (let i = 0; i < 3; i++) await sample();
  const times: number[] = [];
  for (let i = 0; i < SAMPLES; i++) times.push(await sample());
  results.push({ name, us: spread(times), ...(bytes !== undefined && { bytes }) });
}

/** A provider that answers at once: what is left is the gateway itself. */
function noop(text: string) {
  const bytes = Buffer.from(text);
  return defineProvider({
    type: "noop",
    dialect: simulated.spec.dialect,
    baseURL: "http://noop.invalid/v1",
    price: "free",
    transport: () => async () => ({
      status: 200,
      headers: { "content-type": "application/json" },
      body: {
        start(sink) {
          sink.data(bytes);
          sink.end();
        },
        pause() {},
        resume() {},
        cancel() {},
      },
    }),
  })();
}

async function providersWith(root: string) {
  const { defineProvider, simulated } = await at<typeof import("../src/providers/index.ts")>(
    root,
    "providers/index.js",
  );
  return { defineProvider, simulated };
}

const nothing = { info() {}, warn() {} };
const limit = { name: "daily", tokens: 9_000_000_000_000_000, per: "day" as const, timeZone: "Europe/Paris" };
const one = (use?: Parameters<typeof turnpike.createGateway>[0]["use"]) =>
  turnpike.createGateway({ providers: { noop: noop(answer("chat")) }, ...(use && { use }) });

const call = { model: "noop/m", messages: [{ role: "user", content: "hello" }], max_tokens: 256 };
const { router, translator, logger, auth, budget, hashKey } = turnpike;
const stacks = {
  "router, translator": [router(), translator()],
  "+ logger": [logger({ to: nothing }), router(), translator()],
  "+ auth, trusted caller": [auth({ keys: [{ id: "k", hash: hashKey("tp-bench-key") }] }), router(), translator()],
  "+ budget": [router(), budget({ store: memoryStore(), limits: [limit] }), translator()],
  "whole default stack": [
    logger({ to: nothing }),
    auth({ keys: [{ id: "k", hash: hashKey("tp-bench-key") }] }),
    router(),
    budget({ store: memoryStore(), limits: [limit] }),
    translator(),
  ],
};
for (const [name, use] of Object.entries(stacks)) {
  const gateway = one(use);
  await bench(`completion(): ${name}`, () => gateway.completion(call));
}
const keyed = one(stacks["whole default stack"]);
await bench("completion(): whole default stack, with key", () => keyed.completion(call, { key: "tp-bench-key" }));
const forAnthropic = { ...call, max_tokens: 256 };
await bench("messages(): whole default stack, translated", () => keyed.messages(forAnthropic));
const reading = Buffer.from(answer("chat"));
await bench("  of it: JSON.parse of the answer", () => JSON.parse(reading.toString("utf8")));

const DIALECT = { chat: openaiChat, anthropic: anthropicMessages };
const context = { model: "m", id: "bench", created: 1, inputTokens: 100, includeUsage: true, showThinking: true };
const target = mistral({ apiKey: "bench" });
for (const size of Object.keys(BYTES) as Size[]) {
  for (const wire of ["chat", "anthropic"] as Wire[]) {
    const text = request(wire, BYTES[size], { model: "m", stream: false });
    const bytes = Buffer.from(text);
    const length = { bytes: bytes.length };
    const dialect = DIALECT[wire];
    const json = JSON.parse(text) as Record<string, unknown>;
    const canonical = dialect.decodeRequest(json);
    await bench(`scanObject ${wire} ${size}`, () => scanObject(bytes), length);
    await bench(`JSON.parse ${wire} ${size}`, () => JSON.parse(bytes.toString("utf8")), length);
    await bench(`decodeRequest ${wire} ${size}`, () => dialect.decodeRequest(json), length);
    await bench(`encodeRequest ${wire} ${size}`, () => dialect.encodeRequest(canonical, "m"), length);
    const encoded = dialect.encodeRequest(canonical, "m");
    await bench(`JSON.stringify ${wire} ${size}`, () => JSON.stringify(encoded), length);
    const to = { capabilities: target.capabilities("mistral-medium-3-5"), dialect: "openai-chat", provider: "mistral" };
    await bench(`fit to mistral ${wire} ${size}`, () => fitTo(canonical, to), length);
  }
}

for (const wire of ["chat", "anthropic"] as Wire[]) {
  const dialect = DIALECT[wire];
  const chunks = streamChunks(wire).map((chunk) => Buffer.from(chunk));
  const per = { per: chunks.length };
  const frames: { event?: string | undefined; data: string }[] = [];
  const reader = sseReader((frame) => frames.push(frame));
  for (const chunk of chunks) reader.feed(chunk);
  const decoder = dialect.streamDecoder();
  const events = frames.flatMap((frame) => decoder.feed(frame));
  const encoder = dialect.streamEncoder(context);
  const encoded = events.map((event) => encoder.encode(event));

  await bench(
    `sse reader ${wire}, per event`,
    () => {
      const each = sseReader(() => {});
      for (const chunk of chunks) each.feed(chunk);
    },
    per,
  );
  await bench(
    `stream decode ${wire}, per event`,
    () => {
      const each = dialect.streamDecoder();
      for (const frame of frames) each.feed(frame);
    },
    per,
  );
  await bench(
    `stream encode ${wire}, per event`,
    () => {
      const each = dialect.streamEncoder(context);
      for (const event of events) each.encode(event);
    },
    per,
  );
  await bench(
    `format frames ${wire}, per event`,
    () => {
      for (const each of encoded) formatFrames(each);
    },
    per,
  );
  const whole = JSON.parse(answer(wire));
  const response = dialect.decodeResponse(whole);
  await bench(`decodeResponse ${wire}`, () => dialect.decodeResponse(whole));
  await bench(`encodeResponse ${wire}`, () => dialect.encodeResponse(response, context));
}

const store = memoryStore();
const hold = {
  counter: "daily|tokens|bench",
  bucket: 0,
  from: 0,
  step: 0,
  until: 8e15,
  fixed: 100,
  perUnit: 1,
  limit: 9e15,
};
const actual = new Map([[hold.counter, 399]]);
let next = 0;
await bench("memory store: reserve + settle", () => {
  const id = `bench:${next++}`;
  store.reserve({ id, fingerprint: "f", holds: [hold], want: 256, min: 256, ttlMs: 60_000, onExpire: "release" });
  store.settle({ id, actual, holds: [hold] });
});

void sinkhole;
process.send!({ type: "done", results });
