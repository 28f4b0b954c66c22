/** Who is measured, and what each is asked. */
import { KEY, request, type Way, type Wire } from "./bodies.ts";
import type { Mode, Stack } from "./gateway.ts";
import type { Job } from "./load/job.ts";
import { type Child, startFloor, startGateway, startPortkey } from "./processes.ts";

export interface Variant {
  readonly name: string;
  /** Somebody else's: may be absent, and may fail. */
  readonly peer?: true;
  /** What is asked of it, beside connections and number. */
  job(way: Way, bytes: number): Pick<Job, "path" | "headers" | "body">;
  start(): Promise<Child | undefined>;
}

export const PATH: Record<Wire, string> = { chat: "/v1/chat/completions", anthropic: "/v1/messages" };
export const HEADERS: Record<Wire, Record<string, string>> = {
  chat: { "content-type": "application/json", authorization: `Bearer ${KEY}`, "user-agent": "OpenAI/JS 7.57.0" },
  anthropic: {
    "content-type": "application/json",
    "x-api-key": KEY,
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
    "user-agent": "claude-cli/3.0.0 (external, cli)",
  },
};

const streams = (way: Way) => way !== "json";

function ask(wire: Wire, prefix: (way: Way) => string, headers: (way: Way) => Record<string, string> = () => ({})) {
  return (way: Way, bytes: number) => ({
    path: prefix(way) + PATH[wire],
    headers: { ...HEADERS[wire], ...headers(way) },
    body: request(wire, bytes, { model: `claude-${way}`, stream: streams(way) }),
  });
}

/** Straight to the upstream: what the load generator and the upstream themselves take. */
export const direct = (upstream: Child): Variant => ({
  name: "no proxy",
  job: ask("chat", (way) => `/${way}`),
  start: async () => upstream,
});

export const floor = (upstreamURL: string): Variant => ({
  name: "floor",
  job: ask("chat", (way) => `/${way}`),
  start: () => startFloor(upstreamURL),
});

export const portkey = (upstreamURL: string, peers: string): Variant => ({
  name: "portkey",
  peer: true,
  job: ask(
    "chat",
    () => "",
    (way) => ({ "x-portkey-provider": "openai", "x-portkey-custom-host": `${upstreamURL}/${way}/v1` }),
  ),
  start: () => startPortkey(peers),
});

const WIRE: Record<Mode, Wire> = {
  "pass-chat": "chat",
  "pass-anthropic": "anthropic",
  "to-chat": "anthropic",
  "to-mistral": "anthropic",
};

/** @param label tells a second build apart; `profiles`: folder for CPU profiles */
export function turnpike(dist: string, upstreamURL: string, label = "", profiles?: string): Variant[] {
  const one = (mode: Mode, stack: Stack): Variant => ({
    name: `${mode}${stack === "bare" ? " bare" : ""}${label}`,
    job: ask(WIRE[mode], () => ""),
    start: () =>
      startGateway(
        [dist, mode, stack, upstreamURL],
        profiles === undefined
          ? []
          : ["--cpu-prof", `--cpu-prof-dir=${profiles}`, `--cpu-prof-name=${mode}-${stack}${label.trim()}.cpuprofile`],
      ),
  });
  return [
    one("pass-chat", "full"),
    one("pass-chat", "bare"),
    one("pass-anthropic", "full"),
    one("to-chat", "full"),
    one("to-chat", "bare"),
    one("to-mistral", "full"),
  ];
}
