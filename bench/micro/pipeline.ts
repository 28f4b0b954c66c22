/** The gateway around a provider that answers at once: what is left is the gateway itself. From the build. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Middleware } from "../../src/index.ts";
import { answer, BYTES, KEY, LONG, request, SHORT, type Size, streamChunks, type Way, type Wire } from "../bodies.ts";
import { HEADERS, PATH } from "../variants.ts";
import { Bench, type MicroResult } from "./bench.ts";
import { caller } from "./fake-http.ts";

export async function pipeline(dist: string, smoke: boolean): Promise<MicroResult[]> {
  const load = <T>(entry: string): Promise<T> => import(pathToFileURL(join(dist, entry)).href);
  const turnpike = await load<typeof import("../../src/index.ts")>("index.js");
  const { defineProvider, simulated } = await load<typeof import("../../src/providers/index.ts")>("providers/index.js");
  const { memoryStore } = await load<typeof import("../../src/stores/memory.ts")>("stores/memory.js");
  const { auth, budget, cache, createGateway, hashKey, logger, residency, router, toNodeHandler, translator } =
    turnpike;

  function noop(type: string, chunks: readonly string[]) {
    const bytes = chunks.map((chunk) => Buffer.from(chunk));
    return defineProvider({
      type: "noop",
      dialect: simulated.spec.dialect,
      baseURL: "http://noop.invalid/v1",
      jurisdiction: "EU",
      price: { input: 0.4, output: 2 },
      transport: () => async () => ({
        status: 200,
        headers: { "content-type": type },
        body: {
          start(sink) {
            for (const chunk of bytes) sink.data(chunk);
            sink.end();
          },
          pause() {},
          resume() {},
          cancel() {},
        },
      }),
    })();
  }
  const providers = {
    json: noop("application/json", [answer("chat")]),
    burst: noop("text/event-stream", streamChunks("chat", LONG)),
    "burst-short": noop("text/event-stream", streamChunks("chat", SHORT)),
  };

  const rules = Object.keys(providers).map((way) => ({ match: { model: `claude-${way}` }, to: `${way}/bench-model` }));
  const limits = [{ name: "daily", tokens: 9_000_000_000_000_000, per: "day" as const, timeZone: "Europe/Paris" }];
  const make = {
    logger: () => logger({ to: { info() {}, warn() {} } }),
    auth: () => auth({ keys: [{ id: "bench", hash: hashKey(KEY), user: "bench", team: "bench" }] }),
    cache: () => cache(),
    residency: () => residency({ jurisdiction: "EU" }),
    budget: () => budget({ store: memoryStore(), limits }),
  };
  type Part = keyof typeof make;
  /** In the order of the default stack, around the router. */
  const gateway = (...parts: Part[]) => {
    const use = (names: Part[]): Middleware[] =>
      names.filter((name) => parts.includes(name)).map((name) => make[name]());
    return createGateway({
      providers,
      use: [...use(["logger", "auth", "cache"]), router({ rules }), ...use(["residency", "budget"]), translator()],
    });
  };
  const WHOLE: Part[] = ["logger", "auth", "budget"];

  const inProcess = new Bench("completion() around a provider that answers at once", smoke);
  const call = {
    model: "claude-json",
    messages: [{ role: "user", content: "hello" }],
    max_tokens: 256,
    temperature: 0,
  };
  const bare = gateway();
  await inProcess.add("router and translator", () => bare.completion(call));
  for (const part of Object.keys(make) as Part[]) {
    const one = gateway(part);
    await inProcess.add(`+ ${part}${part === "cache" ? ", answered from it" : ""}`, () => one.completion(call));
  }
  const whole = gateway(...WHOLE);
  await inProcess.add("whole default stack", () => whole.completion(call));
  await inProcess.add("whole default stack, caller with key", () => whole.completion(call, { key: KEY }));
  await inProcess.add("whole default stack, messages() translated", () => whole.messages(call));
  const read = Buffer.from(answer("chat"));
  await inProcess.add("of it: JSON.parse of the answer", () => JSON.parse(read.toString("utf8")), {
    bytes: read.length,
  });

  const http = new Bench("toNodeHandler() with a request and a response without sockets", smoke);
  const ask = (wire: Wire, size: Size, parts: Part[], way: Way = "json") => {
    const body = request(wire, BYTES[size], { model: `claude-${way}`, stream: way !== "json" });
    return caller(toNodeHandler(gateway(...parts)), PATH[wire], HEADERS[wire], body);
  };
  await http.add("passed, 1k, router and translator", ask("chat", "1k", []));
  for (const part of WHOLE) await http.add(`passed, 1k, + ${part}`, ask("chat", "1k", [part]));
  for (const size of Object.keys(BYTES) as Size[]) {
    const of = { bytes: BYTES[size] };
    await http.add(`passed, ${size}, whole default stack`, ask("chat", size, WHOLE), of);
    await http.add(`translated, ${size}, whole default stack`, ask("anthropic", size, WHOLE), of);
  }
  for (const [name, wire] of [
    ["passed", "chat"],
    ["translated", "anthropic"],
  ] as const) {
    const long = ask(wire, "1k", WHOLE, "burst");
    const short = ask(wire, "1k", WHOLE, "burst-short");
    await http.addDifference(`${name} stream, whole default stack, per chunk`, long, short, LONG - SHORT);
  }
  return [...inProcess.results, ...http.results];
}
