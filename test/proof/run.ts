/** One run of the proof: gateway processes, callers until the cap is used up, and what the upstream counted. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";
import { random } from "../simulation/random.ts";
import type { Served } from "./children/upstreams.ts";
import { HOLD_TTL_MS, openGateway, type ProofOptions } from "./gateway.ts";
import { type Sizes, toText } from "./sizes.ts";
import type { Kind } from "./stores.ts";

export interface RunOptions {
  readonly kind: Kind;
  readonly name: string;
  readonly cap: number;
  readonly processes: number;
  readonly inFlight: number;
  readonly seed: number;
  /** Kills the first gateway with SIGKILL when a third of the cap is used. */
  readonly kill: boolean;
  readonly onExpire: ProofOptions["onExpire"];
}

export interface Result {
  /** Tokens that Mistral served, as it counted itself. */
  readonly served: number;
  /** Requests that Mistral saw after it had served the whole cap. */
  readonly requestsBeyondCap: number;
  /** Of `served`: for requests whose gateway was killed before it answered, or so soon after that it may not have settled. */
  readonly abandoned: number;
  readonly used: number;
  readonly held: number;
  readonly answers: { readonly mistral: number; readonly llama: number };
  readonly seenByMistral: number;
  /** What callers got that was not an answer; those of a killed gateway call another one. */
  readonly errors: readonly string[];
  readonly seconds: number;
}

/** Callers give up hoping for Mistral when nobody got it for so long: leases need a moment to give back what is idle. */
const PATIENCE_MS = 1_500;
const PAUSE_MS = 40;
/** An answer does not wait for its settle: within this time it has reached the store. */
const SETTLED_MS = 1_000;

export async function run({ seed, kill, inFlight, ...given }: RunOptions): Promise<Result> {
  const upstreams = start("upstreams.ts");
  const upstream = (await message(upstreams)) as ProofOptions["upstream"];
  const { kind, cap, processes } = given;
  const options: ProofOptions = { ...given, upstream };
  const checker = openGateway({ ...options, kind: kind.replace("leased ", "") as Kind });
  // Makes the schema before the others need it.
  await checker.gateway.usage();
  const gateways = Array.from({ length: processes }, () => start("gateway.ts", JSON.stringify(options)));
  const ports = await Promise.all(gateways.map(async (child) => ((await message(child)) as { port: number }).port));

  const { chance, below } = random(seed);
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const answers = { mistral: 0, llama: 0 };
  const errors: string[] = [];
  const failed = new Set<string>();
  /** Answers of the gateway that is to be killed, and when they came. */
  const answered = new Map<string, number>();
  let killedAt = Number.POSITIVE_INFINITY;
  let requests = 0;
  let isKilled = false;
  const started = performance.now();
  let lastMistral = started;

  async function caller(gateway: number): Promise<void> {
    while (performance.now() - lastMistral < PATIENCE_MS) {
      const inputBound = 20 + below(180);
      const maxTokens = 20 + below(400);
      const real = { realInput: 1 + below(inputBound), realOutput: chance(0.2) ? 2 * maxTokens : 1 + below(maxTokens) };
      const sizes = { id: `r${++requests}`, inputBound, maxTokens, ...real };
      try {
        const other = kill && isKilled && gateway === 0;
        await one(ports[other ? 1 : gateway]!, sizes);
        if (gateway === 0 && !other) answered.set(sizes.id, performance.now());
      } catch (error) {
        failed.add(sizes.id);
        if (!kill || gateway !== 0 || !isKilled) errors.push(String(error));
      }
    }
  }

  async function one(port: number, sizes: Sizes): Promise<void> {
    const { status, target, text } = await ask(agent, port, sizes);
    const isWhole = text.includes("message_stop") || text.includes('"finish_reason"');
    if (status !== 200 || !isWhole) throw new Error(`${status} ${text.slice(0, 300)}`);
    if (target.startsWith("mistral/")) {
      answers.mistral++;
      lastMistral = performance.now();
    } else {
      answers.llama++;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async function assassin(): Promise<void> {
    while ((await usage()).used < cap / 3) {
      if (performance.now() - lastMistral > PATIENCE_MS) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    isKilled = true;
    killedAt = performance.now();
    gateways[0]!.kill("SIGKILL");
  }

  async function usage() {
    const [limit] = await checker.gateway.usage();
    return { used: limit!.used, held: limit!.held };
  }

  const callers = gateways.flatMap((_, gateway) => Array.from({ length: inFlight }, () => caller(gateway)));
  await Promise.all([...callers, kill && assassin()]);
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();

  // Leases are closed; plain holds of a killed process end by themselves.
  await Promise.all(gateways.map(stop));
  const patience = performance.now() + HOLD_TTL_MS + 2_000;
  while ((await usage()).held > 0 && performance.now() < patience)
    await new Promise((resolve) => setTimeout(resolve, 50));
  const { used, held } = await usage();
  upstreams.send("served");
  const { mistral } = (await message(upstreams)) as Served;
  upstreams.disconnect();
  await checker.close();

  let served = 0;
  let requestsBeyondCap = 0;
  for (const [, tokens] of mistral) {
    if (served >= cap) requestsBeyondCap++;
    served += tokens;
  }
  const isAbandoned = (id: string) => failed.has(id) || (answered.get(id) ?? 0) > killedAt - SETTLED_MS;
  const abandoned = mistral.reduce((sum, [id, tokens]) => sum + (isAbandoned(id) ? tokens : 0), 0);
  const seen = { answers, seenByMistral: mistral.length };
  return { served, requestsBeyondCap, abandoned, used, held, errors, seconds, ...seen };
}

/** Every other request is a Chat call, the rest are Anthropic streams. */
function ask(agent: Agent, port: number, sizes: Sizes): Promise<{ status: number; target: string; text: string }> {
  const stream = Number(sizes.id.slice(1)) % 2 === 1;
  const messages = [{ role: "user", content: toText(sizes) }];
  const body = JSON.stringify({ model: "assistant", max_tokens: sizes.maxTokens, stream, messages });
  const path = stream ? "/anthropic/v1/messages" : "/v1/chat/completions";
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    authorization: "Bearer anything",
    ...(stream && { "anthropic-version": "2023-06-01" }),
  };
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port, path, method: "POST", headers, agent }, async (response) => {
      try {
        let text = "";
        for await (const chunk of response.setEncoding("utf8")) text += chunk;
        resolve({ status: response.statusCode!, target: String(response.headers["x-turnpike-target"]), text });
      } catch (error) {
        reject(error as Error);
      }
    });
    call.on("error", reject);
    call.end(body);
  });
}

function start(file: string, ...args: string[]): ChildProcess {
  const path = fileURLToPath(new URL(`./children/${file}`, import.meta.url));
  const stdio = ["ignore", "inherit", "inherit", "ipc"] as const;
  return spawn(process.execPath, ["--no-warnings", path, ...args], { stdio: [...stdio] });
}

async function message(child: ChildProcess): Promise<unknown> {
  const gone = once(child, "exit").then(([code]) => {
    throw new Error(`${child.spawnargs.at(-2)} ended (${code}) before it answered`);
  });
  const [answer] = await Promise.race([once(child, "message"), gone]);
  return answer;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.send("close");
  await ended;
}
