/** One run of the proof: gateway processes, callers until the cap is used up, and what the upstream counted. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";
import { random } from "../simulation/random.ts";
import type { Served } from "./children/upstreams.ts";
import { MODELS, openGateway, type ProofOptions } from "./gateway.ts";
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
  /** @default 4_000 with `kill`, else 30_000: longer than a busy machine can stop a process */
  readonly holdTtlMs?: number;
  /** @default {@link SLOW_MS} */
  readonly storeTimeoutMs?: number;
  readonly redisUrl?: string;
  /**
   * Breaks the store in the middle, in its own time. Callers then may be refused for the store's sake, every other of
   * them asks a model with a single target, and some answers take longer than a short outage.
   */
  readonly breakStore?: (used: () => Promise<number>) => Promise<void>;
}

export interface Result {
  /** Tokens that Mistral served, as it counted itself. */
  readonly served: number;
  /** Requests that Mistral saw after it had served the whole cap. */
  readonly requestsBeyondCap: number;
  /**
   * Of `served`: for requests whose reservation ended before they did, or whose gateway was killed before it answered, or
   * so soon after that it may not have settled.
   */
  readonly abandoned: number;
  readonly used: number;
  readonly held: number;
  readonly answers: { readonly mistral: number; readonly llama: number };
  /** Calls that were refused because the store did not answer. */
  readonly unavailable: number;
  /** Calls that were ended because their reservation had ended. */
  readonly lost: number;
  readonly seenByMistral: number;
  /** What callers got that was not an answer; those of a killed gateway call another one. */
  readonly errors: readonly string[];
  readonly seconds: number;
}

/** Callers give up hoping for Mistral when nobody got it for so long: leases need a moment to give back what is idle. */
const PATIENCE_MS = 1_500;
/** A client that lost its server tries again within two seconds. */
const RECONNECTED_MS = 4_000;
/** So long a store may take to be broken and to come back. */
const ENDLESS_MS = 90_000;
const PAUSE_MS = 40;
/** The machine may be busy with other things: a slow store is not what is tested. */
const SLOW_MS = 10_000;
/** An answer does not wait for its settle: within this time it has reached the store. */
const SETTLED_MS = 1_000;

export async function run({ seed, kill, inFlight, breakStore, ...given }: RunOptions): Promise<Result> {
  const upstreams = start("upstreams.ts", breakStore ? "slow" : "");
  const upstream = (await message(upstreams)) as ProofOptions["upstream"];
  const { kind, cap, processes } = given;
  const options: ProofOptions = { holdTtlMs: kill ? 4_000 : 30_000, storeTimeoutMs: SLOW_MS, ...given, upstream };
  const checker = openGateway({ ...options, kind: kind.replace("leased ", "") as Kind, storeTimeoutMs: SLOW_MS });
  // Makes the schema before the others need it.
  await checker.gateway.usage();
  const gateways = Array.from({ length: processes }, () => start("gateway.ts", JSON.stringify(options)));
  const ports = await Promise.all(gateways.map(async (child) => ((await message(child)) as { port: number }).port));

  const { chance, below } = random(seed);
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const answers = { mistral: 0, llama: 0 };
  let unavailable = 0;
  let lost = 0;
  const errors: string[] = [];
  const failed = new Set<string>();
  /** Answers of the gateway that is to be killed, and when they came. */
  const answered = new Map<string, number>();
  let killedAt = Number.POSITIVE_INFINITY;
  let requests = 0;
  let isKilled = false;
  let isBroken = breakStore !== undefined;
  const patienceMs = breakStore ? RECONNECTED_MS : PATIENCE_MS;
  const started = performance.now();
  let lastMistral = started;

  async function caller(gateway: number): Promise<void> {
    while (isBroken || performance.now() - lastMistral < patienceMs) {
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
    const number = Number(sizes.id.slice(1));
    const model = breakStore && number % 4 < 2 ? MODELS.single : MODELS.ladder;
    const { status, target, text } = await ask(agent, port, model, sizes);
    if (status === 200 && isWhole(text)) {
      answers[target.startsWith("mistral/") ? "mistral" : "llama"]++;
      if (!target.startsWith("mistral/")) return pause();
      lastMistral = performance.now();
    } else if (breakStore && text.includes("the budget store cannot be reached")) {
      unavailable++;
      await pause();
    } else if (breakStore && text.includes("The budget reservation was lost")) {
      lost++;
      failed.add(sizes.id);
    } else if (model === MODELS.single && status === 402) {
      await pause();
    } else {
      throw new Error(`${status} ${text.slice(0, 300)}`);
    }
  }

  async function accident(): Promise<void> {
    if (!breakStore) return;
    const used = async () => {
      const state = await usage().catch(() => undefined);
      if (isBroken && performance.now() - started > ENDLESS_MS) throw new Error("the store did not come back");
      return state?.used ?? 0;
    };
    try {
      await breakStore(used);
    } finally {
      isBroken = false;
      lastMistral = performance.now();
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
  await Promise.all([...callers, kill && assassin(), accident()]);
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();

  // Leases are closed; plain holds of a killed process end by themselves.
  await Promise.all(gateways.map(stop));
  const patience = performance.now() + options.holdTtlMs + 2_000;
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
  const seen = { answers, unavailable, lost, seenByMistral: mistral.length };
  return { served, requestsBeyondCap, abandoned, used, held, errors, seconds, ...seen };
}

const pause = () => new Promise<void>((resolve) => setTimeout(resolve, PAUSE_MS));
const isWhole = (text: string) => text.includes("message_stop") || text.includes('"finish_reason"');

/** Every other request is a Chat call, the rest are Anthropic streams. */
function ask(
  agent: Agent,
  port: number,
  model: string,
  sizes: Sizes,
): Promise<{ status: number; target: string; text: string }> {
  const stream = Number(sizes.id.slice(1)) % 2 === 1;
  const messages = [{ role: "user", content: toText(sizes) }];
  const body = JSON.stringify({ model, max_tokens: sizes.maxTokens, stream, messages });
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
