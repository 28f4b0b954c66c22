// The main story in one command, offline: what Claude Code sends goes to Mistral until the day's tokens are spent, and
// then to a local llama-server. Both upstreams are the strict fakes that Turnpike's own tests use; leave out `baseURL`
// and set MISTRAL_API_KEY for the real one.   node examples/claude-code-to-mistral.ts
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { budget, createGateway, logger, router, toNodeHandler, translator } from "turnpike";
import { mistral, openaiCompatible } from "turnpike/providers";
import { sqliteStore } from "turnpike/stores/sqlite";
import { fakeLlama, fakeMistral } from "turnpike/testing";

const upstream = { mistral: await fakeMistral({ apiKey: "example" }), llama: await fakeLlama() };
const file = join(tmpdir(), `turnpike-example-${process.pid}.db`);
let day = 0;

function start() {
  return createGateway({
    now: () => Date.parse("2026-11-22T12:00:00+01:00") + day * 24 * 3_600_000,
    providers: {
      mistral: mistral({ apiKey: "example", baseURL: upstream.mistral.baseURL }),
      llama: openaiCompatible({ baseURL: upstream.llama.baseURL, operations: ["chat", "chat.stream"], price: "free" }),
    },
    use: [
      logger({ to: { info: print, warn: print } }),
      router({ rules: [{ match: { model: "claude-*" }, to: ["mistral/mistral-medium-3-5", "llama/devstral-small"] }] }),
      budget({
        store: sqliteStore(file),
        limits: [
          {
            name: "mistral-daily",
            match: { provider: "mistral" },
            tokens: 100_000,
            per: "day",
            timeZone: "Europe/Paris",
          },
        ],
      }),
      translator(),
    ],
  });
}

function print(record: object) {
  const r = record as {
    event: string;
    attempt: number;
    target: string;
    outcome: string;
    reason?: string;
    changes?: string[];
    inputTokens?: number;
    outputTokens?: number;
  };
  if (r.event !== "attempt") return;
  console.log(
    `    attempt ${r.attempt}: ${r.target} ${r.outcome}${r.inputTokens === undefined ? "" : ` (${r.inputTokens} + ${r.outputTokens} tokens)`}`,
  );
  if (r.reason) console.log(`      because: ${r.reason}`);
  const effort = r.changes?.find((change) => change.startsWith("reasoning"));
  if (effort) console.log(`      changed: ${effort}`);
}

let gateway = start();
let server = createServer(toNodeHandler(gateway)).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
let url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function ask(prompt: string) {
  const response = await fetch(`${url}/anthropic/v1/messages?beta=true`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: "Bearer anything",
      "anthropic-version": "2023-06-01",
    },
    body: JSON.stringify({
      model: "claude-opus-5-5",
      max_tokens: 32_000,
      stream: true,
      thinking: { type: "adaptive", display: "omitted" },
      output_config: { effort: "medium" },
      system: [{ type: "text", text: "You are Claude Code, Anthropic's official CLI for Claude." }],
      messages: [{ role: "user", content: prompt }],
    }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  console.log(`    answered by ${response.headers.get("x-turnpike-target")}`);
}

async function show() {
  const [limit] = await gateway.usage();
  console.log(
    `    used ${limit?.used} of ${limit?.amount} tokens, ${limit?.remaining} remain until ${limit?.resetsAt}`,
  );
}

console.log("1. A prompt goes to Mistral; the effort `medium` becomes what the model accepts, and thinking stays on.");
await ask("Say hello.");
await show();

console.log("2. A day's work: 80,000 tokens.");
upstream.mistral.next({ text: "Done.", usage: { prompt: 79_000, completion: 1_000 } });
await ask("Refactor everything.");
await show();

console.log(
  "3. The next prompt needs more than what is left: it is prevented from reaching Mistral and goes to llama-server.",
);
const before = upstream.mistral.requests.length;
await ask(`Explain this file: ${"lorem ipsum ".repeat(6_000)}`);
console.log(`    requests that reached Mistral meanwhile: ${upstream.mistral.requests.length - before}`);

console.log("4. A restart does not forget what was spent.");
server.closeAllConnections();
server.close();
await gateway.close();
gateway = start();
server = createServer(toNodeHandler(gateway)).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
await show();

console.log("5. The next day it is Mistral again.");
day = 1;
await ask("Good morning.");
await show();

server.closeAllConnections();
server.close();
await gateway.close();
await upstream.mistral.close();
await upstream.llama.close();
for (const suffix of ["", "-wal", "-shm"]) rmSync(file + suffix, { force: true });
