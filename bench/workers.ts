/** `turnpike --workers 2` beside one worker: the published command, on all cores. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { BYTES, KEY, type Size } from "./bodies.ts";
import { cpuOfTree } from "./process-tree.ts";
import { type Child, runLoad, startCommand, startLoad, startUpstream } from "./processes.ts";
import { type Spread, spread } from "./statistics.ts";
import type { Variant } from "./variants.ts";

/** One number of workers in one round. */
interface Sample {
  requestsPerSecond: number;
  /** CPU µs per request, all processes of the gateway together. */
  cpuUs: number;
  /**
   * Requests per second if nobody else needed the cores: by the CPU time of the worker that did most. With the load on
   * the same cores it can only be computed, not seen.
   */
  capacity: number;
  /** Part of all cores that load and upstream took. */
  loadShare: number;
}

export interface Workers {
  size: Size;
  one: Sample[];
  two: Sample[];
  /** Two workers against one: what was seen, and by their CPU time. */
  seen: Spread;
  capacity: Spread;
}

interface Setting {
  dist: string;
  /** Who tells what to ask for. */
  variant: Variant;
  rounds: number;
  ms: number;
}

const CONNECTIONS = 64;

/** @returns nothing when the command does not start with two workers */
export async function workers({ dist, variant, rounds, ms }: Setting): Promise<Workers[] | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "turnpike-bench-"));
  const upstream = await startUpstream("any");
  // Two, so that the load is not the first to be busy where there are cores enough.
  const loads = [await startLoad("any"), await startLoad("any")];
  const helpers = [upstream, ...loads];
  const start = (count: number) => {
    const file = join(folder, `${count}.json`);
    const config = configFor(`http://127.0.0.1:${upstream.port}`, join(folder, `${count}.db`));
    writeFileSync(file, JSON.stringify(config));
    return startCommand(dist, ["--config", file, "--workers", `${count}`]);
  };
  const two = await start(2);
  const one = two && (await start(1));

  async function sample(gateway: Child, size: Size, sampleMs: number): Promise<Sample> {
    const { port, pid } = gateway;
    const job = { type: "loop", port, requests: 1_000_000, ms: sampleMs, ...variant.job("json", BYTES[size]) } as const;
    const connections = CONNECTIONS / loads.length;
    const [before, helpedBefore] = [cpuOfTree(pid), await cpuOf(helpers)];
    const loaded = await Promise.all(loads.map((load) => runLoad(load, { ...job, connections })));
    const [after, helpedAfter] = [cpuOfTree(pid), await cpuOf(helpers)];

    const requests = loaded.reduce((sum, each) => sum + each.requests, 0);
    const elapsedUs = 1_000 * Math.max(...loaded.map((each) => each.elapsedMs));
    const spent = [...(after ?? [])].map(([process, us]) => us - (before?.get(process) ?? 0));
    const all = after ? spent.reduce((sum, us) => sum + us, 0) : Number.NaN;
    return {
      requestsPerSecond: (1e6 * requests) / elapsedUs,
      cpuUs: all / requests,
      capacity: (1e6 * requests) / Math.max(all / cpus().length, ...spent),
      loadShare: (helpedAfter - helpedBefore) / elapsedUs / cpus().length,
    };
  }

  async function compare(one: Child, two: Child, size: Size): Promise<Workers> {
    const samples: { one: Sample[]; two: Sample[] } = { one: [], two: [] };
    for (const gateway of [one, two]) await sample(gateway, size, 3 * ms);
    for (let round = 0; round < rounds; round++) {
      const order = [["one", one] as const, ["two", two] as const];
      if (round % 2 === 1) order.reverse();
      for (const [name, gateway] of order) samples[name].push(await sample(gateway, size, ms));
    }
    const ratio = (pick: (sample: Sample) => number) =>
      spread(samples.two.map((each, round) => pick(each) / pick(samples.one[round]!)));
    return {
      size,
      ...samples,
      seen: ratio((each) => each.requestsPerSecond),
      capacity: ratio((each) => each.capacity),
    };
  }

  try {
    return one && two && [await compare(one, two, "1k"), await compare(one, two, "30k")];
  } finally {
    for (const child of [one, two, ...helpers]) await child?.stop();
    rmSync(folder, { recursive: true });
  }
}

async function cpuOf(children: readonly Child[]): Promise<number> {
  const probes = await Promise.all(children.map((child) => child.probe()));
  return probes.reduce((sum, { cpuUs }) => sum + cpuUs, 0);
}

/** The default stack as a file says it: the log goes to nowhere, budgets are in a file that the workers share, by leases. */
function configFor(upstreamURL: string, database: string) {
  return {
    providers: {
      upstream: {
        type: "openai-compatible",
        baseURL: `${upstreamURL}/json/v1`,
        apiKey: "upstream-key",
        price: { input: 0.4, output: 2 },
      },
    },
    logger: { format: "json" },
    auth: { keys: [{ id: "bench", key: KEY, user: "bench", team: "bench" }] },
    router: { rules: [{ match: { model: "claude-json" }, to: "upstream/bench-model" }] },
    budget: {
      store: `sqlite:${database}`,
      leased: true,
      limits: [{ name: "daily", tokens: 1_000_000_000_000_000, per: "day", timeZone: "Europe/Paris" }],
    },
  };
}
