import { execFileSync } from "node:child_process";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";
import { type Fake, fakeMistral } from "turnpike/testing";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../support/gateway.ts";
import { type Cli, folder, turnpike } from "./support.ts";

const CAP = 60_000;
const IN_FLIGHT = 64;
const MAX_TOKENS = 300;

let mistral: Fake;
afterEach(() => mistral?.close());

/** Two workers in front of a strict fake, with a cap in a SQLite file that does not exist yet. */
async function start(given: { tokens?: number; store?: string; detached?: boolean; args?: string[] } = {}) {
  const { tokens = 1_000_000_000, store = "sqlite:budgets.db", detached = false, args = [] } = given;
  mistral = await fakeMistral({ apiKey: "key" });
  const cwd = folder({
    "turnpike.config.json": {
      server: { port: 0, workers: 2 },
      providers: { mistral: { type: "mistral", apiKey: "key", baseURL: mistral.baseURL } },
      router: { rules: [{ match: { model: "*" }, to: "mistral/mistral-medium-3-5" }] },
      budget: { store, estimate: "bound", minGrant: 1, limits: [{ name: "cap", tokens, per: "lifetime" }] },
    },
  });
  return turnpike(args, { cwd, detached });
}

interface Answer {
  status: number;
  /** What request ids begin with is drawn once per process. */
  worker: string;
  text: string;
}

/** Without an agent every request has a connection of its own. */
function ask(url: string, body: object = {}, agent: Agent | false = false): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(`${url}/v1/chat/completions`, { method: "POST", agent }, async (response) => {
      try {
        let text = "";
        for await (const chunk of response.setEncoding("utf8")) text += chunk;
        const id = String(response.headers["x-request-id"]);
        resolve({ status: response.statusCode!, worker: id.slice(0, 12), text });
      } catch (error) {
        reject(error as Error);
      }
    });
    call.on("error", reject);
    call.end(JSON.stringify({ model: "any", messages: [{ role: "user", content: "hello" }], ...body }));
  });
}

/** The processes that the command has started. */
function workersOf({ child }: Cli): number[] {
  return execFileSync("pgrep", ["-P", String(child.pid)], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map(Number);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const allEnded = (pids: readonly number[]) => until(() => !pids.some(isRunning), "all workers have ended", 10_000);

/** A stream that takes about a second, and has begun. */
async function slowStream(url: string): Promise<{ answer: Promise<Answer> }> {
  mistral.always({ text: "one two three four five six seven eight nine ten", chunkDelayMs: 100 });
  const before = mistral.requests.length;
  const answer = ask(url, { stream: true });
  answer.catch(() => {});
  await until(() => mistral.requests.length > before, "the stream has begun");
  return { answer };
}

describe("turnpike --workers", () => {
  it("serves one port with all of them, gives it to nobody else, and replaces the one that is killed", async () => {
    const cli = await start();
    const url = await cli.url();
    expect(cli.output().match(/listens on/g)).toHaveLength(1);
    expect(cli.output()).toContain("(turnpike.config.json, 2 workers)");

    const seen = new Set<string>();
    const look = async () => {
      for (const { status, worker } of await Promise.all(Array.from({ length: 20 }, () => ask(url)))) {
        expect(status).toBe(200);
        seen.add(worker);
      }
    };
    await until(async () => {
      await look();
      return seen.size === 2;
    }, "both workers answer");

    const { port } = new URL(url);
    const second = await turnpike(["--port", port, "--workers", "2"]).ended;
    expect(second.code).toBe(1);
    expect(second.stderr).toBe(`turnpike: port ${port} on 127.0.0.1 is already in use; choose another with --port\n`);

    const [victim, other] = workersOf(cli);
    process.kill(victim!, "SIGKILL");
    await until(() => cli.output().includes(`worker ${victim} ended (SIGKILL); starting another\n`), "it is missed");
    await until(
      async () => {
        await look();
        return seen.size === 3;
      },
      "the new one answers",
      10_000,
    );

    const workers = workersOf(cli);
    expect(workers).toHaveLength(2);
    expect(workers).toContain(other);
    cli.child.kill("SIGTERM");
    expect((await cli.ended).code).toBe(0);
    await allEnded(workers);
  });

  it(`holds a cap exactly with ${IN_FLIGHT} requests in flight`, async () => {
    const cli = await start({ tokens: CAP });
    const url = await cli.url();
    mistral.always(({ body }) => {
      const { max_tokens } = body as { max_tokens: number };
      return { delayMs: 5, usage: { prompt: 5, completion: max_tokens } };
    });
    const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT });
    const workers = new Set<string>();
    let spent = 0;
    let served = 0;
    let lastServed = performance.now();
    const caller = async () => {
      while (performance.now() - lastServed < 500) {
        const { status, worker, text } = await ask(url, { max_tokens: MAX_TOKENS }, agent);
        if (status === 402) {
          await new Promise((resolve) => setTimeout(resolve, 40));
          continue;
        }
        expect(status).toBe(200);
        lastServed = performance.now();
        workers.add(worker);
        served++;
        spent += (JSON.parse(text) as { usage: { total_tokens: number } }).usage.total_tokens;
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
    agent.destroy();

    expect(workers.size).toBe(2);
    expect(mistral.requests).toHaveLength(served);
    expect(spent).toBeGreaterThanOrEqual(0.9 * CAP);
    expect(spent).toBeLessThanOrEqual(CAP);
    const me = (await (await fetch(`${url}/v1/me`)).json()) as { limits: unknown[] };
    expect(me.limits).toMatchObject([{ limit: "cap", used: spent, held: 0 }]);
  });
});

describe("stopping workers", () => {
  it("lets a running stream end on Ctrl-C, which a terminal sends to all of them and npm once more", async () => {
    const cli = await start({ detached: true });
    const { answer } = await slowStream(await cli.url());
    const workers = workersOf(cli);
    process.kill(-cli.child.pid!, "SIGINT");
    cli.child.kill("SIGINT");
    expect((await answer).text).toContain("data: [DONE]");
    const { code, stderr } = await cli.ended;
    expect(code).toBe(0);
    expect(stderr).not.toContain("turnpike:");
    await allEnded(workers);
  });

  it("lets it end also when the first process is killed, and leaves nobody behind", async () => {
    const cli = await start();
    const url = await cli.url();
    const { answer } = await slowStream(url);
    const workers = workersOf(cli);
    cli.child.kill("SIGKILL");
    expect((await answer).text).toContain("data: [DONE]");
    await allEnded(workers);
    await expect(ask(url)).rejects.toThrow();
  });

  it("waits for nobody on a second signal", async () => {
    const cli = await start();
    const url = await cli.url();
    mistral.always({ hang: "before-headers" });
    const answer = ask(url);
    answer.catch(() => {});
    await until(() => mistral.requests.length > 0, "the request is on its way");
    const workers = workersOf(cli);
    cli.child.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 600));
    cli.child.kill("SIGTERM");
    expect((await cli.ended).code).toBe(143);
    await allEnded(workers);
    await expect(answer).rejects.toThrow();
  });
});

describe("what keeps workers from starting is told once", () => {
  it("a budget in memory, which each would spend anew", async () => {
    const { code, stderr } = await (await start({ store: "memory" })).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^turnpike: 2 workers would each spend a budget that is kept in memory: .*"sqlite:.*\n$/);
  });

  it("a budget in memory that a module has made", async () => {
    const cwd = folder({
      "turnpike.config.mjs": `
        import { budget, router, translator } from ${source("index.ts")};
        import { simulated } from ${source("providers/index.ts")};
        import { memoryStore } from ${source("stores/memory.ts")};
        const limits = [{ name: "a", requests: 1, per: "day" }];
        export default {
          server: { port: 0 },
          providers: { own: simulated() },
          use: [router(), budget({ store: memoryStore(), limits }), translator()],
        };`,
    });
    const { code, stderr } = await turnpike(["--workers", "2"], { cwd }).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^turnpike: 2 workers would each spend a budget that is kept in memory: .*\n$/);
  });

  it("a wrong configuration", async () => {
    const cwd = folder({ "turnpike.config.json": { providers: {} } });
    const { code, stderr } = await turnpike(["--workers", "2"], { cwd }).ended;
    expect(code).toBe(1);
    expect(stderr).toBe("turnpike: turnpike.config.json: providers: at least one provider\n");
  });

  it("what the workers alone meet", async () => {
    const cwd = folder({
      "turnpike.config.mjs": `
        import { isWorker } from "node:cluster";
        import { simulated } from ${source("providers/index.ts")};
        if (isWorker) throw new Error("not twice");
        export default { server: { port: 0 }, providers: { own: simulated() } };`,
    });
    const { code, stdout, stderr } = await turnpike(["--workers", "2"], { cwd }).ended;
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toBe("turnpike: turnpike.config.mjs: not twice\n");
  });
});

const source = (path: string) => JSON.stringify(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)));
